//! A worker's own side: its queues, and what it does with a task on its thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::{mem, ptr};

use super::owned::Owned;
use super::pool::Pool;
use super::refuse::refuse;
use super::tally::Tally;
use crate::sync::budget;
use crate::sync::deque;
use crate::sync::shim::{Arc, thread_local};
use crate::task::schedule::{Home, Owner, Place, Runnable, TaskRef};

/// The worker that runs on this thread. It never leaves it.
pub(super) struct Local {
    pool: Arc<Pool>,
    number: usize,
    /// Tasks that run here and nowhere else. Without a bound: each task is queued at most once.
    pinned: RefCell<VecDeque<Runnable>>,
    /// Tasks that others may steal.
    queue: deque::Local<Runnable>,
    /// The task that the running one woke last: next in turn, while it is hot. Others cannot
    /// steal it, and are not woken for it. While no task runs, what a search has found.
    hot: Cell<Option<Runnable>>,
    /// How many more tasks may go through `hot` before the queues get their turn. 0 while no
    /// task runs.
    hot_left: Cell<u8>,
    /// The next task comes from `pinned` if there is one; then it is the other queue's turn.
    pinned_next: Cell<bool>,
    /// The next task comes from the injector if there is one.
    injector_next: Cell<bool>,
    /// This worker counts as searching.
    is_searching: Cell<bool>,
    /// The pinned tasks that wait.
    owned: RefCell<Owned>,
    /// References to the pool that freed tasks have left for new ones, all equal.
    spare: Cell<usize>,
    /// Where to begin with stealing.
    random: Cell<u32>,
    /// Polls since the last report.
    polls: Cell<u64>,
}

impl Local {
    pub(super) fn new(pool: &Arc<Pool>, number: usize) -> Self {
        Self {
            pool: Arc::clone(pool),
            number,
            pinned: RefCell::default(),
            queue: pool.begin(number),
            hot: Cell::new(None),
            hot_left: Cell::new(0),
            pinned_next: Cell::new(true),
            injector_next: Cell::new(false),
            is_searching: Cell::new(false),
            owned: RefCell::default(),
            spare: Cell::new(0),
            random: Cell::new(number as u32 + 1),
            polls: Cell::new(0),
        }
    }

    /// Runs tasks until there are none, or until it is time to look around. `left` counts those
    /// that may run before that.
    pub(super) fn run_tasks(&self, left: &mut usize) -> Ran {
        while *left > 0 {
            let found = self.hot.take();
            let Some(task) = found.or_else(|| self.next()) else { return Ran::All };
            self.stop_search();
            self.hot_left.set(HOT_MAX);
            let mut next = Some(task);
            while let Some(task) = next {
                *left = left.saturating_sub(1);
                self.run(task);
                // What ran has forked, and this is the child: it was the last.
                if self.is_forked() {
                    return Ran::Forked;
                }
                next = self.hot.take();
                self.hot_left.set(self.hot_left.get().saturating_sub(next.is_some().into()));
            }
        }
        Ran::Enough
    }

    #[inline]
    fn run(&self, task: Runnable) {
        self.polls.set(self.polls.get() + 1);
        budget::refill();
        task.run(self);
    }

    /// The next task: pinned ones and others take turns, then comes what others left here.
    #[inline]
    fn next(&self) -> Option<Runnable> {
        if self.is_lone() {
            return self.next_pinned().or_else(|| self.next_mail());
        }
        if self.injector_next.replace(false)
            && let Some(task) = self.next_injected()
        {
            return Some(task);
        }
        let pinned_first = self.pinned_next.replace(!self.pinned_next.get());
        let task = if pinned_first {
            self.next_pinned().or_else(|| self.queue.pop())
        } else {
            self.queue.pop().or_else(|| self.next_pinned())
        };
        task.or_else(|| self.next_mail()).or_else(|| self.next_injected())
    }

    #[inline]
    fn next_pinned(&self) -> Option<Runnable> {
        self.pinned.borrow_mut().pop_front()
    }

    #[inline]
    fn next_mail(&self) -> Option<Runnable> {
        let mailbox = self.pool.mailbox(self.number);
        if mailbox.is_empty() {
            return None;
        }
        let mut pinned = self.pinned.borrow_mut();
        mailbox.take_into(&mut pinned);
        pinned.pop_front()
    }

    fn next_injected(&self) -> Option<Runnable> {
        self.pool.injector().take_into(&self.queue, self.pool.workers())
    }

    /// It is time to look around, at what others left here as well.
    pub(super) fn look_outside(&self) {
        self.pool.mailbox(self.number).take_into(&mut self.pinned.borrow_mut());
        self.injector_next.set(true);
    }

    /// Looks for work of the other workers. The worker keeps searching if there is none.
    pub(super) fn search(&self) -> bool {
        if self.is_lone() {
            return false;
        }
        if !self.is_searching.get() && !self.pool.idle().start_search() {
            return false;
        }
        self.is_searching.set(true);
        match self.steal().or_else(|| self.next_injected()) {
            None => false,
            Some(oldest) => {
                // What came with it waits behind it.
                self.hot.set(Some(oldest));
                true
            }
        }
    }

    fn steal(&self) -> Option<Runnable> {
        let workers = self.pool.workers();
        let first = self.random(workers);
        let victims = (0..workers).map(|n| (first + n) % workers).filter(|n| *n != self.number);
        let before = self.queue.len();
        for victim in victims {
            if let Some(task) = self.pool.stealer(victim).steal_into(&self.queue) {
                let tally = self.tally();
                tally.steals.add(1);
                tally.stolen.add((self.queue.len() - before) as u64 + 1);
                return Some(task);
            }
        }
        None
    }

    /// The worker has found something to do.
    #[inline]
    fn stop_search(&self) {
        if self.is_searching.get() {
            self.is_searching.set(false);
            // The last one that searched looks whether there is more: who published work while it
            // searched left it to it. Who does so later wakes somebody.
            if self.pool.idle().end_search() && self.pool.has_common_work() {
                self.pool.wake_one();
            }
        }
    }

    /// The worker is lying down: the last look. True: there is something to do after all.
    pub(super) fn is_disturbed(&self, is_parked: &Cell<bool>) -> bool {
        if self.pool.is_stopping() || !self.pool.mailbox(self.number).is_empty() {
            return true;
        }
        if self.is_lone() {
            return false;
        }
        let is_last = self.pool.idle().park(self.number, self.is_searching.replace(false));
        if is_last && self.pool.has_common_work() {
            self.pool.idle().search_again(self.number);
            self.is_searching.set(true);
            return true;
        }
        is_parked.set(true);
        false
    }

    /// The worker is up again after it had parked.
    pub(super) fn get_up(&self) {
        self.is_searching.set(self.pool.idle().leave(self.number));
    }

    /// A new task of this worker's pool.
    #[inline]
    pub(super) fn submit(&self, task: Runnable) {
        if self.pool.is_stopping() {
            return refuse(task);
        }
        match task.home().pinned_to() {
            None => self.push(task),
            Some(worker) if worker == self.number => self.push_pinned(task),
            Some(_) => {
                if let Err(task) = self.pool.post(task) {
                    refuse(task);
                }
            }
        }
    }

    /// A task that was woken on this thread.
    #[inline]
    pub(super) fn wake(&self, task: Runnable) {
        match task.home().pinned_to() {
            None => self.wake_common(task),
            Some(worker) if worker == self.number => self.push_pinned(task),
            // A worker that has ended has dropped the future.
            Some(_) => drop(self.pool.post(task)),
        }
    }

    #[inline]
    fn wake_common(&self, task: Runnable) {
        if self.hot_left.get() == 0 {
            return self.push(task);
        }
        if let Some(cooler) = self.hot.replace(Some(task)) {
            self.push_behind_hot(cooler);
        }
    }

    #[inline]
    fn push_pinned(&self, task: Runnable) {
        self.pinned.borrow_mut().push_back(task);
    }

    /// Queues a task that others may steal, and wakes one of them if there is more than this
    /// worker is going to run next.
    #[inline]
    fn push(&self, task: Runnable) {
        match self.queue.push(task) {
            // Who was woken for the second wakes one more when it has found something.
            Ok(()) if self.queue.len() == 2 => self.pool.wake_one(),
            Ok(()) => {}
            Err(overflow) => self.inject(overflow),
        }
    }

    fn push_behind_hot(&self, task: Runnable) {
        match self.queue.push(task) {
            Ok(()) if self.queue.len() <= 2 => self.pool.wake_one(),
            Ok(()) => {}
            Err(overflow) => self.inject(overflow),
        }
    }

    #[cold]
    fn inject(&self, overflow: deque::Overflow<Runnable>) {
        match self.pool.injector().push_many(overflow) {
            Ok(()) => self.pool.wake_one(),
            // The workers end.
            Err(tasks) => tasks.into_iter().for_each(|task| task.shut_down(self)),
        }
    }

    /// Says what this worker has done since it last said so.
    pub(super) fn report(&self) {
        let tally = self.tally();
        tally.polls.add(self.polls.take());
        tally.queued.set(self.queue.len() as u64);
        tally.pinned.set(self.pinned.borrow().len() as u64);
    }

    /// No task runs: what is woken now waits for its turn.
    pub(super) fn cool_down(&self) {
        self.hot_left.set(0);
    }

    /// Drops every future that this worker has to drop. A destructor may wake what it likes:
    /// whatever it puts into a queue is dropped in its turn. It cannot spawn any more.
    pub(super) fn shut_down(&self) {
        self.cool_down();
        self.pool.stop();
        let left = [self.pool.mailbox(self.number).close(), self.pool.injector().close()];
        left.into_iter().flatten().for_each(|task| task.shut_down(self));
        loop {
            let queued = self.hot.take().or_else(|| self.next_pinned());
            if let Some(task) = queued.or_else(|| self.queue.pop()) {
                task.shut_down(self);
            } else if let Some(task) = self.next_waiting() {
                task.shut_down(self);
            } else {
                return;
            }
        }
    }

    /// Forgets all tasks.
    pub(super) fn leak(&self) {
        mem::forget((self.hot.take(), self.pinned.take(), self.owned.take()));
        while let Some(task) = self.queue.pop() {
            mem::forget(task);
        }
        self.spare.set(0);
    }

    /// Whether a task of this worker has forked, and this is the child.
    #[inline]
    pub(super) fn is_forked(&self) -> bool {
        self.pool.is_forked()
    }

    fn next_waiting(&self) -> Option<TaskRef> {
        let pinned = self.owned.borrow_mut().pop();
        pinned.or_else(|| self.pool.waiting(self.number).lock().pop())
    }

    #[inline]
    fn is_lone(&self) -> bool {
        self.pool.workers() == 1
    }

    pub(super) fn tally(&self) -> &Tally {
        self.pool.tally(self.number)
    }

    /// Below `end`, different each time: a xorshift.
    fn random(&self, end: usize) -> usize {
        let mut word = self.random.get();
        word ^= word << 13;
        word ^= word >> 17;
        word ^= word << 5;
        self.random.set(word);
        word as usize % end
    }
}

impl Owner for Local {
    fn adopt(&self, task: TaskRef) -> Place {
        let index = match task.home() {
            // In a forked child it is only put aside: the list's lock may be locked for ever.
            Home::ANYWHERE if self.is_forked() => self.owned.borrow_mut().adopt(task),
            Home::ANYWHERE => self.pool.waiting(self.number).lock().adopt(task),
            _ => self.owned.borrow_mut().adopt(task),
        };
        Place { worker: self.number as u8, index }
    }

    fn release(&self, home: Home, place: Place) -> Option<TaskRef> {
        match home {
            Home::ANYWHERE if self.is_forked() => None,
            Home::ANYWHERE => self.pool.waiting(place.worker as usize).lock().release(place.index),
            _ => self.owned.borrow_mut().release(place.index),
        }
    }

    #[inline]
    fn requeue(&self, task: Runnable) {
        if task.home() == Home::ANYWHERE && !self.is_forked() {
            self.push(task);
        } else {
            self.push_pinned(task);
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        for _ in 0..self.spare.get() {
            // SAFETY: `keep` has forgotten so many references.
            drop(unsafe { Arc::from_raw(Arc::as_ptr(&self.pool)) });
        }
    }
}

/// How `run_tasks` ended.
pub(super) enum Ran {
    /// Nothing is left to run.
    All,
    /// It is time to look around.
    Enough,
    /// A task has forked and this is the child: nothing here is its own.
    Forked,
}

thread_local! {
    /// The worker that runs on this thread; null elsewhere.
    static CURRENT: Cell<*const Local> = const { Cell::new(ptr::null()) };
}

/// Makes `local` this thread's worker while `work` runs.
///
/// # Panics
///
/// On a thread that is a worker already.
pub(super) fn enter(local: &Local, work: impl FnOnce()) {
    struct Leaves;
    impl Drop for Leaves {
        fn drop(&mut self) {
            CURRENT.with(|current| current.set(ptr::null()));
            budget::lift();
        }
    }
    let is_free = with(|local| local.is_forked()).unwrap_or(true);
    assert!(is_free, "a worker cannot run inside another");
    CURRENT.with(|current| current.set(local));
    let _leaves = Leaves;
    work();
}

/// Calls `look` with this thread's worker. None elsewhere, and when the thread-locals are gone.
#[inline]
pub(super) fn with<R>(look: impl FnOnce(&Local) -> R) -> Option<R> {
    let local = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: `enter` borrows what it sets for as long as it is set, on this thread; it is not
    // `Sync`, and does not get to another one.
    unsafe { local.as_ref() }.map(look)
}

/// Gives `task` to this thread's worker if it is one of the pool's, and gives it back elsewhere,
/// and in a forked child. The pool is only compared.
#[inline]
pub(super) fn offer(
    pool: *const Pool,
    task: Runnable,
    take: impl FnOnce(&Local, Runnable),
) -> Result<(), Runnable> {
    let local = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: as in `with`.
    match unsafe { local.as_ref() } {
        Some(local) if ptr::eq(&raw const *local.pool, pool) && !local.is_forked() => {
            take(local, task);
            Ok(())
        }
        _ => Err(task),
    }
}

/// Whether a worker of this process runs on this thread.
pub(crate) fn is_worker() -> bool {
    with(|local| !local.is_forked()).unwrap_or(false)
}

/// The pool of this thread's worker.
#[inline]
pub(crate) fn with_pool<R>(look: impl FnOnce(&Arc<Pool>) -> R) -> Option<R> {
    with(|local| look(&local.pool))
}

/// The number of this thread's worker, if it is one of the pool's.
#[inline]
pub(super) fn number_in(pool: &Pool) -> Option<usize> {
    with(|local| ptr::eq(&raw const *local.pool, pool).then_some(local.number)).flatten()
}

/// A reference to the pool, for a new task: one that a freed task has left, if there is one on
/// this thread. It saves two read-modify-writes of a word that all workers share.
#[inline]
pub(super) fn scheduler_of(pool: &Arc<Pool>) -> Arc<Pool> {
    let spare = with(|local| {
        let is_spare = Arc::ptr_eq(&local.pool, pool) && local.spare.get() > 0;
        // SAFETY: `keep` has forgotten a reference to this very pool.
        is_spare.then(|| unsafe {
            local.spare.set(local.spare.get() - 1);
            Arc::from_raw(Arc::as_ptr(pool))
        })
    });
    spare.flatten().unwrap_or_else(|| Arc::clone(pool))
}

/// A freed task has left a reference.
#[inline]
pub(super) fn keep(pool: Arc<Pool>) {
    let mut pool = Some(pool);
    with(|local| {
        if local.spare.get() < SPARE_MAX
            && pool.as_ref().is_some_and(|p| Arc::ptr_eq(&local.pool, p))
        {
            local.spare.set(local.spare.get() + 1);
            mem::forget(pool.take());
        }
    });
}

/// How many tasks may run one after the other because the running one woke them. Two that wake
/// each other would otherwise keep all others waiting.
const HOT_MAX: u8 = 3;
/// More references than this are given back: tasks that one worker makes and another frees pile
/// them up.
const SPARE_MAX: usize = 4096;
