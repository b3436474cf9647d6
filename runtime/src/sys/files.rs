//! Reading and writing files at an offset, which unix and Windows spell differently.

use std::fs::{File, OpenOptions};
use std::io;

/// One `pread`, or what comes nearest; may be short.
///
/// # Errors
///
/// The system's.
#[cfg(unix)]
pub fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

/// One `pwrite`, or what comes nearest; may be short.
///
/// # Errors
///
/// The system's.
#[cfg(unix)]
pub fn write_at(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, buf, offset)
}

/// A standard stream as a file of its own, past the buffer and the lock of the standard library:
/// what is written to it is written, or fails, at once. To keep it apart from what others print,
/// flush the lock first, and hold it meanwhile.
///
/// # Errors
///
/// Those of duplicating it.
#[cfg(unix)]
pub fn unbuffered(stdout: &impl std::os::fd::AsFd) -> io::Result<File> {
    stdout.as_fd().try_clone_to_owned().map(File::from)
}

/// A standard stream as a file of its own, past the buffer and the lock of the standard library:
/// what is written to it is written, or fails, at once. To keep it apart from what others print,
/// flush the lock first, and hold it meanwhile.
///
/// # Errors
///
/// Those of duplicating it.
#[cfg(windows)]
pub fn unbuffered(stdout: &impl std::os::windows::io::AsHandle) -> io::Result<File> {
    stdout.as_handle().try_clone_to_owned().map(File::from)
}

/// Makes a directory's entries durable.
///
/// # Errors
///
/// The system's.
#[cfg(unix)]
pub fn sync_dir(path: &std::path::Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Permissions of a file that is created, before the process's umask.
#[cfg(unix)]
pub fn set_mode(options: &mut OpenOptions, mode: u32) {
    std::os::unix::fs::OpenOptionsExt::mode(options, mode);
}

/// The file behind a descriptor.
///
/// # Safety
///
/// - The descriptor is open and nobody else's.
#[cfg(unix)]
pub unsafe fn adopt(fd: i32) -> File {
    use std::os::fd::FromRawFd;
    // SAFETY: the caller's.
    unsafe { File::from_raw_fd(fd) }
}

/// See above; also moves the file's position, which nothing here uses.
///
/// # Errors
///
/// The system's.
#[cfg(not(unix))]
pub fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

/// See above; also moves the file's position, which nothing here uses.
///
/// # Errors
///
/// The system's.
#[cfg(not(unix))]
pub fn write_at(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, buf, offset)
}

/// There is nothing to do: a directory cannot be flushed on Windows, whose file systems log
/// changes of directories themselves.
///
/// # Errors
///
/// If there is no such directory.
#[cfg(not(unix))]
pub fn sync_dir(path: &std::path::Path) -> io::Result<()> {
    path.metadata().map(drop)
}

/// There are no such permissions on Windows.
#[cfg(not(unix))]
pub fn set_mode(_options: &mut OpenOptions, _mode: u32) {}

/// Nobody has such a descriptor: there is no ring.
///
/// # Safety
///
/// - None; it has the signature of its twin.
#[cfg(not(unix))]
pub unsafe fn adopt(_fd: i32) -> File {
    unreachable!("descriptors come from a ring, and there is none")
}
