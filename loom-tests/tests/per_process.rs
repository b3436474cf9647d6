//! The value of a forked child: one thread of it makes the value, all see the whole of it.
//!
//! A fork itself is one moment of one thread. What interleaves is what the threads of a child do
//! afterwards, with a list and a word as the parent left them.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use spanwire_runtime::{Origin, PerProcess};

/// loom checks each access of the cell.
struct Value {
    number: usize,
    written: UnsafeCell<()>,
}

impl Value {
    fn new(number: usize) -> Self {
        let written = UnsafeCell::new(());
        written.with_mut(|_| ());
        Self { number, written }
    }
}

/// What a child has inherited.
fn inherited() -> Arc<PerProcess<Value>> {
    Arc::new(PerProcess::of(Origin::of_another(), Value::new(0)))
}

fn make(made: &AtomicUsize) -> Value {
    made.fetch_add(1, Ordering::Relaxed);
    Value::new(7)
}

fn read(value: Option<&Value>) -> Option<usize> {
    let value = value?;
    value.written.with(|_| ());
    Some(value.number)
}

#[test]
fn one_thread_of_a_child_makes_its_value_and_both_see_the_whole_of_it() {
    loom::model(|| {
        let (value, made) = (inherited(), Arc::new(AtomicUsize::new(0)));
        let other = {
            let (value, made) = (Arc::clone(&value), Arc::clone(&made));
            thread::spawn(move || read(value.get_or_make(|| make(&made))))
        };
        let own = read(value.get_or_make(|| make(&made)));
        assert_eq!((own, other.join().unwrap()), (Some(7), Some(7)));
        assert_eq!(made.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn who_only_looks_sees_nothing_or_all_of_it() {
    loom::model(|| {
        let (value, made) = (inherited(), Arc::new(AtomicUsize::new(0)));
        let other = {
            let value = Arc::clone(&value);
            thread::spawn(move || read(value.get()))
        };
        assert_eq!(read(value.get_or_make(|| make(&made))), Some(7));
        assert!(matches!(other.join().unwrap(), None | Some(7)));
    });
}
