//! Instances on paper: what each says of itself, and how scripts change it.

use crate::world::releases::pinned;
use everup_core::fleet::{Member, Observation, Seen};
use everup_core::gate::Passing;
use everup_core::ids::{Fence, InstanceId, Rev, Term, Zone};
use everup_core::instance::{Granted, Outcome, Phase, Problem, RunStage, View};
use everup_core::order::Task;
use everup_core::record::Record;
use everup_core::time::{Millis, Mono};
use std::collections::{BTreeMap, BTreeSet};

/// An instance that is silent for longer counts as out of service.
const SILENCE: Millis = Millis(10_000);

/// The fleet.
#[derive(Debug, Default)]
pub(super) struct Paper {
    pub(super) instances: BTreeMap<InstanceId, Sheet>,
    gone: BTreeSet<InstanceId>,
    ended: BTreeSet<InstanceId>,
    desired: u32,
    announced: Option<BTreeSet<InstanceId>>,
    /// Announced themselves, and the fleet does not list them yet.
    unlisted: BTreeSet<InstanceId>,
}

/// One instance.
#[derive(Debug, Clone)]
pub(super) struct Sheet {
    pub(super) view: View,
    member: Option<Member>,
    greeted: bool,
    heard: Mono,
    /// When its fence was last seen to rise, and to what.
    obeyed: (Mono, Fence),
    /// Why it does not answer, if it does not.
    silent: Option<&'static str>,
}

type Done = Result<(), String>;

impl Paper {
    /// Carries out one line.
    pub(super) fn obey(&mut self, words: &[&str], record: Option<&Record>, now: u64) -> Done {
        self.change(words, record, now)?;
        for sheet in self.instances.values_mut().filter(|sheet| sheet.obeyed.1 != sheet.view.fence) {
            sheet.obeyed = (Mono(now), sheet.view.fence);
        }
        Ok(())
    }

    fn change(&mut self, words: &[&str], record: Option<&Record>, now: u64) -> Done {
        match words {
            // Instances in service on release 1; the first letter is the zone.
            ["fleet", ids @ ..] => {
                for id in ids {
                    self.join(id, now, 1, Phase::Serving)?;
                }
                self.desired = ids.len() as u32;
                Ok(())
            }
            // A newcomer in service on a release.
            ["newcomer", id, release] => {
                let release = release.parse().map_err(|_| "the release is a number".to_owned())?;
                self.join(id, now, release, Phase::Serving)
            }
            // A newcomer that waits.
            ["boot", id] => self.join(id, now, 0, Phase::Waiting),
            ["scale", n] => {
                self.desired = n.parse().map_err(|_| "a number of instances".to_owned())?;
                Ok(())
            }
            // The fleet says that it ended.
            ["kill", id] => {
                let id = name(id)?;
                let sheet = self.instances.remove(&id).ok_or("no such instance")?;
                if sheet.member.is_some_and(|member| member.terminating) {
                    self.ended.insert(id.clone());
                }
                self.gone.insert(id);
                Ok(())
            }
            ["terminate", id] => {
                if let Some(member) = &mut self.sheet(id)?.member {
                    member.terminating = true;
                    member.balanced = false;
                }
                Ok(())
            }
            ["silent", id] => self.sheet(id).map(|sheet| sheet.silent = Some("no answer")),
            // Its clock is off: signatures are refused, both ways.
            ["clock", id] => self.sheet(id).map(|sheet| sheet.silent = Some("its clock is off by 10 min")),
            ["speaks", id] => self.sheet(id).map(|sheet| {
                sheet.silent = None;
                sheet.heard = Mono(now);
            }),
            ["ill", "all"] => self.each(fall_ill),
            ["ill", id] => self.sheet(id).map(fall_ill),
            // Its app runs and has not answered yet.
            ["starting", id] => self.sheet(id).map(|sheet| {
                sheet.view.phase = Phase::Starting;
                sheet.view.running = true;
                sheet.view.healthy = false;
            }),
            ["heal", "all"] => self.each(heal),
            ["heal", id] => self.sheet(id).map(heal),
            ["greet", "all"] => {
                let term = record.map_or(Term(1), |record| record.term);
                self.greet_all(term);
                Ok(())
            }
            ["greet", id] => {
                let term = record.map_or(Term(1), |record| record.term);
                self.sheet(id).map(|sheet| sheet.greet(term))
            }
            // Carry out what was granted last, all of them or one; `to leaving`: only as far as that.
            ["obey"] => self.obey_all(record),
            ["obey", id] => self.obey_one(id, record, None),
            ["obey", id, "to", "leaving"] => self.obey_one(id, record, Some(Phase::Leaving)),
            // What was granted ended badly.
            ["fail", id, check, reason @ ..] => self.fail(id, check, &reason.join(" "), record),
            // It serves, and has not served for long enough; or has by now.
            ["unproven", id] => self.sheet(id).map(|sheet| sheet.view.steady = false),
            ["proven", id] => self.sheet(id).map(|sheet| sheet.view.steady = true),
            // Two apps run there, or only one does by now.
            ["both", id] => self.sheet(id).map(|sheet| sheet.view.doubled = true),
            ["one", id] => self.sheet(id).map(|sheet| sheet.view.doubled = false),
            // The new app did not come up beside the old one, and its agent has begun anew since.
            ["serves-on", id] => {
                let sheet = self.sheet(id)?;
                sheet.serve();
                sheet.view.done = sheet.view.fence;
                Ok(())
            }
            // It was told to come back too late: it has got there, and has not served for long enough.
            ["goes-on", id] => {
                let record = record.ok_or("no deployment runs")?;
                let granted = record.instances.get(&name(id)?).and_then(|entry| entry.granted.clone());
                let sheet = self.sheet(id)?;
                sheet.serve();
                sheet.view.fence = granted.ok_or("nothing was granted to it")?.fence;
                sheet.view.done = sheet.view.fence;
                sheet.view.release = Some(record.to.clone());
                sheet.view.steady = false;
                Ok(())
            }
            // It serves on, and says why it does not do what was granted.
            ["objects", id, why @ ..] => self.object(id, &why.join(" "), record),
            // The hold of a gate has lapsed.
            ["lapse", id] => self.sheet(id).map(|sheet| {
                sheet.serve();
                sheet.view.problem = Some(Problem::new("hold", "it was not renewed for 5 s"));
                sheet.view.done = sheet.view.fence;
            }),
            // The announcements are listed, as a coordinator does after it has written `sealing`.
            ["list"] => {
                self.announced = Some(self.instances.keys().cloned().collect());
                Ok(())
            }
            // A newcomer that the fleet does not list yet; until `newcomer` or `boot`.
            ["announces", id] => name(id).map(|id| {
                self.unlisted.insert(id);
            }),
            // How the migration ended on its runner.
            ["run", id, "exit", code] => {
                let code = code.parse().map_err(|_| "an exit status is a number".to_owned())?;
                self.ended(id, Outcome::Exited { code, log: Vec::new() })
            }
            ["run", id, "signal"] => {
                self.ended(id, Outcome::Unknown { reason: "killed by signal 9".to_owned(), log: Vec::new() })
            }
            ["run", id, "never-began"] => self.ended(id, Outcome::never_began("it was not begun")),
            _ => Err("no such command".to_owned()),
        }
    }

    fn sheet(&mut self, id: &str) -> Result<&mut Sheet, String> {
        self.instances.get_mut(&name(id)?).ok_or_else(|| format!("there is no {id}"))
    }

    fn each(&mut self, change: impl Fn(&mut Sheet)) -> Done {
        self.instances.values_mut().for_each(change);
        Ok(())
    }

    fn join(&mut self, id: &str, now: u64, release: u16, phase: Phase) -> Done {
        let name = name(id)?;
        let zone = Zone::new(&id[..1]).map_err(|bad| bad.to_string())?;
        let balanced = phase == Phase::Serving;
        let member =
            Member { zone: zone.clone(), address: "10.0.0.1:80".to_owned(), balanced, terminating: false };
        let mut view = blank(name.clone(), zone);
        view.phase = phase;
        if release > 0 {
            view.release = Some(pinned(release));
            view.running = true;
            view.healthy = true;
            view.gate = Passing::Open;
        }
        let obeyed = (Mono(now), view.fence);
        let sheet =
            Sheet { view, member: Some(member), greeted: false, heard: Mono(now), obeyed, silent: None };
        self.instances.insert(name, sheet);
        Ok(())
    }

    fn obey_all(&mut self, record: Option<&Record>) -> Done {
        let record = record.ok_or("no deployment runs")?;
        for (id, sheet) in &mut self.instances {
            if sheet.silent.is_none() {
                sheet.carry_out(id, record, None);
            }
        }
        Ok(())
    }

    fn obey_one(&mut self, id: &str, record: Option<&Record>, as_far_as: Option<Phase>) -> Done {
        let record = record.ok_or("no deployment runs")?;
        let name = name(id)?;
        self.sheet(id)?.carry_out(&name, record, as_far_as);
        Ok(())
    }

    fn fail(&mut self, id: &str, check: &str, reason: &str, record: Option<&Record>) -> Done {
        let record = record.ok_or("no deployment runs")?;
        let name = name(id)?;
        let sheet = self.sheet(id)?;
        let Some(grant) = record.instances.get(&name).and_then(|entry| entry.granted.as_ref()) else {
            return Err("nothing was granted to it".to_owned());
        };
        sheet.view.fence = grant.fence;
        sheet.view.problem = Some(Problem::new(check, reason));
        if !matches!(grant.task, Task::Stage { .. }) {
            fall_ill(sheet);
            sheet.view.problem = Some(Problem::new(check, reason));
        }
        Ok(())
    }

    fn object(&mut self, id: &str, why: &str, record: Option<&Record>) -> Done {
        let granted = record.and_then(|record| record.instances.get(&name(id).ok()?)?.granted.clone());
        let sheet = self.sheet(id)?;
        sheet.view.fence = granted.ok_or("nothing was granted to it")?.fence;
        sheet.view.objects = Some(why.to_owned());
        Ok(())
    }

    fn ended(&mut self, id: &str, outcome: Outcome) -> Done {
        let migration = self.sheet(id)?.view.migration.as_mut();
        migration.ok_or("it was not granted the migration")?.stage = RunStage::Ended(outcome);
        self.sheet(id)?.view.phase = Phase::Sealed;
        Ok(())
    }

    pub(super) fn greet_all(&mut self, term: Term) {
        self.instances
            .values_mut()
            .filter(|sheet| sheet.silent.is_none())
            .for_each(|sheet| sheet.greet(term));
    }

    pub(super) fn new_coordinator(&mut self) {
        self.announced = None;
        self.instances.values_mut().for_each(|sheet| sheet.greeted = false);
    }

    pub(super) fn hear_all(&mut self, now: u64) {
        self.instances
            .values_mut()
            .filter(|sheet| sheet.silent.is_none())
            .for_each(|sheet| sheet.heard = Mono(now));
    }

    pub(super) fn observe(&self, now: u64) -> Observation {
        let seen = |sheet: &Sheet| Seen {
            member: sheet.member.clone(),
            view: sheet.greeted.then(|| sheet.view.clone()),
            heard: sheet.greeted.then_some(sheet.heard),
            obeyed: sheet.greeted.then_some(sheet.obeyed.0),
            greeted: sheet.greeted,
            trouble: sheet.silent.map(str::to_owned),
        };
        let unlisted =
            Seen { member: None, view: None, heard: None, obeyed: None, greeted: false, trouble: None };
        let unlisted = self.unlisted.iter().map(|id| (id.clone(), unlisted.clone()));
        Observation {
            now: Mono(now),
            desired: self.desired,
            seen: unlisted
                .chain(self.instances.iter().map(|(id, sheet)| (id.clone(), seen(sheet))))
                .collect(),
            gone: self.gone.clone(),
            ended: self.ended.clone(),
            complete: false,
            announced: self.announced.clone(),
            silence: SILENCE,
        }
    }
}

impl Sheet {
    fn greet(&mut self, term: Term) {
        self.greeted = true;
        self.view.fence = self.view.fence.max(Fence { term, rev: Rev(0) });
    }

    fn serve(&mut self) {
        self.view.phase = Phase::Serving;
        self.view.gate = Passing::Open;
        self.view.healthy = true;
        self.view.running = true;
        self.view.idle = false;
        self.view.hold = None;
        self.view.problem = None;
        self.balance(true);
    }

    fn balance(&mut self, on: bool) {
        if let Some(member) = &mut self.member {
            member.balanced = on;
        }
    }

    fn stop(&mut self) {
        self.view.running = false;
        self.view.healthy = false;
        self.view.idle = true;
    }

    /// Does what it was granted, to its end.
    fn carry_out(&mut self, id: &InstanceId, record: &Record, as_far_as: Option<Phase>) {
        let Some(grant) = record.instances.get(id).and_then(|entry| entry.granted.as_ref()) else { return };
        if grant.fence < self.view.fence || self.view.done >= grant.fence {
            return;
        }
        self.view.fence = grant.fence;
        if as_far_as == Some(Phase::Leaving) {
            self.view.phase = Phase::Leaving;
            self.view.gate = Passing::Draining;
            return self.balance(false);
        }
        match &grant.task {
            Task::Stage { release, .. } => {
                self.view.staged.insert(release.clone());
                self.view.done = grant.fence;
            }
            Task::Update { release, .. } | Task::Start { release, .. } => {
                self.serve();
                self.view.release = Some(release.clone());
                self.view.steady = true;
                self.view.done = grant.fence;
            }
            Task::TakeBack => {
                self.serve();
                self.view.done = grant.fence;
            }
            Task::Hold { hold, .. } => {
                self.view.phase = Phase::Held;
                self.view.gate = Passing::Held;
                self.view.hold = Some(hold.clone());
                self.view.idle = true;
            }
            Task::Seal { .. } => {
                self.stop();
                self.view.phase = Phase::Sealed;
                self.view.gate = Passing::Sealed;
            }
            Task::Migrate { run } => {
                self.view.phase = Phase::Migrating;
                if self.view.migration.as_ref().is_none_or(|granted| granted.run != *run) {
                    self.view.migration = Some(Granted { run: run.clone(), stage: RunStage::Spawned });
                }
            }
        }
    }
}

fn fall_ill(sheet: &mut Sheet) {
    sheet.view.phase = Phase::Ill;
    sheet.view.healthy = false;
    sheet.view.problem = Some(Problem::new("health check", "it answered 503"));
}

fn heal(sheet: &mut Sheet) {
    sheet.serve();
}

fn name(id: &str) -> Result<InstanceId, String> {
    InstanceId::new(id).map_err(|bad| bad.to_string())
}

fn blank(id: InstanceId, zone: Zone) -> View {
    View {
        id,
        zone,
        run: 1,
        seq: 1,
        fence: Fence::default(),
        phase: Phase::Announced,
        waiting: None,
        release: None,
        running: false,
        doubled: false,
        done: Fence::default(),
        steady: false,
        staged: BTreeSet::new(),
        gate: Passing::Shut,
        idle: false,
        healthy: false,
        hold: None,
        problem: None,
        migration: None,
        deaths: 0,
        fetched: None,
        objects: None,
    }
}
