//! hyper on this runtime: a server and a client of HTTP/1.1, both on one worker.
//!
//! ```text
//! cargo run -p spanwire-runtime --features hyper --example hyper
//! ```

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper::{Request, Response};
use spanwire_runtime::compat::{Io, PinnedExecutor, TaskTimer};
use spanwire_runtime::net::{TcpListener, TcpStream};
use spanwire_runtime::{Builder, spawn_pinned};

fn main() -> Outcome<()> {
    let runtime = Builder::new().build()?;
    let task = runtime.spawn_pinned(|| async {
        let mut client = connect(serve()?).await?;
        ask(&mut client, "hello, world".into()).await
    });
    let answer = runtime.block_on(task).expect("the task does not panic")?;
    println!("the server answers {:?}", String::from_utf8_lossy(&answer));
    Ok(())
}

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Starts a server on this worker that answers each request with its own body.
pub(crate) fn serve() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let addr = listener.local_addr()?;
    // Dropping the handle detaches the task; the runtime's end ends it.
    drop(spawn_pinned(move || async move {
        while let Ok((stream, _peer)) = listener.accept().await {
            drop(spawn_pinned(move || connection(stream)));
        }
    }));
    Ok(addr)
}

async fn connection(stream: TcpStream) {
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TaskTimer::current())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(Io::new(stream), service_fn(echo))
        .await;
    if let Err(error) = served {
        eprintln!("a connection has failed: {error}");
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new(body)))
}

/// Connects a client on this worker.
pub(crate) async fn connect(addr: SocketAddr) -> Outcome<SendRequest<Full<Bytes>>> {
    let stream = Io::new(TcpStream::connect(addr).await?);
    let (client, connection) = hyper::client::conn::http1::handshake(stream).await?;
    PinnedExecutor::new().execute(connection);
    Ok(client)
}

/// Sends `body` and returns what comes back.
pub(crate) async fn ask(client: &mut SendRequest<Full<Bytes>>, body: Bytes) -> Outcome<Bytes> {
    client.ready().await?;
    let request = Request::post("/").header("host", "localhost").body(Full::new(body))?;
    let answer = client.send_request(request).await?;
    Ok(answer.into_body().collect().await?.to_bytes())
}

/// How long a client may take to send the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
