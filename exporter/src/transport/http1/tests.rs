//! The codec against a naive reader of whole buffers, in pieces of every size.

use http::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

/// What reading a response led to.
#[derive(Clone, Debug, PartialEq)]
enum Read {
    NeedMore,
    Done(Response),
    Failed(ResponseError),
}

fn read_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: ResponseLimits) -> Read {
    let mut reader = ResponseReader::new(limits);
    let mut progress = Progress::NeedMore;
    for piece in pieces {
        match reader.feed(piece) {
            Ok(now) => progress = now,
            Err(error) => return Read::Failed(error),
        }
    }
    match progress {
        Progress::NeedMore => Read::NeedMore,
        Progress::Done => Read::Done(reader.into_response().expect("a head")),
    }
}

fn read(bytes: &[u8]) -> Read {
    read_pieces([bytes].into_iter(), ResponseLimits::default())
}

fn done(bytes: &[u8]) -> Response {
    match read(bytes) {
        Read::Done(response) => response,
        other => panic!("{other:?} for {:?}", bytes.escape_ascii().to_string()),
    }
}

fn failed(bytes: &[u8]) -> ResponseError {
    match read(bytes) {
        Read::Failed(error) => error,
        other => panic!("{other:?} for {:?}", bytes.escape_ascii().to_string()),
    }
}

#[test]
fn interim_responses_are_skipped_but_not_for_ever() {
    let interim = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(done(&[&interim.repeat(8)[..], ok].concat()).status, 200);
    assert_eq!(failed(&interim.repeat(9)), ResponseError::TooManyInterim);
    assert_eq!(failed(b"HTTP/1.1 101 No\r\n\r\n"), ResponseError::Upgrade);
}

#[test]
fn statuses_204_and_304_have_no_body_whatever_their_length_says() {
    for status in [204, 304] {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 7\r\n\r\n");
        let response = done(head.as_bytes());
        assert_eq!((response.status, response.body.len(), response.close), (status, 0, None));
    }
}

#[test]
fn chunks_may_have_extensions_padding_and_trailers() {
    let response = done(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n\
          3;a=b;c=\"d\"\r\nabc\r\n0A  \r\n0123456789\r\n0\r\nx: y\r\nz:\r\n\r\n",
    );
    assert_eq!((&response.body[..], response.close), (&b"abc0123456789"[..], None));

    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_string();
    let many = done((head + &"1\r\nx\r\n".repeat(40) + "0\r\n\r\n").as_bytes());
    assert_eq!(many.body, [b'x'; 40]);
}

#[test]
fn broken_chunks_are_errors() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let broken = [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "3\nabc",
        "3\r\nabcd",
        "3\r\nabc\n",
        "3;\nabc",
        "3 3\r\n",
        "0\r\n\n",
        "0\r\nx\n",
        "0\r\n\rx",
        "3\rx",
        "10000000000000000\r\n",
    ];
    for body in broken {
        let error = failed([head, body].concat().as_bytes());
        assert!(matches!(error, ResponseError::Chunk(_)), "{body:?}: {error:?}");
    }
}

#[test]
fn endless_extensions_and_trailers_are_errors() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (start, filler) in [("3;", "x"), ("3", " "), ("0\r\n", "a:b\r\n"), ("", "0")] {
        let bytes = format!("{head}{start}{}", filler.repeat((16 << 10) + 1));
        assert!(matches!(failed(bytes.as_bytes()), ResponseError::Chunk(_)), "{filler:?}");
    }
}

#[test]
fn contradictory_framing_is_an_error_and_repeated_equal_lengths_are_not() {
    let framing = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").into_bytes();
    for fields in [
        "content-length: 1\r\ncontent-length: 2",
        "content-length: 1, 2",
        "content-length: 1,",
        "content-length: +1",
        "content-length: -1",
        "content-length: 0x1",
        "content-length:",
        "content-length: 18446744073709551616",
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: identity",
        "transfer-encoding:",
    ] {
        let error = failed(&framing(fields));
        assert!(matches!(error, ResponseError::Framing(_)), "{fields:?}: {error:?}");
    }
    let equal = [framing("content-length: 1, 1\r\ncontent-length: 1"), b"x".to_vec()].concat();
    assert_eq!(done(&equal).body, b"x");
    let old = b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    assert!(matches!(failed(old), ResponseError::Framing(_)));
}

#[test]
fn keep_alive_is_decided_by_version_and_connection_tokens() {
    let close = |version: &str, fields: &str| {
        let head = format!("HTTP/1.{version} 200 OK\r\n{fields}content-length: 0\r\n\r\n");
        done(head.as_bytes()).close
    };
    assert_eq!(close("1", ""), None);
    assert_eq!(close("1", "connection: x, Close\r\n"), Some(CloseReason::Asked));
    assert_eq!(close("1", "connection: x\r\nconnection: close\r\n"), Some(CloseReason::Asked));
    assert_eq!(close("1", "connection: closed\r\n"), None);
    assert_eq!(close("0", ""), Some(CloseReason::Http10));
    assert_eq!(close("0", "connection: Keep-Alive\r\n"), None);
    assert_eq!(close("0", "connection: keep-alive, close\r\n"), Some(CloseReason::Asked));
}

#[test]
fn bytes_after_the_end_spoil_the_connection_and_not_the_response() {
    let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 500 No\r\n\r\n";
    let response = done(whole);
    assert_eq!((response.status, &response.body[..]), (200, &b"x"[..]));
    assert_eq!(response.close, Some(CloseReason::Surplus));
}

#[test]
fn a_body_without_framing_ends_with_the_stream() {
    let mut reader = ResponseReader::new(ResponseLimits::default());
    assert_eq!(reader.feed(b"HTTP/1.1 500 No\r\n\r\nab"), Ok(Progress::NeedMore));
    assert_eq!(reader.feed(b"c"), Ok(Progress::NeedMore));
    assert_eq!(reader.end_of_stream(), Ok(Progress::Done));
    let response = reader.into_response().unwrap();
    assert_eq!(response.body, b"abc");
    assert_eq!(response.close, Some(CloseReason::BodyUntilClose));
}

#[test]
fn a_stream_that_ends_early_is_truncated_and_stays_so() {
    for start in ["", "HTT", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nx"] {
        let mut reader = ResponseReader::new(ResponseLimits::default());
        let _ = reader.feed(start.as_bytes());
        assert_eq!(reader.has_begun(), !start.is_empty());
        assert_eq!(reader.end_of_stream(), Err(ResponseError::Truncated));
        assert_eq!(reader.feed(b"y"), Err(ResponseError::Truncated));
        assert_eq!(
            reader.into_response().map(|response| response.status),
            match start.len() {
                0..4 => None,
                _ => Some(200),
            }
        );
    }
}

#[test]
fn limits_hold_for_every_way_to_send_a_head_or_a_body() {
    let limits = ResponseLimits { head_bytes_max: 64, body_bytes_max: 4 };
    let read = |text: String| read_pieces([text.as_bytes()].into_iter(), limits);
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    let large = Read::Failed(ResponseError::BodyTooLarge);
    assert_eq!(read(head("content-length: 5\r\n")), large);
    assert_eq!(read(head("transfer-encoding: chunked\r\n") + "5\r\n"), large);
    assert_eq!(read(head("transfer-encoding: chunked\r\n") + "3\r\nabc\r\n2\r\n"), large);
    assert_eq!(read(head("") + "abcde"), large);
    assert!(matches!(read(head("content-length: 4\r\n") + "abcd"), Read::Done(_)));

    let head_of = |bytes: usize| format!("HTTP/1.1 204 X\r\na: {}\r\n\r\n", "b".repeat(bytes - 23));
    assert!(matches!(read(head_of(64)), Read::Done(_)));
    assert_eq!(read(head_of(65)), Read::Failed(ResponseError::HeadTooLarge));
    let interim = "HTTP/1.1 100 C\r\n\r\n".to_string();
    assert_eq!(read(interim + &head_of(64)), Read::Failed(ResponseError::HeadTooLarge));
}

#[test]
fn what_is_not_http_1_is_an_error_at_once() {
    // The preface and SETTINGS frame of a gRPC server, a TLS alert, an SSH banner.
    let http2 = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00";
    for bytes in [&http2[..], b"\x15\x03\x01\x00\x02\x02", b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n\r\n"]
    {
        assert!(matches!(failed(bytes), ResponseError::Head(_)), "{bytes:?}");
    }
    assert!(matches!(failed(b"HTTP/1.1 099 X\r\n\r\n"), ResponseError::Head(_)));
}

#[test]
fn a_request_head_is_complete_and_carries_user_headers() {
    let pair = |name: &str, value: &str| {
        (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
    };
    let headers = [pair("authorization", "Bearer x"), pair("User-Agent", "shop/2")];
    let head = RequestHead::new("[::1]:4318", "/v1/traces?a=b", "application/x-protobuf", &headers);
    let expected = format!(
        "POST /v1/traces?a=b HTTP/1.1\r\nhost: [::1]:4318\r\n\
         user-agent: shop/2 spanwire/{version} OTel-OTLP-Exporter-Rust/{version}\r\n\
         content-type: application/x-protobuf\r\n\
         authorization: Bearer x\r\ncontent-length: 4294967296\r\n\r\n",
        version = env!("CARGO_PKG_VERSION")
    );
    let rendered = |encoding| String::from_utf8(head.render(1 << 32, encoding).concat()).unwrap();
    assert_eq!(rendered(None), expected);
    let encoded = rendered(Some("gzip"));
    assert_eq!(encoded.replacen("content-encoding: gzip\r\n", "", 1), expected);
    assert_ne!(encoded, expected);
    assert!(!format!("{head:?}").contains("Bearer"));
}

#[test]
fn a_gzipped_answer_is_decoded_within_the_limit_however_it_arrives() {
    use std::io::Write as _;

    let gzipped = |body: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let limits = ResponseLimits { body_bytes_max: 100, ..ResponseLimits::default() };
    for (plain_bytes, is_read) in [(0, true), (100, true), (101, false), (1 << 16, false)] {
        let body = gzipped(&vec![b'x'; plain_bytes]);
        for framing in [format!("content-length: {}\r\n", body.len()), String::new()] {
            let head = format!("HTTP/1.1 503 Busy\r\ncontent-encoding: gzip\r\n{framing}\r\n");
            let answer = [head.as_bytes(), &body].concat();
            for piece_bytes in [1, 7, answer.len()] {
                let mut reader = ResponseReader::new(limits);
                let fed =
                    answer.chunks(piece_bytes).try_for_each(|piece| reader.feed(piece).map(|_| ()));
                let ended = fed.and_then(|()| reader.end_of_stream());
                let response = reader.into_response().unwrap();
                assert_eq!(response.status, 503);
                if is_read {
                    assert_eq!(ended, Ok(Progress::Done));
                    assert_eq!(response.content_encoding, None);
                    assert_eq!(response.body, vec![b'x'; plain_bytes]);
                } else {
                    assert_eq!(ended, Err(ResponseError::BodyTooLarge));
                }
            }
        }
    }
}

#[test]
fn a_header_that_the_codec_decides_is_refused_and_never_sent_twice() {
    // What frames the request, what it is, and what the codec cannot do with the answer.
    let framing = ["Content-Length", "Transfer-Encoding", "Host", "Connection"];
    let abilities = ["Accept-Encoding", "TE", "Expect", "Upgrade"];
    for name in framing.into_iter().chain(abilities) {
        let header = (HeaderName::try_from(name).unwrap(), HeaderValue::from_static("injected"));
        assert_eq!(RequestHead::check(&header.0).unwrap_err().name, header.0);
        let rendered = RequestHead::new("h", "/", "a/b", &[header]).render(0, None).concat();
        assert!(!rendered.escape_ascii().to_string().contains("injected"));
    }
    assert_eq!(RequestHead::check(&HeaderName::from_static("authorization")), Ok(()));
}

/// The naive reader: it wants the whole buffer, splits it, and believes it to be well formed.
fn naive(bytes: &[u8]) -> (u16, Vec<u8>) {
    let split = |bytes: &[u8], at: &[u8]| {
        let index = bytes.windows(at.len()).position(|window| window == at).expect("a separator");
        (bytes[..index].to_vec(), bytes[index + at.len()..].to_vec())
    };
    let (head, rest) = split(bytes, b"\r\n\r\n");
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    if status < 200 {
        return naive(&rest);
    }
    let field = |name: &str| {
        let line = head.split("\r\n").find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_string())
    };
    if status == 204 {
        return (status, Vec::new());
    }
    if let Some(length) = field("content-length:") {
        return (status, rest[..length.parse().unwrap()].to_vec());
    }
    if field("transfer-encoding:").is_none() {
        return (status, rest);
    }
    let (mut body, mut rest) = (Vec::new(), rest);
    loop {
        let (line, after) = split(&rest, b"\r\n");
        let line = String::from_utf8(line).unwrap();
        let digits = line.split(';').next().unwrap().trim();
        let size = usize::from_str_radix(digits, 16).unwrap();
        if size == 0 {
            return (status, body);
        }
        body.extend_from_slice(&after[..size]);
        rest = after[size + 2..].to_vec();
    }
}

/// Well-formed responses of every kind.
fn responses() -> impl Strategy<Value = Vec<u8>> {
    let body = || prop::collection::vec(any::<u8>(), 0..60);
    let status = prop_oneof![Just(200_u16), Just(204), Just(400), Just(503), 200..600_u16];
    let fields = prop::collection::vec("[a-z]{1,9}: [ -~]{0,20}", 0..4);
    let chunks =
        prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), "(;[a-z=]{0,5})?"), 0..5);
    let framing = prop_oneof![
        body().prop_map(|body| { (format!("Content-Length: {}\r\n", body.len()), body) }),
        (chunks, prop::collection::vec("[a-z]{1,5}:[a-z ]{0,9}\r\n", 0..3)).prop_map(
            |(chunks, trailers)| {
                let mut out = Vec::new();
                for (data, extension) in chunks {
                    out.extend(format!("{:X}{extension}\r\n", data.len()).into_bytes());
                    out.extend([&data[..], b"\r\n"].concat());
                }
                out.extend(format!("0\r\n{}\r\n", trailers.concat()).into_bytes());
                ("Transfer-Encoding: chunked\r\n".to_string(), out)
            }
        ),
        body().prop_map(|body| (String::new(), body)),
    ];
    (0..3_usize, status, fields, framing).prop_map(|(interim, status, fields, (line, body))| {
        let mut out = "HTTP/1.1 100 Continue\r\n\r\n".repeat(interim).into_bytes();
        let fields: String = fields.iter().map(|field| format!("x-{field}\r\n")).collect();
        out.extend(format!("HTTP/1.1 {status} Some Reason\r\n{fields}{line}\r\n").into_bytes());
        out.extend(if status == 204 || status == 304 { Vec::new() } else { body });
        out
    })
}

/// Responses with one byte changed, removed or doubled.
fn damaged_responses() -> impl Strategy<Value = Vec<u8>> {
    (responses(), any::<prop::sample::Index>(), any::<u8>(), 0..3).prop_map(
        |(mut bytes, index, byte, how)| {
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn reading_agrees_with_the_naive_reader(bytes in responses()) {
        let mut reader = ResponseReader::new(ResponseLimits::default());
        prop_assert!(reader.feed(&bytes).is_ok());
        prop_assert_eq!(reader.end_of_stream(), Ok(Progress::Done));
        let response = reader.into_response().unwrap();
        if response.status != 304 {
            prop_assert_eq!((response.status, response.body), naive(&bytes));
        }
    }

    #[test]
    fn every_proper_prefix_of_a_response_needs_more(bytes in responses()) {
        let whole = read(&bytes);
        for end in 0..bytes.len() {
            prop_assert_eq!(read(&bytes[..end]), Read::NeedMore, "prefix of {}", end);
        }
        prop_assert!(!matches!(whole, Read::Failed(_)));
    }

    #[test]
    fn byte_at_a_time_is_the_same_as_all_at_once(
        bytes in prop_oneof![
            responses(),
            damaged_responses(),
            prop::collection::vec(any::<u8>(), 0..200),
        ],
        cuts in prop::collection::vec(1..50_usize, 1..20),
        head_bytes_max in 20..300_usize,
        body_bytes_max in 0..80_usize,
    ) {
        let limits = ResponseLimits { head_bytes_max, body_bytes_max };
        let whole = read_pieces([&bytes[..]].into_iter(), limits);
        prop_assert_eq!(&read_pieces(bytes.chunks(1), limits), &whole);
        let mut rest = &bytes[..];
        let pieces = cuts.iter().cycle().map_while(|cut| {
            let (piece, after) = rest.split_at_checked(*cut).unwrap_or((rest, &[]));
            rest = after;
            (!piece.is_empty()).then_some(piece)
        });
        prop_assert_eq!(&read_pieces(pieces, limits), &whole);
    }
}
