//! `spanwire::wire` and OTLP/JSON against prost and serde, on requests as unusual as protobuf
//! allows, and on bytes that are no requests.

#[path = "support/otlp_bytes.rs"]
mod otlp_bytes;
#[path = "support/otlp_json.rs"]
mod otlp_json;
#[path = "support/otlp_requests.rs"]
mod otlp_requests;
#[path = "support/otlp_views.rs"]
mod otlp_views;

use std::sync::LazyLock;

use otlp_bytes::Schema;
use otlp_requests::Request;
use proptest::prelude::*;
use spanwire::Signal;
use spanwire::internals::json_transcode;
use spanwire::wire::Malformed;

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::new);

fn entropy() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..800)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        // A request is long, and a smaller one is seldom worth minutes.
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn spans_are_seen_as_prost_decodes_them(entropy in entropy()) {
        check(&SCHEMA.request_of(Signal::Traces, &entropy), Signal::Traces)?;
    }

    #[test]
    fn log_records_are_seen_as_prost_decodes_them(entropy in entropy()) {
        check(&SCHEMA.request_of(Signal::Logs, &entropy), Signal::Logs)?;
    }

    #[test]
    fn metrics_are_seen_as_prost_decodes_them(entropy in entropy()) {
        check(&SCHEMA.request_of(Signal::Metrics, &entropy), Signal::Metrics)?;
    }

    #[test]
    fn a_request_cut_or_broken_anywhere_is_refused_as_prost_refuses_it(
        signal in prop::sample::select(&Signal::ALL[..]),
        entropy in entropy(),
        at in any::<prop::sample::Index>(),
        byte in prop::option::of(any::<u8>()),
    ) {
        let mut request = SCHEMA.request_of(signal, &entropy);
        prop_assume!(!request.is_empty());
        let at = at.index(request.len());
        match byte {
            Some(byte) => request[at] = byte,
            None => request.truncate(at),
        }
        let theirs = Request::decode(signal, &request).map(drop);
        let mut json = b"before".to_vec();
        match json_transcode(signal, &request, &mut json) {
            Ok(()) => prop_assert!(theirs.is_ok(), "{theirs:?}"),
            Err(error) => {
                let is_stricter = error == Malformed::Overlong;
                prop_assert!(theirs.is_err() || is_stricter, "{error}");
                prop_assert_eq!(json, b"before");
            }
        }
    }
}

#[test]
fn the_official_examples_survive_the_way_through_protobuf() {
    let examples = [
        (Signal::Traces, include_str!("payloads/trace.json")),
        (Signal::Logs, include_str!("payloads/logs.json")),
        (Signal::Logs, include_str!("payloads/events.json")),
        (Signal::Metrics, include_str!("payloads/metrics.json")),
    ];
    for (signal, example) in examples {
        let request = Request::of_json(signal, example).encode();
        let mut json = Vec::new();
        json_transcode(signal, &request, &mut json).unwrap();
        assert!(!json.contains(&b'\n'));
        let [ours, official] = [&json[..], example.as_bytes()]
            .map(|json| otlp_json::reduced(serde_json::from_slice(json).unwrap()));
        assert_eq!(ours, official);
    }
}

/// A valid request: views show what prost decodes, and its JSON is serde's.
fn check(request: &[u8], signal: Signal) -> Result<(), TestCaseError> {
    let theirs = Request::decode(signal, request).expect("the request is valid");
    let mut json = Vec::new();
    prop_assert_eq!(json_transcode(signal, request, &mut json), Ok(()));
    let json = serde_json::from_slice(&json).expect("it is JSON");
    prop_assert_eq!(otlp_json::reduced(json), otlp_json::reduced(theirs.json()));
    match Request::view(signal, request) {
        Ok(ours) => prop_assert_eq!(ours.shown(), theirs.shown()),
        Err(error) => prop_assert_eq!(error, Malformed::Scattered),
    }
    Ok(())
}
