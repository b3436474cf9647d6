//! A driver that ends before its operations leaks what the kernel may still touch. These tests leak
//! on purpose, and no others may: `ci/sanitize.sh` knows this file by its name.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Owner, fake};
use crate::driver::op::Op;

#[test]
fn a_kernel_that_never_ends_an_operation_gets_its_memory_for_good() {
    let (driver, kernel, socket) = fake();
    let bytes = Arc::new(vec![1; 100]);
    let bufs = vec![Bytes::from_owner(Owner(Arc::clone(&bytes)))];
    drop(driver.0.start(Op::send(socket.lease(), bufs)));
    assert_eq!(driver.shutdown(Duration::ZERO), 1);
    drop(driver);
    assert_eq!(Arc::strong_count(&bytes), 2);
    // Even now the kernel may read it.
    assert_eq!(kernel.borrow_mut().end(0, 100).1, 100);
    assert_eq!(kernel.borrow().sent, *bytes);
}

#[test]
fn a_driver_that_breaks_ends_its_worker_and_frees_nothing() {
    let (driver, kernel, socket) = fake();
    let bytes = Arc::new(vec![1; 100]);
    let bufs = vec![Bytes::from_owner(Owner(Arc::clone(&bytes)))];
    let send = driver.0.start(Op::send(socket.lease(), bufs));
    kernel.borrow_mut().is_broken = true;
    let panic = catch_unwind(AssertUnwindSafe(|| driver.park(None))).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("unusable"), "{text}");
    catch_unwind(AssertUnwindSafe(|| driver.turn())).unwrap_err();
    drop(send);
    // Without a limit, and all the same it waits for nothing.
    assert_eq!(driver.shutdown(Duration::MAX), 1);
    drop(driver);
    assert_eq!(Arc::strong_count(&bytes), 2, "even now the kernel may read it");
}

#[test]
fn an_unwinding_shutdown_frees_nothing() {
    let (driver, _kernel, socket) = fake();
    let bytes = Arc::new(vec![1; 100]);
    let bufs = vec![Bytes::from_owner(Owner(Arc::clone(&bytes)))];
    drop(driver.0.start(Op::send(socket.lease(), bufs)));
    // What is left of a shutdown that has panicked half-way.
    driver.0.is_shut_down.set(true);
    drop(driver);
    assert_eq!(Arc::strong_count(&bytes), 2);
}
