//! What a runtime says it has done.

#[path = "support/probe.rs"]
mod probe;

use probe::runtime;

/// Without timers and operations, each sleep but the present one was ended by somebody who rang.
#[test]
fn a_sleep_is_counted_once() {
    let runtime = runtime();
    for _ in 0..1000 {
        runtime.block_on(runtime.spawn(async {})).unwrap();
    }
    let worker = runtime.stats().workers.remove(0);
    assert!(worker.parks <= worker.rung + 1, "{} sleeps, {} rung", worker.parks, worker.rung);
}
