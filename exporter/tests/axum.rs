//! The example of a web service, as a process of its own that is told to stop while requests come
//! in: the span of each request that was answered arrives.
#![cfg(target_os = "linux")]

mod support;

#[allow(dead_code, reason = "an example has a `main`")]
#[path = "../examples/axum.rs"]
mod axum_service;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use support::{Collector, Reply};

#[test]
fn a_service_that_is_told_to_stop_delivers_the_span_of_each_request_that_it_answered() {
    // Also while the collector is not at its best.
    let collector = Collector::scripted(|request| match request {
        0 => Reply::Refuse(503, "retry-after: 0\r\n", Vec::new()),
        _ => Reply::Accept,
    });
    let mut service = start(&collector.endpoint());
    let mut output = BufReader::new(service.stdout.take().unwrap());
    let address = read_until(&mut output, "listening on ");

    let next = AtomicUsize::new(0);
    let ask = || {
        let mut answered = Vec::new();
        loop {
            let order = next.fetch_add(1, Ordering::Relaxed);
            if order == BEFORE_STOP {
                terminate(&service);
            }
            if !is_answered(&address, order) {
                return answered;
            }
            answered.push(order.to_string());
        }
    };
    let answered: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let delivered: usize = read_until(&mut output, "delivered ").parse().unwrap();
    assert!(service.wait().unwrap().success());

    assert!(answered.len() >= BEFORE_STOP - CLIENTS, "{}", answered.len());
    let arrived = orders(&collector);
    assert_eq!(arrived.values().sum::<usize>(), delivered);
    for order in &answered {
        assert_eq!(arrived.get(order), Some(&1), "the span of order {order}");
    }
}

/// What the other test starts as a process; nothing on its own.
#[test]
fn the_service() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(axum_service::serve("127.0.0.1:0", &endpoint)).unwrap();
}

fn start(endpoint: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_service", "--nocapture"])
        .env(ENDPOINT, endpoint)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What stands behind `key` in a line of the service's.
fn read_until(output: &mut impl BufRead, key: &str) -> String {
    let mut seen = String::new();
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        // The harness writes in front of it.
        if let Some((_, value)) = line.trim_end().split_once(key) {
            return value.to_owned();
        }
        seen.push_str(&std::mem::take(&mut line));
    }
    panic!("no {key:?} in {seen}");
}

fn terminate(service: &Child) {
    let id = service.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
}

/// Whether a whole answer came; if not, the service has stopped.
fn is_answered(address: &str, order: usize) -> bool {
    let request =
        format!("GET /orders/{order} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let asked = TcpStream::connect(address).and_then(|mut stream| {
        stream.write_all(request.as_bytes())?;
        stream.read_to_string(&mut answer)
    });
    asked.is_ok() && answer.starts_with("HTTP/1.1 200 ")
}

/// How many spans arrived of each order.
fn orders(collector: &Collector) -> BTreeMap<String, usize> {
    let mut orders = BTreeMap::new();
    for received in collector.spans() {
        let attributes = received.span.attributes.into_iter();
        let order = attributes.filter(|attribute| attribute.key == "order").find_map(|it| it.value);
        let Some(Value::StringValue(order)) = order.and_then(|order| order.value) else {
            panic!("a span without an order")
        };
        *orders.entry(order).or_default() += 1;
    }
    orders
}

const ENDPOINT: &str = "SPANWIRE_TEST_AXUM_ENDPOINT";
/// So many requests, from so many clients, before the service is told to stop.
const BEFORE_STOP: usize = 500;
const CLIENTS: usize = 4;
