//! The parts of a record's way, one by one: encoding, appending, counting. The bodies of `compare
//! encode`, by all of its peers, and the pipe by one thread.
//!
//! `cargo bench -p spanwire-bench` runs all; `cargo bench -p spanwire-bench -- span_typical` some.

use std::{sync::Arc, time::Duration};

use clap::ValueEnum as _;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use spanwire_bench::{
    compare::{
        encode::{self, Body, Peer, Row},
        rows::Row as _,
    },
    sink::walk,
};
use spanwire_runtime::{
    Doorbell,
    pipe::{Config, Pipe, Tag},
};

/// Each row of `compare encode`; the figure is of one record.
fn encode(criterion: &mut Criterion) {
    for row in Row::value_variants() {
        let mut group = criterion.benchmark_group(row.name());
        for peer in
            Peer::value_variants().iter().filter(|peer| row.suits(**peer) && Row::has(**peer))
        {
            let mut body = encode::body(*row, *peer).unwrap_or_else(|error| panic!("{error}"));
            group.bench_function(peer.to_string(), |bench| {
                bench.iter_custom(|times| records(&mut body, times));
            });
        }
        group.finish();
    }
}

/// How long so many records take, by whole laps.
fn records(body: &mut Body, times: u64) -> Duration {
    let laps = times.div_ceil(body.operations as u64);
    let time: Duration = (0..laps).map(|_| body.lap()).sum();
    time.mul_f64(times as f64 / (laps * body.operations as u64) as f64)
}

/// The queue between threads, from one of them: a batch appended, then taken and given back.
fn pipe(criterion: &mut Criterion) {
    let (pipe, mut drainer) = Pipe::new(Config::default(), Arc::new(Doorbell::new()));
    let mut runs = Vec::new();
    let record = [7; RECORD_BYTES];
    let mut group = criterion.benchmark_group("pipe");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("append bytes, take", |bench| {
        bench.iter(|| {
            for _ in 0..BATCH {
                pipe.append(Tag::new(0, 0), |cursor| cursor.put_slice(&record)).unwrap();
            }
            drainer.take_all(&mut runs);
            runs.clear();
        });
    });
    group.finish();
}

/// What counting costs the receivers.
fn count(criterion: &mut Criterion) {
    let body = encode::request(BATCH);
    let mut ids = Vec::with_capacity(BATCH);
    let mut group = criterion.benchmark_group("count");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("the sink's walk", |bench| {
        bench.iter(|| {
            ids.clear();
            walk::span_ids(&body, &mut ids).unwrap();
            ids.len()
        });
    });
    group.bench_function("a prost decode", |bench| {
        bench.iter(|| {
            ExportTraceServiceRequest::decode(body.as_slice()).unwrap().resource_spans.len()
        });
    });
    group.finish();
}

criterion_group!(
    name = parts;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = encode, pipe, count
);
criterion_main!(parts);

/// The batch of opentelemetry-otlp.
const BATCH: usize = 512;
/// About the size of the encoded span.
const RECORD_BYTES: usize = 538;
