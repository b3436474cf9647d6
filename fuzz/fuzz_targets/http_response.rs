//! The HTTP/1.1 response codec over arbitrary bytes.
//!
//! Promises: no panic; the size of the pieces does not matter; limits hold; an error is final; a
//! peer never rejects more records than it was sent.
//!
//! The first byte of an input is the size of the pieces, the second chooses the limits, the rest
//! is what the peer sends. So `@0HTTP/1.1 200 OK...` in a corpus file is readable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spanwire::internals::http1::{
    Progress, Response, ResponseError, ResponseLimits, ResponseReader,
};
use spanwire::internals::rejected_by;

fuzz_target!(|input: &[u8]| {
    let [piece_bytes, limits, bytes @ ..] = input else { return };
    let limits = chosen(*limits);
    let whole = read([bytes].into_iter(), limits);
    let single = read(bytes.chunks(1), limits);
    let pieces = read(bytes.chunks(usize::from(*piece_bytes).max(1)), limits);
    assert_eq!(whole, single, "in single bytes");
    assert_eq!(whole, pieces, "in pieces");
});

/// How reading ended, and how it would if the peer closed then.
type Ending = (Result<Progress, ResponseError>, Result<Response, ResponseError>);

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: ResponseLimits) -> Ending {
    let mut reader = ResponseReader::new(limits);
    let mut fed = Ok(Progress::NeedMore);
    for piece in pieces {
        fed = reader.feed(piece);
        if let Err(error) = fed {
            assert_eq!(reader.feed(b"x"), Err(error), "an error is final");
            assert_eq!(reader.end_of_stream(), Err(error), "an error is final");
            return (fed, Err(error));
        }
    }
    if let Err(error) = reader.end_of_stream() {
        assert_ne!(fed, Ok(Progress::Done));
        return (fed, Err(error));
    }
    let response = reader.into_response().expect("a complete response has a head");
    check(&response, limits);
    (fed, Ok(response))
}

fn check(response: &Response, limits: ResponseLimits) {
    assert!((200..1000).contains(&response.status));
    assert!(response.body.len() <= limits.body_bytes_max);
    for value in [&response.retry_after, &response.content_type].into_iter().flatten() {
        assert!(value.len() <= limits.head_bytes_max);
    }
    assert!(rejected_by(response, SENT).is_none_or(|rejected| rejected <= SENT));
}

/// Small limits are met by small inputs.
fn chosen(selector: u8) -> ResponseLimits {
    match selector % 4 {
        0 => ResponseLimits::default(),
        1 => ResponseLimits { head_bytes_max: 64, body_bytes_max: 16 },
        2 => ResponseLimits { head_bytes_max: 128, body_bytes_max: 0 },
        _ => ResponseLimits { head_bytes_max: 1024, body_bytes_max: 64 },
    }
}

/// Records that the request carried.
const SENT: u64 = 512;
