//! A set of endpoints as one destination: requests are shared out, an endpoint that is sick or
//! away costs nothing but its own share of the work, and traces stay together if asked to.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use spanwire::{Balance, BuildError, Builder, Destination, Exporter};

use support::otel::{LONG, assert_balanced, builder, drivers, end_spans, provider};
use support::{Collector, Reply, dead_address};

/// A builder for these endpoints, whose batches are a few spans each.
fn balanced<'a>(collectors: impl IntoIterator<Item = &'a Collector>) -> Builder {
    balanced_urls(collectors.into_iter().map(Collector::endpoint))
}

fn balanced_urls(urls: impl IntoIterator<Item = String>) -> Builder {
    builder("http://unused.invalid").0.endpoints(urls).batch_records(10).in_flight(4)
}

/// How often each span is in any of them.
fn ids_of<'a>(collectors: impl IntoIterator<Item = &'a Collector>) -> HashMap<Vec<u8>, usize> {
    let mut ids = HashMap::new();
    for (id, count) in collectors.into_iter().flat_map(Collector::ids) {
        *ids.entry(id).or_default() += count;
    }
    ids
}

/// Ends `count` spans in traces of three, so that traces span batches.
fn end_traces(provider: &SdkTracerProvider, count: usize) {
    let tracer = provider.tracer("test");
    for _ in 0..count {
        let root = tracer.start("root");
        let parent = opentelemetry::Context::new();
        let context = opentelemetry::trace::TraceContextExt::with_remote_span_context(
            &parent,
            root.span_context().clone(),
        );
        for _ in 0..2 {
            tracer.start_with_context("child", &context).end();
        }
        drop(root);
    }
}

/// Which collector has which traces.
fn owners(collectors: &[&Collector]) -> HashMap<Vec<u8>, usize> {
    let mut owners = HashMap::new();
    for (index, collector) in collectors.iter().enumerate() {
        for received in collector.spans() {
            let before = owners.insert(received.span.trace_id, index);
            assert!(before.is_none_or(|before| before == index), "a trace is in two places");
        }
    }
    owners
}

#[test]
fn each_request_goes_to_one_endpoint_and_all_get_some() {
    for io in drivers() {
        let collectors = [(); 3].map(|()| Collector::start());
        let exporter = balanced(&collectors).io(io).build().unwrap();
        let ended = end_spans(&provider(&exporter, "service"), 300);
        exporter.flush(LONG).unwrap();
        let ids = ids_of(&collectors);
        assert!(ended.iter().all(|id| ids[id] == 1));
        assert_eq!(ids.len(), 300);
        for collector in &collectors {
            assert_eq!(collector.requests(), 10, "in turn");
        }
        assert_balanced(&exporter.stats(), 300);
    }
}

#[test]
fn weights_are_the_proportions_of_the_requests() {
    let collectors = [(); 2].map(|()| Collector::start());
    let exporter = balanced(&collectors).balance(Balance::Weighted(vec![4, 1])).build().unwrap();
    end_spans(&provider(&exporter, "service"), 100);
    exporter.flush(LONG).unwrap();
    assert_eq!((collectors[0].requests(), collectors[1].requests()), (8, 2));
}

#[test]
fn an_endpoint_that_is_away_costs_no_retry_and_no_record() {
    for balance in [Balance::RoundRobin, Balance::LeastInFlight, Balance::Random] {
        let alive = Collector::start();
        let urls = [format!("http://{}", dead_address()), alive.endpoint()];
        let exporter = balanced_urls(urls).balance(balance).build().unwrap();
        let ended = end_spans(&provider(&exporter, "service"), 200);
        exporter.flush(LONG).unwrap();
        assert!(ended.iter().all(|id| alive.ids()[id] == 1));
        let stats = exporter.stats();
        assert_eq!((stats.delivered, stats.retries, stats.dropped.total()), (200, 0, 0));
    }
}

#[test]
fn a_retry_goes_elsewhere_and_a_sick_endpoint_is_left_alone() {
    // In turn, a retry would go elsewhere anyway; by trace, the sick one is where it belongs.
    for balance in [Balance::RoundRobin, Balance::ByTraceId] {
        let well = Collector::start();
        let sick = Collector::scripted(|_| Reply::Refuse(503, "", Vec::new()));
        let exporter = balanced([&sick, &well]).in_flight(1).balance(balance).build().unwrap();
        let ended = end_spans(&provider(&exporter, "service"), 300);
        exporter.flush(LONG).unwrap();
        assert!(ended.iter().all(|id| well.ids()[id] == 1));
        // Three failures, and a probe a second or later.
        assert!((3..10).contains(&sick.requests()), "{}", sick.requests());
        let stats = exporter.stats();
        assert_eq!(stats.delivered, 300);
        assert_eq!(stats.retries, sick.requests() as u64, "each is tried once more, elsewhere");
    }
}

#[test]
fn a_retry_goes_elsewhere_also_if_its_trace_belongs_here() {
    let fails_once = |request| match request {
        0 => Reply::Refuse(503, "", Vec::new()),
        _ => Reply::Accept,
    };
    let collectors = [(); 2].map(|()| Collector::scripted(fails_once));
    let exporter = balanced(&collectors).balance(Balance::ByTraceId).build().unwrap();
    end_spans(&provider(&exporter, "service"), 1);
    exporter.flush(LONG).unwrap();
    // Here, elsewhere, and here again.
    let mut requests = collectors.each_ref().map(Collector::requests);
    requests.sort_unstable();
    assert_eq!(requests, [1, 2]);
}

#[test]
fn a_pause_that_one_endpoint_asks_for_holds_up_nobody_else() {
    let busy = Collector::scripted(|_| Reply::Refuse(429, "retry-after: 3600\r\n", Vec::new()));
    let well = Collector::start();
    let exporter = balanced([&busy, &well]).in_flight(1).build().unwrap();
    let ended = end_spans(&provider(&exporter, "service"), 200);
    exporter.flush(LONG).unwrap();
    assert!(ended.iter().all(|id| well.ids()[id] == 1));
    assert_eq!(busy.requests(), 1, "and the pause is kept");
}

#[test]
fn a_pause_that_all_endpoints_ask_for_is_kept() {
    let pause = |_| Reply::Refuse(503, "retry-after: 3600\r\n", Vec::new());
    let collectors = [(); 2].map(|()| Collector::scripted(pause));
    let exporter = balanced(&collectors).in_flight(1).retry_budget(Duration::MAX).build().unwrap();
    end_spans(&provider(&exporter, "service"), 30);
    assert!(exporter.flush(Duration::from_millis(300)).is_err());
    assert!(exporter.flush(Duration::from_millis(100)).is_err());
    // Also a flush, which else ends all waits between attempts, does not end this one.
    assert!(collectors.iter().all(|collector| collector.requests() == 1));
    assert_eq!(exporter.stats().in_flight, 30);
    // Dropped without it, the exporter would give them some seconds.
    assert!(exporter.shutdown(Duration::ZERO).is_err());
}

#[test]
fn all_endpoints_may_go_and_come_back_within_the_budget() {
    let mut collectors = [(); 2].map(|()| Collector::start());
    let exporter = balanced(&collectors).build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 20);
    exporter.flush(LONG).unwrap();
    let addresses = collectors.each_ref().map(Collector::address);
    collectors.iter_mut().for_each(Collector::stop);
    let ended = end_spans(&provider, 50);
    assert!(exporter.flush(Duration::from_millis(100)).is_err());
    let back = addresses.map(|address| Collector::restarted(address, |_| Reply::Accept));
    exporter.flush(LONG).unwrap();
    let ids = ids_of(&back);
    assert!(ended.iter().all(|id| ids[id] == 1));
    assert_balanced(&exporter.stats(), 70);
}

#[test]
fn spans_of_a_trace_stay_together_and_only_those_of_an_endpoint_that_goes_move() {
    for io in drivers() {
        let mut collectors = [(); 3].map(|()| Collector::start());
        let exporter = balanced(&collectors).io(io).balance(Balance::ByTraceId).build().unwrap();
        let provider = provider(&exporter, "service");
        end_traces(&provider, 200);
        exporter.flush(LONG).unwrap();
        let before = owners(&collectors.each_ref());
        assert_eq!(before.len(), 200);
        for index in 0..3 {
            let own = before.values().filter(|owner| **owner == index).count();
            assert!((30..110).contains(&own), "{index} has {own} of 200 traces");
        }
        assert_balanced(&exporter.stats(), 600);
        assert_eq!(exporter.stats().delivered, 600);
        // The rest goes on without one of them.
        collectors[0].stop();
        end_traces(&provider, 100);
        exporter.flush(LONG).unwrap();
        let stats = exporter.stats();
        assert_eq!((stats.delivered, stats.dropped.total()), (900, 0));
    }
}

/// Exporters agree on whose a trace is, whatever the order of their endpoints.
#[test]
fn two_exporters_send_the_same_trace_to_the_same_endpoint() {
    let collectors = [(); 3].map(|()| Collector::start());
    let exporters = [
        balanced(&collectors).balance(Balance::ByTraceId).build().unwrap(),
        balanced(collectors.iter().rev()).balance(Balance::ByTraceId).build().unwrap(),
    ];
    // One span each, of the same traces: processors of both see them.
    let provider = SdkTracerProvider::builder()
        .with_span_processor(spanwire::otel_0_33::SpanProcessor::new(&exporters[0]))
        .with_span_processor(spanwire::otel_0_33::SpanProcessor::new(&exporters[1]))
        .build();
    end_spans(&provider, 100);
    exporters.iter().for_each(|exporter| exporter.flush(LONG).unwrap());
    assert_eq!(owners(&collectors.each_ref()).len(), 100);
    assert!(ids_of(&collectors).values().all(|count| *count == 2));
}

#[test]
fn a_batch_of_the_sdk_is_settled_once_although_it_is_cut_by_trace() {
    let collectors = [(); 3].map(|()| Collector::start());
    let exporter = balanced(&collectors).balance(Balance::ByTraceId).build().unwrap();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(spanwire::otel_0_33::SpanExporter::new(&exporter))
        .build();
    end_traces(&provider, 50);
    provider.force_flush().unwrap();
    assert_eq!(owners(&collectors.each_ref()).len(), 50);
    assert_eq!(exporter.stats().delivered, 150);
    assert_balanced(&exporter.stats(), 150);
}

#[test]
fn a_destination_beside_the_main_one_may_be_a_set_too() {
    let main = Collector::start();
    let set = [(); 2].map(|()| Collector::start());
    let destination = Destination::new("set").endpoints(set.each_ref().map(Collector::endpoint));
    let exporter =
        builder(&main.endpoint()).0.batch_records(10).destination(destination).build().unwrap();
    end_spans(&provider(&exporter, "service"), 100);
    exporter.flush(LONG).unwrap();
    assert_eq!((main.ids().len(), ids_of(&set).len()), (100, 100));
    assert!(set.iter().all(|collector| collector.requests() > 0));
}

#[test]
fn each_address_of_a_name_is_an_endpoint_and_a_literal_is_one() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint())
        .0
        .resolve_all(Duration::from_secs(60))
        .batch_records(10)
        .build()
        .unwrap();
    end_spans(&provider(&exporter, "service"), 50);
    exporter.flush(LONG).unwrap();
    assert_eq!(collector.ids().len(), 50);
    let host = format!("host: {}\r\n", collector.address());
    assert!(collector.heads().iter().all(|head| head.to_lowercase().contains(&host)));
}

#[test]
fn what_cannot_be_balanced_is_an_error() {
    type Change = fn(Builder) -> Builder;
    let build = |change: Change| {
        let builder = balanced_urls(["http://a:1".to_owned(), "http://b:1".to_owned()]);
        change(builder).build().map(|_: Exporter| ()).unwrap_err()
    };
    let cases: [(Change, &str); 5] = [
        (|it| it.balance(Balance::Weighted(vec![1])), "one weight for each of the 2"),
        (|it| it.balance(Balance::Weighted(vec![1, 0])), "from 1 to 1000"),
        (|it| it.resolve_all(Duration::ZERO), "at least 1s"),
        (|it| it.endpoints(["nothing"]), "Builder::endpoints"),
        (|it| it.endpoints((0..65).map(|n| format!("http://h{n}"))), "64 at most"),
    ];
    for (change, why) in cases {
        let error: BuildError = build(change);
        assert!(error.to_string().contains(why), "{error}");
    }
}
