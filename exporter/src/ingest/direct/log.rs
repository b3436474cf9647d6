//! A log record as plain data.

use spanwire_runtime::buf::Cursor;

use super::attribute::{Attribute, Value, guess_len, put_attributes};
use crate::encode::common::{Place, Value as _};
use crate::encode::limits::Limits;
use crate::encode::logs;

/// A log record, borrowed from the program.
///
/// # Examples
///
/// ```
/// use spanwire::direct::{LogRecord, Value};
///
/// let mut record = LogRecord::new(1_764_000_000_000_000_000, Value::Str("the cart is locked"));
/// record.severity_number = 13; // WARN
/// record.severity_text = "WARN";
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LogRecord<'a> {
    /// When it happened, in nanoseconds since 1970; 0 if that is not known.
    pub unix_nano: u64,
    /// When it was noticed; 0 if that is not known.
    pub observed_unix_nano: u64,
    /// 1 to 24, from TRACE to FATAL4 (logs.proto, `SeverityNumber`); 0 if there is none. A larger
    /// number is written as 24.
    pub severity_number: u8,
    /// What the program calls the severity, or empty.
    pub severity_text: &'a str,
    /// The message; `None` if there is none.
    pub body: Option<Value<'a>>,
    /// Of equal keys the last one stays.
    pub attributes: &'a [Attribute<'a>],
    /// Attributes that the program left out itself.
    pub dropped_attributes: u32,
    /// W3C trace flags of the span in which it happened.
    pub trace_flags: u8,
    /// The trace in which it happened; zeros if in none.
    pub trace_id: [u8; 16],
    /// The span in which it happened; zeros if in none.
    pub span_id: [u8; 8],
    /// What kind of event it is, or empty.
    pub event_name: &'a str,
}

impl<'a> LogRecord<'a> {
    /// A record of something that was noticed when it happened; set the other fields that it has.
    pub const fn new(unix_nano: u64, body: Value<'a>) -> Self {
        Self {
            unix_nano,
            observed_unix_nano: unix_nano,
            severity_number: 0,
            severity_text: "",
            body: Some(body),
            attributes: &[],
            dropped_attributes: 0,
            trace_flags: 0,
            trace_id: [0; 16],
            span_id: [0; 8],
            event_name: "",
        }
    }
}

/// Writes a log record as one record: `12 <length> LogRecord`, complete but for its scope.
#[inline]
pub(crate) fn encode_log_record(out: &mut Cursor<'_>, record: &LogRecord<'_>, limits: &Limits) {
    logs::record(out, logs::RECORD_LEN + guess_len(record.attributes), |out| {
        let head = logs::Head {
            unix_nano: record.unix_nano,
            severity_number: record.severity_number.min(SEVERITY_MAX),
            severity_text: record.severity_text,
        };
        logs::head(out, &head);
        if let Some(body) = &record.body {
            body.put(Place::field(out, logs::BODY, &limits.exempt));
        }
        let dropped = put_attributes(out, logs::ATTRIBUTES, record.attributes, &limits.log);
        logs::dropped_attributes(out, dropped.saturating_add(record.dropped_attributes));
        let LogRecord { trace_flags, trace_id, span_id, .. } = *record;
        logs::context(out, &logs::Context { trace_flags, trace_id, span_id });
        logs::tail(out, record.observed_unix_nano, record.event_name);
    });
}

/// FATAL4.
const SEVERITY_MAX: u8 = crate::wire::fields::severity_number::FATAL4;
