//! A worker thread, from beginning to end: the executor, the timers and the driver together.

use std::io;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::handle::{self, Inner};
use crate::blocking::Hook;
use crate::blocking::SharedPool;
use crate::driver::{self, Driver};
use crate::executor::{self, Park, Tally};
use crate::sync::doorbell::{Bed, Doorbell};
use crate::sync::shim::Arc;
use crate::sync::watch;
use crate::time::Timers;

/// What opening a worker's driver came to.
pub(super) type Opened = io::Result<Io>;

/// What others know of a worker's driver.
pub(super) struct Io {
    pub(super) report: driver::Report,
    pub(super) tally: Arc<driver::Tally>,
}

/// Runs one worker until the runtime ends.
pub(super) fn work(
    inner: &Arc<Inner>,
    worker: usize,
    io: driver::Choice,
    hook: &Hook,
    ready: mpsc::Sender<(usize, Opened)>,
) {
    let _guard = hook();
    let driver = match Driver::open(io) {
        Err(error) => return drop(ready.send((worker, Err(error)))),
        Ok((driver, report)) => {
            inner.pool.doorbell(worker).attach_driver(driver.unpark());
            // Whoever builds the runtime waits for this.
            drop(ready.send((worker, Ok(Io { report, tally: driver.tally() }))));
            driver
        }
    };
    // Who waits for a worker that died before it was ready has to hear of it.
    drop(ready);
    let timers = Timers::new();
    let (doorbell, tally) = (inner.pool.doorbell(worker), inner.pool.tally(worker));
    let mut look = Look { driver: &driver, timers: &timers, doorbell, tally };
    let run = || executor::run(&inner.pool, worker, &mut look);
    // Tasks are dropped inside, where their sockets and timers still find their owners.
    let run = || inner.blocking.enter(run);
    let run = || handle::enter(inner, run);
    driver.enter(|| timers.enter(|| closing(&inner.blocking, run)));
    if inner.pool.is_forked() {
        // A task has forked, and this is the child. Who waits for a timer is not its own.
        return std::mem::forget(timers);
    }
    driver.shutdown(DRIVER_LIMIT);
}

/// Closes the pool of blocking calls when `work` has ended, panic or not.
fn closing(pool: &SharedPool, work: impl FnOnce()) {
    struct Closes<'a>(&'a SharedPool);
    impl Drop for Closes<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let _closes = Closes(pool);
    work();
}

/// How the worker looks around and sleeps: the wheel, the driver, the watches and the doorbell
/// together.
struct Look<'a> {
    driver: &'a Driver,
    timers: &'a Rc<Timers>,
    doorbell: &'a Doorbell,
    tally: &'a Tally,
}

impl Look<'_> {
    /// Sleeps until rung, or until the next timer or completion.
    fn sleep(&self, bed: Bed) {
        self.tally.parks.add(1);
        let deadline = self.timers.next_deadline();
        match bed {
            Bed::Futex => self.doorbell.sleep(deadline),
            Bed::Driver => {
                let now = Instant::now();
                self.driver.park(deadline.map(|at| at.saturating_duration_since(now)));
            }
        }
    }
}

impl Park for Look<'_> {
    fn turn(&mut self) {
        self.driver.turn();
        self.timers.fire();
        watch::rescan_all();
    }

    fn park(&mut self, has_work: &dyn Fn() -> bool) -> bool {
        // The kernel owes nothing: then a futex is the cheaper bed, and shows no iowait.
        let bed = if self.driver.in_flight() == 0 { Bed::Futex } else { Bed::Driver };
        self.doorbell.lie_down(bed, watch::first_wanted());
        // The last look, after the doorbell knows; see its picture.
        if has_work() || watch::rescan_all() {
            self.doorbell.get_up();
            return false;
        }
        self.sleep(bed);
        self.tally.rung.add(u64::from(self.doorbell.get_up()));
        self.timers.fire();
        watch::rescan_all();
        // On the futex there is nothing in flight that the driver could have ended.
        true
    }
}

/// How long the worker waits for the kernel to let go of cancelled operations. What it still
/// holds after that is leaked.
const DRIVER_LIMIT: Duration = Duration::from_millis(500);
