//! The whole scheduler under schedules that shuttle chooses: workers with production's queues, task
//! cells, mailboxes and doorbells, and random programs of tasks that spawn, wake, abort and wait.
//!
//! `ci/shuttle.sh` runs this. Of each program there are some thousand runs under a random scheduler,
//! and as many under one that keeps to priorities and changes few of them (PCT). The programs are
//! random too, from the same seed. shuttle reports a deadlock, so waiting for what must come is
//! how most of it is checked. What it cannot see is a weak ordering: that is what loom is for.
//!
//! | variable | what it sets |
//! |---|---|
//! | `SHUTTLE_SEED` | where both schedulers start |
//! | `SHUTTLE_RUNS`, `SHUTTLE_SECONDS` | the runs of a program with one scheduler, and after how long no more are begun |
//! | `SHUTTLE_REPLAY` | a file that a failure has left: that schedule, once. Name the test as well |
#![cfg(shuttle)]

use std::env;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread::{self, ThreadId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use spanwire_runtime::executor::{Park, Pool, run};
use spanwire_runtime::sync::doorbell::{Bed, Button};
use spanwire_runtime::task::{JoinError, JoinHandle};
use spanwire_runtime::{Doorbell, yield_now};

/// Tasks spawn tasks, from outside and from inside, more than a queue has room for. Each runs once.
#[test]
fn nested_spawns_all_run_once() {
    check(|| {
        let crew = Crew::start();
        let roots: Vec<_> = (0..between(1, 3)).map(|_| crew.site.spawn(3)).collect();
        for root in roots {
            wait(root).expect("nobody aborts it");
        }
        crew.site.wait_for_all();
        crew.end();
    });
}

impl Site {
    /// A task that has a tree of others below it, and waits for those that it keeps.
    fn spawn(self: &Arc<Self>, depth: usize) -> JoinHandle<()> {
        let live = Live::new(&self.ledger);
        *self.left.lock().unwrap() += 1;
        let site = Arc::clone(self);
        let program = move || -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(async move {
                let _live = live;
                let branches = if depth == 0 { 0 } else { below(4) };
                let children: Vec<_> = (0..branches).map(|_| site.spawn(depth - 1)).collect();
                for child in children {
                    if below(4) > 0 {
                        child.await.expect("nobody aborts it");
                    }
                }
                *site.left.lock().unwrap() -= 1;
                site.ran.notify_all();
            })
        };
        self.spawn_anyhow(program)
    }

    /// Waits for those as well that nobody has kept.
    fn wait_for_all(&self) {
        let mut left = self.left.lock().unwrap();
        while *left > 0 {
            left = self.ran.wait(left).unwrap();
        }
    }

    /// Pinned or not, from wherever this is called.
    fn spawn_anyhow<F>(&self, program: impl FnOnce() -> F + Send + 'static) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match below(3) {
            0 => {
                let pinned = || {
                    let future = program();
                    AtHome { future: Box::pin(future), home: None }
                };
                Pool::spawn_sent_to(&self.pool, below(self.pool.workers()), pinned)
            }
            _ => Pool::spawn(&self.pool, program()),
        }
    }
}

/// Pairs of tasks, and a task and a thread, wake each other in turns. No wake is lost.
#[test]
fn wakes_across_workers_are_not_lost() {
    check(|| {
        let crew = Crew::start();
        let rounds = between(1, 5);
        let mut players = Vec::new();
        for _ in 0..between(1, 2) {
            let table = Arc::new(Table::default());
            for side in 0..2 {
                let (table, live) = (Arc::clone(&table), Live::new(&crew.site.ledger));
                players.push(crew.site.spawn_anyhow(move || async move {
                    let _live = live;
                    for round in 0..rounds {
                        table.turn(2 * round + side).await;
                    }
                }));
            }
        }
        let table = Arc::new(Table::default());
        let (theirs, live) = (Arc::clone(&table), Live::new(&crew.site.ledger));
        players.push(crew.site.spawn_anyhow(move || async move {
            let _live = live;
            for round in 0..rounds {
                theirs.turn(2 * round).await;
            }
        }));
        for round in 0..rounds {
            block_on(table.turn(2 * round + 1));
        }
        for player in players {
            wait(player).expect("nobody aborts it");
        }
        crew.end();
    });
}

/// Tasks that hold their workers up until as many others have begun: each worker gets one, whether
/// they come from outside, or all from one worker, among more than its queue has room for.
#[test]
fn tasks_that_block_for_each_other_get_a_worker_each() {
    check(|| {
        let crew = Crew::start();
        let meeting = Arc::new(Meeting::default());
        let site = Arc::clone(&crew.site);
        if below(2) == 0 {
            site.call_a_meeting(&meeting);
        } else {
            let meeting = Arc::clone(&meeting);
            let caller = Pool::spawn(&crew.site.pool, async move { site.call_a_meeting(&meeting) });
            wait(caller).expect("nobody aborts it");
        }
        let tasks = std::mem::take(&mut *crew.site.handles.lock().unwrap());
        for task in tasks {
            wait(task).expect("nobody aborts it");
        }
        crew.end();
    });
}

impl Site {
    fn call_a_meeting(&self, meeting: &Arc<Meeting>) {
        let present = self.pool.workers();
        for _ in 0..below(6) {
            self.keep(async {});
        }
        for _ in 0..present {
            let meeting = Arc::clone(meeting);
            self.keep(async move { meeting.attend(present) });
        }
    }

    fn keep(&self, future: impl Future<Output = ()> + Send + 'static) {
        let live = Live::new(&self.ledger);
        let handle = Pool::spawn(&self.pool, async move {
            let _live = live;
            future.await;
        });
        self.handles.lock().unwrap().push(handle);
    }
}

/// Begins when all are there.
#[derive(Default)]
struct Meeting(Mutex<usize>, Condvar);

impl Meeting {
    /// Blocks the worker.
    fn attend(&self, expected: usize) {
        let mut present = self.0.lock().unwrap();
        *present += 1;
        self.1.notify_all();
        while *present < expected {
            present = self.1.wait(present).unwrap();
        }
    }
}

/// Tasks and threads abort, wake, yield, let go of handles, and wait. Each task ends once, and who
/// waits for it hears of it.
#[test]
fn every_task_ends_once_whatever_happens_to_it() {
    check(|| {
        let crew = Crew::start();
        let outside: Vec<_> = (0..between(1, 2))
            .map(|_| {
                let site = Arc::clone(&crew.site);
                thread::spawn(move || block_on(site.act(2)))
            })
            .collect();
        for thread in outside {
            thread.join().unwrap();
        }
        let left = std::mem::take(&mut *crew.site.handles.lock().unwrap());
        for handle in left {
            if below(2) == 0 {
                handle.abort();
            }
            if below(2) == 0 {
                is_an_end(wait(handle));
            }
        }
        crew.end();
    });
}

/// The pool is stopped while tasks run, spawn and wake, and while others spawn from outside. Each
/// future is dropped once, and once the workers are gone all handles know how their tasks ended.
#[test]
fn a_shutdown_in_the_midst_drops_every_future_once() {
    check(|| {
        let crew = Crew::start();
        let site = Arc::clone(&crew.site);
        let outside = thread::spawn(move || {
            for _ in 0..between(1, 4) {
                let handle = if below(3) == 0 { site.spawn_waiter() } else { site.spawn_actor(2) };
                site.handles.lock().unwrap().push(handle);
            }
        });
        for _ in 0..below(20) {
            thread::yield_now();
        }
        crew.site.pool.stop();
        if below(2) == 0 {
            outside.join().unwrap();
            crew.end();
        } else {
            crew.end_with(|| outside.join().unwrap());
        }
    });
}

impl Site {
    /// Some random steps, none of which can wait for ever as long as the workers run.
    fn act(self: Arc<Self>, depth: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            for _ in 0..between(1, 4) {
                match below(7) {
                    0 => yield_now().await,
                    1 => self.leave_waker().await,
                    2 => self.wake_some(),
                    3 => self.abort_one(),
                    4 => drop(self.pick()),
                    _ if depth == 0 => {}
                    5 => {
                        let child = self.spawn_actor(depth - 1);
                        self.handles.lock().unwrap().push(child);
                    }
                    _ => {
                        let child = self.spawn_actor(depth - 1);
                        if below(3) == 0 {
                            child.abort();
                        }
                        is_an_end(child.await);
                    }
                }
            }
        })
    }

    fn spawn_actor(self: &Arc<Self>, depth: usize) -> JoinHandle<()> {
        let (site, live) = (Arc::clone(self), Live::new(&self.ledger));
        self.spawn_anyhow(move || async move {
            let _live = live;
            if below(8) == 0 {
                std::panic::resume_unwind(Box::new("a task may panic"));
            }
            site.act(depth).await;
        })
    }

    /// A task that only an abort or the end of the workers can end.
    fn spawn_waiter(&self) -> JoinHandle<()> {
        let (live, wakers) = (Live::new(&self.ledger), Arc::clone(&self.wakers));
        self.spawn_anyhow(move || async move {
            let _live = live;
            poll_fn(|context| {
                wakers.lock().unwrap().push(context.waker().clone());
                Poll::Pending
            })
            .await
        })
    }

    /// Leaves a waker of this task, which may outlive it.
    fn leave_waker(&self) -> impl Future<Output = ()> {
        poll_fn(|context| {
            self.wakers.lock().unwrap().push(context.waker().clone());
            Poll::Ready(())
        })
    }

    fn wake_some(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap());
        for waker in wakers {
            match below(3) {
                0 => waker.wake(),
                1 => waker.wake_by_ref(),
                _ => drop(waker),
            }
        }
    }

    fn abort_one(&self) {
        if let Some(handle) = self.pick() {
            handle.abort();
            self.handles.lock().unwrap().push(handle);
        }
    }

    fn pick(&self) -> Option<JoinHandle<()>> {
        self.handles.lock().unwrap().pop()
    }
}

/// What the programs share.
struct Site {
    pool: Arc<Pool>,
    ledger: Arc<Ledger>,
    /// Tasks of a tree that have not run to their end.
    left: Mutex<usize>,
    ran: Condvar,
    handles: Mutex<Vec<JoinHandle<()>>>,
    /// Of tasks that may have ended long ago.
    wakers: Arc<Mutex<Vec<Waker>>>,
}

/// Workers that run.
struct Crew {
    site: Arc<Site>,
    workers: Vec<thread::JoinHandle<()>>,
}

impl Crew {
    /// One to three workers.
    fn start() -> Self {
        let pool = Pool::new(between(1, 3));
        let workers = (0..pool.workers())
            .map(|number| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    let mut park = Sleep(Arc::clone(pool.doorbell(number)));
                    run(&pool, number, &mut park);
                })
            })
            .collect();
        let site = Site {
            pool,
            ledger: Arc::default(),
            left: Mutex::default(),
            ran: Condvar::new(),
            handles: Mutex::default(),
            wakers: Arc::default(),
        };
        Self { site: Arc::new(site), workers }
    }

    fn end(self) {
        self.end_with(|| ());
    }

    /// Stops the workers, waits for them and for `others`, and checks that nothing is left over.
    fn end_with(self, others: impl FnOnce()) {
        self.site.pool.stop();
        self.workers.into_iter().for_each(|worker| worker.join().unwrap());
        others();
        for mut handle in std::mem::take(&mut *self.site.handles.lock().unwrap()) {
            match Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(end) => is_an_end(end),
                Poll::Pending => panic!("the workers are gone, and a task has not ended"),
            }
        }
        self.site.wake_some();
        assert_eq!(self.site.pool.injected(), 0, "left in the injector");
        self.site.ledger.is_balanced();
    }
}

/// Sleeps on the doorbell alone: there is no driver, and no timer.
struct Sleep(Arc<Doorbell>);

impl Park for Sleep {
    fn turn(&mut self) {}

    fn park(&mut self, has_work: &dyn Fn() -> bool) -> bool {
        self.0.lie_down(Bed::Futex, Button::NONE);
        let has_work = has_work();
        if !has_work {
            self.0.sleep(None);
        }
        self.0.get_up();
        !has_work
    }
}

/// Counts futures. Not by shuttle's atomics: these are no part of the program.
#[derive(Default)]
struct Ledger {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

impl Ledger {
    fn is_balanced(&self) {
        let [made, dropped] = [&self.made, &self.dropped].map(|n| n.load(Ordering::Relaxed));
        assert_eq!(made, dropped, "futures made and dropped");
    }
}

/// Belongs to one future.
struct Live(Arc<Ledger>);

impl Live {
    fn new(ledger: &Arc<Ledger>) -> Self {
        ledger.made.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(ledger))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// A future that is polled and dropped by one thread, wherever it was asked for.
struct AtHome<F> {
    future: Pin<Box<F>>,
    home: Option<ThreadId>,
}

impl<F> AtHome<F> {
    fn is_home(&self) {
        let here = thread::current().id();
        assert!(self.home.is_none_or(|home| home == here), "a pinned task has moved");
    }
}

impl<F: Future> Future for AtHome<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.is_home();
        self.home = Some(thread::current().id());
        self.future.as_mut().poll(context)
    }
}

impl<F> Drop for AtHome<F> {
    fn drop(&mut self) {
        self.is_home();
    }
}

/// Where two take turns, and each wakes the other.
#[derive(Default)]
struct Table(Mutex<(usize, Option<Waker>)>);

impl Table {
    /// Waits for turn number `turn`, and hands over to the next.
    fn turn(&self, turn: usize) -> impl Future<Output = ()> {
        poll_fn(move |context| {
            let mut inside = self.0.lock().unwrap();
            let is_mine = inside.0 == turn;
            inside.0 += usize::from(is_mine);
            let before = inside.1.take();
            if !is_mine {
                inside.1 = Some(context.waker().clone());
            }
            drop(inside);
            if !is_mine {
                return Poll::Pending;
            }
            before.into_iter().for_each(Waker::wake);
            Poll::Ready(())
        })
    }
}

fn is_an_end(end: Result<(), JoinError>) {
    if let Err(JoinError::Panicked(panic)) = end {
        drop(panic);
    }
}

/// Waits for a task, from a thread that is no worker.
fn wait<T>(handle: JoinHandle<T>) -> Result<T, JoinError> {
    block_on(handle)
}

/// As the crate's own, but for its sleep, which shuttle has to see.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Bell(Mutex<bool>, Condvar);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() = true;
            self.1.notify_one();
        }
    }
    let bell = Arc::new(Bell(Mutex::new(false), Condvar::new()));
    let waker = Waker::from(Arc::clone(&bell));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut rung = bell.0.lock().unwrap();
        while !*rung {
            rung = bell.1.wait(rung).unwrap();
        }
        *rung = false;
    }
}

fn below(end: usize) -> usize {
    thread_rng().gen_range(0..end)
}

fn between(least: usize, most: usize) -> usize {
    thread_rng().gen_range(least..=most)
}

/// Runs `program` under many schedules, or under the one that is to be replayed.
fn check(program: fn()) {
    if let Ok(file) = env::var("SHUTTLE_REPLAY") {
        return shuttle::replay_from_file(program, file);
    }
    let random = explore(program, |seed| RandomScheduler::new_from_seed(seed, BATCH));
    let pct = explore(program, |seed| PctScheduler::new_from_seed(seed, PCT_DEPTH, BATCH));
    println!("{random} random runs, {pct} by priorities");
}

/// Returns how many runs there were.
fn explore<S: Scheduler + 'static>(program: fn(), scheduler: impl Fn(u64) -> S) -> usize {
    let (first, runs) = (setting("SHUTTLE_SEED", 1), setting("SHUTTLE_RUNS", 2000));
    let limit = Duration::from_secs(setting("SHUTTLE_SECONDS", 10));
    let begun = Instant::now();
    let batches = runs.div_ceil(BATCH as u64);
    let seeds = (first..first + batches).take_while(|_| begun.elapsed() < limit);
    seeds.map(|seed| Runner::new(scheduler(seed), config()).run(program)).sum()
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.failure_persistence = FailurePersistence::File(Some(env!("CARGO_TARGET_TMPDIR").into()));
    config.silence_warnings = true;
    config
}

fn setting(name: &str, default: u64) -> u64 {
    let Ok(text) = env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number"))
}

/// Runs with one seed.
const BATCH: usize = 500;
/// How many changes of priorities PCT makes: bugs that need more are rare, and found by chance.
const PCT_DEPTH: usize = 3;
/// Programs here take some hundred steps; one that takes this many goes around in circles.
const STEPS_MAX: usize = 100_000;
/// Debug builds of nested futures need more than shuttle's 60 KiB.
const STACK_BYTES: usize = 256 << 10;
