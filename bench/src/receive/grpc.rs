//! The unary Export calls of OTLP over HTTP/2.
//!
//! Windows and frames are those that a tonic server has by default. Calls of one connection are
//! served at the same time, on one thread.

use std::{io, rc::Rc};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task,
};

use super::{BODY_BYTES_MAX, encoding::Encoding};
use crate::shape::Signal;

/// One Export call, as it was sent.
#[derive(Debug)]
pub struct Call {
    /// By the path.
    pub signal: Signal,
    /// How the message is encoded.
    pub encoding: Encoding,
    /// The message, still encoded.
    pub message: Bytes,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Success, with an encoded Export*ServiceResponse.
    Success(Vec<u8>),
    /// This status of gRPC and its message.
    Failure(u8, String),
}

/// Serves one connection until its peer closes it.
///
/// # Errors
///
/// When the peer breaks HTTP/2 or the connection breaks.
pub async fn serve<S>(stream: S, handler: impl Fn(Call) -> Answer + 'static) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handler: Rc<dyn Fn(Call) -> Answer> = Rc::new(handler);
    let calls = task::LocalSet::new();
    calls.run_until(accept(stream, handler)).await.map_err(io::Error::other)
}

async fn accept<S>(stream: S, handler: Rc<dyn Fn(Call) -> Answer>) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = h2::server::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .handshake::<_, Bytes>(stream)
        .await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        let handler = Rc::clone(&handler);
        // A call that breaks off has nobody to tell.
        task::spawn_local(async move { drop(answer(request, respond, handler).await) });
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    handler: Rc<dyn Fn(Call) -> Answer>,
) -> Result<(), h2::Error> {
    let (head, body) = request.into_parts();
    let answer = match read(&head.headers, body).await? {
        Ok((encoding, message)) => match signal(head.uri.path()) {
            Some(signal) => handler(Call { signal, encoding, message }),
            None => Answer::Failure(UNIMPLEMENTED, format!("no method {}", head.uri.path())),
        },
        Err(failure) => failure,
    };
    match answer {
        Answer::Success(message) => succeed(&mut respond, &message),
        Answer::Failure(status, message) => {
            let head = Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", status.to_string())
                .header("grpc-message", ascii(&message));
            respond.send_response(built(head), true).map(drop)
        }
    }
}

fn succeed(respond: &mut SendResponse<Bytes>, message: &[u8]) -> Result<(), h2::Error> {
    let head = Response::builder().header("content-type", "application/grpc");
    let mut body = respond.send_response(built(head), false)?;
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    body.send_data(frame.freeze(), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    body.send_trailers(trailers)
}

/// Reads the one message of a unary call; the inner error is the answer to a wrong one.
async fn read(
    headers: &HeaderMap,
    mut body: RecvStream,
) -> Result<Result<(Encoding, Bytes), Answer>, h2::Error> {
    let mut read = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if read.is_empty() {
            read.reserve(expected(&data));
        }
        if read.len() + data.len() > BODY_BYTES_MAX {
            let text = format!("the message has more than {BODY_BYTES_MAX} bytes");
            return Ok(Err(Answer::Failure(RESOURCE_EXHAUSTED, text)));
        }
        read.extend_from_slice(&data);
    }
    Ok(message(headers, read.freeze()))
}

/// How long the whole body will be, by its first bytes.
fn expected(data: &[u8]) -> usize {
    let length = data.get(1..PREFIX_BYTES).and_then(|length| length.try_into().ok());
    let length = length.map_or(0, u32::from_be_bytes) as usize;
    length.saturating_add(PREFIX_BYTES).min(BODY_BYTES_MAX)
}

fn message(headers: &HeaderMap, body: Bytes) -> Result<(Encoding, Bytes), Answer> {
    let wrong = |text: &str| Answer::Failure(INTERNAL, text.to_owned());
    let prefix = body.get(..PREFIX_BYTES).ok_or_else(|| wrong("the message has no prefix"))?;
    if expected(prefix) != body.len() {
        return Err(wrong("the message is not as long as its prefix says"));
    }
    let encoding = headers.get("grpc-encoding").and_then(|value| value.to_str().ok());
    let encoding = match prefix[0] {
        0 => Some(Encoding::None),
        _ => Encoding::from_header(encoding.unwrap_or("none given")),
    };
    let unknown = || Answer::Failure(UNIMPLEMENTED, "only gzip and zstd are understood".into());
    Ok((encoding.ok_or_else(unknown)?, body.slice(PREFIX_BYTES..)))
}

fn built(head: http::response::Builder) -> Response<()> {
    head.body(()).expect("constants, and a text that was made printable")
}

fn signal(path: &str) -> Option<Signal> {
    match path {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        _ => None,
    }
}

/// A header has printable characters only, and no percent sign that is not one of an escape.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') && c != '%' { c } else { '?' }).collect()
}

/// INVALID_ARGUMENT of gRPC.
pub const INVALID_ARGUMENT: u8 = 3;
/// RESOURCE_EXHAUSTED of gRPC.
pub const RESOURCE_EXHAUSTED: u8 = 8;
/// UNIMPLEMENTED of gRPC.
pub const UNIMPLEMENTED: u8 = 12;
/// INTERNAL of gRPC.
pub const INTERNAL: u8 = 13;
/// UNAVAILABLE of gRPC.
pub const UNAVAILABLE: u8 = 14;
/// A flag and a length.
const PREFIX_BYTES: usize = 5;
/// What hyper, and so tonic, gives to a stream and to a connection.
const WINDOW_BYTES: u32 = 1 << 20;
