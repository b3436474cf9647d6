//! The same answers as OTLP/JSON: bytes of a stranger, too.
//!
//! JSON is read as RFC 8259 has it, UTF-8 throughout, and walked over rather than kept: of a body
//! at the limit of 4 MiB, a few names and one message become text. Names are lowerCamelCase,
//! unknown ones are skipped, of equal ones the last counts, `null` is the default, and integers may
//! be numbers or strings (protobuf's JSON mapping).

use super::{MESSAGE_BYTES_MAX, PartialSuccess, RpcStatus, lossy};

/// What stands where JSON, or another kind of value, should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotJson;

impl PartialSuccess {
    /// Reads the body of a successful response.
    ///
    /// # Errors
    /// The body is no such message. (The request was successful nevertheless.)
    pub(crate) fn read_json(body: &[u8]) -> Result<Self, NotJson> {
        let mut read = Self::default();
        document(body, |reader| {
            reader.members(|name, reader| match name {
                "partialSuccess" => {
                    read = Self::default();
                    reader.members(|name, reader| read.member(name, reader))
                }
                _ => reader.skip(),
            })
        })?;
        Ok(read)
    }

    fn member(&mut self, name: &str, reader: &mut Reader<'_>) -> Result<(), NotJson> {
        match name {
            "rejectedSpans" | "rejectedLogRecords" | "rejectedDataPoints" => {
                self.rejected = reader.integer()?;
            }
            "errorMessage" => self.message = reader.optional_text()?,
            _ => reader.skip()?,
        }
        Ok(())
    }
}

impl RpcStatus {
    /// Reads the body of a failed response.
    ///
    /// # Errors
    /// The body is no such message: proxies answer in HTML.
    pub(crate) fn read_json(body: &[u8]) -> Result<Self, NotJson> {
        let mut read = Self::default();
        document(body, |reader| {
            reader.members(|name, reader| {
                match name {
                    "code" => read.code = reader.integer()? as i32,
                    "message" => read.message = reader.optional_text()?,
                    _ => reader.skip()?,
                }
                Ok(())
            })
        })?;
        Ok(read)
    }
}

/// Reads a whole body, which is one value.
fn document<'j>(
    body: &'j [u8],
    read: impl FnOnce(&mut Reader<'j>) -> Result<(), NotJson>,
) -> Result<(), NotJson> {
    let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
    let mut reader = Reader { rest: text.as_bytes(), depth: 0 };
    read(&mut reader)?;
    reader.space();
    if reader.rest.is_empty() { Ok(()) } else { Err(NotJson) }
}

/// Walks over the text, which is UTF-8.
struct Reader<'j> {
    rest: &'j [u8],
    /// Arrays and objects around the next value, at most [`DEPTH_MAX`].
    depth: u8,
}

impl<'j> Reader<'j> {
    /// Reads an object, or null, and calls `member` with each name; it has to read the value.
    fn members(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        if self.next() == Some(b'n') {
            return self.word(b"null");
        }
        self.elements(b'{', b'}', |reader| {
            let name = reader.text()?;
            reader.expect(b':')?;
            member(&name, reader)
        })
    }

    /// Reads what stands between two brackets, and commas between.
    fn elements(
        &mut self,
        opening: u8,
        closing: u8,
        mut element: impl FnMut(&mut Self) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        self.expect(opening)?;
        if self.depth == DEPTH_MAX {
            return Err(NotJson);
        }
        self.depth += 1;
        if self.next() != Some(closing) {
            element(self)?;
            while self.next() == Some(b',') {
                self.expect(b',')?;
                element(self)?;
            }
        }
        self.depth -= 1;
        self.expect(closing)
    }

    /// Reads a value that nobody needs. This is the only recursion, and [`DEPTH_MAX`] bounds it.
    fn skip(&mut self) -> Result<(), NotJson> {
        match self.next() {
            Some(b'{') => self.members(|_, reader| reader.skip()),
            Some(b'[') => self.elements(b'[', b']', Self::skip),
            Some(b'"') => self.text().map(drop),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.number().map(drop),
        }
    }

    /// Reads an integer: a number, or a string with one. One that no i64 holds is the nearest.
    fn integer(&mut self) -> Result<i64, NotJson> {
        let text = match self.next() {
            Some(b'n') => return self.word(b"null").map(|()| 0),
            Some(b'"') => {
                let text = self.text()?;
                // What stands in the string is a number of JSON as well.
                let mut inner = Reader { rest: text.as_bytes(), depth: 0 };
                inner.number()?;
                if !inner.rest.is_empty() || text.starts_with(SPACE) {
                    return Err(NotJson);
                }
                return to_integer(&text);
            }
            _ => self.number()?,
        };
        to_integer(text)
    }

    fn optional_text(&mut self) -> Result<String, NotJson> {
        match self.next() {
            Some(b'n') => self.word(b"null").map(|()| String::new()),
            _ => self.text(),
        }
    }

    /// Reads a string, of which about [`MESSAGE_BYTES_MAX`] bytes are kept.
    fn text(&mut self) -> Result<String, NotJson> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            let plain = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            let (run, rest) = self.rest.split_at(plain.ok_or(NotJson)?);
            keep(&mut text, run);
            self.rest = rest;
            match self.take() {
                Some(b'"') => return Ok(lossy(&text)),
                Some(b'\\') => {
                    let escaped = self.escaped()?;
                    keep(&mut text, escaped.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => return Err(NotJson),
            }
        }
    }

    /// The character that is meant by what follows a backslash.
    fn escaped(&mut self) -> Result<char, NotJson> {
        Ok(match self.take().ok_or(NotJson)? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(NotJson),
        })
    }

    /// The character of four digits, or of two times four if it is beyond the first plane.
    fn unicode(&mut self) -> Result<char, NotJson> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(NotJson);
        }
        let is_pair = self.take() == Some(b'\\') && self.take() == Some(b'u');
        let second = if is_pair { self.four_digits()? } else { 0 };
        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400).ok_or(NotJson)?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + low).ok_or(NotJson)
    }

    fn four_digits(&mut self) -> Result<u32, NotJson> {
        (0..4).try_fold(0, |value, _| {
            let digit = char::from(self.take().ok_or(NotJson)?).to_digit(16).ok_or(NotJson)?;
            Ok(value << 4 | digit)
        })
    }

    /// Reads a number; what it is made of.
    fn number(&mut self) -> Result<&'j str, NotJson> {
        self.space();
        let start = self.rest;
        self.take_if(|byte| byte == b'-');
        match self.take() {
            Some(b'0') => {}
            Some(b'1'..=b'9') => {
                self.digits();
            }
            _ => return Err(NotJson),
        }
        if self.take_if(|byte| byte == b'.') && self.digits() == 0 {
            return Err(NotJson);
        }
        if self.take_if(|byte| matches!(byte, b'e' | b'E')) {
            self.take_if(|byte| matches!(byte, b'+' | b'-'));
            if self.digits() == 0 {
                return Err(NotJson);
            }
        }
        let read = &start[..start.len() - self.rest.len()];
        std::str::from_utf8(read).map_err(|_| NotJson)
    }

    fn digits(&mut self) -> usize {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = &self.rest[count..];
        count
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NotJson> {
        self.rest = self.rest.strip_prefix(word).ok_or(NotJson)?;
        Ok(())
    }

    /// Steps over `byte` and the space before it.
    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        self.space();
        if self.take_if(|found| found == byte) { Ok(()) } else { Err(NotJson) }
    }

    /// The next byte that is no space; it is not taken.
    fn next(&mut self) -> Option<u8> {
        self.space();
        self.rest.first().copied()
    }

    fn space(&mut self) {
        let is_space = |byte: &&u8| SPACE.contains(&char::from(**byte));
        self.rest = &self.rest[self.rest.iter().take_while(is_space).count()..];
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take_if(&mut self, is_it: impl FnOnce(u8) -> bool) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if is_it(*first) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }
}

/// Appends what there is room for. What is cut may be half a character: `lossy` sees to it.
fn keep(text: &mut Vec<u8>, more: &[u8]) {
    let room = (MESSAGE_BYTES_MAX + 1).saturating_sub(text.len());
    text.extend_from_slice(&more[..more.len().min(room)]);
}

/// The value of a number of JSON that is whole, `1e2` and `7.0` among them.
fn to_integer(number: &str) -> Result<i64, NotJson> {
    if let Ok(value) = number.parse() {
        return Ok(value);
    }
    let value: f64 = number.parse().map_err(|_| NotJson)?;
    // A cast of a float saturates.
    if value.fract() == 0.0 || value.is_infinite() { Ok(value as i64) } else { Err(NotJson) }
}

/// Values within values: what protobuf's parsers allow.
const DEPTH_MAX: u8 = 100;
/// RFC 8259, section 2.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

#[cfg(test)]
mod tests;
