//! What a driver promises, whatever the kernel and the futures do in whatever order.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::fake::{Fake, Kernel};
use super::socket::Socket;
use super::{Choice, Driver, Kind};

mod promises;
mod sequences;
mod slots;
mod teardown;

/// Counts its wake-ups. How often a waker is called is not ordered against anything.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A driver whose kernel is in the test's hands.
fn fake() -> (Driver, Kernel, Rc<Socket>) {
    let kernel = Kernel::default();
    let driver = Driver::new(Box::new(Fake(Rc::clone(&kernel))), Kind::Epoll);
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into();
    let socket = driver.0.socket(&addr).unwrap();
    (driver, kernel, socket)
}

/// The owner of bytes that are lent.
struct Owner(Arc<Vec<u8>>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[test]
fn the_environment_names_a_driver() {
    for (value, choice) in [
        ("", Choice::Auto),
        ("auto", Choice::Auto),
        ("uring", Choice::Uring),
        ("epoll", Choice::Epoll),
        (" EPoll\n", Choice::Epoll),
    ] {
        assert_eq!(value.parse(), Ok(choice));
    }
    let error = "io_uring".parse::<Choice>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "SPANWIRE_IO is \"io_uring\": set it to auto, uring or epoll, or unset it"
    );
}
