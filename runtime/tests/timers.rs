//! Timers on a worker. Nothing here asserts that something was fast: only that it came, in
//! which order, and not too early.

#[path = "support/probe.rs"]
mod probe;

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use probe::runtime;
use spanwire_runtime::time::{Sleep, interval, sleep, sleep_until, timeout, timeout_at};
use spanwire_runtime::{consume_budget, spawn, yield_now};

const MS: Duration = Duration::from_millis(1);

/// Runs `future` on the worker of a runtime of its own.
fn on_worker<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let runtime = runtime();
    runtime.block_on(runtime.spawn(future)).unwrap()
}

/// The result of the first poll.
async fn first_poll<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

#[test]
fn a_sleep_never_ends_early() {
    on_worker(async {
        for micros in [1, 999, 1000, 1001, 5500] {
            let (start, span) = (Instant::now(), Duration::from_micros(micros));
            sleep(span).await;
            assert!(start.elapsed() >= span, "{:?} of {span:?}", start.elapsed());
        }
    });
}

#[test]
fn zero_is_ready_at_once() {
    on_worker(async {
        assert!(first_poll(sleep(Duration::ZERO)).await.is_ready());
        assert!(first_poll(sleep_until(Instant::now())).await.is_ready());
    });
}

/// Each of its polls uses up the task's budget, so none is left for the timer. It counts all the same.
#[test]
fn a_future_that_is_never_done_with_what_is_ready_is_bounded_too() {
    let busy = async {
        loop {
            consume_budget().await;
        }
    };
    assert!(on_worker(timeout(MS, busy)).is_err());
}

#[test]
fn what_no_clock_can_express_never_comes() {
    on_worker(async {
        let never = sleep(Duration::MAX);
        assert_eq!(never.deadline(), None);
        assert!(first_poll(never).await.is_pending());
        assert_eq!(timeout(Duration::MAX, async { 1 }).await, Ok(1));
        // And what the wheel cannot: it is beyond its levels, and waits.
        let far = Duration::from_secs(u64::from(u32::MAX));
        assert!(first_poll(sleep(far)).await.is_pending());
    });
}

#[test]
fn timers_end_in_the_order_of_their_deadlines() {
    let order = on_worker(async {
        loop {
            let start = Instant::now();
            let woken = Arc::new(Mutex::new(Vec::new()));
            let mut naps: Vec<_> = [9, 3, 70, 6, 1]
                .map(|millis| (millis, Box::pin(sleep_until(start + millis * MS))))
                .into();
            let mut armed = true;
            for (millis, nap) in &mut naps {
                let waker = Waker::from(Arc::new(Note(*millis, Arc::clone(&woken))));
                armed &= nap.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
            }
            // On a slow day the first is due before the last is armed: then once more.
            if armed {
                sleep_until(start + 71 * MS).await;
                return woken.lock().unwrap().clone();
            }
        }
    });
    assert_eq!(order, [1, 3, 6, 9, 70]);
}

/// A waker that writes down that it was woken.
struct Note(u32, Arc<Mutex<Vec<u32>>>);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

#[test]
fn timers_end_under_load() {
    let runtime = runtime();
    drop(runtime.spawn(async {
        loop {
            yield_now().await;
        }
    }));
    let task = runtime.spawn(sleep(2 * MS));
    runtime.block_on(task).unwrap();
}

#[test]
fn a_sleep_may_be_moved_to_another_task_after_it_was_armed() {
    on_worker(async {
        let mut nap = Box::pin(sleep(3 * MS));
        // Armed with a waker that nobody listens to.
        assert!(nap.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        spawn(nap).await.unwrap();
    });
}

#[test]
fn a_sleep_may_be_reset() {
    on_worker(async {
        let mut nap = sleep(Duration::MAX);
        assert!(first_poll(&mut nap).await.is_pending());
        nap.reset(Instant::now() + MS);
        (&mut nap).await;
        // Also after its end.
        nap.reset(Instant::now() + Duration::from_secs(3600));
        assert!(first_poll(&mut nap).await.is_pending());
    });
}

#[test]
fn a_dropped_sleep_leaves_nothing_behind() {
    on_worker(async {
        let note = Arc::new(Note(1, Arc::default()));
        let waker = Waker::from(Arc::clone(&note));
        let mut nap = Box::pin(sleep(Duration::from_secs(3600)));
        assert!(nap.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert_eq!(Arc::strong_count(&note), 2);
        drop(nap);
        assert_eq!(Arc::strong_count(&note), 1);
    });
}

#[test]
fn a_timeout_gives_up_on_what_does_not_come() {
    on_worker(async {
        assert!(timeout(MS, pending::<()>()).await.is_err());
        assert!(timeout_at(Instant::now(), pending::<()>()).await.is_err());
        assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
    });
}

#[test]
fn what_is_ready_wins_over_a_limit_of_zero() {
    on_worker(async {
        assert_eq!(timeout(Duration::ZERO, async { 1 }).await, Ok(1));
        assert_eq!(timeout_at(Instant::now() - MS, async { 1 }).await, Ok(1));
    });
}

#[test]
fn an_interval_keeps_its_distance() {
    on_worker(async {
        let mut every = interval(2 * MS);
        let first = every.tick().await;
        for n in 1..5 {
            let moment = every.tick().await;
            let since = (moment - first).as_nanos();
            assert_eq!(since % (2 * MS).as_nanos(), 0);
            assert!(since >= (n * 2 * MS).as_nanos());
            assert!(Instant::now() >= moment);
        }
    });
}

#[test]
fn an_interval_loses_no_moment_when_a_wait_is_dropped() {
    on_worker(async {
        let mut every = interval(Duration::from_secs(3600));
        assert!(first_poll(every.tick()).await.is_ready());
        assert!(first_poll(every.tick()).await.is_pending());
        assert_eq!(every.period(), Duration::from_secs(3600));
        let mut often = interval(Duration::ZERO);
        assert_eq!(often.period(), MS);
        often.tick().await;
        let _ = timeout(Duration::ZERO, often.tick()).await;
        often.tick().await;
    });
}

#[test]
fn an_interval_longer_than_time_comes_once() {
    on_worker(async {
        let mut once = interval(Duration::MAX);
        once.tick().await;
        assert!(first_poll(once.tick()).await.is_pending());
    });
}

#[test]
#[should_panic(expected = "not a worker of the spanwire runtime")]
fn a_timer_off_the_worker_panics() {
    runtime().block_on(sleep(MS));
}

#[test]
fn an_armed_sleep_may_be_dropped_anywhere() {
    let (give, take) = mpsc::channel::<Pin<Box<Sleep>>>();
    on_worker(async move {
        let mut nap = Box::pin(sleep(Duration::from_secs(3600)));
        assert!(first_poll(nap.as_mut()).await.is_pending());
        give.send(nap).unwrap();
    });
    drop(take.recv().unwrap());
}
