//! What a join handle promises.

use spanwire_runtime::{Builder, Runtime, yield_now};

fn runtime() -> Runtime {
    Builder::new().build().expect("a runtime")
}

#[test]
fn a_handle_gives_the_output() {
    let runtime = runtime();
    let task = runtime.spawn(async { String::from("done") });
    assert_eq!(runtime.block_on(task).unwrap(), "done");
}

#[test]
fn every_task_of_many_runs_to_its_end() {
    let runtime = runtime();
    let tasks: Vec<_> = (0..1000_u64)
        .map(|n| {
            runtime.spawn(async move {
                yield_now().await;
                n
            })
        })
        .collect();
    let sum: u64 = runtime.block_on(async {
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    });
    assert_eq!(sum, 499_500);
}
