//! fastrace, whose reporter hands finished spans to opentelemetry-otlp.
//!
//! Its values are strings, all of them. It reports once a second by default, and buffers until
//! then; the closed loop would wait for that, so it reports every few milliseconds here.

use std::{borrow::Cow, time::Duration};

use fastrace::{
    Event, Span,
    collector::{Config, SpanContext},
};
use fastrace_opentelemetry::OpenTelemetryReporter;
use opentelemetry::InstrumentationScope;

use super::{
    Counts, Peer, Settings, Subject,
    otlp::{self, Client},
    outcomes::Outcomes,
};
use crate::{
    drive::{Ids, Producer},
    shape::{Attribute, Plain, Shape},
    span::{EVENT_KEY, EVENT_NAME, NAME, SCOPE_NAME, VARIANTS},
};

pub(super) fn open(settings: &Settings) -> Result<Subject, String> {
    let exporter = otlp::span_exporter(Client::Reqwest, settings)?;
    let outcomes = exporter.outcomes.clone();
    let scope = InstrumentationScope::builder(SCOPE_NAME).build();
    let reporter =
        OpenTelemetryReporter::new(exporter, Cow::Owned(settings.resource.clone()), scope);
    fastrace::set_reporter(reporter, Config::default().report_interval(REPORT_INTERVAL));
    let shape = settings.shape;
    Ok(Subject::new(move || FastraceMaker::new(shape), Fastrace(outcomes)))
}

struct FastraceMaker {
    shape: Shape,
    variants: Vec<Vec<(&'static str, Text)>>,
    made: usize,
}

/// As fastrace wants it: what is a literal stays one, what is not is made anew for each span.
#[derive(Clone)]
enum Text {
    Literal(&'static str),
    Built(String),
}

impl FastraceMaker {
    fn new(shape: Shape) -> Self {
        let texts = |variant| shape.span_attributes(variant).into_iter().map(text).collect();
        Self { shape, variants: (0..VARIANTS).map(texts).collect(), made: 0 }
    }

    fn emit(&mut self) {
        let variant = self.made % VARIANTS;
        self.made += 1;
        let span = Span::root(NAME, SpanContext::random())
            .with_properties(|| self.variants[variant].iter().map(property));
        if self.shape.has_event() {
            let shard = (variant % 8).to_string();
            span.add_event(Event::new(EVENT_NAME).with_properties(|| {
                [
                    (Cow::Borrowed("cache.key"), Cow::Borrowed(EVENT_KEY)),
                    (Cow::Borrowed("cache.shard"), Cow::Owned(shard)),
                ]
            }));
        }
    }
}

impl Producer for FastraceMaker {
    /// The ids are fastrace's own; nobody asks for them here.
    fn burst(&mut self, records: u64, _: &mut Ids) -> u64 {
        for _ in 0..records {
            self.emit();
        }
        records
    }
}

fn text(attribute: Attribute) -> (&'static str, Text) {
    let value = match attribute.value {
        Plain::Literal(text) => Text::Literal(text),
        Plain::Built(text) => Text::Built(text),
        Plain::Int(value) => Text::Built(value.to_string()),
        Plain::Bool(value) => Text::Literal(if value { "true" } else { "false" }),
        Plain::Double(value) => Text::Built(value.to_string()),
    };
    (attribute.key, value)
}

fn property((key, value): &(&'static str, Text)) -> (Cow<'static, str>, Cow<'static, str>) {
    let value = match value {
        Text::Literal(text) => Cow::Borrowed(*text),
        Text::Built(text) => Cow::Owned(text.clone()),
    };
    (Cow::Borrowed(key), value)
}

struct Fastrace(Outcomes);

impl Peer for Fastrace {
    fn settled(&self) -> u64 {
        self.0.settled()
    }

    fn counts(&self) -> Counts {
        self.0.counts("reqwest")
    }

    fn flush(&self, _: Duration) -> Result<(), String> {
        fastrace::flush();
        Ok(())
    }

    fn shutdown(&self, timeout: Duration) -> Result<(), String> {
        self.flush(timeout)
    }
}

/// At 100 000 spans a second 500 spans, as the other peers' batches.
const REPORT_INTERVAL: Duration = Duration::from_millis(5);
