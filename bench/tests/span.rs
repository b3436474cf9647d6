//! The span of all figures is the one that peers are measured with.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry::{Context, Value, trace::SpanKind};
use opentelemetry_proto::tonic::trace::v1 as proto;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, Span, SpanData, SpanProcessor},
};
use prost::Message as _;
use spanwire_bench::{
    span::{self, SpanMaker},
    timed::{Timed, Timings},
};

#[derive(Debug, Default, Clone)]
struct Keep(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Keep {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Emits `count` spans; returns the ids that the maker told, and the spans.
fn emit(count: usize, timings: &Timings) -> (Vec<u64>, Vec<SpanData>) {
    let keep = Keep::default();
    let provider = SdkTracerProvider::builder()
        .with_resource(span::resource())
        .with_span_processor(Timed::new(keep.clone(), timings.clone()))
        .build();
    let mut maker = SpanMaker::new(&provider);
    let ids = (0..count).map(|_| maker.emit()).collect();
    let spans = std::mem::take(&mut *keep.0.lock().unwrap());
    (ids, spans)
}

#[test]
fn the_span_has_the_shape_and_the_size_that_all_figures_are_about() {
    assert_eq!(span::resource().len(), 6);
    for span in emit(70, &Timings::default()).1 {
        assert_eq!((span.name.len(), span.span_kind.clone()), (20, SpanKind::Server));
        assert!(span.parent_span_is_remote);
        assert_eq!((span.events.len(), span.events[0].attributes.len()), (1, 2));
        let strings = span.attributes.iter().filter_map(|attribute| match &attribute.value {
            Value::String(text) => Some(text.as_str().len()),
            _ => None,
        });
        assert!(strings.clone().all(|length| (5..=40).contains(&length)));
        assert_eq!((span.attributes.len(), strings.count()), (10, 5));
        let encoded = proto::Span::from(span).encoded_len();
        assert!((534..=542).contains(&encoded), "{encoded} bytes");
    }
}

#[test]
fn the_maker_tells_the_id_of_each_span() {
    let (ids, spans) = emit(10, &Timings::default());
    let ended = spans.iter().map(|span| u64::from_be_bytes(span.span_context.span_id().to_bytes()));
    assert_eq!(ids, ended.collect::<Vec<_>>());
}

#[test]
fn every_end_is_timed() {
    let timings = Timings::default();
    emit(10, &timings);
    assert_eq!(timings.count(), 10);
    assert!(timings.percentiles().mean > 0.0);
}
