//! Workers that search and sleep: no wake is lost, and no task is left behind while somebody who
//! could run it sleeps.
//!
//! Two workers with production's queues, counts and doorbells run the loop that the executor has.
//! A task that is left behind is a deadlock, which loom reports.
#![cfg(loom)]

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use spanwire_runtime::Doorbell;
use spanwire_runtime::sync::deque::{Local, Stealer};
use spanwire_runtime::sync::doorbell::{Bed, Button};
use spanwire_runtime::sync::idle::Idle;
use spanwire_runtime::sync::injector::Injector;

/// Both workers look for work, or sleep already, while a task comes from elsewhere.
#[test]
fn a_task_from_elsewhere_is_not_left_behind() {
    with_three_threads(|| {
        let (site, workers) = started(1);
        site.inject(Task::Plain);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        site.is_at_rest();
    });
}

/// Two tasks wait for each other, so both workers are needed. Whoever pushed the second one left
/// it to the searcher, which has found the first.
#[test]
fn a_searcher_that_found_something_wakes_the_next_one() {
    with_three_threads(|| {
        let (site, workers) = started(2);
        site.inject(Task::Meet);
        site.inject(Task::Meet);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        site.is_at_rest();
    });
}

/// A worker pushes to its own queue, and is busy until somebody else has run that task: the other
/// one steals it, though it was about to sleep.
#[test]
fn a_task_of_a_busy_worker_is_stolen() {
    loom::model(|| {
        let (site, [first, second]) = site(3);
        let second = start(&site, 1, second);
        first.push(Task::SpawnAndWait).unwrap();
        site.work(0, &first);
        second.join().unwrap();
        site.is_at_rest();
    });
}

/// Both workers find work and stop searching, while more comes from elsewhere and its pusher
/// leaves it to them.
#[test]
fn what_came_while_somebody_searched_is_found() {
    loom::model(|| {
        let (site, [first, second]) = site(2);
        let second = start(&site, 1, second);
        first.push(Task::Plain).unwrap();
        site.inject(Task::Plain);
        site.work(0, &first);
        second.join().unwrap();
        site.is_at_rest();
    });
}

/// A worker that is rung for something else leaves the list while somebody chooses it.
#[test]
fn a_worker_that_wakes_by_itself_may_be_chosen_meanwhile() {
    loom::model(|| {
        let idle = Arc::new(Idle::new(2));
        idle.park(1, false);
        let chooser = {
            let idle = Arc::clone(&idle);
            thread::spawn(move || idle.worker_to_wake())
        };
        let searches = idle.leave(1);
        let chosen = chooser.join().unwrap();
        assert_eq!(chosen, searches.then_some(1), "who is chosen searches");
        assert!(!idle.is_chosen(1));
        assert!(!searches || idle.end_search());
        idle.park(0, false);
        idle.park(1, false);
        assert_eq!(idle.worker_to_wake(), Some(1));
    });
}

/// Two workers search, and one of them moves a task from a busy worker to its own queue. The other
/// one sees it there before it sleeps, or is woken.
#[test]
fn what_a_thief_moved_is_seen_in_the_last_look() {
    loom::model(|| {
        let idle = Arc::new(Idle::new(3));
        assert!(idle.start_search() && idle.start_search());
        let (busy, own) = (Local::new(), Local::new());
        let stealers = [busy.stealer(), own.stealer()];
        (1..=3).for_each(|task| busy.push(task).unwrap());
        let thief = {
            let (idle, from) = (Arc::clone(&idle), busy.stealer());
            thread::spawn(move || {
                let stolen = from.steal_into(&own);
                if stolen.is_some() && idle.end_search() {
                    idle.worker_to_wake();
                }
                own
            })
        };
        let must_look = idle.park(1, true);
        // The busy worker takes what the thief has left.
        while busy.pop().is_some() {}
        let sees = must_look && stealers.iter().any(|queue| !queue.is_empty());
        let own = thief.join().unwrap();
        assert!(own.is_empty() || sees || idle.is_chosen(1), "left behind");
    });
}

/// Two publishers wake one worker between them, and it is enough.
#[test]
fn two_publishers_wake_one_worker() {
    loom::model(|| {
        let idle = Arc::new(Idle::new(3));
        idle.park(1, false);
        idle.park(2, false);
        let other = {
            let idle = Arc::clone(&idle);
            thread::spawn(move || idle.worker_to_wake())
        };
        let mine = idle.worker_to_wake();
        let chosen = [mine, other.join().unwrap()];
        assert_eq!(chosen.iter().flatten().collect::<Vec<_>>(), [&2]);
    });
}

/// Three threads that run whole loops have too many interleavings for more than two preemptions
/// in the time that the gate has; LOOM_MAX_PREEMPTIONS may ask for fewer.
fn with_three_threads(program: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.map_or(Some(2), |bound| Some(bound.min(2)));
    builder.check(program);
}

/// What a model runs.
#[derive(Clone, Copy, Debug)]
enum Task {
    Plain,
    /// Spawns two plain tasks on the worker's own queue, and blocks the worker until one has run.
    SpawnAndWait,
    /// Blocks the worker until as many tasks of this kind have begun as there are workers.
    Meet,
}

/// What a worker sees before it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastLook {
    Stopping,
    FoundWork,
    /// Nothing: others may choose and ring it now.
    Parked,
}

/// Two workers, and who knows of them.
struct Site {
    injector: Injector<Task>,
    stealers: [Stealer<Task>; 2],
    idle: Idle,
    doorbells: [Doorbell; 2],
    stop: AtomicBool,
    /// How many tasks have not run yet.
    left: AtomicUsize,
    /// How many tasks have begun that others may wait for.
    begun: Mutex<usize>,
    changed: Condvar,
}

fn site(tasks: usize) -> (Arc<Site>, [Local<Task>; 2]) {
    let locals = [Local::new(), Local::new()];
    let site = Site {
        injector: Injector::new(),
        stealers: [locals[0].stealer(), locals[1].stealer()],
        idle: Idle::new(2),
        doorbells: [Doorbell::new(), Doorbell::new()],
        stop: AtomicBool::new(false),
        left: AtomicUsize::new(tasks),
        begun: Mutex::new(0),
        changed: Condvar::new(),
    };
    (Arc::new(site), locals)
}

/// Two workers that run on threads of their own.
fn started(tasks: usize) -> (Arc<Site>, [thread::JoinHandle<()>; 2]) {
    let (site, [first, second]) = site(tasks);
    let workers = [start(&site, 0, first), start(&site, 1, second)];
    (site, workers)
}

fn start(site: &Arc<Site>, worker: usize, local: Local<Task>) -> thread::JoinHandle<()> {
    let site = Arc::clone(site);
    thread::spawn(move || site.work(worker, &local))
}

impl Site {
    fn inject(&self, task: Task) {
        self.injector.push(task).unwrap();
        self.wake_one();
    }

    fn wake_one(&self) {
        if let Some(worker) = self.idle.worker_to_wake() {
            self.doorbells[worker].ring();
        }
    }

    /// The worker's loop; ends when all tasks have run.
    fn work(&self, me: usize, local: &Local<Task>) {
        let mut searching = false;
        // Ordering: Relaxed, as in the executor; the doorbell orders it.
        while !self.stop.load(Ordering::Relaxed) {
            let own = local.pop().or_else(|| self.injector.take_into(local, 2));
            if let Some(task) = own.or_else(|| self.search(me, local, &mut searching)) {
                if std::mem::take(&mut searching) {
                    self.end_search();
                }
                self.run(task, local);
            } else {
                searching = self.sleep(me, searching);
            }
        }
        if searching {
            self.end_search();
        }
    }

    /// As the executor: a worker is not woken for nothing.
    fn end_search(&self) {
        if self.idle.end_search() && self.any_work() {
            self.wake_one();
        }
    }

    fn search(&self, me: usize, local: &Local<Task>, searching: &mut bool) -> Option<Task> {
        *searching = *searching || self.idle.start_search();
        searching.then(|| self.stealers[1 - me].steal_into(local)).flatten()
    }

    fn sleep(&self, me: usize, searching: bool) -> bool {
        let doorbell = &self.doorbells[me];
        doorbell.lie_down(Bed::Futex, Button::NONE);
        let last_look = self.last_look(me, searching);
        if last_look == LastLook::Parked {
            doorbell.sleep(None);
        }
        doorbell.get_up();
        match last_look {
            LastLook::Stopping => searching,
            LastLook::FoundWork => true,
            LastLook::Parked => self.idle.leave(me),
        }
    }

    /// As the executor's, once the worker is lying down.
    fn last_look(&self, me: usize, searching: bool) -> LastLook {
        if self.stop.load(Ordering::Relaxed) {
            return LastLook::Stopping;
        }
        if self.idle.park(me, searching) && self.any_work() {
            self.idle.search_again(me);
            return LastLook::FoundWork;
        }
        LastLook::Parked
    }

    fn any_work(&self) -> bool {
        !self.injector.is_empty() || self.stealers.iter().any(|stealer| !stealer.is_empty())
    }

    fn run(&self, task: Task, local: &Local<Task>) {
        match task {
            Task::Plain => self.begin(),
            Task::SpawnAndWait => {
                // As in the executor: the first task in a queue wakes nobody.
                local.push(Task::Plain).unwrap();
                local.push(Task::Plain).unwrap();
                self.wake_one();
                self.wait_for(1);
            }
            Task::Meet => {
                self.begin();
                self.wait_for(2);
            }
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.stop.store(true, Ordering::Relaxed);
            self.doorbells.iter().for_each(Doorbell::ring);
        }
    }

    fn begin(&self) {
        *self.begun.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    fn wait_for(&self, tasks: usize) {
        let mut begun = self.begun.lock().unwrap();
        while *begun < tasks {
            begun = self.changed.wait(begun).unwrap();
        }
    }

    /// In the end nobody searches, and whoever sleeps can be woken.
    fn is_at_rest(&self) {
        assert!(!self.any_work());
        self.idle.park(0, false);
        assert!(self.idle.park(1, false), "somebody still counts as searching");
        assert_eq!(self.idle.worker_to_wake(), Some(1));
    }
}
