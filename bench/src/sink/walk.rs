//! A walk over the bytes of an Export*ServiceRequest that finds every record, and its id.
//!
//! It checks every length on the way down to the fields of each record, and the widths of the ids;
//! it does not look into attributes, events and links. A full decode with prost costs more than the
//! exporter that is measured here; this walk costs less than a tenth of it (`cargo bench -p
//! spanwire-bench -- count`). `tests/sink.rs` compares the two on random messages.
//!
//! Field numbers: opentelemetry-proto v1, collector/*/v1/*_service.proto, trace/v1/trace.proto,
//! logs/v1/logs.proto and metrics/v1/metrics.proto. In all three signals the request has resources
//! in field 1, these have scopes in field 2, and these have records in field 2.

use std::fmt;

use crate::shape::Signal;

/// Appends the ids of the records in `body` to `ids`, in the order of the bytes: span ids of spans
/// and of log records that have one. Returns how many records there are.
///
/// # Errors
///
/// When `body` is not a request of this signal down to the fields of its records, or a trace or
/// span id has the wrong width. Some ids may have been appended by then.
pub fn records(signal: Signal, body: &[u8], ids: &mut Vec<u64>) -> Result<u64, Malformed> {
    let mut records = 0;
    each_message(body, REQUEST_RESOURCES, &mut |resource| {
        each_message(resource, RESOURCE_SCOPES, &mut |scope| {
            each_message(scope, SCOPE_RECORDS, &mut |record| {
                records += match signal {
                    Signal::Traces => span(record, ids)?,
                    Signal::Logs => log_record(record, ids)?,
                    Signal::Metrics => points(record)?,
                };
                Ok(())
            })
        })
    })?;
    Ok(records)
}

/// [`records`] of traces, when only the ids matter.
///
/// # Errors
///
/// As [`records`].
pub fn span_ids(body: &[u8], ids: &mut Vec<u64>) -> Result<(), Malformed> {
    records(Signal::Traces, body, ids).map(drop)
}

/// Why a body is not a request, in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the sender's request is malformed: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Calls `visit` with each sub-message in field `number` of `message`.
fn each_message(
    message: &[u8],
    number: u64,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut fields = Fields(message);
    while let Some(field) = fields.next()? {
        match field {
            (found, Value::Bytes(bytes)) if found == number => visit(bytes)?,
            (found, _) if found == number => return Err(Malformed("a message with a scalar type")),
            _ => {}
        }
    }
    Ok(())
}

/// A span has both ids.
fn span(span: &[u8], ids: &mut Vec<u64>) -> Result<u64, Malformed> {
    let mut fields = Fields(span);
    let (mut trace, mut id) = (false, None);
    while let Some(field) = fields.next()? {
        match field {
            (SPAN_TRACE_ID, Value::Bytes(bytes)) => trace = bytes.len() == 16,
            (SPAN_SPAN_ID, Value::Bytes(bytes)) => id = bytes.try_into().ok(),
            _ => {}
        }
    }
    if !trace {
        return Err(TRACE_ID_WIDTH);
    }
    ids.push(id.map(u64::from_be_bytes).ok_or(SPAN_ID_WIDTH)?);
    Ok(1)
}

/// A log record has an id or none.
fn log_record(record: &[u8], ids: &mut Vec<u64>) -> Result<u64, Malformed> {
    let mut fields = Fields(record);
    let mut id: &[u8] = &[];
    while let Some(field) = fields.next()? {
        match field {
            (LOG_TRACE_ID, Value::Bytes(bytes)) if !matches!(bytes.len(), 0 | 16) => {
                return Err(TRACE_ID_WIDTH);
            }
            (LOG_SPAN_ID, Value::Bytes(bytes)) => id = bytes,
            _ => {}
        }
    }
    if !id.is_empty() {
        ids.push(u64::from_be_bytes(id.try_into().map_err(|_| SPAN_ID_WIDTH)?));
    }
    Ok(1)
}

/// The data points of a metric, whatever its kind.
fn points(metric: &[u8]) -> Result<u64, Malformed> {
    let mut fields = Fields(metric);
    let mut points = 0;
    while let Some(field) = fields.next()? {
        if let (METRIC_GAUGE | METRIC_SUM | METRIC_HISTOGRAM..=METRIC_SUMMARY, Value::Bytes(data)) =
            field
        {
            // Of a oneof the last one counts.
            points = 0;
            each_message(data, DATA_POINTS, &mut |point| {
                let mut fields = Fields(point);
                while fields.next()?.is_some() {}
                points += 1;
                Ok(())
            })?;
        }
    }
    Ok(points)
}

/// What is left of one message.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Scalar,
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The next field and its number; `None` at the end.
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => self.varint().map(|_| Value::Scalar)?,
            1 => self.take(8).map(|_| Value::Scalar)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Scalar)?,
            _ => return Err(Malformed("an unknown wire type")),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed("a cut field"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (index, byte) in self.0.iter().take(VARINT_BYTES_MAX).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = &self.0[index + 1..];
                return Ok(value);
            }
        }
        Err(Malformed("a varint without an end"))
    }
}

const TRACE_ID_WIDTH: Malformed = Malformed("a trace id that is not 16 bytes");
const SPAN_ID_WIDTH: Malformed = Malformed("a span id that is not 8 bytes");

const REQUEST_RESOURCES: u64 = 1;
const RESOURCE_SCOPES: u64 = 2;
const SCOPE_RECORDS: u64 = 2;
const SPAN_TRACE_ID: u64 = 1;
const SPAN_SPAN_ID: u64 = 2;
const LOG_TRACE_ID: u64 = 9;
const LOG_SPAN_ID: u64 = 10;
const METRIC_GAUGE: u64 = 5;
const METRIC_SUM: u64 = 7;
const METRIC_HISTOGRAM: u64 = 9;
const METRIC_SUMMARY: u64 = 11;
const DATA_POINTS: u64 = 1;
const VARINT_BYTES_MAX: usize = 10;
