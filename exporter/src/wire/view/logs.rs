//! Log records.

use super::super::fields::log_record;
use super::super::read::Malformed;
use super::common::{AnyValue, Attributes};
use super::message::Message;
use super::{getters, view};

view! {
    /// A log record.
    LogRecord
}

impl<'a> LogRecord<'a> {
    /// Views a log record, without the key and the length that it has in a run of records.
    pub fn new(record: &'a [u8]) -> Self {
        Self::over(Message::outermost(record))
    }

    getters! {
        /// `time_unix_nano`
        time_unix_nano: fixed64 -> u64 = log_record::TIME_UNIX_NANO;
        /// `observed_time_unix_nano`
        observed_time_unix_nano: fixed64 -> u64 = log_record::OBSERVED_TIME_UNIX_NANO;
        /// `severity_number`: 1 to 24, or 0 if there is none.
        severity_number: int32 -> i32 = log_record::SEVERITY_NUMBER;
        /// `severity_text`
        severity_text: text -> &'a str = log_record::SEVERITY_TEXT;
        /// `dropped_attributes_count`
        dropped_attributes_count: uint32 -> u32 = log_record::DROPPED_ATTRIBUTES_COUNT;
        /// `flags`
        flags: fixed32 -> u32 = log_record::FLAGS;
        /// `trace_id`: 16 bytes or none; but what stands there is what the sender wrote.
        trace_id: bytes -> &'a [u8] = log_record::TRACE_ID;
        /// `span_id`: 8 bytes or none, with the same reservation.
        span_id: bytes -> &'a [u8] = log_record::SPAN_ID;
        /// `event_name`
        event_name: text -> &'a str = log_record::EVENT_NAME;
    }

    /// `body`, if there is one.
    ///
    /// # Errors
    /// The message, or this field of it, is malformed.
    pub fn body(&self) -> Result<Option<AnyValue<'a>>, Malformed> {
        self.message.message(log_record::BODY)?.map(AnyValue::of).transpose()
    }

    /// `attributes`
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, log_record::ATTRIBUTES)
    }
}
