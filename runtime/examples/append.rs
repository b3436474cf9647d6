//! Appends records of 64 bytes to a pipe, and nothing else: what `ci/fast-path.py` looks at.

use std::hint::black_box;
use std::sync::Arc;

use spanwire_runtime::Doorbell;
use spanwire_runtime::pipe::{Config, Pipe, Tag};

fn main() {
    let (pipe, _drainer) = Pipe::new(Config::default(), Arc::new(Doorbell::new()));
    let record = [7_u8; 64];
    for _ in 0..100_000 {
        // 6.4 of the 16 MB that the pool has.
        assert!(append(&pipe, black_box(&record)));
    }
}

/// One append, in a function of its own so that it can be found.
#[inline(never)]
fn append(pipe: &Pipe, record: &[u8; 64]) -> bool {
    pipe.append(Tag::new(0, 1), |cursor| cursor.put_array(*record)).is_ok()
}
