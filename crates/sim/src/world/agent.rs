//! An agent: the engine's two tasks, run over this world's seams. It can crash at any await and start again.

use super::Sim;
use crate::executor::Group;
use crate::seams::Place;
use crate::trace::What;
use everup_core::ids::InstanceId;
use everup_engine::mailbox::{Call, Command, INBOX};
use futures_channel::mpsc;

/// One run of an agent.
pub(crate) struct Agent {
    pub(crate) group: Group,
    pub(crate) inbox: mpsc::Sender<Call>,
    pub(crate) commands: mpsc::Sender<Command>,
}

/// Starts the agent of host `id`, if it has none and the host lives.
pub(crate) fn start(sim: &Sim, id: &InstanceId) {
    let mut world = sim.world();
    let host = world.host(id);
    if !host.alive || host.agent.is_some() {
        return;
    }
    host.agent_runs += 1;
    let run = host.agent_runs;
    let group = Group(u64::from(host.no) * 10_000 + u64::from(run));
    let (inbox, calls) = mpsc::channel(INBOX);
    let (commands, wishes) = mpsc::channel(INBOX);
    host.agent = Some(Agent { group, inbox, commands: commands.clone() });
    let place = Place::new(sim, host, run);
    world.on(id, What::AgentStarted(run));
    drop(world);
    place.engine(group, calls, commands, wishes);
}

/// Kills the agent of host `id` where it stands.
pub(crate) fn crash(sim: &Sim, id: &InstanceId) {
    let agent = {
        let mut world = sim.world();
        let agent = world.host(id).agent.take();
        if agent.is_some() {
            world.on(id, What::AgentCrashed);
        }
        agent
    };
    if let Some(agent) = agent {
        sim.executor.kill(agent.group);
    }
}

/// Kills the agent of host `id`; whoever keeps it starts it again after `back_in`.
pub(crate) fn crash_and_restart(sim: &Sim, id: &InstanceId, back_in: u64) {
    crash(sim, id);
    let (sim, id) = (sim.clone(), id.clone());
    sim.clone().spawn(async move {
        sim.sleep(back_in).await;
        start(&sim, &id);
    });
}

/// Puts `call` into the agent's inbox, as its API would; a call to nobody, or to a full one, is lost.
pub(crate) fn call(sim: &Sim, id: &InstanceId, call: Call) {
    if let Some(agent) = &mut sim.world().host(id).agent {
        // A lost call drops its place for the answer, which tells the caller.
        drop(agent.inbox.try_send(call));
    }
}

/// Puts `command` into the agent's inbox, as its API would; true if there was somebody to take it.
pub(crate) fn command(sim: &Sim, id: &InstanceId, command: Command) -> bool {
    let mut world = sim.world();
    let host = world.host(id);
    host.alive && host.agent.as_mut().is_some_and(|agent| agent.commands.try_send(command).is_ok())
}
