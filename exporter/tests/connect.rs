//! Ways to a collector that are no plain connection: Unix sockets and proxies; and credentials
//! that change on the way.
#![cfg(unix)]

mod support;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use spanwire::{FlushError, OutgoingRequest, Protocol};

use support::otel::{LONG, assert_balanced, builder, drivers, end_spans, provider};
use support::{Collector, Reply, header};

#[test]
fn a_collector_behind_a_unix_socket_gets_everything() {
    for io in drivers() {
        let collector = Collector::start();
        let socket = SocketPath::relay_to(collector.address());
        for url in
            [format!("unix:{}", socket.0.display()), format!("unix://{}", socket.0.display())]
        {
            let exporter = builder(&url).0.io(io).build().unwrap();
            end_spans(&provider(&exporter, "service"), 3);
            exporter.flush(LONG).unwrap();
            assert_balanced(&exporter.stats(), 3);
        }
        assert_eq!(collector.ids().len(), 6);
        let heads = collector.heads();
        assert!(heads.iter().all(|head| head.starts_with("POST /v1/traces ")), "{heads:?}");
        assert!(heads.iter().all(|head| header(head, "host") == Some("localhost")), "{heads:?}");
    }
}

#[test]
fn a_unix_socket_that_appears_later_gets_what_has_waited() {
    let collector = Collector::start();
    let mut socket = SocketPath::new();
    let (builder, diagnostics) = builder(&format!("unix:{}", socket.0.display()));
    let exporter = builder.build().unwrap();
    end_spans(&provider(&exporter, "service"), 3);
    let told = diagnostics.wait_for("ExportFailing");
    assert!(told.contains(&*socket.0.to_string_lossy()), "{told}");
    socket.relay(collector.address());
    exporter.flush(LONG).unwrap();
    assert_eq!(collector.ids().len(), 3);
    assert_balanced(&exporter.stats(), 3);
}

#[test]
fn the_proxy_of_a_variable_leads_to_a_collector_that_nobody_here_can_resolve() {
    for io in drivers() {
        let collector = Collector::start();
        let proxy = Proxy::start(collector.address(), |_| TUNNEL);
        let url = format!("http://user:pass%3A@{}", proxy.address);
        let exporter = builder("http://collector.invalid:4318")
            .0
            .io(io)
            .env_from(move |name| (name == "HTTP_PROXY").then(|| url.clone()))
            .build()
            .unwrap();
        end_spans(&provider(&exporter, "service"), 3);
        exporter.flush(LONG).unwrap();
        assert_balanced(&exporter.stats(), 3);
        assert_eq!(collector.ids().len(), 3);
        let head = &proxy.heads.lock().unwrap()[0];
        assert!(head.starts_with("CONNECT collector.invalid:4318 HTTP/1.1\r\n"), "{head}");
        assert_eq!(header(head, "proxy-authorization"), Some("Basic dXNlcjpwYXNzOg=="));
        assert_eq!(header(&collector.heads()[0], "proxy-authorization"), None);
    }
}

#[test]
fn what_a_proxy_refuses_waits_and_the_diagnostic_shows_no_password() {
    for io in drivers() {
        let collector = Collector::start();
        let proxy = Proxy::start(collector.address(), |number| match number {
            0 => b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            1 => b"HTTP/1.1 403 Forbidden\r\n\r\n",
            2 => b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
            _ => TUNNEL,
        });
        let (builder, diagnostics) = builder("http://collector.invalid");
        let url = format!("http://user:secret@{}", proxy.address);
        let exporter = builder.io(io).proxy(url).build().unwrap();
        end_spans(&provider(&exporter, "service"), 3);
        exporter.flush(LONG).unwrap();
        assert_eq!(collector.ids().len(), 3);
        let stats = exporter.stats();
        assert_eq!((stats.delivered, stats.dropped.total(), stats.retries), (3, 0, 3));
        let told = diagnostics.of_kind("ExportFailing").concat();
        assert!(told.contains("proxy") && told.contains("credentials"), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
}

/// H9, and pain 23 of whoever had a token expire.
#[test]
fn a_request_with_an_old_token_is_lost_and_counted_and_later_ones_have_a_new_one() {
    for io in drivers() {
        for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson] {
            let collector = Collector::scripted(|number| match number {
                1 => Reply::Refuse(401, "", Vec::new()),
                _ => Reply::Accept,
            });
            let (builder, diagnostics) = builder(&collector.endpoint());
            let tokens = AtomicUsize::new(1);
            let source = move |request: &OutgoingRequest| {
                let fresh = usize::from(request.is_after_refusal());
                let token = tokens.fetch_add(fresh, Ordering::Relaxed) + fresh;
                Ok(vec![("authorization".to_owned(), format!("Bearer secret-{token}"))])
            };
            let exporter = builder.io(io).protocol(protocol).headers_from(source).build().unwrap();
            let provider = provider(&exporter, "service");
            for expected in [Ok(()), Err(FlushError::Lost { dropped: 2, rejected: 0 }), Ok(())] {
                end_spans(&provider, 2);
                assert_eq!(exporter.flush(LONG), expected);
            }
            let stats = exporter.stats();
            assert_eq!((stats.dropped.refused, stats.delivered, stats.retries), (2, 4, 0));
            assert_balanced(&stats, 6);
            let heads = collector.heads();
            let sent: Vec<_> = heads.iter().map(|head| header(head, "authorization")).collect();
            let token = |number| Some(["Bearer secret-1", "Bearer secret-2"][number]);
            assert_eq!(sent, [token(0), token(0), token(1)]);
            let told = diagnostics.of_kind("");
            assert!(!told.is_empty() && !told.concat().contains("secret"), "{told:?}");
        }
    }
}

#[test]
fn a_source_that_panics_costs_attempts_and_no_data() {
    for io in drivers() {
        let collector = Collector::start();
        let (builder, diagnostics) = builder(&collector.endpoint());
        let calls = AtomicUsize::new(0);
        let source = move |_: &OutgoingRequest| match calls.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("on purpose"),
            1 => Err("the token server is away".into()),
            _ => Ok(Vec::new()),
        };
        let exporter = builder.io(io).headers_from(source).build().unwrap();
        end_spans(&provider(&exporter, "service"), 3);
        exporter.flush(LONG).unwrap();
        assert_eq!(collector.ids().len(), 3);
        let stats = exporter.stats();
        assert_eq!((stats.delivered, stats.retries), (3, 2));
        let told = diagnostics.of_kind("ExportFailing").concat();
        assert!(told.contains("it panicked"), "{told}");
    }
}

/// A path for a Unix socket that goes away at the end.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("spanwire-connect-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn relay_to(collector: SocketAddr) -> Self {
        let mut path = Self::new();
        path.relay(collector);
        path
    }

    /// Listens, and connects whoever comes with the collector.
    fn relay(&mut self, collector: SocketAddr) {
        let listener = UnixListener::bind(&self.0).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                let back = stream.try_clone().unwrap();
                relay((stream, back), collector, UnixStream::shutdown);
            }
        });
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A proxy that leads everywhere to one collector.
struct Proxy {
    address: SocketAddr,
    /// What it was asked.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Answers the n-th connection (from 0) as `script(n)` says; a tunnel is connected.
    fn start(
        collector: SocketAddr,
        script: impl Fn(usize) -> &'static [u8] + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&heads);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                kept.lock().unwrap().push(read_head(&mut stream));
                let answer = script(number);
                stream.write_all(answer).unwrap();
                if answer == TUNNEL {
                    let back = stream.try_clone().unwrap();
                    relay((stream, back), collector, TcpStream::shutdown);
                }
            }
        });
        Self { address, heads }
    }
}

/// Copies in both directions, on threads that end with the connections.
fn relay<S: Read + Write + Send + 'static>(
    (mut one, mut same): (S, S),
    collector: SocketAddr,
    shutdown: fn(&S, std::net::Shutdown) -> io::Result<()>,
) {
    let other = TcpStream::connect(collector).unwrap();
    let mut back = other.try_clone().unwrap();
    thread::spawn(move || {
        let _ = io::copy(&mut one, &mut &other);
        let _ = other.shutdown(std::net::Shutdown::Both);
    });
    thread::spawn(move || {
        let _ = io::copy(&mut back, &mut same);
        let _ = shutdown(&same, std::net::Shutdown::Both);
    });
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

const TUNNEL: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
