//! Field numbers and enum values of opentelemetry-proto 1.10, a module for each message, named
//! as there. A test compares each of them with the generated code of the oracle.

/// `opentelemetry.proto.common.v1.AnyValue`; all of them belong to the oneof `value`.
pub(crate) mod any_value {
    pub(crate) const STRING_VALUE: u32 = 1;
    pub(crate) const BOOL_VALUE: u32 = 2;
    pub(crate) const INT_VALUE: u32 = 3;
    pub(crate) const DOUBLE_VALUE: u32 = 4;
    pub(crate) const ARRAY_VALUE: u32 = 5;
}

/// `opentelemetry.proto.common.v1.ArrayValue`.
pub(crate) mod array_value {
    pub(crate) const VALUES: u32 = 1;
}

/// `opentelemetry.proto.common.v1.KeyValue`.
pub(crate) mod key_value {
    pub(crate) const KEY: u32 = 1;
    pub(crate) const VALUE: u32 = 2;
}

/// `opentelemetry.proto.common.v1.InstrumentationScope`.
pub(crate) mod instrumentation_scope {
    pub(crate) const NAME: u32 = 1;
    pub(crate) const VERSION: u32 = 2;
    pub(crate) const ATTRIBUTES: u32 = 3;
}

/// `opentelemetry.proto.resource.v1.Resource`.
pub(crate) mod resource {
    pub(crate) const ATTRIBUTES: u32 = 1;
}

/// The requests: `ExportTraceServiceRequest` and its siblings for logs and metrics.
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

/// `google.rpc.Status`.
pub(crate) mod rpc_status {
    pub(crate) const CODE: u32 = 1;
    pub(crate) const MESSAGE: u32 = 2;
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::read::{Fields, Value};

    /// Numbers of all fields and enum values, by full name, from the descriptors that
    /// opentelemetry-proto ships (google/protobuf/descriptor.proto has their numbers).
    fn descriptors() -> HashMap<String, u32> {
        let mut numbers = HashMap::new();
        for file in children(opentelemetry_proto::DESCRIPTORS, 1) {
            let package = text(file, 2);
            children(file, 4).for_each(|message| add_message(&mut numbers, &package, message));
            children(file, 5)
                .for_each(|kind| drop(add_members(&mut numbers, &package, kind, 2, 2)));
        }
        numbers
    }

    fn add_message(numbers: &mut HashMap<String, u32>, parent: &str, message: &[u8]) {
        let name = add_members(numbers, parent, message, 2, 3);
        children(message, 3).for_each(|nested| add_message(numbers, &name, nested));
        children(message, 4).for_each(|kind| drop(add_members(numbers, &name, kind, 2, 2)));
    }

    /// Adds the fields of a message or the values of an enum; returns its full name.
    fn add_members(
        numbers: &mut HashMap<String, u32>,
        parent: &str,
        container: &[u8],
        members: u32,
        number: u32,
    ) -> String {
        let name = format!("{parent}.{}", text(container, 1));
        for member in children(container, members) {
            numbers.insert(format!("{name}.{}", text(member, 1)), varint(member, number));
        }
        name
    }

    fn children(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
        Fields::new(message).filter_map(move |field| match field.unwrap() {
            (found, Value::Len(child)) if found == number => Some(child),
            _ => None,
        })
    }

    fn text(message: &[u8], number: u32) -> String {
        String::from_utf8(children(message, number).next().unwrap().to_vec()).unwrap()
    }

    fn varint(message: &[u8], number: u32) -> u32 {
        let value = Fields::new(message).find_map(|field| match field.unwrap() {
            (found, Value::Varint(value)) if found == number => Some(value as u32),
            _ => None,
        });
        value.unwrap_or(0)
    }

    /// `module { CONSTANT = "name in the .proto" }` under the message's full name.
    macro_rules! assert_described {
        ($numbers:expr; $($module:ident = $message:literal { $($constant:ident = $name:literal),+ $(,)? })+) => {
            $($(
                let name = concat!("opentelemetry.proto.", $message, ".", $name);
                let described = $numbers.get(name).copied();
                assert_eq!(described, Some(u32::from(super::$module::$constant)), "{name}");
            )+)+
        };
    }

    #[test]
    fn every_number_is_the_descriptors() {
        let numbers = descriptors();
        assert_described! { numbers;
            any_value = "common.v1.AnyValue" {
                STRING_VALUE = "string_value", BOOL_VALUE = "bool_value", INT_VALUE = "int_value",
                DOUBLE_VALUE = "double_value", ARRAY_VALUE = "array_value",
            }
            array_value = "common.v1.ArrayValue" { VALUES = "values" }
            key_value = "common.v1.KeyValue" { KEY = "key", VALUE = "value" }
            instrumentation_scope = "common.v1.InstrumentationScope" {
                NAME = "name", VERSION = "version", ATTRIBUTES = "attributes",
            }
            resource = "resource.v1.Resource" { ATTRIBUTES = "attributes" }
            export_request = "collector.trace.v1.ExportTraceServiceRequest" {
                RESOURCES = "resource_spans"
            }
            export_request = "collector.logs.v1.ExportLogsServiceRequest" {
                RESOURCES = "resource_logs"
            }
            export_request = "collector.metrics.v1.ExportMetricsServiceRequest" {
                RESOURCES = "resource_metrics"
            }
            resource_records = "trace.v1.ResourceSpans" {
                RESOURCE = "resource", SCOPES = "scope_spans", SCHEMA_URL = "schema_url",
            }
            resource_records = "logs.v1.ResourceLogs" {
                RESOURCE = "resource", SCOPES = "scope_logs", SCHEMA_URL = "schema_url",
            }
            resource_records = "metrics.v1.ResourceMetrics" {
                RESOURCE = "resource", SCOPES = "scope_metrics", SCHEMA_URL = "schema_url",
            }
            scope_records = "trace.v1.ScopeSpans" {
                SCOPE = "scope", RECORDS = "spans", SCHEMA_URL = "schema_url",
            }
            scope_records = "logs.v1.ScopeLogs" {
                SCOPE = "scope", RECORDS = "log_records", SCHEMA_URL = "schema_url",
            }
            scope_records = "metrics.v1.ScopeMetrics" {
                SCOPE = "scope", RECORDS = "metrics", SCHEMA_URL = "schema_url",
            }
            span = "trace.v1.Span" {
                TRACE_ID = "trace_id", SPAN_ID = "span_id", TRACE_STATE = "trace_state",
                PARENT_SPAN_ID = "parent_span_id", NAME = "name", KIND = "kind",
                START_TIME_UNIX_NANO = "start_time_unix_nano",
                END_TIME_UNIX_NANO = "end_time_unix_nano", ATTRIBUTES = "attributes",
                DROPPED_ATTRIBUTES_COUNT = "dropped_attributes_count", EVENTS = "events",
                DROPPED_EVENTS_COUNT = "dropped_events_count", LINKS = "links",
                DROPPED_LINKS_COUNT = "dropped_links_count", STATUS = "status", FLAGS = "flags",
            }
            span_kind = "trace.v1.Span.SpanKind" {
                INTERNAL = "SPAN_KIND_INTERNAL", SERVER = "SPAN_KIND_SERVER",
                CLIENT = "SPAN_KIND_CLIENT", PRODUCER = "SPAN_KIND_PRODUCER",
                CONSUMER = "SPAN_KIND_CONSUMER",
            }
            span_flags = "trace.v1.SpanFlags" {
                CONTEXT_HAS_IS_REMOTE = "SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK",
                CONTEXT_IS_REMOTE = "SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK",
            }
            event = "trace.v1.Span.Event" {
                TIME_UNIX_NANO = "time_unix_nano", NAME = "name", ATTRIBUTES = "attributes",
                DROPPED_ATTRIBUTES_COUNT = "dropped_attributes_count",
            }
            link = "trace.v1.Span.Link" {
                TRACE_ID = "trace_id", SPAN_ID = "span_id", TRACE_STATE = "trace_state",
                ATTRIBUTES = "attributes", DROPPED_ATTRIBUTES_COUNT = "dropped_attributes_count",
                FLAGS = "flags",
            }
            status = "trace.v1.Status" { MESSAGE = "message", CODE = "code" }
            status_code = "trace.v1.Status.StatusCode" {
                OK = "STATUS_CODE_OK", ERROR = "STATUS_CODE_ERROR",
            }
            export_response = "collector.trace.v1.ExportTraceServiceResponse" {
                PARTIAL_SUCCESS = "partial_success"
            }
            partial_success = "collector.trace.v1.ExportTracePartialSuccess" {
                REJECTED = "rejected_spans", ERROR_MESSAGE = "error_message",
            }
        }
    }
}
