//! How attributes are cut: the specification's attribute limits.

use super::Builder;
use crate::encode::limits::Duplicates;

impl Builder {
    /// A span, event, link or log record keeps at most this many attributes; the others are
    /// dropped and counted in its `dropped_attributes_count`.
    ///
    /// Default `OTEL_ATTRIBUTE_COUNT_LIMIT`, else 128 for log records and for
    /// [`direct`](crate::direct) data, and no further limit for the spans of an SDK, which has
    /// limits of its own: 128 again unless the program says otherwise there. What the SDK has
    /// dropped stays dropped. Resources, scopes and metrics have no limit.
    ///
    /// ```
    /// # use spanwire::Exporter;
    /// let builder = Exporter::builder()
    ///     .attribute_count_max(64)
    ///     .log_attribute_count_max(32)
    ///     .attribute_value_len_max(4096);
    /// ```
    pub fn attribute_count_max(mut self, most: u32) -> Self {
        self.limits.general.count_max = Some(most);
        self
    }

    /// The same for spans only; default `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, else the general one.
    pub fn span_attribute_count_max(mut self, most: u32) -> Self {
        self.limits.span.count_max = Some(most);
        self
    }

    /// The same for the events of spans only; default `OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT`, else the
    /// general one.
    pub fn event_attribute_count_max(mut self, most: u32) -> Self {
        self.limits.event.count_max = Some(most);
        self
    }

    /// The same for the links of spans only; default `OTEL_LINK_ATTRIBUTE_COUNT_LIMIT`, else the
    /// general one.
    pub fn link_attribute_count_max(mut self, most: u32) -> Self {
        self.limits.link.count_max = Some(most);
        self
    }

    /// The same for log records only; default `OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT`, else the
    /// general one.
    pub fn log_attribute_count_max(mut self, most: u32) -> Self {
        self.limits.log.count_max = Some(most);
        self
    }

    /// Of a string in an attribute of a span, event, link or log record, at most this many
    /// characters (not bytes) are kept, and of a byte array as many bytes; also where they stand
    /// in arrays and maps. Default `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`, else no limit. The bodies
    /// of log records are never cut.
    pub fn attribute_value_len_max(mut self, most: u32) -> Self {
        self.limits.general.value_len_max = Some(most);
        self
    }

    /// The same for spans, their events and links only; default
    /// `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, else the general one.
    pub fn span_attribute_value_len_max(mut self, most: u32) -> Self {
        self.limits.span.value_len_max = Some(most);
        self
    }

    /// The same for log records only; default `OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT`, else
    /// the general one.
    pub fn log_attribute_value_len_max(mut self, most: u32) -> Self {
        self.limits.log.value_len_max = Some(most);
        self
    }

    /// Of arrays and maps in each other, this many are kept; an array or map that stands deeper
    /// is replaced by an empty value. Default 64. At most 46 arrays or 30 maps are kept however,
    /// because decoders of protobuf refuse a request with more than 100 messages in each other
    /// (an array costs two, a map three).
    pub fn attribute_depth_max(mut self, most: u32) -> Self {
        self.limits.depth_max = Some(most);
        self
    }

    /// What becomes of attributes of one record that have the same key. Default
    /// [`Duplicates::LastWins`].
    pub fn duplicate_attributes(mut self, duplicates: Duplicates) -> Self {
        self.limits.duplicates = Some(duplicates);
        self
    }
}
