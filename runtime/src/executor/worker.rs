//! The loop that a worker runs.

use std::cell::Cell;

use super::Park;
use super::local::{self, Local, Ran};
use super::pool::Pool;
use crate::sync::shim::Arc;

/// Runs one of the pool's workers on this thread until it is told to stop, then drops what it has
/// to drop: also if `park` panics, so that nobody waits for its tasks in vain. A worker that
/// panics ends the others too.
///
/// # Panics
///
/// On a thread that is a worker already, and if the same worker was run before.
pub fn run(pool: &Arc<Pool>, worker: usize, park: &mut impl Park) {
    let local = Local::new(pool, worker);
    local::enter(&local, || {
        let _open = Open(&local);
        work(&local, pool, park);
    });
}

fn work(local: &Local, pool: &Pool, park: &mut impl Park) {
    let mut left = TASKS_A_TURN;
    while !pool.is_stopping() {
        let ran = local.run_tasks(&mut left);
        local.cool_down();
        local.report();
        let has_looked = match ran {
            Ran::Enough => {
                park.turn();
                true
            }
            Ran::Forked => return,
            Ran::All => !local.search() && rest(local, park),
        };
        if has_looked {
            left = TASKS_A_TURN;
            local.look_outside();
        }
    }
}

/// Sleeps, unless there is something to do after all. Returns whether it has looked around.
fn rest(local: &Local, park: &mut impl Park) -> bool {
    let is_parked = Cell::new(false);
    let has_looked = park.park(&|| local.is_disturbed(&is_parked));
    if is_parked.get() {
        local.get_up();
    }
    has_looked
}

/// Shuts the worker down when dropped.
struct Open<'a>(&'a Local);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.0.is_forked() {
            // The tasks are the parent's, and so is what their destructors would touch.
            self.0.leak();
        } else {
            self.0.shut_down();
        }
    }
}

/// How many tasks run before the worker looks at its mailbox, the injector, its timers and its
/// driver. Go and tokio settled on 61 too: a prime, so that it does not beat with the users' own
/// batch sizes.
const TASKS_A_TURN: usize = 61;
