//! The story that the demo tells, a line or two each as it happens.

mod deaths;

use super::database;
use super::report::Report;
use super::stage::Stage;
use crate::cmd::deploy::outcome;
use crate::endings::Endings;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::follow::{Ended, Follower, Interrupts};
use crate::load::{Load, Plan};
use crate::output::{Out, paint};
use crate::progress::receipt;
use crate::reach::{self, Reach};
use crate::wait;
use everup_core::deployment::State;
use everup_core::ids::{DeploymentId, Version};
use everup_core::policy::{Policy, Strategy};
use everup_core::record::Record;
use everup_core::status::Status;
use everup_core::time::Millis;
use everup_web::client::Client;
use everup_web::wire::Deploy;
use std::time::Duration;
use tokio::time::timeout;

/// Nothing in the demo takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Users are at work so long before the first deployment, so that there is a "before".
const BEFORE: Duration = Duration::from_secs(3);
/// They stay so long after the last one: what is late is counted, too.
const AFTER: Duration = Duration::from_secs(2);

/// What is waited for after each chapter.
const ALL_SERVE: &str = "all four instances to be in service";
/// The followers within hear it themselves.
const CTRL_C: &str = "Ctrl-C";

/// Who tells it.
pub struct Teller<'s> {
    stage: &'s Stage,
    reach: Reach,
    out: Out,
    users: Option<Users>,
    /// What was shown so far.
    pub report: Report,
}

/// Users, from when there is something to use to the end of the story, however that comes.
struct Users {
    load: Load,
    plan: Plan,
    /// Of those that failed, the ones of which was told.
    told: u64,
}

impl<'s> Teller<'s> {
    /// On this stage, whose fleet is up.
    ///
    /// # Errors
    /// When the fleet cannot be reached.
    pub fn new(stage: &'s Stage, out: Out) -> Result<Self, Failure> {
        let reach = Reach::new(&stage.settings, out)?;
        Ok(Self { stage, reach, out, users: None, report: Report::default() })
    }

    /// All of it, from the first deployment to the last, unless a signal ends it before. What was shown until its end,
    /// whichever that was, is in the report.
    pub async fn tell(&mut self, endings: &mut Endings) {
        let told = tokio::select! {
            told = self.chapters() => told,
            why = endings.next() => Err(interrupted(why)),
        };
        if let Err(failure) = told {
            self.report.broke_off(failure);
        }
        self.count();
    }

    async fn chapters(&mut self) -> Result<(), Failure> {
        self.first().await?;
        self.users_come().await?;
        self.rolling().await?;
        self.all_at_once().await?;
        self.instance_killed().await?;
        self.coordinator_killed().await?;
        self.broken_release().await?;
        tokio::time::sleep(AFTER).await;
        Ok(())
    }

    async fn first(&mut self) -> Result<(), Failure> {
        let id = self.begin("1", Strategy::Rolling).await?;
        let record = self.ended(&id).await?;
        if !matches!(record.state, State::Succeeded | State::SucceededUnproven) {
            return Err(failed(format!("release 1 did not start: {}", record.because)));
        }
        receipt::lines(&record).into_iter().for_each(|line| self.shows(line));
        self.report.first(&record);
        let serving = self.until(ALL_SERVE, |status| serving(status) == 4).await?;
        let zones = self.stage.settings.fleet.zones.len();
        self.say(format!(
            "release 1 is in service on {} instances in {zones} zones",
            serving.instances.len()
        ));
        Ok(())
    }

    async fn users_come(&mut self) -> Result<(), Failure> {
        let plan = Plan::mixed(self.stage.settings.listen.address);
        let load = Load::start(plan.clone()).map_err(failed)?;
        let users = self.users.insert(Users { load, plan: plan.clone(), told: 0 });
        tokio::time::sleep(BEFORE).await;
        let tally = users.load.tally();
        if let Some(nothing) = tally.empty(&plan) {
            return Err(failed(nothing).details(format!("{:?}", tally.misses)));
        }
        self.say(format!(
            "users are at work: {} GETs, {} POSTs and {} streams a second, and a WebSocket",
            plan.gets + plan.slow,
            plan.posts,
            plan.streams
        ));
        Ok(())
    }

    /// How many of the users' requests ended so far, and how many of them failed.
    fn figures(&self) -> (u64, u64) {
        self.users.as_ref().map_or((0, 0), |users| users.load.figures())
    }

    /// The same since `before`; of those that failed it is told.
    fn since(&mut self, before: (u64, u64)) -> (u64, u64) {
        let (total, failed) = self.figures();
        let (total, failed) = (total - before.0, failed - before.1);
        if let Some(users) = &mut self.users {
            users.told += failed;
        }
        (total, failed)
    }

    async fn rolling(&mut self) -> Result<(), Failure> {
        self.title("release 2, one instance after the other");
        self.deploy("2", Strategy::Rolling, State::Succeeded).await
    }

    async fn all_at_once(&mut self) -> Result<(), Failure> {
        self.title(
            "release 3, all at once: it migrates the database, and release 2 could not run on it any more",
        );
        self.deploy("3", Strategy::AllAtOnce, State::Succeeded).await?;
        match database::schema(&self.stage.database()) {
            Ok(2) => {}
            Ok(schema) => self.report.broken(format!("the database has schema {schema} after the migration")),
            Err(error) => self.report.broken(chain(&error)),
        }
        Ok(())
    }

    async fn broken_release(&mut self) -> Result<(), Failure> {
        self.title("release 5, which never becomes healthy");
        self.deploy("5", Strategy::Rolling, State::RolledBack).await?;
        let status = self.until(ALL_SERVE, |status| serving(status) == 4).await?;
        let elsewhere = |line: &&everup_core::status::Line| {
            line.release.as_ref().is_none_or(|release| release.version.as_str() != "4")
        };
        if let Some(line) = status.instances.iter().find(elsewhere) {
            self.report.broken(format!("{} is not on release 4 again", line.id));
        }
        Ok(())
    }

    /// Deploys, waits, judges.
    async fn deploy(&mut self, version: &str, strategy: Strategy, expected: State) -> Result<(), Failure> {
        let before = self.figures();
        let id = self.begin(version, strategy).await?;
        let record = self.ended(&id).await?;
        self.judge(&record, expected, before);
        Ok(())
    }

    fn judge(&mut self, record: &Record, expected: State, before: (u64, u64)) {
        let (total, failed) = self.since(before);
        self.shows(format!("{}: {}", crate::progress::frame::state(record.state), record.because));
        for line in receipt::lines(record) {
            self.shows(line);
        }
        self.shows(format!("  users       saw {total}, {failed} failed"));
        if failed > 0 {
            self.report.broken(format!(
                "users saw {failed} failed requests while release {} was deployed",
                record.to
            ));
        }
        self.report.deployment(record, expected, self.stage.settings.fleet.desired);
    }

    async fn begin(&self, version: &str, strategy: Strategy) -> Result<DeploymentId, Failure> {
        let version = Version::new(version).map_err(|error| failed(chain(&error)))?;
        let policy = Policy { strategy, ..self.stage.settings.deploy.clone() };
        let by = reach::by();
        let idempotency = crate::cmd::deploy::key();
        let request = Deploy { version, policy: Some(policy), by, take_back: None, idempotency };
        let wanted = format!("release {} could not be deployed", request.version);
        let started = self.reach.ask(&wanted, async |agent: &Client| agent.deploy(&request).await).await?;
        Ok(started.deployment)
    }

    async fn ended(&self, id: &DeploymentId) -> Result<Record, Failure> {
        let ended = timeout(PATIENCE, outcome(&self.reach, id, Interrupts::listen()?, Out::QUIET));
        let record = self.waits(&format!("deployment {id} to end"), ended).await;
        let late = |_| failed(format!("deployment {id} did not end within {} s", PATIENCE.as_secs()));
        record.map_err(late)??.ok_or_else(|| interrupted(CTRL_C))
    }

    async fn until(&self, what: &str, fact: impl Fn(&Status) -> bool) -> Result<Status, Failure> {
        let mut follower = Follower::new(&self.reach, Out::QUIET)?;
        let late = |_| failed(format!("waited {} s in vain for {what}", PATIENCE.as_secs()));
        let got_there = self.waits(what, timeout(PATIENCE, follower.until(fact))).await;
        match got_there.map_err(late)?? {
            Ended::Reached(status) => Ok(*status),
            Ended::Left => Err(interrupted(CTRL_C)),
        }
    }

    /// `work`, which ends within its patience by itself.
    async fn waits<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        wait::bounded(what, PATIENCE, work, |words| self.say(words)).await
    }

    /// The last chapter: what the users counted, and whether the app counted the same.
    fn count(&mut self) {
        let Some(Users { load, plan, told }) = self.users.take() else { return };
        let tally = load.end();
        let counted = database::counted(&self.stage.database());
        match counted.map(|counted| tally.compare(&counted)) {
            Ok(wrong) => wrong.into_iter().take(5).for_each(|wrong| self.report.broken(wrong)),
            Err(error) => self.report.broken(chain(&error)),
        }
        self.title("what the users counted");
        for (kind, count) in &tally.kinds {
            let design = match count.ended_by_design {
                0 => String::new(),
                n => format!(", {n} ended by design"),
            };
            let (total, failed, longest) = (count.total, count.failed, Millis(count.longest_ms));
            self.shows(format!("{kind:11} {total}, {failed} failed{design}, the longest {longest}"));
        }
        self.shows(format!("each of the {} answered POSTs is in the database", tally.answered.len()));
        tally
            .misses
            .iter()
            .take(10)
            .for_each(|miss| self.shows(format!("failed: {}: {}", miss.kind, miss.reason)));
        self.report.users(tally, &plan, told);
    }

    fn title(&self, text: &str) {
        self.out.say(format!("\n{}", paint::bold(text)));
    }

    /// What was found out is data. With `--json` the document is, and this is talk.
    fn shows(&self, text: impl AsRef<str>) {
        if self.out.json {
            self.say(text);
        } else {
            self.out.data(format!("  {}", text.as_ref()));
        }
    }

    fn say(&self, text: impl AsRef<str>) {
        self.out.say(format!("  {}", text.as_ref()));
    }
}

fn serving(status: &Status) -> usize {
    status.instances.iter().filter(|line| line.in_service).count()
}

fn is_over(status: &Status, id: &DeploymentId) -> bool {
    status.record.as_ref().is_some_and(|record| record.id == *id && record.state.is_final())
}

fn failed(happened: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, "the demo could not go on", happened)
}

/// A signal has ended it, and nothing of it goes on.
pub(crate) fn interrupted(why: &str) -> Failure {
    Failure::new(Exit::Internal, "the demo was ended", why)
}
