//! The task cell against threads that wake, abort, join and let go of it, in every order.
//!
//! The models run the production cell behind the production mailbox. The main thread is the
//! worker; it never spins: what others did is in the mailbox once they have ended.
#![cfg(loom)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize as Tally, Ordering as TallyOrdering};
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use spanwire_runtime::executor::Mailbox;
use spanwire_runtime::sync::shim::Mutex;
use spanwire_runtime::task::schedule::{self, Owner, Place, Runnable, Schedule, TaskRef};
use spanwire_runtime::task::{JoinError, JoinHandle};

/// Two threads announce something each, and wake the same task at the same time, while the
/// worker polls it. Both announcements are seen, though neither is acquired by itself: a wake
/// that is folded into another one publishes as well.
#[test]
fn two_concurrent_wakes_from_elsewhere_are_not_lost() {
    model(|| {
        let worker = Worker::new();
        let announced = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let (handover, seen) = (Handover::default(), Arc::clone(&announced));
        let give = handover.clone();
        let mut join = worker.spawn(poll_fn(move |context| {
            give.give(context);
            let all = seen.iter().all(|flag| flag.load(Ordering::Relaxed));
            if all { Poll::Ready(()) } else { Poll::Pending }
        }));
        worker.turn();
        let first = handover.take();
        let second = first.clone();
        let wake = |which: usize, waker: Waker| {
            let announced = Arc::clone(&announced);
            thread::spawn(move || {
                announced[which].store(true, Ordering::Relaxed);
                waker.wake();
            })
        };
        let threads = [wake(0, first), wake(1, second)];
        worker.turn();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        worker.drain();
        assert!(matches!(poll(&mut join), Poll::Ready(Ok(()))));
        handover.clear();
    });
}

/// A wake by reference comes before, during or after a poll that it may be folded into: the
/// poll sees what was announced, or there is another one.
#[test]
fn a_wake_during_a_poll_is_another_poll() {
    model(|| {
        let worker = Worker::new();
        let announced = Arc::new(AtomicBool::new(false));
        let (handover, seen) = (Handover::default(), Arc::clone(&announced));
        let give = handover.clone();
        let mut first = true;
        let mut join = worker.spawn(poll_fn(move |context| {
            if std::mem::take(&mut first) {
                give.give(context);
                return Poll::Pending;
            }
            let seen = seen.load(Ordering::Relaxed);
            if seen { Poll::Ready(()) } else { Poll::Pending }
        }));
        worker.turn();
        let waker = handover.take();
        // The next poll will run together with the wake from elsewhere.
        waker.wake_by_ref();
        let thread = thread::spawn(move || {
            announced.store(true, Ordering::Relaxed);
            waker.wake_by_ref();
        });
        worker.turn();
        thread.join().unwrap();
        worker.drain();
        assert!(matches!(poll(&mut join), Poll::Ready(Ok(()))));
    });
}

/// An abort comes before, during or after the only poll of a task. It ends either way, once.
#[test]
fn an_abort_against_completion_has_one_outcome() {
    static COMPLETED: Tally = Tally::new(0);
    static ABORTED: Tally = Tally::new(0);
    model(|| {
        let worker = Worker::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let output = Tracked(Arc::clone(&drops));
        let join = worker.spawn(async move { output });
        let gate = worker.gate.clone();
        let thread = thread::spawn(move || {
            join.abort();
            gate.pass();
            join
        });
        worker.turn();
        let mut join = thread.join().unwrap();
        worker.drain();
        match poll(&mut join) {
            Poll::Ready(Ok(output)) => {
                assert_eq!(count(&drops), 0);
                drop(output);
                COMPLETED.fetch_add(1, TallyOrdering::Relaxed);
            }
            Poll::Ready(Err(JoinError::Aborted)) => {
                ABORTED.fetch_add(1, TallyOrdering::Relaxed);
            }
            _ => panic!("neither completed nor aborted"),
        }
        assert_eq!(count(&drops), 1);
    });
    assert!(COMPLETED.load(TallyOrdering::Relaxed) > 0, "no order in which it completes");
    assert!(ABORTED.load(TallyOrdering::Relaxed) > 0, "no order in which it is aborted");
}

/// A task that waits for ever is aborted while somebody wakes it. Its worker drops it, once.
#[test]
fn an_abort_against_a_wake_ends_the_task() {
    model(|| {
        let worker = Worker::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let (handover, held) = (Handover::default(), Home(Tracked(Arc::clone(&drops))));
        let mut join = worker.spawn(wait_for_ever(held, handover.clone()));
        worker.turn();
        let waker = handover.take();
        let thread = thread::spawn(move || waker.wake());
        let aborter = thread::spawn(move || {
            join.abort();
            join
        });
        worker.turn();
        thread.join().unwrap();
        join = aborter.join().unwrap();
        handover.clear();
        worker.drain();
        assert_eq!(count(&drops), 1);
        assert!(matches!(poll(&mut join), Poll::Ready(Err(JoinError::Aborted))));
    });
}

/// A handle that was polled is dropped while the task completes: the output and the join waker
/// are dropped once, whoever comes last.
#[test]
fn a_handle_dropped_against_completion_drops_the_output_once() {
    model(|| {
        let worker = Worker::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let output = Tracked(Arc::clone(&drops));
        let mut join = worker.spawn(async move { output });
        let thread = thread::spawn(move || {
            let (waker, _rings) = bell();
            let mut polled = poll_with(&mut join, &waker);
            if polled.is_pending() {
                // Looks at the waker that it left, perhaps while the worker rings it.
                polled = poll_with(&mut join, &waker);
            }
            drop(join);
            drop(polled);
        });
        worker.turn();
        thread.join().unwrap();
        assert_eq!(count(&drops), 1);
    });
}

/// The handle is polled with one waker and then with another one while the task completes: if
/// it has to wait, the latest waker is rung, and the output is there afterwards.
#[test]
fn an_output_is_read_against_completion() {
    static READ: Tally = Tally::new(0);
    static RUNG: Tally = Tally::new(0);
    model(|| {
        let worker = Worker::new();
        // Relaxed: only the task's own ordering can make the write visible to the reader.
        let cell = Arc::new(AtomicUsize::new(0));
        let written = Arc::clone(&cell);
        let join = worker.spawn(async move { written.store(7, Ordering::Relaxed) });
        let thread = thread::spawn(move || {
            let mut join = join;
            let (old, _rings) = bell();
            let (new, rings) = bell();
            let ready =
                poll_with(&mut join, &old).is_ready() || poll_with(&mut join, &new).is_ready();
            if ready {
                assert_eq!(count(&cell), 7, "completed before its last write");
            }
            (join, ready, rings)
        });
        worker.turn();
        let (mut join, ready, rings) = thread.join().unwrap();
        if ready {
            READ.fetch_add(1, TallyOrdering::Relaxed);
        } else {
            assert_eq!(count(&rings), 1, "nobody rang the latest waker");
            assert!(poll(&mut join).is_ready());
            RUNG.fetch_add(1, TallyOrdering::Relaxed);
        }
    });
    assert!(READ.load(TallyOrdering::Relaxed) > 0, "no order in which the output is there");
    assert!(RUNG.load(TallyOrdering::Relaxed) > 0, "no order in which the handle waits");
}

/// The worker ends while somebody wakes a task of its. The future is dropped by the worker,
/// once, and the late wake does nothing.
#[test]
fn a_shutdown_against_a_wake_drops_the_future_on_the_worker() {
    model(|| {
        let worker = Worker::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let (handover, held) = (Handover::default(), Home(Tracked(Arc::clone(&drops))));
        let mut join = worker.spawn(wait_for_ever(held, handover.clone()));
        worker.turn();
        let waker = handover.take();
        let thread = thread::spawn(move || {
            waker.wake_by_ref();
            waker.wake();
        });
        worker.shut_down();
        assert_eq!(count(&drops), 1);
        thread.join().unwrap();
        assert!(matches!(poll(&mut join), Poll::Ready(Err(JoinError::Aborted))));
    });
}

/// Two workers share a task: one has it in its list and ends, the other has it in its queue and
/// runs it. Its future is dropped once, by one of them, and polled no more after that.
#[test]
fn a_shutdown_against_a_run_elsewhere_drops_the_future_once() {
    model(|| {
        let worker = Worker::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let (handover, held) = (Handover::default(), Tracked(Arc::clone(&drops)));
        let give = handover.clone();
        let mut join = worker.spawn(poll_fn(move |context| {
            let _held = &held;
            give.give(context);
            Poll::<()>::Pending
        }));
        worker.turn();
        handover.take().wake();
        let mut queue = VecDeque::new();
        worker.shared.0.take_into(&mut queue);
        let shared = Arc::clone(&worker.shared);
        let thread = thread::spawn(move || {
            let other = Owned::elsewhere(shared);
            queue.into_iter().for_each(|task| task.run(&other));
        });
        worker.shut_down();
        thread.join().unwrap();
        handover.clear();
        assert_eq!(count(&drops), 1);
        assert!(matches!(poll(&mut join), Poll::Ready(Err(JoinError::Aborted))));
    });
}

/// A task that wakes itself stays its runner's while it is queued. It is woken from elsewhere
/// meanwhile, and sees what was announced.
#[test]
fn a_wake_against_a_yield_is_not_lost() {
    model(|| {
        let worker = Worker::new();
        let announced = Arc::new(AtomicBool::new(false));
        let drops = Arc::new(AtomicUsize::new(0));
        let (handover, held) = (Handover::default(), Home(Tracked(Arc::clone(&drops))));
        let (give, seen) = (handover.clone(), Arc::clone(&announced));
        let mut polls = 0;
        let mut join = worker.spawn(poll_fn(move |context| {
            let _held = &held;
            give.give(context);
            polls += 1;
            if polls < 3 {
                context.waker().wake_by_ref();
            }
            if seen.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
        }));
        worker.turn();
        let waker = handover.take();
        let gate = worker.gate.clone();
        let waking = thread::spawn(move || {
            announced.store(true, Ordering::Relaxed);
            waker.wake();
            gate.pass();
        });
        worker.turn();
        waking.join().unwrap();
        worker.drain();
        assert!(matches!(poll(&mut join), Poll::Ready(Ok(()))), "a wake was lost");
        assert_eq!(count(&drops), 1);
        handover.clear();
    });
}

/// The same with an abort, while the task is queued by its runner or polled.
#[test]
fn an_abort_against_a_yield_ends_the_task() {
    model(|| {
        let worker = Worker::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let held = Home(Tracked(Arc::clone(&drops)));
        let mut polls = 0;
        let join = worker.spawn(poll_fn(move |context| {
            let _held = &held;
            polls += 1;
            if polls < 3 {
                context.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        }));
        worker.turn();
        let gate = worker.gate.clone();
        let aborting = thread::spawn(move || {
            join.abort();
            gate.pass();
            join
        });
        worker.turn();
        let mut join = aborting.join().unwrap();
        worker.drain();
        assert_eq!(count(&drops), 1);
        assert!(matches!(poll(&mut join), Poll::Ready(Err(JoinError::Aborted))));
    });
}

/// A new task is pushed while the worker closes its mailbox: it is dropped once, by whoever
/// has it.
#[test]
fn a_shutdown_against_a_spawn_leaves_no_task_behind() {
    model(|| {
        let worker = Worker::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let held = Tracked(Arc::clone(&drops));
        let shared = Arc::clone(&worker.shared);
        let thread = thread::spawn(move || {
            let (task, join) =
                schedule::spawn(async move { drop(held) }, Arc::clone(&shared), HERE);
            if let Err(task) = shared.0.push(task) {
                task.shut_down(&Owned::new(shared));
            }
            join
        });
        worker.shut_down();
        let mut join = thread.join().unwrap();
        assert_eq!(count(&drops), 1);
        assert!(matches!(poll(&mut join), Poll::Ready(Err(JoinError::Aborted))));
    });
}

/// Wakers that outlive the task, its handle and its worker are dropped on two threads at once:
/// the cell is freed once, after everybody's last use of it.
#[test]
fn the_last_of_many_references_frees_the_task() {
    model(|| {
        let worker = Worker::new();
        let handover = Handover::default();
        let give = handover.clone();
        let drops = Arc::new(AtomicUsize::new(0));
        let mut output = Some(Tracked(Arc::clone(&drops)));
        let mut first = true;
        let join = worker.spawn(poll_fn(move |context| {
            if std::mem::take(&mut first) {
                give.give(context);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(output.take())
        }));
        worker.turn();
        let waker = handover.take();
        let other = waker.clone();
        let threads = [
            thread::spawn(move || drop(waker)),
            thread::spawn(move || {
                other.wake();
                drop(join);
            }),
        ];
        worker.turn();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        worker.drain();
        assert_eq!(count(&drops), 1);
    });
}

/// A join handle that left a waker is dropped while the task completes: if the worker comes last it
/// frees the cell without another transition, after the handle's last access.
#[test]
fn a_detached_task_is_freed_by_whoever_is_last() {
    model(|| {
        let worker = Worker::new();
        let drops = Arc::new(AtomicUsize::new(0));
        let output = Tracked(Arc::clone(&drops));
        let mut join = worker.spawn(async move { output });
        let (waker, _rings) = bell();
        assert!(poll_with(&mut join, &waker).is_pending());
        let gate = worker.gate.clone();
        let thread = thread::spawn(move || {
            drop(join);
            gate.pass();
        });
        worker.turn();
        thread.join().unwrap();
        assert_eq!(count(&drops), 1);
    });
}

/// The join handle takes the output and lets go of the cell while the worker does the same:
/// whichever frees it comes after the other's last access.
#[test]
fn the_worker_and_the_handle_let_go_at_once() {
    model(|| {
        let worker = Worker::new();
        let join = worker.spawn(async { 7 });
        let thread = thread::spawn(move || {
            let mut join = join;
            let polled = poll(&mut join);
            assert!(matches!(polled, Poll::Pending | Poll::Ready(Ok(7))));
        });
        worker.turn();
        drop(worker);
        thread.join().unwrap();
    });
}

/// A worker's shared side: wakes go to the mailbox, or nowhere once it is closed.
#[derive(Default)]
struct Scheduler(Mailbox);

impl Schedule for Scheduler {
    fn schedule(&self, task: Runnable) {
        drop(self.0.push(task));
    }
}

/// A worker's own side: the tasks that it has to drop.
struct Owned {
    tasks: RefCell<Vec<Option<TaskRef>>>,
    shared: Arc<Scheduler>,
    /// A task of the model was listed by the other worker, which has emptied its list.
    elsewhere: bool,
}

impl Owned {
    fn new(shared: Arc<Scheduler>) -> Self {
        Self { tasks: RefCell::default(), shared, elsewhere: false }
    }

    /// Of a worker that has nothing in its list.
    fn elsewhere(shared: Arc<Scheduler>) -> Self {
        Self { elsewhere: true, ..Self::new(shared) }
    }

    fn take(&self, index: usize) -> Option<TaskRef> {
        self.tasks.borrow_mut()[index].take()
    }
}

impl Owner for Owned {
    fn adopt(&self, task: TaskRef) -> Place {
        self.tasks.borrow_mut().push(Some(task));
        Place { worker: 0, index: self.tasks.borrow().len() as u32 - 1 }
    }

    fn release(&self, _home: schedule::Home, place: Place) -> Option<TaskRef> {
        if self.elsewhere { None } else { self.take(place.index as usize) }
    }

    fn requeue(&self, task: Runnable) {
        self.shared.schedule(task);
    }
}

const HERE: schedule::Home = schedule::Home::worker(0);

/// The worker: the main thread of a model.
struct Worker {
    shared: Arc<Scheduler>,
    owned: Owned,
    gate: Gate,
}

/// Makes loom try both orders of a turn and of what another thread does.
///
/// The start of a task is a load. loom remembers the last access of an atomic only, and so
/// forgets that load once the other thread has loaded the state too: it would never run the
/// other thread before the load. Read-modify-writes of a common word it does not forget; relaxed
/// ones order nothing else.
#[derive(Clone)]
struct Gate(Arc<AtomicUsize>);

impl Gate {
    fn pass(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Worker {
    fn new() -> Self {
        let shared = Arc::new(Scheduler::default());
        let gate = Gate(Arc::new(AtomicUsize::new(0)));
        Self { owned: Owned::new(Arc::clone(&shared)), shared, gate }
    }

    fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (task, join) = schedule::spawn(future, Arc::clone(&self.shared), HERE);
        self.shared.schedule(task);
        join
    }

    /// Runs what is in the mailbox now.
    fn turn(&self) {
        let mut queue = VecDeque::new();
        self.shared.0.take_into(&mut queue);
        self.gate.pass();
        queue.into_iter().for_each(|task| task.run(&self.owned));
    }

    /// Runs until nothing is left. Only when no other thread runs.
    fn drain(&self) {
        while !self.shared.0.is_empty() {
            self.turn();
        }
    }

    /// As in the executor: what is queued, then what is owned.
    fn shut_down(&self) {
        for task in self.shared.0.close() {
            task.shut_down(&self.owned);
        }
        let places = self.owned.tasks.borrow().len();
        for place in 0..places {
            if let Some(task) = self.owned.take(place) {
                task.shut_down(&self.owned);
            }
        }
    }
}

/// Checks `program` in every order; the thread that it starts on is the worker.
fn model(program: impl Fn() + Sync + Send + 'static) {
    loom::model(move || {
        HOME.with(|home| home.set(true));
        program();
    });
}

loom::thread_local! {
    /// Whether this thread is the worker.
    static HOME: Cell<bool> = Cell::new(false);
}

/// Counts drops, and is leak-checked by loom.
struct Tracked(Arc<AtomicUsize>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts drops, which may happen on the worker only.
struct Home(#[allow(dead_code, reason = "held for its drop")] Tracked);

impl Drop for Home {
    fn drop(&mut self) {
        HOME.with(|home| assert!(home.get(), "dropped on a foreign thread"));
    }
}

/// A waker that counts, and is leak-checked by loom.
struct Bell(Arc<AtomicUsize>);

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn bell() -> (Waker, Arc<AtomicUsize>) {
    let rings = Arc::new(AtomicUsize::new(0));
    (Waker::from(std::sync::Arc::new(Bell(Arc::clone(&rings)))), rings)
}

/// Where a future leaves its waker, for the threads of a model.
#[derive(Clone)]
struct Handover(Arc<Mutex<Option<Waker>>>);

impl Default for Handover {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }
}

impl Handover {
    fn give(&self, context: &Context<'_>) {
        let before = self.0.lock().replace(context.waker().clone());
        drop(before);
    }

    fn take(&self) -> Waker {
        self.0.lock().take().expect("the task was polled")
    }

    fn clear(&self) {
        let waker = self.0.lock().take();
        drop(waker);
    }
}

fn wait_for_ever(held: Home, handover: Handover) -> impl Future<Output = ()> + Send {
    poll_fn(move |context| {
        let _held = &held;
        handover.give(context);
        Poll::Pending
    })
}

fn poll_with<T>(join: &mut JoinHandle<T>, waker: &Waker) -> Poll<Result<T, JoinError>> {
    Pin::new(join).poll(&mut Context::from_waker(waker))
}

fn poll<T>(join: &mut JoinHandle<T>) -> Poll<Result<T, JoinError>> {
    poll_with(join, Waker::noop())
}

fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}
