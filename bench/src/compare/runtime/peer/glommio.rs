//! glommio: one thread, three rings.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, future::yield_now};
use glommio::{LocalExecutorBuilder, Task, net::TcpStream, timer};

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
    let made = LocalExecutorBuilder::default().make();
    let executor = made.map_err(|error| format!("{CANNOT_OPEN}{error}"))?;
    Ok(executor.run(async {
        match row.group() {
            Group::Tasks => glommio::spawn_local(tasks::body::<Glommio>(row, samples)).await,
            Group::Io => glommio::spawn_local(io_rows::body::<Glommio>(row, samples, server)).await,
            Group::Outside => unreachable!("{row} does not suit glommio"),
        }
    }))
}

struct Glommio;

impl Tasks for Glommio {
    type Join<T: Send + 'static> = Task<T>;

    fn spawn<F>(future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        glommio::spawn_local(future)
    }

    fn detach<T: Send + 'static>(task: Task<T>) {
        drop(task.detach());
    }

    /// What its own `yield_now` calls; that one needs a proxy of the executor, which is not `Send`.
    fn yield_now() -> impl Future<Output = ()> + Send {
        yield_now()
    }
}

impl Io for Glommio {
    type Client = Stream;

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        timer::sleep(duration)
    }

    fn spawn_sleep(duration: Duration) -> impl Future<Output = ()> + Unpin {
        glommio::spawn_local(timer::sleep(duration))
    }
    fn spawn_echoes(server: SocketAddr) -> impl Future<Output = Interval> + Unpin {
        glommio::spawn_local(io_rows::echoes::<Stream>(server))
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
        self.0.read_exact(&mut message).await
    }
}
