//! What a task costs on the heap. A test binary of its own, because it counts every allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use spanwire_runtime::{Builder, spawn};

/// Counts the bytes that are out, with what malloc takes for itself.
struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);

/// glibc's malloc: 8 bytes in front, multiples of 16, at least 32.
fn taken(layout: Layout) -> isize {
    (layout.size() + 8).next_multiple_of(16).max(32) as isize
}

// SAFETY: all of it is the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(taken(layout), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(taken(layout), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const TASKS: usize = 10_000;

/// A future of 8 bytes that waits for ever, and says that it was polled.
struct Idle(Arc<AtomicUsize>);

impl Future for Idle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Pending
    }
}

/// One test, because the counts are the process's.
#[test]
fn an_idle_task_takes_at_most_112_bytes_with_its_handle() {
    assert_eq!(size_of::<Idle>(), 8);
    for workers in [1, 2] {
        let runtime = Builder::new().workers(workers).build().unwrap();
        let polled = Arc::new(AtomicUsize::new(0));
        let tasks = runtime.spawn(async move {
            // The run queue keeps the room that its longest burst needed: that is not an idle
            // task's.
            let burst: Vec<_> = (0..TASKS).map(|_| spawn(async {})).collect();
            for task in burst {
                task.await.unwrap();
            }
            let before = BYTES.load(Ordering::Relaxed);
            let tasks: Vec<_> = (0..TASKS).map(|_| spawn(Idle(Arc::clone(&polled)))).collect();
            while polled.load(Ordering::Relaxed) < TASKS {
                spanwire_runtime::yield_now().await;
            }
            (tasks, BYTES.load(Ordering::Relaxed) - before)
        });
        let (tasks, bytes) = runtime.block_on(tasks).unwrap();
        let each = bytes as usize / TASKS;
        assert!(each <= 112, "{each} bytes a task, {workers} workers");
        drop(tasks);
    }
}
