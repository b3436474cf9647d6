//! A set against listeners of several addresses and one port, as a name may have them. What the
//! resolver says is played, so that it can change.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use spanwire_runtime::{Builder, driver};

use super::*;
use crate::model::Protocol;
use crate::pipeline::prepare::Coding;
use crate::transport::endpoint::{Endpoint, Scope};

/// Answers every request with a success, and counts.
#[derive(Clone, Default)]
struct Counts {
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Counts {
    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Listens on the address that ends with `last`; `ended` hears of each connection that ends.
fn listen(last: u8, port: u16, ended: mpsc::Sender<u8>) -> (Counts, u16) {
    let process = (std::process::id() % 250) as u8;
    let listener = TcpListener::bind((Ipv4Addr::new(127, 33, process, last), port)).unwrap();
    let (counts, port) = (Counts::default(), listener.local_addr().unwrap().port());
    let counting = counts.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (counts, ended) = (counting.clone(), ended.clone());
            counts.connections.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                serve(stream.unwrap(), &counts);
                let _ = ended.send(last);
            });
        }
    });
    (counts, port)
}

fn serve(mut stream: TcpStream, counts: &Counts) {
    let mut seen = Vec::new();
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte) {
        seen.push(byte[0]);
        // A body of one byte ends the request.
        if seen.ends_with(b"\r\n\r\nx") {
            seen.clear();
            counts.requests.fetch_add(1, Ordering::SeqCst);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 33, (std::process::id() % 250) as u8, last).into()
}

/// How long a request is retried here.
const BUDGET: Duration = Duration::from_secs(60);

/// A set with one endpoint, which is a name that no resolver knows.
fn endpoints(port: u16) -> Rc<Endpoints> {
    let url = format!("http://collectors.invalid:{port}");
    let collector = Collector {
        endpoint: Endpoint::parse(&url, Scope::Base(Signal::Traces), "test").unwrap(),
        address: None,
        proxy: None,
        headers: Vec::new(),
        protocol: Protocol::HttpProtobuf,
        coding: Coding::default(),
        header_source: None,
        response_bytes_max: 1 << 20,
        #[cfg(feature = "tls")]
        tls: None,
        #[cfg(feature = "grpc")]
        keepalive: None,
    };
    let resolve_every = Some(Duration::from_secs(3600));
    let balance = Balance::RoundRobin;
    let balanced = Balanced { collectors: vec![collector], balance, resolve_every };
    Endpoints::new(Arc::new(balanced), Signal::Traces, 2, BUDGET)
}

fn found(lasts: &[u8]) -> Vec<Option<Vec<IpAddr>>> {
    vec![Some(lasts.iter().map(|last| address(*last)).collect())]
}

async fn send(carrier: &mut BalancedCarrier) -> Outcome {
    let payload = Payload::new(vec![Bytes::from_static(b"x")], 1);
    let deadline = Some(Instant::now() + Duration::from_secs(20));
    carrier.begin(None);
    carrier.attempt(Signal::Traces, &payload, deadline).await
}

async fn deliver(carrier: &mut BalancedCarrier, count: usize) {
    for _ in 0..count {
        let outcome = send(carrier).await;
        assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    }
}

fn on_worker<T: Send + 'static, F: Future<Output = T> + 'static>(
    script: impl FnOnce() -> F + Send + 'static,
) -> T {
    let runtime = Builder::new().io(driver::Choice::Epoll).build().unwrap();
    runtime.block_on(runtime.spawn_pinned(script)).unwrap()
}

#[test]
fn addresses_join_and_leave_and_what_leaves_closes_its_connections() {
    let (ended, ends) = mpsc::channel();
    let (first, port) = listen(1, 0, ended.clone());
    let (second, _) = listen(2, port, ended.clone());
    let (third, _) = listen(3, port, ended);
    let counts = [first, second, third];
    let requests = move || counts.each_ref().map(Counts::requests);
    on_worker(move || async move {
        let endpoints = endpoints(port);
        endpoints.resolved(found(&[1, 2]));
        let mut carrier = endpoints.carrier();
        deliver(&mut carrier, 4).await;
        assert_eq!(requests(), [2, 2, 0]);
        // One goes, one comes.
        endpoints.resolved(found(&[2, 3]));
        assert_eq!(ends.recv_timeout(Duration::from_secs(20)), Ok(1), "its connection is closed");
        deliver(&mut carrier, 4).await;
        assert_eq!(requests(), [2, 4, 2]);
        // A name that is not known for a while keeps its addresses.
        endpoints.resolved(vec![None]);
        endpoints.resolved(vec![Some(Vec::new())]);
        deliver(&mut carrier, 2).await;
        assert_eq!(requests(), [2, 5, 3]);
        assert_eq!(ends.try_recv(), Err(mpsc::TryRecvError::Empty), "nobody else was closed");
    });
}

#[test]
fn a_request_that_is_under_way_to_an_address_that_leaves_is_finished() {
    let (ended, ends) = mpsc::channel();
    let (first, port) = listen(11, 0, ended.clone());
    let (second, _) = listen(12, port, ended);
    on_worker(move || async move {
        let endpoints = endpoints(port);
        endpoints.resolved(found(&[11]));
        let mut carrier = endpoints.carrier();
        let mut request = std::pin::pin!(send(&mut carrier));
        // It is under way once it was polled.
        let polled = poll_fn(|cx| Poll::Ready(request.as_mut().poll(cx).is_pending())).await;
        assert!(polled);
        endpoints.resolved(found(&[12]));
        assert!(matches!(request.await, Outcome::Delivered { .. }));
        assert_eq!((first.requests(), second.requests()), (1, 0));
        assert_eq!(ends.recv_timeout(Duration::from_secs(20)), Ok(11), "and then it is closed");
        deliver(&mut endpoints.carrier(), 1).await;
        assert_eq!(second.requests(), 1);
    });
}

#[test]
fn a_name_that_was_never_resolved_stands_for_itself_and_is_asked_for_again_soon() {
    let (ended, _ends) = mpsc::channel();
    let (first, port) = listen(21, 0, ended);
    on_worker(move || async move {
        let endpoints = endpoints(port);
        let mut carrier = endpoints.carrier();
        // Nobody knows the name, and whoever connects says so.
        let outcome = send(&mut carrier).await;
        assert!(matches!(outcome, Outcome::Retry { not_before: None, .. }), "{outcome:?}");
        let due = endpoints.resolution.due.get().unwrap();
        assert!(due <= Instant::now() + RESOLVE_PAUSE, "and not in an hour");
        endpoints.resolved(found(&[21]));
        deliver(&mut carrier, 1).await;
        assert_eq!(first.requests(), 1);
        let due = endpoints.resolution.due.get().unwrap();
        assert!(due > Instant::now() + Duration::from_secs(3000));
    });
}

#[test]
fn one_attempt_asks_each_endpoint_that_cannot_be_connected_to_once() {
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = unused.local_addr().unwrap().port();
    on_worker(move || async move {
        let endpoints = endpoints(port);
        // Nobody listens on these addresses.
        endpoints.resolved(found(&[31, 32, 33]));
        let outcome = send(&mut endpoints.carrier()).await;
        assert!(matches!(outcome, Outcome::Retry { not_before: None, .. }), "{outcome:?}");
        let balancer = format!("{:?}", endpoints.balancer.borrow());
        assert_eq!(balancer.matches("Closed { failures: 1 }").count(), 3, "{balancer}");
    });
}

#[test]
fn a_pause_that_is_longer_than_any_retry_silences_a_set_no_longer_than_one_endpoint() {
    on_worker(|| async {
        let endpoints = endpoints(1);
        endpoints.resolved(found(&[41]));
        let now = Instant::now();
        let pick = |now| endpoints.balancer.borrow_mut().pick(now, 0, None, &[]);
        let Pick::To(id) = pick(now) else { panic!("there is one") };
        let day = Some(Duration::from_secs(24 * 60 * 60));
        let why = Failure::answer(Status::Http(503), "");
        endpoints.ended(id, &Outcome::Retry { not_before: day, why }, now);
        assert_eq!(pick(now), Pick::NotBefore(now + BUDGET));
        assert_eq!(pick(now + BUDGET), Pick::To(id));
    });
}

#[test]
fn what_an_outcome_says_of_an_endpoint() {
    let failed = |pause| Verdict::Failed { pause };
    let refused = |why| Outcome::Refused { why };
    let delivered = Outcome::Delivered { rejected: 0, warning: None, status: None };
    let second = Duration::from_secs(1);
    let paused = |not_before| Outcome::Retry { not_before, why: Failure::new(Phase::Answer, "") };
    let cases = [
        (delivered, Verdict::Well),
        (paused(Some(second)), failed(Some(second))),
        (paused(Some(Duration::ZERO)), failed(None)),
        (Outcome::retry(Failure::new(Phase::Connect, "")), failed(None)),
        (Outcome::retry(Failure::new(Phase::Headers, "")), Verdict::Unknown),
        (refused(Failure::answer(Status::Http(400), "")), Verdict::Well),
        (refused(Failure::answer(Status::Http(500), "")), failed(None)),
        (refused(Failure::new(Phase::Protocol, "")), failed(None)),
        (refused(Failure::answer(Status::Grpc(3), "")), Verdict::Well),
        (refused(Failure::answer(Status::Grpc(13), "")), failed(None)),
        (refused(Failure::new(Phase::Size, "")), Verdict::Unknown),
    ];
    for (outcome, expected) in cases {
        assert_eq!(verdict(&outcome), expected, "{outcome:?}");
    }
}
