//! Answers that the proxy gives itself, over HTTP/1.1.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use super::Fault;

/// Serves one connection until the client closes it, or `current` says that the fault is another: then
/// after the answer that is under way.
pub(super) fn serve(
    mut client: TcpStream,
    fault: Fault,
    current: impl Fn() -> Fault,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    // A fault that has ended is noticed by connections without requests, too.
    client.set_read_timeout(Some(LOOK_EVERY))?;
    let mut buffer = Vec::new();
    while current() == fault {
        if !read_request(&mut client, &mut buffer, || current() == fault)? {
            return Ok(());
        }
        match fault {
            Fault::Answer(status, wait) => client.write_all(head(status, wait).as_bytes())?,
            Fault::Endless(status) => {
                client.write_all(endless(status).as_bytes())?;
                forever(&mut client, &[b'x'; 16 << 10], &|| current() == fault)?;
            }
            Fault::HeaderBomb => {
                client.write_all(b"HTTP/1.1 200 OK\r\n")?;
                forever(&mut client, &BOMB.repeat(256), &|| current() == fault)?;
            }
            _ => client.write_all(GARBAGE)?,
        }
    }
    Ok(())
}

fn head(status: u16, wait: Option<u64>) -> String {
    let wait = wait.map_or(String::new(), |wait| format!("retry-after: {wait}\r\n"));
    format!("HTTP/1.1 {status} Scripted\r\n{wait}content-length: 0\r\n\r\n")
}

fn endless(status: u16) -> String {
    format!(
        "HTTP/1.1 {status} Scripted\r\ncontent-type: application/x-protobuf\r\n\
         content-length: 1000000000000\r\n\r\n"
    )
}

/// Writes at a rate that a client notices and a machine does not, until the client has enough.
fn forever(client: &mut TcpStream, bytes: &[u8], go_on: &dyn Fn() -> bool) -> io::Result<()> {
    while go_on() {
        client.write_all(bytes)?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Reads a whole request away; `false` when the client has closed, or it is time to go.
fn read_request(
    client: &mut TcpStream,
    buffer: &mut Vec<u8>,
    go_on: impl Fn() -> bool,
) -> io::Result<bool> {
    let mut some = vec![0; 64 << 10];
    loop {
        if let Some(end) = request_end(buffer)?
            && buffer.len() >= end
        {
            buffer.drain(..end);
            return Ok(true);
        }
        match client.read(&mut some) {
            Ok(0) => return Ok(false),
            Ok(read) => buffer.extend_from_slice(&some[..read]),
            Err(error) if is_timeout(&error) && (go_on() || !buffer.is_empty()) => {}
            Err(error) if is_timeout(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        if buffer.len() > REQUEST_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the request is too long"));
        }
    }
}

/// How many bytes the first request in the buffer has; `None` while its head is not whole.
fn request_end(buffer: &[u8]) -> io::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request
        .parse(buffer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let length =
        request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| str::from_utf8(header.value).ok()?.trim().parse().ok());
    Ok(Some(head.saturating_add(length.unwrap_or(0_usize))))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

const BOMB: &[u8] = b"x-bomb: 0123456789012345678901234567890123456789012345678901\r\n";
const GARBAGE: &[u8] = b"220 mail.example.com ESMTP ready\r\n";
const LOOK_EVERY: Duration = Duration::from_millis(20);
const REQUEST_BYTES_MAX: usize = 65 << 20;
