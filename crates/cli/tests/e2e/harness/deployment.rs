//! A deployment that a test follows: by its command, and by the record in the store.

use super::{LOOK, PATIENCE, Said, Shop, until};
use everup_cli::progress::document::problems;
use everup_core::deployment::State;
use everup_core::record::Record;
use everup_web::wire::Deploy;
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::thread::{JoinHandle, park_timeout};
use std::time::Instant;

/// A deployment to `version` as the API is asked for it, with the agent's own settings.
pub(crate) fn wish(version: &str) -> Deploy {
    let version = version.parse().unwrap();
    Deploy { version, policy: None, by: "a test".into(), take_back: None, idempotency: None }
}

/// `everup deploy … --json`, under way.
pub(crate) struct Running<'s> {
    shop: &'s Shop,
    id: String,
    child: Child,
    out: JoinHandle<String>,
    err: JoinHandle<String>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The command's exit code.
    pub(crate) code: i32,
    /// The deployment, as the command printed it.
    pub(crate) document: Value,
    /// The record, as the store has it.
    pub(crate) record: Record,
    /// What the command said.
    pub(crate) err: String,
}

/// Why an instance failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blame<'w> {
    /// The step or check that found it.
    pub(crate) check: &'w str,
    /// Words of the reason.
    pub(crate) reason: &'w [&'w str],
    /// Words of the last lines that its app wrote.
    pub(crate) log: &'w [&'w str],
}

impl<'s> Running<'s> {
    /// Starts `everup VERB WORDS`, and waits until it says which deployment it is.
    #[track_caller]
    pub(crate) fn begin(shop: &'s Shop, verb: &str, words: &[&str]) -> Self {
        let mut command = shop.command(&[&[verb, "--json"], words].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let err = collect(child.stderr.take().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let started: Value = serde_json::from_str(&first).unwrap_or_default();
        let Some(id) = started["deployment"].as_str().map(str::to_owned) else {
            let rest = collect(lines).join().unwrap();
            panic!("it did not begin: {first}{rest}\n{}", err.join().unwrap());
        };
        Self { shop, id, child, out: collect(lines), err }
    }

    /// What the store has of it.
    pub(crate) fn record(&self) -> Option<Record> {
        self.shop.record(&self.id)
    }

    /// Waits until the record says `enough`.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, enough: impl Fn(&Record) -> bool) -> Record {
        until(what, || self.record().filter(&enough))
    }

    /// Waits until it has reached `state`, or has gone past it.
    #[track_caller]
    pub(crate) fn reached(&self, state: State) -> Record {
        let record = self.until(&state.to_string(), |record| {
            record.phases.iter().any(|phase| phase.state == state) || record.state.is_final()
        });
        assert!(
            record.phases.iter().any(|phase| phase.state == state),
            "{}: {}",
            record.state,
            record.because
        );
        record
    }

    /// Waits until `n` instances are done.
    #[track_caller]
    pub(crate) fn done(&self, n: usize) -> Record {
        use everup_core::record::Progress::Done;
        let many =
            |record: &Record| record.instances.values().filter(|entry| entry.progress == Done).count() >= n;
        self.until("instances to be done", |record| many(record) || record.state.is_final())
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Ends the command that follows it (kill -9); the deployment goes on.
    pub(crate) fn orphan(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.id
    }

    /// Ctrl-C for the command that follows it; the deployment goes on. What the command said, and the deployment's id.
    #[track_caller]
    pub(crate) fn interrupted(mut self) -> (Said, String) {
        super::signal(self.child.id(), Signal::INT);
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let (out, err) = (self.out.join().unwrap(), self.err.join().unwrap());
        (Said { code, out, err }, self.id)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let mut status = self.child.try_wait().unwrap();
        while status.is_none() {
            assert!(
                Instant::now() < deadline,
                "it did not end:\n{}",
                self.record().map_or_else(String::new, |r| told(&r))
            );
            park_timeout(LOOK);
            status = self.child.try_wait().unwrap();
        }
        let code = status.and_then(|status| status.code()).unwrap_or(-1);
        let (out, err) = (self.out.join().unwrap(), self.err.join().unwrap());
        let last: Value =
            out.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        let record = self.shop.record(&self.id).unwrap();
        Ended { code, document: last["deployment"].clone(), record, err }
    }
}

impl Ended {
    /// Waits for the end of deployment `id`, whose command is gone: `everup history` says what the command would have.
    #[track_caller]
    pub(super) fn of(shop: &Shop, id: &str) -> Self {
        let over = |record: &Record| record.state.is_final() && record.receipt.is_some();
        let record = until("the end of a deployment", || shop.record(id).filter(over));
        let said = shop.everup(&["history", id, "--json"]);
        let document = serde_json::from_str(&said.out).unwrap_or_default();
        let code = i32::from(everup_cli::progress::document::exit(&record).code());
        Self { code, document, record, err: said.err }
    }

    /// The whole fleet is on the new release, and the receipt has no failed request. On a machine that is busy with
    /// other tests the prober is late at times, and its receipt rightly says that it is not whole.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        self.with(State::Succeeded, &[0, 6])
    }

    /// The same where a process with requests inside it was killed.
    #[track_caller]
    pub(crate) fn succeeded_somehow(self) -> Self {
        self.with(State::Succeeded, &[0, 6, 10])
    }

    /// The fleet is on the old release.
    #[track_caller]
    pub(crate) fn rolled_back(self) -> Self {
        self.with(State::RolledBack, &[3])
    }

    #[track_caller]
    fn with(self, state: State, codes: &[i32]) -> Self {
        let told = || format!("{}{}{}", told(&self.record), self.err, self.document["sources"]);
        assert_eq!(self.record.state, state, "{}", told());
        assert!(codes.contains(&self.code), "it ended with {}: {}", self.code, told());
        self
    }

    /// Whoever failed did so as `blame` says. The sentence of the end names it, the check and the reason; who asks for the
    /// history reads the last lines of its app too.
    #[track_caller]
    pub(crate) fn blames(self, shop: &Shop, blame: &Blame<'_>) -> Self {
        let Blame { check, reason, log } = *blame;
        let because = &self.record.because;
        let told = shop.everup(&["history", self.record.id.as_str()]).done().out;
        let failed = problems(&self.record);
        assert!(!failed.is_empty(), "it names nobody: {because}");
        for (id, problem) in failed {
            assert_eq!(problem.check, check, "{id}: {problem}");
            assert!(because.contains(id.as_str()) && because.contains(check), "{id}: {problem}: {because}");
            assert!(told.contains(&format!("{id}: {check}: ")), "{id}: {problem}: {told}");
            let lines = problem.log.join("\n");
            for word in reason {
                assert!(problem.reason.contains(word), "{word:?} is no reason of {id}: {problem}");
                assert!(because.contains(word), "it does not say {word:?}: {because}");
            }
            for word in log {
                assert!(lines.contains(word), "{word:?} is not in the log of {id}: {problem}\n{lines}");
                assert!(told.contains(word), "{word:?} of {id} is not told: {told}");
            }
        }
        self
    }

    /// Some instance's problem, and the sentence of the end, hold each of `words`.
    #[track_caller]
    pub(crate) fn because(self, words: &[&str]) -> Self {
        let problems =
            self.record.instances.iter().filter_map(|(id, entry)| Some((id, entry.problem.as_ref()?)));
        let problems: Vec<_> =
            problems.map(|(id, problem)| format!("{id}: {problem}\n{}", problem.log.join("\n"))).collect();
        let text = format!("{}\n{}\n{}", self.record.because, problems.join("\n"), self.document);
        for word in words {
            assert!(text.contains(word), "it does not say {word:?}:\n{text}");
        }
        self
    }
}

/// Where a deployment is and how it came there.
fn told(record: &Record) -> String {
    let receipt =
        record.receipt.as_ref().map_or("no receipt".to_owned(), |receipt| format!("{:?}", receipt.verdict));
    let mut text = format!("{}: {} ({receipt})\n", record.state, record.because);
    for (id, entry) in &record.instances {
        let problem =
            entry.problem.as_ref().map(|problem| format!(": {problem}\n{}", problem.log.join("\n")));
        text += &format!("  {id} {:?}{}\n", entry.progress, problem.unwrap_or_default());
    }
    let lines = record.waiting.iter().map(|line| format!("waiting: {line}"));
    let lines =
        lines.chain(record.story.iter().map(|line| format!("{} {}", line.at.0 % 1_000_000, line.what)));
    lines.fold(text, |text, line| text + "  " + &line + "\n")
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
