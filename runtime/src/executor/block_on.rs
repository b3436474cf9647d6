//! Polling a future on a thread that is not a worker.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::budget;
use crate::sync::shim::atomic::{AtomicBool, Ordering};
use crate::sync::shim::thread::{self, Thread};

/// Polls `future` here, and parks the thread while it is pending.
///
/// # Panics
///
/// On a worker, where it would wait for itself.
pub fn block_on<F: Future>(future: F) -> F::Output {
    assert!(
        !super::is_worker(),
        "block_on was called on a worker of the spanwire runtime, where it would stop every \
         task: await the future, or call it from another thread",
    );
    // In the child of a worker that forked, a task's budget is left, and nobody to refill it.
    budget::lift();
    let mut future = pin!(future);
    let parker = Arc::new(Parker { woken: AtomicBool::new(false), thread: thread::current() });
    let waker = Waker::from(Arc::clone(&parker));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        parker.wait();
    }
}

/// Wakes a parked thread. The flag is our own because the future may use the thread's one
/// token too.
struct Parker {
    woken: AtomicBool,
    thread: Thread,
}

impl Parker {
    fn wait(&self) {
        // Ordering: Acquire pairs with the Release in `wake_by_ref`.
        while !self.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Ordering: Release pairs with the Acquire in `wait`: what was done before the wake is
        // visible to the poll after it.
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}
