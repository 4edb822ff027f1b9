//! The store's objects: linearizable, each with an etag that never comes twice.

use super::World;
use crate::moment::Moment;
use crate::trace::{HostNo, What};
use everup_core::deployment::State;
use everup_core::head::{Head, head_key};
use everup_core::ids::{DeploymentId, Fence, InstanceId, WriteId};
use everup_core::order::Task;
use everup_core::record::Record;
use everup_core::seams::{Etag, Got, Wrote};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The objects, and those that the rules look into, parsed once at each write.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    objects: BTreeMap<String, (u64, Rc<Vec<u8>>)>,
    writes: u64,
    pub(crate) head: Option<Head>,
    pub(crate) records: BTreeMap<DeploymentId, Record>,
    /// Every grant that was ever written, and when.
    pub(crate) grants: BTreeMap<(DeploymentId, InstanceId, Fence), (u64, Task)>,
    /// The newcomers' release over time: a boot may have read any recent one.
    pub(crate) newcomers: Vec<(u64, u16)>,
    /// Head's writes in their order, and what newcomers took by each.
    head_writes: BTreeMap<WriteId, Mirrored>,
    /// What `version.properties` says.
    pub(crate) mirror: Option<Mirrored>,
}

/// What newcomers take, by one of head's writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mirrored {
    /// Which write it was.
    pub(crate) write: usize,
    /// The release.
    pub(crate) takes: u16,
}

impl Objects {
    /// What `key` holds.
    pub(crate) fn get(&self, key: &str, unless: Option<&Etag>) -> Got {
        match self.objects.get(key) {
            None => Got::Missing,
            Some((etag, _)) if unless.is_some_and(|known| *known == name(*etag)) => Got::Unchanged,
            Some((etag, body)) => Got::Found { etag: name(*etag), body: body.as_ref().clone() },
        }
    }

    /// The keys below `prefix`.
    pub(crate) fn list(&self, prefix: &str) -> Vec<String> {
        let from = self.objects.range(prefix.to_owned()..);
        from.map(|(key, _)| key).take_while(|key| key.starts_with(prefix)).cloned().collect()
    }
}

fn is_mirror(key: &str) -> bool {
    key.ends_with("/version.properties")
}

fn name(etag: u64) -> Etag {
    Etag(format!("e{etag}"))
}

impl World {
    /// Writes `key` on the condition that it has `etag` (or, without one, does not exist).
    pub(crate) fn put(&mut self, by: Option<HostNo>, key: &str, etag: Option<&Etag>, body: &[u8]) -> Wrote {
        let present = self.objects.objects.get(key).map(|(etag, _)| name(*etag));
        if present.as_ref() != etag {
            if is_mirror(key) {
                self.moments.note(Moment::MirrorLost);
            }
            return Wrote::Lost;
        }
        self.objects.writes += 1;
        let fresh = self.objects.writes;
        self.objects.objects.insert(key.to_owned(), (fresh, Rc::new(body.to_vec())));
        self.look_into(by, key, body);
        Wrote::Done(name(fresh))
    }

    fn look_into(&mut self, by: Option<HostNo>, key: &str, body: &[u8]) {
        if key == head_key(&super::environment()) {
            let head: Head = serde_json::from_slice(body).expect("head is written whole");
            self.head_written(by, head);
        } else if key.contains("/deployments/") {
            let record: Record = serde_json::from_slice(body).expect("a record is written whole");
            self.record_written(by, &record);
        } else if is_mirror(key) {
            self.mirror_written(by, &String::from_utf8_lossy(body));
        }
    }

    fn mirror_written(&mut self, by: Option<HostNo>, body: &str) {
        let says = body.lines().next().and_then(|line| line.strip_prefix("version.number="));
        let of = body.lines().nth(1).and_then(|line| WriteId::new(line.strip_prefix("# head: ")?).ok());
        let read = of.and_then(|write| self.objects.head_writes.get(&write)).copied();
        let read = read.expect("it names one of head's writes");
        let takes = says.and_then(|says| says.parse().ok()).expect("it names a release");
        self.law.mirror_before = self.objects.mirror.replace(Mirrored { takes, ..read });
        self.happened(by, What::Mirror { says: takes, head: read.takes });
    }

    fn head_written(&mut self, by: Option<HostNo>, head: Head) {
        let what = What::Head {
            term: head.term,
            holder: head.lease.as_ref().map(|lease| lease.holder.to_string()),
            current: head.current.as_ref().map(|current| current.id.to_string()),
        };
        let now = self.now();
        let newcomers = head.newcomers.as_ref().map_or(0, super::releases::number);
        if self.objects.newcomers.last().map(|(_, no)| *no) != Some(newcomers) {
            self.objects.newcomers.push((now, newcomers));
        }
        let read = Mirrored { write: self.objects.head_writes.len(), takes: newcomers };
        self.objects.head_writes.insert(head.write.clone(), read);
        let lease = head.lease.clone();
        let before = self.objects.head.replace(head);
        let beaten = before.as_ref().and_then(|before| before.lease.clone()) != lease;
        self.law.head_before = before;
        self.happened(by, what);
        if beaten {
            self.law.beaten = now;
        }
    }

    fn record_written(&mut self, by: Option<HostNo>, record: &Record) {
        let fence = Fence { term: record.term, rev: record.rev };
        let what = What::Record {
            id: record.id.to_string(),
            state: record.state,
            fence,
            because: record.because.clone(),
        };
        let now = self.now();
        for (id, entry) in &record.instances {
            if let Some(grant) = &entry.granted {
                let key = (record.id.clone(), id.clone(), grant.fence);
                self.objects.grants.entry(key).or_insert_with(|| (now, grant.task.clone()));
            }
        }
        let before = self.objects.records.insert(record.id.clone(), record.clone());
        let from = before.as_ref().map_or(State::Pending, |before| before.state);
        if from != record.state {
            *self.transitions.entry((from, record.state)).or_default() += 1;
        }
        self.law.record_before = before;
        self.happened(by, what);
    }

    /// The deployment that runs, if its record was written.
    pub(crate) fn current(&self) -> Option<&Record> {
        let current = self.objects.head.as_ref()?.current.as_ref()?;
        self.objects.records.get(&current.id)
    }
}
