//! What the demo kills: an instance, and the agent that coordinates.

use super::{ALL_SERVE, PATIENCE, Teller, failed, is_over, serving};
use crate::demo::report::{CoordinatorKilled, InstanceKilled};
use crate::failure::Failure;
use crate::reach::may_ask_another;
use crate::wire_up::places::Places;
use everup_core::deployment;
use everup_core::ids::{DeploymentId, InstanceId};
use everup_core::policy::Strategy;
use everup_core::record::Progress;
use everup_core::status::Status;
use everup_core::time::Millis;
use everup_host::local::ledger::Who;
use everup_host::local::wire::Info;
use everup_host::minder::State;
use everup_host::proc::{Identity, Stat, below};
use everup_web::client::{Client, Failure as CallFailure};
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Between two questions to an agent that did not answer.
const AGAIN: Duration = Duration::from_millis(200);

impl Teller<'_> {
    pub(super) async fn instance_killed(&mut self) -> Result<(), Failure> {
        self.title("an instance is killed: its agent, its app, all of it");
        let status = self.until(ALL_SERVE, |status| serving(status) == 4).await?;
        let coordinator = status.coordinator.as_ref();
        let victim = status.instances.iter().map(|line| &line.id).find(|id| Some(*id) != coordinator);
        let victim = victim.ok_or_else(|| failed("every instance coordinates"))?.clone();
        let old = self.app(&victim).ok_or_else(|| failed(format!("{victim} has no app")))?;
        let (before, began) = (self.figures(), Instant::now());
        let killed = self.kill(&victim).await?;
        let serves =
            |status: &Status| status.instances.iter().any(|line| line.id == victim && line.in_service);
        self.until(&format!("{victim} to be out of service"), |status| !serves(status)).await?;
        let there = self.until(ALL_SERVE, |status| serving(status) == 4).await?;
        let back_ms = millis(began);
        let was_there = |id: &InstanceId| status.instances.iter().any(|line| line.id == *id);
        let newcomer = there.instances.into_iter().map(|line| line.id).find(|id| !was_there(id));
        let successor = newcomer.unwrap_or_else(|| victim.clone());
        let new = self.app(&successor).filter(|new| *new != old);
        let (total, lost) = self.since(before);
        self.say(format!(
            "{victim} was killed, {killed} processes of it; all four are in service again after {}; \
             of {total} requests, the {lost} that were inside it failed",
            Millis(back_ms)
        ));
        match &new {
            Some(new) => self.say(format!(
                "its app was process {}; another one, {}, serves as {successor} in its place",
                old.pid, new.pid
            )),
            None => self.report.broken(format!("no other app serves in place of {victim}'s")),
        }
        if old.lives() {
            self.report.broken(format!("the app of {victim} lives on, as process {}", old.pid));
        }
        // What can have been inside one of four instances: streams, slow answers, and what had just begun.
        if lost > 10 {
            self.report.broken(format!("{lost} requests failed with one instance"));
        }
        self.report.instance_killed = Some(InstanceKilled {
            instance: victim,
            app: old.pid,
            new_app: new.map(|new| new.pid),
            lost,
            back_ms,
        });
        Ok(())
    }

    pub(super) async fn coordinator_killed(&mut self) -> Result<(), Failure> {
        self.title("release 4, and in the middle of it the agent that coordinates is killed");
        let before = self.figures();
        let id = self.begin("4", Strategy::Rolling).await?;
        let middle = |status: &Status| half_done(status, &id) || is_over(status, &id);
        let status = self.until("the first instance to be on release 4", middle).await?;
        let victim = status.coordinator.ok_or_else(|| failed("nobody coordinates"))?;
        let successor = self.depose(&victim, &id).await?;
        let record = self.ended(&id).await?;
        match &successor {
            Some(next) => self.say(format!("{next} took over from {victim} and finished")),
            None => self.report.broken(format!("nobody took over from {victim}")),
        }
        self.report.coordinator_killed = Some(CoordinatorKilled { instance: victim, successor });
        self.judge(&record, deployment::State::Succeeded, before);
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
        self.waits("another agent to coordinate", timeout(PATIENCE, seen)).await.map_err(late)?
    }

    /// The main process of what runs on `id`.
    fn app(&self, id: &InstanceId) -> Option<Identity> {
        let folder = fs::read_dir(Places::of(&self.stage.settings).instance(id)).ok()?;
        let files = folder.filter_map(Result::ok).map(|file| file.path());
        // There are pipes as well, which nobody writes to.
        let states = files.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
        let mut states = states.filter_map(|path| State::read(&path));
        states.find_map(|state| state.child.filter(Identity::lives))
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

/// One instance is on the new release, and the others are not.
fn half_done(status: &Status, id: &DeploymentId) -> bool {
    let Some(record) = status.record.as_ref().filter(|record| record.id == *id) else { return false };
    record.state == deployment::State::Rolling
        && record.instances.values().any(|entry| entry.progress == Progress::Done)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
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
