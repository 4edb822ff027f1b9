//! Answers that are no success: a status, and a [`Fault`] for programs and people.

use crate::client::Failure;
use crate::library::Unread;
use crate::signing::Denied;
use crate::wire::{Fault, NOT_FOR_ME, REPLAYED};
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use everup_engine::mailbox::Refused;
use http::request::Parts;
use http::{Method, StatusCode, Uri};
use serde::de::DeserializeOwned;

/// What a handler returns instead of its answer.
#[derive(Debug)]
pub(super) struct No {
    status: StatusCode,
    fault: Box<Fault>,
}

pub(super) type Answer<T> = Result<T, No>;

/// A body in JSON; another is refused as a [`Fault`].
pub(super) struct Body<T>(pub(super) T);

/// What stands in a query; another is refused as a [`Fault`].
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = No;
    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        let Json(document) = Json::from_request(request, state).await?;
        Ok(Self(document))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = No;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let axum::extract::Query(query) = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(query))
    }
}

impl No {
    pub(super) fn new(status: StatusCode, fault: Fault) -> Self {
        Self { status, fault: Box::new(fault) }
    }

    pub(super) fn bad_input(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Fault::new("bad-input", message))
    }

    /// The engine, or the coordinator, did not answer in time.
    pub(super) fn no_answer(message: impl Into<String>) -> Self {
        let fault = Fault::new("no-answer", message)
            .hint("it may still be carried out: look at /v1/status before doing it again");
        Self::new(StatusCode::GATEWAY_TIMEOUT, fault)
    }

    pub(super) fn ending() -> Self {
        let fault =
            Fault::new("ending", "the agent is being ended").hint("ask another agent, or again in a second");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, fault)
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        (self.status, Json(self.fault)).into_response()
    }
}

impl From<JsonRejection> for No {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(
            rejection.status(),
            Fault::new("bad-input", format!("the body cannot be used: {}", rejection.body_text())),
        )
    }
}

impl From<QueryRejection> for No {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_input(format!("the query cannot be used: {}", rejection.body_text()))
    }
}

impl From<Unread> for No {
    fn from(unread: Unread) -> Self {
        let fault =
            Fault::new("store", unread.0).hint("does the store answer? The running fleet does not need it");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, fault)
    }
}

impl From<Refused> for No {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Busy { current, phase } => {
                let hint = if phase.may_abort() {
                    "follow it with `everup status --watch`, or end it with `everup abort`"
                } else {
                    "follow it with `everup status --watch`"
                };
                let mut fault = Fault::new("busy", message).hint(hint);
                (fault.current, fault.phase) = (Some(current), Some(phase));
                Self::new(StatusCode::CONFLICT, fault)
            }
            Refused::NothingRuns => Self::new(StatusCode::CONFLICT, Fault::new("nothing-runs", message)),
            Refused::Ending => Self::ending(),
            Refused::Not(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, Fault::new("refused", message)),
            Refused::Store(_) => Unread(message).into(),
        }
    }
}

/// What the coordinator said instead of this agent.
impl From<Failure> for No {
    fn from(failure: Failure) -> Self {
        let message = format!("the coordinator was asked instead: {failure}");
        match failure {
            Failure::Refused { status, fault } => Self::new(status, *fault),
            Failure::Silent { .. } => Self::no_answer(message),
            _ => Self::new(StatusCode::BAD_GATEWAY, Fault::new("coordinator", message)),
        }
    }
}

impl From<Denied> for No {
    fn from(denied: Denied) -> Self {
        let fault = |kind| Fault::new(kind, denied.to_string());
        let unauthorized = |fault| Self::new(StatusCode::UNAUTHORIZED, fault);
        match &denied {
            Denied::Unsigned => {
                unauthorized(fault("unsigned").hint("use the everup command, or sign as RFC 9421 has it"))
            }
            Denied::Malformed(_) | Denied::NotCovered(_) => unauthorized(fault("malformed-signature")),
            Denied::UnknownKey(_) | Denied::Wrong => {
                unauthorized(fault("wrong-key").hint("compare the keys.json of the two machines"))
            }
            Denied::Clock { differs, ahead, here } => {
                let ms = i64::try_from(differs.0).unwrap_or(i64::MAX);
                let mut fault = fault("clock").hint("set the clock that is wrong; two minutes are allowed");
                (fault.differs_ms, fault.server_time) = (Some(if *ahead { ms } else { -ms }), Some(*here));
                unauthorized(fault)
            }
            Denied::Body => unauthorized(fault("changed")),
            Denied::Replayed => unauthorized(fault(REPLAYED).hint("sign each request anew")),
            Denied::BeforeStart => unauthorized(fault("before-start").hint("sign it again now")),
            Denied::NotForMe { .. } => Self::new(
                StatusCode::MISDIRECTED_REQUEST,
                fault(NOT_FOR_ME).hint("its address was given to another instance: look it up again"),
            ),
            Denied::NoRoom(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, fault("no-room")),
        }
    }
}

/// There is no such path.
pub(super) async fn no_route(uri: Uri) -> No {
    let fault =
        Fault::new("no-such-path", format!("there is no {}", uri.path())).hint("GET / names what there is");
    No::new(StatusCode::NOT_FOUND, fault)
}

/// The path is there, the method is not.
pub(super) async fn no_method(method: Method, uri: Uri) -> No {
    let message = format!("{} does not take {method}", uri.path());
    No::new(StatusCode::METHOD_NOT_ALLOWED, Fault::new("no-such-method", message))
}
