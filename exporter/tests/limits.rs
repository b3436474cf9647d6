//! The limits of attributes, from the builder and the environment to what arrives.

mod support;

use opentelemetry::KeyValue;
use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::trace::{Span as _, Tracer, TracerProvider as _};
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use spanwire::direct::{self, Resource, Scope, Spans};
use spanwire::{Builder, Duplicates};

use support::Collector;
use support::otel::{LONG, builder, logger_provider, provider};

/// The span that arrives if one with `attributes` ends, and so does its event.
fn span_with(
    attributes: &[(&'static str, &'static str)],
    configure: impl FnOnce(Builder) -> Builder,
) -> Span {
    let collector = Collector::start();
    let exporter = configure(builder(&collector.endpoint()).0).build().unwrap();
    let provider = provider(&exporter, "a-service-with-a-long-name");
    let attributes = || attributes.iter().map(|(key, value)| KeyValue::new(*key, *value));
    let mut span = provider.tracer("test").start("span");
    span.set_attributes(attributes());
    span.add_event("event", attributes().collect());
    span.end();
    exporter.flush(LONG).unwrap();
    let received = collector.spans().remove(0);
    assert!(received.service.contains("a-service-with-a-long-name"), "resources are exempt");
    received.span
}

fn text(value: &Option<common::AnyValue>) -> &str {
    match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}

fn texts(attributes: &[common::KeyValue]) -> Vec<(&str, &str)> {
    attributes.iter().map(|kv| (kv.key.as_str(), text(&kv.value))).collect()
}

const ATTRIBUTES: [(&str, &str); 4] = [("a", "one"), ("b", "two"), ("a", "three"), ("c", "four")];

#[test]
fn nothing_is_cut_by_default_and_keys_are_unique() {
    let span = span_with(&ATTRIBUTES, |builder| builder);
    let expected = [("b", "two"), ("a", "three"), ("c", "four")];
    assert_eq!(texts(&span.attributes), expected);
    assert_eq!(texts(&span.events[0].attributes), expected);
    assert_eq!((span.dropped_attributes_count, span.events[0].dropped_attributes_count), (0, 0));
}

#[test]
fn equal_keys_stay_where_that_is_asked_for() {
    let keep = |builder: Builder| builder.duplicate_attributes(Duplicates::Keep);
    assert_eq!(texts(&span_with(&ATTRIBUTES, keep).attributes), ATTRIBUTES);
}

#[test]
fn code_limits_count_and_length_of_spans_and_events() {
    let configure = |builder: Builder| {
        builder
            .attribute_count_max(2)
            .event_attribute_count_max(1)
            .span_attribute_value_len_max(3)
            .env_from(|name| (name == "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT").then(|| "1".to_owned()))
    };
    let span = span_with(&ATTRIBUTES, configure);
    // One after another: c finds no room; of equal keys the first gives its place to the last.
    assert_eq!(texts(&span.attributes), [("b", "two"), ("a", "thr")]);
    assert_eq!(span.dropped_attributes_count, 1);
    assert_eq!(texts(&span.events[0].attributes), [("a", "thr")]);
    assert_eq!(span.events[0].dropped_attributes_count, 2);
}

#[test]
fn the_environment_limits_where_code_says_nothing() {
    let configure = |builder: Builder| {
        builder.env_from(|name| match name {
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT" => Some("1".to_owned()),
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" => Some("1".to_owned()),
            _ => None,
        })
    };
    let span = span_with(&ATTRIBUTES, configure);
    assert_eq!((texts(&span.attributes), span.dropped_attributes_count), (vec![("a", "t")], 2));
    assert_eq!(span.events[0].attributes.len(), 3);
}

#[test]
fn a_log_record_keeps_128_attributes_and_all_of_its_body() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.attribute_value_len_max(2).build().unwrap();
    let logger = logger_provider(&exporter, "service").logger("test");
    let mut record = logger.create_log_record();
    record.set_body("a long message".into());
    (0..200).for_each(|index| record.add_attribute(format!("key.{index}"), "value"));
    logger.emit(record);
    exporter.flush(LONG).unwrap();
    let record = collector.logs().remove(0).record;
    assert_eq!((record.attributes.len(), record.dropped_attributes_count), (128, 72));
    assert_eq!((text(&record.body), text(&record.attributes[0].value)), ("a long message", "va"));
}

#[test]
fn plain_data_is_cut_as_the_specification_says() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let names: Vec<_> = (0..200).map(|index| format!("key.{index}")).collect();
    let attributes: Vec<_> =
        names.iter().map(|name| direct::Attribute::new(name, "value")).collect();
    let resource = [direct::Attribute::new("service.name", "shop")];
    let scope = Scope::new("cart", "1.2");
    let spans = Spans::new(&exporter, &Resource::new(&resource), &scope);
    let mut span = direct::Span::new([1; 16], [2; 8], "span");
    (span.attributes, span.dropped_attributes) = (&attributes, 1);
    spans.end(&span);
    spans.flush(LONG).unwrap();
    let received = collector.spans().remove(0);
    let span = received.span;
    assert_eq!((span.attributes.len(), span.dropped_attributes_count), (128, 73));
    assert!(received.service.contains("shop"), "{}", received.service);
    assert_eq!(received.scope, "cart");
    exporter.shutdown(LONG).unwrap();
    spans.end(&direct::Span::new([1; 16], [2; 8], "late"));
    assert_eq!(exporter.stats().dropped.after_shutdown, 1);
}
