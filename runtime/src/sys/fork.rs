//! Whether this process is a fork of the one that made something.
//!
//! A forked child has a copy of the parent's memory and one of its threads: the one that forked.
//! Workers are not there any more, locks may be held for ever by threads that do not exist, and
//! descriptors are shared with the parent, down to its ring and its eventfds. So whatever has a
//! worker, a lock or a descriptor remembers its [`Origin`], and in a child it does nothing:
//! it refuses, it returns, and it leaks rather than frees.
//!
//! Asking is two loads. On Linux the answer is a word on a page that the kernel hands to a child
//! zeroed (`MADV_WIPEONFORK`, 4.14), which `clone` cannot evade and process ids cannot imitate.
//! Elsewhere it is the process id.

use std::fmt;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::wiped;

/// The process in which something was made.
///
/// # Examples
///
/// ```
/// let origin = spanwire_runtime::Origin::here();
/// assert!(origin.is_here(), "and it is not in a child that is forked from now on");
/// ```
#[derive(Clone, Copy)]
pub struct Origin {
    /// Where the process's generation stands; none if process ids have to do.
    word: Option<&'static AtomicU64>,
    /// The generation, which is never zero; or the process id.
    generation: u64,
}

impl Origin {
    /// This process.
    #[must_use]
    pub fn here() -> Self {
        let word = wiped::word();
        let generation = word.map_or_else(|| process::id().into(), generation);
        Self { word, generation }
    }

    /// Whether the calling process is the one that this was made in. False in its children, and
    /// in theirs. Takes no lock and, on Linux, makes no system call.
    #[inline]
    #[must_use]
    pub fn is_here(&self) -> bool {
        match self.word {
            // Ordering: none is needed: a child is a copy of one moment of the parent. Threads of
            // a child may see zero or the child's generation here, and neither is the parent's.
            Some(word) => word.load(Ordering::Relaxed) == self.generation,
            None => u64::from(process::id()) == self.generation,
        }
    }
}

impl Origin {
    /// A number that is never zero, and that none of this process's ancestors has.
    pub(crate) fn generation(self) -> u64 {
        self.generation
    }

    /// An ancestor's, for tests.
    #[cfg(any(test, feature = "internals"))]
    #[doc(hidden)]
    pub fn of_another() -> Self {
        Self { generation: u64::MAX, ..Self::here() }
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self::here()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("is_here", &self.is_here()).finish_non_exhaustive()
    }
}

/// The generation of this process, which is given to it when somebody first asks.
fn generation(word: &AtomicU64) -> u64 {
    // Ordering: the word stands for itself; nothing is published with it.
    let known = word.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // A child starts with its parent's count, so it counts on from there: none of its ancestors
    // has the number. Siblings may share one, and share no memory.
    let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match word.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(others) => others,
    }
}

/// The last generation that was given to this process or to one of its ancestors.
static LAST: AtomicU64 = AtomicU64::new(0);
