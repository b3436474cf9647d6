//! spanwire. `spawn` for tasks that may be stolen, `spawn_pinned` for those that stay.

use std::{
    future::Future, io, mem, net::SocketAddr, pin::Pin, task::Context, task::Poll, time::Duration,
};

use bytes::Bytes;
use spanwire_runtime::{
    Builder, Runtime, driver, net::TcpStream, spawn, spawn_pinned, task::JoinHandle, time,
    yield_now,
};

use super::CANNOT_OPEN;
use crate::compare::runtime::{
    io as io_rows, outside,
    row::{Group, Row},
    samples::Samples,
    seam::{Client, Interval, Io, MESSAGE_BYTES, Outside, Tasks},
    tasks,
};

/// Measures `row` on so many workers with the driver of that name.
pub(super) fn measure(
    workers: usize,
    io: &str,
    row: Row,
    samples: Samples,
    server: SocketAddr,
) -> Result<Vec<f64>, String> {
    let runtime = open(workers, io).map_err(|error| format!("{CANNOT_OPEN}{error}"))?;
    let root = match row.group() {
        Group::Tasks if row.is_pinned() => {
            runtime.spawn_pinned(move || tasks::body::<Pinned>(row, samples))
        }
        Group::Tasks => runtime.spawn(tasks::body::<Stealable>(row, samples)),
        Group::Io => runtime.spawn_pinned(move || io_rows::body::<Pinned>(row, samples, server)),
        Group::Outside => return Ok(outside::body(&Opened { runtime, workers }, row, samples)),
    };
    runtime.block_on(root).map_err(|error| error.to_string())
}

fn open(workers: usize, io: &str) -> Result<Runtime, String> {
    let choice = match io {
        "uring" => driver::Choice::Uring,
        _ => driver::Choice::Epoll,
    };
    Builder::new().workers(workers).io(choice).build().map_err(|error| error.to_string())
}

/// Tasks that any worker may run.
struct Stealable;

/// Tasks that stay on the worker.
struct Pinned;

impl Tasks for Stealable {
    type Join<T: Send + 'static> = Join<T>;

    fn spawn<F>(future: F) -> Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Join(spawn(future))
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        yield_now()
    }
}

impl Tasks for Pinned {
    type Join<T: Send + 'static> = Join<T>;

    fn spawn<F>(future: F) -> Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Join(spawn_pinned(|| future))
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

impl Io for Pinned {
    type Client = Stream;

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        time::sleep(duration)
    }

    fn spawn_sleep(duration: Duration) -> impl Future<Output = ()> + Unpin {
        Join(spawn_pinned(move || time::sleep(duration)))
    }
    fn spawn_echoes(server: SocketAddr) -> impl Future<Output = Interval> + Unpin {
        Join(spawn_pinned(move || io_rows::echoes::<Stream>(server)))
    }
}

struct Stream {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client for Stream {
    async fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(MESSAGE_BYTES) })
    }

    async fn round_trip(&mut self) -> io::Result<()> {
        self.received.clear();
        let message = vec![Bytes::from_static(&[7; MESSAGE_BYTES])];
        let exchanged = self.stream.exchange(message, mem::take(&mut self.received)).await;
        self.received = exchanged.buf;
        let mut count = exchanged.received?;
        while count > 0 && self.received.len() < MESSAGE_BYTES {
            let (received, buf) = self.stream.recv(mem::take(&mut self.received)).await;
            self.received = buf;
            count = received?;
        }
        if count > 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

struct Opened {
    runtime: Runtime,
    workers: usize,
}

impl Outside for Opened {
    type Tasks = Stealable;

    fn spawn<F>(&self, future: F) -> Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Join(self.runtime.spawn(future))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    fn workers(&self) -> usize {
        self.workers
    }
}
