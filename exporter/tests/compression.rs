//! Compressed and JSON bodies, as a collector meets them. A test binary of its own, because it
//! looks at what the exporter's thread allocates.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use spanwire::otel_0_33::MetricExporter;
use spanwire::{BuildError, Builder, Compression, FlushError, Protocol};
use spanwire_runtime::sys::counting::Counting;

use support::otel::{
    LONG, assert_balanced, builder, drivers, emit_logs, end_spans, logger_provider, provider,
};
use support::{Collector, Reply, header};

#[global_allocator]
static COUNTING: Counting = Counting::new();

/// What this build can do.
const COMPRESSIONS: &[Compression] = &[
    Compression::None,
    Compression::Gzip,
    #[cfg(feature = "zstd")]
    Compression::Zstd,
];

/// Delivers so many spans.
fn deliver(builder: Builder, spans: usize) {
    let exporter = builder.build().unwrap();
    end_spans(&provider(&exporter, "service"), spans);
    exporter.flush(LONG).unwrap();
    assert_balanced(&exporter.stats(), spans);
}

#[test]
fn what_is_compressed_arrives_whole_over_either_driver_and_with_any_number_of_workers() {
    for &compression in COMPRESSIONS {
        for (io, workers) in drivers().into_iter().zip([1, 2]) {
            let collector = Collector::start();
            let builder = builder(&collector.endpoint()).0.io(io).workers(workers);
            deliver(builder.compression(compression).batch_bytes(128 << 10), 3000);
            assert_eq!(collector.ids().len(), 3000, "{compression} {io:?}");
            for head in collector.heads() {
                let encoding = header(&head, "content-encoding");
                let bytes: usize = header(&head, "content-length").unwrap().parse().unwrap();
                match compression {
                    Compression::None => assert_eq!(encoding, None),
                    // The last request may be too short for it.
                    _ if encoding.is_none() => assert!(bytes < 1024, "{bytes}"),
                    other => assert_eq!(encoding.unwrap(), other.to_string()),
                }
            }
            let heads = collector.heads().join("");
            assert!(compression == Compression::None || heads.contains("content-encoding"));
        }
    }
}

#[test]
fn short_bodies_go_as_they_are_unless_they_are_asked_for() {
    let collector = Collector::start();
    let gzip = || builder(&collector.endpoint()).0.compression(Compression::Gzip);
    deliver(gzip(), 1);
    deliver(gzip().compression_min_bytes(0), 40);
    deliver(gzip().compression_min_bytes(1 << 20), 40);
    let heads = collector.heads();
    let encodings: Vec<_> = heads.iter().map(|head| header(head, "content-encoding")).collect();
    assert_eq!(encodings, [None, Some("gzip"), None]);
}

#[test]
fn a_collector_that_cannot_read_an_encoding_loses_one_request_and_gets_plain_ones_from_then_on() {
    for &compression in COMPRESSIONS {
        let collector = Collector::scripted(|_| Reply::RefuseEncoded);
        let (builder, diagnostics) = builder(&collector.endpoint());
        let exporter = builder.compression(compression).in_flight(1).build().unwrap();
        let provider = provider(&exporter, "service");
        let is_plain = compression == Compression::None;
        end_spans(&provider, 40);
        let lost = Err(FlushError::Lost { dropped: 40, rejected: 0 });
        assert_eq!(exporter.flush(LONG), if is_plain { Ok(()) } else { lost });
        for _ in 0..2 {
            end_spans(&provider, 40);
            assert_eq!(exporter.flush(LONG), Ok(()));
        }
        assert_eq!(exporter.stats().dropped.refused, if is_plain { 0 } else { 40 });
        assert_balanced(&exporter.stats(), 120);
        let told = diagnostics.of_kind("EncodingRefused");
        assert_eq!(told.len(), usize::from(!is_plain), "{told:?}");
    }
}

#[test]
fn a_refusal_of_the_data_is_none_of_the_encoding() {
    let collector = Collector::scripted(|request| match request {
        0 => Reply::Refuse(400, "", Vec::new()),
        _ => Reply::Accept,
    });
    let (builder, diagnostics) = builder(&collector.endpoint());
    let exporter = builder.compression(Compression::Gzip).build().unwrap();
    let provider = provider(&exporter, "service");
    for _ in 0..2 {
        end_spans(&provider, 40);
        let _ = exporter.flush(LONG);
    }
    let heads = collector.heads();
    assert!(heads.iter().all(|head| header(head, "content-encoding") == Some("gzip")), "{heads:?}");
    assert!(diagnostics.of_kind("EncodingRefused").is_empty());
}

#[test]
fn a_retry_sends_the_compressed_body_again() {
    let collector = Collector::scripted(|request| match request {
        0..3 => Reply::Refuse(503, "", Vec::new()),
        _ => Reply::Accept,
    });
    deliver(builder(&collector.endpoint()).0.compression(Compression::Gzip), 500);
    assert_eq!((collector.requests(), collector.ids().len()), (4, 500));
}

#[test]
fn json_of_all_signals_is_what_the_oracle_reads() {
    for &compression in COMPRESSIONS {
        let collector = Collector::start();
        let builder = builder(&collector.endpoint()).0.protocol(Protocol::HttpJson);
        let exporter = builder.compression(compression).build().unwrap();
        let ids = end_spans(&provider(&exporter, "service"), 50);
        let bodies = emit_logs(&logger_provider(&exporter, "service"), 50);
        let meters =
            SdkMeterProvider::builder().with_periodic_exporter(MetricExporter::new(&exporter));
        let meters = meters.build();
        let counter = meters.meter("test").u64_counter("counter").build();
        (0..50).for_each(|index| counter.add(1, &[KeyValue::new("index", index)]));
        meters.force_flush().unwrap();
        exporter.flush(LONG).unwrap();

        let found = collector.ids();
        assert!(ids.iter().all(|id| found.get(id) == Some(&1)), "{found:?}");
        assert_eq!((collector.logs().len(), collector.points()), (bodies.len(), 50));
        for head in collector.heads() {
            assert_eq!(header(&head, "content-type"), Some("application/json"));
        }
        assert_balanced(&exporter.stats(), 150);
        meters.shutdown().unwrap();
    }
}

#[test]
fn what_an_answer_in_json_rejects_is_counted() {
    let answer = br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"quota"}}"#;
    let collector = Collector::scripted(move |_| {
        Reply::Refuse(200, "content-type: application/json\r\n", answer.to_vec())
    });
    let (builder, diagnostics) = builder(&collector.endpoint());
    let exporter = builder.protocol(Protocol::HttpJson).build().unwrap();
    end_spans(&provider(&exporter, "service"), 5);
    assert_eq!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 0, rejected: 2 }));
    let told = diagnostics.of_kind("PartialSuccess");
    assert!(told.len() == 1 && told[0].contains("2 of 5 records: quota"), "{told:?}");
    assert_balanced(&exporter.stats(), 5);
}

#[test]
fn a_request_that_is_too_long_as_json_is_dropped_and_counted() {
    let collector = Collector::start();
    let (builder, diagnostics) = builder(&collector.endpoint());
    let limited = builder.request_bytes_max(16 << 10).protocol(Protocol::HttpJson);
    let exporter = limited.build().unwrap();
    // About 100 bytes each in protobuf.
    end_spans(&provider(&exporter, "service"), 120);
    assert_eq!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 120, rejected: 0 }));
    assert_eq!((exporter.stats().dropped.oversize, collector.requests()), (120, 0));
    assert_eq!(diagnostics.of_kind("Oversize").len(), 1);
    assert_balanced(&exporter.stats(), 120);
}

#[test]
fn a_body_is_compressed_without_a_copy_of_the_whole() {
    for &compression in COMPRESSIONS {
        let collector = Collector::scripted(|_| {
            // A remark, so that the handler is called on the exporter's thread.
            Reply::AcceptWith(b"\x0a\x04\x12\x02hm".to_vec())
        });
        let largest = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&largest);
        let exporter = builder(&collector.endpoint())
            .0
            .on_diagnostic(move |_| {
                seen.store(Counting::largest_of_this_thread(), Ordering::Relaxed);
            })
            .compression(compression)
            .buffer_bytes(32 << 20)
            .batch_bytes(4 << 20)
            .build()
            .unwrap();
        end_spans(&provider(&exporter, "service"), 40_000);
        exporter.flush(LONG).unwrap();
        assert_eq!(collector.ids().len(), 40_000);
        let (largest, requests) = (largest.load(Ordering::Relaxed), collector.requests());
        let body_bytes = 40_000 * SPAN_BYTES_MIN / requests;
        // What the compressor itself needs is below a mebibyte.
        assert!(largest > 0 && body_bytes > 3 << 19, "{largest} {body_bytes}");
        assert!(largest < 1 << 20, "{compression}: an allocation of {largest} bytes");
    }
}

/// What a span of the tests is encoded to, at least.
const SPAN_BYTES_MIN: usize = 60;

#[test]
fn a_level_that_there_is_not_is_an_error_that_says_which_there_are() {
    let refused = |compression: Compression, level| {
        let (builder, _) = builder("http://localhost:4318");
        match builder.compression(compression).compression_level(level).build() {
            Err(BuildError::InvalidValue { value, source_name, why }) => {
                assert_eq!((value, source_name), (level.to_string(), "Builder::compression_level"));
                why
            }
            other => panic!("{:?}", other.map(|_| ())),
        }
    };
    let why = "of gzip, it must be from 1 to 9";
    assert_eq!([refused(Compression::Gzip, 0), refused(Compression::Gzip, 10)], [why, why]);
    #[cfg(feature = "zstd")]
    assert_eq!(refused(Compression::Zstd, 20), "of zstd, it must be from 1 to 19");
    // Nothing is compressed, so there is nothing wrong with it.
    let (builder, _) = builder("http://localhost:4318");
    builder.compression_level(0).build().unwrap();
}
