//! The story that the demo tells, a line or two each as it happens.

use super::database;
use super::report::{CoordinatorKilled, InstanceKilled, Report};
use super::stage::Stage;
use crate::cmd::deploy::outcome;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::follow::{Ended, Follower, Interrupts};
use crate::load::{Load, Plan};
use crate::output::{Out, paint};
use crate::progress::receipt;
use crate::reach::{self, Reach, may_ask_another};
use everup_core::deployment::State;
use everup_core::ids::{DeploymentId, InstanceId, Version};
use everup_core::policy::{Policy, Strategy};
use everup_core::record::{Progress, Record};
use everup_core::status::Status;
use everup_core::time::Millis;
use everup_host::local::ledger::Who;
use everup_host::local::wire::Info;
use everup_host::proc::{Identity, Stat, below};
use everup_web::client::{Client, Failure as CallFailure};
use everup_web::wire::Deploy;
use rustix::process::Signal;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Nothing in the demo takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two questions to an agent that did not answer.
const AGAIN: Duration = Duration::from_millis(200);
/// Users are at work so long before the first deployment, so that there is a "before".
const BEFORE: Duration = Duration::from_secs(3);
/// They stay so long after the last one: what is late is counted, too.
const AFTER: Duration = Duration::from_secs(2);

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

    /// All of it, from the first deployment to the last, unless Ctrl-C comes before. What was shown until its end,
    /// whichever that was, is in the report.
    pub async fn tell(&mut self, mut interrupts: Interrupts) {
        let told = tokio::select! {
            told = self.chapters() => told,
            () = interrupts.next() => Err(interrupted()),
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
        let serving = self.until(|status| serving(status) == 4).await?;
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

    async fn instance_killed(&mut self) -> Result<(), Failure> {
        self.title("an instance is killed: its agent, its app, all of it");
        let status = self.until(|status| serving(status) == 4).await?;
        let coordinator = status.coordinator.as_ref();
        let victim = status.instances.iter().map(|line| &line.id).find(|id| Some(*id) != coordinator);
        let victim = victim.ok_or_else(|| failed("every instance coordinates"))?.clone();
        let (before, began) = (self.figures(), Instant::now());
        let killed = self.kill(&victim).await?;
        self.until(|status| serving(status) < 4).await?;
        self.until(|status| serving(status) == 4).await?;
        let back_ms = millis(began);
        let (total, lost) = self.since(before);
        self.say(format!(
            "{victim} was killed, {killed} processes of it; all four are in service again after {}; \
             of {total} requests, the {lost} that were inside it failed",
            Millis(back_ms)
        ));
        // What can have been inside one of four instances: streams, slow answers, and what had just begun.
        if lost > 10 {
            self.report.broken(format!("{lost} requests failed with one instance"));
        }
        self.report.instance_killed = Some(InstanceKilled { instance: victim, lost, back_ms });
        Ok(())
    }

    async fn coordinator_killed(&mut self) -> Result<(), Failure> {
        self.title("release 4, and in the middle of it the agent that coordinates is killed");
        let before = self.figures();
        let id = self.begin("4", Strategy::Rolling).await?;
        let middle = |status: &Status| half_done(status, &id) || is_over(status, &id);
        let status = self.until(middle).await?;
        let victim = status.coordinator.ok_or_else(|| failed("nobody coordinates"))?;
        let successor = self.depose(&victim, &id).await?;
        let record = self.ended(&id).await?;
        match &successor {
            Some(next) => self.say(format!("{next} took over from {victim} and finished")),
            None => self.report.broken(format!("nobody took over from {victim}")),
        }
        self.report.coordinator_killed = Some(CoordinatorKilled { instance: victim, successor });
        self.judge(&record, State::Succeeded, before);
        Ok(())
    }

    /// Kills the agent of `victim`, and keeps it from coming back until another coordinates. Says who.
    async fn depose(
        &mut self,
        victim: &InstanceId,
        id: &DeploymentId,
    ) -> Result<Option<InstanceId>, Failure> {
        let witness = self.another(victim).await?;
        let info = self.reach.keeper().info().await.map_err(failed)?;
        let frozen = Frozen::new(info.pid).ok_or_else(|| failed("the keeper cannot be stopped"))?;
        let began = Instant::now();
        self.kill_processes(&info, victim, false)?;
        self.say(format!("{victim} is killed; the keeper, which would start it again at once, is frozen"));
        let other = |status: &Status| status.coordinator.as_ref().is_some_and(|who| who != victim);
        let status = self.seen_by(&witness, |status| is_over(status, id) || other(status)).await?;
        drop(frozen);
        let successor = status.coordinator.filter(|who| who != victim);
        if let Some(next) = &successor {
            self.say(format!("{next} coordinates since {} after that", Millis(millis(began))));
        }
        Ok(successor)
    }

    /// An agent that will live. Asked for while the keeper answers; and the dead one's socket, which the keeper holds,
    /// would take connections that nobody serves.
    async fn another(&self, victim: &InstanceId) -> Result<Client, Failure> {
        let fleet = self.reach.keeper().members(0).await.map_err(failed)?;
        let dead = fleet.members.members.get(victim).map(|member| member.address.clone());
        let agents = self.reach.agents(|_| ()).await?;
        let other = agents.into_iter().find(|agent| Some(agent.address()) != dead.as_deref());
        other.ok_or_else(|| failed("there is no other agent"))
    }

    /// Waits until `witness` tells `fact`.
    async fn seen_by(&self, witness: &Client, fact: impl Fn(&Status) -> bool) -> Result<Status, Failure> {
        let seen = async {
            loop {
                // It passes the question on to the dead one until another leads, and then may not answer in time.
                match told(witness, &fact).await {
                    Ok(Some(status)) => return Ok(status),
                    Ok(None) => {}
                    Err(error) if may_ask_another(&error) => tokio::time::sleep(AGAIN).await,
                    Err(error) => return Err(failed(error)),
                }
            }
        };
        let late = |_| failed(format!("nobody took over within {} s", PATIENCE.as_secs()));
        timeout(PATIENCE, seen).await.map_err(late)?
    }

    async fn broken_release(&mut self) -> Result<(), Failure> {
        self.title("release 5, which never becomes healthy");
        self.deploy("5", Strategy::Rolling, State::RolledBack).await?;
        let status = self.until(|status| serving(status) == 4).await?;
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
        self.say(format!("{}: {}", crate::progress::frame::state(record.state), record.because));
        for line in receipt::lines(record) {
            self.say(line);
        }
        self.say(format!("  users       saw {total}, {failed} failed"));
        if failed > 0 {
            self.report.broken(format!(
                "users saw {failed} failed requests while release {} was deployed",
                record.to
            ));
        }
        self.report.deployment(record, expected);
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
        let record = timeout(PATIENCE, outcome(&self.reach, id, Interrupts::listen()?, Out::QUIET)).await;
        let late = |_| failed(format!("deployment {id} did not end within {} s", PATIENCE.as_secs()));
        record.map_err(late)??.ok_or_else(interrupted)
    }

    async fn until(&self, fact: impl Fn(&Status) -> bool) -> Result<Status, Failure> {
        let mut follower = Follower::new(&self.reach, Out::QUIET)?;
        let late = |_| failed(format!("the fleet did not get there within {} s", PATIENCE.as_secs()));
        match timeout(PATIENCE, follower.until(fact)).await.map_err(late)?? {
            Ended::Reached(status) => Ok(*status),
            Ended::Left => Err(interrupted()),
        }
    }

    /// Kills the agent of `id`, and everything that it started. Says how many processes that were.
    async fn kill(&self, id: &InstanceId) -> Result<usize, Failure> {
        let info = self.reach.keeper().info().await.map_err(failed)?;
        self.kill_processes(&info, id, true)
    }

    fn kill_processes(&self, info: &Info, id: &InstanceId, all: bool) -> Result<usize, Failure> {
        let agent =
            info.process(&Who::Agent(id.clone())).ok_or_else(|| failed(format!("{id} has no agent")))?;
        let mut victims: Vec<Identity> = Identity::of(agent).into_iter().collect();
        if all {
            victims.extend(below(agent).iter().map(Stat::identity));
        }
        Ok(victims.iter().filter(|victim| victim.signal(Signal::KILL)).count())
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
            self.say(format!("{kind:11} {total}, {failed} failed{design}, the longest {longest}"));
        }
        self.say(format!("each of the {} answered POSTs is in the database", tally.answered.len()));
        tally
            .misses
            .iter()
            .take(10)
            .for_each(|miss| self.say(format!("failed: {}: {}", miss.kind, miss.reason)));
        self.report.users(tally, &plan, told);
    }

    fn title(&self, text: &str) {
        self.out.say(format!("\n{}", paint::bold(text)));
    }

    fn say(&self, text: impl AsRef<str>) {
        self.out.say(format!("  {}", text.as_ref()));
    }
}

/// A process that stands still until this is dropped.
struct Frozen(Identity);

impl Frozen {
    fn new(pid: u32) -> Option<Self> {
        let process = Identity::of(pid)?;
        process.signal(Signal::STOP).then_some(Self(process))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.signal(Signal::CONT);
    }
}

fn serving(status: &Status) -> usize {
    status.instances.iter().filter(|line| line.in_service).count()
}

fn is_over(status: &Status, id: &DeploymentId) -> bool {
    status.record.as_ref().is_some_and(|record| record.id == *id && record.state.is_final())
}

/// One instance is on the new release, and the others are not.
fn half_done(status: &Status, id: &DeploymentId) -> bool {
    let Some(record) = status.record.as_ref().filter(|record| record.id == *id) else { return false };
    record.state == State::Rolling && record.instances.values().any(|entry| entry.progress == Progress::Done)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn failed(happened: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, "the demo could not go on", happened)
}

/// Ctrl-C.
pub(crate) fn interrupted() -> Failure {
    Failure::new(Exit::StillRunning, "the demo was ended", "Ctrl-C")
}

/// The first status that tells `fact`, or nothing if the stream ends before.
async fn told(witness: &Client, fact: impl Fn(&Status) -> bool) -> Result<Option<Status>, CallFailure> {
    let mut events = witness.events().await?;
    while let Some(status) = events.next().await? {
        if fact(&status) {
            return Ok(Some(status));
        }
    }
    Ok(None)
}
