//! Clients pause while much is on its way: a slow collector then shows as a slower demonstration,
//! not as dropped records.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// What the clients ask before each request.
pub(super) struct Pace {
    /// How many records have no fate yet.
    backlog: Box<dyn Fn() -> u64>,
    /// After how long a pause is in vain.
    patience: Duration,
    is_given_up: Cell<bool>,
}

impl Pace {
    pub(super) fn new(backlog: impl Fn() -> u64 + 'static) -> Self {
        Self { backlog: Box::new(backlog), patience: PATIENCE, is_given_up: Cell::new(false) }
    }

    /// Waits until there is room again. Once that took too long nobody takes the records, and there
    /// is no pause any more: what a full buffer does can be seen then.
    pub(super) async fn wait(&self) {
        let since = Instant::now();
        while !self.is_given_up.get() && (self.backlog)() > BACKLOG_MAX {
            self.is_given_up.set(since.elapsed() > self.patience);
            sleep(POLL).await;
        }
    }
}

/// Typical spans fill half of the exporter's default buffer.
const BACKLOG_MAX: u64 = 16_384;
/// A collector that is merely slow takes a batch much sooner.
const PATIENCE: Duration = Duration::from_secs(2);
/// A batch or two take so long.
const POLL: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::runtime;

    use super::*;

    fn block_on(future: impl Future<Output = ()>) {
        runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future);
    }

    #[test]
    fn a_client_waits_until_there_is_room() {
        let looks = Rc::new(Cell::new(0));
        let counted = Rc::clone(&looks);
        let pace = Pace::new(move || {
            counted.set(counted.get() + 1);
            BACKLOG_MAX + u64::from(counted.get() < 5)
        });
        block_on(pace.wait());
        assert_eq!((looks.get(), pace.is_given_up.get()), (5, false));
    }

    #[test]
    fn a_collector_that_takes_nothing_is_waited_for_once() {
        let pace = Pace { patience: Duration::ZERO, ..Pace::new(|| u64::MAX) };
        block_on(pace.wait());
        assert!(pace.is_given_up.get());
        block_on(pace.wait());
    }
}
