//! Settings from the environment, by the rules of the OTLP exporter specification.
//!
//! Pure: the caller brings the lookup. The variables of a signal win over the generic ones;
//! headers are merged by name. An empty variable is an unset one. A number or word that
//! means nothing, and what is not UTF-8, is ignored with a [`Warning`], and the next variable
//! applies. TLS files are an error, because ignoring them would send data otherwise than asked
//! for; whether the other choices can be honoured is for the builder to say, who knows the code's.
//!
//! | variable (`OTEL_EXPORTER_OTLP_...`, or `OTEL_EXPORTER_OTLP_{TRACES,LOGS,METRICS}_...`) | unit, form |
//! |---|---|
//! | `ENDPOINT` | base URL; that of a signal is used as it is |
//! | `HEADERS` | `name=value,name=value`, values percent-encoded |
//! | `TIMEOUT` | milliseconds for one attempt; 0 is no limit |
//! | `PROTOCOL` | `http/protobuf`, `http/json` or `grpc` |
//! | `COMPRESSION` | `none`, `gzip` or `zstd` |
//! | `CERTIFICATE`, `CLIENT_KEY`, `CLIENT_CERTIFICATE` | errors so far |
//! | `TEMPORALITY_PREFERENCE` (metrics only) | `cumulative`, `delta` or `lowmemory` |
//! | `DEFAULT_HISTOGRAM_AGGREGATION` (metrics only) | `explicit_bucket_histogram` or `base2_exponential_bucket_histogram` |
//!
//! Of the SDK's batch processors: `OTEL_BSP_SCHEDULE_DELAY` (milliseconds) and
//! `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` (records) apply to traces when set, and those of `OTEL_BLRP_`
//! to logs. Attributes are cut by `OTEL_ATTRIBUTE_COUNT_LIMIT` and
//! `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`; those with `SPAN_` or `LOGRECORD_` before `ATTRIBUTE` win
//! over them, as do `OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT` and `OTEL_LINK_ATTRIBUTE_COUNT_LIMIT`.
//! `SPANWIRE_IO` is handed on as it is.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::encode::limits;
use crate::error::BuildError;
use crate::model::{Compression, GivenMetricPreferences, Protocol, Signal};

mod attributes;
mod metrics;

/// What the environment says; `None` is nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// What it says of each signal, in the order of [`Signal::ALL`].
    pub(crate) signals: [OfSignal; Signal::ALL.len()],
    /// Which driver to use, not parsed yet.
    pub(crate) io: Option<String>,
    /// How attributes are cut.
    pub(crate) limits: limits::Given,
    /// In which form metrics are exported.
    pub(crate) metrics: GivenMetricPreferences,
}

/// What the environment says of one signal, or of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfSignal {
    /// Where to send to, not parsed yet.
    pub(crate) endpoint: Option<GivenEndpoint>,
    /// Headers of each request; each name occurs once.
    pub(crate) headers: Vec<GivenHeader>,
    /// Bounds one attempt; zero is no limit.
    pub(crate) timeout: Option<Duration>,
    /// How long records may wait for company.
    pub(crate) schedule_delay: Option<Duration>,
    /// At most this many records a request; not 0.
    pub(crate) batch_records_max: Option<u64>,
    /// How requests are framed and encoded.
    pub(crate) protocol: Option<Given<Protocol>>,
    /// How their bodies are compressed.
    pub(crate) compression: Option<Given<Compression>>,
}

/// A choice and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given<T> {
    /// What was chosen.
    pub(crate) value: T,
    /// The variable or builder method.
    pub(crate) source_name: &'static str,
}

/// An endpoint and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GivenEndpoint {
    /// As given.
    pub(crate) value: String,
    /// A base URL, to which the signal's path is appended.
    pub(crate) is_base: bool,
    /// The variable.
    pub(crate) source_name: &'static str,
}

/// A header and where it came from. Its value is marked as sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GivenHeader {
    /// The name.
    pub(crate) name: HeaderName,
    /// The value, percent-decoded.
    pub(crate) value: HeaderValue,
    /// The variable or builder method.
    pub(crate) source_name: &'static str,
}

/// Something in the environment that was ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    /// The variable.
    pub(crate) source_name: &'static str,
    /// What is odd about it; shows no header values.
    pub(crate) why: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is ignored: {}", self.source_name, self.why)
    }
}

/// Reads the settings through `lookup`, which returns the value of a variable that is set.
///
/// # Errors
///
/// [`BuildError::Unsupported`] for a TLS file, [`BuildError::InvalidHeader`] for a header that
/// cannot be sent.
pub(crate) fn read(
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(Settings, Vec<Warning>), BuildError> {
    let mut env = Env { lookup, warnings: Vec::new() };
    let mut settings = Settings::default();
    for signal in Signal::ALL {
        settings.signals[signal.index()] = env.of_signal(&NAMES[signal.index()])?;
    }
    settings.io = env.value(IO);
    settings.limits = attributes::limits(&mut env);
    settings.metrics = metrics::preferences(&mut env);
    env.warn_of_the_unused();
    Ok((settings, env.warnings))
}

/// Adds `winners` to `headers`; a name that both have keeps the winners' values only.
pub(crate) fn merge_headers(headers: &mut Vec<GivenHeader>, winners: Vec<GivenHeader>) {
    headers.retain(|header| winners.iter().all(|winner| winner.name != header.name));
    headers.extend(winners);
}

/// A header from its parts, which were at `index` of those that `source_name` gave.
///
/// # Errors
///
/// [`BuildError::InvalidHeader`]. It shows the name if it is one: anything else may be a secret.
pub(crate) fn parse_header(
    name: &str,
    value: &[u8],
    index: usize,
    source_name: &'static str,
) -> Result<GivenHeader, BuildError> {
    let invalid = |name: String, why: &str| BuildError::InvalidHeader {
        name,
        source_name,
        why: why.to_owned(),
    };
    let name = HeaderName::try_from(name).map_err(|_| {
        let item = format!("item {}", index + 1);
        invalid(item, "its name is empty or has characters that no header name may have")
    })?;
    let mut value = HeaderValue::from_bytes(value).map_err(|_| {
        invalid(name.to_string(), "its value has a line break or another control character")
    })?;
    value.set_sensitive(true);
    Ok(GivenHeader { name, value, source_name })
}

struct Env<'a> {
    lookup: &'a dyn Fn(&str) -> Option<OsString>,
    warnings: Vec<Warning>,
}

impl Env<'_> {
    fn of_signal(&mut self, names: &Names) -> Result<OfSignal, BuildError> {
        self.refuse_files(&names.tls_files)?;
        let millis = Duration::from_millis;
        Ok(OfSignal {
            endpoint: self.endpoint(&names.endpoint),
            headers: self.headers(&names.headers)?,
            timeout: self.first_number(&names.timeout).map(millis),
            schedule_delay: self.first_number(names.schedule_delay).map(millis),
            batch_records_max: names.batch_size.iter().find_map(|name| self.positive(name)),
            protocol: self.first_word("protocol", &names.protocol, Protocol::named),
            compression: self.first_word("compression", &names.compression, Compression::named),
        })
    }

    /// The trimmed value of a variable that is set and not empty.
    fn value(&mut self, name: &'static str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let Some(text) = value.to_str() else {
            self.warn(name, "it is not UTF-8");
            return None;
        };
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The first of `names` that has a value.
    fn first(&mut self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| Some((*name, self.value(name)?)))
    }

    /// Warns once of each variable: the generic ones are read for each signal.
    fn warn(&mut self, source_name: &'static str, why: impl Into<String>) {
        let warning = Warning { source_name, why: why.into() };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn endpoint(&mut self, names: &Pair) -> Option<GivenEndpoint> {
        let (source_name, value) = self.first(names)?;
        Some(GivenEndpoint { value, is_base: source_name == names[1], source_name })
    }

    fn number(&mut self, name: &'static str) -> Option<u64> {
        let value = self.value(name)?;
        let number = value.parse().ok();
        if number.is_none() {
            self.warn(name, format!("{value:?} is not a whole number from 0 on"));
        }
        number
    }

    fn first_number(&mut self, names: &[&'static str]) -> Option<u64> {
        names.iter().find_map(|name| self.number(name))
    }

    /// The first of `names` whose value is a word that `known` knows.
    fn first_word<T>(
        &mut self,
        what: &str,
        names: &[&'static str],
        known: fn(&str) -> Option<T>,
    ) -> Option<Given<T>> {
        names.iter().find_map(|name| {
            let word = self.value(name)?;
            let value = known(&word);
            if value.is_none() {
                self.warn(name, format!("{word:?} is not a known {what}"));
            }
            Some(Given { value: value?, source_name: name })
        })
    }

    fn positive(&mut self, name: &'static str) -> Option<u64> {
        let number = self.number(name)?;
        if number == 0 {
            self.warn(name, "0 would send nothing");
        }
        (number > 0).then_some(number)
    }

    fn headers(&mut self, names: &Pair) -> Result<Vec<GivenHeader>, BuildError> {
        let mut headers = Vec::new();
        // The generic variable first: what comes later wins.
        for name in names.iter().rev() {
            let Some(list) = self.value(name) else { continue };
            for (index, pair) in list.split(',').enumerate() {
                if let Some(header) = self.header(name, index, pair.trim())? {
                    merge_headers(&mut headers, vec![header]);
                }
            }
        }
        Ok(headers)
    }

    /// Reads one `name=value`. What has no `=`, or no name before it, is not shown: it may be a
    /// secret (`Authorization: Bearer ...==`, say).
    fn header(
        &mut self,
        source_name: &'static str,
        index: usize,
        pair: &str,
    ) -> Result<Option<GivenHeader>, BuildError> {
        if pair.is_empty() {
            return Ok(None);
        }
        let Some((name, value)) = pair.split_once('=') else {
            self.warn(source_name, format!("item {} has no '='", index + 1));
            return Ok(None);
        };
        let decoded: Vec<u8> = percent_decode_str(value.trim()).collect();
        parse_header(name.trim(), &decoded, index, source_name).map(Some)
    }

    fn refuse_files(&mut self, names: &[&'static str]) -> Result<(), BuildError> {
        match self.first(names) {
            Some((source_name, value)) => {
                Err(BuildError::Unsupported { what: "tls", value, source_name })
            }
            None => Ok(()),
        }
    }

    /// Limits that have no counterpart here are named, lest somebody relies on them.
    fn warn_of_the_unused(&mut self) {
        for (name, why) in UNUSED {
            if self.value(name).is_some() {
                self.warn(name, why);
            }
        }
    }
}

/// The names of a signal's variables.
struct Names {
    endpoint: Pair,
    headers: Pair,
    timeout: Pair,
    protocol: Pair,
    compression: Pair,
    tls_files: [&'static str; 6],
    /// Of the SDK's batch processor; metrics have none.
    schedule_delay: &'static [&'static str],
    batch_size: &'static [&'static str],
}

/// A signal's variable, which wins, and the generic one.
type Pair = [&'static str; 2];

macro_rules! pair {
    ($signal:literal, $what:literal) => {
        [concat!("OTEL_EXPORTER_OTLP_", $signal, "_", $what), concat!("OTEL_EXPORTER_OTLP_", $what)]
    };
}

macro_rules! names {
    ($signal:literal, $schedule_delay:expr, $batch_size:expr) => {{
        let [own_certificate, certificate] = pair!($signal, "CERTIFICATE");
        let [own_key, key] = pair!($signal, "CLIENT_KEY");
        let [own_client, client] = pair!($signal, "CLIENT_CERTIFICATE");
        Names {
            endpoint: pair!($signal, "ENDPOINT"),
            headers: pair!($signal, "HEADERS"),
            timeout: pair!($signal, "TIMEOUT"),
            protocol: pair!($signal, "PROTOCOL"),
            compression: pair!($signal, "COMPRESSION"),
            tls_files: [own_certificate, certificate, own_key, key, own_client, client],
            schedule_delay: $schedule_delay,
            batch_size: $batch_size,
        }
    }};
}

/// In the order of [`Signal::ALL`].
static NAMES: [Names; Signal::ALL.len()] = [
    names!("TRACES", &["OTEL_BSP_SCHEDULE_DELAY"], &["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]),
    names!("LOGS", &["OTEL_BLRP_SCHEDULE_DELAY"], &["OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"]),
    names!("METRICS", &[], &[]),
];
/// Chooses the driver.
pub(crate) const IO: &str = "SPANWIRE_IO";
const UNUSED: [(&str, &str); 4] = [
    ("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_IS_BYTES),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", QUEUE_IS_BYTES),
    ("OTEL_BSP_EXPORT_TIMEOUT", TIMEOUT_IS_ATTEMPTS),
    ("OTEL_BLRP_EXPORT_TIMEOUT", TIMEOUT_IS_ATTEMPTS),
];
const QUEUE_IS_BYTES: &str = "the buffer is bounded in bytes, by the builder";
const TIMEOUT_IS_ATTEMPTS: &str = "OTEL_EXPORTER_OTLP_TIMEOUT bounds an attempt";

#[cfg(test)]
mod tests;
