//! Foreign code that panics: wakers, destructors and futures of the user.

use std::any::Any;
use std::fmt;
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

/// What a task or a blocking call panicked with.
///
/// It may be sent to other threads, and shared by them: nobody reaches the value through a
/// shared reference, but for a message.
///
/// # Examples
///
/// ```
/// use spanwire_runtime::task::JoinError;
///
/// let runtime = spanwire_runtime::Builder::new().build()?;
/// let task = runtime.spawn(async { std::panic::panic_any(7_u8) });
/// let Err(JoinError::Panicked(panic)) = runtime.block_on(task) else { unreachable!() };
/// assert_eq!(panic.message(), None);
/// assert_eq!(panic.into_inner().downcast_ref(), Some(&7_u8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Panic(
    /// Boxed twice: one word here keeps every task small, and panics are rare.
    Box<Payload>,
);

// SAFETY: through a shared reference only `message` looks at the value, and only if it is a
// `&'static str` or a `String`, which are `Sync`.
unsafe impl Sync for Panic {}

impl Panic {
    /// What the panic said, if it said anything: `panic!` raises text.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        let text = self.0.downcast_ref::<&'static str>().copied();
        text.or_else(|| self.0.downcast_ref::<String>().map(String::as_str))
    }

    /// What the panic was raised with, for [`std::panic::resume_unwind`].
    #[must_use]
    pub fn into_inner(self) -> Payload {
        *self.0
    }
}

impl From<Payload> for Panic {
    fn from(payload: Payload) -> Self {
        Self(Box::new(payload))
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
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
