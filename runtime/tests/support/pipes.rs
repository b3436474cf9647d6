//! What the tests of one pipe with one tag share.

use std::sync::Arc;

use spanwire_runtime::Doorbell;
use spanwire_runtime::pipe::{Config, Drainer, Pipe, Refusal, Run, Tag};

/// That of all records.
pub(crate) const TAG: Tag = Tag::new(1, 2);

pub(crate) fn pipe(config: Config) -> (Pipe, Drainer) {
    Pipe::new(config, Arc::new(Doorbell::new()))
}

pub(crate) fn put(pipe: &Pipe, record: &[u8]) -> Result<(), Refusal> {
    pipe.append(TAG, |cursor| cursor.put_slice(record))
}

pub(crate) fn take(drainer: &mut Drainer) -> Vec<Run> {
    let mut runs = Vec::new();
    drainer.take_all(&mut runs);
    runs
}

pub(crate) fn first_bytes(runs: &[Run]) -> Vec<u8> {
    runs.iter().map(|run| run.bytes[0]).collect()
}
