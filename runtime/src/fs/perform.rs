//! Who makes a call: the ring, or a thread of the blocking pool.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::blocking::spawn_blocking;
use crate::driver::Shared;
use crate::driver::op::Op;
use crate::driver::op::file::Call;
use crate::sync::shim::Mutex;

/// Makes `call`, and gives it back with its result; `None` if its thread panicked with it.
pub(super) async fn perform(driver: &Rc<Shared>, call: Call) -> (Option<Call>, io::Result<usize>) {
    if let Err(error) = call.check() {
        return (Some(call), Err(error));
    }
    if driver.takes_files() {
        let (op, result) = driver.start(Op::file(call)).await;
        return (op.into_call(&result), result);
    }
    // The pool drops what it refuses, but this call and its buffers are somebody's.
    let parcel = Arc::new(Mutex::new(Some(call)));
    let taken = Arc::clone(&parcel);
    let result = on_pool(move || {
        let mut call = taken.lock().take();
        let result = call.as_mut().map_or(Ok(0), Call::make);
        *taken.lock() = call;
        result
    });
    let result = result.await;
    let call = parcel.lock().take();
    (call, result)
}

/// Runs `work` on the blocking pool.
pub(super) async fn on_pool<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error.to_string())))
}
