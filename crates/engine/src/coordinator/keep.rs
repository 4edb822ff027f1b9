//! Head in the hands of its holder: beats and edits, and the news that it is somebody else's.

use super::{HeadObject, LEASE, LEASE_HELD};
use crate::identity::Identity;
use crate::object::{Swapped, swap};
use everup_core::head::{Head, head_key};
use everup_core::seams::{Seams, StoreError};
use everup_core::time::Millis;

/// Why a holder cannot go on.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Another one leads, or the deployment is over.
    Deposed,
    /// The store does not say. What was tried may have happened.
    Store(StoreError),
}

/// Head, as its holder last wrote or read it.
pub(crate) struct HeadKeeper<'a, S: Seams> {
    seams: &'a S,
    who: &'a Identity,
    key: String,
    pub(crate) head: HeadObject,
}

impl<'a, S: Seams> HeadKeeper<'a, S> {
    pub(crate) fn new(seams: &'a S, who: &'a Identity, head: HeadObject) -> Self {
        Self { seams, who, key: head_key(&who.environment), head }
    }

    /// Applies `edit` to what is there now, as long as it is ours: others may have added words meanwhile.
    pub(crate) async fn edit(&mut self, edit: impl Fn(&Head) -> Head) -> Result<(), Lost> {
        loop {
            let next = edit(&self.head.value);
            match swap(self.seams, &self.key, Some(&self.head.etag), next).await.map_err(Lost::Store)? {
                Swapped::Done(head) => {
                    self.head = head;
                    return Ok(());
                }
                Swapped::Rival(Some(theirs)) if self.is_ours(&theirs.value) => self.head = theirs,
                Swapped::Rival(_) => return Err(Lost::Deposed),
            }
        }
    }

    fn is_ours(&self, head: &Head) -> bool {
        let ours = &self.head.value;
        let same = head.term == ours.term
            && head.current.as_ref().map(|c| &c.id) == ours.current.as_ref().map(|c| &c.id);
        same && head.lease.as_ref().is_some_and(|lease| lease.holder == self.who.id)
    }

    /// Shows that the holder lives, and drops the words that the record has taken up.
    pub(crate) async fn beat(
        &mut self,
        heard: &std::collections::BTreeSet<everup_core::ids::WriteId>,
    ) -> Result<(), Lost> {
        self.edit(|head| {
            let mut next = head.clone();
            next.words.retain(|word| !heard.contains(&word.id));
            if let Some(lease) = &mut next.lease {
                lease.beat += 1;
            }
            next
        })
        .await
    }
}

/// How long the lease in `head` lasts without a beat: short where requests may be waiting.
pub(crate) fn lease_of(head: &Head) -> Millis {
    use everup_core::policy::Strategy;
    let all_at_once = head.current.as_ref().is_some_and(|c| c.request.policy.strategy == Strategy::AllAtOnce);
    if all_at_once { LEASE_HELD } else { LEASE }
}
