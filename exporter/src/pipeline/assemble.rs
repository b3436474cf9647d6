//! Joins the stages into a running exporter: the one place that knows them all.

use std::any::Any;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use spanwire_runtime::driver::Choice;
use spanwire_runtime::pipe::{self, Pipe};
use spanwire_runtime::{Builder as RuntimeBuilder, Origin, Runtime};

use crate::batch::{self, Batcher};
use crate::diagnostics::{Diagnostics, Kind};
use crate::error::BuildError;
use crate::pipeline::deliver::{Alive, Delivery};
use crate::pipeline::flush::Told;
use crate::pipeline::lane::{Destination, Lanes};
use crate::pipeline::ledger::Ledger;
use crate::pipeline::registry::Registry;
use crate::pipeline::shared::{Commands, End, Shared};
use crate::retry;
use crate::transport::client::Client;
use crate::transport::endpoint::Endpoint;

/// A complete and valid configuration.
pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Bounds one attempt; `None` is no limit.
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: retry::Policy,
    pub(crate) batch: batch::Limits,
    /// Bounds the body of an answer.
    pub(crate) response_bytes_max: usize,
    /// How long records may wait for company.
    pub(crate) age_max: Duration,
    pub(crate) pipe: pipe::Config,
    /// Requests in flight at once, each on a connection of its own.
    pub(crate) lanes: usize,
    pub(crate) io: Choice,
    pub(crate) thread_name: String,
    /// Threads of the runtime; delivery is on the first.
    pub(crate) workers: usize,
    /// Runs on the exporter's thread first; what it returns lives as long as the thread.
    pub(crate) on_thread_start: fn() -> Box<dyn Any>,
    pub(crate) diagnostics: Diagnostics,
}

/// Starts the thread and, on it, the delivery.
pub(crate) fn start(settings: Settings) -> Result<(Arc<Shared>, Runtime), BuildError> {
    let (runtime, thread) = start_runtime(&settings)?;
    let (pipe, drainer) = Pipe::new(settings.pipe, runtime.doorbell());
    let shared = Arc::new(Shared {
        pipe,
        registry: Registry::default(),
        ledger: Ledger::new(),
        commands: Commands::default(),
        diagnostics: settings.diagnostics,
        driver: runtime.driver().into(),
        thread,
        origin: Origin::here(),
        #[cfg(feature = "internals")]
        plays_child: Default::default(),
        end: End::default(),
        told: Told::default(),
    });
    if let Some(reason) = fallback(&shared, settings.io) {
        shared.diagnostics.report(Kind::Driver, &reason, Instant::now());
    }
    let (endpoint, headers) = (settings.endpoint, settings.headers);
    let for_task = Arc::clone(&shared);
    let make = move || {
        let alive = Alive::new(Arc::clone(&for_task));
        let clients = (0..settings.lanes)
            .map(|_| Client::new(endpoint.clone(), &headers, settings.response_bytes_max));
        let destination = Destination::new(Arc::clone(&for_task), settings.retry, settings.timeout);
        let lanes = Lanes::new(destination, clients);
        let batcher = Batcher::new(settings.batch);
        Delivery::new(alive, drainer, batcher, lanes, settings.age_max).run()
    };
    // Detached: the task tells of its end through `Shared`. The pipe rings this worker.
    drop(runtime.spawn_pinned_on(DELIVERY, make));
    Ok((shared, runtime))
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
fn fallback(shared: &Shared, choice: Choice) -> Option<String> {
    let reason = shared.driver.reason.as_ref().filter(|_| choice == Choice::Auto)?;
    Some(format!("io_uring is not available, so epoll is used: {reason}"))
}

/// The worker that delivers: the one whose doorbell `Runtime::doorbell` gives.
const DELIVERY: usize = 0;
