//! What is measured: which signal, and how large one record of it is.

use std::fmt;

use opentelemetry::{Key, KeyValue, StringValue, Value};

/// A signal of OpenTelemetry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Signal {
    /// Spans.
    #[default]
    Traces,
    /// Log records.
    Logs,
    /// Data points of metrics.
    Metrics,
}

impl Signal {
    /// All of them, in the order of the specification.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// `traces`, `logs` or `metrics`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }

    /// What one record of it is called, in the plural.
    pub fn records(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Logs => "log records",
            Self::Metrics => "points",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How large one record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// No attributes, no event; a point has one attribute.
    Bare,
    /// A span has 10 attributes and an event with 2; a log record and a point have 5.
    #[default]
    Typical,
    /// 40 attributes; a span has an event as well.
    Heavy,
    /// 10 attributes, each a key of 20 characters and a string of 20, as OpenTelemetry's
    /// specification of performance benchmarks has it; no event.
    Spec,
}

impl Shape {
    /// `bare`, `typical`, `heavy` or `spec`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Typical => "typical",
            Self::Heavy => "heavy",
            Self::Spec => "spec",
        }
    }

    /// Whether a span of this shape carries the event.
    pub fn has_event(self) -> bool {
        matches!(self, Self::Typical | Self::Heavy)
    }

    /// The attributes of the span number `variant`.
    pub fn span_attributes(self, variant: usize) -> Vec<Attribute> {
        match self {
            Self::Bare => Vec::new(),
            Self::Typical => typical(variant),
            Self::Heavy => heavy(variant),
            Self::Spec => spec(variant),
        }
    }

    /// The attributes of a log record or a point: as many as a span's, but 5 in the typical one.
    pub fn record_attributes(self, variant: usize) -> Vec<Attribute> {
        let mut attributes = self.span_attributes(variant);
        if self == Self::Typical {
            attributes.truncate(5);
        }
        attributes
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An attribute as a program has it: the key is a literal, the value a literal, a number, or a
/// string that was built at run time.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// The key.
    pub key: &'static str,
    /// The value.
    pub value: Plain,
}

/// A value of an [`Attribute`].
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {
    /// A literal.
    Literal(&'static str),
    /// A string built at run time: whoever wants to own it has to copy it.
    Built(String),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A floating point number.
    Double(f64),
}

impl Attribute {
    /// Through the OpenTelemetry API: a copy of the string, as a program would hand it over.
    pub fn to_key_value(&self) -> KeyValue {
        let value = match &self.value {
            Plain::Literal(text) => Value::String(StringValue::from(*text)),
            Plain::Built(text) => Value::String(StringValue::from(text.clone())),
            Plain::Int(value) => Value::I64(*value),
            Plain::Bool(value) => Value::Bool(*value),
            Plain::Double(value) => Value::F64(*value),
        };
        KeyValue::new(Key::from_static_str(self.key), value)
    }
}

/// 5 strings of 5 to 40 characters, two of them built at run time, 3 integers, a bool, a double.
fn typical(variant: usize) -> Vec<Attribute> {
    let number = variant as i64;
    vec![
        literal("http.request.method", "PATCH"),
        literal("http.route", "/api/v1/products/{id}/reviews/latest"),
        built("url.path", format!("/api/v1/products/{variant:06}/reviews/latest")),
        built("enduser.id", format!("customer-{variant:012}")),
        literal("server.address", "shop-frontend.example.internal"),
        Attribute { key: "http.response.status_code", value: Plain::Int(200) },
        Attribute { key: "http.response.body.size", value: Plain::Int(4096 + number) },
        Attribute { key: "server.port", value: Plain::Int(8443) },
        Attribute { key: "cache.hit", value: Plain::Bool(variant.is_multiple_of(2)) },
        Attribute { key: "app.discount.ratio", value: Plain::Double(0.125 * variant as f64) },
    ]
}

/// The typical ones four times, each time under other keys.
fn heavy(variant: usize) -> Vec<Attribute> {
    let blocks = HEAVY_KEYS.into_iter().map(|keys| (keys, typical(variant)));
    blocks
        .flat_map(|(keys, block)| {
            keys.into_iter().zip(block).map(|(key, old)| Attribute { key, ..old })
        })
        .collect()
}

fn spec(variant: usize) -> Vec<Attribute> {
    SPEC_KEYS
        .into_iter()
        .enumerate()
        .map(|(index, key)| built(key, format!("value-{index:02}-{variant:011}")))
        .collect()
}

fn literal(key: &'static str, value: &'static str) -> Attribute {
    Attribute { key, value: Plain::Literal(value) }
}

fn built(key: &'static str, value: String) -> Attribute {
    Attribute { key, value: Plain::Built(value) }
}

/// Four blocks of keys that are as long as the typical ones.
const HEAVY_KEYS: [[&str; 10]; 4] = [
    [
        "http.request.method",
        "http.route",
        "url.path",
        "enduser.id",
        "server.address",
        "http.response.status_code",
        "http.response.body.size",
        "server.port",
        "cache.hit",
        "app.discount.ratio",
    ],
    [
        "rpc.request.method",
        "rpc.method",
        "rpc.path",
        "peer.owner",
        "client.address",
        "rpc.response.status_code",
        "rpc.response.body.size",
        "client.port",
        "retry.hit",
        "app.sampling.ratio",
    ],
    [
        "job.request.method",
        "job.method",
        "job.path",
        "job.author",
        "broker.address",
        "job.response.status_code",
        "job.response.body.size",
        "broker.port",
        "queue.hit",
        "app.priority.ratio",
    ],
    [
        "sql.request.method",
        "sql.method",
        "sql.path",
        "sql.author",
        "tables.address",
        "sql.response.status_code",
        "sql.response.body.size",
        "tables.port",
        "index.hit",
        "app.coverage.ratio",
    ],
];

/// 20 characters each.
const SPEC_KEYS: [&str; 10] = [
    "benchmark.attribute0",
    "benchmark.attribute1",
    "benchmark.attribute2",
    "benchmark.attribute3",
    "benchmark.attribute4",
    "benchmark.attribute5",
    "benchmark.attribute6",
    "benchmark.attribute7",
    "benchmark.attribute8",
    "benchmark.attribute9",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_shape_has_the_attributes_that_its_name_promises() {
        for (shape, span, record) in [
            (Shape::Bare, 0, 0),
            (Shape::Typical, 10, 5),
            (Shape::Heavy, 40, 40),
            (Shape::Spec, 10, 10),
        ] {
            let attributes = shape.span_attributes(3);
            assert_eq!(attributes.len(), span, "{shape}");
            assert_eq!(shape.record_attributes(3).len(), record, "{shape}");
            let keys: HashSet<_> = attributes.iter().map(|attribute| attribute.key).collect();
            assert_eq!(keys.len(), span, "{shape}: no key twice");
        }
    }

    #[test]
    fn the_attributes_of_the_specification_are_20_and_20_characters() {
        for attribute in Shape::Spec.span_attributes(63) {
            let Plain::Built(value) = &attribute.value else { panic!("{attribute:?}") };
            assert_eq!((attribute.key.len(), value.len()), (20, 20), "{attribute:?}");
        }
    }
}
