//! Settings from the environment, by the rules of the OTLP exporter and SDK specifications.
//!
//! Pure: the caller brings the lookup. Which variables there are, what they take and what follows
//! stands in one table, [`table::TABLE`]; a test has every one of them read.
//!
//! - The variables of a signal win over the generic ones; headers are merged by name.
//! - An empty variable is an unset one.
//! - A number or word that means nothing, and what is not UTF-8, is ignored with a [`Warning`],
//!   and the next variable applies. A boolean is true if it says `true`, in any case; anything
//!   but `false` is false with a warning.
//! - What opentelemetry_sdk reads by itself is not read for it again, only checked: it falls back
//!   in silence.
//! - A header that cannot be sent is an error of its signal. Whether the choices can be honoured
//!   is for the builder to say, who knows the code's and which signals are exported.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::diagnostics::Level;
use crate::encode::limits;
use crate::error::BuildError;
use crate::model::{Compression, GivenMetricPreferences, Protocol, Signal, SignalExporter};

mod attributes;
mod header;
mod metrics;
mod proxy;
mod reader;
mod sdk;
mod signal;
pub(crate) mod table;

pub(crate) use self::header::{
    GivenHeader, hidden as hidden_headers, merge as merge_headers, parse as parse_header,
};
pub(crate) use self::proxy::GivenProxies;
use self::reader::Env;
#[cfg(feature = "otel_0_33")]
pub(crate) use self::sdk::Propagator;

/// What was read, and what became of each variable.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What the environment says.
    pub(crate) settings: Settings,
    /// What was ignored of it, or is odd.
    pub(crate) warnings: Vec<Warning>,
    /// Which variables decided something.
    pub(crate) taken: Vec<Taken>,
}

/// A variable whose value was taken, for a signal or for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The variable.
    pub(crate) source_name: &'static str,
    /// Whose setting it decided; none if it is not one of a signal.
    pub(crate) signal: Option<Signal>,
}

/// What the environment says; `None` is nothing.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What it says of each signal, in the order of [`Signal::ALL`]; an error if that cannot be
    /// sent.
    pub(crate) signals: [Result<OfSignal, BuildError>; Signal::ALL.len()],
    /// Who gets each signal.
    pub(crate) exporters: [Option<SignalExporter>; Signal::ALL.len()],
    /// Nothing is to be exported.
    pub(crate) is_disabled: Option<bool>,
    /// Which driver to use, not parsed yet.
    pub(crate) io: Option<String>,
    /// Which diagnostics are delivered.
    pub(crate) level: Option<Level>,
    /// How attributes are cut.
    pub(crate) limits: limits::Given,
    /// In which form metrics are exported.
    pub(crate) metrics: GivenMetricPreferences,
    /// For who sets up providers.
    #[cfg(feature = "otel_0_33")]
    pub(crate) sdk: OfSdk,
}

/// What the environment says to `spanwire::init`.
#[cfg(feature = "otel_0_33")]
#[derive(Clone, Debug, Default)]
pub(crate) struct OfSdk {
    /// How context travels; empty is not at all.
    pub(crate) propagators: Option<Vec<Propagator>>,
    /// How often metrics are collected; not 0.
    pub(crate) metric_interval: Option<Duration>,
}

/// What the environment says of one signal, or of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfSignal {
    /// Where to send to, not parsed yet.
    pub(crate) endpoint: Option<GivenEndpoint>,
    /// Whether a gRPC endpoint without a scheme is spoken to in clear.
    pub(crate) insecure: Option<Given<bool>>,
    /// Files for TLS.
    pub(crate) tls: GivenTls,
    /// Proxies, which are the same for all signals.
    pub(crate) proxies: GivenProxies,
    /// Headers of each request; each name occurs once.
    pub(crate) headers: Vec<GivenHeader>,
    /// Bounds one attempt; zero is no limit.
    pub(crate) timeout: Option<Duration>,
    /// Bounds the delivery of one batch; zero is no limit.
    pub(crate) export_timeout: Option<Duration>,
    /// How long records may wait for company.
    pub(crate) schedule_delay: Option<Duration>,
    /// How many records the buffer is to hold; not 0.
    pub(crate) queue_records_max: Option<u64>,
    /// At most this many records a request; not 0.
    pub(crate) batch_records_max: Option<u64>,
    /// Requests in flight at once.
    pub(crate) in_flight: Option<usize>,
    /// How requests are framed and encoded.
    pub(crate) protocol: Option<Given<Protocol>>,
    /// How their bodies are compressed.
    pub(crate) compression: Option<Given<Compression>>,
}

/// PEM files, not opened yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenTls {
    /// Who may have signed the peer's certificate.
    pub(crate) certificate: Option<Given<PathBuf>>,
    /// The key by which we prove who we are.
    pub(crate) client_key: Option<Given<PathBuf>>,
    /// The certificate by which we do.
    pub(crate) client_certificate: Option<Given<PathBuf>>,
}

impl GivenTls {
    /// All that are set.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Given<PathBuf>> {
        [&self.certificate, &self.client_key, &self.client_certificate].into_iter().flatten()
    }
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

/// Something in the environment that is odd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    /// The variable.
    pub(crate) source_name: &'static str,
    /// What became of it.
    pub(crate) so: So,
    /// What is odd about it; shows no header values.
    pub(crate) why: String,
}

/// What became of a variable that is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum So {
    /// It is as if it were unset.
    Ignored,
    /// It counts as `false`.
    False,
    /// It counts, but not as it stands there.
    Changed,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let so = match self.so {
            So::Ignored => "is ignored",
            So::False => "counts as false",
            So::Changed => "is not taken as it is",
        };
        write!(f, "{} {so}: {}", self.source_name, self.why)
    }
}

/// Reads the settings through `lookup`, which returns the value of a variable that is set.
pub(crate) fn read(lookup: &dyn Fn(&str) -> Option<OsString>) -> Reading {
    let mut env = Env::new(lookup);
    sdk::warn_of_the_unsupported(&mut env);
    sdk::check(&mut env);
    let settings = Settings {
        signals: signal::NAMES.each_ref().map(|names| signal::read(&mut env, names)),
        exporters: sdk::exporters(&mut env),
        is_disabled: env.boolean(&["OTEL_SDK_DISABLED"]).map(|given| given.value),
        io: env.taken_value(IO),
        level: sdk::level(&mut env),
        limits: attributes::limits(&mut env),
        metrics: metrics::preferences(&mut env),
        #[cfg(feature = "otel_0_33")]
        sdk: sdk::of_sdk(&mut env),
    };
    let (warnings, taken) = env.finish();
    Reading { settings, warnings, taken }
}

/// Chooses the driver.
pub(crate) const IO: &str = "SPANWIRE_IO";

#[cfg(test)]
mod tests;
