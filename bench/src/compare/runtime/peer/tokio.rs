//! tokio, in both of its shapes.

use std::{
    future::{self, Future},
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::{Builder, Handle},
    task::{JoinHandle, yield_now},
    time,
};

use super::{CANNOT_OPEN, WORKERS};
use crate::compare::runtime::{
    io as io_rows, outside,
    row::{Group, Row},
    samples::Samples,
    seam::{Client, Interval, Io, MESSAGE_BYTES, Outside, Tasks},
    tasks,
};

/// Measures `row` on the multi-thread runtime. The body is a task: on the main thread, inside of
/// `block_on`, each spawn would be one from outside.
pub(super) fn multi_thread(
    row: Row,
    samples: Samples,
    server: SocketAddr,
) -> Result<Vec<f64>, String> {
    let built = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = built.map_err(|error| format!("{CANNOT_OPEN}{error}"))?;
    on(runtime.handle(), WORKERS, row, samples, server)
}

/// Measures `row` on the current-thread runtime. A thread of its own drives it, so that the main
/// thread is outside, as with the others.
pub(super) fn current_thread(
    row: Row,
    samples: Samples,
    server: SocketAddr,
) -> Result<Vec<f64>, String> {
    let built = Builder::new_current_thread().enable_all().build();
    let runtime = built.map_err(|error| format!("{CANNOT_OPEN}{error}"))?;
    let handle = runtime.handle().clone();
    // It ends with the process.
    thread::spawn(move || runtime.block_on(future::pending::<()>()));
    on(&handle, 1, row, samples, server)
}

fn on(
    handle: &Handle,
    workers: usize,
    row: Row,
    samples: Samples,
    server: SocketAddr,
) -> Result<Vec<f64>, String> {
    let root = match row.group() {
        Group::Tasks => handle.spawn(tasks::body::<Tokio>(row, samples)),
        Group::Io => handle.spawn(io_rows::body::<Tokio>(row, samples, server)),
        Group::Outside => {
            let opened = Opened { handle: handle.clone(), workers };
            return Ok(outside::body(&opened, row, samples));
        }
    };
    handle.block_on(root).map_err(|error| error.to_string())
}

struct Tokio;

impl Tasks for Tokio {
    type Join<T: Send + 'static> = Join<T>;

    fn spawn<F>(future: F) -> Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Join(tokio::spawn(future))
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        yield_now()
    }
}

/// A handle of a task that neither panics nor is aborted.
struct Join<T>(JoinHandle<T>);

impl<T> Future for Join<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(context).map(|result| result.expect("the task ends well"))
    }
}

impl Io for Tokio {
    type Client = Stream;

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        time::sleep(duration)
    }

    fn spawn_sleep(duration: Duration) -> impl Future<Output = ()> + Unpin {
        Join(tokio::spawn(time::sleep(duration)))
    }
    fn spawn_echoes(server: SocketAddr) -> impl Future<Output = Interval> + Unpin {
        Join(tokio::spawn(io_rows::echoes::<Stream>(server)))
    }
}

struct Stream(TcpStream);

impl Client for Stream {
    async fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    async fn round_trip(&mut self) -> io::Result<()> {
        let mut message = [7; MESSAGE_BYTES];
        self.0.write_all(&message).await?;
        self.0.read_exact(&mut message).await.map(drop)
    }
}

struct Opened {
    handle: Handle,
    workers: usize,
}

impl Outside for Opened {
    type Tasks = Tokio;

    fn spawn<F>(&self, future: F) -> Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Join(self.handle.spawn(future))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    fn workers(&self) -> usize {
        self.workers
    }
}
