//! With a subscriber of the whole program that takes everything, gRPC's delivery says nothing to
//! it; and a server of HTTP/2 in the same program is heard as before. A test binary of its own,
//! because a program has one such subscriber.
#![cfg(target_os = "linux")]

#[path = "support/grpc.rs"]
mod server;
mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use spanwire::Protocol;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use server::{GrpcReply, GrpcServer};
use support::otel::{LONG, builder, drivers, end_spans, provider};

/// What was said: on which thread, and the name of the span or event.
static HEARD: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Takes everything.
struct Ears;

impl Ears {
    fn hear(&self, metadata: &Metadata<'_>) {
        let thread = thread::current().name().unwrap_or_default().to_owned();
        HEARD.lock().unwrap().push((thread, metadata.name().to_owned()));
    }
}

impl Subscriber for Ears {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        self.hear(span.metadata());
        Id::from_u64(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.hear(event.metadata());
    }

    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn delivery_over_grpc_says_nothing_to_the_programs_subscriber_and_silences_nobody_else() {
    tracing::subscriber::set_global_default(Ears).unwrap();
    for io in drivers() {
        // What goes wrong is quiet, too: a refusal, a killed connection, a deadline.
        let server = GrpcServer::scripted(|number| match number {
            0 => GrpcReply::TrailersOnly(200, vec![("grpc-status", "14".to_owned())]),
            1 => GrpcReply::Kill,
            2 => GrpcReply::Stall,
            _ => GrpcReply::Accept,
        });
        let exporter = builder(server.endpoint())
            .0
            .protocol(Protocol::Grpc)
            .io(io)
            .timeout(Duration::from_millis(500))
            .keepalive(Duration::from_millis(50), Duration::from_secs(5))
            .thread_name("quiet-exporter")
            .build()
            .unwrap();
        end_spans(&provider(&exporter, "service"), 10);
        exporter.flush(LONG).unwrap();
        assert_eq!(server.ids().len(), 10);
        exporter.shutdown(LONG).unwrap();
        drop(exporter);
    }
    let heard = HEARD.lock().unwrap();
    let ours: Vec<_> = heard.iter().filter(|(thread, _)| thread == "quiet-exporter").collect();
    assert!(ours.is_empty(), "{} times, first {:?}", ours.len(), ours[0]);
    // A span of h2 that our thread comes to first: a server answers after it was asked.
    let theirs = heard.iter().filter(|(_, name)| name == "Prioritize::queue_frame").count();
    assert!(theirs > 0, "the server's own are heard");
}
