//! What OTLP's messages are in JSON: a table, which a test compares with the descriptors.

use crate::wire::fields as number;

/// A message.
#[derive(Debug)]
pub(super) struct Layout {
    /// At most [`FIELDS_MAX`], in the order of their numbers, which is that of the JSON.
    pub(super) fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    /// Its number.
    pub(super) number: u32,
    /// Its name in JSON.
    pub(super) name: &'static str,
    /// Its type.
    pub(super) kind: Kind,
    /// When it is there.
    pub(super) presence: Presence,
}

/// A type of protobuf, and what it is in JSON.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// string: a string.
    Text,
    /// bytes: base64.
    Bytes,
    /// bytes that are a trace id or a span id: hexadecimal (OTLP's deviation from base64).
    Id,
    /// bool: true or false.
    Bool,
    /// int32 or an enum: a number (for enums, OTLP's deviation from names).
    Int32,
    /// uint32: a number.
    Uint32,
    /// sint32: a number.
    Sint32,
    /// fixed32: a number.
    Fixed32,
    /// int64: a string of digits, because the numbers of JSON are doubles.
    Int64,
    /// uint64: the same.
    Uint64,
    /// fixed64: the same.
    Fixed64,
    /// sfixed64: the same.
    Sfixed64,
    /// double: a number; NaN and infinities are strings.
    Double,
    /// An index into strings that only profiles have: never written.
    Alpha,
    /// A message: an object.
    Message(&'static Layout),
}

/// When a field is in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// When its value is not the default of proto3.
    Value,
    /// When it was written: messages, and what is `optional`.
    Field,
    /// When it was written and no other member of the oneof after it. No message has two oneofs.
    Oneof,
    /// When it has elements: an array.
    Repeated,
}

use Kind::{
    Alpha, Bool, Bytes, Double, Fixed32, Fixed64, Id, Int32, Int64, Message, Sfixed64, Sint32,
    Text, Uint32, Uint64,
};
use Presence::{Field as Set, Oneof, Repeated, Value};

/// `LAYOUT of module { presence CONSTANT "name" kind, ... }`, where `module::CONSTANT` is a number.
macro_rules! layouts {
    ($($(#[$doc:meta])* $layout:ident of $module:ident {
        $($presence:ident $constant:ident $name:literal $kind:expr;)+
    })+) => {$(
        $(#[$doc])*
        pub(super) static $layout: Layout = Layout {
            fields: &[$(Field {
                number: number::$module::$constant,
                name: $name,
                kind: $kind,
                presence: $presence,
            }),+],
        };
    )+};
}

layouts! {
    /// `ExportTraceServiceRequest`, `TracesData`.
    TRACES of export_request { Repeated RESOURCES "resourceSpans" Message(&RESOURCE_SPANS); }
    /// `ExportLogsServiceRequest`, `LogsData`.
    LOGS of export_request { Repeated RESOURCES "resourceLogs" Message(&RESOURCE_LOGS); }
    /// `ExportMetricsServiceRequest`, `MetricsData`.
    METRICS of export_request { Repeated RESOURCES "resourceMetrics" Message(&RESOURCE_METRICS); }
    RESOURCE_SPANS of resource_records {
        Set RESOURCE "resource" Message(&RESOURCE);
        Repeated SCOPES "scopeSpans" Message(&SCOPE_SPANS);
        Value SCHEMA_URL "schemaUrl" Text;
    }
    RESOURCE_LOGS of resource_records {
        Set RESOURCE "resource" Message(&RESOURCE);
        Repeated SCOPES "scopeLogs" Message(&SCOPE_LOGS);
        Value SCHEMA_URL "schemaUrl" Text;
    }
    RESOURCE_METRICS of resource_records {
        Set RESOURCE "resource" Message(&RESOURCE);
        Repeated SCOPES "scopeMetrics" Message(&SCOPE_METRICS);
        Value SCHEMA_URL "schemaUrl" Text;
    }
    SCOPE_SPANS of scope_records {
        Set SCOPE "scope" Message(&SCOPE);
        Repeated RECORDS "spans" Message(&SPAN);
        Value SCHEMA_URL "schemaUrl" Text;
    }
    SCOPE_LOGS of scope_records {
        Set SCOPE "scope" Message(&SCOPE);
        Repeated RECORDS "logRecords" Message(&LOG_RECORD);
        Value SCHEMA_URL "schemaUrl" Text;
    }
    SCOPE_METRICS of scope_records {
        Set SCOPE "scope" Message(&SCOPE);
        Repeated RECORDS "metrics" Message(&METRIC);
        Value SCHEMA_URL "schemaUrl" Text;
    }
    RESOURCE of resource {
        Repeated ATTRIBUTES "attributes" Message(&KEY_VALUE);
        Value DROPPED_ATTRIBUTES_COUNT "droppedAttributesCount" Uint32;
        Repeated ENTITY_REFS "entityRefs" Message(&ENTITY_REF);
    }
    ENTITY_REF of entity_ref {
        Value SCHEMA_URL "schemaUrl" Text;
        Value TYPE "type" Text;
        Repeated ID_KEYS "idKeys" Text;
        Repeated DESCRIPTION_KEYS "descriptionKeys" Text;
    }
    SCOPE of instrumentation_scope {
        Value NAME "name" Text;
        Value VERSION "version" Text;
        Repeated ATTRIBUTES "attributes" Message(&KEY_VALUE);
        Value DROPPED_ATTRIBUTES_COUNT "droppedAttributesCount" Uint32;
    }
    KEY_VALUE of key_value {
        Value KEY "key" Text;
        Set VALUE "value" Message(&ANY_VALUE);
        Value KEY_STRINDEX "keyStrindex" Alpha;
    }
    ANY_VALUE of any_value {
        Oneof STRING_VALUE "stringValue" Text;
        Oneof BOOL_VALUE "boolValue" Bool;
        Oneof INT_VALUE "intValue" Int64;
        Oneof DOUBLE_VALUE "doubleValue" Double;
        Oneof ARRAY_VALUE "arrayValue" Message(&ARRAY_VALUE);
        Oneof KVLIST_VALUE "kvlistValue" Message(&KEY_VALUE_LIST);
        Oneof BYTES_VALUE "bytesValue" Bytes;
        Oneof STRING_VALUE_STRINDEX "stringValueStrindex" Alpha;
    }
    ARRAY_VALUE of array_value { Repeated VALUES "values" Message(&ANY_VALUE); }
    KEY_VALUE_LIST of key_value_list { Repeated VALUES "values" Message(&KEY_VALUE); }
    SPAN of span {
        Value TRACE_ID "traceId" Id;
        Value SPAN_ID "spanId" Id;
        Value TRACE_STATE "traceState" Text;
        Value PARENT_SPAN_ID "parentSpanId" Id;
        Value NAME "name" Text;
        Value KIND "kind" Int32;
        Value START_TIME_UNIX_NANO "startTimeUnixNano" Fixed64;
        Value END_TIME_UNIX_NANO "endTimeUnixNano" Fixed64;
        Repeated ATTRIBUTES "attributes" Message(&KEY_VALUE);
        Value DROPPED_ATTRIBUTES_COUNT "droppedAttributesCount" Uint32;
        Repeated EVENTS "events" Message(&EVENT);
        Value DROPPED_EVENTS_COUNT "droppedEventsCount" Uint32;
        Repeated LINKS "links" Message(&LINK);
        Value DROPPED_LINKS_COUNT "droppedLinksCount" Uint32;
        Set STATUS "status" Message(&STATUS);
        Value FLAGS "flags" Fixed32;
    }
    EVENT of event {
        Value TIME_UNIX_NANO "timeUnixNano" Fixed64;
        Value NAME "name" Text;
        Repeated ATTRIBUTES "attributes" Message(&KEY_VALUE);
        Value DROPPED_ATTRIBUTES_COUNT "droppedAttributesCount" Uint32;
    }
    LINK of link {
        Value TRACE_ID "traceId" Id;
        Value SPAN_ID "spanId" Id;
        Value TRACE_STATE "traceState" Text;
        Repeated ATTRIBUTES "attributes" Message(&KEY_VALUE);
        Value DROPPED_ATTRIBUTES_COUNT "droppedAttributesCount" Uint32;
        Value FLAGS "flags" Fixed32;
    }
    STATUS of status {
        Value MESSAGE "message" Text;
        Value CODE "code" Int32;
    }
    LOG_RECORD of log_record {
        Value TIME_UNIX_NANO "timeUnixNano" Fixed64;
        Value SEVERITY_NUMBER "severityNumber" Int32;
        Value SEVERITY_TEXT "severityText" Text;
        Set BODY "body" Message(&ANY_VALUE);
        Repeated ATTRIBUTES "attributes" Message(&KEY_VALUE);
        Value DROPPED_ATTRIBUTES_COUNT "droppedAttributesCount" Uint32;
        Value FLAGS "flags" Fixed32;
        Value TRACE_ID "traceId" Id;
        Value SPAN_ID "spanId" Id;
        Value OBSERVED_TIME_UNIX_NANO "observedTimeUnixNano" Fixed64;
        Value EVENT_NAME "eventName" Text;
    }
    METRIC of metric {
        Value NAME "name" Text;
        Value DESCRIPTION "description" Text;
        Value UNIT "unit" Text;
        Oneof GAUGE "gauge" Message(&GAUGE);
        Oneof SUM "sum" Message(&SUM);
        Oneof HISTOGRAM "histogram" Message(&HISTOGRAM);
        Oneof EXPONENTIAL_HISTOGRAM "exponentialHistogram" Message(&EXPONENTIAL_HISTOGRAM);
        Oneof SUMMARY "summary" Message(&SUMMARY);
        Repeated METADATA "metadata" Message(&KEY_VALUE);
    }
    GAUGE of metric_data { Repeated DATA_POINTS "dataPoints" Message(&NUMBER_POINT); }
    SUM of metric_data {
        Repeated DATA_POINTS "dataPoints" Message(&NUMBER_POINT);
        Value AGGREGATION_TEMPORALITY "aggregationTemporality" Int32;
        Value IS_MONOTONIC "isMonotonic" Bool;
    }
    HISTOGRAM of metric_data {
        Repeated DATA_POINTS "dataPoints" Message(&HISTOGRAM_POINT);
        Value AGGREGATION_TEMPORALITY "aggregationTemporality" Int32;
    }
    EXPONENTIAL_HISTOGRAM of metric_data {
        Repeated DATA_POINTS "dataPoints" Message(&EXPONENTIAL_POINT);
        Value AGGREGATION_TEMPORALITY "aggregationTemporality" Int32;
    }
    SUMMARY of metric_data { Repeated DATA_POINTS "dataPoints" Message(&SUMMARY_POINT); }
    NUMBER_POINT of number_data_point {
        Value START_TIME_UNIX_NANO "startTimeUnixNano" Fixed64;
        Value TIME_UNIX_NANO "timeUnixNano" Fixed64;
        Oneof AS_DOUBLE "asDouble" Double;
        Repeated EXEMPLARS "exemplars" Message(&EXEMPLAR);
        Oneof AS_INT "asInt" Sfixed64;
        Repeated ATTRIBUTES "attributes" Message(&KEY_VALUE);
        Value FLAGS "flags" Uint32;
    }
    HISTOGRAM_POINT of histogram_data_point {
        Value START_TIME_UNIX_NANO "startTimeUnixNano" Fixed64;
        Value TIME_UNIX_NANO "timeUnixNano" Fixed64;
        Value COUNT "count" Fixed64;
        Set SUM "sum" Double;
        Repeated BUCKET_COUNTS "bucketCounts" Fixed64;
        Repeated EXPLICIT_BOUNDS "explicitBounds" Double;
        Repeated EXEMPLARS "exemplars" Message(&EXEMPLAR);
        Repeated ATTRIBUTES "attributes" Message(&KEY_VALUE);
        Value FLAGS "flags" Uint32;
        Set MIN "min" Double;
        Set MAX "max" Double;
    }
    EXPONENTIAL_POINT of exponential_histogram_data_point {
        Repeated ATTRIBUTES "attributes" Message(&KEY_VALUE);
        Value START_TIME_UNIX_NANO "startTimeUnixNano" Fixed64;
        Value TIME_UNIX_NANO "timeUnixNano" Fixed64;
        Value COUNT "count" Fixed64;
        Set SUM "sum" Double;
        Value SCALE "scale" Sint32;
        Value ZERO_COUNT "zeroCount" Fixed64;
        Set POSITIVE "positive" Message(&BUCKETS);
        Set NEGATIVE "negative" Message(&BUCKETS);
        Value FLAGS "flags" Uint32;
        Repeated EXEMPLARS "exemplars" Message(&EXEMPLAR);
        Set MIN "min" Double;
        Set MAX "max" Double;
        Value ZERO_THRESHOLD "zeroThreshold" Double;
    }
    BUCKETS of buckets {
        Value OFFSET "offset" Sint32;
        Repeated BUCKET_COUNTS "bucketCounts" Uint64;
    }
    SUMMARY_POINT of summary_data_point {
        Value START_TIME_UNIX_NANO "startTimeUnixNano" Fixed64;
        Value TIME_UNIX_NANO "timeUnixNano" Fixed64;
        Value COUNT "count" Fixed64;
        Value SUM "sum" Double;
        Repeated QUANTILE_VALUES "quantileValues" Message(&QUANTILE);
        Repeated ATTRIBUTES "attributes" Message(&KEY_VALUE);
        Value FLAGS "flags" Uint32;
    }
    QUANTILE of value_at_quantile {
        Value QUANTILE "quantile" Double;
        Value VALUE "value" Double;
    }
    EXEMPLAR of exemplar {
        Value TIME_UNIX_NANO "timeUnixNano" Fixed64;
        Oneof AS_DOUBLE "asDouble" Double;
        Value SPAN_ID "spanId" Id;
        Value TRACE_ID "traceId" Id;
        Oneof AS_INT "asInt" Sfixed64;
        Repeated FILTERED_ATTRIBUTES "filteredAttributes" Message(&KEY_VALUE);
    }
}

/// Fields of the message that has most: `Span`.
pub(super) const FIELDS_MAX: usize = 16;
