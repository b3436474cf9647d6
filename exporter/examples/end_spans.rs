use spanwire::direct::{Resource, Scope, Span, Spans};
#[inline(never)]
fn bench_end(spans: &Spans, span: &Span<'_>, count: usize) {
    for _ in 0..count {
        spans.end(std::hint::black_box(span));
    }
}
fn main() {
    let exporter = spanwire::Exporter::builder()
        .env_from(|_| None)
        .endpoint("http://127.0.0.1:9")
        .batch_age(std::time::Duration::from_secs(60))
        .build()
        .unwrap();
    let spans = Spans::new(&exporter, &Resource::default(), &Scope::new("a", "b"));
    let mut span = Span::new([1; 16], [2; 8], "GET /cart");
    span.start_unix_nano = 1;
    span.end_unix_nano = 2;
    bench_end(&spans, &span, 100_000);
    let _ = exporter.shutdown(std::time::Duration::ZERO);
    println!("{:?}", exporter.stats().emitted);
}
