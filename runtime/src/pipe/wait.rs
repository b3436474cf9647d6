//! Waiting for records, on a worker.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::Want;
use super::shared::Shared;
use super::thread::Busy;
use crate::sync::doorbell::Button;
use crate::sync::unwind;
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
            // The worker is the caller, and a waker that panics must not end it.
            unwind::quietly(|| task.wake());
        }
        woke
    }

    fn wants_first(&self) -> Button {
        match self.want {
            Want::First => self.shared.button,
            Want::Batch => Button::NONE,
        }
    }
}

impl Shared {
    /// Whether there is what `want` says.
    fn has(&self, want: Want) -> bool {
        if self.is_forked() {
            return false;
        }
        let _busy = Busy::hold();
        let ledger = self.ledger.lock();
        match want {
            Want::First => ledger.is_pending(&self.chunks),
            Want::Batch => ledger.is_ripe(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;
    use crate::pipe::{Config, Drainer, Pipe, Tag};
    use crate::sync::doorbell::{Bed, Doorbell};
    use crate::sync::shim::limits::RUNS_MAX;

    /// Counts how often its task was woken.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// Two chunks make a batch.
    fn pipe() -> (Pipe, Drainer) {
        let mut config = Config::default();
        config.promote_after = 0;
        config.wake_bytes = 2 * config.chunk_bytes;
        Pipe::new(config, Default::default())
    }

    fn fill_chunk(pipe: &Pipe) {
        let bytes = vec![1; Config::default().chunk_bytes];
        pipe.append(Tag::new(0, 0), |cursor| cursor.put_slice(&bytes)).unwrap();
    }

    #[test]
    fn waiting_for_the_first_record_ends_with_it_and_leaves_no_watch() {
        let (pipe, mut drainer) = pipe();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        {
            let mut readable = pin!(drainer.readable(Want::First));
            assert!(readable.as_mut().poll(&mut context).is_pending());
            assert_ne!(watch::first_wanted(), Button::NONE);
            assert!(!watch::rescan_all());
            pipe.append(Tag::new(0, 0), |_| ()).unwrap();
            assert!(watch::rescan_all());
            assert!(!watch::rescan_all(), "woken already");
            assert_eq!(wakes.count(), 1);
            assert!(readable.as_mut().poll(&mut context).is_ready());
        }
        assert_eq!(watch::first_wanted(), Button::NONE);
        assert!(pin!(drainer.readable(Want::First)).poll(&mut context).is_ready());
    }

    #[test]
    fn waiting_for_a_batch_ends_with_enough_sealed_bytes() {
        let (pipe, mut drainer) = pipe();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut readable = pin!(drainer.readable(Want::Batch));
        assert!(readable.as_mut().poll(&mut context).is_pending());
        assert_eq!(watch::first_wanted(), Button::NONE);
        // The last one is not sealed.
        (0..2).for_each(|_| fill_chunk(&pipe));
        assert!(!watch::rescan_all());
        fill_chunk(&pipe);
        assert!(watch::rescan_all());
        assert!(readable.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn many_chunks_are_a_batch_however_little_they_hold() {
        let (pipe, mut drainer) = pipe();
        let mut context = Context::from_waker(Waker::noop());
        let mut readable = pin!(drainer.readable(Want::Batch));
        assert!(readable.as_mut().poll(&mut context).is_pending());
        // A run for each record fills the table of runs, not the chunk.
        for scope in 0..70 * RUNS_MAX as u32 {
            pipe.append(Tag::new(0, scope), |cursor| cursor.put_u8(1)).unwrap();
        }
        assert!(watch::rescan_all());
        assert!(readable.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_wait_that_is_dropped_is_off_the_list() {
        let (_pipe, mut drainer) = pipe();
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut readable = pin!(drainer.readable(Want::First));
            assert!(readable.as_mut().poll(&mut context).is_pending());
            assert_ne!(watch::first_wanted(), Button::NONE);
        }
        assert_eq!(watch::first_wanted(), Button::NONE);
    }

    #[test]
    fn a_waker_that_panics_ends_no_worker() {
        struct Bomb;
        impl Wake for Bomb {
            fn wake(self: Arc<Self>) {
                panic!("expected by the test");
            }
        }
        let (pipe, mut drainer) = pipe();
        let waker = Waker::from(Arc::new(Bomb));
        let mut readable = pin!(drainer.readable(Want::First));
        assert!(readable.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        pipe.append(Tag::new(0, 0), |_| ()).unwrap();
        assert!(watch::rescan_all());
    }

    #[test]
    fn a_common_chunk_that_is_sealed_in_an_empty_pool_wakes_an_idle_worker() {
        let mut config = Config::default();
        (config.chunks, config.promote_after) = (2, 1);
        let bell = Arc::new(Doorbell::new());
        let (pipe, mut drainer) = Pipe::new(config, Arc::clone(&bell));
        let put = |bytes: &[u8]| pipe.append(Tag::new(0, 0), |cursor| cursor.put_slice(bytes));
        // One record in the common chunk, one in a chunk of the thread's own.
        put(b"common").unwrap();
        put(b"own").unwrap();
        put(&vec![1; config.chunk_bytes]).unwrap_err();
        let mut leased = Vec::new();
        drainer.take_all(&mut leased);
        // Everything was taken, so the worker sleeps; its next take would free a chunk.
        let mut context = Context::from_waker(Waker::noop());
        let mut readable = pin!(drainer.readable(Want::First));
        assert!(readable.as_mut().poll(&mut context).is_pending());
        bell.lie_down(Bed::Futex, watch::first_wanted());
        put(b"late").unwrap_err();
        assert!(bell.get_up(), "a chunk was sealed, and nobody was told");
        assert!(watch::rescan_all());
    }
}
