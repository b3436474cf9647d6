//! Several workers: tasks move to whoever is idle, pinned ones never do, and nothing is lost.

#[path = "support/probe.rs"]
mod probe;

use std::collections::HashSet;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use probe::{Drops, pending_with};
use spanwire_runtime::task::{JoinError, JoinHandle};
use spanwire_runtime::{BuildError, Builder, Handle, Runtime, spawn, spawn_pinned, yield_now};

fn runtime(workers: usize) -> Runtime {
    Builder::new().workers(workers).build().expect("a runtime")
}

#[test]
fn the_number_of_workers_has_bounds() {
    for workers in [0, 65] {
        let error = Builder::new().workers(workers).build().map(drop).unwrap_err();
        assert!(matches!(error, BuildError::Workers(number) if number == workers));
        let text = error.to_string();
        assert_eq!(text, format!("{workers} workers were asked for: ask for 1 to 64"));
    }
    assert_eq!(runtime(64).workers(), 64);
}

#[test]
fn the_queue_of_a_blocked_worker_is_emptied_by_the_others() {
    let runtime = runtime(2);
    let (done, is_done) = mpsc::channel();
    let blocked = runtime.spawn(async move {
        for _ in 0..100 {
            let done = done.clone();
            drop(spawn(async move { done.send(()).unwrap() }));
        }
        drop(done);
        // This worker does nothing until the other one has run all of them.
        is_done.iter().count()
    });
    assert_eq!(runtime.block_on(blocked).unwrap(), 100);
    let stolen: u64 = runtime.stats().workers.iter().map(|worker| worker.stolen).sum();
    assert!(stolen >= 1, "{stolen}");
}

#[test]
fn more_tasks_than_a_queue_holds_all_run_once() {
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let parent = runtime.spawn(async move {
            let tasks: Vec<_> = (0..10_000)
                .map(|n| {
                    let count = Arc::clone(&counted);
                    spawn(async move {
                        count.fetch_add(1, Ordering::Relaxed);
                        if n % 3 == 0 {
                            yield_now().await;
                        }
                        n
                    })
                })
                .collect();
            for (n, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await.unwrap(), n);
            }
        });
        runtime.block_on(parent).unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 10_000, "{workers} workers");
    }
}

#[test]
fn a_pinned_task_stays_where_it_is_whoever_wakes_it() {
    let runtime = runtime(4);
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            runtime.spawn_pinned_on(n % 4, move || {
                let home = thread::current().id();
                async move {
                    for _ in 0..50 {
                        // Runs anywhere, and wakes us from there.
                        let elsewhere = spawn(async { thread::current().id() });
                        elsewhere.await.unwrap();
                        assert_eq!(thread::current().id(), home);
                        yield_now().await;
                        assert_eq!(thread::current().id(), home);
                    }
                    (n % 4, home)
                }
            })
        })
        .collect();
    let homes: HashSet<_> = tasks.into_iter().map(|task| runtime.block_on(task).unwrap()).collect();
    assert_eq!(homes.len(), 4, "each worker is a thread of its own");
}

#[test]
fn from_outside_the_workers_are_pinned_to_in_turn_and_on_one_always_to_itself() {
    let runtime = runtime(3);
    let here = || async {
        let home = thread::current().id();
        let child = spawn_pinned(|| async { thread::current().id() });
        assert_eq!(child.await.unwrap(), home);
        home
    };
    let homes: Vec<_> = (0..6).map(|_| runtime.block_on(runtime.spawn_pinned(here))).collect();
    let homes: Vec<_> = homes.into_iter().map(Result::unwrap).collect();
    assert_eq!(homes[..3], homes[3..]);
    assert_eq!(homes.iter().collect::<HashSet<_>>().len(), 3);
}

#[test]
#[should_panic(expected = "there is no worker 2: this runtime has 2, counted from 0")]
fn a_worker_that_is_not_there_is_a_mistake() {
    drop(runtime(2).spawn_pinned_on(2, || async {}));
}

#[test]
fn each_worker_starts_with_the_hook_and_has_a_numbered_name() {
    let started = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&started);
    let runtime = Builder::new()
        .workers(3)
        .thread_name("crew")
        .on_thread_start(move || {
            note.lock().unwrap().push(thread::current().name().map(String::from));
        })
        .build()
        .unwrap();
    let mut names: Vec<_> = started.lock().unwrap().drain(..).flatten().collect();
    names.sort();
    assert_eq!(names, ["crew-0", "crew-1", "crew-2"]);
    drop(runtime);
}

#[test]
fn if_one_worker_cannot_start_none_does() {
    probe::quiet_panics();
    let drops = Drops::default();
    let count = AtomicUsize::new(0);
    let on_thread = drops.clone();
    let built = Builder::new()
        .workers(4)
        .on_thread_start(move || {
            let token = on_thread.token();
            assert!(count.fetch_add(1, Ordering::SeqCst) != 2, "as planned");
            token
        })
        .build();
    let error = built.map(drop).unwrap_err();
    assert!(matches!(error, BuildError::Thread(_)), "{error}");
    assert_eq!(drops.count(), 4, "all threads have ended");
}

#[test]
fn a_wake_from_any_thread_reaches_a_task_that_waits() {
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        let (wakers, woken) = mpsc::channel::<Waker>();
        let waking = thread::spawn(move || woken.into_iter().for_each(Waker::wake));
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let wakers = wakers.clone();
                let mut polls = 0;
                runtime.spawn(poll_fn(move |context| {
                    polls += 1;
                    if polls == 200 {
                        return Poll::Ready(());
                    }
                    wakers.send(context.waker().clone()).unwrap();
                    Poll::Pending
                }))
            })
            .collect();
        drop(wakers);
        tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
        waking.join().unwrap();
    }
}

#[test]
fn a_tree_of_tasks_is_complete() {
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        assert_eq!(runtime.block_on(runtime.spawn(tree(9))).unwrap(), 1 << 9);
    }
}

fn tree(depth: u32) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        if depth == 0 {
            return 1;
        }
        let left = spawn(tree(depth - 1));
        let right = spawn(tree(depth - 1));
        left.await.unwrap() + right.await.unwrap()
    })
}

#[test]
fn a_shutdown_under_load_drops_every_future_once() {
    for workers in [1, 2, 3, 4] {
        for round in 0..20 {
            let runtime = runtime(workers);
            let drops = Drops::default();
            let (wakers, woken) = mpsc::channel::<Waker>();
            let storm = thread::spawn(move || {
                for waker in woken {
                    waker.wake_by_ref();
                    waker.wake();
                }
            });
            let mut tasks: Vec<JoinHandle<()>> = Vec::new();
            for n in 0..60 {
                let token = drops.token();
                let (handle, wakers) = (runtime.handle(), wakers.clone());
                tasks.push(match n % 4 {
                    0 => runtime.spawn(pending_with(token, wakers)),
                    1 => runtime.spawn(busy(token)),
                    2 => runtime.spawn_pinned(move || busy(token)),
                    _ => runtime.spawn(async move {
                        let _token = token;
                        loop {
                            let child = handle.spawn(async { yield_now().await });
                            if child.await.is_err() {
                                pending::<()>().await;
                            }
                        }
                    }),
                });
            }
            drop(wakers);
            assert!(runtime.shutdown(Duration::MAX), "{workers} workers, round {round}");
            assert_eq!(drops.count(), 60, "{workers} workers, round {round}");
            let other = probe::runtime();
            for task in tasks {
                assert!(matches!(other.block_on(task), Err(JoinError::Aborted)));
            }
            storm.join().unwrap();
        }
    }
}

async fn busy(token: probe::Token) {
    let _token = token;
    loop {
        yield_now().await;
    }
}

#[test]
fn pinned_futures_are_dropped_on_their_workers_at_shutdown() {
    struct Home(ThreadId);
    impl Drop for Home {
        fn drop(&mut self) {
            if self.0 != thread::current().id() {
                // Unwinding would be swallowed with the task.
                std::process::abort();
            }
        }
    }
    for _ in 0..20 {
        let runtime = runtime(4);
        for worker in 0..4 {
            for n in 0..8 {
                drop(runtime.spawn_pinned_on(worker, move || async move {
                    let _home = Home(thread::current().id());
                    if n % 2 == 0 {
                        pending::<()>().await;
                    }
                    loop {
                        yield_now().await;
                    }
                }));
            }
        }
        assert!(runtime.shutdown(Duration::MAX));
    }
}

#[test]
fn destructors_that_spawn_without_end_do_not_keep_the_workers() {
    /// Spawns another one of itself when dropped.
    struct Hydra(Handle, Arc<AtomicUsize>);
    impl Drop for Hydra {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
            let next = Self(self.0.clone(), Arc::clone(&self.1));
            drop(self.0.spawn(async move {
                let _next = next;
                pending::<()>().await;
            }));
        }
    }
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let heads = Arc::new(AtomicUsize::new(0));
        let hydra = Hydra(runtime.handle(), Arc::clone(&heads));
        drop(runtime.spawn(async move {
            let _hydra = hydra;
            pending::<()>().await;
        }));
        assert!(runtime.shutdown(Duration::MAX));
        let heads = heads.load(Ordering::Relaxed);
        assert!((1000..2000).contains(&heads), "{heads}: some are tried, and the rest leaked");
    }
}

#[test]
fn aborts_from_everywhere_end_each_task_once() {
    let runtime = runtime(2);
    let drops = Drops::default();
    let tasks: Vec<_> = (0..200).map(|_| runtime.spawn(busy(drops.token()))).collect();
    let aborting = runtime.spawn(async move {
        tasks.iter().for_each(JoinHandle::abort);
        tasks
    });
    let tasks = runtime.block_on(aborting).unwrap();
    for task in tasks {
        assert!(runtime.block_on(task).unwrap_err().is_aborted());
    }
    assert_eq!(drops.count(), 200);
}
