//! Records of OTLP/JSON, by the serde of opentelemetry-proto.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use prost::Message as _;

use crate::shape::Signal;

/// The same request in protobuf; `None` when `body` is not a request of this signal.
pub fn to_protobuf(signal: Signal, body: &[u8]) -> Option<Vec<u8>> {
    match signal {
        Signal::Traces => serde_json::from_slice::<ExportTraceServiceRequest>(body)
            .ok()
            .map(|r| r.encode_to_vec()),
        Signal::Logs => {
            serde_json::from_slice::<ExportLogsServiceRequest>(body).ok().map(|r| r.encode_to_vec())
        }
        Signal::Metrics => serde_json::from_slice::<ExportMetricsServiceRequest>(body)
            .ok()
            .map(|r| r.encode_to_vec()),
    }
}
