//! The servers of the echo rows, the same for all peers, and not in their process.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{row::Row, seam::MESSAGE_BYTES};

/// Where they listen, for as long as this process lives.
#[derive(Clone, Copy, Debug)]
pub struct Servers {
    /// A blocking thread a connection: nothing answers one client sooner.
    pub one: SocketAddr,
    /// One thread for all connections (on tokio): many threads would be in each other's way.
    pub many: SocketAddr,
}

impl Servers {
    /// Starts both.
    ///
    /// # Errors
    ///
    /// When there is no port on loopback, or no thread.
    pub fn start() -> io::Result<Self> {
        Ok(Self { one: start_blocking()?, many: start_polling()? })
    }

    /// The one that suits `row`.
    pub fn of(self, row: Row) -> SocketAddr {
        if row == Row::EchoTcpMany { self.many } else { self.one }
    }
}

fn start_blocking() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    thread::Builder::new().name("echo-one".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(stream));
        }
    })?;
    Ok(addr)
}

fn start_polling() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    thread::Builder::new()
        .name("echo-many".into())
        .spawn(move || runtime.block_on(serve(listener)))?;
    Ok(addr)
}

/// For ever, unless the listener breaks.
async fn serve(listener: TcpListener) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo_polling(stream));
    }
}

/// Until the peer closes.
async fn echo_polling(mut stream: tokio::net::TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = [0; MESSAGE_BYTES];
    loop {
        stream.read_exact(&mut message).await?;
        stream.write_all(&message).await?;
    }
}

/// Until the peer closes.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = [0; MESSAGE_BYTES];
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
    }
}
