//! Field numbers and enum values of opentelemetry-proto 1.11, a module for each message, named as
//! there; of what is stable, all. A test compares them with the descriptors of the oracle, in both
//! directions. (Between its 1.10 and 1.11 no number of these signals changed.)

/// `opentelemetry.proto.common.v1.AnyValue`; all of them belong to the oneof `value`.
pub(crate) mod any_value {
    pub(crate) const STRING_VALUE: u32 = 1;
    pub(crate) const BOOL_VALUE: u32 = 2;
    pub(crate) const INT_VALUE: u32 = 3;
    pub(crate) const DOUBLE_VALUE: u32 = 4;
    pub(crate) const ARRAY_VALUE: u32 = 5;
    pub(crate) const KVLIST_VALUE: u32 = 6;
    pub(crate) const BYTES_VALUE: u32 = 7;
    /// Alpha, of profiles only: never written, and skipped where it is read.
    pub(crate) const STRING_VALUE_STRINDEX: u32 = 8;
}

/// `opentelemetry.proto.common.v1.ArrayValue`.
pub(crate) mod array_value {
    pub(crate) const VALUES: u32 = 1;
}

/// `opentelemetry.proto.common.v1.KeyValueList`.
pub(crate) mod key_value_list {
    pub(crate) const VALUES: u32 = 1;
}

/// `opentelemetry.proto.common.v1.KeyValue`.
pub(crate) mod key_value {
    pub(crate) const KEY: u32 = 1;
    pub(crate) const VALUE: u32 = 2;
    /// Alpha, of profiles only: never written, and skipped where it is read.
    pub(crate) const KEY_STRINDEX: u32 = 3;
}

/// `opentelemetry.proto.common.v1.InstrumentationScope`.
pub(crate) mod instrumentation_scope {
    pub(crate) const NAME: u32 = 1;
    pub(crate) const VERSION: u32 = 2;
    pub(crate) const ATTRIBUTES: u32 = 3;
    pub(crate) const DROPPED_ATTRIBUTES_COUNT: u32 = 4;
}

/// `opentelemetry.proto.common.v1.EntityRef`, in development: read, never written.
pub(crate) mod entity_ref {
    pub(crate) const SCHEMA_URL: u32 = 1;
    pub(crate) const TYPE: u32 = 2;
    pub(crate) const ID_KEYS: u32 = 3;
    pub(crate) const DESCRIPTION_KEYS: u32 = 4;
}

/// `opentelemetry.proto.resource.v1.Resource`.
pub(crate) mod resource {
    pub(crate) const ATTRIBUTES: u32 = 1;
    pub(crate) const DROPPED_ATTRIBUTES_COUNT: u32 = 2;
    pub(crate) const ENTITY_REFS: u32 = 3;
}

/// The requests, `ExportTraceServiceRequest` and its siblings for logs and metrics; and the files,
/// `TracesData`, `LogsData` and `MetricsData`, which have the same fields.
pub(crate) mod export_request {
    /// `resource_spans`, `resource_logs`, `resource_metrics`.
    pub(crate) const RESOURCES: u32 = 1;
}

/// `ResourceSpans`, `ResourceLogs`, `ResourceMetrics`.
pub(crate) mod resource_records {
    pub(crate) const RESOURCE: u32 = 1;
    /// `scope_spans`, `scope_logs`, `scope_metrics`.
    pub(crate) const SCOPES: u32 = 2;
    pub(crate) const SCHEMA_URL: u32 = 3;
}

/// `ScopeSpans`, `ScopeLogs`, `ScopeMetrics`.
pub(crate) mod scope_records {
    pub(crate) const SCOPE: u32 = 1;
    /// `spans`, `log_records`, `metrics`.
    pub(crate) const RECORDS: u32 = 2;
    pub(crate) const SCHEMA_URL: u32 = 3;
}

/// `opentelemetry.proto.trace.v1.Span`.
pub(crate) mod span {
    pub(crate) const TRACE_ID: u32 = 1;
    pub(crate) const SPAN_ID: u32 = 2;
    pub(crate) const TRACE_STATE: u32 = 3;
    pub(crate) const PARENT_SPAN_ID: u32 = 4;
    pub(crate) const NAME: u32 = 5;
    pub(crate) const KIND: u32 = 6;
    pub(crate) const START_TIME_UNIX_NANO: u32 = 7;
    pub(crate) const END_TIME_UNIX_NANO: u32 = 8;
    pub(crate) const ATTRIBUTES: u32 = 9;
    pub(crate) const DROPPED_ATTRIBUTES_COUNT: u32 = 10;
    pub(crate) const EVENTS: u32 = 11;
    pub(crate) const DROPPED_EVENTS_COUNT: u32 = 12;
    pub(crate) const LINKS: u32 = 13;
    pub(crate) const DROPPED_LINKS_COUNT: u32 = 14;
    pub(crate) const STATUS: u32 = 15;
    pub(crate) const FLAGS: u32 = 16;
}

/// `opentelemetry.proto.trace.v1.Span.SpanKind`.
pub(crate) mod span_kind {
    pub(crate) const INTERNAL: u8 = 1;
    pub(crate) const SERVER: u8 = 2;
    pub(crate) const CLIENT: u8 = 3;
    pub(crate) const PRODUCER: u8 = 4;
    pub(crate) const CONSUMER: u8 = 5;
}

/// `opentelemetry.proto.trace.v1.SpanFlags`.
pub(crate) mod span_flags {
    pub(crate) const TRACE_FLAGS_MASK: u32 = 0xff;
    pub(crate) const CONTEXT_HAS_IS_REMOTE: u32 = 0x100;
    pub(crate) const CONTEXT_IS_REMOTE: u32 = 0x200;
}

/// `opentelemetry.proto.trace.v1.Span.Event`.
pub(crate) mod event {
    pub(crate) const TIME_UNIX_NANO: u32 = 1;
    pub(crate) const NAME: u32 = 2;
    pub(crate) const ATTRIBUTES: u32 = 3;
    pub(crate) const DROPPED_ATTRIBUTES_COUNT: u32 = 4;
}

/// `opentelemetry.proto.trace.v1.Span.Link`.
pub(crate) mod link {
    pub(crate) const TRACE_ID: u32 = 1;
    pub(crate) const SPAN_ID: u32 = 2;
    pub(crate) const TRACE_STATE: u32 = 3;
    pub(crate) const ATTRIBUTES: u32 = 4;
    pub(crate) const DROPPED_ATTRIBUTES_COUNT: u32 = 5;
    pub(crate) const FLAGS: u32 = 6;
}

/// `opentelemetry.proto.trace.v1.Status`.
pub(crate) mod status {
    pub(crate) const MESSAGE: u32 = 2;
    pub(crate) const CODE: u32 = 3;
}

/// `opentelemetry.proto.trace.v1.Status.StatusCode`.
pub(crate) mod status_code {
    pub(crate) const OK: u8 = 1;
    pub(crate) const ERROR: u8 = 2;
}

/// `opentelemetry.proto.logs.v1.LogRecord`.
pub(crate) mod log_record {
    pub(crate) const TIME_UNIX_NANO: u32 = 1;
    pub(crate) const SEVERITY_NUMBER: u32 = 2;
    pub(crate) const SEVERITY_TEXT: u32 = 3;
    pub(crate) const BODY: u32 = 5;
    pub(crate) const ATTRIBUTES: u32 = 6;
    pub(crate) const DROPPED_ATTRIBUTES_COUNT: u32 = 7;
    pub(crate) const FLAGS: u32 = 8;
    pub(crate) const TRACE_ID: u32 = 9;
    pub(crate) const SPAN_ID: u32 = 10;
    pub(crate) const OBSERVED_TIME_UNIX_NANO: u32 = 11;
    pub(crate) const EVENT_NAME: u32 = 12;
}

/// `opentelemetry.proto.logs.v1.SeverityNumber`.
pub(crate) mod severity_number {
    pub(crate) const TRACE: u8 = 1;
    pub(crate) const TRACE2: u8 = 2;
    pub(crate) const TRACE3: u8 = 3;
    pub(crate) const TRACE4: u8 = 4;
    pub(crate) const DEBUG: u8 = 5;
    pub(crate) const DEBUG2: u8 = 6;
    pub(crate) const DEBUG3: u8 = 7;
    pub(crate) const DEBUG4: u8 = 8;
    pub(crate) const INFO: u8 = 9;
    pub(crate) const INFO2: u8 = 10;
    pub(crate) const INFO3: u8 = 11;
    pub(crate) const INFO4: u8 = 12;
    pub(crate) const WARN: u8 = 13;
    pub(crate) const WARN2: u8 = 14;
    pub(crate) const WARN3: u8 = 15;
    pub(crate) const WARN4: u8 = 16;
    pub(crate) const ERROR: u8 = 17;
    pub(crate) const ERROR2: u8 = 18;
    pub(crate) const ERROR3: u8 = 19;
    pub(crate) const ERROR4: u8 = 20;
    pub(crate) const FATAL: u8 = 21;
    pub(crate) const FATAL2: u8 = 22;
    pub(crate) const FATAL3: u8 = 23;
    pub(crate) const FATAL4: u8 = 24;
}

/// `opentelemetry.proto.logs.v1.LogRecordFlags`.
pub(crate) mod log_record_flags {
    pub(crate) const TRACE_FLAGS_MASK: u32 = 0xff;
}

/// `opentelemetry.proto.metrics.v1.Metric`; the oneof `data` is 5, 7, 9, 10 and 11.
pub(crate) mod metric {
    pub(crate) const NAME: u32 = 1;
    pub(crate) const DESCRIPTION: u32 = 2;
    pub(crate) const UNIT: u32 = 3;
    pub(crate) const GAUGE: u32 = 5;
    pub(crate) const SUM: u32 = 7;
    pub(crate) const HISTOGRAM: u32 = 9;
    pub(crate) const EXPONENTIAL_HISTOGRAM: u32 = 10;
    pub(crate) const SUMMARY: u32 = 11;
    pub(crate) const METADATA: u32 = 12;
}

/// `Gauge`, `Sum`, `Histogram`, `ExponentialHistogram` and `Summary` of `opentelemetry.proto.metrics.v1`.
pub(crate) mod metric_data {
    pub(crate) const DATA_POINTS: u32 = 1;
    /// Not of `Gauge` and `Summary`.
    pub(crate) const AGGREGATION_TEMPORALITY: u32 = 2;
    /// Of `Sum` only.
    pub(crate) const IS_MONOTONIC: u32 = 3;
}

/// `opentelemetry.proto.metrics.v1.AggregationTemporality`.
pub(crate) mod aggregation_temporality {
    pub(crate) const DELTA: u8 = 1;
    pub(crate) const CUMULATIVE: u8 = 2;
}

/// `opentelemetry.proto.metrics.v1.DataPointFlags`.
pub(crate) mod data_point_flags {
    pub(crate) const NO_RECORDED_VALUE_MASK: u32 = 1;
}

/// `opentelemetry.proto.metrics.v1.NumberDataPoint`; the oneof `value` is 4 and 6.
pub(crate) mod number_data_point {
    pub(crate) const START_TIME_UNIX_NANO: u32 = 2;
    pub(crate) const TIME_UNIX_NANO: u32 = 3;
    pub(crate) const AS_DOUBLE: u32 = 4;
    pub(crate) const EXEMPLARS: u32 = 5;
    pub(crate) const AS_INT: u32 = 6;
    pub(crate) const ATTRIBUTES: u32 = 7;
    pub(crate) const FLAGS: u32 = 8;
}

/// `opentelemetry.proto.metrics.v1.HistogramDataPoint`.
pub(crate) mod histogram_data_point {
    pub(crate) const START_TIME_UNIX_NANO: u32 = 2;
    pub(crate) const TIME_UNIX_NANO: u32 = 3;
    pub(crate) const COUNT: u32 = 4;
    pub(crate) const SUM: u32 = 5;
    pub(crate) const BUCKET_COUNTS: u32 = 6;
    pub(crate) const EXPLICIT_BOUNDS: u32 = 7;
    pub(crate) const EXEMPLARS: u32 = 8;
    pub(crate) const ATTRIBUTES: u32 = 9;
    pub(crate) const FLAGS: u32 = 10;
    pub(crate) const MIN: u32 = 11;
    pub(crate) const MAX: u32 = 12;
}

/// `opentelemetry.proto.metrics.v1.ExponentialHistogramDataPoint`.
pub(crate) mod exponential_histogram_data_point {
    pub(crate) const ATTRIBUTES: u32 = 1;
    pub(crate) const START_TIME_UNIX_NANO: u32 = 2;
    pub(crate) const TIME_UNIX_NANO: u32 = 3;
    pub(crate) const COUNT: u32 = 4;
    pub(crate) const SUM: u32 = 5;
    pub(crate) const SCALE: u32 = 6;
    pub(crate) const ZERO_COUNT: u32 = 7;
    pub(crate) const POSITIVE: u32 = 8;
    pub(crate) const NEGATIVE: u32 = 9;
    pub(crate) const FLAGS: u32 = 10;
    pub(crate) const EXEMPLARS: u32 = 11;
    pub(crate) const MIN: u32 = 12;
    pub(crate) const MAX: u32 = 13;
    pub(crate) const ZERO_THRESHOLD: u32 = 14;
}

/// `opentelemetry.proto.metrics.v1.ExponentialHistogramDataPoint.Buckets`.
pub(crate) mod buckets {
    pub(crate) const OFFSET: u32 = 1;
    pub(crate) const BUCKET_COUNTS: u32 = 2;
}

/// `opentelemetry.proto.metrics.v1.SummaryDataPoint`.
pub(crate) mod summary_data_point {
    pub(crate) const START_TIME_UNIX_NANO: u32 = 2;
    pub(crate) const TIME_UNIX_NANO: u32 = 3;
    pub(crate) const COUNT: u32 = 4;
    pub(crate) const SUM: u32 = 5;
    pub(crate) const QUANTILE_VALUES: u32 = 6;
    pub(crate) const ATTRIBUTES: u32 = 7;
    pub(crate) const FLAGS: u32 = 8;
}

/// `opentelemetry.proto.metrics.v1.SummaryDataPoint.ValueAtQuantile`.
pub(crate) mod value_at_quantile {
    pub(crate) const QUANTILE: u32 = 1;
    pub(crate) const VALUE: u32 = 2;
}

/// `opentelemetry.proto.metrics.v1.Exemplar`; the oneof `value` is 3 and 6.
pub(crate) mod exemplar {
    pub(crate) const TIME_UNIX_NANO: u32 = 2;
    pub(crate) const AS_DOUBLE: u32 = 3;
    pub(crate) const SPAN_ID: u32 = 4;
    pub(crate) const TRACE_ID: u32 = 5;
    pub(crate) const AS_INT: u32 = 6;
    pub(crate) const FILTERED_ATTRIBUTES: u32 = 7;
}

/// The responses: `ExportTraceServiceResponse` and its siblings.
pub(crate) mod export_response {
    pub(crate) const PARTIAL_SUCCESS: u32 = 1;
}

/// `ExportTracePartialSuccess` and its siblings.
pub(crate) mod partial_success {
    /// `rejected_spans`, `rejected_log_records`, `rejected_data_points`.
    pub(crate) const REJECTED: u32 = 1;
    pub(crate) const ERROR_MESSAGE: u32 = 2;
}

/// `google.rpc.Status`, and what is read of its details: `google.protobuf.Any` with a
/// `google.rpc.RetryInfo`, which holds a `google.protobuf.Duration`.
pub(crate) mod rpc_status {
    pub(crate) const CODE: u32 = 1;
    pub(crate) const MESSAGE: u32 = 2;
    pub(crate) const DETAILS: u32 = 3;
    pub(crate) const ANY_TYPE_URL: u32 = 1;
    pub(crate) const ANY_VALUE: u32 = 2;
    pub(crate) const RETRY_INFO_DELAY: u32 = 1;
    pub(crate) const DURATION_SECONDS: u32 = 1;
    pub(crate) const DURATION_NANOS: u32 = 2;
}

#[cfg(test)]
pub(crate) mod tests;
