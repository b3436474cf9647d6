//! One TLS session as a value: ciphertext in, plaintext out, and back. No socket, no clock.
//!
//! ```text
//! arrived ciphertext ──► accept ──► read ──► plaintext
//! plaintext ──► encrypt ──► take_output ──► ciphertext to send, in this order
//! ```
//!
//! What the protocol itself has to say (handshake, alerts, answers to key updates) is part of the
//! output, in its place. A key update is answered with the next data, as RFC 8446, section 4.6.3
//! allows.

use std::io::{BufRead, IoSlice, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Error, HandshakeKind};

/// A client's session with one server.
#[derive(Debug)]
pub(super) struct Session {
    connection: ClientConnection,
    /// Ciphertext that has arrived; lent out while a receive is under way.
    inbox: Vec<u8>,
    /// How much of the inbox is with rustls.
    accepted: usize,
    /// The peer's half of the socket has ended.
    is_ended: bool,
    /// The first byte that the peer has sent.
    first_byte: Option<u8>,
    /// What ends the session; plaintext from before it can still be read.
    failed: Option<Error>,
}

/// What there is to read.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    /// This many bytes were appended.
    Data(usize),
    /// Nothing, until more ciphertext has arrived.
    NotYet,
    /// The peer has said that nothing follows.
    Closed,
    /// The stream has ended, and the peer has not said so: something may be missing.
    Cut,
}

impl Session {
    /// A session with the server `name`, which says hello first.
    ///
    /// # Errors
    ///
    /// The configuration does not allow any.
    pub(super) fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        let mut connection = ClientConnection::new(config, name)?;
        connection.set_buffer_limit(Some(STEP_BYTES));
        Ok(Self {
            connection,
            inbox: Vec::new(),
            accepted: 0,
            is_ended: false,
            first_byte: None,
            failed: None,
        })
    }

    /// The handshake is not complete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// What the peer has sent, if anything, does not even begin like TLS.
    pub(super) fn is_foreign(&self) -> bool {
        self.first_byte.is_some_and(|byte| !RECORD_TYPES.contains(&byte))
    }

    /// The protocol that the handshake has agreed on, if the peer takes part in that.
    pub(super) fn protocol(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// Whether the handshake was a full one.
    pub(super) fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.connection.handshake_kind()
    }

    /// A buffer for ciphertext to arrive in; empty, with room. Only if [`read`](Self::read) has
    /// found nothing.
    pub(super) fn lend_inbox(&mut self) -> Vec<u8> {
        let mut inbox = std::mem::take(&mut self.inbox);
        self.accepted = 0;
        inbox.clear();
        inbox.reserve(INBOX_BYTES);
        inbox
    }

    /// Takes what has arrived. Empty is the end of the stream.
    pub(super) fn accept(&mut self, inbox: Vec<u8>) {
        self.is_ended |= inbox.is_empty();
        self.first_byte = self.first_byte.or_else(|| inbox.first().copied());
        self.inbox = inbox;
        self.accepted = 0;
    }

    /// Appends plaintext to `buffer`, as much as there is and as it has spare capacity for.
    ///
    /// # Errors
    ///
    /// The peer has sent a fatal alert or what is not acceptable TLS. The session is over; the
    /// output has the alert that the peer should get.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> Result<Read, Error> {
        loop {
            match self.connection.reader().into_first_chunk() {
                Ok([]) => return Ok(Read::Closed),
                Ok(plaintext) => {
                    let count = plaintext.len().min(buffer.capacity() - buffer.len());
                    buffer.extend_from_slice(&plaintext[..count]);
                    self.connection.reader().consume(count);
                    return Ok(Read::Data(count));
                }
                // Nothing yet, or the end of the stream, which is ours to know.
                Err(_) => {}
            }
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            if self.accepted == self.inbox.len() {
                return Ok(if self.is_ended { Read::Cut } else { Read::NotYet });
            }
            self.progress();
        }
    }

    /// Goes on with the handshake, as far as what has arrived allows.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub(super) fn shake_hands(&mut self) -> Result<Shaking, Error> {
        while self.is_handshaking() && self.failed.is_none() && self.accepted < self.inbox.len() {
            self.progress();
        }
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if !self.is_handshaking() => Ok(Shaking::Done),
            None if self.is_ended => Ok(Shaking::Cut),
            None => Ok(Shaking::NotYet),
        }
    }

    /// Gives rustls a piece of the inbox.
    fn progress(&mut self) {
        let mut rest = &self.inbox[self.accepted..];
        match self.connection.read_tls(&mut rest) {
            // It takes nothing after the peer has closed.
            Ok(0) => self.accepted = self.inbox.len(),
            Ok(count) => self.accepted += count,
            Err(error) => self.failed = Some(Error::General(error.to_string())),
        }
        if let Err(error) = self.connection.process_new_packets() {
            self.failed = Some(error);
        }
    }

    /// Whether there is plaintext to be read, or the session is over: an idle session has nothing
    /// of the kind. What is for the session itself, such as a ticket, is no news.
    pub(super) fn has_news(&mut self) -> bool {
        loop {
            let has_plaintext = self.connection.reader().into_first_chunk().is_ok();
            if has_plaintext || self.failed.is_some() || self.is_ended {
                return true;
            }
            if self.accepted == self.inbox.len() {
                return false;
            }
            self.progress();
        }
    }

    /// Encrypts a part of `plaintext`, at most [`STEP_BYTES`], takes it off and appends the
    /// ciphertext to `output`, behind what the protocol had to say.
    ///
    /// The slices are not joined first.
    ///
    /// # Errors
    ///
    /// The session is over.
    pub(super) fn encrypt(
        &mut self,
        plaintext: &mut Pieces,
        output: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let count = {
            let step = plaintext.step();
            // It fails only if the session has, and what it does not take is given again.
            self.connection.writer().write_vectored(&step).map_err(|error| {
                match error.downcast() {
                    Ok(error) => error,
                    Err(error) => Error::General(error.to_string()),
                }
            })?
        };
        plaintext.advance(count);
        self.take_output(output);
        Ok(())
    }

    /// Appends the ciphertext that is to be sent next to `output`.
    pub(super) fn take_output(&mut self, output: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // Writing to memory does not fail.
            if self.connection.write_tls(output).is_err() {
                return;
            }
        }
    }
}

/// How far a handshake has come.
#[derive(Debug, PartialEq)]
pub(super) enum Shaking {
    Done,
    /// More ciphertext has to arrive.
    NotYet,
    /// The peer has closed the connection in the middle of it.
    Cut,
}

/// Slices that are to be encrypted, in order.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: std::vec::IntoIter<Bytes>,
    /// What is left of the piece that was begun.
    first: Bytes,
    /// What is left of all.
    bytes: usize,
}

impl Pieces {
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        let bytes = pieces.iter().map(Bytes::len).sum();
        Self { pieces: pieces.into_iter(), first: Bytes::new(), bytes }
    }

    /// How many bytes are left.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next [`STEP_BYTES`].
    fn step(&self) -> Vec<IoSlice<'_>> {
        let mut room = STEP_BYTES;
        let all = std::iter::once(&self.first).chain(self.pieces.as_slice());
        let slices = all.filter(|piece| !piece.is_empty()).map_while(|piece| {
            let count = piece.len().min(room);
            room -= count;
            (count > 0).then(|| IoSlice::new(&piece[..count]))
        });
        slices.collect()
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while count >= self.first.len() {
            count -= self.first.len();
            match self.pieces.next() {
                Some(next) => self.first = next,
                None => return self.first.clear(),
            }
        }
        self.first.advance(count);
    }
}

/// How each record begins: change_cipher_spec, alert, handshake, application_data (RFC 8446, 5.1).
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 20..=23;
/// How much is encrypted at once: four records of the largest size, and what rustls keeps at most.
/// About 50 us.
pub(super) const STEP_BYTES: usize = 64 << 10;
/// Room for what one receive brings: a record of the largest size, 16 KiB and some.
const INBOX_BYTES: usize = 17 << 10;

#[cfg(test)]
mod tests;
