//! Scripts for the planner: a paper fleet, commanded line by line, with everything that the planner decides printed.
//!
//! There is no engine and no time here but what a script says: `pass 10s`. A line is a command, an empty line or a
//! comment. The commands are listed in [`paper::Paper::obey`] and [`Script::line`].

mod paper;
mod show;

use everup_core::deployment::State;
use everup_core::head::{Current, Head, Lease, TakeBack};
use everup_core::ids::{DeploymentId, HoldId, InstanceId, MigrationId, Term, WriteId};
use everup_core::plan::{Facts, head_after, head_before, plan};
use everup_core::policy::{Policy, Strategy};
use everup_core::record::{Record, Say, Word};
use everup_core::release::{Command, Migration, OnFailure};
use everup_core::time::{Millis, Wall};
use paper::Paper;
use std::fmt::Write as _;

use crate::world::environment;
use crate::world::releases::{pinned, version};

/// Plays a script; what comes out is its lines, each followed by what it did.
///
/// # Errors
/// A line that is no command, with its number.
pub fn play(text: &str) -> Result<String, String> {
    let mut script = Script::new();
    for (number, line) in text.lines().enumerate() {
        script.out.push_str(line);
        script.out.push('\n');
        let command = line.split('#').next().unwrap_or_default().trim();
        if !command.is_empty() {
            script.line(command).map_err(|what| format!("line {}: {line}: {what}", number + 1))?;
        }
    }
    Ok(script.out)
}

/// A fleet on paper, and the documents that the planner works on.
struct Script {
    out: String,
    paper: Paper,
    head: Head,
    record: Option<Record>,
    now: u64,
    entered: u64,
    words: u64,
}

impl Script {
    fn new() -> Self {
        let mut head = Head::first(write("first"));
        head.term = Term(1);
        head.newcomers = Some(pinned(1));
        head.proven = Some(pinned(1));
        head.deployed.insert(version(1));
        Self { out: String::new(), paper: Paper::default(), head, record: None, now: 0, entered: 0, words: 0 }
    }

    fn line(&mut self, command: &str) -> Result<(), String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["deploy", no, options @ ..] => self.deploy(no, options),
            ["plan"] => self.plan().map(|_| ()),
            ["plans"] => self.plan_until_nothing_changes(),
            ["pass", span] => self.pass(span),
            ["leads", id] => self.lead(id),
            ["say", what] => self.say(what),
            ["takeover"] => self.take_over(),
            ["show"] => self.show(),
            ["head"] => self.show_head(),
            _ => self.paper.obey(&words, self.record.as_ref(), self.now),
        }
    }

    fn tell(&mut self, what: impl AsRef<str>) {
        for line in what.as_ref().lines() {
            // Writing to a text cannot fail.
            let _ = writeln!(self.out, "    {line}");
        }
    }

    fn deploy(&mut self, no: &str, options: &[&str]) -> Result<(), String> {
        let no: u16 = no.parse().map_err(|_| "the release is a number".to_owned())?;
        let take_back = options.iter().find_map(|option| match *option {
            "undo" => Some(TakeBack::Undo),
            "restored" => Some(TakeBack::Restored),
            _ => None,
        });
        let (policy, migration) = read_options(options)?;
        self.head.term = self.head.term.next();
        let request = everup_core::head::Request {
            to: pinned(no),
            policy,
            by: "ann".to_owned(),
            at: Wall(self.now),
            from: self.head.proven.clone(),
            migration,
            applied_before: None,
            take_back,
            idempotency: None,
        };
        let again = self.record.as_ref().is_some_and(|record| record.id.as_str() == format!("d{no}"));
        let id = if again { format!("d{no}-again") } else { format!("d{no}") };
        let id = DeploymentId::new(id).map_err(|bad| bad.to_string())?;
        let record = Record::first(&environment(), &id, self.head.term, &request, write("first"));
        self.head.current = Some(Current { id, request });
        self.head.lease = None;
        self.record = Some(record);
        self.entered = self.now;
        self.paper.greet_all(self.head.term);
        Ok(())
    }

    /// One step of the planner; whether it changed anything.
    fn plan(&mut self) -> Result<bool, String> {
        let record = self.record.clone().ok_or("no deployment runs")?;
        let mut seen = self.paper.observe(self.now);
        if matches!(record.state, State::Pending | State::Rolling | State::RollingBack) {
            seen.announced.get_or_insert_with(|| seen.seen.keys().cloned().collect());
        }
        let facts = Facts {
            head: &self.head,
            record: &record,
            seen: &seen,
            elapsed: record.elapsed.max(Millis(self.now - record.at.0)),
            in_state: Millis(self.now - self.entered),
            wall: Wall(self.now),
        };
        let plan = plan(facts);
        let settled = !plan.changed || plan.next.state.is_final();
        let said = show::step(&record, &plan);
        self.tell(said);
        if settled {
            let waits = show::waiting(&plan);
            self.tell(if waits.is_empty() { "nothing to wait for".to_owned() } else { waits });
        }
        if plan.next.state != record.state {
            self.entered = self.now;
        }
        if let Some(head) = head_before(&self.head, &plan.next) {
            self.head = head;
        }
        if plan.next.state.is_final() {
            self.head = head_after(&self.head, &plan.next);
        }
        self.record = Some(plan.next);
        Ok(!settled)
    }

    fn plan_until_nothing_changes(&mut self) -> Result<(), String> {
        // Each step of a deployment changes it once; a planner that never settles would be a bug of its own.
        for _ in 0..50 {
            if !self.plan()? {
                return Ok(());
            }
        }
        Err("the planner never settles".to_owned())
    }

    fn pass(&mut self, span: &str) -> Result<(), String> {
        let seconds: u64 =
            span.strip_suffix('s').and_then(|n| n.parse().ok()).ok_or("a span is written 10s")?;
        self.now += seconds * 1_000;
        self.paper.hear_all(self.now);
        Ok(())
    }

    fn say(&mut self, what: &str) -> Result<(), String> {
        let say = match what {
            "pause" => Say::Pause,
            "resume" => Say::Resume,
            "abort" => Say::Abort,
            "applied" => Say::MigrationApplied,
            "not-applied" => Say::MigrationNotApplied,
            "run-again" => Say::MigrationRunAgain,
            "undo-applied" => Say::UndoApplied,
            "undo-not-applied" => Say::UndoNotApplied,
            _ => return Err("no such word".to_owned()),
        };
        let deployment = self.record.as_ref().ok_or("no deployment runs")?.id.clone();
        self.words += 1;
        let id = write(&format!("word-{}", self.words));
        self.head.words.push(Word { id, deployment, what: say, by: "ann".to_owned(), at: Wall(self.now) });
        Ok(())
    }

    /// Who holds the lease; without it nobody of the fleet does.
    fn lead(&mut self, id: &str) -> Result<(), String> {
        let holder = InstanceId::new(id).map_err(|bad| bad.to_string())?;
        self.head.lease = Some(Lease { holder, beat: 1 });
        Ok(())
    }

    /// Another coordinator: a higher term, stamped into the record; nobody is greeted yet.
    fn take_over(&mut self) -> Result<(), String> {
        self.head.term = self.head.term.next();
        let record = self.record.as_mut().ok_or("no deployment runs")?;
        record.term = self.head.term;
        record.rev = record.rev.next();
        self.paper.new_coordinator();
        Ok(())
    }

    fn show(&mut self) -> Result<(), String> {
        let record = self.record.as_ref().ok_or("no deployment runs")?;
        let shown = show::record(record, &self.paper);
        self.tell(shown);
        Ok(())
    }

    fn show_head(&mut self) -> Result<(), String> {
        let shown = show::head(&self.head);
        self.tell(shown);
        Ok(())
    }
}

fn write(id: &str) -> WriteId {
    WriteId::new(id).expect("it is a good name")
}

/// `rolling`, `all-at-once`, `overlap`, `max-overlap=1`, `batch=2`, `min=3`, `max-failures=1`, `migration`, `migration=stop`.
fn read_options(options: &[&str]) -> Result<(Policy, Option<Migration>), String> {
    let mut policy = Policy { bound: Millis::from_secs(600), ..Policy::default() };
    let mut migration = None;
    for option in options {
        match option.split_once('=').unwrap_or((*option, "")) {
            ("rolling", "") => policy.strategy = Strategy::Rolling,
            ("all-at-once", "") => policy.strategy = Strategy::AllAtOnce,
            ("overlap", "") => policy.overlap = true,
            ("max-overlap", size) => {
                policy.max_overlap = Some(size.parse().map_err(|bad| format!("{bad}"))?);
            }
            ("batch", size) => policy.batch = size.parse().map_err(|bad| format!("{bad}"))?,
            ("min", size) => policy.min_in_service = Some(size.parse().map_err(|bad| format!("{bad}"))?),
            ("max-failures", n) => policy.max_failures = n.parse().map_err(|bad| format!("{bad}"))?,
            ("undo" | "restored", "") => migration = Some(a_migration("")),
            ("migration", contract) => migration = Some(a_migration(contract)),
            _ => return Err(format!("there is no option {option}")),
        }
    }
    Ok((policy, migration))
}

fn a_migration(contract: &str) -> Migration {
    Migration {
        id: MigrationId::new("m1").expect("it is a good name"),
        command: Command("migrate".to_owned()),
        undo: None,
        on_failure: if contract == "stop" { OnFailure::Stop } else { OnFailure::GoBack },
    }
}

/// A hold's name in what is printed: only whether there is one.
fn word_of_hold(hold: Option<&HoldId>) -> &'static str {
    if hold.is_some() { "held" } else { "-" }
}
