//! spanwire's rows of `compare runtime`, for tuning: the same bodies, in this process.
//!
//! `cargo bench -p spanwire-bench --bench runtime -- yield` runs some of them. The figure is the time
//! of one operation, as in the comparison. What is no time (bytes), what is CPU time only, and the
//! wake-up, whose figures are latencies, are left to the comparison; so are the other runtimes, some
//! of which end with their process only.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use spanwire_bench::compare::{
    lines::{Peer as _, Unit},
    runtime::{echo::Servers, peer::Peer, row::Row},
    samples::{Extent, Samples},
};

fn rows(criterion: &mut Criterion) {
    let servers = Servers::start().expect("ports on loopback");
    let peers = able_peers(servers);
    for row in Row::all().into_iter().filter(|row| is_for_tuning(*row)) {
        let mut group = criterion.benchmark_group(row.to_string());
        for &peer in &peers {
            group.bench_function(peer.to_string(), |bench| {
                bench.iter_custom(|times| {
                    let samples = Samples::new(EXTENT);
                    let figures =
                        peer.measure(row, samples, servers.of(row)).expect("it can be opened");
                    Duration::from_nanos((figures[0] * times as f64) as u64)
                });
            });
        }
        group.finish();
    }
}

/// Of ours: a sandbox may deny io_uring.
fn able_peers(servers: Servers) -> Vec<Peer> {
    let trial = |peer: &Peer| {
        let lap = Samples::new(Extent::Laps(1));
        let opened = peer.measure(Row::TimerCancel, lap, servers.one);
        opened.inspect_err(|error| eprintln!("{peer} is left out: {error}")).is_ok()
    };
    Peer::all().into_iter().filter(|peer| peer.is_ours()).filter(trial).collect()
}

fn is_for_tuning(row: Row) -> bool {
    row.unit() == Unit::Ns && !matches!(row, Row::Sleeps | Row::WakeIdle)
}

criterion_group!(
    name = runtime;
    config = Criterion::default()
        .sample_size(SAMPLES)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(1));
    targets = rows
);
criterion_main!(runtime);

/// Of each sample, for which the runtime is opened anew: criterion says how many iterations it wants,
/// and is told as much time as they would have taken.
const EXTENT: Extent = Extent::Time(Duration::from_millis(20));
const SAMPLES: usize = 20;
