//! smol: its executor on two threads, each of which drives its reactor while it is idle.

use std::{
    future::{self, Future},
    io,
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use async_executor::{Executor, Task};
use async_io::{Async, Timer};
use futures_lite::{
    AsyncReadExt as _, AsyncWriteExt as _,
    future::{block_on, yield_now},
};

use super::WORKERS;
use crate::compare::runtime::{
    io as io_rows, outside,
    row::{Group, Row},
    samples::Samples,
    seam::{Client, Interval, Io, MESSAGE_BYTES, Outside, Tasks},
    tasks,
};

/// Measures `row`.
pub(super) fn measure(row: Row, samples: Samples, server: SocketAddr) -> Result<Vec<f64>, String> {
    for _ in 0..WORKERS {
        // They end with the process, as those of smol's global executor do.
        thread::spawn(|| async_io::block_on(EXECUTOR.run(future::pending::<()>())));
    }
    Ok(match row.group() {
        Group::Tasks => block_on(EXECUTOR.spawn(tasks::body::<Smol>(row, samples))),
        Group::Io => block_on(EXECUTOR.spawn(io_rows::body::<Smol>(row, samples, server))),
        Group::Outside => outside::body(&Smol, row, samples),
    })
}

/// As in the crate `smol`, but with a number of threads that is ours to say.
static EXECUTOR: Executor<'static> = Executor::new();

struct Smol;

impl Tasks for Smol {
    type Join<T: Send + 'static> = Task<T>;

    fn spawn<F>(future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        EXECUTOR.spawn(future)
    }

    fn detach<T: Send + 'static>(task: Task<T>) {
        task.detach();
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        yield_now()
    }
}

impl Io for Smol {
    type Client = Stream;

    async fn sleep(duration: Duration) {
        Timer::after(duration).await;
    }

    fn spawn_sleep(duration: Duration) -> impl Future<Output = ()> + Unpin {
        EXECUTOR.spawn(Self::sleep(duration))
    }
    fn spawn_echoes(server: SocketAddr) -> impl Future<Output = Interval> + Unpin {
        EXECUTOR.spawn(io_rows::echoes::<Stream>(server))
    }
}

struct Stream(Async<TcpStream>);

impl Client for Stream {
    async fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = Async::<TcpStream>::connect(server).await?;
        stream.get_ref().set_nodelay(true)?;
        Ok(Self(stream))
    }

    async fn round_trip(&mut self) -> io::Result<()> {
        let mut message = [7; MESSAGE_BYTES];
        self.0.write_all(&message).await?;
        self.0.read_exact(&mut message).await
    }
}

impl Outside for Smol {
    type Tasks = Self;

    fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        EXECUTOR.spawn(future)
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        block_on(future)
    }

    fn workers(&self) -> usize {
        WORKERS
    }
}
