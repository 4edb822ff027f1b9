//! Calls to the engine, each with a deadline for its answer.

use super::Backend;
use super::answer::No;
use everup_core::head::Request;
use everup_core::ids::{DeploymentId, InstanceId, Term, WriteId};
use everup_core::instance::View;
use everup_core::order::{Ack, Order};
use everup_core::record::{Say, Word};
use everup_engine::mailbox::{Call, Command, Refused};
use futures_channel::{mpsc, oneshot};
use futures_util::future::poll_fn;
use std::time::Duration;
use tokio::time::timeout;

/// An instance stores a greeting or an order, synced, before it answers; the caller gives up after 5 s.
const STORED: Duration = Duration::from_secs(4);

/// A peer's long poll: shorter than the time after which a silent instance counts as out of service.
const WATCHED: Duration = Duration::from_secs(2);

/// A deployment is begun within this or not at all: in a later moment it is not what was asked for. Another one may have
/// come and gone since.
const BEGUN: Duration = Duration::from_secs(10);

/// A command writes to the store, perhaps more than once.
const WRITTEN: Duration = Duration::from_secs(25);

impl Backend {
    pub(super) async fn greet(&self, term: Term, holder: InstanceId) -> Result<Ack, No> {
        let (reply, answer) = oneshot::channel();
        self.ask(&self.inbox, Call::Greet { term, holder, reply }, answer, STORED).await
    }

    pub(super) async fn order(&self, order: Order) -> Result<Ack, No> {
        let (reply, answer) = oneshot::channel();
        self.ask(&self.inbox, Call::Order { order: Box::new(order), reply }, answer, STORED).await
    }

    /// The view, as soon as it is newer than `since`; the present one after a while.
    pub(super) async fn watch(&self, since: u64) -> Result<View, No> {
        let (reply, answer) = oneshot::channel();
        match self.ask(&self.inbox, Call::Watch { since, reply }, answer, WATCHED).await {
            Ok(view) => Ok(view),
            Err(_) => {
                let (reply, answer) = oneshot::channel();
                self.ask(&self.inbox, Call::Watch { since: 0, reply }, answer, WATCHED).await
            }
        }
    }

    pub(super) async fn deploy(&self, request: Request) -> Result<DeploymentId, No> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Deploy { request: Box::new(request), reply };
        Ok(self.ask::<_, Result<_, Refused>>(&self.commands, command, answer, BEGUN).await??)
    }

    pub(super) async fn say(
        &self,
        say: Say,
        by: String,
        deployment: Option<DeploymentId>,
        id: Option<WriteId>,
    ) -> Result<Word, No> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Say { say, by, deployment, id, reply };
        Ok(self.ask::<_, Result<_, Refused>>(&self.commands, command, answer, WRITTEN).await??)
    }

    pub(super) async fn poke(&self) -> Result<(), No> {
        match timeout(WATCHED, put(&self.commands, Command::Poke)).await {
            Ok(put) => put,
            // A full mailbox means that it is looking anyway.
            Err(_) => Ok(()),
        }
    }

    /// Tells the engine that somebody looks at the board. A full mailbox means that it is awake anyway.
    pub(super) fn look(&self) {
        let _ = self.commands.clone().try_send(Command::Look);
    }

    async fn ask<C, T>(
        &self,
        mailbox: &mpsc::Sender<C>,
        call: C,
        answer: oneshot::Receiver<T>,
        within: Duration,
    ) -> Result<T, No> {
        let asked = async {
            put(mailbox, call).await?;
            answer.await.map_err(|_| No::no_answer("the engine let the call go without an answer"))
        };
        timeout(within, asked)
            .await
            .unwrap_or_else(|_| Err(No::no_answer(format!("the engine did not answer within {within:?}"))))
    }
}

/// Puts a call into a mailbox, waiting while it is full.
async fn put<C>(mailbox: &mpsc::Sender<C>, call: C) -> Result<(), No> {
    let mut mailbox = mailbox.clone();
    poll_fn(|context| mailbox.poll_ready(context)).await.map_err(|_| No::ending())?;
    mailbox.start_send(call).map_err(|_| No::ending())
}
