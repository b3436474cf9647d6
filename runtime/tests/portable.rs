//! What a build without the parts that only Linux has says and does.
#![cfg(not(all(target_os = "linux", not(spanwire_portable))))]

use spanwire_runtime::driver::{Choice, Kind};
use spanwire_runtime::{BuildError, Builder};

#[test]
fn auto_takes_the_poller_and_says_why() {
    let runtime = Builder::new().io(Choice::Auto).build().unwrap();
    assert_eq!(runtime.driver().kind, Kind::Epoll);
    let reason = runtime.driver().reason.as_ref().unwrap();
    assert!(reason.contains("io_uring is not in this build"), "{reason}");
}

#[test]
fn a_forced_ring_is_an_error_that_says_what_to_do() {
    let error = Builder::new().io(Choice::Uring).build().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, BuildError::Driver(_)));
    assert!(text.contains("not in this build") && text.contains("SPANWIRE_IO"), "{text}");
}
