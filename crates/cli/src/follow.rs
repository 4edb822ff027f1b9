//! Follows a fleet through any of its agents, and on with another when that one dies.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Out};
use crate::progress::screen::Screen;
use crate::reach::{self, Reach, may_ask_another};
use crate::wait::{self, MOMENT};
use everup_core::ids::{DeploymentId, InstanceId};
use everup_core::status::Status;
use everup_core::words;
use everup_web::client::{Client, Failure as CallFailure};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How following ended.
#[derive(Debug)]
pub enum Ended {
    /// What was waited for is there.
    Reached(Box<Status>),
    /// The person left (Ctrl-C).
    Left,
}

/// Ctrl-C, from the moment on at which it is listened for: until then it ends the process.
#[derive(Debug)]
pub struct Interrupts(Signal);

impl Interrupts {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the machine gives no signal handler.
    pub fn listen() -> Result<Self, Failure> {
        let refused = |error| Failure::new(Exit::Internal, "Ctrl-C could not be listened for", error);
        signal(SignalKind::interrupt()).map(Self).map_err(refused)
    }

    /// The next one; one that came while nobody asked is not lost.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// A fleet of which nobody answers is given up after this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two rounds in which nobody answered: nobody can tell of a change.
const AGAIN: Duration = Duration::from_millis(500);

/// An agent that tells of another deployment than the one that is followed is left for the next one after this long:
/// it has not heard yet.
const STALE: Duration = Duration::from_secs(2);
/// A status that shows every instance is waited for so long.
const WHOLE: Duration = Duration::from_secs(3);
/// An agent begins to tell within this, or not at all.
const OPENING: Duration = Duration::from_secs(5);
/// The present status is answered within this, or not at all.
const PRESENT: Duration = Duration::from_secs(10);

/// Follows a fleet.
pub struct Follower<'r> {
    reach: &'r Reach,
    screen: Screen,
    /// The deployment that is followed, if it is one.
    deployment: Option<DeploymentId>,
    /// Ctrl-C, also while nobody looks.
    interrupts: Interrupts,
    reader_left: Arc<Notify>,
    silent_since: Option<Instant>,
    /// Whether it was said that nobody answers.
    told_silence: bool,
}

/// Why an agent is not listened to any more.
enum Left {
    /// What was waited for is there, or the person left.
    Ended(Ended),
    /// Its stream ended: it may know more now.
    Again,
    /// It knows less than others.
    Stale,
}

impl<'r> Follower<'r> {
    /// Of the fleet that `reach` reaches.
    ///
    /// # Errors
    /// When the machine gives no signal handler.
    pub fn new(reach: &'r Reach, out: Out) -> Result<Self, Failure> {
        Ok(Self::heeding(reach, out, Interrupts::listen()?))
    }

    /// The same for a command that has listened for Ctrl-C before.
    #[must_use]
    pub fn heeding(reach: &'r Reach, out: Out, interrupts: Interrupts) -> Self {
        Self {
            reach,
            screen: Screen::new(out),
            deployment: None,
            interrupts,
            reader_left: output::reader_left(),
            silent_since: None,
            told_silence: false,
        }
    }

    /// Only what agents say that know of this deployment, whose end the caller tells.
    #[must_use]
    pub fn of(mut self, deployment: &DeploymentId) -> Self {
        self.screen.leave_out_the_end();
        Self { deployment: Some(deployment.clone()), ..self }
    }

    /// Shows every status until `enough` says so of one, or Ctrl-C.
    ///
    /// # Errors
    /// When an agent refuses, or none answers for a minute.
    pub async fn until(&mut self, enough: impl Fn(&Status) -> bool) -> Result<Ended, Failure> {
        let ended = loop {
            if let Some(ended) = self.round(&enough).await? {
                break ended;
            }
            if let Some(ended) = self.pause().await? {
                break ended;
            }
        };
        self.screen.leave();
        Ok(ended)
    }

    /// Listens to one agent after the other, to each as long as it tells.
    async fn round(&mut self, enough: &impl Fn(&Status) -> bool) -> Result<Option<Ended>, Failure> {
        for agent in self.reach.agents(|words| self.screen.say(words)).await? {
            loop {
                match self.through(&agent, enough).await {
                    Ok(Left::Ended(ended)) => return Ok(Some(ended)),
                    Ok(Left::Again) => continue,
                    Ok(Left::Stale) => {}
                    Err(error) if may_ask_another(&error) => self.lost(&error),
                    Err(error) => return Err(reach::failure(WANTED, &error)),
                }
                break;
            }
        }
        Ok(None)
    }

    async fn through(
        &mut self,
        agent: &Client,
        enough: &impl Fn(&Status) -> bool,
    ) -> Result<Left, CallFailure> {
        let mut events = tokio::select! {
            events = answer(agent, OPENING, agent.events(), |words| self.screen.say(words)) => events?,
            () = self.interrupts.next() => return Ok(Left::Ended(Ended::Left)),
        };
        let mut pace = tokio::time::interval(Screen::PACE);
        let (mut told, mut stale) = (false, Instant::now() + STALE);
        loop {
            tokio::select! {
                next = events.next() => match next? {
                    // A stream that ends without a word is no reason to ask the same agent again at once.
                    None => return Ok(if told { Left::Again } else { Left::Stale }),
                    Some(status) => {
                        (self.silent_since, self.told_silence) = (None, false);
                        told = true;
                        if self.knows(&status) {
                            stale = Instant::now() + FOR_EVER;
                            self.screen.show(status.clone());
                            if enough(&status) {
                                return Ok(Left::Ended(Ended::Reached(Box::new(status))));
                            }
                        }
                    }
                },
                () = sleep_until(stale), if self.deployment.is_some() => return Ok(Left::Stale),
                _ = pace.tick() => self.screen.tick(),
                _ = self.interrupts.next() => return Ok(Left::Ended(Ended::Left)),
                () = self.reader_left.notified() => return Ok(Left::Ended(Ended::Left)),
            }
        }
    }

    /// Whether the teller has heard of the deployment that is followed.
    fn knows(&self, status: &Status) -> bool {
        let told = status.record.as_ref().map(|record| &record.id);
        self.deployment.as_ref().is_none_or(|wanted| told.is_some_and(|told| told >= wanted))
    }

    fn lost(&mut self, error: &CallFailure) {
        if self.silent_since.is_none() {
            self.silent_since = Some(Instant::now());
            self.screen.say(&format!("{error}; asking another agent"));
        }
    }

    /// Between two rounds.
    async fn pause(&mut self) -> Result<Option<Ended>, Failure> {
        // Agents that answer and have not heard of the deployment yet are no silence.
        let silent = self.silent_since.is_some();
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        if silent && !std::mem::replace(&mut self.told_silence, true) {
            self.screen
                .say(&format!("no agent answers; one is waited for, for at most {} s", PATIENCE.as_secs()));
        }
        if since.elapsed() > PATIENCE {
            let happened = format!("no agent answered for {} s", PATIENCE.as_secs());
            return Err(Failure::new(Exit::Unreachable, WANTED, happened)
                .hint("`everup status` shows which agents answer; `everup up` starts the fleet"));
        }
        let left = timeout_at(Instant::now() + AGAIN, self.interrupts.next()).await;
        Ok(left.is_ok().then_some(Ended::Left))
    }
}

async fn answer<T>(
    agent: &Client,
    within: Duration,
    call: impl Future<Output = T>,
    say: impl FnOnce(&str),
) -> T {
    wait::bounded(&format!("the agent at {} to answer", agent.address()), within, call, say).await
}

const WANTED: &str = "the fleet could not be followed";
/// Longer than any deployment.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// The present status, with every instance in it: an agent that nobody asked for a while has to look first. `say` is
/// told who is waited for, if that is not over in a moment.
///
/// # Errors
/// When the agent does not answer.
pub async fn whole(agent: &Client, say: impl Fn(&str)) -> Result<Status, CallFailure> {
    let mut status = answer(agent, PRESENT, agent.status(None), &say).await?;
    let (moment, until) = (Instant::now() + MOMENT, Instant::now() + WHOLE);
    let mut deadline = moment;
    while status.instances.is_empty() || unheard(&status).next().is_some() {
        match timeout_at(deadline, agent.status(Some((status.seq, &status.instance)))).await {
            Ok(next) => status = next?,
            Err(_) if deadline == moment => {
                let who = match status.instances.len() {
                    0 => "the instances".to_owned(),
                    _ => words::list(unheard(&status), 5),
                };
                say(&format!("waiting for {who} to answer, for at most {} s", (WHOLE - MOMENT).as_secs()));
                deadline = until;
            }
            Err(_) => break,
        }
    }
    Ok(status)
}

/// Who was not heard yet.
fn unheard(status: &Status) -> impl Iterator<Item = &InstanceId> {
    status.instances.iter().filter(|line| line.phase.is_none()).map(|line| &line.id)
}
