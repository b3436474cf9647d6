//! An idle exporter sleeps: nothing wakes its thread. Linux counts that.
#![cfg(target_os = "linux")]

#[cfg(feature = "grpc")]
#[path = "support/grpc.rs"]
mod server;
mod support;

use std::fs;
use std::time::Duration;

use spanwire::Exporter;

use support::Collector;
use support::otel::{LONG, builder, drivers, end_spans, provider};

#[test]
fn an_idle_exporter_makes_no_context_switch() {
    // Thread names have room for 15 bytes, and several workers have a number behind theirs.
    let one = drivers().map(|io| (io, 1, &["spanwire-idle"][..]));
    let two = drivers().map(|io| (io, 2, &["spanwire-idle-0", "spanwire-idle-1"][..]));
    for (io, workers, names) in one.into_iter().chain(two) {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint())
            .0
            .io(io)
            .workers(workers)
            .thread_name("spanwire-idle")
            .batch_age(Duration::from_millis(20))
            .build()
            .unwrap();
        assert_rests(&exporter, names);
        // And it is not asleep for ever.
        end_spans(&provider(&exporter, "service"), 1);
        collector.wait_for_spans(11);
    }
}

/// A connection of HTTP/2 has a receive under way for as long as it is open.
#[cfg(feature = "grpc")]
#[test]
fn an_idle_exporter_with_a_connection_of_grpc_makes_no_context_switch() {
    for io in drivers() {
        let server = server::GrpcServer::start();
        let exporter = builder(server.endpoint())
            .0
            .protocol(spanwire::Protocol::Grpc)
            .io(io)
            .thread_name("spanwire-calm")
            .batch_age(Duration::from_millis(20))
            .build()
            .unwrap();
        assert_rests(&exporter, &["spanwire-calm"]);
        end_spans(&provider(&exporter, "service"), 1);
        exporter.flush(LONG).unwrap();
        assert_eq!((server.ids().len(), server.connections()), (11, 1));
    }
}

/// Ten spans go out, and then nothing happens.
fn assert_rests(exporter: &Exporter, names: &[&str]) {
    // Used before, with a connection open: the idle state that matters.
    end_spans(&provider(exporter, "service"), 10);
    exporter.flush(LONG).unwrap();
    // It falls asleep for good after an empty interval; when that is, is its own business.
    let quiet = (0..50).any(|_| {
        let before = switches(names);
        std::thread::sleep(Duration::from_millis(300));
        switches(names) == before
    });
    assert!(quiet, "{names:?}: the exporter's threads never came to rest");
    let before = switches(names);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(switches(names), before, "{names:?}");
}

/// The three signals have one worker. While one gathers a batch, which needs no wake, the worker
/// sleeps as idle for the others.
#[test]
fn a_span_wakes_nobody_because_another_signal_is_idle() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint())
            .0
            .io(io)
            .thread_name("spanwire-doze")
            .batch_age(LONG)
            .build()
            .unwrap();
        let provider = provider(&exporter, "service");
        // The first wakes it; it gathers from then on.
        end_spans(&provider, 1);
        let names = ["spanwire-doze"];
        wait_for_sleep(names[0]);
        let before = switches(&names);
        for _ in 0..100 {
            end_spans(&provider, 1);
            wait_for_sleep(names[0]);
        }
        // A few may still come of the first; none of each span.
        let woken = switches(&names) - before;
        assert!(woken < 10, "{io:?}: woken {woken} times");
        exporter.shutdown(LONG).unwrap();
        assert_eq!(collector.ids().len(), 101);
    }
}

/// Voluntary context switches of this process's threads with those names.
fn switches(names: &[&str]) -> u64 {
    names.iter().map(|name| switches_of(name)).sum()
}

fn switches_of(name: &str) -> u64 {
    status_of(name, "voluntary_ctxt_switches:").parse().unwrap()
}

/// Until the thread with that name sleeps.
fn wait_for_sleep(name: &str) {
    while status_of(name, "State:") != "S" {
        std::thread::yield_now();
    }
}

/// What the kernel says under `key` of this process's thread with that name.
fn status_of(name: &str, key: &str) -> String {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let statuses =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let of_thread: Vec<_> =
        statuses.filter(|status| status.starts_with(&format!("Name:\t{name}\n"))).collect();
    assert_eq!(of_thread.len(), 1, "one thread is called {name}");
    let line = of_thread[0].lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}
