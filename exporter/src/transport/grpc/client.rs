//! Sends requests over the shared connection, one at a time for each lane.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use h2::RecvStream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use spanwire_runtime::time::timeout_at;

use super::body::Body;
use super::channel::Channel;
use super::frame::MessageReader;
use super::head::{RequestHead, check, path};
use super::link::Link;
use super::quiet::Quiet;
use super::status::{RpcAnswer, code};
use super::verdict::{Answer, Cut, judge, judge_cut};
use crate::model::{Encoding, Failure, Outcome, Payload, Phase, Signal, Status};
use crate::transport::header_source::{ChangingHeaders, Given, OutgoingRequest};

/// Sends requests of one signal, one after another, over a connection that others share.
pub(crate) struct GrpcClient {
    channel: Rc<Channel>,
    head: Rc<RequestHead>,
    /// Gives further headers for each request.
    header_source: Option<ChangingHeaders>,
    response_bytes_max: usize,
    /// What the attempt that is under way is busy with. It is kept here and not in the attempt's
    /// future, so that what is known outlives a deadline; likewise the connection that it uses.
    busy_with: Cell<&'static str>,
    link: RefCell<Option<Rc<Link>>>,
}

impl GrpcClient {
    /// A client of `signal` over `channel`. Headers that [`check`] refuses
    /// are left out. Of an answer's message, `response_bytes_max` bytes are read at most.
    pub(crate) fn new(
        channel: Rc<Channel>,
        signal: Signal,
        headers: &[(HeaderName, HeaderValue)],
        header_source: Option<ChangingHeaders>,
        response_bytes_max: usize,
    ) -> Self {
        let endpoint = &channel.connector().endpoint;
        let is_tls = endpoint.scheme.name() == "https";
        let head = Rc::new(RequestHead::new(is_tls, &endpoint.authority, signal, headers));
        let (busy_with, link) = (Cell::new("not begun"), RefCell::default());
        Self { channel, head, header_source, response_bytes_max, busy_with, link }
    }

    /// Sends `payload` once and says what came of it, by `deadline` at the latest (`None` is no
    /// limit): resolving, connecting, waiting for a stream, sending and receiving together.
    pub(crate) async fn attempt(
        &mut self,
        signal: Signal,
        payload: &Payload,
        deadline: Option<Instant>,
    ) -> Outcome {
        let began = Instant::now();
        let exchange = Quiet::new(self.exchange(signal, payload, deadline));
        let ended = match deadline {
            None => Some(exchange.await),
            Some(deadline) => timeout_at(deadline, exchange).await.ok(),
        };
        let link = self.link.take();
        ended.unwrap_or_else(|| {
            // The exchange was dropped, so its stream was reset.
            if let Some(link) = link.filter(|link| !link.has_heard_since(began)) {
                // Not a sign of life: it may be half-open.
                self.channel.retire(&link);
            }
            judge_cut(Cut::TimedOut(self.busy_with.get()))
        })
    }

    async fn exchange(
        &self,
        signal: Signal,
        payload: &Payload,
        deadline: Option<Instant>,
    ) -> Outcome {
        let given = match self.ask_source(signal, payload).await {
            Ok(given) => given,
            Err(why) => return Outcome::retry(why),
        };
        let extra = given.as_ref().map_or(&[][..], |given| &given.headers);
        let outcome = self.send(payload, deadline, extra).await;
        if let (Some(source), Some(given)) = (&self.header_source, &given)
            && matches!(&outcome, Outcome::Refused { why } if why.status == Some(UNAUTHENTICATED))
        {
            source.refused(given);
        }
        outcome
    }

    /// What the source of headers gives for this request, if there is one.
    async fn ask_source(
        &self,
        signal: Signal,
        payload: &Payload,
    ) -> Result<Option<Given>, Failure> {
        let Some(source) = &self.header_source else { return Ok(None) };
        self.busy_with.set("waiting for the source of the headers");
        let endpoint = &self.channel.connector().endpoint;
        let request = OutgoingRequest {
            signal,
            scheme: endpoint.scheme.name(),
            authority: endpoint.authority.as_str().into(),
            target: path(signal).into(),
            body: payload.parts.clone(),
            is_after_refusal: false,
        };
        let given = source.ask(request).await?;
        // Left out, it would be missed by nobody but the collector.
        match given.headers.iter().find_map(|(name, value)| check(name, value).err()) {
            Some(why) => Err(Failure::new(Phase::Headers, why)),
            None => Ok(Some(given)),
        }
    }

    async fn send(
        &self,
        payload: &Payload,
        deadline: Option<Instant>,
        extra: &[(HeaderName, HeaderValue)],
    ) -> Outcome {
        // The limit of a request is far below; four bytes say its length.
        let Ok(bytes) = u32::try_from(payload.bytes) else {
            return Outcome::Refused {
                why: Failure::new(Phase::Protocol, "the request is too large"),
            };
        };
        let link = match self.channel.link(&self.busy_with).await {
            Ok(link) => link,
            Err(why) => return Outcome::retry(why),
        };
        self.link.replace(Some(Rc::clone(&link)));
        self.busy_with.set("sending the request or waiting for the answer");
        let encoding = payload.encoding.map(Encoding::name);
        let body = Body::new(encoding.is_some(), &payload.parts, bytes);
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let request = self.head.request(timeout, encoding, extra);
        match self.talk(&link, request, body).await {
            Ok(answer) => judge(answer, payload.records),
            Err(cut) => judge_cut(cut),
        }
    }

    /// Sends the request on a stream of its own and receives the whole answer, which may come
    /// before the request is sent. Dropping this resets the stream.
    async fn talk(&self, link: &Link, request: Request<()>, body: Body) -> Result<Answer, Cut> {
        let cut = |error| cut_of(&error, link);
        let _stream = link.begin_stream();
        let Some(mut sender) = link.sender() else {
            return Err(Cut::Lost("the collector takes no more on this connection".to_owned()));
        };
        // If the peer takes no more streams now, this one waits in h2.
        let (response, mut stream) = sender.send_request(request, false).map_err(cut)?;
        // So does what is above the peer's window. Nothing is copied for that.
        stream.send_data(body, true).map_err(cut)?;
        let (head, body) = response.await.map_err(cut)?.into_parts();
        self.receive(Response::from_parts(head, ()), body).await.map_err(|error| match error {
            Broken::Stream(error) => cut(error),
            Broken::Message(cut) => cut,
        })
    }

    async fn receive(&self, head: Response<()>, mut body: RecvStream) -> Result<Answer, Broken> {
        let (http_status, is_grpc) = (head.status().as_u16(), is_grpc(head.headers()));
        let status = RpcAnswer::read(head.headers());
        let is_all = body.is_end_stream() || !is_grpc || http_status != 200;
        if is_all {
            // Trailers alone; or what no gRPC server says, a proxy's page, of which no more is read.
            return Ok(Answer { http_status, is_grpc, status, message: Ok(None) });
        }
        let mut reader = MessageReader::new(self.response_bytes_max);
        while let Some(piece) = body.data().await {
            let piece = piece?;
            // More than the limit is never kept, and so never waited for.
            reader.feed(&piece).map_err(|error| Broken::Message(Cut::Message(error)))?;
            body.flow_control().release_capacity(piece.len())?;
        }
        let trailers = body.trailers().await?;
        let status = trailers.as_ref().and_then(RpcAnswer::read).or(status);
        Ok(Answer {
            http_status,
            is_grpc,
            status,
            message: reader.finish(coding_of(head.headers())),
        })
    }
}

impl fmt::Debug for GrpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcClient").field("head", &self.head).finish_non_exhaustive()
    }
}

/// Why no answer was received.
enum Broken {
    Stream(h2::Error),
    Message(Cut),
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        Self::Stream(error)
    }
}

/// How the messages of an answer are compressed, if they are.
pub(super) fn coding_of(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get("grpc-encoding").map(HeaderValue::as_bytes)
}

/// Whether the content of an answer is said to be gRPC's; one that says nothing may be.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_none_or(|kind| {
        let name = kind.get(..CONTENT_TYPE.len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()))
    })
}

fn cut_of(error: &h2::Error, link: &Link) -> Cut {
    if let Some(reason) = error.reason().filter(|_| error.is_reset() && error.is_remote()) {
        return Cut::Reset(reason.into());
    }
    match error.is_library() {
        true if error.is_reset() => Cut::Malformed(error.to_string()),
        true => Cut::Protocol(error.to_string()),
        false if error.is_go_away() => Cut::Lost(format!("it goes away: {error}")),
        // What happened to the connection tells more than that it is gone.
        false => Cut::Lost(link.why_ended().unwrap_or_else(|| error.to_string())),
    }
}

/// What the content type of an answer begins with.
const CONTENT_TYPE: &str = "application/grpc";
const UNAUTHENTICATED: Status = Status::Grpc(code::UNAUTHENTICATED);
