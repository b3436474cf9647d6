//! Files, as far as a queue on disk needs them: reading and writing at an offset, and making
//! that durable.
//!
//! With io_uring the calls go through the worker's ring; otherwise the runtime's blocking pool
//! makes them (see [`crate::blocking`] for its bounds). What they do is the same. Buffers are
//! owned by the call while it runs, so each future may be dropped at any moment: the call is
//! cancelled if it has not begun, and a file that it opens for nobody is closed. Whether a call
//! whose future was dropped has taken effect is unknown.
//!
//! Calls that are in flight together are in no order: await a write before syncing it.
//!
//! # Examples
//!
//! Replacing a file so that a crash leaves the old one or the new one, and never half of it:
//!
//! ```
//! use std::path::PathBuf;
//! use spanwire_runtime::{Builder, fs};
//!
//! async fn replace(dir: PathBuf, name: &str, content: bytes::Bytes) -> std::io::Result<()> {
//!     let (draft, target) = (dir.join(format!("{name}.draft")), dir.join(name));
//!     let file = fs::File::create(&draft).await?;
//!     file.write_all_at(vec![content], 0).await?;
//!     file.sync_data().await?;
//!     file.close().await?;
//!     fs::rename(&draft, &target).await?;
//!     // The new name is durable once its directory is.
//!     fs::sync_dir(&dir).await
//! }
//!
//! let dir = std::env::temp_dir().join(format!("spanwire-doc-{}", std::process::id()));
//! std::fs::create_dir_all(&dir)?;
//! let runtime = Builder::new().build()?;
//! let within = dir.clone();
//! let task = runtime.spawn_pinned(|| replace(within, "queue", "new content".into()));
//! runtime.block_on(task)??;
//! assert_eq!(std::fs::read(dir.join("queue"))?, b"new content");
//! std::fs::remove_dir_all(dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod perform;

use std::fmt;
use std::fs as std_fs;
use std::io;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;

use self::perform::{on_pool, perform};
use crate::buf::advance;
use crate::driver::op::file::Call;
pub use crate::driver::op::file::OpenOptions;
use crate::driver::{self, Shared};
use crate::sys::files;
pub use crate::sys::files::unbuffered;

/// An open file. It belongs to the worker that opened it (`!Send`).
///
/// Dropping it closes it, once nothing is in flight any more; [`close`](Self::close) does that
/// off the worker.
///
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<spanwire_runtime::fs::File>();
/// ```
pub struct File {
    /// Shared with the calls in flight.
    file: Arc<std_fs::File>,
    driver: Weak<Shared>,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with).
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_with(path, OpenOptions::new().read(true)).await
    }

    /// Opens a file for writing; creates it, or empties it.
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with).
    pub async fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let options = OpenOptions::new().write(true).create(true).truncate(true);
        Self::open_with(path, options).await
    }

    /// Opens a file.
    ///
    /// # Errors
    ///
    /// Those of `open(2)`, for example [`io::ErrorKind::NotFound`];
    /// [`io::ErrorKind::InvalidInput`] if the options do not fit together or the path contains a
    /// NUL; or if this thread is no worker.
    pub async fn open_with(path: impl AsRef<Path>, options: OpenOptions) -> io::Result<Self> {
        let driver = Shared::current()?;
        let call = Call::Open { path: path.as_ref().to_owned(), options, opened: None };
        let (call, result) = perform(&driver, call).await;
        result?;
        match call {
            Some(Call::Open { opened: Some(file), .. }) => {
                Ok(Self { file: Arc::new(file), driver: Rc::downgrade(&driver) })
            }
            _ => Err(io::Error::other("a file was opened and is gone")),
        }
    }

    /// Reads once into the spare capacity of `buf` (appends), at most 1 GiB; may be short. 0 is
    /// the end of the file.
    ///
    /// # Errors
    ///
    /// Those of `pread(2)`; or [`io::ErrorKind::InvalidInput`] if `buf` has no spare capacity or
    /// `offset` is above [`i64::MAX`].
    pub async fn read_at(&self, buf: Vec<u8>, offset: u64) -> (io::Result<usize>, Vec<u8>) {
        let call = Call::Read { file: Arc::clone(&self.file), buf, offset };
        match self.perform(call).await {
            (Some(Call::Read { buf, .. }), result) => (result, buf),
            (_, result) => (result, Vec::new()),
        }
    }

    /// Writes once, in the order of `bufs`; may be short. Gives the buffers back, untouched, with
    /// the number of bytes written. One call writes at most 1024 buffers and 1 GiB.
    ///
    /// # Errors
    ///
    /// Those of `pwritev(2)`, for example [`io::ErrorKind::StorageFull`]; or
    /// [`io::ErrorKind::InvalidInput`] if `offset` is above [`i64::MAX`].
    pub async fn write_at(&self, bufs: Vec<Bytes>, offset: u64) -> (io::Result<usize>, Vec<Bytes>) {
        if bufs.iter().all(Bytes::is_empty) {
            return (Ok(0), bufs);
        }
        let call = Call::Write { file: Arc::clone(&self.file), bufs, offset };
        match self.perform(call).await {
            (Some(Call::Write { bufs, .. }), result) => (result, bufs),
            (_, result) => (result, Vec::new()),
        }
    }

    /// Writes everything, without copying.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at); an unknown part of `bufs` was written then.
    pub async fn write_all_at(&self, mut bufs: Vec<Bytes>, mut offset: u64) -> io::Result<()> {
        bufs.retain(|buf| !buf.is_empty());
        while !bufs.is_empty() {
            let (written, back) = self.write_at(bufs, offset).await;
            bufs = back;
            match written? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => {
                    advance(&mut bufs, count);
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }

    /// Makes durable what was written, and all about the file (`fsync`).
    ///
    /// # Errors
    ///
    /// Those of `fsync(2)`. After one of them nobody knows what is durable, and another call may
    /// succeed all the same: write again elsewhere.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.sync(false).await
    }

    /// As [`sync_all`](Self::sync_all), but without what reading does not need, such as times
    /// (`fdatasync`).
    ///
    /// # Errors
    ///
    /// As [`sync_all`](Self::sync_all).
    pub async fn sync_data(&self) -> io::Result<()> {
        self.sync(true).await
    }

    /// The file's length in bytes, asked of the system here and now; on a network's file system
    /// that may take a while.
    ///
    /// # Errors
    ///
    /// Those of `fstat(2)`.
    #[allow(clippy::len_without_is_empty, reason = "an emptiness that may change is no property")]
    pub fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// Cuts the file off at `length`, or appends zeros. The blocking pool does it.
    ///
    /// # Errors
    ///
    /// Those of `ftruncate(2)`.
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        on_pool(move || file.set_len(length)).await
    }

    /// Closes the file off the worker. If a call whose future was dropped has it still, its end
    /// closes it.
    ///
    /// # Errors
    ///
    /// Those of `close(2)`, as far as they are told; [`sync_all`](Self::sync_all) is what tells
    /// that something could not be written. Or if the worker has shut down. The file is closed in
    /// any case.
    pub async fn close(self) -> io::Result<()> {
        let driver = self.driver.upgrade().ok_or_else(driver::shut_down)?;
        let Some(file) = Arc::into_inner(self.file) else { return Ok(()) };
        perform(&driver, Call::Close { file: Some(file) }).await.1.map(drop)
    }

    async fn sync(&self, data_only: bool) -> io::Result<()> {
        self.perform(Call::Sync { file: Arc::clone(&self.file), data_only }).await.1.map(drop)
    }

    async fn perform(&self, call: Call) -> (Option<Call>, io::Result<usize>) {
        match self.driver.upgrade() {
            Some(driver) => perform(&driver, call).await,
            None => (Some(call), Err(driver::shut_down())),
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Gives a file the name `to`, at once: whoever opens `to` gets the old file or the new one. It is
/// durable once the directories of both names are; see [`sync_dir`].
///
/// # Errors
///
/// Those of `rename(2)`, for example [`io::ErrorKind::NotFound`], or
/// [`io::ErrorKind::CrossesDevices`]; or if this thread is no worker.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let driver = Shared::current()?;
    let call = Call::Rename { from: from.as_ref().to_owned(), to: to.as_ref().to_owned() };
    perform(&driver, call).await.1.map(drop)
}

/// Makes the names in a directory durable: what was created, renamed and removed there. On
/// Windows, where that is no call, it does nothing.
///
/// # Errors
///
/// Those of `open(2)` and `fsync(2)`; or if this thread is no worker.
pub async fn sync_dir(path: impl AsRef<Path>) -> io::Result<()> {
    if Shared::current()?.takes_files() {
        let dir = File::open(path).await?;
        dir.sync_all().await?;
        return dir.close().await;
    }
    let path = path.as_ref().to_owned();
    on_pool(move || files::sync_dir(&path)).await
}

/// Creates a directory, and those above it. The blocking pool does it.
///
/// # Errors
///
/// Those of [`std::fs::create_dir_all`]; or if this thread is no worker.
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    on_pool(move || std_fs::create_dir_all(path)).await
}

/// Removes a file's name. The blocking pool does it.
///
/// # Errors
///
/// Those of [`std::fs::remove_file`]; or if this thread is no worker.
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    on_pool(move || std_fs::remove_file(path)).await
}
