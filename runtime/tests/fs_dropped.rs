//! Futures of file calls may be dropped at any moment: nothing that they opened stays open.
//!
//! One test, and a process of its own, because it counts the process's descriptors.
#![cfg(target_os = "linux")]

#[path = "support/scratch.rs"]
mod scratch;

use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use scratch::Scratch;
use spanwire_runtime::driver::Choice;
use spanwire_runtime::fs::{self, File, OpenOptions};
use spanwire_runtime::{Builder, yield_now};

/// tokio #7979, monoio #318: a cancelled open leaks its descriptor.
#[test]
fn whatever_is_dropped_leaves_no_descriptor_and_no_torn_file() {
    let dir = Scratch::new();
    for choice in [Choice::Auto, Choice::Epoll] {
        // What is opened once a process is open before the count.
        drop(Builder::new().io(choice).build().unwrap());
        let before = descriptors();
        let runtime = Builder::new().io(choice).build().unwrap();
        let plans = prop::collection::vec((any::<u8>(), any::<u8>()), 1..100);
        proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(50) }, |(plan in plans)| {
            let path = dir.path().to_owned();
            runtime.block_on(runtime.spawn_pinned(move || follow(path, plan))).unwrap().unwrap();
        });
        assert!(runtime.shutdown(PATIENCE));
        await_descriptors(&before);
    }
}

/// Starts one call after the other, and drops each after it was polled a few times.
async fn follow(dir: PathBuf, plan: Vec<(u8, u8)>) -> io::Result<()> {
    let steady = dir.join("steady");
    let options = OpenOptions::new().read(true).write(true).create(true);
    let file = File::open_with(&steady, options).await?;
    file.write_all_at(vec![Bytes::from_static(&[7; PAGE])], 0).await?;
    for (call, polls) in plan {
        start_and_drop(&file, &dir, call, polls % 4).await;
        // The file works on, whatever was dropped.
        let (read, buf) = file.read_at(Vec::with_capacity(PAGE), 0).await;
        assert_eq!((read?, buf), (PAGE, vec![7; PAGE]));
    }
    file.close().await
}

async fn start_and_drop(file: &File, dir: &Path, call: u8, polls: u8) {
    let bytes = vec![Bytes::from_static(&[7; PAGE])];
    match call % 8 {
        0 => poll_some(File::create(dir.join("other")), polls).await,
        1 => poll_some(File::open(dir.join("steady")), polls).await,
        2 => poll_some(file.read_at(Vec::with_capacity(PAGE), 0), polls).await,
        3 => poll_some(file.write_at(bytes, 0), polls).await,
        4 => poll_some(file.sync_data(), polls).await,
        5 => poll_some(fs::rename(dir.join("other"), dir.join("third")), polls).await,
        6 => poll_some(fs::sync_dir(dir), polls).await,
        _ => {
            if let Ok(file) = File::open(dir.join("steady")).await {
                poll_some(file.close(), polls).await;
            }
        }
    }
}

/// Polls `future` so often, with the worker looking around in between, and drops it.
async fn poll_some<F: Future>(future: F, polls: u8) {
    let mut future = pin!(future);
    for _ in 0..polls {
        let ended = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await;
        if ended {
            return;
        }
        yield_now().await;
    }
}

/// What the process has open, by number and target.
fn descriptors() -> Vec<(String, PathBuf)> {
    let names = std::fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap);
    let targets = names.filter_map(|name| {
        let target = std::fs::read_link(name.path()).ok()?;
        // The directory that is being read is open too.
        let is_this = target.ends_with(format!("{}/fd", std::process::id()));
        (!is_this).then(|| (name.file_name().into_string().unwrap(), target))
    });
    targets.collect()
}

/// Calls on the pool end when they end, also after their runtime.
fn await_descriptors(before: &[(String, PathBuf)]) {
    let deadline = Instant::now() + PATIENCE;
    while descriptors() != before {
        assert!(Instant::now() < deadline, "before {before:?}, now {:?}", descriptors());
        thread::yield_now();
    }
}

const PAGE: usize = 4096;
/// Only a leak takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
