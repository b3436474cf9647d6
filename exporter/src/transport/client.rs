//! Drives the codec over a socket: one request at a time, over one connection that is kept.
//!
//! Runs on a worker of the runtime. Request and answer are one operation if the socket takes the
//! request at once. Else sending and receiving overlap, so an answer that comes before the
//! request is sent (a 413, say) is heard instead of being lost to a broken pipe.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use spanwire_runtime::net::Tried;
use spanwire_runtime::time::timeout_at;

use super::connect::{Alpn, Connector};
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::header_source::{ChangingHeaders, Given, OutgoingRequest};
use super::http1::{
    Progress, RequestHead, Response, ResponseError, ResponseLimits, ResponseReader,
};
use super::verdict::{Cut, judge, judge_cut};
use crate::model::{Encoding, Failure, Outcome, Payload, Protocol, Signal, Status};

/// Sends requests to one endpoint, one after another.
pub(crate) struct Client {
    connector: Connector,
    protocol: Protocol,
    /// Sent with each request.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The head with those headers.
    head: RequestHead,
    /// Gives further headers for each request.
    header_source: Option<ChangingHeaders>,
    limits: ResponseLimits,
    /// A connection idle for less than this is used again without a look at its socket.
    unchecked_limit: Duration,
    /// A connection that may carry the next request; absent while one is under way.
    idle: Option<Idle>,
    /// What the attempt that is under way has come to. It is kept here and not in the attempt's
    /// future, so that what is known outlives a deadline.
    progress: Attempt,
    /// What the source gave for it.
    given: Option<Rc<Given>>,
    /// The receive buffer, reused; it is lent out while a receive is under way.
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// How far an attempt has come.
#[derive(Debug)]
struct Attempt {
    busy_with: Cell<&'static str>,
    reader: ResponseReader,
    /// Something of an answer has come.
    is_answered: bool,
}

impl Client {
    /// A client of the connector's endpoint that sends `headers` with each request. Headers that
    /// [`RequestHead::check`] refuses are left out. Of an answer's body, `body_bytes_max` are
    /// read at most.
    pub(crate) fn new(
        connector: Connector,
        protocol: Protocol,
        headers: Vec<(HeaderName, HeaderValue)>,
        header_source: Option<ChangingHeaders>,
        body_bytes_max: usize,
    ) -> Self {
        let head = head_for(&connector.endpoint, protocol, &headers);
        let limits = ResponseLimits { body_bytes_max, ..ResponseLimits::default() };
        Self {
            connector,
            protocol,
            headers,
            head,
            header_source,
            limits,
            unchecked_limit: UNCHECKED_LIMIT,
            idle: None,
            progress: Attempt::new(limits),
            given: None,
            buffer: Vec::new(),
        }
    }

    /// Sends `payload` once and says what came of it, by `deadline` at the latest (`None` is no
    /// limit): resolving, connecting, sending and receiving together.
    pub(crate) async fn attempt(
        &mut self,
        signal: Signal,
        payload: &Payload,
        deadline: Option<Instant>,
    ) -> Outcome {
        self.progress = Attempt::new(self.limits);
        self.given = None;
        let ended = match deadline {
            None => Some(self.exchange(signal, payload).await),
            Some(deadline) => timeout_at(deadline, self.exchange(signal, payload)).await.ok(),
        };
        let outcome = ended.unwrap_or_else(|| {
            // The exchange was dropped, and its connection with it.
            let cut = Cut::TimedOut(self.progress.busy_with.get());
            judge_cut(&cut, self.take_response(), payload.records, SystemTime::now())
        });
        self.tell_source(&outcome);
        outcome
    }

    async fn exchange(&mut self, signal: Signal, payload: &Payload) -> Outcome {
        match self.ask_source(signal, payload).await {
            Ok(given) => self.given = given.map(Rc::new),
            Err(why) => return Outcome::retry(why),
        }
        let given = self.given.clone();
        self.send(payload, given.as_ref().map(|given| &*given.headers)).await
    }

    /// Tells the source if what it gave is no longer good, which the head of an answer says.
    fn tell_source(&mut self, outcome: &Outcome) {
        if let (Some(source), Some(given)) = (&self.header_source, self.given.take())
            && matches!(outcome, Outcome::Refused { why } if why.status == Some(Status::Http(UNAUTHORIZED)))
        {
            source.refused(&given);
        }
    }

    /// What the source of headers gives for this request, if there is one.
    async fn ask_source(
        &self,
        signal: Signal,
        payload: &Payload,
    ) -> Result<Option<Given>, Failure> {
        let Some(source) = &self.header_source else { return Ok(None) };
        self.progress.busy_with.set("waiting for the source of the headers");
        let endpoint = &self.connector.endpoint;
        let request = OutgoingRequest {
            signal,
            scheme: endpoint.scheme.name(),
            authority: endpoint.authority.as_str().into(),
            target: endpoint.target.as_str().into(),
            body: payload.parts.clone(),
            is_after_refusal: false,
        };
        source.ask(request).await.map(Some)
    }

    /// Sends `payload`, with `extra` headers that win over the others.
    ///
    /// A connection that was kept and ends without a word was closed by the peer for being idle,
    /// most likely, so the request is sent once more at once, over a fresh one. Whether the peer
    /// had taken it is unknown, as with any lost connection: OTLP has such a request sent again
    /// (H11), and receivers expect duplicates (C3).
    async fn send(
        &mut self,
        payload: &Payload,
        extra: Option<&[(HeaderName, HeaderValue)]>,
    ) -> Outcome {
        loop {
            let kept = self.take_idle();
            let is_kept = kept.is_some();
            let connection = match kept {
                Some(connection) => connection,
                None => match self.connector.connect(Alpn::Http1, &self.progress.busy_with).await {
                    Ok(connection) => connection,
                    Err(why) => return Outcome::retry(why),
                },
            };
            let ended = self.talk(&connection, self.request(payload, extra)).await;
            let now = SystemTime::now();
            match ended {
                Ok((response, is_sent)) => {
                    let outcome = judge(&response, payload.records, now);
                    self.keep(connection, &response, is_sent);
                    return outcome;
                }
                // There is no other kept one, so this happens once.
                Err(cut) if is_kept && self.is_unanswered(&cut) => {
                    self.progress = Attempt::new(self.limits);
                }
                Err(cut) => return judge_cut(&cut, self.take_response(), payload.records, now),
            }
        }
    }

    /// Whether nothing that came over a kept connection answers this request: what is no HTTP, of
    /// a peer that has spoken HTTP before, is the rest of an earlier answer (RFC 9112, section 9.2).
    fn is_unanswered(&self, cut: &Cut) -> bool {
        !self.progress.is_answered || matches!(cut, Cut::Broken(ResponseError::Head(_)))
    }

    /// Sends the request and receives the whole answer, which may come before the request is
    /// sent; with it goes whether it was.
    async fn talk(
        &mut self,
        connection: &Connection,
        request: Vec<Bytes>,
    ) -> Result<(Response, bool), Cut> {
        self.progress.busy_with.set("sending the request or waiting for the answer");
        let (tried, rest) = self.try_exchange(connection, request).await;
        let mut sent = match tried {
            Tried::Received(received) => {
                let sent = Ok(());
                if self.take_in(received, Some(&sent))? == Progress::Done {
                    return self.done(true);
                }
                Some(sent)
            }
            Tried::Unsent(Err(error)) => Some(Err(error)),
            // Whatever else it may say: there is a rest to be sent.
            _ => None,
        };
        let mut send = pin!(connection.send_all(rest));
        loop {
            let buffer = self.empty_buffer();
            let mut receive = pin!(connection.recv(buffer));
            let (received, buffer) = poll_fn(|cx| {
                if sent.is_none()
                    && let Poll::Ready(result) = send.as_mut().poll(cx)
                {
                    sent = Some(result);
                }
                receive.as_mut().poll(cx)
            })
            .await;
            self.buffer = buffer;
            if self.take_in(received, sent.as_ref())? == Progress::Done {
                return self.done(matches!(sent, Some(Ok(()))));
            }
        }
    }

    /// Sends the request and receives the first piece of the answer, if the socket takes the
    /// whole request at once; else what is left to send comes back. One operation costs less
    /// than two.
    async fn try_exchange(
        &mut self,
        connection: &Connection,
        request: Vec<Bytes>,
    ) -> (Tried, Vec<Bytes>) {
        let buffer = self.empty_buffer();
        let (tried, rest, buffer) = connection.try_exchange(request, buffer).await;
        self.buffer = buffer;
        (tried, rest)
    }

    fn empty_buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.reserve(RECEIVE_BYTES);
        buffer
    }

    /// The answer is complete.
    fn done(&mut self, is_sent: bool) -> Result<(Response, bool), Cut> {
        let response = self.take_response().ok_or(Cut::Broken(ResponseError::Truncated))?;
        Ok((response, is_sent))
    }

    /// The request in the pieces of a vectored send; nothing of the body is copied.
    fn request(
        &self,
        payload: &Payload,
        extra: Option<&[(HeaderName, HeaderValue)]>,
    ) -> Vec<Bytes> {
        let mut parts = Vec::with_capacity(HEAD_PARTS + payload.parts.len());
        let encoding = payload.encoding.map(Encoding::name);
        parts.extend(match extra {
            None => self.head.render(payload.bytes, encoding),
            Some(extra) => self.head_with(extra).render(payload.bytes, encoding),
        });
        parts.extend(payload.parts.iter().cloned());
        parts
    }

    /// A head with `extra` headers, in place of their namesakes.
    fn head_with(&self, extra: &[(HeaderName, HeaderValue)]) -> RequestHead {
        let stays = |name| extra.iter().all(|(other, _)| other != name);
        let kept = self.headers.iter().filter(|(name, _)| stays(name));
        let headers: Vec<_> = kept.chain(extra).cloned().collect();
        head_for(&self.connector.endpoint, self.protocol, &headers)
    }

    /// Feeds the codec. If nothing was received because the connection is lost, an error of
    /// sending tells more than the one of receiving.
    fn take_in(
        &mut self,
        received: io::Result<usize>,
        sent: Option<&io::Result<()>>,
    ) -> Result<Progress, Cut> {
        let reader = &mut self.progress.reader;
        let has_begun = reader.has_begun();
        let progress = match received {
            Err(error) => return Err(Cut::lost(&error)),
            Ok(0) => reader.end_of_stream(),
            Ok(_) => {
                self.progress.is_answered = true;
                reader.feed(&self.buffer)
            }
        };
        progress.map_err(|error| match sent {
            Some(Err(error)) if !has_begun => Cut::lost(error),
            _ => Cut::Broken(error),
        })
    }

    fn take_response(&mut self) -> Option<Response> {
        let fresh = ResponseReader::new(self.limits);
        std::mem::replace(&mut self.progress.reader, fresh).into_response()
    }

    /// The kept connection, unless the peer has closed it meanwhile (H13).
    fn take_idle(&mut self) -> Option<Connection> {
        let idle = self.idle.take()?;
        let Idle { connection, since } = idle;
        let is_stale = match since.elapsed() < self.unchecked_limit {
            true => connection.has_news(),
            false => connection.is_stale(),
        };
        (!is_stale).then_some(connection)
    }

    /// Keeps the connection for the next request, if the peer and the codec allow it.
    fn keep(&mut self, connection: Connection, response: &Response, is_sent: bool) {
        if is_sent && response.close.is_none() {
            self.idle = Some(Idle { connection, since: Instant::now() });
        }
    }
}

impl Attempt {
    fn new(limits: ResponseLimits) -> Self {
        let reader = ResponseReader::new(limits);
        Self { busy_with: Cell::new("not begun"), reader, is_answered: false }
    }
}

fn head_for(
    endpoint: &Endpoint,
    protocol: Protocol,
    headers: &[(HeaderName, HeaderValue)],
) -> RequestHead {
    let Endpoint { authority, target, .. } = endpoint;
    RequestHead::new(authority, target, protocol.content_type(), headers)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connector", &self.connector).finish_non_exhaustive()
    }
}

/// Room for one receive: answers of collectors are some hundred bytes.
const RECEIVE_BYTES: usize = 4 << 10;
/// Parts of a rendered head.
const HEAD_PARTS: usize = 2;
/// How long an idle connection is trusted: a look at its socket is a system call, and a peer that
/// closes so soon is found out by the request itself.
const UNCHECKED_LIMIT: Duration = Duration::from_secs(1);
/// The peer does not believe the credentials.
const UNAUTHORIZED: u16 = 401;

#[cfg(test)]
mod tests;
