//! A connection as h2 takes it: tokio's traits, over buffers that are lent to the kernel.
//!
//! h2 flushes after each frame of 16 KiB. Here a flush waits for nothing: frames are gathered
//! while h2 has some to give, and [`Pump`], which the connection's task polls afterwards, sends
//! them together. So a batch of half a megabyte takes a few sends, and not one for each frame.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::connection::Connection;

/// What h2 reads from and writes to.
pub(super) struct Wire {
    connection: Rc<Connection>,
    reader: Reader,
    writer: Rc<RefCell<Writer>>,
    heard_at: Rc<Cell<Instant>>,
}

/// Sends what [`Wire`] has gathered.
pub(super) struct Pump {
    connection: Rc<Connection>,
    writer: Rc<RefCell<Writer>>,
}

/// Both ends of `connection`; `heard_at` tells when something was last received.
pub(super) fn wire(connection: Connection, heard_at: Rc<Cell<Instant>>) -> (Wire, Pump) {
    let connection = Rc::new(connection);
    let writer = Rc::<RefCell<Writer>>::default();
    let pump = Pump { connection: Rc::clone(&connection), writer: Rc::clone(&writer) };
    (Wire { connection, reader: Reader::default(), writer, heard_at }, pump)
}

impl Pump {
    /// Sends what was gathered. Ready once there is nothing left.
    ///
    /// # Errors
    ///
    /// Those of the socket; the connection is of no more use then.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.borrow_mut().poll_send(&self.connection, cx)
    }

    /// Whether something was refused for want of room and there is room now.
    pub(super) fn has_room_again(&self) -> bool {
        let mut writer = self.writer.borrow_mut();
        let has_room = writer.has_refused && writer.room() > 0;
        writer.has_refused &= !has_room;
        has_room
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { connection, reader, heard_at, .. } = self.get_mut();
        let unread = ready!(reader.poll_fill(connection, heard_at, cx))?;
        let count = unread.len().min(target.remaining());
        target.put_slice(&unread[..count]);
        reader.consumed += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer.borrow_mut().poll_take(&[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer.borrow_mut().poll_take(pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Waits for nothing: see the module.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Waits until everything is sent; the connection is closed when it is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.borrow_mut().poll_send(&self.connection, cx)
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
    /// What has arrived and was not consumed; if nothing, waits for more. Empty at the end.
    fn poll_fill(
        &mut self,
        connection: &Rc<Connection>,
        heard_at: &Cell<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<&[u8]>> {
        if self.consumed == self.buf.len() {
            self.consumed = 0;
            let receiving = match &mut self.receiving {
                Some(receiving) => receiving,
                none => none.insert(receive(Rc::clone(connection), mem::take(&mut self.buf))),
            };
            let (received, buf) = ready!(receiving.as_mut().poll(cx));
            self.receiving = None;
            self.buf = buf;
            received?;
            heard_at.set(Instant::now());
        }
        Poll::Ready(Ok(&self.buf[self.consumed..]))
    }
}

fn receive(connection: Rc<Connection>, mut buf: Vec<u8>) -> Receiving {
    buf.clear();
    buf.reserve(READ_BYTES);
    Box::pin(async move { connection.recv(buf).await })
}

/// The sending half.
#[derive(Default)]
struct Writer {
    /// What was taken and is in no send yet; at most [`WRITE_BYTES`].
    pending: BytesMut,
    sending: Option<Sending>,
    /// A send has failed with this: what the peer has may end anywhere.
    failed: Option<io::ErrorKind>,
    /// There was no room for more.
    has_refused: bool,
}

impl Writer {
    fn poll_take(&mut self, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        let bytes = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let count = bytes.min(self.room());
        if count == 0 && bytes > 0 {
            // The task polls the pump next, and then h2 again.
            self.has_refused = true;
            return Poll::Pending;
        }
        self.reserve(count);
        let mut left = count;
        for piece in pieces {
            let taken = &piece[..piece.len().min(left)];
            self.pending.extend_from_slice(taken);
            left -= taken.len();
        }
        Poll::Ready(Ok(count))
    }

    fn room(&self) -> usize {
        WRITE_BYTES.saturating_sub(self.pending.len())
    }

    /// Makes room for `count` bytes; at once for all that may follow if they are many.
    fn reserve(&mut self, count: usize) {
        if self.pending.capacity() - self.pending.len() < count {
            let is_first_of_many = count >= LARGE_BYTES && self.pending.len() < LARGE_BYTES;
            self.pending.reserve(if is_first_of_many { self.room() } else { count });
        }
    }

    fn poll_send(
        &mut self,
        connection: &Rc<Connection>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        while self.sending.is_some() || !self.pending.is_empty() {
            let sending = self.sending.get_or_insert_with(|| {
                let (connection, bytes) = (Rc::clone(connection), self.pending.split().freeze());
                Box::pin(async move { connection.send_all(vec![bytes]).await })
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

/// What one receive brings at most: answers have some hundred bytes.
const READ_BYTES: usize = 8 << 10;
/// What is gathered for one send: half a batch of the default size, so that the next half is
/// gathered while the first is on its way. As much again is in that send.
const WRITE_BYTES: usize = 256 << 10;
/// A piece of this size is one of many: a frame of data.
const LARGE_BYTES: usize = 8 << 10;
