//! The errors of the public calls. Each says whose fault it is and what to do next.

use std::error::Error;
use std::fmt;
use std::io;

use crate::model::DestinationName;

/// Why an exporter could not be built.
///
/// Configuration fails here, once, and never later at run time.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// An endpoint is not a URL that this exporter can send to. The caller's to fix.
    InvalidEndpoint {
        /// The value as given, without user name, password and query.
        value: String,
        /// The builder method or environment variable that it came from.
        source_name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The proxy of an endpoint is none that this exporter can ask. The caller's to fix.
    InvalidProxy {
        /// The value as given, without user name, password and query.
        value: String,
        /// The builder method or environment variable that it came from.
        source_name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A header cannot be sent. The caller's to fix; its value is never shown.
    InvalidHeader {
        /// The header's name; or `item N` of those given, counted from 1, if what stands in the
        /// place of a name is none: it may be a secret.
        name: String,
        /// The builder method or environment variable that it came from.
        source_name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A value that OTLP knows and this build does not support: data would go out otherwise
    /// than asked for, so nothing is built.
    Unsupported {
        /// The setting: `protocol`, `compression`, `tls`, `scheme`.
        what: &'static str,
        /// The value, a URL without user name, password and query.
        value: String,
        /// The builder method or environment variable that it came from.
        source_name: &'static str,
    },
    /// A value is out of its bounds or means nothing. The caller's to fix.
    InvalidValue {
        /// The value as given.
        value: String,
        /// The builder method or environment variable that it came from.
        source_name: &'static str,
        /// What it must be.
        why: String,
    },
    /// Something is wrong with a destination beside the main one. What `error` names as the
    /// source is the method of that destination.
    Destination {
        /// What it was called.
        name: String,
        /// What is wrong.
        error: Box<Self>,
    },
    /// The delivery thread or its driver could not be started: the machine's limits or policy.
    Runtime(spanwire_runtime::BuildError),
}

impl BuildError {
    /// The builder method or environment variable that is wrong; none if it is the machine.
    #[must_use]
    pub fn source_name(&self) -> Option<&'static str> {
        match self {
            Self::InvalidEndpoint { source_name, .. }
            | Self::InvalidProxy { source_name, .. }
            | Self::InvalidHeader { source_name, .. }
            | Self::Unsupported { source_name, .. }
            | Self::InvalidValue { source_name, .. } => Some(source_name),
            Self::Destination { error, .. } => error.source_name(),
            Self::Runtime(_) => None,
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidEndpoint { value, source_name, why } => {
                write!(f, "the endpoint {value:?} from {source_name} cannot be used: {why}")
            }
            Self::InvalidProxy { value, source_name, why } => {
                write!(
                    f,
                    "the proxy {value:?} from {source_name} cannot be used: {why}; correct it, or \
                     list the endpoint's host in NO_PROXY"
                )
            }
            Self::InvalidHeader { name, source_name, why } => {
                write!(f, "the header {name} from {source_name} cannot be sent: {why}")
            }
            Self::Unsupported { what, value, source_name } => {
                write!(f, "{what} {value:?} from {source_name} is not supported by this build; ")?;
                f.write_str(instead_of(what))
            }
            Self::InvalidValue { value, source_name, why } => {
                write!(f, "the value {value:?} of {source_name} cannot be used: {why}")
            }
            Self::Destination { name, error } => write!(f, "the destination {name:?}: {error}"),
            Self::Runtime(error) => runtime_error(error, f),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Runtime(error) => Some(io_error(error)?),
            Self::Destination { error, .. } => error.source(),
            _ => None,
        }
    }
}

/// Why a flush did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlushError {
    /// The deadline passed first. Delivery goes on; flush again to wait longer.
    Timeout {
        /// Records accepted before the call that are still on their way, to the destination that
        /// has most to get.
        pending: u64,
    },
    /// Everything accepted before the call was dealt with, and some of it was lost.
    /// `Exporter::stats` has the reasons.
    Lost {
        /// Records given up.
        dropped: u64,
        /// Records that the collector did not keep.
        rejected: u64,
    },
    /// The same, and it was not only, or not, the main destination that lost something.
    LostAt {
        /// The first destination beside the main one that lost records.
        destination: DestinationName,
        /// Records given up; one that several destinations were to get counts for each of them.
        dropped: u64,
        /// Records that a collector did not keep, counted in the same way.
        rejected: u64,
    },
    /// The exporter's thread died (a bug): nothing will be delivered any more.
    Dead,
    /// The exporter was shut down before.
    ShutDown,
    /// In this process, which was forked from another, no exporter could be started.
    Forked,
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { pending } => write!(
                f,
                "the flush deadline passed with {pending} records on their way; they are still \
                 being delivered, flush again to wait longer"
            ),
            Self::Lost { dropped, rejected } => lost(*dropped, *rejected, f),
            Self::LostAt { destination, dropped, rejected } => {
                lost_at(*destination, *dropped, *rejected, f)
            }
            Self::Dead => f.write_str(DEAD),
            Self::ShutDown => f.write_str("the exporter is shut down; flush before shutting down"),
            Self::Forked => f.write_str(FORKED),
        }
    }
}

impl Error for FlushError {}

/// Why a shutdown was not clean. The exporter is shut down in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The deadline passed first.
    Timeout {
        /// Records given up by that, of the destination that had most left; `Stats::dropped`
        /// counts them under `shutdown`.
        left: u64,
    },
    /// Delivery ended in time, and some of what was accepted was lost.
    Lost {
        /// Records given up.
        dropped: u64,
        /// Records that the collector did not keep.
        rejected: u64,
    },
    /// The same, and it was not only, or not, the main destination that lost something.
    LostAt {
        /// The first destination beside the main one that lost records.
        destination: DestinationName,
        /// Records given up; one that several destinations were to get counts for each of them.
        dropped: u64,
        /// Records that a collector did not keep, counted in the same way.
        rejected: u64,
    },
    /// The exporter's thread died (a bug) before.
    Dead,
    /// The exporter was shut down before; this call did nothing.
    AlreadyShutDown,
    /// In this process, which was forked from another, no exporter could be started.
    Forked,
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { left } => write!(
                f,
                "the shutdown deadline passed and {left} records were given up; check that the \
                 collector answers, or allow more time"
            ),
            Self::Lost { dropped, rejected } => lost(*dropped, *rejected, f),
            Self::LostAt { destination, dropped, rejected } => {
                lost_at(*destination, *dropped, *rejected, f)
            }
            Self::Dead => f.write_str(DEAD),
            Self::AlreadyShutDown => f.write_str("the exporter was shut down before"),
            Self::Forked => f.write_str(FORKED),
        }
    }
}

impl Error for ShutdownError {}

fn lost(dropped: u64, rejected: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{dropped} records were dropped and {rejected} rejected by the collector; see the \
         exporter's stats and diagnostics for the reasons"
    )
}

fn lost_at(
    destination: DestinationName,
    dropped: u64,
    rejected: u64,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write!(
        f,
        "{dropped} records were dropped and {rejected} rejected, of the destination \
         {destination:?} among others; see `destinations` in the exporter's stats, and its \
         diagnostics, for the reasons"
    )
}

/// What the caller can choose in place of an unsupported `what`.
fn instead_of(what: &str) -> &'static str {
    match what {
        "protocol" => "use http/protobuf, or build with the feature grpc",
        "compression" => "use gzip or none, or build with the feature zstd",
        "tls" => {
            "use an http:// endpoint, such as a local collector that adds TLS, or build with the \
             feature `tls`"
        }
        "scheme" => "use http://, https:// or unix: for the endpoint",
        _ => "remove it",
    }
}

fn runtime_error(error: &spanwire_runtime::BuildError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use spanwire_runtime::BuildError as Runtime;
    match error {
        Runtime::Thread(error) => write!(
            f,
            "the delivery thread could not be started: {error}; check the limits on threads and \
             memory"
        ),
        Runtime::Driver(error) => write!(
            f,
            "no I/O driver could be opened: {error}; check the limit on open files, or set \
             SPANWIRE_IO=auto"
        ),
        other => write!(f, "the runtime could not be started: {other:?}"),
    }
}

fn io_error(error: &spanwire_runtime::BuildError) -> Option<&io::Error> {
    use spanwire_runtime::BuildError as Runtime;
    match error {
        Runtime::Thread(error) | Runtime::Driver(error) => Some(error),
        _ => None,
    }
}

const FORKED: &str = "this process was forked, and no exporter could be started in it; see its \
                      diagnostics for the reason";

const DEAD: &str = "the exporter's thread died and its records are lost; this is a bug in \
                    spanwire, build a new exporter and report what it printed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_value_its_source_and_the_next_step() {
        let error = BuildError::Unsupported {
            what: "compression",
            value: "zstd".into(),
            source_name: "OTEL_EXPORTER_OTLP_COMPRESSION",
        };
        assert_eq!(
            error.to_string(),
            "compression \"zstd\" from OTEL_EXPORTER_OTLP_COMPRESSION is not supported by this \
             build; use gzip or none, or build with the feature zstd"
        );
    }

    #[test]
    fn a_driver_error_keeps_its_source() {
        let inner = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = BuildError::Runtime(spanwire_runtime::BuildError::Driver(inner));
        assert!(error.source().is_some_and(|source| source.is::<io::Error>()));
        assert!(error.to_string().contains("SPANWIRE_IO=auto"), "{error}");
    }

    #[test]
    fn errors_have_no_full_stop_and_start_in_lower_case() {
        let destination = DestinationName::new("backup").unwrap();
        let texts = [
            FlushError::Timeout { pending: 1 }.to_string(),
            FlushError::Lost { dropped: 1, rejected: 2 }.to_string(),
            FlushError::LostAt { destination, dropped: 1, rejected: 2 }.to_string(),
            FlushError::Dead.to_string(),
            FlushError::ShutDown.to_string(),
            ShutdownError::Timeout { left: 3 }.to_string(),
            ShutdownError::AlreadyShutDown.to_string(),
        ];
        for text in texts {
            assert!(!text.ends_with('.'), "{text}");
            assert!(!text.starts_with(|c: char| c.is_uppercase()), "{text}");
        }
    }
}
