//! The text of JSON's values (RFC 8259).

use std::io::Write as _;

/// The name of a member, which needs no escapes.
pub(super) fn name(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| needs_escape(byte)) {
        out.extend_from_slice(&rest[..at]);
        escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits(byte));
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// A 64-bit number as a string.
pub(super) fn quoted(out: &mut Vec<u8>, number: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    number(out);
    out.push(b'"');
}

/// A whole number.
pub(super) fn unsigned(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; U64_DIGITS_MAX];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// A whole number with a sign if it is negative.
pub(super) fn signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    unsigned(out, value.unsigned_abs());
}

/// The fewest digits that are read as the same double; or what protobuf has for the three kinds
/// of double that JSON does not know.
pub(super) fn double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        // As Debug writes it: shortest, with a point or an exponent, and -0.0 with its sign.
        let _ = write!(out, "{value:?}"); // A Vec takes everything.
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
}

/// Bytes in hexadecimal.
pub(super) fn hexadecimal(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    bytes.iter().for_each(|&byte| out.extend_from_slice(&digits(byte)));
    out.push(b'"');
}

/// Bytes in base64, with padding (RFC 4648, section 4).
pub(super) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for group in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        let sextet = |shift: u32| BASE64[(bits >> shift & 0x3f) as usize];
        let mut text = [18, 12, 6, 0].map(sextet);
        text[group.len() + 1..].fill(b'=');
        out.extend_from_slice(&text);
    }
    out.push(b'"');
}

fn digits(byte: u8) -> [u8; 2] {
    [HEXADECIMAL[usize::from(byte >> 4)], HEXADECIMAL[usize::from(byte & 0xf)]]
}

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Digits of the largest u64.
const U64_DIGITS_MAX: usize = 20;
