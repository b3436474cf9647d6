//! The three requests of the oracle, and what is compared with them.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::{DecodeError, Message};
use spanwire::Signal;
use spanwire::wire::Malformed;

use super::otlp_views;

/// A request, decoded by prost.
pub(crate) enum Request {
    Traces(ExportTraceServiceRequest),
    Logs(ExportLogsServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

impl Request {
    /// As prost decodes it.
    pub(crate) fn decode(signal: Signal, bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(match signal {
            Signal::Traces => Self::Traces(Message::decode(bytes)?),
            Signal::Logs => Self::Logs(Message::decode(bytes)?),
            _ => Self::Metrics(Message::decode(bytes)?),
        })
    }

    /// As the views show it.
    pub(crate) fn view(signal: Signal, bytes: &[u8]) -> Result<Self, Malformed> {
        Ok(match signal {
            Signal::Traces => Self::Traces(otlp_views::traces(bytes)?),
            Signal::Logs => Self::Logs(otlp_views::logs(bytes)?),
            _ => Self::Metrics(otlp_views::metrics(bytes)?),
        })
    }

    /// As opentelemetry-proto's serde reads it.
    #[allow(dead_code, reason = "not all of those who share this read JSON")]
    pub(crate) fn of_json(signal: Signal, json: &str) -> Self {
        let read = match signal {
            Signal::Traces => serde_json::from_str(json).map(Self::Traces),
            Signal::Logs => serde_json::from_str(json).map(Self::Logs),
            _ => serde_json::from_str(json).map(Self::Metrics),
        };
        read.expect("it is OTLP/JSON")
    }

    /// As prost encodes it.
    #[allow(dead_code, reason = "not all of those who share this encode")]
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Traces(request) => request.encode_to_vec(),
            Self::Logs(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
        }
    }

    /// As opentelemetry-proto's serde has it.
    pub(crate) fn json(&self) -> serde_json::Value {
        let json = match self {
            Self::Traces(request) => serde_json::to_value(request),
            Self::Logs(request) => serde_json::to_value(request),
            Self::Metrics(request) => serde_json::to_value(request),
        };
        json.expect("every request can be JSON")
    }

    /// All that views show, in a form in which a NaN is equal to itself. They do not tell a value
    /// that is absent from one that is empty, and do not show what is in development.
    pub(crate) fn shown(mut self) -> String {
        match &mut self {
            Self::Traces(request) => {
                forget(request.resource_spans.iter_mut().map(|group| &mut group.resource));
            }
            Self::Logs(request) => {
                forget(request.resource_logs.iter_mut().map(|group| &mut group.resource));
            }
            Self::Metrics(request) => {
                forget(request.resource_metrics.iter_mut().map(|group| &mut group.resource));
            }
        }
        let shown = match self {
            Self::Traces(request) => format!("{request:#?}"),
            Self::Logs(request) => format!("{request:#?}"),
            Self::Metrics(request) => format!("{request:#?}"),
        };
        with_values(&shown)
    }
}

fn forget<'r>(resources: impl Iterator<Item = &'r mut Option<Resource>>) {
    resources.flatten().for_each(|resource| resource.entity_refs.clear());
}

/// An absent value as an empty one, and no index into the strings of profiles: no line of the rest
/// looks like these.
fn with_values(shown: &str) -> String {
    let mut lines = Vec::new();
    for line in shown.lines().map(str::trim) {
        lines.push(line);
        if let [.., "value: Some(", "StringValueStrindex(", _, "),", "),"] = lines[..] {
            lines.truncate(lines.len() - 5);
            lines.push("value: None,");
        }
        if line.starts_with("key_strindex:") {
            lines.pop();
            if lines.pop_if(|line| *line == "value: None,").is_some() {
                lines.extend(["value: Some(", "AnyValue {", "value: None,", "},", "),"]);
            }
        }
    }
    lines.join("\n")
}
