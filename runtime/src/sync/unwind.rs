//! Foreign code that panics: wakers, destructors and futures of the user.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic was raised with.
pub type Payload = Box<dyn Any + Send + 'static>;

/// Calls `code`, and returns its panic as an error.
///
/// The caller has to leave its own data valid before it calls foreign code, panic or not;
/// that is why unwind safety is asserted here, once.
pub fn catch<R>(code: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(code))
}

/// Calls `code`; a panic in it ends here. The panic hook has reported it by then.
pub fn quietly(code: impl FnOnce()) {
    if let Err(payload) = catch(code) {
        discard(payload);
    }
}

/// Drops a payload, which is foreign code as well: one that panics when dropped is leaked.
pub fn discard(payload: Payload) {
    if let Err(second) = catch(|| drop(payload)) {
        mem::forget(second);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;
    use std::thread;

    use super::*;

    /// Panics when dropped, unless the thread unwinds already.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic_any(Self);
            }
        }
    }

    #[test]
    fn a_payload_that_panics_when_dropped_ends_here() {
        quietly(|| panic_any(Bomb));
        quietly(|| drop(Bomb));
        discard(Box::new(Bomb));
    }
}
