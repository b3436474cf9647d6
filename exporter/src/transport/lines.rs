//! Lines of JSON, appended to a file or to the standard output.
//!
//! The form is that of the OpenTelemetry Protocol File Exporter
//! (opentelemetry-specification, protocol/file-exporter.md): one JSON object a line, lines end
//! with `\n` alone, files are appended to. Writing blocks, so it belongs on a thread that may.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use spanwire_runtime::fs::unbuffered;

/// Where lines go. Several threads may append: a line is never mixed with another.
pub(crate) struct Lines {
    out: Mutex<Out>,
    /// The same once more, for a forked process.
    again: Option<File>,
}

struct Out {
    to: Box<dyn Write + Send>,
    /// Part of a line was written, so the next one must not go on with it.
    is_torn: bool,
}

impl Lines {
    /// Appends to the file at `path`, which is created if there is none.
    ///
    /// # Errors
    ///
    /// Those of `open(2)`.
    pub(crate) fn to_file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let again = Some(file.try_clone()?);
        Ok(Self { again, ..Self::to(file) })
    }

    /// Writes to the standard output.
    pub(crate) fn to_stdout() -> Self {
        Self { again: unbuffered(&io::stdout()).ok(), ..Self::to(Stdout) }
    }

    fn to(to: impl Write + Send + 'static) -> Self {
        Self { out: Mutex::new(Out { to: Box::new(to), is_torn: false }), again: None }
    }

    /// The same, past any lock that may be held.
    ///
    /// # Errors
    ///
    /// Those of duplicating a descriptor.
    pub(crate) fn again(&self) -> io::Result<Self> {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let file = self.again.as_ref().ok_or_else(closed)?;
        let again = Some(file.try_clone()?);
        Ok(Self { again, ..Self::to(file.try_clone()?) })
    }

    /// Appends `line`, which has no line feed, and one. Blocks.
    ///
    /// # Errors
    ///
    /// Those of `write(2)`. Part of the line may be written; it is ended before the next one.
    pub(crate) fn append(&self, mut line: Vec<u8>) -> io::Result<()> {
        debug_assert!(!line.contains(&b'\n'), "a line is a line");
        line.push(b'\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if out.is_torn {
            out.write(b"\n")?;
        }
        out.write(&line)
    }
}

impl Out {
    /// Writes `bytes`, which end a line.
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.to.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    self.is_torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

/// The standard output, locked for each write, so that what others print is not mixed in; past
/// the buffer of the standard library, which would keep what cannot be written for later, when
/// it is tried again anyway, and takes what is written to a closed one for written.
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stdout = io::stdout().lock();
        stdout.flush()?;
        unbuffered(&stdout)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A disk with room for so many bytes.
    struct Disk {
        room: usize,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                // There will be room when it is tried again.
                self.room = usize::MAX;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(self.room);
            self.room -= count;
            self.written.lock().unwrap().extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_short_does_not_spoil_the_next_one() {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let lines = Lines::to(Disk { room: 6, written: Arc::clone(&written) });
        lines.append(b"{1}".to_vec()).unwrap();
        let error = lines.append(b"{22}".to_vec()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        lines.append(b"{22}".to_vec()).unwrap();
        lines.append(b"{3}".to_vec()).unwrap();
        assert_eq!(*written.lock().unwrap(), b"{1}\n{2\n{22}\n{3}\n");
    }

    #[test]
    fn a_line_of_which_nothing_was_written_leaves_no_empty_line() {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let lines = Lines::to(Disk { room: 4, written: Arc::clone(&written) });
        lines.append(b"{1}".to_vec()).unwrap();
        lines.append(b"{22}".to_vec()).unwrap_err();
        lines.append(b"{22}".to_vec()).unwrap();
        assert_eq!(*written.lock().unwrap(), b"{1}\n{22}\n");
    }
}
