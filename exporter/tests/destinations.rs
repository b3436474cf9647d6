//! Several destinations: each has a queue, acknowledgements, retries and accounts of its own, over
//! records that are shared. What one of them does is not to be felt by another.

mod support;

use std::time::{Duration, Instant};

use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use spanwire::otel_0_33::MetricExporter;
use spanwire::{BuildError, Destination, DestinationStats, Exporter, FlushError, ShutdownError};
use spanwire::{Signal, Stats, WhenFull};

use support::otel::{
    LONG, assert_balanced, builder, drivers, emit_logs, end_spans, logger_provider, provider,
};
use support::{Collector, Reply, dead_address};

/// What one destination beside the main one has to say.
fn of<'a>(stats: &'a Stats, name: &str) -> &'a DestinationStats {
    stats.destinations.iter().find(|it| it.name.as_str() == name).unwrap()
}

/// The law, of what the destination was handed.
fn assert_balanced_beside(stats: &Stats, name: &str, handed: usize) {
    let traces = of(stats, name).traces;
    assert_eq!(traces.emitted, handed as u64, "{stats:?}");
    assert_eq!(traces.accounted_for(), traces.emitted, "{stats:?}");
}

/// The counters once they are as they are to become; answers that the collector has given may
/// still be on their way.
fn stats_once(exporter: &Exporter, is_reached: impl Fn(&Stats) -> bool) -> Stats {
    let start = Instant::now();
    loop {
        let stats = exporter.stats();
        if is_reached(&stats) {
            return stats;
        }
        assert!(start.elapsed() < LONG, "{stats:?}");
        std::thread::yield_now();
    }
}

fn refusing(status: u16) -> Collector {
    Collector::scripted(move |_| Reply::Refuse(status, "", Vec::new()))
}

fn dead() -> String {
    format!("http://{}", dead_address())
}

#[test]
fn every_destination_gets_every_record_once() {
    for io in drivers() {
        let [main, near, far] = [(); 3].map(|()| Collector::start());
        let exporter = builder(&main.endpoint())
            .0
            .io(io)
            .destination(Destination::new("near").endpoint(near.endpoint()))
            .destination(Destination::new("far").endpoint(far.endpoint()))
            .build()
            .unwrap();
        let ended = end_spans(&provider(&exporter, "service"), 300);
        exporter.flush(LONG).unwrap();
        for collector in [&main, &near, &far] {
            let ids = collector.ids();
            assert_eq!(ids.len(), 300);
            assert!(ended.iter().all(|id| ids[id] == 1));
        }
        let stats = exporter.stats();
        assert_balanced(&stats, 300);
        assert_eq!(stats.delivered, 300);
        for name in ["near", "far"] {
            assert_balanced_beside(&stats, name, 300);
            assert_eq!(of(&stats, name).traces.delivered, 300);
        }
    }
}

#[test]
fn a_destination_gets_the_signals_that_it_wants_and_its_own_headers() {
    let [main, logs_only] = [(); 2].map(|()| Collector::start());
    let destination = Destination::new("logs only")
        .endpoint(logs_only.endpoint())
        .header("x-tenant", "shop")
        .signals([Signal::Logs]);
    let exporter = builder(&main.endpoint()).0.destination(destination).build().unwrap();
    end_spans(&provider(&exporter, "service"), 10);
    emit_logs(&logger_provider(&exporter, "service"), 20);
    exporter.flush(LONG).unwrap();
    assert_eq!((main.spans().len(), main.logs().len()), (10, 20));
    assert_eq!((logs_only.spans().len(), logs_only.logs().len()), (0, 20));
    assert!(logs_only.heads().iter().all(|head| head.contains("x-tenant: shop\r\n")));
    assert!(main.heads().iter().all(|head| !head.contains("x-tenant")));
    let stats = exporter.stats();
    assert_eq!(of(&stats, "logs only").traces.emitted, 0);
    assert_eq!(of(&stats, "logs only").logs.delivered, 20);
}

#[test]
fn a_dead_destination_starves_no_other_and_drops_its_own_oldest() {
    let main = Collector::start();
    let (builder, diagnostics) = builder(&main.endpoint());
    let exporter = builder
        .buffer_bytes(4 << 20)
        .batch_bytes(16 << 10)
        .batch_age(Duration::from_millis(5))
        .destination(Destination::new("dead").endpoint(dead()))
        .build()
        .unwrap();
    let provider = provider(&exporter, "service");
    // Several times the buffer, in pieces that it has room for.
    let mut ended = 0;
    for _ in 0..80 {
        ended += end_spans(&provider, 1000).len();
        main.wait_for_spans(ended);
    }
    let stats = stats_once(&exporter, |stats| stats.delivered == 80_000);
    assert_eq!(stats.dropped.total(), 0, "{stats:?}");
    let dead = of(&stats, "dead").traces;
    assert!(dead.dropped.evicted > 0, "{dead:?}");
    assert!(dead.in_flight > 0, "the news are kept: {dead:?}");
    assert_balanced_beside(&stats, "dead", 80_000);
    let told = diagnostics.of_kind("DestinationFull");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("traces to dead: "), "{told:?}");
    assert_eq!(diagnostics.of_kind("BufferFull").len(), 0);

    let left = dead.in_flight;
    let ended = exporter.shutdown(Duration::from_millis(50));
    assert_eq!(ended, Err(ShutdownError::Timeout { left }));
    let stats = exporter.stats();
    assert_eq!(stats.dropped.total(), 0);
    assert_eq!(of(&stats, "dead").traces.dropped.shutdown, left);
    assert_balanced_beside(&stats, "dead", 80_000);
}

#[test]
fn a_dead_main_destination_starves_no_other() {
    for when_full in [WhenFull::DropNewest, WhenFull::DropOldest] {
        let other = Collector::start();
        let exporter = builder(&dead())
            .0
            .buffer_bytes(4 << 20)
            .batch_bytes(16 << 10)
            .batch_age(Duration::from_millis(5))
            .when_full(when_full)
            .destination(Destination::new("other").endpoint(other.endpoint()))
            .build()
            .unwrap();
        let provider = provider(&exporter, "service");
        let mut ended = 0;
        for _ in 0..80 {
            ended += end_spans(&provider, 1000).len();
            other.wait_for_spans(ended);
        }
        let stats = stats_once(&exporter, |stats| of(stats, "other").traces.delivered == 80_000);
        let dropped = match when_full {
            WhenFull::DropOldest => stats.dropped.evicted,
            _ => stats.dropped.queue_full,
        };
        assert!(dropped > 0, "{stats:?}");
        assert_eq!(stats.dropped.total(), dropped);
        assert_balanced(&stats, 80_000);
        assert!(exporter.shutdown(Duration::ZERO).is_err());
    }
}

#[test]
fn what_one_destination_refuses_is_reported_by_name_and_delivered_by_the_other() {
    let (main, strict) = (Collector::start(), refusing(400));
    let (builder, diagnostics) = builder(&main.endpoint());
    let exporter = builder
        .destination(Destination::new("strict").endpoint(strict.endpoint()))
        .build()
        .unwrap();
    end_spans(&provider(&exporter, "service"), 7);
    let error = exporter.flush(LONG).unwrap_err();
    assert!(
        matches!(error, FlushError::LostAt { destination, dropped: 7, rejected: 0 }
            if destination.as_str() == "strict"),
        "{error:?}"
    );
    assert!(error.to_string().contains("\"strict\""), "{error}");
    // It was told; what comes next is not lost.
    assert_eq!(exporter.flush(LONG), Ok(()));
    let stats = exporter.stats();
    assert_eq!((stats.delivered, stats.dropped.total()), (7, 0));
    assert_eq!(of(&stats, "strict").traces.dropped.refused, 7);
    assert_eq!((main.ids().len(), strict.requests()), (7, 1));
    assert!(diagnostics.of_kind("Refused")[0].contains("traces to strict: "));
}

#[test]
fn the_main_destination_is_lost_by_its_own_name_and_both_are_summed() {
    let (main, other) = (refusing(400), refusing(413));
    let build = |with_other: bool| {
        let destination = Destination::new("other").endpoint(other.endpoint());
        let builder = builder(&main.endpoint()).0;
        if with_other { builder.destination(destination) } else { builder }.build().unwrap()
    };
    let alone = build(false);
    end_spans(&provider(&alone, "service"), 3);
    assert_eq!(alone.flush(LONG), Err(FlushError::Lost { dropped: 3, rejected: 0 }));
    let both = build(true);
    end_spans(&provider(&both, "service"), 3);
    let flushed = both.flush(LONG);
    assert!(matches!(flushed, Err(FlushError::LostAt { dropped: 6, .. })), "{flushed:?}");
}

#[test]
fn each_destination_retries_for_itself() {
    let main = Collector::start();
    let busy = Collector::scripted(|request| match request {
        0..3 => Reply::Refuse(503, "", Vec::new()),
        _ => Reply::Accept,
    });
    let exporter = builder(&main.endpoint())
        .0
        .destination(Destination::new("busy").endpoint(busy.endpoint()))
        .build()
        .unwrap();
    let ended = end_spans(&provider(&exporter, "service"), 5);
    exporter.flush(LONG).unwrap();
    assert!(ended.iter().all(|id| main.ids()[id] == 1 && busy.ids()[id] == 1));
    let stats = exporter.stats();
    assert_eq!((stats.requests, stats.retries), (1, 0));
    assert_eq!((of(&stats, "busy").requests, of(&stats, "busy").retries), (4, 3));
}

#[test]
fn a_destination_with_one_term_of_retries_of_its_own_has_the_others_of_the_main_one() {
    let (main, busy) = (Collector::start(), refusing(503));
    let busy_one = Destination::new("busy").endpoint(busy.endpoint()).retry_bytes(1 << 20);
    let builder = builder(&main.endpoint()).0.retry_budget(Duration::ZERO);
    let exporter = builder.destination(busy_one).build().unwrap();
    end_spans(&provider(&exporter, "service"), 5);
    let flushed = exporter.flush(Duration::from_secs(5));
    assert!(matches!(flushed, Err(FlushError::LostAt { dropped: 5, .. })), "{flushed:?}");
    assert_eq!(busy.requests(), 1, "nothing is retried");
}

#[test]
fn a_flush_waits_for_all_destinations() {
    let main = Collector::start();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let slow = Collector::scripted(move |_| {
        let _ = held.recv();
        Reply::Accept
    });
    let exporter = builder(&main.endpoint())
        .0
        .destination(Destination::new("slow").endpoint(slow.endpoint()))
        .build()
        .unwrap();
    end_spans(&provider(&exporter, "service"), 4);
    let flushed = exporter.flush(Duration::from_millis(50));
    assert_eq!(flushed, Err(FlushError::Timeout { pending: 4 }));
    drop(release);
    exporter.flush(LONG).unwrap();
    assert_eq!(slow.ids().len(), 4);
}

#[test]
fn who_exports_a_batch_is_told_what_the_main_destination_made_of_it() {
    let main = Collector::start();
    let stalled = Collector::scripted(|_| Reply::Stall);
    let exporter = builder(&main.endpoint())
        .0
        .destination(Destination::new("stalled").endpoint(stalled.endpoint()))
        .build()
        .unwrap();
    let reader = PeriodicReader::builder(MetricExporter::new(&exporter)).with_interval(LONG * 1000);
    let provider = SdkMeterProvider::builder().with_reader(reader.build()).build();
    let meter = opentelemetry::metrics::MeterProvider::meter(&provider, "test");
    meter.u64_counter("counter").build().add(1, &[]);
    // It returns although one of them has not answered, and will not.
    provider.force_flush().unwrap();
    stalled.wait_for_requests(1);
    let stats = exporter.stats();
    assert_eq!(stats.metrics.delivered, 1);
    assert_eq!(of(&stats, "stalled").metrics.in_flight, 1);
    // Dropped without it, the exporter would give them some seconds.
    assert!(exporter.shutdown(Duration::ZERO).is_err());
}

#[test]
fn a_panic_of_the_delivery_counts_what_each_destination_had_in_its_hands() {
    let main = Collector::start();
    let stalled = Collector::scripted(|_| Reply::Stall);
    let exporter = builder(&main.endpoint())
        .0
        .destination(Destination::new("stalled").endpoint(stalled.endpoint()))
        .build()
        .unwrap();
    end_spans(&provider(&exporter, "service"), 5);
    assert!(exporter.flush(Duration::ZERO).is_err());
    main.wait_for_spans(5);
    stalled.wait_for_requests(1);
    exporter.inject_panic();
    assert_eq!(exporter.flush(LONG), Err(FlushError::Dead));
    let stats = exporter.stats();
    assert_eq!(of(&stats, "stalled").traces.dropped.exporter_died, 5);
    assert_balanced_beside(&stats, "stalled", 5);
}

#[test]
fn a_file_can_stand_beside_a_collector() {
    let main = Collector::start();
    let path = std::env::temp_dir().join(format!("spanwire-beside-{}.jsonl", std::process::id()));
    let exporter = builder(&main.endpoint())
        .0
        .destination(Destination::new("file").file(&path))
        .build()
        .unwrap();
    end_spans(&provider(&exporter, "service"), 3);
    exporter.flush(LONG).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(text.matches("\"spanId\"").count(), 3);
    assert_eq!(main.ids().len(), 3);
}

#[test]
fn what_cannot_work_is_an_error_that_names_the_destination() {
    let named = |name: &str| Destination::new(name).endpoint("http://localhost:4318");
    let cases: [(&str, Vec<Destination>, &str); 6] = [
        ("no endpoint", vec![Destination::new("b")], "a destination beside the main one has no"),
        ("no name", vec![named("")], "printable ASCII"),
        ("twice", vec![named("b"), named("b")], "another destination has this name"),
        ("too many", (0..8).map(|n| named(&n.to_string())).collect(), "7 destinations"),
        ("too much", vec![named("b").buffer_bytes(9 << 20)], "half of Builder::buffer_bytes"),
        ("bad", vec![Destination::new("b").endpoint("nothing")], "does not begin with"),
    ];
    for (what, destinations, why) in cases {
        let builder = builder("http://localhost:4318").0;
        let builder = destinations.into_iter().fold(builder, |it, next| it.destination(next));
        let error = builder.build().map(drop).unwrap_err();
        assert!(matches!(error, BuildError::Destination { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains(why), "{what}: {error}");
    }
}

/// Names and counts are there before anything was sent.
#[test]
fn the_counters_name_the_destinations_in_the_order_of_the_builder() {
    let exporter: Exporter = builder(&dead())
        .0
        .destination(Destination::new("b").endpoint(dead()))
        .destination(Destination::new("a").endpoint(dead()))
        .build()
        .unwrap();
    let stats = exporter.stats();
    let names: Vec<_> = stats.destinations.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
}
