//! The ways in for plain data.

use std::time::Duration;

use super::attribute::{Attribute, put_attributes};
use super::log::{LogRecord, encode_log_record};
use super::span::{Span, encode_span};
use crate::encode::common;
use crate::encode::envelope::Frame;
use crate::encode::limits::Limits;
use crate::error::FlushError;
use crate::exporter::Exporter;
use crate::model::Signal;
use crate::pipeline::door::Door;

/// Who sends: the service, its version, where it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Resource<'a> {
    /// `service.name` should be among them.
    pub attributes: &'a [Attribute<'a>],
    /// The schema that the attributes follow, or empty.
    pub schema_url: &'a str,
}

/// The part of the program, or the library, that records come from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Scope<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its version, or empty.
    pub version: &'a str,
    /// The schema that its records follow, or empty.
    pub schema_url: &'a str,
    /// What else tells it from others.
    pub attributes: &'a [Attribute<'a>],
}

/// Takes finished spans of one resource and scope as plain data.
///
/// [`end`](Self::end) encodes on the calling thread: it takes no lock, makes no system call and
/// never waits. If the exporter's buffer is full the span is dropped and counted
/// ([`Stats::dropped`](crate::Stats)). Limits of attributes are those of the exporter, with 128
/// attributes a span, event and link unless it says otherwise.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use spanwire::direct::{Key, Resource, Scope, Span, Spans};
///
/// const SERVICE: Key = spanwire::key!("service.name");
/// const METHOD: Key = spanwire::key!("http.request.method");
///
/// let exporter = spanwire::Exporter::builder().endpoint("http://localhost:4318").build()?;
/// let spans = Spans::new(
///     &exporter,
///     &Resource::new(&[SERVICE.str("shop")]),
///     &Scope::new("cart", "1.2"),
/// );
/// let attributes = [METHOD.str("GET")];
/// let mut span = Span::new([0x4b; 16], [0x07; 8], "GET /cart");
/// span.attributes = &attributes;
/// spans.end(&span);
/// assert_eq!(exporter.stats().emitted, 1);
/// # exporter.shutdown(Duration::ZERO).unwrap_err();
/// # Ok::<(), spanwire::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Spans(Way);

/// Takes log records of one resource and scope as plain data; see [`Spans`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use spanwire::direct::{LogRecord, Logs, Resource, Scope, Value};
///
/// let exporter = spanwire::Exporter::builder().endpoint("http://localhost:4318").build()?;
/// let logs = Logs::new(&exporter, &Resource::default(), &Scope::new("cart", "1.2"));
/// logs.emit(&LogRecord::new(1_764_000_000_000_000_000, Value::Str("the cart is locked")));
/// assert_eq!(exporter.stats().logs.emitted, 1);
/// # exporter.shutdown(Duration::ZERO).unwrap_err();
/// # Ok::<(), spanwire::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Logs(Way);

/// What both have.
#[derive(Debug)]
struct Way {
    door: Door,
    limits: Limits,
    /// Keeps delivery alive for as long as records may come.
    _exporter: Exporter,
}

impl<'a> Resource<'a> {
    /// A resource with these attributes.
    pub const fn new(attributes: &'a [Attribute<'a>]) -> Self {
        Self { attributes, schema_url: "" }
    }
}

impl<'a> Scope<'a> {
    /// A scope with a name and a version (or an empty text).
    pub const fn new(name: &'a str, version: &'a str) -> Self {
        Self { name, version, schema_url: "", attributes: &[] }
    }
}

impl Spans {
    /// A new way into `exporter`.
    #[must_use = "nothing is sent before `end`"]
    pub fn new(exporter: &Exporter, resource: &Resource<'_>, scope: &Scope<'_>) -> Self {
        Self(Way::new(exporter, Signal::Traces, resource, scope))
    }

    /// Takes a finished span. What cannot be taken is counted in the exporter's statistics.
    #[inline]
    pub fn end(&self, span: &Span<'_>) {
        let Way { door, limits, .. } = &self.0;
        if let Some(entry) = door.enter() {
            entry.append(entry.own_tag(), |out| encode_span(out, span, limits));
        }
    }

    /// Delivers all spans that came before, through this or another way, within `limit`.
    ///
    /// # Errors
    ///
    /// As [`Exporter::flush`].
    pub fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        self.0.door.flush(limit)
    }
}

impl Logs {
    /// A new way into `exporter`.
    #[must_use = "nothing is sent before `emit`"]
    pub fn new(exporter: &Exporter, resource: &Resource<'_>, scope: &Scope<'_>) -> Self {
        Self(Way::new(exporter, Signal::Logs, resource, scope))
    }

    /// Takes a log record. What cannot be taken is counted in the exporter's statistics.
    #[inline]
    pub fn emit(&self, record: &LogRecord<'_>) {
        let Way { door, limits, .. } = &self.0;
        if let Some(entry) = door.enter() {
            entry.append(entry.own_tag(), |out| encode_log_record(out, record, limits));
        }
    }

    /// Delivers all log records that came before, through this or another way, within `limit`.
    ///
    /// # Errors
    ///
    /// As [`Exporter::flush`].
    pub fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        self.0.door.flush(limit)
    }
}

impl Way {
    fn new(
        exporter: &Exporter,
        signal: Signal,
        resource: &Resource<'_>,
        scope: &Scope<'_>,
    ) -> Self {
        let limits = exporter.home().settings().limits.of_raw_data();
        let (resource, scope) = (encode_resource(resource, &limits), encode_scope(scope, &limits));
        let door = Door::open_for(exporter.home(), signal, resource, Some(scope));
        Self { door, limits, _exporter: exporter.clone() }
    }
}

pub(super) fn encode_resource(resource: &Resource<'_>, limits: &Limits) -> Frame {
    common::resource(resource.schema_url, |out, field| {
        put_attributes(out, field, resource.attributes, &limits.exempt)
    })
}

pub(super) fn encode_scope(scope: &Scope<'_>, limits: &Limits) -> Frame {
    common::scope(scope.name, scope.version, scope.schema_url, |out, field| {
        put_attributes(out, field, scope.attributes, &limits.exempt)
    })
}
