//! In steady state an append does not allocate, and a pipe gives back all that it took. A test
//! binary of its own, because it counts every allocation of the process's threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::thread;

use spanwire_runtime::Doorbell;
use spanwire_runtime::pipe::{Config, Pipe, Tag, WhenFull};

/// Counts what the calling thread allocates, and how many bytes are out in large blocks.
struct Counting;

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });
static LARGE_BYTES: AtomicIsize = AtomicIsize::new(0);

/// A pool is larger than this, and nothing else here is.
const LARGE: usize = 8 << 20;

// SAFETY: all of it is the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        if layout.size() >= LARGE {
            LARGE_BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if layout.size() >= LARGE {
            LARGE_BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// One test, because the counts are the process's.
#[test]
fn an_append_allocates_nothing_and_a_pipe_leaves_nothing() {
    let (pipe, mut drainer) = Pipe::new(Config::default(), Arc::new(Doorbell::new()));
    let put = |scope| pipe.append(Tag::new(0, scope), |cursor| cursor.put_slice(&[7; 500]));
    // 20000 records of 500 bytes fill 154 of the 256 chunks.
    let fill = |records| (0..records).for_each(|index| put(index / 100).unwrap());
    let mut runs = Vec::new();

    // A chunk gets its table of runs when it is first used, and then never again.
    fill(25_000);
    drainer.take_all(&mut runs);
    runs.clear();
    drainer.reclaim();
    let before = ALLOCATIONS.get();
    fill(20_000);
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations of 20000 appends");

    // Slices keep the pool; an idle thread that has appended does not.
    drainer.take_all(&mut runs);
    assert_eq!(runs.iter().map(|run| u64::from(run.records)).sum::<u64>(), 20_000);
    let slice = runs.swap_remove(0).bytes;
    drop((runs, drainer, pipe));
    assert_eq!(LARGE_BYTES.load(Ordering::Relaxed), 16 << 20);
    thread::spawn(move || drop(slice)).join().unwrap();
    assert_eq!(LARGE_BYTES.load(Ordering::Relaxed), 0);

    eviction_allocates_nothing();
    long_records_leave_nothing();
    assert_eq!(LARGE_BYTES.load(Ordering::Relaxed), 0);
}

/// The pool goes round twice, and nobody drains.
fn eviction_allocates_nothing() {
    let mut config = Config::default();
    config.when_full = WhenFull::DropOldest;
    let (pipe, _drainer) = Pipe::new(config, Arc::new(Doorbell::new()));
    let fill = || (0..34_000).for_each(|_| put(&pipe, &[7; 500]));
    fill();
    let before = ALLOCATIONS.get();
    fill();
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations of evicting appends");
    assert!(pipe.counters().evicted > 30_000);
}

/// One is lent, one waits, one was refused; and then the pipe is gone.
fn long_records_leave_nothing() {
    let mut config = Config::default();
    (config.record_bytes_max, config.large_bytes) = (2 * LARGE, 4 * LARGE);
    let (pipe, mut drainer) = Pipe::new(config, Arc::new(Doorbell::new()));
    let long = vec![7; 2 * LARGE];
    let mut runs = Vec::new();
    put(&pipe, &long);
    drainer.take_all(&mut runs);
    put(&pipe, &long);
    pipe.append(Tag::new(0, 0), |cursor| cursor.put_slice(&long)).unwrap_err();
    assert_eq!(runs[0].bytes, long);
}

fn put(pipe: &Pipe, record: &[u8]) {
    pipe.append(Tag::new(0, 0), |cursor| cursor.put_slice(record)).unwrap();
}
