//! The gates' counts: each request by its outcome, at the end of its answer, by the tenth of a second; and each wait, at
//! its end.

mod bucket;
mod file;
mod histogram;
mod record;

pub(crate) use file::Lane;
pub(crate) use record::{Outcome, Record};

use bucket::{Bucket, TENTHS};
use everup_core::receipt::{Percentile, Requests, Source, Window};
use everup_core::time::{Millis, Wall};
use file::{Header, Ring, SECONDS};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

/// The counts are written at most so often; a crash loses that much at most, and what was pending counts as failed.
const TICK: Duration = Duration::from_millis(50);

/// Outcomes are counted by the tenth of a second.
const PRECISE: Duration = Duration::from_millis(5);

/// Latencies "before" are those of this span before a window.
const BEFORE: Millis = Millis::from_secs(60);

/// Answers to requests that were held come for so many seconds after the hold.
const AFTER_A_HOLD: u64 = 2;

/// The counters of one proxy.
#[derive(Debug)]
pub(crate) struct Meter {
    ring: Ring,
    lane: Lane,
    header: Cell<Header>,
    current: RefCell<Bucket>,
    pending: Cell<u64>,
    /// Since when somebody waits for an answer and none came.
    silent: Cell<Option<Instant>>,
    dirty: Notify,
    /// Seconds whose counts the disk refused: a full disk fails no request, and what was not kept is told as missing.
    refused: RefCell<BTreeSet<u64>>,
    /// Whether it refused the last ones, which is said once.
    refuses: Cell<bool>,
    /// What the wall's clock said when it was asked last.
    clock: Cell<(Instant, Duration)>,
}

/// Wall time, for people and for windows.
pub(crate) fn wall() -> Wall {
    Wall(Millis::from(since_1970()).0)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn second() -> u64 {
    wall().0 / 1_000
}

fn tenth(at: Wall) -> usize {
    (at.0 % 1_000 / 100) as usize
}

impl Meter {
    /// Goes on counting in `path`.
    pub(crate) fn open(path: &Path, lane: Lane) -> io::Result<Rc<Self>> {
        let ring = Ring::open(path)?;
        let now = second();
        let first = Lane::ALL.iter().filter_map(|lane| ring.header(*lane)).map(|h| h.first).min();
        let lost = ring.header(lane).map_or(0, |h| h.pending);
        let current = ring.read(lane, now).unwrap_or_else(|| Bucket::new(now));
        let meter = Rc::new(Self {
            ring,
            lane,
            header: Cell::new(Header { first: first.unwrap_or(now), last: now, pending: 0 }),
            current: RefCell::new(current),
            pending: Cell::new(0),
            silent: Cell::new(None),
            dirty: Notify::new(),
            refused: RefCell::default(),
            refuses: Cell::new(false),
            clock: Cell::new((Instant::now(), since_1970())),
        });
        meter.lost(lost);
        meter.write();
        Ok(meter)
    }

    /// The process that counted in the other lane has ended.
    pub(crate) fn inherit(&self) {
        let lane = self.lane.other();
        let Some(header) = self.ring.header(lane).filter(|h| h.pending > 0) else { return };
        self.lost(header.pending);
        self.write();
        if let Err(e) = self.ring.write_header(lane, Header { pending: 0, ..header }) {
            tracing::warn!(
                "cannot write the counters: {e}; what was lost with a process may be counted again"
            );
        }
    }

    /// What was pending when a process died has failed, and nobody knows what became of it.
    fn lost(&self, lost: u64) {
        self.count(Instant::now(), |_, requests| {
            requests.total += lost;
            requests.failed += lost;
            requests.outcome_unknown += lost;
        });
    }

    /// Writes what has changed, for as long as the proxy runs.
    pub(crate) async fn keep(self: Rc<Self>) {
        loop {
            self.dirty.notified().await;
            tokio::time::sleep(TICK).await;
            self.write();
        }
    }

    fn write(&self) {
        let header = Header { last: second(), pending: self.pending.get(), ..self.header.get() };
        self.header.set(header);
        let current = self.current.borrow();
        let written = self.ring.write(self.lane, &current);
        self.note(current.second, written.and_then(|()| self.ring.write_header(self.lane, header)));
    }

    /// What became of the counts of `second`.
    fn note(&self, second: u64, written: io::Result<()>) {
        let mut refused = self.refused.borrow_mut();
        let refuses = written.is_err();
        let changed = self.refuses.replace(refuses) != refuses;
        match written {
            Ok(()) => {
                refused.remove(&second);
                if changed {
                    tracing::warn!("the counters can be written again");
                }
            }
            Err(e) => {
                refused.insert(second);
                if refused.len() as u64 > SECONDS {
                    refused.pop_first();
                }
                if changed {
                    tracing::warn!(
                        "cannot write the counters: {e}; what is measured is missing until they can"
                    );
                }
            }
        }
    }

    /// The bucket of this second, and the requests of this tenth of it; the bucket before is written first, so that
    /// nothing has to be kept.
    fn count(&self, now: Instant, count: impl FnOnce(&mut Bucket, &mut Requests)) {
        let at = self.wall(now);
        let now = at.0 / 1_000;
        if self.current.borrow().second != now {
            self.write();
            // A clock that was set back finds what it had counted before.
            let next = self.ring.read(self.lane, now).unwrap_or_else(|| Bucket::new(now));
            self.current.replace(next);
        }
        let mut bucket = self.current.borrow_mut();
        let mut requests = bucket.requests[tenth(at)];
        count(&mut bucket, &mut requests);
        bucket.requests[tenth(at)] = requests;
        self.dirty.notify_one();
    }

    /// The time of the wall's clock at `now`, which has just been; asked again every few milliseconds only.
    fn wall(&self, now: Instant) -> Wall {
        let (asked, said) = self.clock.get();
        let since = now.saturating_duration_since(asked);
        if since < PRECISE {
            return Wall(Millis::from(said + since).0);
        }
        self.clock.set((Instant::now(), since_1970()));
        wall()
    }

    fn begins(&self, now: Instant) {
        let pending = self.pending.replace(self.pending.get() + 1);
        if pending == 0 {
            self.silent.set(Some(now));
        }
        self.dirty.notify_one();
    }

    /// A request is no longer waited for; how long nobody had been answered.
    fn ends(&self, now: Instant) -> Duration {
        let pending = self.pending.get() - 1;
        self.pending.set(pending);
        let silent = self.silent.replace((pending > 0).then_some(now));
        silent.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// What passed in `window`.
    pub(crate) fn measure(&self, window: Window) -> Source {
        self.write();
        let during = self.sum(window.from, window.to);
        let before = self.quiet(window.from - BEFORE, window.from - Millis(1_000));
        let percentile = |p| Percentile {
            before: before.latency.permille(p),
            during: during.latency.permille(p),
            after: None,
        };
        Source {
            requests: during.total(),
            longest_gap_ms: during.longest_gap_ms,
            p50_ms: percentile(500),
            p99_ms: percentile(990),
            held: during.held,
            late: during.late,
            missing: self.missing(window),
        }
    }

    fn sum(&self, from: Wall, to: Wall) -> Bucket {
        let mut sum = Bucket::default();
        for bucket in self.seconds(from, to) {
            let begin = if bucket.second == from.0 / 1_000 { tenth(from) } else { 0 };
            let end = if bucket.second == to.0 / 1_000 { tenth(to) } else { TENTHS - 1 };
            let inside = Wall((bucket.second + 1) * 1_000).since(from);
            sum.merge(&bucket.within(begin, end).no_longer_than(inside));
        }
        sum
    }

    /// The same without the seconds in which requests were held, and those after them: how long an app takes cannot be
    /// told from answers that waited at its gate.
    fn quiet(&self, from: Wall, to: Wall) -> Bucket {
        let mut sum = Bucket::default();
        let mut held = None;
        for bucket in self.seconds(from, to) {
            if bucket.held.count > 0 {
                held = Some(bucket.second);
            }
            if held.is_none_or(|second| bucket.second > second + AFTER_A_HOLD) {
                sum.merge(&bucket);
            }
        }
        sum
    }

    /// What is kept of each second, of both lanes.
    fn seconds(&self, from: Wall, to: Wall) -> impl Iterator<Item = Bucket> {
        let last = (to.0 / 1_000).min(second());
        let first = (from.0 / 1_000).max(last.saturating_sub(SECONDS - 1));
        (first..=last).filter_map(|second| {
            let lanes = Lane::ALL.map(|lane| self.ring.read(lane, second));
            lanes.into_iter().flatten().reduce(|mut sum, lane| {
                sum.merge(&lane);
                sum
            })
        })
    }

    /// What lies before the counting, or is overwritten, or was refused by the disk. Requests that came while the process
    /// was dead are not missing: they waited at the socket, and were counted when it was back.
    fn missing(&self, window: Window) -> Vec<Window> {
        let oldest = self.header.get().first.max((second() + 1).saturating_sub(SECONDS));
        let clipped = |from: u64, to: u64| Window {
            from: Wall(from * 1_000).max(window.from),
            to: Wall(to * 1_000).min(window.to),
        };
        let hole = window.from.0 / 1_000 < oldest;
        let mut missing: Vec<_> = hole.then(|| clipped(0, oldest)).into_iter().collect();
        for second in self.refused.borrow().range(oldest..) {
            let next = clipped(*second, second + 1);
            match missing.last_mut() {
                _ if next.from >= next.to => {}
                Some(last) if last.to == next.from => last.to = next.to,
                _ => missing.push(next),
            }
        }
        missing
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.write();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        Window { from: wall(), to: wall() + Millis::from_secs(60) }
    }

    fn open(folder: &tempfile::TempDir) -> Rc<Meter> {
        Meter::open(&folder.path().join("counts"), Lane::A).unwrap()
    }

    #[test]
    fn each_outcome_is_counted_as_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let meter = open(&folder);
        let window = window();
        Record::begin(&meter).finish(Outcome::Answered);
        Record::begin(&meter).finish(Outcome::Refused);
        Record::begin(&meter).finish(Outcome::Failed);
        Record::begin(&meter).finish(Outcome::Unknown);
        Record::begin(&meter).finish(Outcome::ByDesign);
        drop(Record::begin(&meter));
        let mut held = Record::begin(&meter);
        held.waits();
        drop(held);
        let mut passed = Record::begin(&meter);
        passed.waits();
        passed.passes();
        std::mem::forget(passed);
        let source = meter.measure(window);
        let expected = Requests {
            total: 7,
            failed: 4,
            outcome_unknown: 1,
            ended_by_design: 1,
            left_while_held: 1,
            refused: 1,
        };
        assert_eq!(source.requests, expected);
        assert_eq!(source.held.count, 2, "one has passed, and is not answered yet");
        assert!(source.p99_ms.during.is_some() && source.missing.is_empty());
    }

    #[test]
    fn what_failed_before_a_window_is_not_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let meter = open(&folder);
        Record::begin(&meter).finish(Outcome::Failed);
        let failed_at = wall();
        let later = failed_at + Millis(100);
        let source = meter.measure(Window { from: later, to: later + Millis(60_000) });
        assert_eq!(source.requests, Requests::default());
        let source = meter.measure(Window { from: failed_at - Millis(100), to: later });
        assert_eq!((source.requests.total, source.requests.failed), (1, 1));
    }

    #[test]
    fn what_was_pending_in_a_crash_has_failed() {
        let folder = tempfile::tempdir().unwrap();
        let meter = open(&folder);
        let window = window();
        Record::begin(&meter).finish(Outcome::Answered);
        // The process dies: nothing is closed.
        std::mem::forget(Record::begin(&meter));
        meter.write();
        let requests = open(&folder).measure(window).requests;
        assert_eq!((requests.total, requests.failed, requests.outcome_unknown), (2, 1, 1));
        assert_eq!(open(&folder).measure(window).requests.total, 2, "counted once");
    }

    #[test]
    fn two_processes_count_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let (old, window) = (open(&folder), window());
        let new = Meter::open(&folder.path().join("counts"), Lane::B).unwrap();
        Record::begin(&new).finish(Outcome::Answered);
        Record::begin(&old).finish(Outcome::Answered);
        std::mem::forget(Record::begin(&old));
        old.write();
        new.inherit();
        let requests = new.measure(window).requests;
        assert_eq!((requests.total, requests.failed), (3, 1));
    }

    #[test]
    fn what_began_before_a_window_counts_as_long_as_it_was_inside() {
        let folder = tempfile::tempdir().unwrap();
        let meter = open(&folder);
        let mut held = Record::begin(&meter);
        held.waits();
        held.finish_at(Instant::now() + Duration::from_secs(25), Outcome::Refused);
        let now = wall();
        let source = meter.measure(Window { from: now, to: now + Millis(1) });
        assert!(source.held.longest_ms <= 1_000 && source.longest_gap_ms <= 1_000, "{source:?}");
        let source = meter.measure(Window { from: now - Millis::from_secs(25), to: now });
        assert!(source.held.longest_ms >= 25_000 && source.longest_gap_ms >= 25_000, "{source:?}");
    }

    #[test]
    fn how_quick_an_app_was_before_is_not_told_from_what_was_held() {
        let folder = tempfile::tempdir().unwrap();
        let meter = open(&folder);
        let bucket = |second: u64, held: bool| {
            let mut bucket = Bucket::new(second);
            let took = if held { Duration::from_secs(9) } else { Duration::from_millis(2) };
            bucket.latency.record(took);
            if held {
                bucket.waited(took);
            }
            meter.ring.write(Lane::A, &bucket).unwrap();
        };
        let now = second();
        (now - 9..now - 4).for_each(|second| bucket(second, second == now - 6));
        let from = Wall(now * 1_000);
        let source = meter.measure(Window { from, to: from + Millis::from_secs(9) });
        assert!(source.p99_ms.before.is_some_and(|ms| ms < 10), "{source:?}");
    }

    #[test]
    fn what_a_full_disk_refuses_is_missing_and_fails_nobody() {
        let meter = Meter::open(Path::new("/dev/full"), Lane::A).unwrap();
        let window = window();
        Record::begin(&meter).finish(Outcome::Answered);
        let later = Instant::now() + Duration::from_secs(2);
        Record::begin(&meter).finish_at(later, Outcome::Answered);
        let missing = meter.measure(window).missing;
        assert!(missing.first().is_some_and(|first| first.from == window.from), "{missing:?}");
    }

    #[test]
    fn what_was_refused_and_written_later_is_not_missing() {
        let folder = tempfile::tempdir().unwrap();
        let meter = open(&folder);
        let window = window();
        let second = meter.current.borrow().second;
        meter.note(second, Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(meter.missing(Window { from: Wall(second * 1_000), ..window }).len(), 1);
        assert_eq!(meter.measure(window).missing, []);
    }

    #[test]
    fn a_time_before_the_counting_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let now = wall();
        let early = Window { from: now - Millis::from_secs(100), to: now };
        assert_eq!(open(&folder).measure(early).missing.len(), 1);
    }
}
