//! The worker with a park that the test scripts: no driver, no clock.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::local::Local;
use super::owned::Owned;
use super::{Park, Pool, run, yield_now};
use crate::sync::doorbell::{Bed, Button};
use crate::sync::shim::{Arc, Mutex};
use crate::sync::unwind;
use crate::task::schedule::{Home, Owner, Place, Runnable, TaskRef, spawn};
use crate::task::{JoinError, JoinHandle};

/// Does one thing at each park, and stops the worker after the last.
struct Script<'a> {
    worker: &'a Pool,
    parks: VecDeque<Box<dyn FnMut() + 'a>>,
    turns: usize,
}

impl<'a> Script<'a> {
    fn new(worker: &'a Pool, parks: Vec<Box<dyn FnMut() + 'a>>) -> Self {
        Self { worker, parks: parks.into(), turns: 0 }
    }
}

impl Park for Script<'_> {
    fn turn(&mut self) {
        self.turns += 1;
    }

    fn park(&mut self, _has_work: &dyn Fn() -> bool) -> bool {
        match self.parks.pop_front() {
            Some(mut step) => step(),
            None => self.worker.stop(),
        }
        true
    }
}

fn worker() -> Arc<Pool> {
    Pool::new(1)
}

/// The output of a task that has ended.
fn output<T>(join: JoinHandle<T>) -> Result<T, JoinError> {
    assert!(join.is_finished());
    super::block_on(join)
}

#[test]
fn a_worker_parks_only_when_nothing_is_left_to_run() {
    let worker = worker();
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            Pool::spawn(&worker, async move {
                yield_now().await;
                n
            })
        })
        .collect();
    let mut script = Script::new(&worker, Vec::new());
    run(&worker, 0, &mut script);
    assert_eq!(script.turns, 400 / 61);
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(output(task).unwrap(), n);
    }
}

#[test]
fn a_busy_task_keeps_neither_the_driver_nor_the_mailbox_waiting() {
    struct Turns<'a>(&'a Pool, usize, Option<Box<dyn FnOnce() + 'a>>);
    impl Park for Turns<'_> {
        fn turn(&mut self) {
            self.1 += 1;
            if let Some(first) = self.2.take() {
                first();
            }
            if self.1 == 3 {
                self.0.stop();
            }
        }
        fn park(&mut self, _: &dyn Fn() -> bool) -> bool {
            unreachable!("there is always something to run");
        }
    }
    let worker = worker();
    let busy = Pool::spawn(&worker, async {
        loop {
            yield_now().await;
        }
    });
    let late = RefCell::new(None);
    let from_elsewhere = || {
        std::thread::scope(|scope| {
            let task = scope.spawn(|| Pool::spawn(&worker, async { 5 }));
            *late.borrow_mut() = Some(task.join().unwrap());
        });
    };
    run(&worker, 0, &mut Turns(&worker, 0, Some(Box::new(from_elsewhere))));
    assert_eq!(output(late.take().unwrap()).unwrap(), 5);
    let busy: Result<(), _> = output(busy);
    assert!(matches!(busy, Err(JoinError::Aborted)));
}

#[test]
fn work_that_comes_at_bedtime_again_and_again_does_not_keep_the_driver_waiting() {
    struct Disturbed<'a>(&'a Arc<Pool>, usize, usize);
    impl Park for Disturbed<'_> {
        fn turn(&mut self) {
            self.1 += 1;
        }
        fn park(&mut self, has_work: &dyn Fn() -> bool) -> bool {
            if self.2 == 0 {
                self.0.stop();
                return true;
            }
            self.2 -= 1;
            std::thread::scope(|scope| scope.spawn(|| drop(Pool::spawn(self.0, async {}))).join())
                .unwrap();
            assert!(has_work());
            false
        }
    }
    let worker = worker();
    let mut park = Disturbed(&worker, 0, 2 * 61);
    run(&worker, 0, &mut park);
    assert_eq!(park.1, 2);
}

#[test]
fn a_wake_on_the_own_thread_rings_nobody() {
    let worker = worker();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let (send, held) = std::sync::mpsc::channel();
    let mut polls = 0;
    let task = Pool::spawn(
        &worker,
        poll_fn(move |context| {
            polls += 1;
            send.send(context.waker().clone()).unwrap();
            if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
        }),
    );
    let rung = Cell::new(None);
    let wake_while_lying_down = || {
        *waker.borrow_mut() = held.try_recv().ok();
        worker.doorbell(0).lie_down(Bed::Futex, Button::NONE);
        waker.borrow_mut().take().unwrap().wake();
        rung.set(Some(worker.doorbell(0).get_up()));
    };
    run(&worker, 0, &mut Script::new(&worker, vec![Box::new(wake_while_lying_down)]));
    assert_eq!(rung.get(), Some(false));
    assert!(output(task).is_ok());
}

#[test]
fn a_wake_from_elsewhere_rings() {
    let worker = worker();
    let (send, held) = std::sync::mpsc::channel::<Waker>();
    let task = Pool::spawn(
        &worker,
        poll_fn(move |context| {
            send.send(context.waker().clone()).unwrap();
            Poll::<()>::Pending
        }),
    );
    let rung = Cell::new(None);
    let wake_elsewhere = || {
        let waker = held.try_recv().unwrap();
        worker.doorbell(0).lie_down(Bed::Futex, Button::NONE);
        std::thread::scope(|scope| scope.spawn(|| waker.wake()).join().unwrap());
        rung.set(Some(worker.doorbell(0).get_up()));
    };
    run(&worker, 0, &mut Script::new(&worker, vec![Box::new(wake_elsewhere)]));
    assert_eq!(rung.get(), Some(true));
    assert!(matches!(output(task), Err(JoinError::Aborted)));
}

#[test]
fn if_the_worker_dies_whoever_waits_for_a_task_hears_of_it() {
    let worker = worker();
    let waiting = Pool::spawn(&worker, pending::<()>());
    let die = || panic!("as planned");
    let died = unwind::catch(|| run(&worker, 0, &mut Script::new(&worker, vec![Box::new(die)])));
    assert!(died.is_err());
    assert!(matches!(output(waiting), Err(JoinError::Aborted)));
    let late = Pool::spawn(&worker, pending::<()>());
    assert!(matches!(output(late), Err(JoinError::Aborted)));
    // The thread is free for another worker.
    assert!(!super::is_worker());
}

/// Runs worker 0 of two until it has nothing to do, while worker 1 sleeps. Returns the order in
/// which the tasks that `root` spawns took notes, and whether worker 1 was rung.
fn beside_a_sleeper<F>(root: impl FnOnce(Notes) -> F) -> (Vec<&'static str>, bool)
where
    F: Future<Output: Send> + Send + 'static,
{
    let pool = Pool::new(2);
    assert!(pool.idle().park(1, false));
    let notes = Notes::default();
    // What comes from outside wakes somebody: that is not what is looked at here.
    let root = Pool::spawn(&pool, root(notes.clone()));
    pool.idle().leave(1);
    pool.idle().end_search();
    pool.idle().park(1, false);
    pool.doorbell(1).lie_down(Bed::Futex, Button::NONE);
    run(&pool, 0, &mut Script::new(&pool, vec![Box::new(|| {})]));
    drop(root);
    let notes = notes.0.lock().clone();
    // The end of the pool rings everybody, so the sleeper's list tells.
    (notes, pool.idle().leave(1))
}

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<&'static str>>>);

impl Notes {
    fn take(&self, note: &'static str) {
        self.0.lock().push(note);
    }
}

/// A waker that one task leaves for another.
#[derive(Clone, Default)]
struct Left(Arc<Mutex<Option<Waker>>>);

impl Left {
    fn leave(&self, context: &Context<'_>) {
        let before = self.0.lock().replace(context.waker().clone());
        drop(before);
    }

    fn wake(&self) {
        let waker = self.0.lock().take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Takes a note and wakes `other` at each poll but the first, for ever.
fn echo(note: &'static str, notes: Notes, own: Left, other: Left) -> impl Future<Output = ()> {
    let mut is_first = true;
    poll_fn(move |context| {
        own.leave(context);
        if !mem::take(&mut is_first) {
            notes.take(note);
            if notes.0.lock().len() < 100 {
                other.wake();
            }
        }
        Poll::Pending
    })
}

#[test]
fn the_task_that_was_woken_last_is_the_next_while_it_is_hot() {
    let (order, _) = beside_a_sleeper(|notes| async move {
        let left = Left::default();
        drop(spawn_here(echo("woken", notes.clone(), left.clone(), Left::default())));
        yield_now().await;
        let later = notes.clone();
        drop(spawn_here(async move { later.take("spawned before") }));
        left.wake();
        notes.take("root");
    });
    assert_eq!(order, ["root", "woken", "spawned before"]);
}

#[test]
fn tasks_that_wake_each_other_have_three_turns_in_a_row() {
    let (order, _) = beside_a_sleeper(|notes| async move {
        let (ping, pong) = (Left::default(), Left::default());
        drop(spawn_here(echo("ping", notes.clone(), ping.clone(), pong.clone())));
        drop(spawn_here(echo("pong", notes.clone(), pong, ping.clone())));
        yield_now().await;
        let later = notes.clone();
        drop(spawn_here(async move { later.take("other") }));
        ping.wake();
    });
    assert_eq!(order[..5], ["ping", "pong", "ping", "other", "pong"]);
}

#[test]
fn nobody_is_woken_for_what_the_worker_is_about_to_run_itself() {
    let one = |notes: Notes| async move { drop(spawn_here(async move { notes.take("child") })) };
    assert_eq!(beside_a_sleeper(one), (vec!["child"], false));
    let (order, rung) = beside_a_sleeper(|notes| async move {
        let (ping, pong) = (Left::default(), Left::default());
        let child = echo("pong", notes.clone(), pong.clone(), ping.clone());
        drop(spawn_here(child));
        let mut polls = 0;
        poll_fn(move |context| {
            polls += 1;
            ping.leave(context);
            pong.wake();
            if polls < 50 { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    });
    assert!(!rung, "{} rounds", order.len());
}

#[test]
fn somebody_is_woken_for_the_second_task_in_a_queue() {
    let (_, rung) = beside_a_sleeper(|notes| async move {
        for _ in 0..2 {
            let notes = notes.clone();
            drop(spawn_here(async move { notes.take("child") }));
        }
    });
    assert!(rung);
}

#[test]
fn a_busy_worker_takes_a_share_from_outside_after_61_tasks() {
    let pool = Pool::new(2);
    let busy = Pool::spawn(&pool, async {
        loop {
            yield_now().await;
        }
    });
    let notes = Notes::default();
    for _ in 0..20 {
        let notes = notes.clone();
        drop(Pool::spawn(&pool, async move { notes.take("late") }));
    }
    struct Turns<'a>(&'a Pool, usize);
    impl Park for Turns<'_> {
        fn turn(&mut self) {
            self.1 += 1;
            if self.1 == 4 {
                self.0.stop();
            }
        }
        fn park(&mut self, _: &dyn Fn() -> bool) -> bool {
            unreachable!("there is always something to run");
        }
    }
    run(&pool, 0, &mut Turns(&pool, 0));
    let ran = notes.0.lock().len();
    // A share is half of what is there, and one: 21 tasks, then 10, then 5, then 2.
    assert!(ran >= 18, "{ran} of 20");
    drop(busy);
}

fn spawn_here<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    super::with_pool(|pool| Pool::spawn(pool, future)).expect("on a worker")
}

#[test]
fn what_was_stolen_runs_in_its_order() {
    let pool = Pool::new(2);
    let (victim, thief) = (Local::new(&pool, 0), Local::new(&pool, 1));
    let ran = Arc::new(Mutex::new(Vec::new()));
    for n in 0..8 {
        let ran = Arc::clone(&ran);
        let task = async move { ran.lock().push(n) };
        victim.submit(spawn(task, Arc::clone(&pool), Home::ANYWHERE).0);
    }
    assert!(thief.search());
    thief.run_tasks(&mut 4);
    assert_eq!(*ran.lock(), [0, 1, 2, 3]);
    victim.shut_down();
}

#[test]
fn places_are_used_again_and_emptied_in_any_order() {
    let (worker, list) = (worker(), List::default());
    let make = || spawn(pending::<()>(), Arc::clone(&worker), Home::worker(0)).0;
    // A task is on the list from its first pending poll on.
    (0..4).for_each(|_| make().run(&list));
    let middle = list.0.borrow_mut().release(1).expect("the second is there");
    assert!(list.0.borrow_mut().release(1).is_none());
    assert!(list.0.borrow_mut().release(99).is_none());
    assert_eq!(list.0.borrow_mut().adopt(middle), 1);
    let mut left = 0;
    while let Some(task) = list.pop() {
        task.shut_down(&list);
        left += 1;
    }
    assert_eq!(left, 4);
    assert_eq!(Arc::strong_count(&worker), 1);
}

#[derive(Default)]
struct List(RefCell<Owned>);

impl List {
    fn pop(&self) -> Option<TaskRef> {
        self.0.borrow_mut().pop()
    }
}

impl Owner for List {
    fn adopt(&self, task: TaskRef) -> Place {
        Place { worker: 0, index: self.0.borrow_mut().adopt(task) }
    }

    fn release(&self, _home: Home, place: Place) -> Option<TaskRef> {
        self.0.borrow_mut().release(place.index)
    }

    fn requeue(&self, _task: Runnable) {
        unreachable!("nobody wakes it");
    }
}
