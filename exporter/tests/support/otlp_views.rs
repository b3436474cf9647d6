//! What the views of `spanwire::wire` show, as the types of the oracle.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use spanwire::wire;
use spanwire::wire::{AnyValue, Attributes, Malformed, MetricData, Number, Request};

type Read<T> = Result<T, Malformed>;

pub(crate) fn traces(request: &[u8]) -> Read<ExportTraceServiceRequest> {
    let resource_spans = collect(Request::traces(request).resources(), |group| {
        Ok(trace::ResourceSpans {
            resource: group.resource()?.map(resource).transpose()?,
            scope_spans: collect(group.scopes(), |group| {
                Ok(trace::ScopeSpans {
                    scope: group.scope()?.map(scope).transpose()?,
                    spans: collect(group.records(), span)?,
                    schema_url: group.schema_url()?.into(),
                })
            })?,
            schema_url: group.schema_url()?.into(),
        })
    })?;
    Ok(ExportTraceServiceRequest { resource_spans })
}

pub(crate) fn logs(request: &[u8]) -> Read<ExportLogsServiceRequest> {
    let resource_logs = collect(Request::logs(request).resources(), |group| {
        Ok(logs::ResourceLogs {
            resource: group.resource()?.map(resource).transpose()?,
            scope_logs: collect(group.scopes(), |group| {
                Ok(logs::ScopeLogs {
                    scope: group.scope()?.map(scope).transpose()?,
                    log_records: collect(group.records(), log_record)?,
                    schema_url: group.schema_url()?.into(),
                })
            })?,
            schema_url: group.schema_url()?.into(),
        })
    })?;
    Ok(ExportLogsServiceRequest { resource_logs })
}

pub(crate) fn metrics(request: &[u8]) -> Read<ExportMetricsServiceRequest> {
    let resource_metrics = collect(Request::metrics(request).resources(), |group| {
        Ok(metrics::ResourceMetrics {
            resource: group.resource()?.map(resource).transpose()?,
            scope_metrics: collect(group.scopes(), |group| {
                Ok(metrics::ScopeMetrics {
                    scope: group.scope()?.map(scope).transpose()?,
                    metrics: collect(group.records(), metric)?,
                    schema_url: group.schema_url()?.into(),
                })
            })?,
            schema_url: group.schema_url()?.into(),
        })
    })?;
    Ok(ExportMetricsServiceRequest { resource_metrics })
}

fn collect<V, T>(
    views: impl Iterator<Item = Read<V>>,
    make: impl Fn(V) -> Read<T>,
) -> Read<Vec<T>> {
    views.map(|view| make(view?)).collect()
}

fn resource(view: wire::Resource<'_>) -> Read<Resource> {
    let attributes = pairs(view.attributes())?;
    let dropped_attributes_count = view.dropped_attributes_count()?;
    Ok(Resource { attributes, dropped_attributes_count, entity_refs: Vec::new() })
}

fn scope(view: wire::Scope<'_>) -> Read<common::InstrumentationScope> {
    Ok(common::InstrumentationScope {
        name: view.name()?.into(),
        version: view.version()?.into(),
        attributes: pairs(view.attributes())?,
        dropped_attributes_count: view.dropped_attributes_count()?,
    })
}

/// Also by key: the last of the pairs with the same one.
fn pairs(views: Attributes<'_>) -> Read<Vec<common::KeyValue>> {
    let found = collect(views.clone(), |(key, value)| {
        Ok(common::KeyValue { key: key.into(), value: Some(any(value)?), key_strindex: 0 })
    })?;
    for pair in &found {
        let last =
            found.iter().rfind(|other| other.key == pair.key).and_then(|pair| pair.value.clone());
        let by_key = views.get(&pair.key)?.map(any).transpose()?;
        assert_eq!(format!("{by_key:?}"), format!("{last:?}"), "{:?}", pair.key);
    }
    Ok(found)
}

fn any(view: AnyValue<'_>) -> Read<common::AnyValue> {
    use common::any_value::Value;
    let value = match view {
        AnyValue::Empty => return Ok(common::AnyValue::default()),
        AnyValue::String(text) => Value::StringValue(text.into()),
        AnyValue::Bool(value) => Value::BoolValue(value),
        AnyValue::Int(value) => Value::IntValue(value),
        AnyValue::Double(value) => Value::DoubleValue(value),
        AnyValue::Bytes(bytes) => Value::BytesValue(bytes.into()),
        AnyValue::Array(array) => {
            Value::ArrayValue(common::ArrayValue { values: collect(array, any)? })
        }
        AnyValue::KeyValues(map) => {
            Value::KvlistValue(common::KeyValueList { values: pairs(map)? })
        }
        other => panic!("{other:?} is new"),
    };
    Ok(common::AnyValue { value: Some(value) })
}

fn span(view: wire::Span<'_>) -> Read<trace::Span> {
    Ok(trace::Span {
        trace_id: view.trace_id()?.into(),
        span_id: view.span_id()?.into(),
        trace_state: view.trace_state()?.into(),
        parent_span_id: view.parent_span_id()?.into(),
        flags: view.flags()?,
        name: view.name()?.into(),
        kind: view.kind()?,
        start_time_unix_nano: view.start_time_unix_nano()?,
        end_time_unix_nano: view.end_time_unix_nano()?,
        attributes: pairs(view.attributes())?,
        dropped_attributes_count: view.dropped_attributes_count()?,
        events: collect(view.events(), event)?,
        dropped_events_count: view.dropped_events_count()?,
        links: collect(view.links(), link)?,
        dropped_links_count: view.dropped_links_count()?,
        status: view.status()?.map(status).transpose()?,
    })
}

fn event(view: wire::Event<'_>) -> Read<trace::span::Event> {
    Ok(trace::span::Event {
        time_unix_nano: view.time_unix_nano()?,
        name: view.name()?.into(),
        attributes: pairs(view.attributes())?,
        dropped_attributes_count: view.dropped_attributes_count()?,
    })
}

fn link(view: wire::Link<'_>) -> Read<trace::span::Link> {
    Ok(trace::span::Link {
        trace_id: view.trace_id()?.into(),
        span_id: view.span_id()?.into(),
        trace_state: view.trace_state()?.into(),
        attributes: pairs(view.attributes())?,
        dropped_attributes_count: view.dropped_attributes_count()?,
        flags: view.flags()?,
    })
}

fn status(view: wire::Status<'_>) -> Read<trace::Status> {
    Ok(trace::Status { message: view.message()?.into(), code: view.code()? })
}

fn log_record(view: wire::LogRecord<'_>) -> Read<logs::LogRecord> {
    Ok(logs::LogRecord {
        time_unix_nano: view.time_unix_nano()?,
        observed_time_unix_nano: view.observed_time_unix_nano()?,
        severity_number: view.severity_number()?,
        severity_text: view.severity_text()?.into(),
        body: view.body()?.map(any).transpose()?,
        attributes: pairs(view.attributes())?,
        dropped_attributes_count: view.dropped_attributes_count()?,
        flags: view.flags()?,
        trace_id: view.trace_id()?.into(),
        span_id: view.span_id()?.into(),
        event_name: view.event_name()?.into(),
    })
}

fn metric(view: wire::Metric<'_>) -> Read<metrics::Metric> {
    Ok(metrics::Metric {
        name: view.name()?.into(),
        description: view.description()?.into(),
        unit: view.unit()?.into(),
        metadata: pairs(view.metadata())?,
        data: view.data()?.map(data).transpose()?,
    })
}

fn data(view: MetricData<'_>) -> Read<metrics::metric::Data> {
    use metrics::metric::Data;
    Ok(match view {
        MetricData::Gauge(view) => {
            Data::Gauge(metrics::Gauge { data_points: collect(view.points(), number_point)? })
        }
        MetricData::Sum(view) => Data::Sum(metrics::Sum {
            data_points: collect(view.points(), number_point)?,
            aggregation_temporality: view.aggregation_temporality()?,
            is_monotonic: view.is_monotonic()?,
        }),
        MetricData::Histogram(view) => Data::Histogram(metrics::Histogram {
            data_points: collect(view.points(), histogram_point)?,
            aggregation_temporality: view.aggregation_temporality()?,
        }),
        MetricData::ExponentialHistogram(view) => {
            Data::ExponentialHistogram(metrics::ExponentialHistogram {
                data_points: collect(view.points(), exponential_point)?,
                aggregation_temporality: view.aggregation_temporality()?,
            })
        }
        MetricData::Summary(view) => {
            Data::Summary(metrics::Summary { data_points: collect(view.points(), summary_point)? })
        }
        other => panic!("{other:?} is new"),
    })
}

fn number_point(view: wire::NumberPoint<'_>) -> Read<metrics::NumberDataPoint> {
    use metrics::number_data_point::Value;
    Ok(metrics::NumberDataPoint {
        attributes: pairs(view.attributes())?,
        start_time_unix_nano: view.start_time_unix_nano()?,
        time_unix_nano: view.time_unix_nano()?,
        exemplars: collect(view.exemplars(), exemplar)?,
        flags: view.flags()?,
        value: view.value()?.map(|value| match value {
            Number::Double(value) => Value::AsDouble(value),
            Number::Int(value) => Value::AsInt(value),
        }),
    })
}

fn histogram_point(view: wire::HistogramPoint<'_>) -> Read<metrics::HistogramDataPoint> {
    Ok(metrics::HistogramDataPoint {
        attributes: pairs(view.attributes())?,
        start_time_unix_nano: view.start_time_unix_nano()?,
        time_unix_nano: view.time_unix_nano()?,
        count: view.count()?,
        sum: view.sum()?,
        bucket_counts: view.bucket_counts().collect::<Read<_>>()?,
        explicit_bounds: view.explicit_bounds().collect::<Read<_>>()?,
        exemplars: collect(view.exemplars(), exemplar)?,
        flags: view.flags()?,
        min: view.min()?,
        max: view.max()?,
    })
}

fn exponential_point(
    view: wire::ExponentialHistogramPoint<'_>,
) -> Read<metrics::ExponentialHistogramDataPoint> {
    Ok(metrics::ExponentialHistogramDataPoint {
        attributes: pairs(view.attributes())?,
        start_time_unix_nano: view.start_time_unix_nano()?,
        time_unix_nano: view.time_unix_nano()?,
        count: view.count()?,
        sum: view.sum()?,
        scale: view.scale()?,
        zero_count: view.zero_count()?,
        positive: view.positive()?.map(buckets).transpose()?,
        negative: view.negative()?.map(buckets).transpose()?,
        flags: view.flags()?,
        exemplars: collect(view.exemplars(), exemplar)?,
        min: view.min()?,
        max: view.max()?,
        zero_threshold: view.zero_threshold()?,
    })
}

fn buckets(view: wire::Buckets<'_>) -> Read<Buckets> {
    let bucket_counts = view.bucket_counts().collect::<Read<_>>()?;
    Ok(Buckets { offset: view.offset()?, bucket_counts })
}

fn summary_point(view: wire::SummaryPoint<'_>) -> Read<metrics::SummaryDataPoint> {
    Ok(metrics::SummaryDataPoint {
        attributes: pairs(view.attributes())?,
        start_time_unix_nano: view.start_time_unix_nano()?,
        time_unix_nano: view.time_unix_nano()?,
        count: view.count()?,
        sum: view.sum()?,
        quantile_values: collect(view.quantile_values(), |view| {
            Ok(ValueAtQuantile { quantile: view.quantile()?, value: view.value()? })
        })?,
        flags: view.flags()?,
    })
}

fn exemplar(view: wire::Exemplar<'_>) -> Read<metrics::Exemplar> {
    use metrics::exemplar::Value;
    Ok(metrics::Exemplar {
        filtered_attributes: pairs(view.filtered_attributes())?,
        time_unix_nano: view.time_unix_nano()?,
        span_id: view.span_id()?.into(),
        trace_id: view.trace_id()?.into(),
        value: view.value()?.map(|value| match value {
            Number::Double(value) => Value::AsDouble(value),
            Number::Int(value) => Value::AsInt(value),
        }),
    })
}
