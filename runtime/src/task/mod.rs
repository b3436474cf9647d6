//! Tasks: one heap cell a future.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits for a task's output. Dropping it detaches the task.
#[derive(Debug)]
pub struct JoinHandle<T> {
    _todo: Option<T>,
}
impl<T> JoinHandle<T> {
    /// Asks the task to stop: its future is dropped by its worker.
    pub fn abort(&self) {
        todo!()
    }
    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        todo!()
    }
}
impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;
    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        todo!()
    }
}

/// Why there is no output.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The task panicked; here is what it panicked with.
    Panicked(Box<dyn Any + Send + 'static>),
    /// The task was aborted, or its runtime shut down.
    Aborted,
}
