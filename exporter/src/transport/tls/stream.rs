//! Drives a session over a socket.
//!
//! Both halves may be under way at once: the session is borrowed between the waits only. What was
//! encrypted is sent in that order, whatever happens, or the connection is of no more use.

use std::cell::RefCell;
use std::fmt;
use std::io;

use bytes::Bytes;
use rustls::Error;
use spanwire_runtime::net::Tried;
use spanwire_runtime::yield_now;

use super::failure::{Fault, Words};
use super::session::{Pieces, Read, STEP_BYTES, Session, Shaking};
use crate::transport::connection::Socket;

/// A stream inside TLS. Its methods are those of the runtime's
/// [`Stream`](spanwire_runtime::net::Stream), whose promises they keep; one send and one receive
/// may be under way at the same time.
pub(crate) struct TlsStream {
    socket: Socket,
    session: RefCell<Session>,
    /// Ciphertext that is to be sent before any other.
    unsent: RefCell<Vec<Bytes>>,
    /// What a failure of the session is said in.
    words: Words,
}

impl TlsStream {
    pub(super) fn new(socket: Socket, session: Session, words: Words) -> Self {
        Self { socket, session: session.into(), unsent: RefCell::default(), words }
    }

    /// Shakes hands.
    ///
    /// # Errors
    ///
    /// Who is at fault.
    pub(super) async fn shake_hands(&self) -> Result<(), Fault> {
        loop {
            // The first time, this makes the hello.
            let shaking = self.session.borrow_mut().shake_hands();
            let flushed = self.flush().await;
            match shaking {
                Ok(_) if flushed.is_err() => return self.last_words(flushed).await,
                Ok(Shaking::Done) => return Ok(()),
                Ok(Shaking::NotYet) => self.receive().await.map_err(Fault::Lost)?,
                Ok(Shaking::Cut) => return Err(Fault::Closed),
                // The alert was sent, if that was possible: the peer's log should know too.
                Err(_) if self.session.borrow().is_foreign() => return Err(Fault::Foreign),
                Err(error) => return Err(Fault::Tls(error)),
            }
        }
    }

    /// What a peer has said before it closed the connection that could not be sent to.
    async fn last_words(&self, sent: io::Result<()>) -> Result<(), Fault> {
        if self.receive().await.is_ok()
            && let Err(error) = self.session.borrow_mut().shake_hands()
        {
            return Err(Fault::Tls(error));
        }
        sent.map_err(Fault::Lost)
    }

    /// The protocol that the handshake has agreed on, if the peer takes part in that.
    pub(super) fn speaks(&self, protocol: &[u8]) -> Option<bool> {
        Some(self.session.borrow().protocol()? == protocol)
    }

    /// Sends a request and receives the first piece of the answer, as one operation if the socket
    /// takes the whole request at once. What is left to send else is kept and goes with the next
    /// [`send_all`](Self::send_all).
    pub(crate) async fn try_exchange(
        &self,
        request: Vec<Bytes>,
        buffer: Vec<u8>,
    ) -> (Tried, Vec<Bytes>, Vec<u8>) {
        if !self.is_worth_a_try(request.iter().map(Bytes::len).sum()) {
            return (Tried::Unsent(Ok(0)), request, buffer);
        }
        let ciphertext = match self.encrypt(&mut Pieces::new(request)).await {
            Ok(ciphertext) => ciphertext,
            Err(error) => return (Tried::Unsent(Err(error)), Vec::new(), buffer),
        };
        let inbox = self.session.borrow_mut().lend_inbox();
        let (tried, rest, inbox) = self.socket.try_exchange(ciphertext, inbox).await;
        match tried {
            Tried::Received(Ok(_)) => {
                self.session.borrow_mut().accept(inbox);
                let (received, buffer) = self.recv(buffer).await;
                (Tried::Received(received), Vec::new(), buffer)
            }
            Tried::Unsent(Ok(_)) => {
                self.unsent.replace(rest);
                (Tried::Unsent(Ok(0)), Vec::new(), buffer)
            }
            failed => (failed, Vec::new(), buffer),
        }
    }

    /// Not if it is empty, or takes several sends, or an answer is there already.
    fn is_worth_a_try(&self, bytes: usize) -> bool {
        (1..=SEND_BYTES).contains(&bytes)
            && self.unsent.borrow().is_empty()
            && !self.session.borrow_mut().has_news()
    }

    /// Sends everything.
    ///
    /// # Errors
    ///
    /// Those of the socket; an unknown part was sent then. Or the session is over.
    pub(crate) async fn send_all(&self, request: Vec<Bytes>) -> io::Result<()> {
        let mut plaintext = Pieces::new(request);
        self.flush().await?;
        while plaintext.bytes() > 0 {
            let ciphertext = self.encrypt(&mut plaintext).await?;
            self.socket.send_all(ciphertext).await?;
        }
        Ok(())
    }

    /// Sends what is left of a try, and what the protocol has to say.
    async fn flush(&self) -> io::Result<()> {
        let mut ciphertext = self.unsent.take();
        let mut output = Vec::new();
        self.session.borrow_mut().take_output(&mut output);
        if !output.is_empty() {
            ciphertext.push(output.into());
        }
        self.socket.send_all(ciphertext).await
    }

    /// Encrypts as much of `plaintext` as one send takes.
    async fn encrypt(&self, plaintext: &mut Pieces) -> io::Result<Vec<Bytes>> {
        let mut ciphertext = Vec::new();
        let mut room = SEND_BYTES;
        while room > 0 && plaintext.bytes() > 0 {
            if !ciphertext.is_empty() {
                // Large requests are not to hold up the others.
                yield_now().await;
            }
            let mut output = Vec::with_capacity(STEP_BYTES.min(plaintext.bytes()) + OVERHEAD_BYTES);
            let encrypted = self.session.borrow_mut().encrypt(plaintext, &mut output);
            encrypted.map_err(|error| self.broken(&error))?;
            ciphertext.push(output.into());
            room = room.saturating_sub(STEP_BYTES);
        }
        Ok(ciphertext)
    }

    /// Receives into the spare capacity of `buffer`; 0 is the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of the socket; [`io::ErrorKind::UnexpectedEof`] if the peer has closed the
    /// connection and not said that nothing follows; or why the session is over, in words for
    /// the user.
    pub(crate) async fn recv(&self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        if buffer.len() == buffer.capacity() {
            return (Err(io::ErrorKind::InvalidInput.into()), buffer);
        }
        loop {
            let read = self.session.borrow_mut().read(&mut buffer);
            let received = match read {
                Ok(Read::Data(count)) => Ok(count),
                Ok(Read::Closed) => Ok(0),
                Ok(Read::Cut) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, CUT)),
                Err(error) => Err(self.broken(&error)),
                Ok(Read::NotYet) => match self.receive().await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            return (received, buffer);
        }
    }

    /// Waits for ciphertext.
    async fn receive(&self) -> io::Result<()> {
        let inbox = self.session.borrow_mut().lend_inbox();
        let (received, inbox) = self.socket.recv(inbox).await;
        received?;
        self.session.borrow_mut().accept(inbox);
        Ok(())
    }

    /// Whether an idle connection is of no more use by what has been received: the peer has closed
    /// the session in the same breath as it answered, or has said more than the answer.
    pub(crate) fn has_news(&self) -> bool {
        self.session.borrow_mut().has_news() || !self.unsent.borrow().is_empty()
    }

    /// Whether an idle connection is of no more use. A peer that has something to say of its own
    /// accord (a late ticket, say) is taken for one that closes: that costs a short handshake.
    pub(crate) fn is_stale(&self) -> bool {
        self.has_news() || self.socket.is_stale()
    }

    /// The session is over, in words for the user.
    fn broken(&self, error: &Error) -> io::Error {
        self.words.error(error)
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.session.borrow().handshake_kind();
        f.debug_struct("TlsStream")
            .field("socket", &self.socket)
            .field("handshake", &kind)
            .finish_non_exhaustive()
    }
}

/// What one send takes, about: a batch of the usual size in one piece.
const SEND_BYTES: usize = 1 << 20;
/// Room for what encryption adds to a step: less than 64 bytes a record, and an answer to a key
/// update.
const OVERHEAD_BYTES: usize = 512;
const CUT: &str = "the peer closed the connection without a word of TLS about it (close_notify)";
