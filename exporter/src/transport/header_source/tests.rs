//! A source of headers that is asked, refused, slow, and wrong.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use spanwire_runtime::time::timeout;
use spanwire_runtime::{Builder, driver};

use super::*;

type Answer = Result<Vec<(String, String)>, Box<dyn Error + Send + Sync>>;

fn request() -> OutgoingRequest {
    OutgoingRequest {
        signal: Signal::Traces,
        scheme: "http",
        authority: "h:4318".into(),
        target: "/v1/traces?key=secret".into(),
        body: vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")],
        is_after_refusal: false,
    }
}

fn one(name: &str, value: &str) -> Answer {
    Ok(vec![(name.to_owned(), value.to_owned())])
}

fn changing(source: impl HeaderSource + 'static) -> ChangingHeaders {
    let check = |name: &HeaderName| match name.as_str() {
        "host" => Err(format!("the exporter decides {name} itself")),
        _ => Ok(()),
    };
    ChangingHeaders::new(source, check)
}

fn changing_fn(
    source: impl Fn(&OutgoingRequest) -> Answer + Send + Sync + 'static,
) -> ChangingHeaders {
    changing(FromFn::new(source))
}

/// Runs `script` on a worker.
fn on_worker<T, F>(script: F) -> T
where
    T: Send + 'static,
    F: AsyncFnOnce() -> T + Send + 'static,
{
    let runtime = Builder::new().io(driver::Choice::Epoll).build().unwrap();
    runtime.block_on(runtime.spawn_pinned(move || async move { script().await })).unwrap()
}

/// Does not need a thread of its own.
struct Quick<F>(F);

impl<F: Fn(&OutgoingRequest) -> Answer + Send + Sync> HeaderSource for Quick<F> {
    fn headers(&self, request: &OutgoingRequest) -> Answer {
        (self.0)(request)
    }

    fn may_block(&self) -> bool {
        false
    }
}

#[test]
fn a_source_sees_the_request_and_its_body_in_order() {
    let given = on_worker(async || {
        let source = changing_fn(|request: &OutgoingRequest| {
            let body: Vec<u8> = request.body().flatten().copied().collect();
            let text = format!(
                "{} {}://{}{} {:?} {}",
                request.method(),
                request.scheme(),
                request.authority(),
                request.target(),
                request.signal(),
                String::from_utf8(body)?
            );
            one("x-seen", &text)
        });
        source.ask(request()).await
    });
    let (name, value) = &given.unwrap().headers[0];
    assert_eq!(name, "x-seen");
    assert_eq!(value, "POST http://h:4318/v1/traces?key=secret Traces abc");
    assert!(value.is_sensitive());
}

#[test]
fn a_source_that_may_block_is_asked_elsewhere_and_another_on_the_exporters_thread() {
    let names = on_worker(async || {
        let thread = |_: &OutgoingRequest| one("x", std::thread::current().name().unwrap_or("?"));
        let (slow, quick) = (changing_fn(thread), changing(Quick(thread)));
        let here = std::thread::current().name().unwrap_or("?").to_owned();
        let slow = slow.ask(request()).await.unwrap();
        let quick = quick.ask(request()).await.unwrap();
        (slow.headers[0].1 == here, quick.headers[0].1 == here)
    });
    assert_eq!(names, (false, true));
}

/// An error that cannot say what it is.
#[derive(Debug)]
struct Unspeakable;

impl Error for Unspeakable {}

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("secret")
    }
}

#[test]
fn what_a_source_does_wrong_is_a_failure_that_shows_no_value() {
    let answers: [fn(&OutgoingRequest) -> Answer; 7] = [
        |_| Err("the token server\nis away".into()),
        |_| Err("x".repeat(1 << 20).into()),
        |_| Err(Unspeakable.into()),
        |_| one("host", "secret"),
        |_| one("se cret", "secret"),
        |_| one("x", "sec\nret"),
        |_| panic!("secret"),
    ];
    let texts = on_worker(async move || {
        let mut texts = Vec::new();
        for answer in answers {
            for source in [changing_fn(answer), changing(Quick(answer))] {
                let failure = source.ask(request()).await.unwrap_err();
                assert_eq!(failure.phase, Phase::Headers);
                texts.push(failure.message);
            }
        }
        texts
    });
    let long = "x".repeat(1024);
    let expected = [
        "the token server is away",
        &long,
        "it panicked",
        "the exporter decides host itself",
        "the name of item 1 is no header name",
        "the value of x has a control character",
        "it panicked",
    ];
    for (pair, expected) in texts.chunks(2).zip(expected) {
        assert_eq!(pair, [expected, expected]);
    }
}

#[test]
fn a_refusal_is_told_once_and_until_the_source_has_answered() {
    let seen = on_worker(async || {
        let calls = AtomicUsize::new(0);
        let source = changing_fn(move |request: &OutgoingRequest| {
            match calls.fetch_add(1, Ordering::Relaxed) {
                // Told, but it has failed: it is told again.
                2 => Err(format!("{}", request.is_after_refusal()).into()),
                _ => one("x", &request.is_after_refusal().to_string()),
            }
        });
        let mut seen = Vec::new();
        let two = [source.ask(request()).await.unwrap(), source.ask(request()).await.unwrap()];
        seen.extend(two.iter().map(|given| given.headers[0].1.to_str().unwrap().to_owned()));
        // Both were under way together, so they are one refusal.
        two.iter().for_each(|given| source.refused(given));
        seen.push(source.ask(request()).await.unwrap_err().message);
        for _ in 0..2 {
            let given = source.ask(request()).await.unwrap();
            seen.push(given.headers[0].1.to_str().unwrap().to_owned());
            // Told late of what was given before: no news.
            source.refused(&two[0]);
        }
        seen
    });
    assert_eq!(seen, ["false", "false", "true", "true", "false"]);
}

#[test]
fn a_source_that_does_not_return_holds_two_threads_and_no_more() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let last = on_worker(async move || {
        let source = changing_fn(move |_: &OutgoingRequest| {
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = released.lock().map(|released| released.recv());
            one("x", "y")
        });
        for _ in 0..CALLS_MAX {
            let mut ask = Box::pin(source.ask(request()));
            // Begun, and given up.
            assert!(poll_fn(|cx| Poll::Ready(ask.as_mut().poll(cx).is_pending())).await);
        }
        let waits = timeout(Duration::ZERO, source.ask(request())).await;
        assert!(waits.is_err(), "there is no place");
        drop(release);
        source.ask(request()).await.map(|given| given.headers.len())
    });
    assert_eq!((last, calls.load(Ordering::Relaxed)), (Ok(1), CALLS_MAX + 1));
}

#[test]
fn debug_shows_neither_query_nor_body() {
    let shown = format!("{:?}", request());
    assert!(
        shown.contains("h:4318") && !shown.contains("secret") && !shown.contains("97"),
        "{shown}"
    );
}
