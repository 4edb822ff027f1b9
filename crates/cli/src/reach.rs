//! How a command reaches the fleet: through any of its agents, the next one where one does not answer.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Out;
use crate::wait::{self, MOMENT};
use everup_core::ids::Environment;
use everup_core::words;
use everup_host::local::client::Keeper;
use everup_host::settings::Settings;
use everup_web::client::{Client, Failure as CallFailure, Http};
use everup_web::clock;
use everup_web::keyring::Keyring;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long agents are waited for.
#[derive(Clone, Copy)]
struct Patience {
    /// Whoever has not answered by then is not the only one that is asked any more.
    next: Duration,
    /// A call to one agent takes no longer.
    each: Duration,
}

const SLOW: Duration = Duration::from_millis(500);
/// Whether one answers at all.
const AWAKE: Patience = Patience { next: SLOW, each: Duration::from_secs(5) };
/// What changes nothing.
const LOOK: Patience = Patience { next: SLOW, each: Duration::from_secs(30) };
/// What changes something is asked of one after the other.
const CHANGE: Patience = Patience { next: FOR_EVER, each: Duration::from_secs(30) };
/// Longer than any call takes.
const FOR_EVER: Duration = Duration::from_secs(24 * 3_600);

/// A fleet that can be asked.
#[derive(Clone)]
pub struct Reach {
    http: Http,
    keeper: Keeper,
    environment: Environment,
    /// Where it is said whom a command waits for.
    out: Out,
}

impl Reach {
    /// The fleet of these settings; `out` is told of an agent that takes longer than a moment.
    ///
    /// # Errors
    /// When it has no keys: it was never started here.
    pub fn new(settings: &Settings, out: Out) -> Result<Self, Failure> {
        let path = settings.state.join("keys.json");
        if !path.exists() {
            let happened = "no fleet was ever started here (there are no keys)";
            return Err(unreachable(happened));
        }
        let keyring = Keyring::open(&path).map_err(|e| unreachable(crate::failure::chain(&e)))?;
        let http = Http::new(Arc::new(keyring), clock::system());
        let (keeper, environment) = (Keeper::at(&settings.run()), settings.environment.clone());
        Ok(Self { http, keeper, environment, out })
    }

    /// The keeper of this machine's fleet.
    #[must_use]
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// A client for each agent of the fleet, as the keeper, or what it left, says. `say` is told if the keeper takes longer
    /// than a moment.
    ///
    /// # Errors
    /// When nobody knows of a fleet.
    pub async fn agents(&self, say: impl FnOnce(&str)) -> Result<Vec<Client>, Failure> {
        let fleet = wait::keeper(self.keeper.members(0), say).await;
        let members = fleet.map_err(unreachable)?.members.members.into_values();
        Ok(members.map(|member| self.http.client(member.address, self.environment.as_str())).collect())
    }

    /// Asks one agent after another until one answers. A refusal is an answer. Begins with the one that answers first when
    /// all are asked what they are: one that hangs would be waited for, and what changes something is not asked of two at
    /// once.
    ///
    /// # Errors
    /// `wanted` says what could not be done; with what the last agent said, or why none answers.
    pub async fn ask<T>(
        &self,
        wanted: &str,
        call: impl AsyncFn(&Client) -> Result<T, CallFailure>,
    ) -> Result<T, Failure> {
        let agents = self.agents(|words| self.out.say(words)).await?;
        let awake = async |agent: &Client| agent.version().await.map(|_| agent.address().to_owned());
        let first = self.ask_in_turn(&agents, wanted, awake, AWAKE).await?;
        let (mut awake, others): (Vec<_>, Vec<_>) =
            agents.into_iter().partition(|agent| agent.address() == first);
        awake.extend(others);
        self.ask_in_turn(&awake, wanted, call, CHANGE).await
    }

    /// As [`Self::ask`], for what changes nothing: one that is slow does not keep the next from being asked.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn look<T>(
        &self,
        wanted: &str,
        call: impl AsyncFn(&Client) -> Result<T, CallFailure>,
    ) -> Result<T, Failure> {
        self.ask_in_turn(&self.agents(|words| self.out.say(words)).await?, wanted, call, LOOK).await
    }

    /// As [`Self::look`], for a call that says itself what it waits for.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn look_told<T>(
        &self,
        wanted: &str,
        call: impl AsyncFn(&Client) -> Result<T, CallFailure>,
    ) -> Result<T, Failure> {
        let quiet = Self { out: Out::QUIET, ..self.clone() };
        quiet.ask_in_turn(&self.agents(|words| self.out.say(words)).await?, wanted, call, LOOK).await
    }

    async fn ask_in_turn<T>(
        &self,
        agents: &[Client],
        wanted: &str,
        call: impl AsyncFn(&Client) -> Result<T, CallFailure>,
        patience: Patience,
    ) -> Result<T, Failure> {
        let call = &call;
        let ask = |agent| async move { (agent, call(agent).await) };
        let (mut next, mut asked) = (agents.iter(), FuturesUnordered::new());
        let mut waits = Waits::new(self.out, patience);
        let mut last: Option<CallFailure> = None;
        loop {
            if let Some(agent) = next.next() {
                waits.asks(agent, next.len());
                asked.push(ask(agent));
            }
            let answer = tokio::select! {
                answer = asked.next() => answer,
                () = waits.for_the_next() => continue,
            };
            match answer {
                None => break,
                Some((_, Ok(answer))) => return Ok(answer),
                Some((agent, Err(error))) if may_ask_another(&error) => {
                    waits.gives_up(agent);
                    // What an agent says is worth more than that another cannot be reached.
                    last = last.filter(|said| !was_not_sent(said) && was_not_sent(&error)).or(Some(error));
                }
                Some((_, Err(error))) => return Err(failure(wanted, &error)),
            }
        }
        match last {
            Some(error) => Err(failure(wanted, &error)),
            None => Err(Failure { wanted: wanted.to_owned(), ..self.nobody().await }),
        }
    }

    /// Why there is nobody to ask.
    async fn nobody(&self) -> Failure {
        match wait::keeper(self.keeper.info(), |words| self.out.say(words)).await {
            Ok(_) => unreachable("the fleet has no instance").hint("`everup scale 2` starts some"),
            Err(_) => unreachable("the fleet is not running"),
        }
    }
}

/// Whom a command waits for, and until when. It says so once a moment has passed, and again for whoever is asked then.
struct Waits<'c> {
    out: Out,
    patience: Patience,
    asked: Vec<&'c Client>,
    next: Instant,
    tell: Instant,
    until: Instant,
}

impl<'c> Waits<'c> {
    fn new(out: Out, patience: Patience) -> Self {
        let now = Instant::now();
        Self { out, patience, asked: Vec::new(), next: now, tell: now + MOMENT, until: now }
    }

    /// `agent` is asked now, and so many could be after it.
    fn asks(&mut self, agent: &'c Client, more: usize) {
        let (now, Patience { next, each }) = (Instant::now(), self.patience);
        if self.asked.is_empty() {
            self.tell = now + MOMENT;
        }
        self.asked.push(agent);
        self.next = now + next;
        self.until =
            now + each + if next < each { next * u32::try_from(more).unwrap_or(0) } else { Duration::ZERO };
    }

    /// `agent` has failed.
    fn gives_up(&mut self, agent: &Client) {
        self.asked.retain(|asked| asked.address() != agent.address());
    }

    /// Until the next one is to be asked.
    async fn for_the_next(&mut self) {
        if self.tell < self.next {
            sleep_until(self.tell).await;
            self.says();
        }
        sleep_until(self.next).await;
        self.next = Instant::now() + FOR_EVER;
    }

    fn says(&mut self) {
        self.tell = Instant::now() + FOR_EVER;
        let agents = if self.asked.len() == 1 { "agent" } else { "agents" };
        let who = words::list(self.asked.iter().map(|agent| agent.address()), 5);
        let left = self.until.saturating_duration_since(Instant::now()).as_secs();
        self.out.say(format!("waiting for the {agents} at {who} to answer, for at most {left} s"));
    }
}

const fn was_not_sent(error: &CallFailure) -> bool {
    matches!(error, CallFailure::NotSent { .. })
}

/// Whether another agent might do better. Every call of the API may be sent twice.
#[must_use]
pub fn may_ask_another(error: &CallFailure) -> bool {
    match error {
        CallFailure::Refused { status, .. } => {
            matches!(
                *status,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
            )
        }
        // It may be that agent's clock alone that is off; if it is ours, all of them say so.
        CallFailure::NotSent { .. }
        | CallFailure::Silent { .. }
        | CallFailure::Unbelieved { .. }
        | CallFailure::Clock { .. } => true,
        CallFailure::Unread { .. } | CallFailure::Unfit { .. } => false,
    }
}

/// A call's failure as a command's.
#[must_use]
pub fn failure(wanted: &str, error: &CallFailure) -> Failure {
    let exit = match error {
        CallFailure::Refused { fault, .. } => refused(&fault.error),
        CallFailure::Unread { .. } | CallFailure::Unfit { .. } => Exit::Internal,
        _ => Exit::Unreachable,
    };
    let failure = Failure::new(exit, wanted, error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None if exit == Exit::Unreachable => failure.hint("`everup status` shows which agents answer"),
        None => failure,
    }
}

fn refused(kind: &str) -> Exit {
    match kind {
        "busy" => Exit::Busy,
        "store" | "no-answer" | "coordinator" | "ending" => Exit::Unreachable,
        _ => Exit::BadInput,
    }
}

fn unreachable(happened: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Unreachable, "the fleet could not be reached", happened).hint("`everup up` starts it")
}

/// Who asks: the person at this machine.
#[must_use]
pub fn by() -> String {
    let told = |name: &&str| std::env::var(name).ok().filter(|name| !name.is_empty());
    ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(told).unwrap_or_else(everup_host::proc::user)
}
