//! The encoders beside opentelemetry-proto's transform and prost, byte for byte.
//!
//! An input is read as a list of decisions: which signal, how many of what, which of the values
//! that are easily got wrong. The deviations are those of docs/decisions; keys are unique here,
//! because what becomes of equal ones has tests of its own.
#![no_main]

mod support;

use std::mem::MaybeUninit;

use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
use prost::Message;
use spanwire::internals::{encode_log_record, encode_span};
use spanwire_runtime::buf::Cursor;
use support::{Decisions, logs, metrics, spans};

fuzz_target!(|input: &[u8]| {
    let mut decisions = Decisions::new(input);
    match decisions.byte() {
        // A collection needs threads, so it is slow.
        0 => metrics::check(&mut decisions),
        1..96 => check_log_record(&mut decisions),
        _ => check_span(&mut decisions),
    }
});

fn check_span(decisions: &mut Decisions<'_>) {
    let span = spans::arbitrary(decisions);
    let mut expected = Span::from(span.clone());
    // Decision 001.
    expected.status = expected.status.filter(|status| *status != Default::default());
    let expected = ScopeSpans { spans: vec![expected], ..ScopeSpans::default() }.encode_to_vec();
    check(&expected, |out| encode_span(out, &span));
}

fn check_log_record(decisions: &mut Decisions<'_>) {
    let record = logs::arbitrary(decisions);
    let mut expected = LogRecord::from(&record);
    // Decision 007.
    for id in [&mut expected.trace_id, &mut expected.span_id] {
        if id.iter().all(|&byte| byte == 0) {
            id.clear();
        }
    }
    let scope = ScopeLogs { log_records: vec![expected], ..ScopeLogs::default() };
    check(&scope.encode_to_vec(), |out| encode_log_record(out, &record));
}

/// With room, and with too little: then it is an overflow and nothing else.
fn check(expected: &[u8], encode: impl Fn(&mut Cursor<'_>)) {
    // A wrong guess of a length needs up to two bytes more before they are given back.
    let mut memory = vec![MaybeUninit::uninit(); expected.len() + 2];
    let mut out = Cursor::new(&mut memory);
    encode(&mut out);
    assert!(!out.is_overflowed());
    assert!(out.written() == expected, "\n  ours {:x?}\ntheirs {expected:x?}", out.written());
    let mut memory = vec![MaybeUninit::uninit(); expected.len() - 1];
    let mut out = Cursor::new(&mut memory);
    encode(&mut out);
    assert!(out.is_overflowed());
}
