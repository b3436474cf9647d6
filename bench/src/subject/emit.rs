//! emit with emit_otlp, an exporter that shares no code with OpenTelemetry's: spans are written to
//! its OTLP queue directly, without the ambient context and the templates of its macros, which cost
//! more. emit has no events of spans (they are log records there), so its spans have none.

use std::{
    ops::ControlFlow,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use emit::{
    Emitter as _, Props, Str, Timestamp, Value,
    metric::{Source as _, sampler},
    span::{Span, SpanCtxt, SpanId, SpanKind, TraceId},
};
use emit_otlp::Otlp;

use super::{Counts, Peer, Settings, Subject};
use crate::{
    drive::{Ids, Producer},
    shape::{Attribute, Plain, Shape},
    span::{NAME, SCOPE_NAME, VARIANTS},
};

pub(super) fn open(settings: &Settings) -> Result<Subject, String> {
    let url = settings.url().ok_or("emit_otlp needs an endpoint")?;
    let resource: Vec<(String, String)> =
        settings.resource.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let otlp = emit_otlp::new()
        .resource(resource.as_slice())
        .traces(emit_otlp::traces_proto(emit_otlp::http(url)))
        .spawn();
    let shared = Arc::new(Shared { otlp, emitted: AtomicU64::new(0) });
    let (peer, shape) = (Emit(Arc::clone(&shared)), settings.shape);
    Ok(Subject::new(move || EmitMaker::new(Arc::clone(&shared), shape), peer))
}

struct Shared {
    otlp: Otlp,
    emitted: AtomicU64,
}

struct EmitMaker {
    shared: Arc<Shared>,
    variants: Vec<Vec<Attribute>>,
    ids: fastrand::Rng,
    made: usize,
}

impl EmitMaker {
    fn new(shared: Arc<Shared>, shape: Shape) -> Self {
        Self {
            shared,
            variants: (0..VARIANTS).map(|variant| shape.span_attributes(variant)).collect(),
            ids: fastrand::Rng::new(),
            made: 0,
        }
    }

    fn emit(&mut self) -> u64 {
        let attributes = &self.variants[self.made % VARIANTS];
        self.made += 1;
        let (start, id) = (now(), self.ids.u64(1..));
        let context = SpanCtxt::new(
            TraceId::from_u128(self.ids.u128(1..)),
            SpanId::from_u64(PARENT),
            SpanId::from_u64(id),
        );
        let span = Span::new(SCOPE, start..now(), Fields { context, attributes })
            .with_name(NAME)
            .with_kind(SpanKind::Server);
        self.shared.otlp.emit(span);
        id
    }
}

impl Producer for EmitMaker {
    fn burst(&mut self, records: u64, ids: &mut Ids) -> u64 {
        for _ in 0..records {
            ids.add(self.emit());
        }
        // Ordering: Relaxed, as all counts of the pace.
        self.shared.emitted.fetch_add(records, Ordering::Relaxed);
        records
    }

    /// Asking for the length of its queue takes some microseconds.
    fn burst_len(&self) -> u64 {
        512
    }
}

/// The properties of one span, without a copy.
struct Fields<'a> {
    context: SpanCtxt,
    attributes: &'a [Attribute],
}

impl Props for Fields<'_> {
    fn for_each<'kv, F: FnMut(Str<'kv>, Value<'kv>) -> ControlFlow<()>>(
        &'kv self,
        mut each: F,
    ) -> ControlFlow<()> {
        self.context.for_each(&mut each)?;
        for attribute in self.attributes {
            each(Str::new(attribute.key), value(&attribute.value))?;
        }
        ControlFlow::Continue(())
    }
}

fn value(value: &Plain) -> Value<'_> {
    match value {
        Plain::Literal(text) => Value::from(*text),
        Plain::Built(text) => Value::from(text.as_str()),
        Plain::Int(value) => Value::from(*value),
        Plain::Bool(value) => Value::from(*value),
        Plain::Double(value) => Value::from(*value),
    }
}

fn now() -> Option<Timestamp> {
    Timestamp::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).ok()?)
}

struct Emit(Arc<Shared>);

impl Emit {
    /// A figure of emit_otlp about itself, by the end of its name.
    fn figure(&self, name: &str) -> u64 {
        let figure = AtomicU64::new(0);
        self.0.otlp.metric_source().sample_metrics(sampler::from_fn(|metric| {
            if metric.name().is_some_and(|found| found.get().ends_with(name)) {
                let value = metric.value().and_then(|value| value.cast::<u64>());
                // Ordering: Relaxed, this thread's own.
                figure.store(value.unwrap_or(0), Ordering::Relaxed);
            }
        }));
        figure.load(Ordering::Relaxed)
    }
}

impl Peer for Emit {
    /// What is in its queue no more: it takes the whole queue for a batch, so one batch is counted
    /// as settled while it is sent.
    fn settled(&self) -> u64 {
        let emitted = self.0.emitted.load(Ordering::Relaxed);
        emitted.saturating_sub(self.figure("queue_length"))
    }

    /// It counts batches, not spans: while none failed, all of them arrived.
    fn counts(&self) -> Counts {
        let emitted = self.0.emitted.load(Ordering::Relaxed);
        let failed = self.figure("http_batch_failed") + self.figure("queue_full_truncated");
        let delivered = if failed == 0 { emitted } else { 0 };
        Counts { delivered, driver: "hyper".into(), ..Counts::default() }
    }

    fn flush(&self, timeout: Duration) -> Result<(), String> {
        let flushed = self.0.otlp.blocking_flush(timeout);
        if flushed { Ok(()) } else { Err("emit_otlp did not flush".to_owned()) }
    }

    fn shutdown(&self, timeout: Duration) -> Result<(), String> {
        self.flush(timeout)
    }
}

const SCOPE: emit::Path<'static> = emit::Path::new_raw(SCOPE_NAME);
/// As the parent of all spans.
const PARENT: u64 = 0x00f0_67aa_0ba9_02b7;
