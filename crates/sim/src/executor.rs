//! Runs tasks on virtual time, one at a time, in an order that the seed chooses.
//!
//! Laws: the same seed polls the same tasks in the same order; time moves only when nothing can run; a group of
//! tasks can be dropped at any await (a crash) or kept from running for a while (a pause).

use crate::rng::Rng;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Tasks that live and die together: one run of an agent, or the world itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Group(pub(crate) u64);

/// The world's own tasks: never dropped, never paused.
pub(crate) const WORLD: Group = Group(0);

type Ready = Arc<Mutex<Vec<u64>>>;
type Job = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    group: Group,
    flag: Arc<Flag>,
    /// Out while it is being polled.
    job: Option<Job>,
}

/// Wakes one task, once until it is polled again.
struct Flag {
    id: u64,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.ready).push(self.id);
        }
    }
}

fn lock(ready: &Ready) -> MutexGuard<'_, Vec<u64>> {
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It polled a task of this group.
    Polled(Group),
    /// Nothing could run, so time moved.
    Advanced,
    /// Nothing can ever run again.
    Over,
}

struct Alarm {
    at: u64,
    seq: u64,
    bell: Rc<RefCell<Option<Waker>>>,
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq
    }
}
impl Eq for Alarm {}
impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// The executor.
pub(crate) struct Executor {
    now: Cell<u64>,
    ids: Cell<u64>,
    polls: Cell<u64>,
    order: RefCell<Rng>,
    ready: Ready,
    tasks: RefCell<BTreeMap<u64, Task>>,
    alarms: RefCell<BinaryHeap<Reverse<Alarm>>>,
    paused: RefCell<BTreeSet<Group>>,
    parked: RefCell<Vec<(Group, u64)>>,
}

impl Executor {
    /// An empty one that orders tasks by `order`.
    pub(crate) fn new(order: Rng) -> Self {
        Self {
            now: Cell::new(0),
            ids: Cell::new(0),
            polls: Cell::new(0),
            order: RefCell::new(order),
            ready: Ready::default(),
            tasks: RefCell::default(),
            alarms: RefCell::default(),
            paused: RefCell::default(),
            parked: RefCell::default(),
        }
    }

    /// Virtual milliseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// How many polls there were.
    pub(crate) fn polls(&self) -> u64 {
        self.polls.get()
    }

    fn fresh(&self) -> u64 {
        self.ids.set(self.ids.get() + 1);
        self.ids.get()
    }

    /// Adds a task to `group`.
    pub(crate) fn spawn(&self, group: Group, job: impl Future<Output = ()> + 'static) {
        let id = self.fresh();
        let flag = Arc::new(Flag { id, queued: AtomicBool::new(false), ready: self.ready.clone() });
        flag.wake_by_ref();
        self.tasks.borrow_mut().insert(id, Task { group, flag, job: Some(Box::pin(job)) });
    }

    /// Drops every task of `group` where it stands. The one that is being polled now ends with this poll.
    pub(crate) fn kill(&self, group: Group) {
        let of_group = |task: &mut Task| task.group == group;
        let dead: Vec<Task> =
            self.tasks.borrow_mut().extract_if(.., |_, task| of_group(task)).map(|(_, task)| task).collect();
        drop(dead);
        self.paused.borrow_mut().remove(&group);
        self.parked.borrow_mut().retain(|(of, _)| *of != group);
    }

    /// Keeps the tasks of `group` from running until [`Self::resume`].
    pub(crate) fn pause(&self, group: Group) {
        self.paused.borrow_mut().insert(group);
    }

    /// Lets the tasks of `group` run again.
    pub(crate) fn resume(&self, group: Group) {
        self.paused.borrow_mut().remove(&group);
        for (_, id) in self.parked.borrow_mut().extract_if(.., |(of, _)| *of == group) {
            lock(&self.ready).push(id);
        }
    }

    /// Polls one task that can run, or moves time to the next alarm.
    pub(crate) fn step(&self) -> Step {
        while let Some(id) = self.pick() {
            if let Some(group) = self.poll(id) {
                return Step::Polled(group);
            }
        }
        if self.advance() { Step::Advanced } else { Step::Over }
    }

    fn pick(&self) -> Option<u64> {
        let mut ready = lock(&self.ready);
        if ready.is_empty() {
            return None;
        }
        let at = self.order.borrow_mut().below(ready.len() as u64) as usize;
        Some(ready.swap_remove(at))
    }

    /// Polls task `id`, unless it is gone or paused.
    fn poll(&self, id: u64) -> Option<Group> {
        let (group, flag, mut job) = self.take(id)?;
        flag.queued.store(false, Ordering::Relaxed);
        self.polls.set(self.polls.get() + 1);
        let waker = Waker::from(flag);
        let polled = job.as_mut().poll(&mut Context::from_waker(&waker));
        self.put_back(id, job, polled);
        Some(group)
    }

    fn take(&self, id: u64) -> Option<(Group, Arc<Flag>, Job)> {
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks.get_mut(&id)?;
        if self.paused.borrow().contains(&task.group) {
            self.parked.borrow_mut().push((task.group, id));
            return None;
        }
        Some((task.group, task.flag.clone(), task.job.take()?))
    }

    fn put_back(&self, id: u64, job: Job, polled: Poll<()>) {
        let mut tasks = self.tasks.borrow_mut();
        let ended = match tasks.get_mut(&id) {
            Some(task) if polled.is_pending() => {
                task.job = Some(job);
                return;
            }
            Some(_) => tasks.remove(&id),
            None => None,
        };
        // Dropping a task may drop channels that wake others or reach into the world: not under the borrow.
        drop(tasks);
        drop((ended, job));
    }

    /// Moves time to the next alarm that somebody still waits for, and wakes all that are due.
    fn advance(&self) -> bool {
        let mut rang = false;
        let mut alarms = self.alarms.borrow_mut();
        while let Some(Reverse(next)) = alarms.peek() {
            if rang && next.at > self.now.get() {
                break;
            }
            let Some(Reverse(alarm)) = alarms.pop() else { break };
            if let Some(waker) = alarm.bell.borrow_mut().take() {
                self.now.set(alarm.at.max(self.now.get()));
                waker.wake();
                rang = true;
            }
        }
        rang
    }

    fn alarm(&self, at: u64, bell: Rc<RefCell<Option<Waker>>>) {
        let seq = self.fresh();
        self.alarms.borrow_mut().push(Reverse(Alarm { at, seq, bell }));
    }
}

/// Waits until virtual time has reached `at`.
pub(crate) fn until(executor: &Rc<Executor>, at: u64) -> Sleep {
    Sleep { executor: executor.clone(), at, bell: None }
}

/// See [`until`].
pub(crate) struct Sleep {
    executor: Rc<Executor>,
    at: u64,
    bell: Option<Rc<RefCell<Option<Waker>>>>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.executor.now() >= self.at {
            return Poll::Ready(());
        }
        match &self.bell {
            Some(bell) => *bell.borrow_mut() = Some(cx.waker().clone()),
            None => {
                let bell = Rc::new(RefCell::new(Some(cx.waker().clone())));
                self.executor.alarm(self.at, bell.clone());
                self.bell = Some(bell);
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(bell) = &self.bell {
            bell.borrow_mut().take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(executor: &Executor) {
        while executor.step() != Step::Over {}
    }

    fn order_of(seed: u64) -> Vec<u64> {
        let executor = Rc::new(Executor::new(Rng::of(seed, "order")));
        let seen = Rc::new(RefCell::new(Vec::new()));
        for n in 0..8 {
            let (exec, seen) = (executor.clone(), seen.clone());
            executor.spawn(WORLD, async move {
                until(&exec, 10 * (n % 2)).await;
                seen.borrow_mut().push(n);
            });
        }
        run(&executor);
        seen.take()
    }

    #[test]
    fn the_seed_chooses_the_order_and_time_comes_first() {
        assert_eq!(order_of(1), order_of(1));
        assert_ne!(order_of(1), order_of(2));
        assert!(order_of(3)[..4].iter().all(|n| n % 2 == 0), "those without a wait run first");
    }

    #[test]
    fn a_killed_group_stops_where_it_stands_and_a_paused_one_goes_on_later() {
        let executor = Rc::new(Executor::new(Rng::of(1, "order")));
        let count = Rc::new(Cell::new(0));
        for group in [Group(1), Group(2)] {
            let (exec, count) = (executor.clone(), count.clone());
            executor.spawn(group, async move {
                for second in 1..=3 {
                    until(&exec, 1_000 * second).await;
                    count.set(count.get() + group.0);
                }
            });
        }
        let exec = executor.clone();
        executor.spawn(WORLD, async move {
            until(&exec, 1_500).await;
            exec.kill(Group(1));
            exec.pause(Group(2));
            until(&exec, 10_000).await;
            exec.resume(Group(2));
        });
        run(&executor);
        assert_eq!((count.get(), executor.now()), (1 + 2 * 3, 10_000));
    }
}
