//! A request and its answer, as one operation where that is possible.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use super::stream::{Stream, check_room};
use crate::buf::advance;
use crate::driver::op::{self, Op};

/// What [`Stream::exchange`] has come to.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "the request may not have been sent"]
pub struct Exchanged {
    /// What has become of the request.
    pub sent: Sent,
    /// How much was received; 0 is the end of the stream.
    pub received: io::Result<usize>,
    /// What was to be sent, untouched, if the socket took it at once; else nothing.
    pub bufs: Vec<Bytes>,
    /// The buffer, lengthened by what was received; a new one if sending has failed, and not
    /// because the connection is no more.
    pub buf: Vec<u8>,
}

/// What has become of the request of an exchange.
#[derive(Debug)]
#[non_exhaustive]
pub enum Sent {
    /// All of it was sent.
    All,
    /// The answer came before all of it was sent, and the rest will not be: read the answer, then
    /// close the stream.
    Partly,
    /// Sending has failed.
    Failed(io::Error),
}

/// What [`Stream::try_exchange`] has come to.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "the request may not have been sent"]
pub enum Tried {
    /// All was sent, and this came of the receive.
    Received(io::Result<usize>),
    /// Not all was sent, and nothing was received. This many bytes were sent, or nobody knows
    /// how many.
    Unsent(io::Result<usize>),
}

impl From<op::Exchanged> for Tried {
    fn from(exchanged: op::Exchanged) -> Self {
        match exchanged {
            op::Exchanged::Received(received) => Self::Received(received),
            // There was no room at all.
            op::Exchanged::Unsent(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Self::Unsent(Ok(0))
            }
            op::Exchanged::Unsent(sent) => Self::Unsent(sent),
        }
    }
}

impl Stream {
    /// Sends a request and receives the answer, or the first piece of it, into the spare
    /// capacity of `buf` (appends).
    ///
    /// If the socket takes the whole request at once, which is the rule for all but large ones,
    /// this costs one system call on io_uring: the two halves are submitted together and waited
    /// for together. Else it sends and receives side by side.
    ///
    /// A peer may answer before it has got everything, a refusal for example. That ends the
    /// exchange ([`Sent::Partly`]) whether or not the peer goes on reading, so the two never wait
    /// for each other. If the peer resets the connection after such an answer, the answer is
    /// received all the same if it has arrived by then.
    ///
    /// If the future is dropped, nobody knows how much was sent, so close the stream then. What
    /// was received goes to the next receive.
    ///
    /// # Errors
    /// Each half has its own: `sent` those of [`send`](Self::send), `received` those of
    /// [`recv`](Self::recv).
    ///
    /// # Examples
    /// ```
    /// use spanwire_runtime::{Builder, net::UnixStream};
    ///
    /// let runtime = Builder::new().build()?;
    /// let task = runtime.spawn_pinned(|| async {
    ///     let (client, server) = UnixStream::pair()?;
    ///     server.send_all(vec!["pong".into()]).await?;
    ///     let exchanged = client.exchange(vec!["ping".into()], Vec::with_capacity(64)).await;
    ///     exchanged.received.map(|_| assert_eq!(exchanged.buf, b"pong"))
    /// });
    /// runtime.block_on(task)??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn exchange(&self, bufs: Vec<Bytes>, buf: Vec<u8>) -> Exchanged {
        let (tried, rest, buf) = self.try_exchange(bufs, buf).await;
        match tried {
            Tried::Received(received) => Exchanged { sent: Sent::All, received, bufs: rest, buf },
            Tried::Unsent(Ok(_)) => self.side_by_side(rest, buf).await,
            Tried::Unsent(Err(error)) => self.last_words(error, buf).await,
        }
    }

    /// As [`exchange`](Self::exchange), but ends if the socket does not take the whole request
    /// at once, for who has a better use for the time until it does. Gives the buffers back:
    /// untouched if all was sent, else what is left to send.
    ///
    /// # Errors
    /// Those of [`send`](Self::send) and of [`recv`](Self::recv), as [`Tried`] says.
    pub async fn try_exchange(
        &self,
        bufs: Vec<Bytes>,
        buf: Vec<u8>,
    ) -> (Tried, Vec<Bytes>, Vec<u8>) {
        if let Err(error) = check_room(&buf) {
            return (Tried::Unsent(Err(error)), bufs, buf);
        }
        self.socket.receives_settled().await;
        if !self.is_worth_a_try(&bufs) {
            return (Tried::Unsent(Ok(0)), bufs, buf);
        }
        let driver = match self.socket.driver() {
            Ok(driver) => driver,
            Err(error) => return (Tried::Unsent(Err(error)), bufs, buf),
        };
        let (op, ended) = driver.start(Op::exchange(self.socket.lease(), bufs, buf)).await;
        let (exchanged, mut bufs, buf) = op.into_exchanged(ended);
        let tried = Tried::from(exchanged);
        if let Tried::Unsent(Ok(count)) = tried {
            advance(&mut bufs, count);
        }
        (tried, bufs, buf)
    }

    /// Not if an answer is there already, or the request takes several calls, or is empty.
    fn is_worth_a_try(&self, bufs: &[Bytes]) -> bool {
        self.socket.is_claimless() && op::fits_one_call(bufs) && !bufs.iter().all(Bytes::is_empty)
    }

    /// Sends `bufs` until the answer begins.
    async fn side_by_side(&self, bufs: Vec<Bytes>, buf: Vec<u8>) -> Exchanged {
        let mut send = pin!(self.send_all(bufs));
        let mut recv = pin!(self.recv(buf));
        let mut sent = Sent::Partly;
        let ended = poll_fn(|cx| {
            if let Sent::Partly = sent
                && let Poll::Ready(result) = send.as_mut().poll(cx)
            {
                sent = match result {
                    Ok(()) => Sent::All,
                    Err(error) if is_reset(&error) => Sent::Failed(error),
                    // There will be no answer to half a request.
                    Err(error) => return Poll::Ready(Err(error)),
                };
            }
            recv.as_mut().poll(cx).map(Ok)
        });
        match ended.await {
            Ok((received, buf)) => Exchanged { sent, received, bufs: Vec::new(), buf },
            Err(error) => Exchanged {
                received: Err(error.kind().into()),
                sent: Sent::Failed(error),
                bufs: Vec::new(),
                buf: Vec::new(),
            },
        }
    }

    /// Receives what a peer has said before it reset the connection.
    async fn last_words(&self, error: io::Error, buf: Vec<u8>) -> Exchanged {
        let (received, buf) = match is_reset(&error) {
            true => self.recv(buf).await,
            false => (Err(error.kind().into()), buf),
        };
        Exchanged { sent: Sent::Failed(error), received, bufs: Vec::new(), buf }
    }
}

/// Whether the connection is no more, so that a receive ends at once.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
