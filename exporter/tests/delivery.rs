//! What ends, arrives: once, whole, under its own resource and scope.

mod support;

use std::time::{Duration, Instant};

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample,
};
use spanwire::otel_0_33::SpanProcessor;

use support::otel::{LONG, assert_balanced, builder, drivers, end_spans, provider};
use support::{Collector, Reply, dead_address};

#[test]
fn every_span_arrives_exactly_once_over_both_drivers() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint()).0.io(io).build().unwrap();
        let provider = provider(&exporter, "service");
        let ended = end_spans(&provider, 5_000);
        exporter.flush(LONG).unwrap();
        let ids = collector.ids();
        assert_eq!(ids.len(), ended.len());
        assert!(ended.iter().all(|id| ids.get(id) == Some(&1)));
        let stats = exporter.stats();
        assert_balanced(&stats, ended.len());
        assert_eq!((stats.delivered, stats.in_flight), (5_000, 0));
    }
}

#[test]
fn spans_arrive_without_a_flush_once_they_are_old_enough() {
    let collector = Collector::start();
    let exporter =
        builder(&collector.endpoint()).0.batch_age(Duration::from_millis(20)).build().unwrap();
    let provider = provider(&exporter, "service");
    for round in 1..=3 {
        end_spans(&provider, 2);
        collector.wait_for_spans(2 * round);
    }
}

#[test]
fn a_full_batch_leaves_before_it_is_old() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint())
        .0
        .batch_age(Duration::from_secs(3600))
        .batch_bytes(64 << 10)
        .build()
        .unwrap();
    let provider = provider(&exporter, "service");
    // Enough bytes to seal several chunks of 64 KiB.
    end_spans(&provider, 10_000);
    collector.wait_for_requests(1);
}

#[test]
fn a_span_arrives_with_every_field_it_had() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    let scope = InstrumentationScope::builder("library")
        .with_version("1.2.3")
        .with_schema_url("https://example.com/schema")
        .with_attributes([KeyValue::new("scope.key", "scope value")])
        .build();
    let tracer = provider.tracer_with_scope(scope);
    let linked =
        SpanContext::new(7_u128.into(), 9_u64.into(), Default::default(), true, TraceState::NONE);
    let parent = tracer.start("parent");
    let parent_id = parent.span_context().span_id();
    let cx = Context::new().with_span(parent);
    let mut span = tracer
        .span_builder("child")
        .with_kind(SpanKind::Client)
        .with_attributes([
            KeyValue::new("text", "ünï\u{10FFFF}"),
            KeyValue::new("empty", ""),
            KeyValue::new("zero", 0),
            KeyValue::new("float", 1.5),
            KeyValue::new("yes", true),
        ])
        .with_links(vec![Link::new(linked, vec![KeyValue::new("link", 1)], 0)])
        .start_with_context(&tracer, &cx);
    span.add_event("event", vec![KeyValue::new("event.key", "v")]);
    span.set_status(Status::error("went wrong"));
    span.end();
    exporter.flush(LONG).unwrap();

    let spans = collector.spans();
    let child = &spans.iter().find(|received| received.span.name == "child").unwrap().span;
    assert_eq!(child.parent_span_id, parent_id.to_bytes());
    assert_eq!(child.kind, 3);
    assert_eq!(child.attributes.len(), 5);
    assert_eq!(child.links[0].trace_id, 7_u128.to_be_bytes());
    assert_eq!(child.links[0].attributes[0].key, "link");
    assert_eq!(child.events[0].name, "event");
    let status = child.status.as_ref().unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "went wrong"));
    assert!(
        child.start_time_unix_nano > 0 && child.end_time_unix_nano >= child.start_time_unix_nano
    );
    assert!(spans.iter().all(|received| received.scope == "library"));
}

#[test]
fn two_resources_in_one_exporter_never_share_a_request() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let (first, second) = (provider(&exporter, "first"), provider(&exporter, "second"));
    let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
    for _ in 0..50 {
        of_first.extend(end_spans(&first, 3));
        of_second.extend(end_spans(&second, 2));
    }
    exporter.flush(LONG).unwrap();
    let spans = collector.spans();
    let arrived = |service: &str| -> Vec<_> {
        let of_service = spans.iter().filter(|received| received.service.contains(service));
        of_service.map(|received| received.span.span_id.clone()).collect()
    };
    // The collector asserts that a request has one resource; a thread's order is kept.
    assert_eq!((arrived("first"), arrived("second")), (of_first, of_second));
}

#[test]
fn two_exporters_in_one_process_never_mix() {
    let collectors = [Collector::start(), Collector::start()];
    let exporters =
        collectors.each_ref().map(|collector| builder(&collector.endpoint()).0.build().unwrap());
    let providers = exporters.each_ref().map(|exporter| provider(exporter, "service"));
    let mut ended = [Vec::new(), Vec::new()];
    for _ in 0..100 {
        for (ended, provider) in ended.iter_mut().zip(&providers) {
            ended.extend(end_spans(provider, 1));
        }
    }
    for ((collector, exporter), ended) in collectors.iter().zip(&exporters).zip(&ended) {
        exporter.flush(LONG).unwrap();
        let arrived: Vec<_> =
            collector.spans().into_iter().map(|received| received.span.span_id).collect();
        assert_eq!(&arrived, ended);
    }
}

#[test]
fn sixty_four_threads_that_come_and_go_lose_nothing() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    for _ in 0..4 {
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| end_spans(&provider, 100));
            }
        });
    }
    exporter.flush(LONG).unwrap();
    assert_eq!(collector.ids().len(), 6_400);
    assert_balanced(&exporter.stats(), 6_400);
}

#[test]
fn an_unsampled_and_a_record_only_span_are_ignored() {
    #[derive(Clone, Debug)]
    struct RecordOnly;
    impl ShouldSample for RecordOnly {
        fn should_sample(
            &self,
            _: Option<&Context>,
            _: opentelemetry::TraceId,
            _: &str,
            _: &SpanKind,
            _: &[KeyValue],
            _: &[Link],
        ) -> SamplingResult {
            SamplingResult {
                decision: SamplingDecision::RecordOnly,
                attributes: Vec::new(),
                trace_state: TraceState::NONE,
            }
        }
    }
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let with = |sampler: Box<dyn ShouldSample>| {
        SdkTracerProvider::builder()
            .with_sampler(Boxed(sampler))
            .with_span_processor(SpanProcessor::new(&exporter))
            .build()
    };
    #[derive(Clone, Debug)]
    struct Boxed(Box<dyn ShouldSample>);
    impl ShouldSample for Boxed {
        fn should_sample(
            &self,
            parent: Option<&Context>,
            trace_id: opentelemetry::TraceId,
            name: &str,
            kind: &SpanKind,
            attributes: &[KeyValue],
            links: &[Link],
        ) -> SamplingResult {
            self.0.should_sample(parent, trace_id, name, kind, attributes, links)
        }
    }
    end_spans(&with(Box::new(Sampler::AlwaysOff)), 3);
    end_spans(&with(Box::new(RecordOnly)), 3);
    exporter.flush(LONG).unwrap();
    assert_eq!(collector.requests(), 0);
    assert_balanced(&exporter.stats(), 0);
}

#[test]
fn three_hundred_attributes_and_every_unicode_plane_arrive() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let limits =
        opentelemetry_sdk::trace::SpanLimits { max_attributes_per_span: 400, ..Default::default() };
    let provider = SdkTracerProvider::builder()
        .with_span_limits(limits)
        .with_span_processor(SpanProcessor::new(&exporter))
        .build();
    let planes: Vec<char> =
        (0..17).filter_map(|plane| char::from_u32(plane * 0x1_0000 + 0x41)).collect();
    let attributes: Vec<_> = (0..300)
        .map(|index| {
            KeyValue::new(format!("key {index}"), planes[index % planes.len()].to_string())
        })
        .collect();
    let tracer = provider.tracer("test");
    tracer.span_builder("wide").with_attributes(attributes.clone()).start(&tracer).end();
    exporter.flush(LONG).unwrap();
    let arrived = &collector.spans()[0].span.attributes;
    let keys: Vec<_> = arrived.iter().map(|attribute| attribute.key.as_str()).collect();
    let expected: Vec<_> = attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(keys, expected);
    for (arrived, sent) in arrived.iter().zip(&attributes) {
        let value = format!("{:?}", arrived.value);
        assert!(value.contains(&format!("{:?}", sent.value.as_str())), "{value}");
    }
}

/// Ends a span with a value of so many characters, and a small one.
fn end_huge(provider: &SdkTracerProvider, characters: usize) {
    let tracer = provider.tracer("test");
    let huge = KeyValue::new("huge", "x".repeat(characters));
    tracer.span_builder("huge").with_attributes([huge]).start(&tracer).end();
    end_spans(provider, 1);
}

#[test]
fn a_span_larger_than_a_chunk_arrives_whole() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    end_huge(&provider(&exporter, "service"), 1 << 20);
    exporter.flush(LONG).unwrap();
    let spans = collector.spans();
    assert_eq!(spans.len(), 2);
    let huge = spans.iter().find(|received| received.span.name == "huge").unwrap();
    let value = format!("{:?}", huge.span.attributes[0].value);
    assert_eq!(value.matches('x').count(), 1 << 20);
    assert_balanced(&exporter.stats(), 2);
}

#[test]
fn a_span_larger_than_a_request_is_a_counted_drop_and_the_next_one_arrives() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    end_huge(&provider(&exporter, "service"), 4 << 20);
    exporter.flush(LONG).unwrap();
    assert_eq!(collector.spans().len(), 1);
    let stats = exporter.stats();
    assert_eq!(stats.dropped.oversize, 1);
    assert_balanced(&stats, 2);
}

#[test]
fn the_resource_and_its_schema_url_arrive() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let resource = Resource::builder_empty()
        .with_schema_url([KeyValue::new("service.name", "shop")], "https://example.com/resource")
        .build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(SpanProcessor::new(&exporter))
        .build();
    end_spans(&provider, 1);
    exporter.flush(LONG).unwrap();
    assert!(collector.spans()[0].service.contains("shop"));
}

#[test]
fn configured_headers_and_our_own_user_agent_are_sent() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.header("x-api-key", "secret").build().unwrap();
    end_spans(&provider(&exporter, "service"), 1);
    exporter.flush(LONG).unwrap();
    let head = collector.heads().remove(0).to_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("x-api-key: secret\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    let version = env!("CARGO_PKG_VERSION");
    let agent = format!("user-agent: spanwire/{version} otel-otlp-exporter-rust/{version}\r\n");
    assert!(head.contains(&agent), "{head}");
}

#[test]
fn two_scopes_that_alternate_need_no_more_room_than_one() {
    let refused = |scopes: &[&'static str]| {
        let exporter = builder(&format!("http://{}", dead_address())).0.build().unwrap();
        let provider = provider(&exporter, "service");
        let tracers: Vec<_> = scopes.iter().map(|scope| provider.tracer(*scope)).collect();
        for tracer in tracers.iter().cycle().take(40_000) {
            let padding = KeyValue::new("padding", "x".repeat(200));
            tracer.span_builder("span").with_attributes([padding]).start(tracer).end();
        }
        let refused = exporter.stats().dropped.queue_full;
        assert!(exporter.shutdown(Duration::ZERO).is_err());
        refused
    };
    assert_eq!((refused(&["one"]), refused(&["one", "two"])), (0, 0));
}

#[test]
fn a_small_buffer_is_emptied_before_it_is_full_whatever_the_batch() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint())
        .0
        .buffer_bytes(1 << 20)
        .batch_bytes(64 << 20)
        .batch_age(Duration::from_secs(3600))
        .build()
        .unwrap();
    let provider = provider(&exporter, "service");
    let mut emitted = 0;
    // Several times what fits, without a flush.
    for _ in 0..40 {
        emitted += end_spans(&provider, 1_000).len();
        // Less than the buffer holds, and more than what has to be sent without being asked for.
        let patience = Instant::now() + support::PATIENCE;
        while exporter.stats().in_flight > 7_000 {
            assert!(Instant::now() < patience, "{:?}", exporter.stats());
            std::thread::yield_now();
        }
    }
    assert!(collector.requests() > 0);
    exporter.flush(LONG).unwrap();
    assert_balanced(&exporter.stats(), emitted);
    assert_eq!(exporter.stats().dropped.total(), 0);
}

#[test]
fn requests_share_a_connection_and_concurrent_ones_do_not() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    for _ in 0..5 {
        end_spans(&provider, 1);
        exporter.flush(LONG).unwrap();
    }
    assert_eq!((collector.requests(), collector.connections()), (5, 1));
}

#[test]
fn as_many_requests_are_in_flight_as_configured() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let collector = Collector::concurrent(move |_| {
        let _ = held.lock().unwrap().recv();
        Reply::Accept
    });
    let exporter = builder(&collector.endpoint()).0.in_flight(3).batch_records(1).build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 5);
    assert!(exporter.flush(Duration::ZERO).is_err());
    collector.wait_for_requests_begun(3);
    (0..5).for_each(|_| release.send(()).unwrap());
    exporter.flush(LONG).unwrap();
    assert_eq!((collector.requests(), collector.connections()), (5, 3));
}

/// Requests to a distant collector begin apart (docs/decisions/029).
#[test]
fn what_waits_for_company_is_sent_though_nothing_else_happens() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let collector = Collector::concurrent(move |number| {
        match number {
            // So far away is it, for all that the exporter knows.
            0 => std::thread::sleep(Duration::from_millis(200)),
            _ => drop(held.lock().unwrap().recv()),
        }
        Reply::Accept
    });
    let age = Duration::from_millis(10);
    let exporter = builder(&collector.endpoint()).0.in_flight(2).batch_age(age).build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 1);
    exporter.flush(LONG).unwrap();
    for begun in [2, 3] {
        end_spans(&provider, 1);
        collector.wait_for_requests_begun(begun);
    }
    (0..2).for_each(|_| release.send(()).unwrap());
    exporter.flush(LONG).unwrap();
    assert_eq!((collector.requests(), collector.connections()), (3, 2));
    assert_balanced(&exporter.stats(), 3);
}

#[test]
fn a_span_that_is_too_large_even_for_the_buffer_is_told_and_counted() {
    let collector = Collector::start();
    // Longer than a request, and longer than the half of the buffer that long records have.
    for (request_bytes, span_bytes) in [(100_000, 200_000), (4 << 20, 600_000)] {
        let (builder, diagnostics) = builder(&collector.endpoint());
        let exporter =
            builder.buffer_bytes(1 << 20).request_bytes_max(request_bytes).build().unwrap();
        let provider = provider(&exporter, "service");
        let tracer = provider.tracer("test");
        let large = KeyValue::new("large", "x".repeat(span_bytes));
        tracer.span_builder("large").with_attributes([large]).start(&tracer).end();
        exporter.flush(LONG).unwrap();
        assert_eq!(exporter.stats().dropped.oversize, 1);
        assert_balanced(&exporter.stats(), 1);
        let told = diagnostics.of_kind("Oversize:");
        assert!(told.len() == 1 && told[0].contains("Builder::buffer_bytes"), "{told:?}");
    }
}

#[test]
fn a_span_above_the_request_limit_is_a_counted_drop() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.request_bytes_max(1 << 10).build().unwrap();
    let provider = provider(&exporter, "service");
    let tracer = provider.tracer("test");
    let large = KeyValue::new("large", "x".repeat(2 << 10));
    tracer.span_builder("large").with_attributes([large]).start(&tracer).end();
    end_spans(&provider, 1);
    assert!(exporter.flush(LONG).is_err());
    assert_eq!(exporter.stats().dropped.oversize, 1);
    assert_balanced(&exporter.stats(), 2);
    assert_eq!(collector.spans().len(), 1);
}
