//! What the runtime's tests look at tasks with.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};

use spanwire_runtime::{Builder, Runtime};

pub(super) fn runtime() -> Runtime {
    Builder::new().build().expect("a runtime")
}

/// Counts how often it is dropped, and remembers where.
#[derive(Clone, Default)]
pub(super) struct Drops(Arc<(AtomicUsize, Mutex<Vec<ThreadId>>)>);

impl Drops {
    /// Something whose drop is counted here.
    pub(super) fn token(&self) -> Token {
        Token(self.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    pub(super) fn threads(&self) -> Vec<ThreadId> {
        self.0.1.lock().unwrap().clone()
    }
}

pub(super) struct Token(Drops);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.0.1.lock().unwrap().push(thread::current().id());
        self.0.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future that hands its waker out at every poll, and never ends.
pub(super) fn pending_with(
    token: Token,
    wakers: mpsc::Sender<Waker>,
) -> impl Future<Output = ()> + Send {
    poll_fn(move |context| {
        let _held = &token;
        let _ = wakers.send(context.waker().clone());
        Poll::Pending
    })
}

/// The id of the worker's thread.
pub(super) fn worker_thread(runtime: &Runtime) -> ThreadId {
    runtime.block_on(runtime.spawn(async { thread::current().id() })).unwrap()
}

/// Keeps the panics that a test provokes out of its output.
pub(super) fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| ()));
}
