//! Streams behind tokio's traits carry bytes both ways, on each driver and without tokio's runtime.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::pin::Pin;
use std::thread;

use spanwire_runtime::Builder;
use spanwire_runtime::compat::Io;
use spanwire_runtime::driver::Choice;
use spanwire_runtime::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[test]
fn what_is_written_comes_back_whole_and_the_end_is_seen_by_both() {
    for choice in [Choice::Auto, Choice::Epoll] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let mut peer = listener.accept().unwrap().0;
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            peer.write_all(&all).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
        });
        let runtime = Builder::new().io(choice).build().unwrap();
        let sent: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        let expected = sent.clone();
        let task = runtime.spawn_pinned(move || async move {
            let mut stream = Io::new(TcpStream::connect(addr).await.unwrap());
            assert!(stream.is_write_vectored());
            write_in_pieces(&mut stream, &sent).await.unwrap();
            poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await.unwrap();
            read_to_end(&mut stream).await.unwrap()
        });
        assert!(runtime.block_on(task).unwrap() == expected, "{choice:?}");
        echo.join().unwrap();
    }
}

/// Writes `bytes` by vectored and by plain writes in turn.
async fn write_in_pieces(stream: &mut Io<TcpStream>, mut bytes: &[u8]) -> io::Result<()> {
    let mut is_vectored = false;
    while !bytes.is_empty() {
        is_vectored = !is_vectored;
        let (first, second) = bytes.split_at(bytes.len() / 3);
        let pieces = [IoSlice::new(first), IoSlice::new(second)];
        let written = poll_fn(|cx| match is_vectored {
            true => Pin::new(&mut *stream).poll_write_vectored(cx, &pieces),
            false => Pin::new(&mut *stream).poll_write(cx, bytes),
        });
        bytes = &bytes[written.await?..];
    }
    poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await
}

async fn read_to_end(stream: &mut Io<TcpStream>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut chunk = vec![0; 10_000];
    loop {
        let mut buf = ReadBuf::new(&mut chunk);
        poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buf)).await?;
        match buf.filled() {
            [] => return Ok(all),
            filled => all.extend_from_slice(filled),
        }
    }
}
