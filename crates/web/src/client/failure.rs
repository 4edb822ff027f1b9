//! How a call fails, by what its caller can do next.

use crate::signing::BadAnswer;
use crate::wire::{Fault, NOT_FOR_ME, REPLAYED};
use everup_core::ids::InstanceId;
use everup_core::seams::PeerError;
use everup_core::time::Millis;
use http::StatusCode;

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There was no connection: nothing was sent.
    #[error("cannot reach the agent at {address}: {problem}")]
    NotSent {
        /// Where.
        address: String,
        /// Why.
        problem: String,
    },
    /// The call was sent; whether it was carried out is not known.
    #[error("no answer from the agent at {address}: {problem}")]
    Silent {
        /// Where.
        address: String,
        /// What happened.
        problem: String,
    },
    /// The agent says that its clock and ours differ.
    #[error("the clock of the agent at {address} and ours differ by {differs}: set the one that is wrong")]
    Clock {
        /// Where.
        address: String,
        /// By how much.
        differs: Millis,
    },
    /// The agent answered and refused; nothing was changed.
    #[error("{}", .fault.message)]
    Refused {
        /// With which status.
        status: StatusCode,
        /// What it says.
        fault: Box<Fault>,
    },
    /// The answer does not come from an agent with our key.
    #[error("the answer of {address} (status {status}) is not believed: {why}")]
    Unbelieved {
        /// Where.
        address: String,
        /// Its status.
        status: StatusCode,
        /// Why.
        why: BadAnswer,
    },
    /// The answer is believed, and cannot be read: another version of everup, perhaps.
    #[error("the answer of the agent at {address} cannot be read: {problem}")]
    Unread {
        /// Where.
        address: String,
        /// Why.
        problem: String,
    },
    /// The request cannot be made.
    #[error("cannot make a request for {address}: {problem}")]
    Unfit {
        /// For whom.
        address: String,
        /// Why.
        problem: String,
    },
}

impl Failure {
    pub(super) fn silent(address: &str, problem: impl Into<String>) -> Self {
        Self::Silent { address: address.to_owned(), problem: problem.into() }
    }

    pub(super) fn unbelieved(address: &str, status: StatusCode, why: BadAnswer) -> Self {
        Self::Unbelieved { address: address.to_owned(), status, why }
    }

    pub(super) fn unread(address: &str, problem: impl Into<String>) -> Self {
        Self::Unread { address: address.to_owned(), problem: problem.into() }
    }

    pub(super) fn unfit(address: &str, problem: String) -> Self {
        Self::Unfit { address: address.to_owned(), problem }
    }

    /// What a verified answer that is no success says.
    pub(super) fn refused(address: &str, status: StatusCode, body: &[u8]) -> Self {
        match serde_json::from_slice::<Fault>(body) {
            Ok(Fault { differs_ms: Some(ms), .. }) => {
                Self::Clock { address: address.to_owned(), differs: Millis(ms.unsigned_abs()) }
            }
            // We never send the same twice, nor to another than we mean: somebody in between did. That this copy
            // was refused says nothing of the first one.
            Ok(fault) if [REPLAYED, NOT_FOR_ME].contains(&fault.error.as_str()) => {
                Self::silent(address, fault.message)
            }
            Ok(fault) => Self::Refused { status, fault: Box::new(fault) },
            Err(error) => Self::unread(address, format!("status {status}, {error}")),
        }
    }

    /// What to do next, where the agent or we know.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { fault, .. } => fault.hint.as_deref(),
            Self::Unbelieved { why: BadAnswer::UnknownKey(_) | BadAnswer::Wrong, .. }
            | Self::Unbelieved { status: StatusCode::UNAUTHORIZED, .. } => {
                Some("this machine and that agent have different keys: compare their keys.json")
            }
            Self::Clock { .. } => Some("compare `date` on the two machines; two minutes are allowed"),
            Self::Silent { .. } => {
                Some("it may have been carried out: look at the status before doing it again")
            }
            _ => None,
        }
    }

    /// The same, as the engine has it.
    #[must_use]
    pub fn of(self, peer: &InstanceId) -> PeerError {
        let peer = peer.clone();
        match self {
            Self::NotSent { .. } | Self::Silent { .. } => PeerError::Silent(peer, self.to_string()),
            Self::Clock { differs, .. } => PeerError::Clock(peer, differs),
            Self::Refused { .. } | Self::Unbelieved { .. } | Self::Unread { .. } | Self::Unfit { .. } => {
                PeerError::Refused(peer, self.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(fault: &Fault) -> Failure {
        Failure::refused("i1:1", StatusCode::UNAUTHORIZED, &serde_json::to_vec(fault).expect("plain data"))
    }

    #[test]
    fn a_refusal_of_a_copy_says_nothing_of_the_request() {
        for kind in [REPLAYED, NOT_FOR_ME] {
            assert!(matches!(refused(&Fault::new(kind, "x")), Failure::Silent { .. }), "{kind}");
        }
        assert!(matches!(refused(&Fault::new("busy", "x")), Failure::Refused { .. }));
        let clock = Fault { differs_ms: Some(-300_000), ..Fault::new("clock", "x") };
        assert!(matches!(refused(&clock), Failure::Clock { differs: Millis(300_000), .. }));
    }
}
