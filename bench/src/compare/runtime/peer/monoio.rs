//! monoio on io_uring: one thread, whose tasks nobody else may wake.

use std::{future::Future, io, mem, net::SocketAddr, time::Duration};

use futures_lite::future::yield_now;
use monoio::{
    IoUringDriver, RuntimeBuilder,
    io::{AsyncReadRentExt as _, AsyncWriteRentExt as _},
    net::TcpStream,
    task::JoinHandle,
    time,
};

use super::CANNOT_OPEN;
use crate::compare::runtime::{
    io as io_rows,
    row::{Group, Row},
    samples::Samples,
    seam::{Client, Interval, Io, MESSAGE_BYTES, Tasks},
    tasks,
};

/// Measures `row`. The body is a task, as with the others.
pub(super) fn measure(row: Row, samples: Samples, server: SocketAddr) -> Result<Vec<f64>, String> {
    let built = RuntimeBuilder::<IoUringDriver>::new().enable_timer().build();
    let mut runtime = built.map_err(|error| format!("{CANNOT_OPEN}{error}"))?;
    Ok(runtime.block_on(async {
        match row.group() {
            Group::Tasks => monoio::spawn(tasks::body::<Monoio>(row, samples)).await,
            Group::Io => monoio::spawn(io_rows::body::<Monoio>(row, samples, server)).await,
            Group::Outside => unreachable!("{row} does not suit monoio"),
        }
    }))
}

struct Monoio;

impl Tasks for Monoio {
    type Join<T: Send + 'static> = JoinHandle<T>;

    fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        monoio::spawn(future)
    }

    /// monoio has none of its own.
    fn yield_now() -> impl Future<Output = ()> + Send {
        yield_now()
    }
}

impl Io for Monoio {
    type Client = Stream;

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        time::sleep(duration)
    }

    fn spawn_sleep(duration: Duration) -> impl Future<Output = ()> + Unpin {
        monoio::spawn(time::sleep(duration))
    }
    fn spawn_echoes(server: SocketAddr) -> impl Future<Output = Interval> + Unpin {
        monoio::spawn(io_rows::echoes::<Stream>(server))
    }
}

struct Stream {
    stream: TcpStream,
    /// Lent to the kernel for each send, and for each receive.
    message: Vec<u8>,
}

impl Client for Stream {
    async fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, message: vec![7; MESSAGE_BYTES] })
    }

    async fn round_trip(&mut self) -> io::Result<()> {
        let (sent, message) = self.stream.write_all(mem::take(&mut self.message)).await;
        sent?;
        let (received, message) = self.stream.read_exact(message).await;
        self.message = message;
        received.map(drop)
    }
}
