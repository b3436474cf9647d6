//! The containers around records, which are the same for all signals.

use super::super::fields::{export_request, resource_records, scope_records};
use super::super::read::Malformed;
use super::common::{Resource, Scope};
use super::logs::LogRecord;
use super::message::Message;
use super::metrics::Metric;
use super::repeated::Repeated;
use super::trace::Span;

/// An `Export*ServiceRequest`, or the `TracesData`, `LogsData` or `MetricsData` of a file: `R` is
/// what its records are.
///
/// # Examples
///
/// ```
/// use spanwire::wire::Request;
///
/// fn names(request: &[u8]) -> Result<Vec<&str>, spanwire::wire::Malformed> {
///     let mut names = Vec::new();
///     for resource in Request::traces(request).resources() {
///         for scope in resource?.scopes() {
///             for span in scope?.records() {
///                 names.push(span?.name()?);
///             }
///         }
///     }
///     Ok(names)
/// }
///
/// let request = b"\x0a\x0e\x12\x0c\x12\x03\x2a\x01a\x12\x05\x2a\x03b.c";
/// assert_eq!(names(request)?, ["a", "b.c"]);
/// # Ok::<(), spanwire::wire::Malformed>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a, R> {
    message: Message<'a>,
    record: fn(Message<'a>) -> R,
}

impl<'a> Request<'a, Span<'a>> {
    /// A request of spans.
    pub fn traces(request: &'a [u8]) -> Self {
        Self { message: Message::outermost(request), record: Span::over }
    }
}

impl<'a> Request<'a, LogRecord<'a>> {
    /// A request of log records.
    pub fn logs(request: &'a [u8]) -> Self {
        Self { message: Message::outermost(request), record: LogRecord::over }
    }
}

impl<'a> Request<'a, Metric<'a>> {
    /// A request of metrics.
    pub fn metrics(request: &'a [u8]) -> Self {
        Self { message: Message::outermost(request), record: Metric::over }
    }
}

impl<'a, R> Request<'a, R> {
    /// `resource_spans`, `resource_logs` or `resource_metrics`. Ends after the first error.
    pub fn resources(&self) -> impl Iterator<Item = Result<ResourceRecords<'a, R>, Malformed>> {
        let record = self.record;
        Repeated::new(self.message, export_request::RESOURCES, |message| message)
            .map(move |message| Ok(ResourceRecords { message: message?, record }))
    }
}

/// A `ResourceSpans`, `ResourceLogs` or `ResourceMetrics`.
#[derive(Clone, Copy, Debug)]
pub struct ResourceRecords<'a, R> {
    message: Message<'a>,
    record: fn(Message<'a>) -> R,
}

impl<'a, R> ResourceRecords<'a, R> {
    /// `resource`, if there is one.
    ///
    /// # Errors
    /// The message, or this field of it, is malformed.
    pub fn resource(&self) -> Result<Option<Resource<'a>>, Malformed> {
        Ok(self.message.message(resource_records::RESOURCE)?.map(Resource::over))
    }

    /// `schema_url`
    ///
    /// # Errors
    /// The message, or this field of it, is malformed.
    pub fn schema_url(&self) -> Result<&'a str, Malformed> {
        self.message.text(resource_records::SCHEMA_URL)
    }

    /// `scope_spans`, `scope_logs` or `scope_metrics`. Ends after the first error.
    pub fn scopes(&self) -> impl Iterator<Item = Result<ScopeRecords<'a, R>, Malformed>> {
        let record = self.record;
        Repeated::new(self.message, resource_records::SCOPES, |message| message)
            .map(move |message| Ok(ScopeRecords { message: message?, record }))
    }
}

/// A `ScopeSpans`, `ScopeLogs` or `ScopeMetrics`.
#[derive(Clone, Copy, Debug)]
pub struct ScopeRecords<'a, R> {
    message: Message<'a>,
    record: fn(Message<'a>) -> R,
}

impl<'a, R> ScopeRecords<'a, R> {
    /// `scope`, if there is one.
    ///
    /// # Errors
    /// The message, or this field of it, is malformed.
    pub fn scope(&self) -> Result<Option<Scope<'a>>, Malformed> {
        Ok(self.message.message(scope_records::SCOPE)?.map(Scope::over))
    }

    /// `schema_url`
    ///
    /// # Errors
    /// The message, or this field of it, is malformed.
    pub fn schema_url(&self) -> Result<&'a str, Malformed> {
        self.message.text(scope_records::SCHEMA_URL)
    }

    /// `spans`, `log_records` or `metrics`. Ends after the first error.
    pub fn records(&self) -> Repeated<'a, R> {
        Repeated::new(self.message, scope_records::RECORDS, self.record)
    }
}
