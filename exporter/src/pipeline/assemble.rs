//! Joins the stages into a running exporter: the one place that knows them all.

use std::any::Any;
use std::error::Error;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use spanwire_runtime::driver::Choice;
use spanwire_runtime::pipe::{self, Drainer, Pipe, WhenFull};
use spanwire_runtime::{Builder as RuntimeBuilder, Runtime};

use crate::batch::{self, Batcher};
use crate::diagnostics::{Diagnostics, Kind};
use crate::encode::limits::Limits;
use crate::error::BuildError;
use crate::model::{DestinationName, MetricPreferences, Signal};
use crate::pipeline::carrier::{Carrier, Target};
use crate::pipeline::deliver::{Alive, Delivery};
use crate::pipeline::flush::Told;
use crate::pipeline::lane::{Destination, Lanes};
use crate::pipeline::ledger::Place;
use crate::pipeline::line::{Line, SubmitLimits};
use crate::pipeline::observe::{Component, Observer};
use crate::pipeline::outlet::{Outlet, Share};
use crate::pipeline::prepare::Codec;
use crate::pipeline::registry::Registry;
use crate::pipeline::shared::{DriverReport, End, Shared};
use crate::retry;

/// A complete and valid configuration.
#[derive(Clone)]
pub(crate) struct Settings {
    /// One a signal, in the order of [`Signal::ALL`].
    pub(crate) lines: [LineSettings; Signal::ALL.len()],
    /// What the destinations beside the main one are called; at most
    /// [`BESIDE_MAX`](crate::pipeline::flush::BESIDE_MAX).
    pub(crate) beside: Vec<DestinationName>,
    pub(crate) io: Choice,
    pub(crate) thread_name: String,
    /// Threads of the runtime; delivery is on the first.
    pub(crate) workers: usize,
    /// Runs on the exporter's thread first; what it returns lives as long as the thread.
    pub(crate) on_thread_start: fn() -> Box<dyn Any>,
    pub(crate) diagnostics: Diagnostics,
    /// How attributes are cut.
    pub(crate) limits: Limits,
    /// In which form metrics are exported.
    pub(crate) metrics: MetricPreferences,
}

/// What may differ from signal to signal.
#[derive(Clone)]
pub(crate) struct LineSettings {
    pub(crate) target: Target,
    /// Nobody wants the signal: what comes in is ignored.
    pub(crate) is_off: bool,
    /// Requests in flight at once, each on a connection of its own.
    pub(crate) lanes: usize,
    pub(crate) retry: retry::Policy,
    /// Bounds one attempt; `None` is no limit.
    pub(crate) timeout: Option<Duration>,
    pub(crate) batch: batch::Limits,
    /// How long records may wait for company.
    pub(crate) age_max: Duration,
    pub(crate) pipe: pipe::Config,
    /// Bounds what is submitted past the pipe and under way.
    pub(crate) submit_bytes_max: usize,
    /// Bounds the time of each of those; `None` is no limit.
    pub(crate) submit_timeout: Option<Duration>,
    /// What the main destination may hold of the buffer; all of it if there is none.
    pub(crate) share: Option<Share>,
    /// Destinations beside the main one.
    pub(crate) beside: Vec<BesideSettings>,
}

/// A destination that gets what the main one gets, of one signal.
#[derive(Clone)]
pub(crate) struct BesideSettings {
    /// Which of [`Settings::beside`] it is.
    pub(crate) index: usize,
    pub(crate) route: Route,
    /// What it may hold of the buffer.
    pub(crate) share: Share,
}

/// How requests of one signal get to one destination.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) target: Target,
    /// Bounds one attempt; `None` is no limit.
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: retry::Policy,
    /// Requests in flight at once.
    pub(crate) lanes: usize,
}

impl Settings {
    /// The same in a forked child: without what a thread of the parent's may have locked.
    pub(crate) fn in_child(&self) -> Result<Self, Box<dyn Error>> {
        let (mut settings, mut files) = (self.clone(), Vec::new());
        settings.diagnostics = self.diagnostics.afresh();
        for line in &mut settings.lines {
            line.target = line.target.in_child(&mut files)?;
            for BesideSettings { route, .. } in &mut line.beside {
                route.target = route.target.in_child(&mut files)?;
            }
        }
        Ok(settings)
    }
}

impl LineSettings {
    /// The line, with so many destinations `beside` the main one.
    fn line(&self, signal: Signal, pipe: Pipe, beside: usize) -> Line {
        let limits =
            SubmitLimits { bytes_max: self.submit_bytes_max, timeout: self.submit_timeout };
        let observer = |target: &Target| Observer::new(signal, target.protocol(), target.server());
        let mut line =
            Line::new(pipe, limits, observer(&self.target), Component::processor(signal), beside);
        for BesideSettings { index, route, .. } in &self.beside {
            line.observe_beside(*index, observer(&route.target));
        }
        line.is_off = self.is_off;
        line
    }
}

/// Starts the thread and, on it, the deliveries.
pub(crate) fn start(settings: &Settings) -> Result<(Arc<Shared>, Runtime), BuildError> {
    let (runtime, thread) = start_runtime(settings)?;
    let pipes = Signal::ALL
        .map(|signal| Pipe::new(settings.lines[signal.index()].pipe, runtime.doorbell()));
    let shared = Arc::new(Shared {
        lines: Signal::ALL.map(|signal| {
            let pipe = pipes[signal.index()].0.clone();
            settings.lines[signal.index()].line(signal, pipe, settings.beside.len())
        }),
        beside: settings.beside.clone(),
        registry: Registry::default(),
        diagnostics: settings.diagnostics.clone(),
        driver: runtime.driver().into(),
        thread,
        end: End::of(Signal::ALL.len()),
        told: Told::default(),
    });
    if let Some(reason) = fallback(&shared.driver, settings.io) {
        shared.diagnostics.report(Kind::Driver, &reason, Instant::now());
    }
    for (signal, (_, drainer)) in Signal::ALL.into_iter().zip(pipes) {
        start_line(&runtime, settings, Alive::new(Arc::clone(&shared), signal), drainer);
    }
    Ok((shared, runtime))
}

/// Starts the delivery of one signal on the exporter's thread.
fn start_line(runtime: &Runtime, settings: &Settings, alive: Alive, drainer: Drainer) {
    let line = settings.lines[alive.signal().index()].clone();
    let workers = settings.workers;
    let LineSettings { target, timeout, retry, lanes, .. } = line.clone();
    let route = Route { target, timeout, retry, lanes };
    let make = move || {
        let buffer_bytes = line.pipe.chunks * line.pipe.chunk_bytes;
        let main = outlet(&alive, Place::Main, &route, line.share, buffer_bytes, workers);
        let beside = line.beside.iter().map(|BesideSettings { index, route, share }| {
            outlet(&alive, Place::Beside(*index), route, Some(*share), buffer_bytes, workers)
        });
        let beside = beside.collect();
        let batcher = Batcher::new(line.batch, batch::weigher(alive.signal()));
        let leaves_behind = line.pipe.when_full == WhenFull::DropOldest;
        Delivery::new(alive, drainer, batcher, main, beside, line.age_max, leaves_behind).run()
    };
    // Detached: the task tells of its end through `Shared`. The pipe rings this worker.
    drop(runtime.spawn_pinned_on(DELIVERY, make));
}

/// The side of one destination.
fn outlet(
    alive: &Alive,
    place: Place,
    route: &Route,
    share: Option<Share>,
    buffer_bytes: usize,
    workers: usize,
) -> Outlet {
    let Route { target, timeout, retry, lanes } = route;
    let codec = Codec::new(target, alive.signal(), workers);
    let destination =
        Destination::new(alive.shared(), alive.signal(), place, *retry, *timeout, codec);
    let carriers = Carrier::for_lanes(target, alive.signal(), *lanes, retry.budget);
    let sorted_for = carriers.first().and_then(Carrier::sorts_for);
    let lanes = Lanes::new(destination, carriers.into_iter());
    let hold_bytes_max = share.map_or(buffer_bytes, |share| share.bytes_max) / 4 * 3;
    Outlet::new(place, lanes, share, hold_bytes_max, sorted_for)
}

fn start_runtime(settings: &Settings) -> Result<(Runtime, thread::ThreadId), BuildError> {
    let runtime = RuntimeBuilder::new()
        .workers(settings.workers)
        .thread_name(settings.thread_name.clone())
        .io(settings.io)
        .on_thread_start(settings.on_thread_start)
        .build()
        .map_err(BuildError::Runtime)?;
    // A channel, because this may be the worker of another runtime, which must not block on a task.
    let (tell, told) = mpsc::sync_channel(1);
    drop(runtime.spawn_pinned_on(DELIVERY, move || async move {
        let _ = tell.send(thread::current().id());
    }));
    // A worker that dies before it runs this leaves an exporter that says so.
    let id = told.recv().unwrap_or_else(|_| thread::current().id());
    Ok((runtime, id))
}

/// Why io_uring is not in use although it was considered.
fn fallback(driver: &DriverReport, choice: Choice) -> Option<String> {
    let reason = driver.reason.as_ref().filter(|_| choice == Choice::Auto)?;
    Some(format!("io_uring is not available, so epoll is used: {reason}"))
}

/// The worker that delivers: the one whose doorbell `Runtime::doorbell` gives.
const DELIVERY: usize = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_was_not_asked_for_is_told_of_and_one_that_was_is_not() {
        let denied = DriverReport { name: "epoll", reason: Some("it is denied".into()) };
        let told = fallback(&denied, Choice::Auto).unwrap();
        assert_eq!(told, "io_uring is not available, so epoll is used: it is denied");
        assert_eq!(fallback(&denied, Choice::Epoll), None);
        let ring = DriverReport { name: "uring", reason: None };
        assert_eq!(fallback(&ring, Choice::Auto), None);
    }
}
