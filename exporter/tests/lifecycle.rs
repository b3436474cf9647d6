//! Flush, shutdown and drop: deadlines that are kept, from anywhere, and what they tell.

mod support;

use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkError;
use spanwire::direct::{Resource, Scope, Span, Spans};
use spanwire::{FlushError, ShutdownError};

use support::otel::{LONG, assert_balanced, builder, end_spans, provider};
use support::{Collector, Reply, dead_address};

#[test]
fn shutdown_delivers_what_is_buffered_and_counts_what_comes_after() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 10);
    assert_eq!(exporter.shutdown(LONG), Ok(()));
    assert_eq!(collector.ids().len(), 10);
    end_spans(&provider, 4);
    let stats = exporter.stats();
    assert_eq!((stats.delivered, stats.dropped.after_shutdown), (10, 4));
    assert_balanced(&stats, 14);
    assert_eq!(exporter.shutdown(LONG), Err(ShutdownError::AlreadyShutDown));
    assert_eq!(exporter.flush(LONG), Err(FlushError::ShutDown));
}

#[test]
fn deadlines_of_zero_and_of_for_ever_are_deadlines() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    assert_eq!(exporter.flush(Duration::ZERO), Ok(()), "nothing is pending");
    end_spans(&provider, 3);
    assert_eq!(exporter.flush(Duration::MAX), Ok(()));
    assert_eq!(exporter.shutdown(Duration::MAX), Ok(()));
    assert_eq!(collector.ids().len(), 3);

    let exporter = builder(&format!("http://{}", dead_address())).0.build().unwrap();
    let provider = support::otel::provider(&exporter, "service");
    end_spans(&provider, 3);
    assert_eq!(exporter.flush(Duration::ZERO), Err(FlushError::Timeout { pending: 3 }));
    assert_eq!(exporter.shutdown(Duration::ZERO), Err(ShutdownError::Timeout { left: 3 }));
    assert_balanced(&exporter.stats(), 3);
}

#[test]
fn a_providers_shutdown_closes_its_own_door_only() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let (closing, staying) = (provider(&exporter, "closing"), provider(&exporter, "staying"));
    end_spans(&closing, 2);
    closing.shutdown().unwrap();
    assert_eq!(collector.ids().len(), 2);
    assert!(matches!(closing.shutdown(), Err(OTelSdkError::AlreadyShutdown)));
    end_spans(&staying, 3);
    staying.force_flush().unwrap();
    assert_eq!(collector.ids().len(), 5);
    assert_balanced(&exporter.stats(), 5);
}

#[test]
fn dropping_the_last_handle_delivers_what_is_buffered() {
    let collector = Collector::start();
    {
        let exporter = builder(&collector.endpoint()).0.build().unwrap();
        let provider = provider(&exporter, "service");
        drop(exporter);
        end_spans(&provider, 6);
    }
    assert_eq!(collector.ids().len(), 6);
}

#[test]
fn a_tokio_runtime_with_one_worker_can_block_on_a_flush() {
    let collector = Collector::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let exporter = builder(&collector.endpoint()).0.build().unwrap();
        let provider = provider(&exporter, "service");
        end_spans(&provider, 4);
        exporter.flush(LONG).unwrap();
        end_spans(&provider, 4);
        exporter.flush_async(LONG).await.unwrap();
        assert_eq!(collector.ids().len(), 8);
        end_spans(&provider, 4);
        provider.shutdown().unwrap();
        exporter.shutdown_async(LONG).await.unwrap();
    });
    assert_eq!(collector.ids().len(), 12);
}

#[test]
fn flush_as_a_future_keeps_its_deadline_without_any_runtimes_timer() {
    let exporter = builder(&format!("http://{}", dead_address())).0.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 3);
    let flush = exporter.flush_async(Duration::from_millis(50));
    let flushed = block_on(flush);
    assert_eq!(flushed, Err(FlushError::Timeout { pending: 3 }));
    let ended = block_on(exporter.shutdown_async(Duration::ZERO));
    assert_eq!(ended, Err(ShutdownError::Timeout { left: 3 }));
}

#[test]
fn each_of_many_concurrent_flushes_delivers_what_its_caller_ended_before() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let ended = end_spans(&provider, 1);
                    exporter.flush(LONG).unwrap();
                    assert!(collector.has(&ended[0]));
                }
            });
        }
    });
    assert_eq!(collector.ids().len(), 800);
    assert_balanced(&exporter.stats(), 800);
}

#[test]
fn a_second_shutdown_leaves_the_first_alone() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let collector = Collector::scripted(move |_| {
        let _ = held.recv();
        Reply::Accept
    });
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 10);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| exporter.shutdown(LONG));
        collector.wait_for_requests_begun(1);
        assert_eq!(exporter.shutdown(LONG), Err(ShutdownError::AlreadyShutDown));
        release.send(()).unwrap();
        assert_eq!(first.join().unwrap(), Ok(()));
    });
    assert_eq!(collector.ids().len(), 10);
    assert_balanced(&exporter.stats(), 10);
}

#[test]
fn a_future_that_is_dropped_half_way_breaks_no_later_flush_or_shutdown() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let collector = Collector::scripted(move |_| {
        let _ = held.recv();
        Reply::Accept
    });
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 4);
    let mut waker = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..3 {
        let mut flush = Box::pin(exporter.flush_async(LONG));
        assert!(flush.as_mut().poll(&mut waker).is_pending());
    }
    let mut shutdown = Box::pin(exporter.shutdown_async(LONG));
    assert!(shutdown.as_mut().poll(&mut waker).is_pending());
    drop(shutdown);
    drop(release);
    // The one that was dropped has begun, and is carried out.
    assert_eq!(exporter.shutdown(LONG), Err(ShutdownError::AlreadyShutDown));
    drop((provider, exporter));
    assert_eq!(collector.ids().len(), 4);
}

#[test]
fn flushes_and_shutdowns_at_once_from_threads_futures_and_doors_all_end() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 100);
    let ended = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..12 {
            let (exporter, provider, ended) = (&exporter, &provider, &ended);
            scope.spawn(move || {
                let is_ended = match thread % 4 {
                    0 => exporter.shutdown(LONG).is_ok(),
                    1 => block_on(exporter.shutdown_async(LONG)).is_ok(),
                    2 => {
                        let flushed = block_on(exporter.flush_async(LONG));
                        assert!(matches!(flushed, Ok(()) | Err(FlushError::ShutDown)));
                        false
                    }
                    _ => {
                        let _ = provider.force_flush();
                        false
                    }
                };
                ended.fetch_add(is_ended.into(), std::sync::atomic::Ordering::Relaxed);
            });
        }
    });
    assert_eq!(ended.into_inner(), 1, "one of them has shut it down");
    assert_eq!(collector.ids().len(), 100);
    assert_balanced(&exporter.stats(), 100);
}

#[test]
fn the_last_handle_may_be_dropped_inside_of_a_runtime_with_one_thread() {
    let collector = Collector::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let exporter = builder(&collector.endpoint()).0.build().unwrap();
        // A provider would flush by itself.
        let spans = Spans::new(&exporter, &Resource::default(), &Scope::new("test", ""));
        for id in 1..=3 {
            spans.end(&Span::new([1; 16], [id; 8], "span"));
        }
    });
    assert_eq!(collector.ids().len(), 3);
}

#[test]
fn a_shutdown_as_a_future_outlives_the_last_handle() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 10);
    let shutdown = exporter.shutdown_async(LONG);
    drop(provider);
    drop(exporter);
    assert_eq!(block_on(shutdown), Ok(()));
    assert_eq!(collector.ids().len(), 10);
}

#[test]
fn a_shutdown_whose_future_is_dropped_is_finished_by_the_last_handle() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 10);
    drop(exporter.shutdown_async(LONG));
    drop(provider);
    drop(exporter);
    assert_eq!(collector.ids().len(), 10);
}

#[test]
fn thousands_of_flushes_at_once_succeed_and_hold_up_no_shutdown() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 10);
    let kept: Vec<_> = (0..5_000).map(|_| exporter.flush_async(LONG)).collect();
    (0..5_000).for_each(|_| drop(exporter.flush_async(LONG)));
    assert_eq!(exporter.shutdown(LONG), Ok(()));
    for flush in kept {
        let flushed = block_on(flush);
        // Those that the shutdown overtook were not answered, though all is delivered.
        assert!(matches!(flushed, Ok(()) | Err(FlushError::ShutDown)), "{flushed:?}");
    }
    assert_eq!(collector.ids().len(), 10);
    assert_balanced(&exporter.stats(), 10);
}

#[test]
fn a_handler_may_call_the_exporter_that_called_it() {
    let (send, receive) = std::sync::mpsc::channel();
    let cell = std::sync::Arc::new(std::sync::OnceLock::<spanwire::Exporter>::new());
    let in_handler = std::sync::Arc::clone(&cell);
    let exporter = builder(&format!("http://{}", dead_address()))
        .0
        .on_diagnostic(move |_| {
            if let Some(exporter) = in_handler.get() {
                let _ = send.send(exporter.flush(LONG));
            }
        })
        .build()
        .unwrap();
    cell.set(exporter.clone()).unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 1);
    assert!(exporter.flush(Duration::from_millis(100)).is_err());
    let from_handler = receive.recv().unwrap();
    assert_eq!(from_handler, Err(FlushError::Timeout { pending: 1 }));
    assert!(exporter.shutdown(Duration::from_millis(10)).is_err());
}

/// A handler that hangs holds the exporter's thread, and a shutdown has waited for that already.
#[test]
fn a_thread_that_does_not_end_is_waited_for_once() {
    let (entered, has_entered) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    // A driver that is there everywhere: otherwise `build` may tell the handler of another choice.
    let exporter = builder(&format!("http://{}", dead_address()))
        .0
        .io(spanwire::Io::Epoll)
        .on_diagnostic(move |_| {
            let _ = entered.send(());
            let _ = released.lock().unwrap().recv();
        })
        .build()
        .unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 1);
    assert!(exporter.flush(Duration::ZERO).is_err());
    has_entered.recv().unwrap();
    assert!(provider.shutdown_with_timeout(Duration::ZERO).is_err());
    drop(provider);
    assert!(matches!(exporter.shutdown(Duration::ZERO), Err(ShutdownError::Timeout { .. })));
    let began = std::time::Instant::now();
    drop(exporter);
    let took = began.elapsed();
    drop(release);
    assert!(took < spanwire::DROP_LIMIT, "{took:?}");
}

/// The smallest executor: proves that the future needs no other.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
