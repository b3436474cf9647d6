//! A stream with a buffer for each direction.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::mem;
use std::net::Shutdown;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;

use crate::net::Stream;

/// A stream behind the traits of other crates; see [the module](super) for which. `S` is a
/// [`TcpStream`](crate::net::TcpStream), a `UnixStream`, or whatever else leads to a [`Stream`].
///
/// Reading: what arrives waits in a buffer of 16 KiB. A read that is dropped loses nothing,
/// because the receive that it began belongs to this value and goes on.
///
/// Writing: a write takes what fits into a buffer of 64 KiB and begins to send it at once,
/// so it is soon on its way without a flush. While that send is under way, further writes are
/// gathered and go out together. A flush waits until the system has all of it. A write that
/// is dropped loses nothing either.
///
/// Closing flushes and then ends the sending half; the peer may go on to send. **Dropping this
/// does not flush**: what the system does not have by then may be lost, or sent in part.
///
/// After a failed send the peer may have any part of the bytes, so no more are taken: all
/// further writes fail.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "futures-io")] {
/// use futures_util::io::{AsyncReadExt, AsyncWriteExt};
/// use spanwire_runtime::{Builder, compat::Io, net::TcpStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let runtime = Builder::new().build()?;
/// let task = runtime.spawn_pinned(move || async move {
///     let mut stream = Io::new(TcpStream::connect(addr).await?);
///     stream.write_all(b"hello, world").await?;
///     stream.close().await
/// });
/// let text = std::io::read_to_string(listener.accept()?.0)?;
/// assert_eq!(text, "hello, world");
/// runtime.block_on(task)??;
/// # Ok(()) }
/// # main().unwrap() }
/// ```
pub struct Io<S> {
    stream: Rc<S>,
    reader: Reader,
    writer: Writer,
}

impl<S: Deref<Target = Stream> + 'static> Io<S> {
    /// Wraps `stream`. The buffers are made when they are first used.
    pub fn new(stream: S) -> Self {
        Self { stream: Rc::new(stream), reader: Reader::default(), writer: Writer::default() }
    }

    /// The stream, for its options and addresses. What is received or sent through it while a
    /// read or a write is under way comes in between.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// What has arrived and was not consumed; if nothing, waits for more. Empty: the peer has
    /// ended its half.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.reader.poll_fill(&self.stream, cx)
    }

    /// Takes `count` bytes off what has arrived, or all if there are fewer.
    pub(super) fn consume_unread(&mut self, count: usize) {
        let reader = &mut self.reader;
        reader.consumed = reader.buf.len().min(reader.consumed + count);
    }

    /// Takes bytes for sending, as many as there is room for.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer.poll_take(&self.stream, cx, pieces)
    }

    /// Waits until the system has all that was taken.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_sent(&self.stream, cx)
    }

    /// As [`poll_sent`](Self::poll_sent), then ends the sending half.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.writer.is_ended {
            ready!(self.writer.poll_sent(&self.stream, cx))?;
            self.writer.is_ended = true;
            match self.stream.shutdown(Shutdown::Write) {
                // There is nobody left to tell.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                ended => ended?,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: fmt::Debug> fmt::Debug for Io<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// The receiving half.
#[derive(Default)]
struct Reader {
    /// What the last receive has brought. Empty while one is under way, which has the memory.
    buf: Vec<u8>,
    /// How much of `buf` was consumed.
    consumed: usize,
    receiving: Option<Receiving>,
}

impl Reader {
    fn poll_fill<S>(&mut self, stream: &Rc<S>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>>
    where
        S: Deref<Target = Stream> + 'static,
    {
        if self.consumed == self.buf.len() {
            if self.receiving.is_none() {
                self.receiving = Some(self.receive(Rc::clone(stream)));
            }
            ready!(self.poll_receiving(cx))?;
        }
        Poll::Ready(Ok(&self.buf[self.consumed..]))
    }

    fn receive<S>(&mut self, stream: Rc<S>) -> Receiving
    where
        S: Deref<Target = Stream> + 'static,
    {
        let mut buf = mem::take(&mut self.buf);
        self.consumed = 0;
        buf.clear();
        buf.reserve_exact(READ_BYTES);
        Box::pin(async move { stream.recv(buf).await })
    }

    fn poll_receiving(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(receiving) = &mut self.receiving else { return Poll::Ready(Ok(0)) };
        let (received, buf) = ready!(receiving.as_mut().poll(cx));
        self.receiving = None;
        self.buf = buf;
        Poll::Ready(received)
    }
}

/// The sending half.
#[derive(Default)]
struct Writer {
    /// What was taken and is in no send yet; at most [`WRITE_BYTES`].
    pending: BytesMut,
    sending: Option<Sending>,
    /// A send has failed with this: what the peer has may end anywhere.
    failed: Option<io::ErrorKind>,
    /// The sending half has ended.
    is_ended: bool,
}

impl Writer {
    fn poll_take<S>(
        &mut self,
        stream: &Rc<S>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>
    where
        S: Deref<Target = Stream> + 'static,
    {
        if self.is_ended {
            let why = "the sending half of the stream was closed";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, why)));
        }
        match self.poll_sent(stream, cx) {
            Poll::Pending if self.pending.len() == WRITE_BYTES => return Poll::Pending,
            Poll::Pending => return Poll::Ready(Ok(self.take(pieces))),
            Poll::Ready(sent) => sent?,
        }
        let taken = self.take(pieces);
        // It only has to begin here.
        match self.poll_sent(stream, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    /// Copies what there is room for.
    fn take(&mut self, pieces: &[IoSlice<'_>]) -> usize {
        let before = self.pending.len();
        for piece in pieces {
            let room = WRITE_BYTES - self.pending.len();
            self.pending.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        self.pending.len() - before
    }

    fn poll_sent<S>(&mut self, stream: &Rc<S>, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: Deref<Target = Stream> + 'static,
    {
        if let Some(kind) = self.failed {
            let why = "an earlier send on this stream has failed";
            return Poll::Ready(Err(io::Error::new(kind, why)));
        }
        while self.sending.is_some() || !self.pending.is_empty() {
            let sending = self.sending.get_or_insert_with(|| {
                let (stream, bytes) = (Rc::clone(stream), self.pending.split().freeze());
                Box::pin(async move { stream.send_all(vec![bytes]).await })
            });
            let sent = ready!(sending.as_mut().poll(cx));
            self.sending = None;
            self.failed = sent.as_ref().err().map(io::Error::kind);
            sent?;
        }
        Poll::Ready(Ok(()))
    }
}

type Receiving = Pin<Box<dyn Future<Output = (io::Result<usize>, Vec<u8>)>>>;
type Sending = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// What one receive brings at most: a frame of TLS or HTTP/2, each 16 KiB, at once.
const READ_BYTES: usize = 16 * 1024;
/// What is gathered while a send is under way. As much again is in that send.
const WRITE_BYTES: usize = 64 * 1024;
