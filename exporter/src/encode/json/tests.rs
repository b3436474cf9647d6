use std::collections::{BTreeMap, BTreeSet};

use super::layout::{FIELDS_MAX, Kind, LOGS, Layout, METRICS, Presence, TRACES};
use super::transcode;
use crate::model::Signal;
use crate::wire::fields::tests::{children, text, varint};
use crate::wire::{DEPTH_MAX, Malformed};

fn json(signal: Signal, request: &[u8]) -> Result<String, Malformed> {
    let mut out = Vec::new();
    transcode(signal, request, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// A field of a message: key, length, and what is inside.
fn inside(number: u8, message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    let mut field = vec![number << 3 | 2];
    prost::encoding::encode_varint(message.len() as u64, &mut field);
    field.extend_from_slice(message);
    field
}

/// A request of one record.
fn request(record: impl AsRef<[u8]>) -> Vec<u8> {
    inside(1, inside(2, inside(2, record)))
}

/// The JSON of a log record's body.
fn body(any_value: &[u8]) -> Result<String, Malformed> {
    let json = json(Signal::Logs, &request(inside(5, any_value)))?;
    let start = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":"#;
    Ok(json.strip_prefix(start).unwrap().strip_suffix("}]}]}]}").unwrap().to_owned())
}

#[test]
fn an_empty_request_is_an_empty_object() {
    for signal in Signal::ALL {
        assert_eq!(json(signal, &[]).unwrap(), "{}");
    }
}

#[test]
fn ids_are_hexadecimal_numbers_of_64_bits_are_strings_enums_are_numbers() {
    let span = [
        &inside(1, [0xAB; 16])[..],
        &inside(2, [0x0C; 8]),
        &inside(4, []),
        &inside(5, "GET"),
        &[0x30, 2, 0x39, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x85, 0x01, 1, 3, 0, 0],
    ];
    let expected = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"abababababababababababababababab","spanId":"0c0c0c0c0c0c0c0c","name":"GET","kind":2,"startTimeUnixNano":"9223372036854775808","flags":769}]}]}]}"#;
    assert_eq!(json(Signal::Traces, &request(span.concat())).unwrap(), expected);
}

#[test]
fn members_of_a_oneof_are_written_whatever_their_value() {
    let table: [(&[u8], &str); 12] = [
        (&[], "{}"),
        (&[0x0a, 0], r#"{"stringValue":""}"#),
        (&[0x10, 0], r#"{"boolValue":false}"#),
        (&[0x10, 1], r#"{"boolValue":true}"#),
        (&[0x18, 0], r#"{"intValue":"0"}"#),
        (&[0x21, 0, 0, 0, 0, 0, 0, 0, 0], r#"{"doubleValue":0.0}"#),
        (&[0x2a, 0], r#"{"arrayValue":{}}"#),
        (&[0x32, 0], r#"{"kvlistValue":{}}"#),
        (&[0x3a, 0], r#"{"bytesValue":""}"#),
        (&[0x2a, 4, 0x0a, 0, 0x0a, 0], r#"{"arrayValue":{"values":[{},{}]}}"#),
        // The last one counts, and an index into the strings of profiles is no value.
        (&[0x10, 1, 0x18, 5], r#"{"intValue":"5"}"#),
        (&[0x18, 5, 0x40, 1], "{}"),
    ];
    for (value, expected) in table {
        assert_eq!(body(value).as_deref(), Ok(expected));
    }
    let negative = [&[0x18][..], &[0xff; 9], &[1]].concat();
    assert_eq!(body(&negative).unwrap(), r#"{"intValue":"-1"}"#);
}

#[test]
fn doubles_are_the_shortest_that_are_read_the_same_and_three_are_strings() {
    let table = [
        (0.1, "0.1"),
        (-0.0, "-0.0"),
        (5.0, "5.0"),
        (1e300, "1e300"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e308"),
        (f64::NAN, r#""NaN""#),
        (f64::INFINITY, r#""Infinity""#),
        (f64::NEG_INFINITY, r#""-Infinity""#),
    ];
    for (value, expected) in table {
        let any = [&[0x21][..], &value.to_le_bytes()].concat();
        assert_eq!(body(&any).unwrap(), format!(r#"{{"doubleValue":{expected}}}"#));
    }
}

#[test]
fn optional_doubles_are_written_when_they_are_zero_and_others_are_not() {
    let zeros = [[&[0x29][..], &[0; 8]].concat(), [&[0x59][..], &[0; 8]].concat()].concat();
    let histogram = request(inside(9, inside(1, &zeros)));
    assert!(json(Signal::Metrics, &histogram).unwrap().contains(r#"[{"sum":0.0,"min":0.0}]"#));
    let summary = request(inside(11, inside(1, &zeros[..9])));
    assert!(json(Signal::Metrics, &summary).unwrap().contains(r#""dataPoints":[{}]"#));
}

#[test]
fn bytes_are_base64_with_padding() {
    let table = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
    for (bytes, expected) in table {
        let json = body(&inside(7, bytes)).unwrap();
        assert_eq!(json, format!(r#"{{"bytesValue":"{expected}"}}"#));
    }
    assert_eq!(body(&inside(7, [0xfb, 0xff])).unwrap(), r#"{"bytesValue":"+/8="}"#);
}

#[test]
fn a_string_has_no_line_feed_and_no_quotation_mark_that_ends_it() {
    let text = "\0\u{1f}\"\\/\n\r\t\u{7f}ü\u{2028}";
    let expected = r#"{"stringValue":"\u0000\u001f\"\\/\n\r\t"#.to_owned() + "\u{7f}ü\u{2028}\"}";
    assert_eq!(body(&inside(1, text)).unwrap(), expected);
}

#[test]
fn a_string_that_is_not_utf8_is_refused_and_leaves_nothing_behind() {
    let mut out = b"before".to_vec();
    let record = request(inside(3, [b'a', 0xff]));
    assert_eq!(transcode(Signal::Logs, &record, &mut out), Err(Malformed::Utf8));
    assert_eq!(out, b"before");
    // Also where another one hides it.
    let hidden = [inside(3, [0xff]), inside(3, "b")].concat();
    assert_eq!(json(Signal::Logs, &request(hidden)), Err(Malformed::Utf8));
    let replaced = [inside(1, [0xff]), vec![0x10, 1]].concat();
    assert_eq!(body(&replaced), Err(Malformed::Utf8));
}

/// otel-arrow #1421, #1424, collector #13727: decoders must take both forms.
#[test]
fn numbers_may_be_packed_in_segments_or_not_at_all() {
    let count = |count: u8| [count, 0, 0, 0, 0, 0, 0, 0];
    let packed = inside(6, [count(1), count(2)].concat());
    let single = [vec![0x31], count(3).to_vec()].concat();
    let point = [packed, single, inside(6, []), inside(6, count(4))].concat();
    let histogram = json(Signal::Metrics, &request(inside(9, inside(1, point)))).unwrap();
    assert!(histogram.contains(r#"[{"bucketCounts":["1","2","3","4"]}]"#), "{histogram}");
    let cut = request(inside(9, inside(1, inside(6, [0; 12]))));
    assert_eq!(json(Signal::Metrics, &cut), Err(Malformed::Truncated));
}

#[test]
fn a_message_that_is_split_is_merged() {
    let status = [inside(15, inside(2, "a")), inside(5, "n"), inside(15, [0x18, 2])].concat();
    let span = json(Signal::Traces, &request(status)).unwrap();
    assert!(span.contains(r#"{"name":"n","status":{"message":"a","code":2}}"#), "{span}");
}

/// prost decodes each part where it stands; put side by side, one could end what another began.
#[test]
fn each_part_of_a_split_message_is_whole() {
    let begun = [0x0a, 4, b'a'];
    let split = [inside(5, begun), inside(5, "bcd")].concat();
    assert_eq!(json(Signal::Logs, &request(split)), Err(Malformed::Truncated));
    // The value of an attribute as well.
    let value = [inside(2, begun), inside(2, "bcd")].concat();
    let pair = inside(6, value);
    assert_eq!(json(Signal::Logs, &request(pair)), Err(Malformed::Truncated));
}

#[test]
fn values_nest_to_a_bound() {
    // A resource, a scope, a record, the body; then two messages for each array.
    let nested = |arrays| (0..arrays).fold(Vec::new(), |value, _| inside(5, inside(1, value)));
    let deepest = (usize::from(DEPTH_MAX) - 4) / 2;
    assert!(body(&nested(deepest)).is_ok());
    assert_eq!(body(&nested(deepest + 1)), Err(Malformed::Depth));
}

/// The threads of a runtime have 512 KiB; this is a debug build.
#[test]
fn the_deepest_request_fits_the_stack_of_a_runtimes_thread() {
    let transcode_deepest = || {
        let value = (0..48).fold(Vec::new(), |value, _| {
            // Split, and replaced by a bool: the longest way from one message to the next.
            [&inside(5, inside(1, value))[..], &[0x2a, 0, 0x10, 1]].concat()
        });
        body(&value[..]).map(drop)
    };
    let thread = std::thread::Builder::new().stack_size(448 << 10);
    assert_eq!(thread.spawn(transcode_deepest).unwrap().join().unwrap(), Ok(()));
}

#[test]
fn a_field_of_another_type_is_refused() {
    for record in [&[0x18, 1][..], &[0x0a, 0], &[0x45, 0, 0, 0], &[0x0b, 0x0c]] {
        assert!(json(Signal::Logs, &request(record)).is_err(), "{record:?}");
    }
}

/// `google.protobuf.FieldDescriptorProto`, as far as the JSON depends on it.
#[derive(Debug, PartialEq)]
struct Described {
    name: String,
    kind: &'static str,
    presence: Presence,
    message: String,
}

type Messages = BTreeMap<String, BTreeMap<u32, Described>>;

#[test]
fn the_layouts_are_the_descriptors() {
    let mut messages = Messages::new();
    for file in children(opentelemetry_proto::DESCRIPTORS, 1) {
        let package = format!(".{}", text(file, 2));
        children(file, 4).for_each(|message| describe(&mut messages, &package, message));
    }
    let mut compared = BTreeSet::new();
    let services = [("trace.v1.ExportTrace", &TRACES), ("logs.v1.ExportLogs", &LOGS)];
    for (service, layout) in services.into_iter().chain([("metrics.v1.ExportMetrics", &METRICS)]) {
        let name = format!(".opentelemetry.proto.collector.{service}ServiceRequest");
        compare(&messages, &mut compared, &name, layout);
    }
    assert_eq!(compared.len(), 34, "{compared:#?}");
}

fn compare(
    messages: &Messages,
    compared: &mut BTreeSet<String>,
    name: &str,
    layout: &'static Layout,
) {
    if !compared.insert(name.to_owned()) {
        return;
    }
    let described = &messages[name];
    assert!(layout.fields.len() <= FIELDS_MAX);
    assert!(layout.fields.is_sorted_by_key(|field| field.number), "{name}");
    let numbers: Vec<_> = layout.fields.iter().map(|field| field.number).collect();
    assert_eq!(numbers, described.keys().copied().collect::<Vec<_>>(), "{name}");
    for field in layout.fields {
        let described = &described[&field.number];
        let presence = field.presence;
        let ours = (field.name, kind_of(field.kind), presence);
        assert_eq!(ours, (&*described.name, described.kind, described.presence), "{name}");
        if let Kind::Message(inner) = field.kind {
            compare(messages, compared, &described.message, inner);
        }
    }
}

fn kind_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "string",
        Kind::Bytes => "bytes",
        Kind::Id => "id",
        Kind::Bool => "bool",
        Kind::Int32 => "enum",
        Kind::Uint32 => "uint32",
        Kind::Sint32 => "sint32",
        Kind::Fixed32 => "fixed32",
        Kind::Int64 => "int64",
        Kind::Uint64 => "uint64",
        Kind::Fixed64 => "fixed64",
        Kind::Sfixed64 => "sfixed64",
        Kind::Double => "double",
        Kind::Alpha => "int32",
        Kind::Message(_) => "message",
    }
}

fn describe(messages: &mut Messages, parent: &str, message: &[u8]) {
    let name = format!("{parent}.{}", text(message, 1));
    let fields = children(message, 2).map(|field| {
        let kind = match (varint(field, 5).unwrap(), &*text(field, 1)) {
            (1, _) => "double",
            (3, _) => "int64",
            (4, _) => "uint64",
            (5, _) => "int32",
            (6, _) => "fixed64",
            (7, _) => "fixed32",
            (8, _) => "bool",
            (9, _) => "string",
            (11, _) => "message",
            (12, "trace_id" | "span_id" | "parent_span_id") => "id",
            (12, _) => "bytes",
            (13, _) => "uint32",
            (14, _) => "enum",
            (16, _) => "sfixed64",
            (17, _) => "sint32",
            other => panic!("{other:?}"),
        };
        let is_optional = varint(field, 17).is_some() || kind == "message";
        let presence = match (varint(field, 4), is_optional, varint(field, 9)) {
            (Some(3), ..) => Presence::Repeated,
            (_, _, Some(_)) if varint(field, 17).is_none() => Presence::Oneof,
            (_, true, _) => Presence::Field,
            _ => Presence::Value,
        };
        let message = children(field, 6).next().map(|_| text(field, 6)).unwrap_or_default();
        let name = camel_case(&text(field, 1));
        (varint(field, 3).unwrap() as u32, Described { name, kind, presence, message })
    });
    messages.insert(name.clone(), fields.collect());
    children(message, 3).for_each(|nested| describe(messages, &name, nested));
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}
