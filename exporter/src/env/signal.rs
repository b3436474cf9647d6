//! What the environment says of one signal.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Env;
use super::{Given, GivenEndpoint, GivenTls, OfSignal, So, header, proxy};
use crate::error::BuildError;
use crate::model::{Compression, Protocol, Signal};

/// The names of a signal's variables; the first that says something wins.
#[derive(Debug)]
pub(super) struct Names {
    signal: Signal,
    endpoint: Pair,
    insecure: &'static [&'static str],
    certificate: Pair,
    client_key: Pair,
    client_certificate: Pair,
    headers: Pair,
    compression: Pair,
    timeout: Pair,
    protocol: Pair,
    /// Of the SDK's batch processors, and of its reader of metrics.
    schedule_delay: &'static [&'static str],
    export_timeout: &'static [&'static str],
    queue_size: &'static [&'static str],
    batch_size: &'static [&'static str],
    concurrent_exports: &'static [&'static str],
}

/// A signal's variable, which wins, and the generic one.
type Pair = [&'static str; 2];

/// Reads what is said of the signal of `names`.
///
/// # Errors
///
/// [`BuildError::InvalidHeader`] for a header that cannot be sent.
pub(super) fn read(env: &mut Env<'_>, names: &Names) -> Result<OfSignal, BuildError> {
    let millis = Duration::from_millis;
    env.for_signal(names.signal, |env| {
        let queue = first_positive(env, names.queue_size, "0 would hold nothing");
        Ok(OfSignal {
            endpoint: endpoint(env, &names.endpoint),
            insecure: env.boolean(names.insecure),
            tls: GivenTls {
                certificate: file(env, &names.certificate),
                client_key: file(env, &names.client_key),
                client_certificate: file(env, &names.client_certificate),
            },
            proxies: proxy::read(env),
            timeout: env.first_number(&names.timeout).map(millis),
            export_timeout: env.first_number(names.export_timeout).map(millis),
            schedule_delay: env.first_number(names.schedule_delay).map(millis),
            queue_records_max: queue,
            batch_records_max: batch_size(env, names.batch_size, queue),
            in_flight: names.concurrent_exports.iter().find_map(|name| in_flight(env, name)),
            protocol: env.first_word("protocol", &names.protocol, Protocol::named),
            compression: env.first_word("compression", &names.compression, Compression::named),
            // Last, so that an error in them leaves nothing unread.
            headers: header::read(env, &names.headers)?,
        })
    })
}

fn endpoint(env: &mut Env<'_>, names: &Pair) -> Option<GivenEndpoint> {
    let Given { value, source_name } = env.first(names)?;
    Some(GivenEndpoint { value, is_base: source_name == names[1], source_name })
}

fn file(env: &mut Env<'_>, names: &Pair) -> Option<Given<PathBuf>> {
    let Given { value, source_name } = env.first(names)?;
    Some(Given { value: PathBuf::from(value), source_name })
}

fn first_positive(env: &mut Env<'_>, names: &[&'static str], why: &str) -> Option<u64> {
    names.iter().find_map(|name| env.positive(name, why))
}

/// A batch larger than its queue would never be full (trace/sdk.md, "Batching processor").
fn batch_size(env: &mut Env<'_>, names: &[&'static str], queue: Option<u64>) -> Option<u64> {
    let size = first_positive(env, names, "0 would send nothing")?;
    let most = queue.unwrap_or(u64::MAX);
    if size > most {
        let why = format!("{size} is more than the queue of {most} records holds, which applies");
        names.iter().for_each(|name| env.tell(name, So::Changed, why.as_str()));
    }
    Some(size.min(most))
}

/// Requests in flight; more than [`IN_FLIGHT_MAX`] are as many as that.
fn in_flight(env: &mut Env<'_>, name: &'static str) -> Option<usize> {
    let number = env.positive(name, "0 would send nothing")?;
    if number > IN_FLIGHT_MAX {
        env.tell(name, So::Changed, format!("{number} is above {IN_FLIGHT_MAX}, which applies"));
    }
    usize::try_from(number.min(IN_FLIGHT_MAX)).ok()
}

macro_rules! pair {
    ($signal:literal, $what:literal) => {
        [concat!("OTEL_EXPORTER_OTLP_", $signal, "_", $what), concat!("OTEL_EXPORTER_OTLP_", $what)]
    };
}

macro_rules! names {
    ($signal:expr, $word:literal) => {
        Names {
            signal: $signal,
            endpoint: pair!($word, "ENDPOINT"),
            insecure: &pair!($word, "INSECURE"),
            certificate: pair!($word, "CERTIFICATE"),
            client_key: pair!($word, "CLIENT_KEY"),
            client_certificate: pair!($word, "CLIENT_CERTIFICATE"),
            headers: pair!($word, "HEADERS"),
            compression: pair!($word, "COMPRESSION"),
            timeout: pair!($word, "TIMEOUT"),
            protocol: pair!($word, "PROTOCOL"),
            schedule_delay: &[],
            export_timeout: &[],
            queue_size: &[],
            batch_size: &[],
            concurrent_exports: &[],
        }
    };
}

/// In the order of [`Signal::ALL`].
pub(super) static NAMES: [Names; Signal::ALL.len()] = [
    Names {
        // The last but one is an obsolete name (protocol/exporter.md, "Configuration Options").
        insecure: &[
            "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
            "OTEL_EXPORTER_OTLP_SPAN_INSECURE",
            "OTEL_EXPORTER_OTLP_INSECURE",
        ],
        schedule_delay: &["OTEL_BSP_SCHEDULE_DELAY"],
        export_timeout: &["OTEL_BSP_EXPORT_TIMEOUT"],
        queue_size: &["OTEL_BSP_MAX_QUEUE_SIZE"],
        batch_size: &["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"],
        concurrent_exports: &["OTEL_BSP_MAX_CONCURRENT_EXPORTS"],
        ..names!(Signal::Traces, "TRACES")
    },
    Names {
        schedule_delay: &["OTEL_BLRP_SCHEDULE_DELAY"],
        export_timeout: &["OTEL_BLRP_EXPORT_TIMEOUT"],
        queue_size: &["OTEL_BLRP_MAX_QUEUE_SIZE"],
        batch_size: &["OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"],
        ..names!(Signal::Logs, "LOGS")
    },
    Names {
        insecure: &[
            "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
            "OTEL_EXPORTER_OTLP_METRIC_INSECURE",
            "OTEL_EXPORTER_OTLP_INSECURE",
        ],
        export_timeout: &["OTEL_METRIC_EXPORT_TIMEOUT"],
        ..names!(Signal::Metrics, "METRICS")
    },
];

/// What `Builder::in_flight` takes at most.
const IN_FLIGHT_MAX: u64 = 64;
