//! Operators: they deploy, press twice, change their minds, and answer when they are asked.

use crate::fault::Fault;
use crate::rng::Rng;
use crate::rules::requests::Refusal;
use crate::trace::What;
use crate::world::releases::{Conduct, Ending, number_of, pinned, version};
use crate::world::{EPOCH, Sim, World, agent};
use everup_core::deployment::State;
use everup_core::gate::HoldLimits;
use everup_core::head::{Request, TakeBack};
use everup_core::ids::{DeploymentId, InstanceId};
use everup_core::policy::{Policy, Size, Strategy};
use everup_core::record::Say;
use everup_core::release::OnFailure;
use everup_core::time::{Millis, Wall};
use everup_engine::mailbox::{Command, Refused};
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use std::pin::pin;

/// How often somebody looks who waits for his moment.
const LOOK: u64 = 50;

/// Starts the deployments of the time of trouble.
pub(crate) async fn deploy(sim: Sim) {
    let mut rng = Rng::of(sim.setting.seed, "operators");
    let pause = sim.setting.trouble / u64::from(sim.setting.deployments + 1);
    for _ in 0..sim.setting.deployments {
        sim.sleep(rng.between(pause / 4, pause)).await;
        if sim.world().calm && !sim.setting.is_calm() {
            return;
        }
        let request = wish(&sim, &mut rng);
        let twice = sim.setting.meddling && rng.chance(300);
        if twice {
            let (sim, request, mut rng) = (sim.clone(), request.clone(), rng.clone());
            sim.clone().spawn(async move {
                sim.sleep(rng.below(30)).await;
                press(&sim, &mut rng, &request).await;
            });
        }
        press(&sim, &mut rng, &request).await;
    }
}

/// Deploys to a fleet that wants nobody any more, whenever there is one, through one that has not ended yet.
pub(crate) async fn deploy_to_nobody(sim: Sim) {
    let mut rng = Rng::of(sim.setting.seed, "deploys to nobody");
    while !sim.world().calm {
        sim.sleep(LOOK).await;
        let nobody = {
            let world = sim.world();
            world.fleet.desired == 0 && world.fleet.members.values().all(|member| member.terminating)
        };
        if nobody && somebody(&sim.world(), &mut rng).is_some() {
            let conduct = conduct(&sim, &mut rng);
            let release = publish(&sim, &mut rng, false, conduct);
            press(&sim, &mut rng, &release).await;
            sim.sleep(10 * LOOK).await;
        }
    }
}

/// Publishes a release, good or bad, and wants it; now and then an old one, or once more the last with a migration.
fn wish(sim: &Sim, rng: &mut Rng) -> Request {
    let migrating = {
        let world = sim.world();
        // Not one that was made for a schema that has been taken back since: nobody could know what it needs.
        let next = world.database.schema + 1;
        world.releases.newest_migrating().filter(|release| release.schema <= next).map(|release| release.no)
    };
    if let Some(no) = migrating.filter(|_| rng.chance(150)) {
        return request(sim, rng, no, true);
    }
    if let Some(back) = to_before_the_last_migration(sim, rng) {
        return back;
    }
    if rng.chance(120) {
        let known = known(&sim.world());
        if let Some(old) = rng.pick(&known) {
            return request(sim, rng, old, false);
        }
    }
    let conduct = conduct(sim, rng);
    let migrates = rng.chance(sim.setting.migrations);
    publish(sim, rng, migrates, conduct)
}

/// Now and then the last migration is taken back by its own undo, if it has one.
fn to_before_the_last_migration(sim: &Sim, rng: &mut Rng) -> Option<Request> {
    let mut rng = Rng::of(sim.setting.seed, &format!("undo at {} {}", sim.now(), rng.clone().below(1_000)));
    if !rng.chance(250) {
        return None;
    }
    let before: Vec<u16> = {
        let world = sim.world();
        let change = world.objects.head.as_ref()?.changes.last()?;
        change.forbade.iter().map(number_of).collect()
    };
    let no = rng.pick(&before)?;
    Some(Request { take_back: Some(TakeBack::Undo), idempotency: None, ..request(sim, &mut rng, no, true) })
}

fn conduct(sim: &Sim, rng: &mut Rng) -> Conduct {
    if sim.setting.rate(Fault::BadRelease) == 0 || !rng.chance(500) {
        return Conduct::Good;
    }
    match rng.below(4) {
        0 => Conduct::NeverHealthy,
        1 => Conduct::ExitsAtOnce,
        2 => Conduct::DiesAfter(rng.between(100, 2_500)),
        _ => Conduct::Lies,
    }
}

/// The releases that the environment has been asked to run: of others it cannot know for which schema they were made.
fn known(world: &World) -> Vec<u16> {
    let Some(head) = &world.objects.head else { return Vec::new() };
    let unsaid = head.changes.iter().flat_map(|change| change.forbade.difference(&head.forbidden));
    head.deployed.iter().chain(&head.forbidden).chain(unsaid).map(number_of).collect()
}

fn publish(sim: &Sim, rng: &mut Rng, migrates: bool, conduct: Conduct) -> Request {
    let bad = sim.setting.rate(Fault::BadMigration) > 0 && rng.chance(600);
    let no = {
        let mut world = sim.world();
        let schema = world.database.schema + u16::from(migrates);
        let release = world.releases.publish(schema, conduct);
        if migrates {
            let ending = match rng.below(3) {
                0 if bad => Ending::Failed,
                1 if bad => Ending::Killed { applied: rng.chance(500) },
                2 if bad => {
                    release.on_failure = OnFailure::Stop;
                    Ending::Failed
                }
                _ => Ending::Applied,
            };
            release.migration = Some((rng.between(50, 6_000), ending));
            release.undo = match release.no % 4 {
                0 => None,
                1 if bad => Some(Ending::Failed),
                2 if bad => Some(Ending::Killed { applied: schema.is_multiple_of(2) }),
                _ => Some(Ending::Applied),
            };
        }
        release.no
    };
    request(sim, rng, no, migrates)
}

fn request(sim: &Sim, rng: &mut Rng, no: u16, migrates: bool) -> Request {
    let policy = policy(sim, rng, migrates);
    Request {
        to: pinned(no),
        policy,
        by: "operator".to_owned(),
        at: Wall(EPOCH + sim.now()),
        from: None,
        migration: None,
        applied_before: None,
        take_back: None,
        idempotency: rng.chance(500).then(|| format!("wish-{no}")),
    }
}

fn policy(sim: &Sim, rng: &mut Rng, migrates: bool) -> Policy {
    let all_at_once = migrates || rng.chance(100);
    let batch = match rng.below(4) {
        0..=1 => Size::Count(rng.between(1, 3) as u32),
        _ => Size::Percent(rng.between(10, 50) as u32),
    };
    Policy {
        strategy: if all_at_once { Strategy::AllAtOnce } else { Strategy::Rolling },
        batch,
        min_in_service: rng.chance(150).then(|| Size::Count(rng.between(1, 4) as u32)),
        overlap: rng.chance(sim.setting.overlap),
        max_overlap: max_overlap(sim),
        max_failures: u32::from(rng.chance(150)),
        drain: Millis::from_secs(10),
        quiet: Millis(sim.setting.late),
        start: Millis::from_secs(15),
        stop: Millis::from_secs(4),
        linger: Millis::from_secs(2),
        prove: Millis(rng.between(500, 3_000)),
        stage: Millis::from_secs(40),
        bound: Millis::from_secs(rng.between(60, 400)),
        hold: hold(sim),
        ..Policy::default()
    }
}

fn max_overlap(sim: &Sim) -> Option<Size> {
    let mut rng = Rng::of(sim.setting.seed, &format!("max overlap at {}", sim.now()));
    rng.chance(300).then(|| Size::Count(rng.between(1, 3) as u32))
}

/// Now and then a hold that is shorter than a migration may take: whoever waits longer gets 503.
fn hold(sim: &Sim) -> HoldLimits {
    let mut rng = Rng::of(sim.setting.seed, &format!("hold at {}", sim.now()));
    let short = !sim.setting.is_calm() && rng.chance(250);
    let wait = if short { Millis(rng.between(200, 4_000)) } else { HoldLimits::default().wait };
    HoldLimits { wait, ..HoldLimits::default() }
}

/// Asks some agent for it; what came of it.
pub(crate) async fn press(
    sim: &Sim,
    rng: &mut Rng,
    request: &Request,
) -> Option<Result<DeploymentId, Refused>> {
    let id = somebody(&sim.world(), rng)?;
    let what = format!("deploy {} {} by {id}", request.to.version, request.policy.strategy);
    sim.world().on(&id, What::Operator(what));
    let (reply, answer) = oneshot::channel();
    // Each is another person, so that it is seen whose wish became what.
    let request = Request { by: next_operator(&mut sim.world()), ..request.clone() };
    let (by, asked) = (request.by.clone(), sim.now());
    agent::command(sim, &id, Command::Deploy { request: Box::new(request), reply });
    match select(answer, pin!(sim.sleep(10_000))).await {
        Either::Left((Ok(answer), _)) => {
            if let Err(Refused::Busy { current, phase }) = &answer {
                let (current, phase) = (current.as_ref().clone(), *phase);
                let text = answer.as_ref().err().map_or_else(String::new, ToString::to_string);
                let mut world = sim.world();
                world.law.asked.last = Some(Refusal { by: by.clone(), asked, current, phase, text });
                world.happened(None, What::Refused(by));
            }
            let what = match &answer {
                Ok(id) => format!("it is {id}"),
                Err(refused) => format!("refused: {refused}"),
            };
            sim.world().happened(None, What::Operator(what));
            Some(answer)
        }
        _ => None,
    }
}

fn next_operator(world: &mut World) -> String {
    world.wishes += 1;
    format!("operator {}", world.wishes)
}

/// An agent that runs.
fn somebody(world: &World, rng: &mut Rng) -> Option<InstanceId> {
    let there: Vec<InstanceId> = world
        .hosts
        .values()
        .filter(|host| host.alive && host.agent.is_some())
        .map(|host| host.id.clone())
        .collect();
    rng.pick(&there)
}

/// Says `say` to the deployment that runs, through some agent.
async fn say(sim: &Sim, rng: &mut Rng, say: Say) {
    let Some(id) = somebody(&sim.world(), rng) else { return };
    sim.world().on(&id, What::Operator(format!("says {say:?}")));
    let (reply, answer) = oneshot::channel();
    agent::command(
        sim,
        &id,
        Command::Say { say, by: "operator".to_owned(), deployment: None, id: None, reply },
    );
    drop(select(answer, pin!(sim.sleep(20_000))).await);
}

/// Watches over the deployment: answers what only a person can, and lets a paused one go on.
pub(crate) async fn answer(sim: Sim) {
    let mut rng = Rng::of(sim.setting.seed, "answers");
    loop {
        sim.sleep(rng.between(3_000, 9_000)).await;
        let state = sim.world().current().map(|record| record.state);
        match state {
            Some(State::NeedsOperator) => {
                let truth = look(&mut sim.world(), &mut rng);
                if let Some(truth) = truth {
                    say(&sim, &mut rng, truth).await;
                }
            }
            Some(State::Paused) => {
                let what = if rng.chance(800) { Say::Resume } else { Say::Abort };
                say(&sim, &mut rng, what).await;
            }
            _ => {}
        }
    }
}

/// Looks into the database; nothing while the command still runs.
fn look(world: &mut World, rng: &mut Rng) -> Option<Say> {
    let record = world.current()?;
    let undo = record.take_back.is_some();
    let migration = (record.migration.as_ref()?.id.clone(), undo);
    let brought_by = if undo { record.from.as_ref()? } else { &record.to };
    let schema = world.releases.of(brought_by).schema;
    if world.database.running.values().any(|running| *running == schema) {
        return None;
    }
    if world.database.has(schema, undo) {
        Some(if undo { Say::UndoApplied } else { Say::MigrationApplied })
    } else if rng.chance(500) {
        *world.database.asked_again.entry(migration).or_default() += 1;
        Some(if undo { Say::UndoRunAgain } else { Say::MigrationRunAgain })
    } else {
        *world.database.looked.entry(migration).or_default() += 1;
        Some(if undo { Say::UndoNotApplied } else { Say::MigrationNotApplied })
    }
}

/// Changes its mind now and then.
pub(crate) async fn meddle(sim: Sim) {
    let mut rng = Rng::of(sim.setting.seed, "meddling");
    loop {
        let pause = if sim.setting.first { (300, 8_000) } else { (2_000, 40_000) };
        sim.sleep(rng.between(pause.0, pause.1)).await;
        if sim.world().calm {
            return;
        }
        let what = match rng.below(4) {
            0..=1 => Say::Pause,
            2 => Say::Resume,
            _ => Say::Abort,
        };
        say(&sim, &mut rng, what).await;
    }
}

/// Wants `no` by a plain rolling deployment: what a person does in the end with a fleet that is not as it should be.
pub(crate) fn plain(sim: &Sim, no: u16) -> Request {
    let mut rng = Rng::of(sim.setting.seed, "plain");
    let mut request = request(sim, &mut rng, no, false);
    request.policy.strategy = Strategy::Rolling;
    request.policy.batch = Size::Percent(50);
    request.policy.min_in_service = None;
    request.policy.overlap = true;
    request.policy.max_failures = 0;
    request.idempotency = None;
    debug_assert_eq!(request.to.version, version(no));
    request
}
