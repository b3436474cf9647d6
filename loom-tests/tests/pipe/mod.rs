//! What the models of the pipe have in common: tiny pipes, and a record that says who wrote it.
#![allow(dead_code, reason = "each model uses a part of it")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use loom::model::Builder;
use loom::sync::Arc;
use spanwire_runtime::Doorbell;
use spanwire_runtime::pipe::{Config, Drainer, Pipe, Refusal, Run, Tag, Want};
use spanwire_runtime::sync::doorbell::Bed;
use spanwire_runtime::sync::watch;

/// Explores all interleavings with at most as many preemptions as LOOM_MAX_PREEMPTIONS says,
/// two by default.
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// Bytes of a record.
pub(crate) const RECORD: usize = 2;

/// `chunks` chunks for two records each; threads get their own after `promote_after` records.
pub(crate) fn tiny(chunks: usize, promote_after: u32) -> Config {
    let mut config = Config::default();
    config.chunk_bytes = 2 * RECORD;
    config.chunks = chunks;
    config.promote_after = promote_after;
    // Out of reach: only the doorbell's models are about batches.
    config.wake_bytes = usize::MAX;
    // Only where a model is about records that are longer than a chunk.
    config.record_bytes_max = 0;
    config
}

pub(crate) fn pipe(config: Config) -> (Pipe, Drainer) {
    Pipe::new(config, Arc::new(Doorbell::new()))
}

/// Appends record `index` of thread `who`; its tag says who, too.
pub(crate) fn put(pipe: &Pipe, who: u8, index: u8) -> Result<(), Refusal> {
    pipe.append(Tag::new(0, who.into()), |cursor| cursor.put_array([who, index]))
}

/// Takes all there is and adds to `seen` what it holds, after a check of the tags.
pub(crate) fn take(drainer: &mut Drainer, seen: &mut Vec<(u8, u8)>) {
    let mut runs = Vec::new();
    drainer.take_all(&mut runs);
    read(&runs, seen);
}

pub(crate) fn read(runs: &[Run], seen: &mut Vec<(u8, u8)>) {
    for run in runs {
        assert_eq!(run.bytes.len(), RECORD * run.records as usize);
        for record in run.bytes.chunks(RECORD) {
            assert_eq!(u32::from(record[0]), run.tag.scope, "a record in a foreign run");
            seen.push((record[0], record[1]));
        }
    }
}

/// The records of `who`, in the order they came out.
pub(crate) fn of(who: u8, seen: &[(u8, u8)]) -> Vec<u8> {
    seen.iter().filter(|(writer, _)| *writer == who).map(|(_, index)| *index).collect()
}

/// What a worker does while its only task waits for `want`.
pub(crate) fn wait(bell: &Doorbell, drainer: &mut Drainer, want: Want) {
    let mut readable = pin!(drainer.readable(want));
    let mut context = Context::from_waker(Waker::noop());
    while readable.as_mut().poll(&mut context).is_pending() {
        bell.lie_down(Bed::Futex, watch::first_wanted());
        if !watch::rescan_all() {
            bell.sleep(None);
        }
        bell.get_up();
    }
}
