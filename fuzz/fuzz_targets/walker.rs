//! The views of `spanwire::wire` over encoded OTLP.
//!
//! Promises: no panic; whatever prost takes, views show alike; whatever prost refuses is refused
//! here too (or hidden behind a later member of a oneof, which only the JSON looks at).
//!
//! The first byte of an input chooses the signal, and whether the rest is a request or the
//! decisions of a generator that makes unusual, valid requests.
#![no_main]

#[path = "../../exporter/tests/support/otlp_bytes.rs"]
mod otlp_bytes;
#[allow(dead_code, reason = "shared with those who need more of it")]
#[path = "../../exporter/tests/support/otlp_requests.rs"]
mod otlp_requests;
#[allow(dead_code, reason = "shared with those who need more of it")]
#[path = "../../exporter/tests/support/otlp_views.rs"]
mod otlp_views;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use otlp_bytes::Schema;
use otlp_requests::Request;
use spanwire::Signal;
use spanwire::internals::json_transcode;
use spanwire::wire::{Fields, Malformed, Records};

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::new);

fuzz_target!(|input: &[u8]| {
    let [choice, rest @ ..] = input else { return };
    let signal = Signal::ALL[usize::from(*choice) % 3];
    let is_generated = choice & 0x80 != 0;
    let generated = if is_generated { SCHEMA.request_of(signal, rest) } else { Vec::new() };
    let request = if is_generated { &generated } else { rest };
    assert!(Fields::new(request).count() <= request.len());
    assert!(Records::new(request).count() <= request.len());
    let theirs = Request::decode(signal, request);
    match (Request::view(signal, request), theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours.shown(), theirs.shown()),
        (Ok(_), Err(error)) => {
            let json = json_transcode(signal, request, &mut Vec::new());
            assert!(json.is_err(), "only prost refuses it: {error}");
        }
        (Err(error), Ok(_)) => {
            // Documented: keys of more than five bytes, and messages split twice over.
            let is_stricter = matches!(error, Malformed::Overlong | Malformed::Scattered);
            assert!(is_stricter, "only prost takes it: {error}");
        }
        (Err(_), Err(_)) => assert!(!is_generated, "the generator makes valid requests"),
    }
});
