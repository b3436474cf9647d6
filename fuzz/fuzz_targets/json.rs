//! OTLP/JSON made of encoded OTLP.
//!
//! Promises: no panic; whatever prost takes becomes JSON without a line feed, which means what
//! opentelemetry-proto's serde writes; whatever prost refuses is refused, and leaves nothing.
//!
//! Inputs are those of `walker`.
#![no_main]

#[path = "../../exporter/tests/support/otlp_bytes.rs"]
mod otlp_bytes;
#[path = "../../exporter/tests/support/otlp_json.rs"]
mod otlp_json;
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
use spanwire::wire::Malformed;

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::new);

fuzz_target!(|input: &[u8]| {
    let [choice, rest @ ..] = input else { return };
    let signal = Signal::ALL[usize::from(*choice) % 3];
    let is_generated = choice & 0x80 != 0;
    let generated = if is_generated { SCHEMA.request_of(signal, rest) } else { Vec::new() };
    let request = if is_generated { &generated } else { rest };
    let mut json = b"before".to_vec();
    match (json_transcode(signal, request, &mut json), Request::decode(signal, request)) {
        (Ok(()), Ok(theirs)) => compare(&json[6..], &theirs),
        (Ok(()), Err(error)) => panic!("only prost refuses it: {error}"),
        (Err(error), theirs) => {
            let is_stricter = error == Malformed::Overlong;
            assert!(theirs.is_err() || is_stricter, "only prost takes it: {error}");
            assert_eq!(json, b"before");
        }
    }
});

fn compare(json: &[u8], theirs: &Request) {
    assert!(!json.contains(&b'\n'));
    // serde_json reads 127 levels, and a value of an array costs three or four.
    let Ok(ours) = serde_json::from_slice(json) else {
        let depth = json.iter().filter(|&&byte| byte == b'{' || byte == b'[').count();
        assert!(depth > 100, "{}", String::from_utf8_lossy(json));
        return;
    };
    assert_eq!(otlp_json::reduced(ours), otlp_json::reduced(theirs.json()));
}
