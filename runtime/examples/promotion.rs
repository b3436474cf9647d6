//! What an append costs threads that end soon, for several values of `promote_after`, and a thread
//! beside many idle ones: `cargo run --release -p spanwire-runtime --example promotion`.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use spanwire_runtime::Doorbell;
use spanwire_runtime::pipe::{Config, Pipe, Tag};

fn main() {
    println!("ns an append, least of {ROUNDS}: threads that end after so many records");
    println!("promote_after{}", EACH.map(|each| format!("{each:>10}")).concat());
    for promote_after in [0, 1, 4, 8, 16, 64, u32::MAX] {
        let least = |each| least(|| drained(promote_after, |pipe| short_lived(pipe, each)));
        let columns = EACH.map(|each| format!("{:>10.0}", least(each)));
        println!("{promote_after:>13}{}", columns.concat());
    }
    for idle in [10, 1000] {
        let nanos = least(|| drained(8, |pipe| beside_idle(pipe, idle)));
        println!("beside {idle} threads that have each appended 20 records: {nanos:.0}");
    }
}

fn least(measure: impl Fn() -> f64) -> f64 {
    (0..ROUNDS).map(|_| measure()).fold(f64::INFINITY, f64::min)
}

/// Calls `measure` with a pipe that another thread drains.
fn drained(promote_after: u32, measure: impl FnOnce(&Pipe) -> f64) -> f64 {
    let mut config = Config::default();
    config.promote_after = promote_after;
    let (pipe, mut drainer) = Pipe::new(config, Arc::new(Doorbell::new()));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut runs = Vec::new();
            while !done.load(Ordering::Relaxed) {
                drainer.take_sealed(usize::MAX, &mut runs);
                runs.clear();
                drainer.reclaim();
                thread::sleep(Duration::from_micros(200));
            }
        });
        let nanos = measure(&pipe);
        done.store(true, Ordering::Relaxed);
        nanos
    })
}

/// A thousand threads, eight at a time.
fn short_lived(pipe: &Pipe, each: u32) -> f64 {
    let rounds = (0..1000 / 8).map(|_| {
        thread::scope(|scope| {
            let threads = [(); 8].map(|()| scope.spawn(|| appends(pipe, each)));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<f64>() / 8.0
        })
    });
    rounds.sum::<f64>() / (1000 / 8) as f64
}

fn beside_idle(pipe: &Pipe, idle: usize) -> f64 {
    let (entered, gate) = (Barrier::new(idle + 1), Barrier::new(idle + 1));
    let enter = || {
        appends(pipe, 20);
        entered.wait();
        gate.wait();
    };
    thread::scope(|scope| {
        for _ in 0..idle {
            let small = thread::Builder::new().stack_size(64 << 10);
            small.spawn_scoped(scope, enter).unwrap();
        }
        entered.wait();
        let nanos = appends(pipe, 500_000);
        gate.wait();
        nanos
    })
}

/// Nanoseconds an append, of `count`.
fn appends(pipe: &Pipe, count: u32) -> f64 {
    let record = [7_u8; 400];
    let begin = Instant::now();
    for _ in 0..count {
        // Also counts what is refused while the drainer sleeps.
        let _ = pipe.append(Tag::new(0, 1), |cursor| cursor.put_slice(black_box(&record)));
    }
    begin.elapsed().as_nanos() as f64 / f64::from(count)
}

const ROUNDS: usize = 5;
/// Records of a thread that ends.
const EACH: [u32; 3] = [5, 20, 200];
