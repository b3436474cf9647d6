//! What a collector answers decides what becomes of a request: rules H5 to H15.

mod support;

use std::time::{Duration, Instant, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use spanwire::FlushError;

use support::otel::{LONG, assert_balanced, builder, end_spans, provider};
use support::{Collector, Reply};

#[test]
fn a_final_refusal_is_dropped_counted_and_not_resent() {
    for status in [300, 301, 307, 400, 401, 404, 413, 415, 500, 501] {
        let collector = Collector::scripted(move |request| match request {
            0 => Reply::Refuse(status, "location: http://127.0.0.1:1/\r\n", Vec::new()),
            _ => Reply::Accept,
        });
        let (builder, diagnostics) = builder(&collector.endpoint());
        let exporter = builder.build().unwrap();
        let provider = provider(&exporter, "service");
        end_spans(&provider, 3);
        let lost = exporter.flush(LONG);
        assert_eq!(lost, Err(FlushError::Lost { dropped: 3, rejected: 0 }), "{status}");
        // The next request goes out as if nothing had been, and its flush tells of no loss.
        end_spans(&provider, 2);
        assert_eq!(exporter.flush(LONG), Ok(()), "{status}");
        assert_eq!((collector.requests(), collector.spans().len()), (2, 2), "{status}");
        let stats = exporter.stats();
        assert_eq!((stats.dropped.refused, stats.delivered, stats.retries), (3, 2, 0), "{status}");
        assert_balanced(&stats, 5);
        let told = diagnostics.of_kind("Refused");
        assert!(told.len() == 1 && told[0].contains(&status.to_string()), "{told:?}");
    }
}

#[test]
fn a_retryable_status_is_resent_until_it_is_taken() {
    for status in [429, 502, 503, 504] {
        let collector = Collector::scripted(move |request| match request {
            0..3 => Reply::Refuse(status, "", Vec::new()),
            _ => Reply::Accept,
        });
        let exporter = builder(&collector.endpoint()).0.build().unwrap();
        end_spans(&provider(&exporter, "service"), 4);
        exporter.flush(LONG).unwrap();
        assert_eq!((collector.requests(), collector.ids().len()), (4, 4), "{status}");
        let stats = exporter.stats();
        assert_eq!((stats.requests, stats.retries, stats.delivered), (4, 3, 4), "{status}");
        assert_balanced(&stats, 4);
    }
}

#[test]
fn retry_after_in_seconds_and_as_a_date_is_waited_for() {
    // Dates have whole seconds; lower bounds only.
    let date = SystemTime::now() + Duration::from_secs(3);
    let date_header = format!("retry-after: {}\r\n", httpdate::fmt_http_date(date));
    let whole_date = httpdate::parse_http_date(&httpdate::fmt_http_date(date)).unwrap();
    deliver_against(date_header);
    assert!(SystemTime::now() >= whole_date);

    let asked_at = Instant::now();
    deliver_against("retry-after: 1\r\n".to_owned());
    assert!(asked_at.elapsed() >= Duration::from_secs(1));
}

/// Delivers one span to a collector that answers the first request with 503 and `header`.
fn deliver_against(header: String) {
    let header: &'static str = header.leak();
    let collector = Collector::scripted(move |request| match request {
        0 => Reply::Refuse(503, header, Vec::new()),
        _ => Reply::Accept,
    });
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 1);
    exporter.flush(LONG).unwrap();
    assert_eq!((collector.requests(), collector.spans().len()), (2, 1));
}

#[test]
fn a_throttled_batch_whose_budget_is_over_is_a_counted_drop() {
    let collector =
        Collector::scripted(|_| Reply::Refuse(503, "retry-after: 3600\r\n", Vec::new()));
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    end_spans(&provider(&exporter, "service"), 2);
    assert_eq!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 2, rejected: 0 }));
    assert_eq!(exporter.stats().dropped.retries_exhausted, 2);
    assert_eq!(collector.requests(), 1);
}

#[test]
fn any_2xx_is_success_even_with_an_undecodable_body() {
    for body in [Vec::new(), b"{\"partialSuccess\":{}}".to_vec(), vec![0xff; 40]] {
        let collector = Collector::scripted(move |_| Reply::AcceptWith(body.clone()));
        let exporter = builder(&collector.endpoint()).0.build().unwrap();
        end_spans(&provider(&exporter, "service"), 2);
        exporter.flush(LONG).unwrap();
        assert_eq!(exporter.stats().delivered, 2);
    }
}

#[test]
fn rejected_spans_are_counted_clamped_and_never_resent() {
    for (claimed, counted) in [(1, 1), (3, 3), (1_000, 3), (-5, 0), (i64::MAX, 3), (i64::MIN, 0)] {
        let answer = partial_success(claimed, "too old");
        let collector = Collector::scripted(move |_| Reply::AcceptWith(answer.clone()));
        let (builder, diagnostics) = builder(&collector.endpoint());
        let exporter = builder.build().unwrap();
        end_spans(&provider(&exporter, "service"), 3);
        let flushed = exporter.flush(LONG);
        let expected = match counted {
            0 => Ok(()),
            rejected => Err(FlushError::Lost { dropped: 0, rejected }),
        };
        assert_eq!(flushed, expected, "claimed {claimed}");
        let stats = exporter.stats();
        assert_eq!((stats.rejected, stats.delivered), (counted, 3 - counted));
        assert_eq!(collector.requests(), 1);
        assert_balanced(&stats, 3);
        assert!(diagnostics.of_kind("PartialSuccess")[0].contains("too old"));
    }
}

#[test]
fn a_record_limit_splits_what_is_sent() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.batch_records(7).build().unwrap();
    end_spans(&provider(&exporter, "service"), 20);
    exporter.flush(LONG).unwrap();
    let mut sizes = vec![0; collector.requests()];
    collector.spans().iter().for_each(|received| sizes[received.request] += 1);
    sizes.sort_unstable();
    assert_eq!(sizes, [6, 7, 7]);
}

fn partial_success(rejected_spans: i64, error_message: &str) -> Vec<u8> {
    ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans,
            error_message: error_message.to_owned(),
        }),
    }
    .encode_to_vec()
}
