//! Calls that work on files: each as an operation of a ring, and made in place.

use std::ffi::CString;
use std::fs;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::message::{commit, pieces, spare, vectors};
use super::{Operation, errno_of, outcome};
use crate::driver::socket::Socket;
use crate::sys::{errno, files};

/// How a file is opened. Without any setting nothing can be done with it, as with
/// [`std::fs::OpenOptions`], whose words these are.
///
/// Files are closed on exec. There is no appending: writes name their offset.
///
/// # Examples
///
/// ```
/// use spanwire_runtime::fs::OpenOptions;
///
/// let segment = OpenOptions::new().read(true).write(true).create(true);
/// # let _ = segment;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    pub(in crate::driver) read: bool,
    pub(in crate::driver) write: bool,
    pub(in crate::driver) create: bool,
    pub(in crate::driver) create_new: bool,
    pub(in crate::driver) truncate: bool,
    pub(in crate::driver) mode: u32,
}

impl OpenOptions {
    /// Nothing is set; a file that is created can be read and written by all whom the process's
    /// umask allows.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            read: false,
            write: false,
            create: false,
            create_new: false,
            truncate: false,
            mode: MODE,
        }
    }

    /// The file will be read.
    #[must_use]
    pub const fn read(mut self, yes: bool) -> Self {
        self.read = yes;
        self
    }

    /// The file will be written.
    #[must_use]
    pub const fn write(mut self, yes: bool) -> Self {
        self.write = yes;
        self
    }

    /// Creates the file if there is none. Needs `write`.
    #[must_use]
    pub const fn create(mut self, yes: bool) -> Self {
        self.create = yes;
        self
    }

    /// Creates the file, and fails if there is one, or a link, of that name. Needs `write`.
    #[must_use]
    pub const fn create_new(mut self, yes: bool) -> Self {
        self.create_new = yes;
        self
    }

    /// Empties the file. Needs `write`.
    #[must_use]
    pub const fn truncate(mut self, yes: bool) -> Self {
        self.truncate = yes;
        self
    }

    /// Permissions of a file that is created, before the process's umask; unix only. 0o666 unless
    /// set.
    #[must_use]
    pub const fn mode(mut self, bits: u32) -> Self {
        self.mode = bits;
        self
    }

    /// Whether the settings fit together.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if not.
    fn check(&self) -> io::Result<()> {
        let changes = self.create || self.create_new || self.truncate;
        if !self.write && (changes || !self.read) {
            return Err(invalid("opening a file needs `read` or `write`, and changing it `write`"));
        }
        Ok(())
    }

    fn of_std(&self) -> fs::OpenOptions {
        let mut options = fs::OpenOptions::new();
        options.read(self.read).write(self.write).create(self.create);
        options.create_new(self.create_new).truncate(self.truncate);
        files::set_mode(&mut options, self.mode);
        options
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A call, with all that it needs; it can be made on any thread.
pub(crate) enum Call {
    /// Opens a file.
    Open {
        /// Which.
        path: PathBuf,
        /// How.
        options: OpenOptions,
        /// The file, once it is open.
        opened: Option<fs::File>,
    },
    /// Reads into the spare capacity of a buffer.
    Read {
        /// Open until the call has ended.
        file: Arc<fs::File>,
        /// Never reallocated while in flight.
        buf: Vec<u8>,
        /// Where in the file.
        offset: u64,
    },
    /// Writes from many buffers, perhaps not all.
    Write {
        /// Open until the call has ended.
        file: Arc<fs::File>,
        /// What is written.
        bufs: Vec<Bytes>,
        /// Where in the file.
        offset: u64,
    },
    /// Makes what was written durable.
    Sync {
        /// Open until the call has ended.
        file: Arc<fs::File>,
        /// Not what a reader does not need, such as times.
        data_only: bool,
    },
    /// Gives a file another name, and takes that from whatever had it.
    Rename {
        /// The name that goes.
        from: PathBuf,
        /// The name that comes.
        to: PathBuf,
    },
    /// Closes a file.
    Close {
        /// Owned until it is closed.
        file: Option<fs::File>,
    },
}

impl Call {
    /// Whether the call can be made at all.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if not, with the reason.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self {
            Self::Open { path, options, .. } => options.check().and_then(|()| check_name(path)),
            Self::Rename { from, to } => check_name(from).and_then(|()| check_name(to)),
            Self::Read { buf, .. } if buf.len() == buf.capacity() => {
                Err(invalid("the buffer is full: reserve room before reading"))
            }
            Self::Read { offset, .. } | Self::Write { offset, .. } if *offset > OFFSET_MAX => {
                Err(invalid("the offset is beyond the end of any file"))
            }
            _ => Ok(()),
        }
    }

    /// Makes the call here and now, which may block.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn make(&mut self) -> io::Result<usize> {
        match self {
            Self::Open { path, options, opened } => {
                *opened = Some(options.of_std().open(path)?);
                Ok(0)
            }
            Self::Read { file, buf, offset } => read(file, buf, *offset),
            Self::Write { file, bufs, offset } => write(file, bufs, *offset),
            Self::Sync { file, data_only: true } => file.sync_data().map(|()| 0),
            Self::Sync { file, data_only: false } => file.sync_all().map(|()| 0),
            Self::Rename { from, to } => fs::rename(from, to).map(|()| 0),
            Self::Close { file } => {
                drop(file.take());
                Ok(0)
            }
        }
    }

    /// Takes over what a ring has made of the call.
    fn settle(&mut self, result: &io::Result<usize>) {
        match self {
            Self::Open { opened, .. } => {
                let fd = result.as_ref().ok().and_then(|&fd| i32::try_from(fd).ok());
                // SAFETY: the kernel has just opened this descriptor for this call.
                *opened = fd.map(|fd| unsafe { files::adopt(fd) });
            }
            Self::Read { buf, .. } => commit(buf, result),
            // After any other error the descriptor is gone, as with close(2) on Linux.
            Self::Close { file } => {
                if !matches!(errno_of(result), Some(errno::CANCELED | errno::NO_BUFS)) {
                    std::mem::forget(file.take());
                }
            }
            Self::Write { .. } | Self::Sync { .. } | Self::Rename { .. } => {}
        }
    }
}

/// A call as an operation of a ring.
pub(crate) struct File {
    pub(in crate::driver) call: Call,
    /// The paths of the call, in order; the kernel may read them at any time.
    pub(in crate::driver) names: Vec<CString>,
    /// What of a write's buffers is written.
    pub(in crate::driver) vectors: Vec<IoSlice<'static>>,
}

impl File {
    pub(super) fn new(call: Call) -> Self {
        let vectors = match &call {
            // SAFETY: `call` owns the buffers, and goes wherever the vectors go: nobody reads
            // these but the kernel, while the operation is in flight.
            Call::Write { bufs, .. } => unsafe { vectors(bufs) },
            _ => Vec::new(),
        };
        let names = match &call {
            Call::Open { path, .. } => vec![name(path)],
            Call::Rename { from, to } => vec![name(from), name(to)],
            _ => Vec::new(),
        };
        Self { call, names, vectors }
    }

    pub(super) fn into_call(mut self, result: &io::Result<usize>) -> Call {
        self.call.settle(result);
        self.call
    }
}

impl Operation for File {
    fn socket(&self) -> Option<&Socket> {
        None
    }

    fn is_cancellable(&self) -> bool {
        !matches!(self.call, Call::Close { .. })
    }

    /// Reading, writing and syncing twice is as good as once, and opening, unless the first time
    /// has created what the second must not find. A second rename would not find its file.
    fn is_repeatable(&self) -> bool {
        match &self.call {
            Call::Open { options, .. } => !options.create_new,
            Call::Read { .. } | Call::Write { .. } | Call::Sync { .. } => true,
            Call::Rename { .. } | Call::Close { .. } => false,
        }
    }

    /// A file that was opened for nobody is closed, with what this is dropped.
    fn dispose(&mut self, result: i32) {
        self.call.settle(&outcome(result));
    }
}

/// Reads into the spare capacity of `buf`, which a slice cannot show: so it is zeroed first.
fn read(file: &fs::File, buf: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
    let start = buf.len();
    buf.resize(start + spare(buf), 0);
    let read = uninterrupted(|| files::read_at(file, &mut buf[start..], offset));
    buf.truncate(start + read.as_ref().unwrap_or(&0));
    read
}

/// Writes until all is written, or something fails; what was written counts then.
fn write(file: &fs::File, bufs: &[Bytes], offset: u64) -> io::Result<usize> {
    let mut written = 0;
    for piece in pieces(bufs) {
        let at = offset.saturating_add(written as u64);
        match uninterrupted(|| files::write_at(file, piece, at)) {
            Ok(count) if count == piece.len() => written += count,
            Ok(count) => return Ok(written + count),
            Err(_) if written > 0 => return Ok(written),
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    for _ in 0..INTERRUPTIONS_MAX {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
    call()
}

/// A path that was checked, for the kernel.
fn name(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default()
}

fn check_name(path: &Path) -> io::Result<()> {
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(invalid(&format!("the path {path:?} contains a NUL")));
    }
    Ok(())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// What std gives to new files.
const MODE: u32 = 0o666;
/// The kernel's offsets have a sign, and a ring takes -1 for the file's own position.
const OFFSET_MAX: u64 = i64::MAX.cast_unsigned();
/// How often a call that a signal has interrupted is made again.
const INTERRUPTIONS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::op::message::{CALL_BYTES_MAX, IOVECS_MAX};

    fn write_of(bufs: &[Bytes]) -> Vec<usize> {
        pieces(bufs).map(<[u8]>::len).collect()
    }

    /// compio #601: a length above `u32::MAX` was cut to its low half.
    #[test]
    fn one_write_stays_below_what_a_ring_entry_can_say() {
        // Zeroes that nobody touches cost no memory.
        let half = Bytes::from(vec![0; CALL_BYTES_MAX / 2 + 1]);
        let rest = CALL_BYTES_MAX - half.len();
        assert_eq!(write_of(&vec![half.clone(); 4]), [half.len(), rest]);
        assert_eq!(write_of(&vec![Bytes::from_static(b"x"); IOVECS_MAX + 1]).len(), IOVECS_MAX);
        assert_eq!(write_of(&[Bytes::new(), Bytes::from_static(b"xy"), Bytes::new()]), [2]);
    }

    /// neon #11819: calls on files end with ECANCELED although nobody has cancelled them.
    #[test]
    fn only_a_call_that_may_be_made_twice_is_made_again() {
        let open = |options| Call::Open { path: "a".into(), options, opened: None };
        let is_repeatable = |call| File::new(call).is_repeatable();
        assert!(is_repeatable(open(OpenOptions::new().write(true).create(true))));
        assert!(!is_repeatable(open(OpenOptions::new().write(true).create_new(true))));
        assert!(!is_repeatable(Call::Rename { from: "a".into(), to: "b".into() }));
        assert!(!is_repeatable(Call::Close { file: None }));
    }
}
