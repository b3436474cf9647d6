//! What the rows ask of a runtime. Each row is written once, against these traits; each peer
//! implements them in a file of its own, the way its own documentation would have it.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Tasks, for code that runs on the runtime.
///
/// A type stands for a way of spawning: spanwire has two of them.
pub trait Tasks: Send + Sync + 'static {
    /// Waits for a task. What happens when it is dropped differs: see [`detach`](Self::detach).
    type Join<T: Send + 'static>: Future<Output = T> + Unpin + 'static;

    /// Spawns a task from a task.
    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    /// Lets a task run on without anyone who waits for it. With most, dropping does that.
    fn detach<T: Send + 'static>(join: Self::Join<T>) {
        drop(join);
    }

    /// Lets the other tasks run first.
    fn yield_now() -> impl Future<Output = ()> + Send;
}

/// Timers and sockets, for code that runs on the runtime.
pub trait Io: 'static {
    /// A TCP connection.
    type Client: Client;

    /// Waits so long.
    fn sleep(duration: Duration) -> impl Future<Output = ()>;

    /// A task that sleeps once. (It is not left to [`Tasks::spawn`] because some timers belong to a
    /// thread.)
    fn spawn_sleep(duration: Duration) -> impl Future<Output = ()> + Unpin;

    /// A task that connects and does [`echoes`](super::io::echoes).
    fn spawn_echoes(server: SocketAddr) -> impl Future<Output = Interval> + Unpin;
}

/// A TCP connection to an echo server.
pub trait Client: Sized + 'static {
    /// Connects, with TCP_NODELAY.
    fn connect(server: SocketAddr) -> impl Future<Output = io::Result<Self>>;

    /// Sends a message of [`MESSAGE_BYTES`] and receives it back.
    fn round_trip(&mut self) -> impl Future<Output = io::Result<()>>;
}

/// A runtime for code that does not run on it: a handle, from the main thread.
pub trait Outside: Sync {
    /// What its tasks do to spawn others.
    type Tasks: Tasks;

    /// Spawns from outside.
    fn spawn<F>(&self, future: F) -> <Self::Tasks as Tasks>::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    /// Waits on the calling thread, which is no worker.
    fn block_on<F: Future>(&self, future: F) -> F::Output;

    /// Threads that run tasks.
    fn workers(&self) -> usize;
}

/// From when until when.
pub type Interval = (Instant, Instant);

/// Bytes of the echoed message.
pub const MESSAGE_BYTES: usize = 64;
