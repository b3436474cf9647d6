//! Reading a response as it arrives; the states are drawn in the module above.

use std::fmt;

use super::chunked::Chunked;
use super::coding::{Decoded, decode};
use super::fields::{self, Framing};

/// Bounds of what a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// Bytes of all heads of a response, interim ones included (default 16 KiB).
    pub head_bytes_max: usize,
    /// Bytes of the body, as it comes and decoded (default 4 MiB, as the OTLP specification
    /// recommends, H6).
    pub body_bytes_max: usize,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        Self { head_bytes_max: 16 << 10, body_bytes_max: 4 << 20 }
    }
}

/// Whether to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// The response is not complete: receive and feed more, or report the end of the stream.
    NeedMore,
    /// The response is complete.
    Done,
}

/// A complete response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code; never 1xx.
    pub status: u16,
    /// The first `Retry-After`, unparsed.
    pub retry_after: Option<Vec<u8>>,
    /// The first `Content-Type`, unparsed.
    pub content_type: Option<Vec<u8>>,
    /// The first `Content-Encoding`, if it is still on the body: it was not undone.
    pub content_encoding: Option<Vec<u8>>,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Why the connection cannot carry another request; `None` if it can.
    pub close: Option<CloseReason>,
}

/// Why a connection cannot be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// HTTP/1.0 without `Connection: keep-alive`.
    Http10,
    /// The peer sent `Connection: close`.
    Asked,
    /// The body ended with the connection.
    BodyUntilClose,
    /// The peer sent more than the response.
    Surplus,
}

impl CloseReason {
    /// The reason in words.
    pub fn explain(self) -> &'static str {
        match self {
            Self::Http10 => "the peer speaks HTTP/1.0 without keep-alive",
            Self::Asked => "the peer asked to close",
            Self::BodyUntilClose => "the body ended with the connection",
            Self::Surplus => "the peer sent bytes after the response",
        }
    }
}

/// Why a response cannot be read. The peer's fault each time; the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// The head is not HTTP/1.x.
    Head(httparse::Error),
    /// The heads are longer than the limit.
    HeadTooLarge,
    /// More interim responses than anyone needs.
    TooManyInterim,
    /// 101: nobody asked for another protocol.
    Upgrade,
    /// The header fields do not say where the body ends.
    Framing(&'static str),
    /// The chunked coding is broken; something else was expected.
    Chunk(&'static str),
    /// The body is longer than the limit.
    BodyTooLarge,
    /// The stream ended before the response did.
    Truncated,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => write!(f, "malformed response head ({error})"),
            Self::HeadTooLarge => f.write_str("the response head is above the limit"),
            Self::TooManyInterim => f.write_str("too many interim responses"),
            Self::Upgrade => f.write_str("status 101, but no upgrade was asked for"),
            Self::Framing(what) => write!(f, "unusable response framing: {what}"),
            Self::Chunk(expected) => write!(f, "malformed chunked body: expected {expected}"),
            Self::BodyTooLarge => f.write_str("the response body is above the limit"),
            Self::Truncated => f.write_str("the connection ended before the response"),
        }
    }
}

impl std::error::Error for ResponseError {}

/// Reads one response from bytes as they arrive, in pieces of any size.
#[derive(Debug)]
pub struct ResponseReader {
    limits: ResponseLimits,
    state: State,
    /// Interim responses skipped so far, at most [`INTERIM_MAX`].
    interim: usize,
    /// Bytes of complete interim heads; they count towards the limit.
    interim_bytes: usize,
    /// What is known of the response; its status is 0 until the final head is complete.
    response: Response,
    /// The response is done with its head: it answers a CONNECT.
    is_of_tunnel: bool,
}

#[derive(Debug)]
enum State {
    /// The bytes of a head that is not complete.
    Head(Vec<u8>),
    /// Bytes of the body still owed.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
    /// An error was returned, and is returned again.
    Failed(ResponseError),
}

impl ResponseReader {
    /// Awaits a response.
    pub fn new(limits: ResponseLimits) -> Self {
        let state = State::Head(Vec::new());
        let response = Response::default();
        Self { limits, state, interim: 0, interim_bytes: 0, response, is_of_tunnel: false }
    }

    /// Awaits the response to a CONNECT, which ends with its head: what follows a success comes
    /// through the tunnel, whatever the head says (RFC 9110, section 9.3.6), and what follows
    /// another status is of no interest.
    pub fn of_tunnel(limits: ResponseLimits) -> Self {
        Self { is_of_tunnel: true, ..Self::new(limits) }
    }

    /// Takes what arrived, all of it. Bytes after the end make the connection unusable, no more.
    ///
    /// # Errors
    ///
    /// What arrived is no acceptable response. The error is final: it is returned again.
    pub fn feed(&mut self, mut input: &[u8]) -> Result<Progress, ResponseError> {
        while !input.is_empty() {
            let taken = self.advance(input).inspect_err(|error| {
                self.state = State::Failed(*error);
            })?;
            input = &input[taken..];
        }
        self.progress()
    }

    /// As [`feed`](Self::feed), but leaves what comes behind the end. Also says how much was
    /// taken.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn feed_to_end(&mut self, input: &[u8]) -> Result<(Progress, usize), ResponseError> {
        let mut taken = 0;
        while taken < input.len() && !matches!(self.state, State::Done) {
            taken += self.advance(&input[taken..]).inspect_err(|error| {
                self.state = State::Failed(*error);
            })?;
        }
        Ok((self.progress()?, taken))
    }

    /// Says that nothing more will arrive.
    ///
    /// # Errors
    ///
    /// The response is not complete.
    pub fn end_of_stream(&mut self) -> Result<Progress, ResponseError> {
        match self.state {
            State::Done | State::UntilClose => self.state = State::Done,
            State::Failed(error) => return Err(error),
            _ => {
                self.state = State::Failed(ResponseError::Truncated);
                return Err(ResponseError::Truncated);
            }
        }
        self.progress()
    }

    /// Whether anything of a response has arrived.
    pub fn has_begun(&self) -> bool {
        !matches!(&self.state, State::Head(head) if head.is_empty()) || self.interim > 0
    }

    /// The response, if its head is complete; its body may not be. After an error this is what
    /// came before it.
    pub fn into_response(self) -> Option<Response> {
        (self.response.status != 0).then_some(self.response)
    }

    /// Says whether the response is complete; then its body is decoded.
    fn progress(&mut self) -> Result<Progress, ResponseError> {
        if !matches!(self.state, State::Done) {
            return Ok(Progress::NeedMore);
        }
        if let Some(coding) = &self.response.content_encoding {
            match decode(coding, &self.response.body, self.limits.body_bytes_max) {
                Decoded::Plain(plain) => {
                    (self.response.content_encoding, self.response.body) = (None, plain);
                }
                Decoded::TooLarge => {
                    self.state = State::Failed(ResponseError::BodyTooLarge);
                    return Err(ResponseError::BodyTooLarge);
                }
                Decoded::Unreadable => {}
            }
        }
        Ok(Progress::Done)
    }

    /// Takes some bytes from the start of `input`, at least one, and says how many.
    fn advance(&mut self, input: &[u8]) -> Result<usize, ResponseError> {
        match &mut self.state {
            State::Head(_) => self.advance_head(input),
            State::Length(_) => Ok(self.advance_length(input)),
            State::Chunked(_) => self.advance_chunked(input),
            State::UntilClose => self.advance_until_close(input),
            State::Done => {
                self.response.close.get_or_insert(CloseReason::Surplus);
                Ok(input.len())
            }
            State::Failed(error) => Err(*error),
        }
    }

    fn advance_length(&mut self, input: &[u8]) -> usize {
        let State::Length(owed) = &mut self.state else { return 0 };
        let count = usize::try_from(*owed).unwrap_or(usize::MAX).min(input.len());
        self.response.body.extend_from_slice(&input[..count]);
        *owed -= count as u64;
        if *owed == 0 {
            self.state = State::Done;
        }
        count
    }

    fn advance_chunked(&mut self, input: &[u8]) -> Result<usize, ResponseError> {
        let State::Chunked(chunked) = &mut self.state else { return Ok(0) };
        let count = chunked.advance(input, &mut self.response.body)?;
        let announced = (self.response.body.len() as u64).saturating_add(chunked.owed());
        check_body(announced, self.limits.body_bytes_max)?;
        if chunked.is_done() {
            self.state = State::Done;
        }
        Ok(count)
    }

    fn advance_until_close(&mut self, input: &[u8]) -> Result<usize, ResponseError> {
        let body = &mut self.response.body;
        check_body((body.len() + input.len()) as u64, self.limits.body_bytes_max)?;
        body.extend_from_slice(input);
        Ok(input.len())
    }

    /// Collects head bytes up to the limit, and parses them. What is not of the head is left.
    fn advance_head(&mut self, input: &[u8]) -> Result<usize, ResponseError> {
        let State::Head(head) = &mut self.state else { return Ok(0) };
        let before = head.len();
        let room = self.limits.head_bytes_max - self.interim_bytes - before;
        head.extend_from_slice(&input[..room.min(input.len())]);
        let head = std::mem::take(head);

        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        match parsed.parse(&head).map_err(ResponseError::Head)? {
            httparse::Status::Complete(length) => {
                self.end_head(&parsed, length)?;
                Ok(length - before)
            }
            httparse::Status::Partial if room <= input.len() => Err(ResponseError::HeadTooLarge),
            httparse::Status::Partial => {
                self.state = State::Head(head);
                Ok(input.len())
            }
        }
    }

    /// Goes on after a complete head of `length` bytes.
    fn end_head(
        &mut self,
        head: &httparse::Response<'_, '_>,
        length: usize,
    ) -> Result<(), ResponseError> {
        match head.code.unwrap_or(0) {
            0..=99 => Err(ResponseError::Head(httparse::Error::Status)),
            101 => Err(ResponseError::Upgrade),
            102..=199 | 100 => self.skip_interim(length),
            status => {
                self.response = Response {
                    status,
                    retry_after: fields::first(head, "retry-after"),
                    content_type: fields::first(head, "content-type"),
                    content_encoding: fields::first(head, "content-encoding"),
                    body: Vec::new(),
                    close: fields::close_reason(head),
                };
                match self.is_of_tunnel {
                    true => self.begin_body(Framing::Empty),
                    false => self.begin_body(fields::framing(head)?),
                }
            }
        }
    }

    fn skip_interim(&mut self, length: usize) -> Result<(), ResponseError> {
        self.interim += 1;
        self.interim_bytes += length;
        if self.interim > INTERIM_MAX {
            return Err(ResponseError::TooManyInterim);
        }
        self.state = State::Head(Vec::new());
        Ok(())
    }

    fn begin_body(&mut self, framing: Framing) -> Result<(), ResponseError> {
        self.state = match framing {
            Framing::Empty => State::Done,
            Framing::Length(length) => {
                check_body(length, self.limits.body_bytes_max)?;
                State::Length(length)
            }
            Framing::Chunked => State::Chunked(Chunked::default()),
            Framing::UntilClose => {
                self.response.close.get_or_insert(CloseReason::BodyUntilClose);
                State::UntilClose
            }
        };
        Ok(())
    }
}

fn check_body(bytes: u64, bytes_max: usize) -> Result<(), ResponseError> {
    if bytes > bytes_max as u64 { Err(ResponseError::BodyTooLarge) } else { Ok(()) }
}

/// Interim responses that are skipped; a server has little reason to send more than one.
const INTERIM_MAX: usize = 8;
/// Header fields in one head; more are an error.
const HEADERS_MAX: usize = 96;
