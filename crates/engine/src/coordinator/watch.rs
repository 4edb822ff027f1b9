//! Watching the lease. Expiry is judged by the watcher's own monotonic clock since it last saw the beat change: two
//! machines' clocks are never compared.

use super::keep::lease_of;
use super::{HeadObject, LEASE};
use crate::bugs::{Bug, planted};
use crate::identity::Identity;
use crate::object::{Swapped, reread, swap};
use everup_core::head::{self, Head, head_key};
use everup_core::ids::{InstanceId, Term};
use everup_core::seams::{Chance, Clock, Fleet, Seams};
use everup_core::time::{Millis, Mono};

/// Between two looks at head of an agent that has nothing to do; with jitter.
const IDLE: Millis = Millis(60_000);
/// Deputies try one after another, so that a thousand agents do not all try at once.
const APART: Millis = Millis(1_000);
/// The most that a deputy waits for its turn.
const LAST_TURN: u64 = 30;

/// What a look at head leads to.
pub(super) enum Next {
    /// The lease is ours: lead.
    Lead(Box<HeadObject>),
    /// Nothing; look again after this.
    LookAgain(Millis),
}

/// What a watcher has seen of the lease.
pub(super) struct Lease {
    key: String,
    head: Option<HeadObject>,
    beat: Option<(Term, u64)>,
    since: Mono,
    trouble: Option<String>,
    /// Its instance is being ended: it only looks.
    resigned: bool,
}

impl Lease {
    pub(super) fn new(who: &Identity) -> Self {
        Self {
            key: head_key(&who.environment),
            head: None,
            beat: None,
            since: Mono::default(),
            trouble: None,
            resigned: false,
        }
    }

    pub(super) fn is_mine(head: &Head, who: &Identity) -> bool {
        head.current.is_some() && head.lease.as_ref().is_some_and(|lease| lease.holder == who.id)
    }

    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref().map(|head| &head.value)
    }

    /// Why what is known may be old: the store does not answer, or the coordinator is not heard of.
    pub(super) fn trouble(&self, now: Mono) -> Option<String> {
        self.trouble.clone().or_else(|| self.silence(now))
    }

    fn silence(&self, now: Mono) -> Option<String> {
        let head = self.head().filter(|head| head.current.is_some())?;
        let (holder, lease) = (&head.lease.as_ref()?.holder, lease_of(head));
        let half = Millis(lease.0 / 2);
        (self.beat.is_some() && now.since(self.since) >= half).then(|| {
            format!("{holder}, which coordinates, was not heard of for {half}; after {lease} another agent goes on")
        })
    }

    /// Head as it was read or written last, to be changed; nothing while the store does not answer.
    pub(super) fn object(&self) -> Option<&HeadObject> {
        self.head.as_ref().filter(|_| self.trouble.is_none())
    }

    /// Head was written.
    pub(super) fn wrote(&mut self, head: HeadObject) {
        self.head = Some(head);
    }

    /// From now on it takes none.
    pub(super) const fn resign(&mut self) {
        self.resigned = true;
    }

    pub(super) const fn has_resigned(&self) -> bool {
        self.resigned
    }

    /// What was seen before one led oneself says nothing any more.
    pub(super) fn forget(&mut self) {
        self.head = None;
        self.beat = None;
    }

    /// Reads head, and takes the lease where it is due.
    pub(super) async fn look<S: Seams>(&mut self, seams: &S, who: &Identity) -> Next {
        match reread::<Head>(seams, &self.key, &self.head).await {
            Ok(None) => self.trouble = None,
            Ok(Some(head)) => {
                self.trouble = None;
                self.head = head;
            }
            Err(error) => {
                self.trouble = Some(format!(
                    "{error}; it is asked again every second, and nothing is decided until it answers"
                ));
                return Next::LookAgain(Millis(1_000));
            }
        }
        let Some(head) = self.head.clone().filter(|head| head.value.current.is_some()) else {
            self.beat = None;
            return Next::LookAgain(idle(seams));
        };
        self.note_beat(&head.value, seams.clock().mono());
        if self.resigned {
            return Next::LookAgain(LEASE);
        }
        let patience = self.patience(seams, who, &head.value).await;
        let waited = if planted(Bug::TrustWallClock) {
            seams
                .clock()
                .wall()
                .since(head.value.current.as_ref().map_or_else(|| seams.clock().wall(), |c| c.request.at))
        } else {
            seams.clock().mono().since(self.since)
        };
        if waited < patience {
            return Next::LookAgain(Millis((patience.0 - waited.0).clamp(1, LEASE.0 / 4)));
        }
        self.take(seams, who, head).await
    }

    fn note_beat(&mut self, head: &Head, now: Mono) {
        let beat = (head.term, head.lease.as_ref().map_or(0, |lease| lease.beat));
        if self.beat != Some(beat) {
            self.beat = Some(beat);
            self.since = now;
        }
    }

    /// How long this agent lets the lease stand still. One's own lease (one's agent has just restarted) needs no wait.
    async fn patience<S: Seams>(&self, seams: &S, who: &Identity, head: &Head) -> Millis {
        let Some(lease) = &head.lease else { return APART.times(self.turn(seams, who, head, None).await) };
        if lease.holder == who.id {
            return Millis::ZERO;
        }
        lease_of(head) + APART.times(self.turn(seams, who, head, Some(&lease.holder)).await)
    }

    /// Whose turn it is: by rank of a hash of id and term, those of another zone than the holder's first, so that the
    /// loss of a zone does not take the deputies with it.
    async fn turn<S: Seams>(
        &self,
        seams: &S,
        who: &Identity,
        head: &Head,
        holder: Option<&InstanceId>,
    ) -> u64 {
        let Ok(members) = seams.fleet().members(0).await else { return hash(&who.id, head.term) % LAST_TURN };
        let zone = holder.and_then(|holder| members.members.get(holder)).map(|member| member.zone.clone());
        let rank = |id: &InstanceId| {
            let same = members.members.get(id).is_some_and(|member| Some(&member.zone) == zone.as_ref());
            (same, hash(id, head.term))
        };
        let before = members.members.keys().filter(|id| Some(*id) != holder && rank(id) < rank(&who.id));
        (before.count() as u64).min(LAST_TURN)
    }

    async fn take<S: Seams>(&mut self, seams: &S, who: &Identity, head: HeadObject) -> Next {
        let mut mine = head.value.clone();
        mine.term = mine.term.next();
        let beat = mine.lease.as_ref().map_or(0, |lease| lease.beat) + 1;
        mine.lease = Some(head::Lease { holder: who.id.clone(), beat });
        match swap(seams, &self.key, Some(&head.etag), mine).await {
            Ok(Swapped::Done(head)) => Next::Lead(Box::new(head)),
            Ok(Swapped::Rival(theirs)) => {
                self.head = theirs;
                Next::LookAgain(Millis(1))
            }
            Err(error) => {
                self.trouble = Some(error.to_string());
                self.head = None;
                Next::LookAgain(Millis(1_000))
            }
        }
    }
}

fn idle<S: Seams>(seams: &S) -> Millis {
    Millis(IDLE.0 / 2 + seams.chance().next() % IDLE.0)
}

/// FNV-1a: the same on every machine, which the standard library's hasher does not promise.
fn hash(id: &InstanceId, term: Term) -> u64 {
    let bytes = id.as_str().bytes().chain(term.0.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
