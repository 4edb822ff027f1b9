//! `version.properties`: what newcomers take, for people and for older tools. It follows head, and is never an input.

use crate::identity::Identity;
use crate::object::read;
use everup_core::head::{Head, head_key};
use everup_core::release::ReleaseRef;
use everup_core::seams::{Clock, Got, Seams, Store, StoreError, Wrote};
use everup_core::time::Millis;

/// So often it is tried, with what head says then, before it is left to the next look of any agent.
const TRIES: u32 = 3;

/// What an agent knows of it.
#[derive(Default)]
pub(super) struct Mirror {
    /// What it was seen to say.
    says: Option<ReleaseRef>,
    /// What an idle agent saw head say that it may not say.
    differs: Option<ReleaseRef>,
}

impl Mirror {
    /// Repairs it where whoever led last did not come to it: when head has said the same for two looks in a row, which
    /// are not at the same moment for any two agents.
    pub(super) async fn look<S: Seams>(&mut self, seams: &S, who: &Identity, head: Option<&Head>) {
        let settled = head.filter(|head| head.current.is_none());
        let newcomers = settled.and_then(|head| head.newcomers.clone());
        if newcomers.is_none() || newcomers == self.says {
            self.differs = None;
        } else if self.differs == newcomers {
            self.follow(seams, who).await;
        } else {
            // What it says now may be another's word: it is read again, whatever head comes back to.
            *self = Self { says: None, differs: newcomers };
        }
    }

    /// Lets it say what head says.
    pub(super) async fn follow<S: Seams>(&mut self, seams: &S, who: &Identity) {
        for attempt in 0..TRIES {
            match write(seams, who).await {
                Ok(Some(says)) => {
                    *self = Self { says, differs: None };
                    return;
                }
                // Somebody else was first, or nobody knows: what it has to say now is in head.
                Ok(None) | Err(_) => {
                    seams.clock().until(seams.clock().mono() + Millis(200 << attempt)).await;
                }
            }
        }
    }
}

/// Reads it first and head afterwards: whoever writes something newer meanwhile has another head, and finds that this
/// write fails, or that it was there before. Head read first, one that slept in between would write version 8 over 9.
async fn write<S: Seams>(seams: &S, who: &Identity) -> Result<Option<Option<ReleaseRef>>, StoreError> {
    let key = format!("{}/version.properties", who.environment);
    let found = seams.store().get(&key, None).await?;
    let head = read::<Head>(seams, &head_key(&who.environment)).await?.map(|head| head.value);
    let Some((says, write)) = head.and_then(|head| Some((head.newcomers?, head.write))) else {
        return Ok(Some(None));
    };
    let line = format!("version.number={}\n", says.version);
    // The write's id makes each writing another one: an etag may be a hash of the content.
    let body = format!("{line}# head: {write}\n").into_bytes();
    let wrote = match found {
        Got::Found { body, .. } if body.starts_with(line.as_bytes()) => return Ok(Some(Some(says))),
        Got::Found { etag, .. } => seams.store().replace(&key, &etag, body).await?,
        Got::Missing | Got::Unchanged => seams.store().create(&key, body).await?,
    };
    Ok(matches!(wrote, Wrote::Done(_)).then_some(Some(says)))
}
