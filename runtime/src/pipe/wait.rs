//! Waiting for records, on a worker.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::Want;
use super::shared::Shared;
use super::thread::Busy;
use crate::sync::watch::{self, Watch};

/// Waits until there is what `want` says.
pub(super) async fn readable(shared: &Arc<Shared>, want: Want) {
    if shared.has(want) {
        return;
    }
    let waiting = Rc::new(Waiting { shared: Arc::clone(shared), want, task: Cell::new(None) });
    // On the list for as long as this future lives.
    let _registration = watch::register(waiting.clone());
    poll_fn(|context| {
        // No matter what comes after this look: the worker rescans before it sleeps.
        if waiting.shared.has(want) {
            return Poll::Ready(());
        }
        waiting.task.set(Some(context.waker().clone()));
        Poll::Pending
    })
    .await;
}

/// A task that waits for records.
struct Waiting {
    shared: Arc<Shared>,
    want: Want,
    /// `None` when it was woken and has not looked yet.
    task: Cell<Option<Waker>>,
}

impl Watch for Waiting {
    fn rescan(&self) -> bool {
        if !self.shared.has(self.want) {
            return false;
        }
        let task = self.task.take();
        let woke = task.is_some();
        if let Some(task) = task {
            task.wake();
        }
        woke
    }

    fn wants_first(&self) -> bool {
        self.want == Want::First
    }
}

impl Shared {
    /// Whether there is what `want` says.
    fn has(&self, want: Want) -> bool {
        let _busy = Busy::hold();
        let ledger = self.ledger.lock();
        match want {
            Want::First => ledger.is_pending(&self.chunks),
            Want::Batch => ledger.is_ripe(),
        }
    }
}
