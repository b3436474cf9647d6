//! Spans through the SDK: what a processor adds to them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter},
};

use super::row::Peer;
use crate::{
    compare::samples::Samples,
    measure,
    shape::Signal,
    sink::SinkProcess,
    span::{self, SpanMaker},
    subject::{self, Peer as _, Settings, Telemetry},
    timed::{Timed, Timings},
};

/// The CPU time that the processor of `peer` adds to the typical span over one that drops it, for
/// the thread that ends the span; then the percentiles of single calls of `on_end`, which include
/// reading the clock.
///
/// Blocks of spans go in turn to a provider with the processor and to one with the other. A thread
/// pauses between blocks, uncounted, while the exporter is behind, so that nothing is dropped.
///
/// # Errors
///
/// When the exporter or its receiver cannot be started; the text tells.
pub fn measure(peer: Peer, threads: usize, samples: Samples) -> Result<Vec<f64>, String> {
    let sink = SinkProcess::start(None)?;
    let timings = Timings::default();
    let noop = subject::dropping(&settings(&sink, None));
    let plain = open(peer, &settings(&sink, None))?;
    let timed = open(peer, &settings(&sink, Some(timings.clone())))?;
    let added = on_threads(threads, || added(&plain, &noop, samples.clone()));
    on_threads(threads, || call(&timed, samples.clone()));
    if [&plain, &timed].iter().any(|side| (side.dropped)() > 0) {
        return Err("spans were dropped: the figures are not those of spans that are kept".into());
    }
    let calls = timings.percentiles();
    let mean = added.iter().sum::<f64>() / threads as f64;
    Ok([&[mean][..], &[calls.p50, calls.p99, calls.p999].map(|nanos| nanos as f64)].concat())
}

/// A provider, and what became of its spans.
struct Side {
    provider: SdkTracerProvider,
    settled: Box<dyn Fn() -> u64 + Send + Sync>,
    dropped: Box<dyn Fn() -> u64 + Send + Sync>,
    emitted: AtomicU64,
}

fn settings(sink: &SinkProcess, timings: Option<Timings>) -> Settings {
    Settings {
        timings,
        outstanding: OUTSTANDING,
        ..Settings::new(Some(sink.endpoint().to_owned()), span::resource())
    }
}

fn open(peer: Peer, settings: &Settings) -> Result<Side, String> {
    if peer == Peer::SdkBatch {
        return Ok(sdk_batch(settings));
    }
    let peer = Arc::new(Telemetry::open(settings, &[Signal::Traces], Duration::MAX)?);
    let of = Arc::clone(&peer);
    Ok(Side {
        provider: peer.traces(),
        settled: Box::new(move || peer.settled()),
        dropped: Box::new(move || of.counts().dropped),
        emitted: AtomicU64::new(0),
    })
}

fn sdk_batch(settings: &Settings) -> Side {
    let exported = Arc::new(AtomicU64::new(0));
    let config = BatchConfigBuilder::default().with_max_queue_size(2 * OUTSTANDING as usize);
    let processor = BatchSpanProcessor::builder(Discard(Arc::clone(&exported)))
        .with_batch_config(config.build())
        .build();
    let builder = SdkTracerProvider::builder().with_resource(settings.resource.clone());
    let builder = match &settings.timings {
        Some(timings) => builder.with_span_processor(Timed::new(processor, timings.clone())),
        None => builder.with_span_processor(processor),
    };
    Side {
        provider: builder.build(),
        // Ordering: Relaxed, a mere counter: nothing is read on the strength of it.
        settled: Box::new(move || exported.load(Relaxed)),
        // It does not tell; its queue is twice as long as what may be outstanding.
        dropped: Box::new(|| 0),
        emitted: AtomicU64::new(0),
    }
}

/// An exporter that does nothing but count.
#[derive(Debug)]
struct Discard(Arc<AtomicU64>);

impl SpanExporter for Discard {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        // Ordering: Relaxed, as where it is read.
        self.0.fetch_add(batch.len() as u64, Relaxed);
        Ok(())
    }
}

impl Side {
    /// Ends a block of spans; the CPU time of that.
    fn block(&self, maker: &mut SpanMaker) -> Duration {
        let begun = measure::thread_cpu();
        for _ in 0..BLOCK {
            maker.emit();
        }
        let time = measure::thread_cpu() - begun;
        // Ordering: Relaxed, as in `wait`.
        self.emitted.fetch_add(BLOCK as u64, Relaxed);
        time
    }

    /// Waits until the exporter has caught up.
    fn wait(&self) {
        // Ordering: Relaxed, a pause may come a little late.
        let behind = || self.emitted.load(Relaxed).saturating_sub((self.settled)());
        if behind() > OUTSTANDING {
            while behind() > OUTSTANDING / 2 {
                thread::sleep(PAUSE);
            }
        }
    }
}

fn on_threads<R: Send>(threads: usize, body: impl Fn() -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&body)).collect();
        let join =
            |thread: thread::ScopedJoinHandle<'_, R>| thread.join().expect("a producer panicked");
        threads.into_iter().map(join).collect()
    })
}

/// The difference of the medians.
fn added(side: &Side, noop: &SdkTracerProvider, mut samples: Samples) -> f64 {
    let mut floor = samples.clone();
    let (mut maker, mut idle) = (SpanMaker::new(&side.provider), SpanMaker::new(noop));
    while samples.lap().is_some() {
        side.wait();
        samples.record(side.block(&mut maker), BLOCK);
        let begun = measure::thread_cpu();
        for _ in 0..BLOCK {
            idle.emit();
        }
        floor.record(measure::thread_cpu() - begun, BLOCK);
    }
    samples.median() - floor.median()
}

fn call(side: &Side, mut samples: Samples) {
    let mut maker = SpanMaker::new(&side.provider);
    while samples.lap().is_some() {
        side.wait();
        samples.record(side.block(&mut maker), BLOCK);
    }
}

/// Spans of a block: long beside asking for the CPU time, short beside a time slice.
const BLOCK: usize = 512;
/// As in `compare export`.
const OUTSTANDING: u64 = 8192;
const PAUSE: Duration = Duration::from_micros(250);
