//! Rows of timers and sockets: bodies that run as a task, pinned where the runtime can pin.

use std::{
    net::SocketAddr,
    pin::pin,
    time::{Duration, Instant},
};

use super::{
    row::Row,
    samples::Samples,
    seam::{Client, Interval, Io},
    tasks::poll_once,
};
use crate::measure;

/// Runs the body of `row`; its figures in the order of [`Row::figures`]. `server` echoes.
pub async fn body<R: Io>(row: Row, samples: Samples, server: SocketAddr) -> Vec<f64> {
    match row {
        Row::TimerCancel => timer_cancel::<R>(samples).await,
        Row::Sleeps => sleeps::<R>(samples).await,
        Row::EchoTcp => echo_tcp::<R>(samples, server).await,
        Row::EchoTcpMany => echo_tcp_many::<R>(samples, server).await,
        _ => unreachable!("{row:?} is no row of timers and sockets"),
    }
}

/// A timer is made, armed by its first poll, and dropped long before its end.
async fn timer_cancel<R: Io>(mut samples: Samples) -> Vec<f64> {
    while let Some(begun) = samples.lap() {
        for n in 0..TIMERS {
            let sleep = pin!(R::sleep(HOUR + Duration::from_millis(n)));
            assert!(poll_once(sleep).await.is_pending(), "an hour has not passed");
        }
        samples.done(begun, TIMERS as usize);
    }
    vec![samples.median()]
}

/// CPU time of the process for each of many sleeping tasks, spawn and join included. Their ends
/// are spread over [`SPREAD`].
async fn sleeps<R: Io>(samples: Samples) -> Vec<f64> {
    let tasks = samples.extent().things(SLEEPS_A_MILLI, SLEEPS_MAX);
    let cpu = measure::process_cpu();
    let sleep = |n| {
        let part = n as u32 * (SPREAD.as_nanos() as u32 / tasks as u32);
        R::spawn_sleep(LEAST + Duration::from_nanos(part.into()))
    };
    let joins: Vec<_> = (0..tasks).map(sleep).collect();
    for join in joins {
        join.await;
    }
    let cpu = measure::process_cpu() - cpu;
    vec![cpu.as_secs_f64() * 1e9 / tasks as f64]
}

/// Round trips to a server in another process.
async fn echo_tcp<R: Io>(mut samples: Samples, server: SocketAddr) -> Vec<f64> {
    let mut client = R::Client::connect(server).await.expect("the echo server accepts");
    while let Some(begun) = samples.lap() {
        for _ in 0..ECHO_ROUNDS {
            client.round_trip().await.expect("the echo server echoes");
        }
        samples.done(begun, ECHO_ROUNDS);
    }
    vec![samples.median()]
}

/// Many connections at once, a task each: time on the clock from the first round trip to the last,
/// and CPU time of the process, for each round trip.
async fn echo_tcp_many<R: Io>(mut samples: Samples, server: SocketAddr) -> Vec<f64> {
    let mut cpus = samples.clone();
    while samples.lap().is_some() {
        let cpu = measure::process_cpu();
        let clients: Vec<_> = (0..CLIENTS).map(|_| R::spawn_echoes(server)).collect();
        let mut intervals = Vec::with_capacity(CLIENTS);
        for client in clients {
            intervals.push(client.await);
        }
        samples.record(from_first_to_last(&intervals), CLIENTS * ECHO_ROUNDS);
        cpus.record(measure::process_cpu() - cpu, CLIENTS * ECHO_ROUNDS);
    }
    vec![samples.median(), cpus.median()]
}

fn from_first_to_last(intervals: &[Interval]) -> Duration {
    let first = intervals.iter().map(|(begun, _)| *begun).min();
    let last = intervals.iter().map(|(_, ended)| *ended).max();
    first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first)
}

/// What one of many clients does; the time from when it was connected.
pub async fn echoes<C: Client>(server: SocketAddr) -> Interval {
    let mut client = C::connect(server).await.expect("the echo server accepts");
    let begun = Instant::now();
    for _ in 0..ECHO_ROUNDS {
        client.round_trip().await.expect("the echo server echoes");
    }
    (begun, Instant::now())
}

/// Round trips of a connection in a lap.
pub const ECHO_ROUNDS: usize = 100;
/// Connections of [`Row::EchoTcpMany`].
const CLIENTS: usize = 64;
const HOUR: Duration = Duration::from_secs(3600);
/// Timers in a lap.
const TIMERS: u64 = 1000;
const SLEEPS_MAX: usize = 50_000;
const SLEEPS_A_MILLI: usize = 500;
/// The shortest sleep: longer than it takes to spawn them all.
const LEAST: Duration = Duration::from_millis(50);
const SPREAD: Duration = Duration::from_millis(100);
