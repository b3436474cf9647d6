//! The wire-format cases of protobuf's conformance suite, on the messages of OTLP, and what views
//! promise beyond. That views show what prost decodes is in `tests/wire.rs`.

use super::super::read::{DEPTH_MAX, Malformed};
use super::{AnyValue, LogRecord, Metric, MetricData, Number, Request, Span};

/// A field with a length.
fn inside(number: u8, message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    let mut field = vec![number << 3 | 2];
    prost::encoding::encode_varint(message.len() as u64, &mut field);
    field.extend_from_slice(message);
    field
}

fn attribute(key: &str, value: &[u8]) -> Vec<u8> {
    inside(9, [inside(1, key), inside(2, value)].concat())
}

#[test]
fn an_absent_field_has_its_default() {
    let span = Span::new(&[]);
    assert_eq!((span.name(), span.trace_id(), span.flags()), (Ok(""), Ok(&[][..]), Ok(0)));
    assert!(span.status().unwrap().is_none());
    assert!(span.attributes().get("").unwrap().is_none());
    assert!(LogRecord::new(&[]).body().unwrap().is_none());
    assert!(Metric::new(&[]).data().unwrap().is_none());
}

/// otel-arrow #3757, #4029: malformed data was silently absent.
#[test]
fn what_is_malformed_is_never_absent() {
    let cut = &inside(5, "name")[..4];
    assert_eq!(Span::new(cut).name(), Err(Malformed::Truncated));
    assert_eq!(Span::new(cut).kind(), Err(Malformed::Truncated), "as nobody knows what is cut off");
    assert!(Span::new(cut).attributes().get("key").is_err());
    let mut events = Span::new(&[0x5a, 9]).events();
    assert!(matches!(events.next(), Some(Err(Malformed::Truncated))));
    assert!(events.next().is_none());
}

/// PrematureEof: in each wire type, at the end of the message and of one inside.
#[test]
fn a_length_beyond_the_message_around_it_is_refused() {
    let inner = [0x12, 5, b'm'];
    let span = [&inside(15, inner)[..], &[0x30, 1, 0x30, 1, 0x30, 1]].concat();
    let status = Span::new(&span).status().unwrap().unwrap().message();
    assert_eq!(status, Err(Malformed::Truncated), "though the span goes on");
}

/// IllegalZeroFieldNum, UnmatchedEndGroup, and the wire types 6 and 7.
#[test]
fn keys_that_do_not_exist_are_refused() {
    for bad in [&[0x00, 0][..], &[0x01], &[0x02, 0], &[0x05], &[0x0c], &[0x0e], &[0x0f]] {
        assert!(Span::new(bad).name().is_err(), "{bad:?}");
    }
}

/// BadTag_OverlongVarint; and ValidDataScalar's `longvarint`, which must be accepted.
#[test]
fn keys_have_five_bytes_at_most_and_values_ten() {
    let key = [0xb0, 0x80, 0x80, 0x80, 0x00, 2];
    assert_eq!(Span::new(&key).kind(), Ok(2));
    let overlong = [0xb0, 0x80, 0x80, 0x80, 0x80, 0x00, 2];
    assert_eq!(Span::new(&overlong).kind(), Err(Malformed::Overlong));
    let value = [0x30, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
    assert_eq!(Span::new(&value).kind(), Ok(2));
    let length = [0x2a, 0x81, 0x80, 0x80, 0x80, 0x00, b'n'];
    assert_eq!(Span::new(&length).name(), Ok("n"));
}

/// ValidDataScalar: 32-bit fields take the low half of longer numbers.
#[test]
fn numbers_are_cut_and_extended_as_protobuf_has_it() {
    let negative = [&[0x30][..], &[0xff; 9], &[1]].concat();
    assert_eq!(Span::new(&negative).kind(), Ok(-1));
    let long = [0x50, 0x81, 0x80, 0x80, 0x80, 0x10];
    assert_eq!(Span::new(&long).dropped_attributes_count(), Ok(1));
    // sint32 2147483647, -2147483648: zigzag.
    for (bytes, scale) in
        [([0xfe, 0xff, 0xff, 0xff, 0x0f], i32::MAX), ([0xff, 0xff, 0xff, 0xff, 0x0f], i32::MIN)]
    {
        let metric = inside(10, inside(1, [&[0x30][..], &bytes].concat()));
        let Ok(Some(MetricData::ExponentialHistogram(data))) = Metric::new(&metric).data() else {
            panic!("it is an exponential histogram");
        };
        assert_eq!(data.points().next().unwrap().unwrap().scale(), Ok(scale));
    }
}

/// RepeatedScalarSelectsLast, ValidDataOneof.MultipleValuesForSameField and DifferentField.
#[test]
fn the_last_value_counts() {
    let span = [inside(5, "a"), vec![0x30, 1], inside(5, "b"), vec![0x30, 3]].concat();
    assert_eq!((Span::new(&span).name(), Span::new(&span).kind()), (Ok("b"), Ok(3)));
    let value = [inside(1, "text"), vec![0x18, 7], vec![0x18, 8]].concat();
    let span = attribute("key", &value);
    let found = Span::new(&span).attributes().get("key").unwrap().unwrap();
    assert_eq!((found.as_i64(), found.as_str()), (Some(8), None));
    let twice = [attribute("key", &[0x18, 1]), attribute("key", &[0x18, 2])].concat();
    let found = Span::new(&twice).attributes().get("key").unwrap().unwrap();
    assert_eq!(found.as_i64(), Some(2));
    let point = [[&[0x21][..], &[0; 8]].concat(), [&[0x31][..], &[1; 8]].concat()].concat();
    let gauge = inside(5, inside(1, point));
    let Ok(Some(MetricData::Gauge(gauge))) = Metric::new(&gauge).data() else { panic!("a gauge") };
    let value = gauge.points().next().unwrap().unwrap().value();
    assert_eq!(value, Ok(Some(Number::Int(0x0101_0101_0101_0101))));
}

/// ValidDataOneof.Message.Merge, and the same for a message field.
/// A short text or an integer is read by itself; whatever is around it has to count all the same.
#[test]
fn a_value_that_begins_as_a_usual_one_is_read_whole() {
    let read = |value: &[u8]| {
        let span = attribute("key", value);
        let value = Span::new(&span).attributes().get("key");
        value.map(|value| value.and_then(|value| value.as_i64()))
    };
    assert_eq!(read(&[0x18, 5]), Ok(Some(5)));
    assert_eq!(read(&[0x18, 0x85, 1]), Ok(Some(133)));
    assert_eq!(read(&[0x18, 5, 0x18, 6]), Ok(Some(6)));
    assert_eq!(read(&[0x18, 5, 0x0a, 1, b'a']), Ok(None), "the text came last");
    assert_eq!(read(&[0x0a, 1, b'a', 0x18, 5]), Ok(Some(5)));
    assert_eq!(read(&[0x18, 5, 0x18]), Err(Malformed::Truncated));
    assert_eq!(read(&[0x18, 0x85]), Err(Malformed::Truncated));
    assert_eq!(read(&[0x0a, 2, b'a']), Err(Malformed::Truncated));
    assert_eq!(read(&[0x0a, 1, 0xff]), Err(Malformed::Utf8));
}

#[test]
fn a_split_message_is_merged() {
    let span = [inside(15, inside(2, "why")), inside(5, "n"), inside(15, [0x18, 2])].concat();
    let status = Span::new(&span).status().unwrap().unwrap();
    assert_eq!((status.message(), status.code()), (Ok("why"), Ok(2)));
    let elements = [5_u8, 6].map(|element| inside(5, inside(1, [0x18, element]))).concat();
    let elements_of = |any_value: &[u8]| {
        let body = inside(5, any_value);
        let Ok(Some(AnyValue::Array(array))) = LogRecord::new(&body).body() else {
            panic!("it is an array");
        };
        array.map(|element| element.unwrap().as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(elements_of(&elements), [5, 6]);
    // Another member between them: what came before it is gone.
    let restarted = [&elements[..], &[0x18, 1], &elements].concat();
    assert_eq!(elements_of(&restarted), [5, 6]);
}

#[test]
fn a_message_split_over_the_parts_of_a_split_message_is_refused() {
    let scattered = [0, 1].map(|_| inside(15, inside(2, "x"))).concat();
    assert!(Span::new(&scattered).status().is_ok(), "that is one level of it");
    let part = |element: u8| inside(5, inside(5, inside(1, [0x18, element])));
    let body = [part(1), part(2)].concat();
    assert!(matches!(LogRecord::new(&body).body(), Err(Malformed::Scattered)));
    // With all parts in the same one it is merged.
    let together = [inside(5, [inside(5, inside(1, [0x18, 1])), vec![]].concat()), inside(5, [])];
    assert!(LogRecord::new(&together.concat()).body().is_ok());
}

/// UnknownVarint and its siblings; groups are unknown fields too.
#[test]
fn what_is_unknown_is_skipped() {
    let unknown = [
        &[0x98, 0x06, 0xff, 0x01][..],
        &[0x99, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x9a, 0x06, 2, 0xff, 0xff],
        &[0x9b, 0x06, 0x08, 1, 0x13, 0x14, 0x9c, 0x06],
        &[0x9d, 0x06, 1, 2, 3, 4],
    ];
    let span = [&unknown.concat()[..], &inside(5, "name"), &unknown.concat()].concat();
    assert_eq!(Span::new(&span).name(), Ok("name"));
    assert_eq!(Span::new(&span[..span.len() - 1]).name(), Err(Malformed::Truncated));
}

#[test]
fn a_known_field_of_another_type_is_refused() {
    assert_eq!(Span::new(&[0x28, 1]).name(), Err(Malformed::Type));
    assert_eq!(Span::new(&[0x32, 0]).kind(), Err(Malformed::Type));
    assert_eq!(Span::new(&[0x2b, 0x2c]).name(), Err(Malformed::Type), "a group");
    assert!(matches!(Span::new(&[0x78, 1]).status(), Err(Malformed::Type)));
    assert!(matches!(Span::new(&[0x48, 1]).attributes().get(""), Err(Malformed::Type)));
}

/// RejectInvalidUtf8.
#[test]
fn a_string_that_is_not_utf8_is_refused_and_bytes_are_not() {
    let span = [inside(5, [0xff]), inside(1, [0xff])].concat();
    assert_eq!(Span::new(&span).name(), Err(Malformed::Utf8));
    assert_eq!(Span::new(&span).trace_id(), Ok(&[0xff][..]));
    let value = attribute("key", &inside(1, [0xff]));
    assert!(matches!(Span::new(&value).attributes().get("key"), Err(Malformed::Utf8)));
    assert!(matches!(Span::new(&value).attributes().get("other"), Ok(None)), "nobody read it");
}

#[test]
fn keys_are_found_however_their_pair_is_written() {
    let value = [0x18, 5];
    let usual = [inside(1, "key"), inside(2, value)].concat();
    let pairs = [
        usual.clone(),
        [inside(2, value), inside(1, "key")].concat(),
        [inside(1, "other"), inside(1, "key"), inside(2, value)].concat(),
        [&usual[..], &[0x18, 9]].concat(),
        [vec![0x0a, 0x83, 0x00], b"key".to_vec(), inside(2, value)].concat(),
        [inside(1, "key"), inside(2, []), inside(2, value)].concat(),
    ];
    for pair in pairs {
        let span = inside(9, &pair);
        let found = Span::new(&span).attributes().get("key").unwrap();
        assert_eq!(found.and_then(|value| value.as_i64()), Some(5), "{pair:?}");
        assert!(Span::new(&span).attributes().get("ke").unwrap().is_none());
    }
    let keyless = inside(9, inside(2, value));
    assert!(Span::new(&keyless).attributes().get("").unwrap().is_some());
    let long = "k".repeat(200);
    let span = attribute(&long, &inside(1, "v".repeat(20_000)));
    let found = Span::new(&span).attributes().get(&long).unwrap().unwrap();
    assert_eq!(found.as_str().unwrap().len(), 20_000);
}

#[test]
fn messages_nest_to_a_bound() {
    let depth = |arrays: usize| {
        let value = (0..arrays).fold(Vec::new(), |value, _| inside(5, inside(1, value)));
        let body = inside(5, value);
        let mut value = LogRecord::new(&body).body()?.unwrap();
        let mut depth = 0;
        while let AnyValue::Array(mut array) = value {
            let Some(element) = array.next() else { break };
            value = element?;
            depth += 1;
        }
        Ok(depth)
    };
    // The body, then two messages for each array.
    let deepest = (usize::from(DEPTH_MAX) - 1) / 2;
    assert_eq!(depth(deepest), Ok(deepest));
    assert_eq!(depth(deepest + 1), Err(Malformed::Depth));
}

#[test]
fn a_request_leads_to_its_resources_scopes_and_records() {
    let scope = [inside(1, inside(1, "lib")), inside(2, inside(5, "a")), inside(3, "url")].concat();
    let resource = [inside(1, [0x10, 3]), inside(2, scope), inside(3, "URL")].concat();
    let request = inside(1, resource);
    let resource = Request::traces(&request).resources().next().unwrap().unwrap();
    assert_eq!(resource.schema_url(), Ok("URL"));
    assert_eq!(resource.resource().unwrap().unwrap().dropped_attributes_count(), Ok(3));
    let scope = resource.scopes().next().unwrap().unwrap();
    assert_eq!(
        (scope.schema_url(), scope.scope().unwrap().unwrap().name()),
        (Ok("url"), Ok("lib"))
    );
    assert_eq!(scope.records().next().unwrap().unwrap().name(), Ok("a"));
}
