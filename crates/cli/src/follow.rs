//! Follows a fleet through any of its agents, and on with another when that one dies.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Out;
use crate::progress::screen::Screen;
use crate::reach::{self, Reach, may_ask_another};
use everup_core::status::Status;
use everup_web::client::{Client, Failure as CallFailure};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout_at};

/// How following ended.
#[derive(Debug)]
pub enum Ended {
    /// What was waited for is there.
    Reached(Box<Status>),
    /// The person left (Ctrl-C).
    Left,
}

/// A fleet of which nobody answers is given up after this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two rounds in which nobody answered: nobody can tell of a change.
const AGAIN: Duration = Duration::from_millis(500);

/// Follows a fleet.
pub struct Follower<'r> {
    reach: &'r Reach,
    screen: Screen,
    /// Ctrl-C, also while nobody looks.
    interrupts: Signal,
    silent_since: Option<Instant>,
}

impl<'r> Follower<'r> {
    /// Of the fleet that `reach` reaches.
    ///
    /// # Errors
    /// When the machine gives no signal handler.
    pub fn new(reach: &'r Reach, out: Out) -> Result<Self, Failure> {
        let refused = |error| Failure::new(Exit::Internal, "the fleet could not be followed", error);
        let interrupts = signal(SignalKind::interrupt()).map_err(refused)?;
        Ok(Self { reach, screen: Screen::new(out), interrupts, silent_since: None })
    }

    /// What it shows.
    #[must_use]
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Shows every status until `enough` says so of one, or Ctrl-C.
    ///
    /// # Errors
    /// When an agent refuses, or none answers for a minute.
    pub async fn until(&mut self, enough: impl Fn(&Status) -> bool) -> Result<Ended, Failure> {
        let ended = loop {
            for agent in self.reach.agents().await? {
                match self.through(&agent, &enough).await {
                    Ok(Some(ended)) => {
                        self.screen.leave();
                        return Ok(ended);
                    }
                    Ok(None) => {}
                    Err(error) if may_ask_another(&error) => self.lost(&error),
                    Err(error) => return Err(reach::failure("the fleet could not be followed", &error)),
                }
            }
            if let Some(ended) = self.pause().await? {
                break ended;
            }
        };
        self.screen.leave();
        Ok(ended)
    }

    /// As long as this agent tells. Nothing when it ends: then another is asked.
    async fn through(
        &mut self,
        agent: &Client,
        enough: &impl Fn(&Status) -> bool,
    ) -> Result<Option<Ended>, CallFailure> {
        let mut events = agent.events().await?;
        let mut pace = tokio::time::interval(self.screen.pace());
        loop {
            tokio::select! {
                next = events.next() => match next? {
                    None => return Ok(None),
                    Some(status) => {
                        self.silent_since = None;
                        self.screen.show(status.clone());
                        if enough(&status) {
                            return Ok(Some(Ended::Reached(Box::new(status))));
                        }
                    }
                },
                _ = pace.tick() => self.screen.tick(),
                _ = self.interrupts.recv() => return Ok(Some(Ended::Left)),
            }
        }
    }

    fn lost(&mut self, error: &CallFailure) {
        if self.silent_since.is_none() {
            self.silent_since = Some(Instant::now());
            self.screen.say(&format!("{error}; asking another agent"));
        }
    }

    /// Between two rounds.
    async fn pause(&mut self) -> Result<Option<Ended>, Failure> {
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        if since.elapsed() > PATIENCE {
            let happened = format!("no agent answered for {} s", PATIENCE.as_secs());
            return Err(Failure::new(Exit::Unreachable, "the fleet could not be followed", happened)
                .hint("`everup status` shows which agents answer; `everup up` starts the fleet"));
        }
        let next = Instant::now() + AGAIN;
        let left = timeout_at(next, self.interrupts.recv()).await;
        Ok(left.is_ok().then_some(Ended::Left))
    }
}
