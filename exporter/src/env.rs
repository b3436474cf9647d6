//! Settings from the environment, by the rules of the OTLP exporter specification.
//!
//! Pure: the caller brings the lookup. The variables of the traces signal win over the generic
//! ones; headers are merged by name. An empty variable is an unset one. A number or word that
//! means nothing is ignored with a [`Warning`]; a value that means something which this build
//! cannot do is an error, because ignoring it would send data otherwise than asked for.
//!
//! | variable (`OTEL_EXPORTER_OTLP_...`, or `OTEL_EXPORTER_OTLP_TRACES_...`) | unit, form |
//! |---|---|
//! | `ENDPOINT` | base URL; for traces the URL itself |
//! | `HEADERS` | `name=value,name=value`, values percent-encoded |
//! | `TIMEOUT` | milliseconds for one attempt; 0 is no limit |
//! | `PROTOCOL` | `http/protobuf`; `grpc` and `http/json` are errors so far |
//! | `COMPRESSION` | `none`; `gzip` and `zstd` are errors so far |
//! | `CERTIFICATE`, `CLIENT_KEY`, `CLIENT_CERTIFICATE` | errors so far |
//!
//! Of the SDK's batch processor: `OTEL_BSP_SCHEDULE_DELAY` (milliseconds) and
//! `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` (records) apply when set.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::error::BuildError;

/// What the environment says; `None` is nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
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
/// [`BuildError::Unsupported`] for a known value that this build cannot honour,
/// [`BuildError::InvalidHeader`] for a header that cannot be sent.
pub(crate) fn read(
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(Settings, Vec<Warning>), BuildError> {
    let mut env = Env { lookup, warnings: Vec::new() };
    env.check_supported()?;
    let settings = Settings {
        endpoint: env.endpoint(),
        headers: env.headers()?,
        timeout: env.first_number(&TIMEOUT).map(Duration::from_millis),
        schedule_delay: env.number(SCHEDULE_DELAY).map(Duration::from_millis),
        batch_records_max: env.positive(BATCH_SIZE),
    };
    env.warn_of_the_unused();
    Ok((settings, env.warnings))
}

/// Adds `winners` to `headers`; a name that both have keeps the winners' values only.
pub(crate) fn merge_headers(headers: &mut Vec<GivenHeader>, winners: Vec<GivenHeader>) {
    headers.retain(|header| winners.iter().all(|winner| winner.name != header.name));
    headers.extend(winners);
}

struct Env<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<Warning>,
}

impl Env<'_> {
    /// The trimmed value of a variable that is set and not empty.
    fn value(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The first of `names` that has a value.
    fn first(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| Some((*name, self.value(name)?)))
    }

    fn warn(&mut self, source_name: &'static str, why: impl Into<String>) {
        self.warnings.push(Warning { source_name, why: why.into() });
    }

    fn endpoint(&self) -> Option<GivenEndpoint> {
        let (source_name, value) = self.first(&ENDPOINT)?;
        Some(GivenEndpoint { value, is_base: source_name == ENDPOINT[1], source_name })
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

    fn positive(&mut self, name: &'static str) -> Option<u64> {
        let number = self.number(name)?;
        if number == 0 {
            self.warn(name, "0 would send nothing");
        }
        (number > 0).then_some(number)
    }

    fn headers(&mut self) -> Result<Vec<GivenHeader>, BuildError> {
        let mut headers = Vec::new();
        // The generic variable first: what comes later wins.
        for name in HEADERS.into_iter().rev() {
            let Some(list) = self.value(name) else { continue };
            for (index, pair) in list.split(',').enumerate() {
                if let Some(header) = self.header(name, index, pair.trim())? {
                    merge_headers(&mut headers, vec![header]);
                }
            }
        }
        Ok(headers)
    }

    /// Reads one `name=value`. A pair without `=` is not shown: it may be a secret.
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
        let name = name.trim();
        let invalid = |why: &str| {
            let (name, why) = (name.to_owned(), why.to_owned());
            BuildError::InvalidHeader { name, source_name, why }
        };
        let parsed = HeaderName::try_from(name)
            .map_err(|_| invalid("its name has characters that no header name may have"))?;
        let decoded: Vec<u8> = percent_decode_str(value.trim()).collect();
        let mut value = HeaderValue::from_bytes(&decoded)
            .map_err(|_| invalid("its value has a line break or another control character"))?;
        value.set_sensitive(true);
        Ok(Some(GivenHeader { name: parsed, value, source_name }))
    }

    /// Refuses known values that this build cannot honour, and warns of unknown ones.
    fn check_supported(&mut self) -> Result<(), BuildError> {
        for choice in &CHOICES {
            let Some((source_name, value)) = self.first(&choice.names) else { continue };
            let is = |known: &&str| value.eq_ignore_ascii_case(known);
            if choice.unsupported.iter().any(is) {
                return Err(BuildError::Unsupported { what: choice.what, value, source_name });
            }
            if !is(&choice.supported) {
                self.warn(source_name, format!("{value:?} is not a known {}", choice.what));
            }
        }
        match TLS_FILES.iter().find_map(|name| Some((*name, self.value(name)?))) {
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

/// A setting that is one of some words.
struct Choice {
    what: &'static str,
    /// The variables, the winning one first.
    names: [&'static str; 2],
    supported: &'static str,
    unsupported: [&'static str; 2],
}

const CHOICES: [Choice; 2] = [
    Choice {
        what: "protocol",
        names: ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"],
        supported: "http/protobuf",
        unsupported: ["grpc", "http/json"],
    },
    Choice {
        what: "compression",
        names: ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"],
        supported: "none",
        unsupported: ["gzip", "zstd"],
    },
];

/// The winning variable first, here and below.
const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const TLS_FILES: [&str; 6] = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
];
const SCHEDULE_DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
const BATCH_SIZE: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
const UNUSED: [(&str, &str); 2] = [
    ("OTEL_BSP_MAX_QUEUE_SIZE", "the buffer is bounded in bytes, by the builder"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT bounds an attempt"),
];

#[cfg(test)]
mod tests;
