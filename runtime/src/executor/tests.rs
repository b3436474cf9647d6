//! The worker with a park that the test scripts: no driver, no clock.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::worker::{Shared, run};
use super::{Park, yield_now};
use crate::sync::doorbell::{Bed, Doorbell};
use crate::sync::shim::Arc;
use crate::sync::unwind;
use crate::task::schedule::spawn;
use crate::task::{JoinError, JoinHandle};

/// Does one thing at each park, and stops the worker after the last.
struct Script<'a> {
    worker: &'a Shared,
    parks: VecDeque<Box<dyn FnMut() + 'a>>,
    turns: usize,
}

impl<'a> Script<'a> {
    fn new(worker: &'a Shared, parks: Vec<Box<dyn FnMut() + 'a>>) -> Self {
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

fn worker() -> Arc<Shared> {
    Arc::new(Shared::new(Arc::new(Doorbell::new())))
}

fn submit<F>(worker: &Arc<Shared>, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (task, join) = spawn(future, Arc::clone(worker));
    worker.submit(task);
    join
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
            submit(&worker, async move {
                yield_now().await;
                n
            })
        })
        .collect();
    let mut script = Script::new(&worker, Vec::new());
    run(&worker, &mut script);
    assert_eq!(script.turns, 400 / 61);
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(output(task).unwrap(), n);
    }
}

#[test]
fn a_busy_task_keeps_neither_the_driver_nor_the_mailbox_waiting() {
    struct Turns<'a>(&'a Shared, usize, Option<Box<dyn FnOnce() + 'a>>);
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
    let busy = submit(&worker, async {
        loop {
            yield_now().await;
        }
    });
    let late = RefCell::new(None);
    let from_elsewhere = || {
        std::thread::scope(|scope| {
            let task = scope.spawn(|| submit(&worker, async { 5 }));
            *late.borrow_mut() = Some(task.join().unwrap());
        });
    };
    run(&worker, &mut Turns(&worker, 0, Some(Box::new(from_elsewhere))));
    assert_eq!(output(late.take().unwrap()).unwrap(), 5);
    let busy: Result<(), _> = output(busy);
    assert!(matches!(busy, Err(JoinError::Aborted)));
}

#[test]
fn work_that_comes_at_bedtime_again_and_again_does_not_keep_the_driver_waiting() {
    struct Disturbed<'a>(&'a Arc<Shared>, usize, usize);
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
            std::thread::scope(|scope| scope.spawn(|| drop(submit(self.0, async {}))).join())
                .unwrap();
            assert!(has_work());
            false
        }
    }
    let worker = worker();
    let mut park = Disturbed(&worker, 0, 2 * 61);
    run(&worker, &mut park);
    assert_eq!(park.1, 2);
}

#[test]
fn a_wake_on_the_own_thread_rings_nobody() {
    let worker = worker();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let (send, held) = std::sync::mpsc::channel();
    let mut polls = 0;
    let task = submit(
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
        worker.doorbell().lie_down(Bed::Futex, false);
        waker.borrow_mut().take().unwrap().wake();
        rung.set(Some(worker.doorbell().get_up()));
    };
    run(&worker, &mut Script::new(&worker, vec![Box::new(wake_while_lying_down)]));
    assert_eq!(rung.get(), Some(false));
    assert!(output(task).is_ok());
}

#[test]
fn a_wake_from_elsewhere_rings() {
    let worker = worker();
    let (send, held) = std::sync::mpsc::channel::<Waker>();
    let task = submit(
        &worker,
        poll_fn(move |context| {
            send.send(context.waker().clone()).unwrap();
            Poll::<()>::Pending
        }),
    );
    let rung = Cell::new(None);
    let wake_elsewhere = || {
        let waker = held.try_recv().unwrap();
        worker.doorbell().lie_down(Bed::Futex, false);
        std::thread::scope(|scope| scope.spawn(|| waker.wake()).join().unwrap());
        rung.set(Some(worker.doorbell().get_up()));
    };
    run(&worker, &mut Script::new(&worker, vec![Box::new(wake_elsewhere)]));
    assert_eq!(rung.get(), Some(true));
    assert!(matches!(output(task), Err(JoinError::Aborted)));
}

#[test]
fn if_the_worker_dies_whoever_waits_for_a_task_hears_of_it() {
    let worker = worker();
    let waiting = submit(&worker, pending::<()>());
    let die = || panic!("as planned");
    let died = unwind::catch(|| run(&worker, &mut Script::new(&worker, vec![Box::new(die)])));
    assert!(died.is_err());
    assert!(matches!(output(waiting), Err(JoinError::Aborted)));
    let late = submit(&worker, pending::<()>());
    assert!(matches!(output(late), Err(JoinError::Aborted)));
    // The thread is free for another worker.
    assert!(!super::is_worker());
}

#[test]
fn places_are_used_again_and_emptied_in_any_order() {
    use super::owned::Owned;
    use crate::task::schedule::Owner;
    let (worker, owned) = (worker(), Owned::default());
    let make = || {
        let (task, join) = spawn(pending::<()>(), Arc::clone(&worker));
        drop(join);
        task
    };
    // A task is on the list from its first pending poll on.
    (0..4).for_each(|_| make().run(&owned));
    let middle = owned.release(1).expect("the second is there");
    assert!(owned.release(1).is_none());
    assert!(owned.release(99).is_none());
    assert_eq!(owned.adopt(middle), 1);
    let mut left = 0;
    while let Some(task) = owned.pop() {
        task.shut_down(&owned);
        left += 1;
    }
    assert_eq!(left, 4);
    assert_eq!(Arc::strong_count(&worker), 1);
}
