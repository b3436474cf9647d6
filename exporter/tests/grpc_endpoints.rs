//! Sets of endpoints, and several destinations, over gRPC.
#![cfg(target_os = "linux")]

#[path = "support/grpc.rs"]
mod server;
mod support;

use spanwire::{Balance, Destination, Protocol};

use server::{GrpcReply, GrpcServer};
use support::otel::{LONG, assert_balanced, builder, drivers, end_spans, provider};
use support::{Collector, dead_address};

fn unavailable(_: usize) -> GrpcReply {
    GrpcReply::TrailersOnly(200, vec![("grpc-status", "14".to_owned())])
}

#[test]
fn requests_are_shared_out_over_one_connection_to_each_endpoint() {
    for io in drivers() {
        let servers = [(); 2].map(|()| GrpcServer::start());
        let exporter = builder("http://unused.invalid")
            .0
            .protocol(Protocol::Grpc)
            .endpoints(servers.each_ref().map(GrpcServer::endpoint))
            .batch_records(10)
            .io(io)
            .build()
            .unwrap();
        let ended = end_spans(&provider(&exporter, "service"), 200);
        exporter.flush(LONG).unwrap();
        let ids = servers.each_ref().map(GrpcServer::ids);
        assert!(ended.iter().all(|id| ids.iter().filter(|ids| ids.contains_key(id)).count() == 1));
        for server in &servers {
            assert_eq!((server.calls().len(), server.connections()), (10, 1));
        }
        assert_balanced(&exporter.stats(), 200);
    }
}

#[test]
fn an_endpoint_that_is_away_and_one_that_is_unavailable_lose_nothing() {
    let (sick, well) = (GrpcServer::scripted(unavailable), GrpcServer::start());
    let dead = format!("http://{}", dead_address());
    let exporter = builder("http://unused.invalid")
        .0
        .protocol(Protocol::Grpc)
        .endpoints([dead.as_str(), sick.endpoint(), well.endpoint()])
        .balance(Balance::ByTraceId)
        .batch_records(10)
        .build()
        .unwrap();
    let ended = end_spans(&provider(&exporter, "service"), 200);
    exporter.flush(LONG).unwrap();
    let ids = well.ids();
    assert!(ended.iter().all(|id| ids[id] == 1));
    let stats = exporter.stats();
    assert_eq!((stats.delivered, stats.dropped.total()), (200, 0));
}

#[test]
fn destinations_may_speak_different_protocols() {
    let (main, http) = (GrpcServer::start(), Collector::start());
    let exporter = builder(main.endpoint())
        .0
        .protocol(Protocol::Grpc)
        .destination(Destination::new("http").endpoint(http.endpoint()))
        .build()
        .unwrap();
    let ended = end_spans(&provider(&exporter, "service"), 50);
    exporter.flush(LONG).unwrap();
    assert!(ended.iter().all(|id| main.ids()[id] == 1 && http.ids()[id] == 1));
    assert_eq!(exporter.stats().destinations[0].traces.delivered, 50);
}
