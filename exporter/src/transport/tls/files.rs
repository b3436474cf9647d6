//! Whether files have changed, without reading them.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// What some files look like from outside, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<Stamp>>);

/// What one file looks like; symbolic links are followed, as mounted secrets are swapped by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Device and inode: a file that was moved into the place of another may be as old.
    identity: (u64, u64),
}

impl Stamps {
    /// Looks at `files`. One that is not there has no stamp.
    pub(super) fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        Self(files.map(Stamp::of).collect())
    }

    /// There are no files that could change.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let found = fs::metadata(file).ok()?;
        Some(Self {
            bytes: found.len(),
            modified: found.modified().ok(),
            identity: identity(&found),
        })
    }
}

#[cfg(unix)]
fn identity(found: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino())
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}
