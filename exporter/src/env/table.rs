//! Every environment variable that the specification, or this crate, gives a meaning: the one
//! table that `Builder::explain`, the `spanwire env` command and the tests go by.
//!
//! Source: opentelemetry-specification, protocol/exporter.md and
//! configuration/sdk-environment-variables.md.

/// One setting and the variables that it can be given by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Names the row in docs/CONFORMANCE.md.
    pub(crate) id: &'static str,
    /// Those of a signal before the generic one, which holds for the others.
    pub(crate) names: &'static [&'static str],
    /// Unit or form of the value.
    pub(crate) takes: &'static str,
    /// What holds if none is set.
    pub(crate) default: &'static str,
    /// What sets the same in code.
    pub(crate) code: &'static str,
    /// What follows from it.
    pub(crate) effect: &'static str,
    /// Who acts on it.
    pub(crate) reader: Reader,
    /// What of a value may be shown.
    pub(crate) shows: Shows,
}

/// Who acts on a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// `Builder::build`.
    Exporter,
    /// `spanwire::init`, which sets up providers.
    Init,
    /// `opentelemetry_sdk`, by itself; here it is only checked.
    Sdk,
    /// Nobody: whoever sets it is warned.
    Nobody,
}

/// What of a variable's value may be shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// All of it.
    Value,
    /// Neither user name, password nor query.
    Url,
    /// The names of headers.
    HeaderNames,
}

const fn row(id: &'static str, names: &'static [&'static str], reader: Reader) -> Row {
    Row { id, names, takes: "", default: "", code: "", effect: "", reader, shows: Shows::Value }
}

impl Row {
    const fn takes(self, takes: &'static str, default: &'static str) -> Self {
        Self { takes, default, ..self }
    }

    const fn code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    const fn effect(self, effect: &'static str) -> Self {
        Self { effect, ..self }
    }

    const fn shows(self, shows: Shows) -> Self {
        Self { shows, ..self }
    }
}

/// The variables of the three signals, and the generic one.
macro_rules! otlp {
    ($what:literal) => {
        &[
            concat!("OTEL_EXPORTER_OTLP_TRACES_", $what),
            concat!("OTEL_EXPORTER_OTLP_LOGS_", $what),
            concat!("OTEL_EXPORTER_OTLP_METRICS_", $what),
            concat!("OTEL_EXPORTER_OTLP_", $what),
        ]
    };
}

/// In the order of the specification.
pub(crate) static TABLE: &[Row] = &[
    row("E1", otlp!("ENDPOINT"), Reader::Exporter)
        .takes("URL", "http://localhost:4318, or http://localhost:4317 for grpc")
        .code("Builder::endpoint, traces_endpoint, logs_endpoint, metrics_endpoint")
        .effect(
            "the generic one is a base, to which /v1/traces and its like are appended; that of a \
             signal is used as it is",
        )
        .shows(Shows::Url),
    row(
        "E2",
        &[
            "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
            "OTEL_EXPORTER_OTLP_SPAN_INSECURE",
            "OTEL_EXPORTER_OTLP_LOGS_INSECURE",
            "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
            "OTEL_EXPORTER_OTLP_METRIC_INSECURE",
            "OTEL_EXPORTER_OTLP_INSECURE",
        ],
        Reader::Exporter,
    )
    .takes("true or false", "false")
    .code("Builder::insecure")
    .effect("whether a grpc endpoint without a scheme is spoken to in clear; a scheme decides itself"),
    row("E3", otlp!("CERTIFICATE"), Reader::Exporter)
        .takes("path of a PEM file", "the platform's certificates")
        .code("Builder::tls")
        .effect("who may have signed the collector's certificate; https endpoints only"),
    row("E4", otlp!("CLIENT_KEY"), Reader::Exporter)
        .takes("path of a PEM file", "none")
        .code("Builder::tls")
        .effect("the key by which we prove who we are; needs a client certificate too"),
    row("E5", otlp!("CLIENT_CERTIFICATE"), Reader::Exporter)
        .takes("path of a PEM file", "none")
        .code("Builder::tls")
        .effect("the certificate by which we prove who we are; needs a client key too"),
    row("E6", otlp!("HEADERS"), Reader::Exporter)
        .takes("name=value,name=value, percent-encoded", "none")
        .code("Builder::header, headers")
        .effect("sent with every request; merged by name, that of the signal wins")
        .shows(Shows::HeaderNames),
    row("E7", otlp!("COMPRESSION"), Reader::Exporter)
        .takes("none, gzip or zstd", "none")
        .code("Builder::compression")
        .effect("fewer bytes on the wire for more CPU time; zstd is beyond the specification"),
    row("E8", otlp!("TIMEOUT"), Reader::Exporter)
        .takes("milliseconds, 0 is no limit", "10000")
        .code("Builder::timeout")
        .effect("bounds one attempt to deliver a request; for metrics, all attempts of a collection"),
    row("E9", otlp!("PROTOCOL"), Reader::Exporter)
        .takes("http/protobuf, http/json or grpc", "http/protobuf")
        .code("Builder::protocol")
        .effect("how requests are framed and encoded"),
    row("E10", &["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"], Reader::Exporter)
        .takes("cumulative, delta or lowmemory", "cumulative")
        .code("Builder::metrics_temporality")
        .effect("over which interval the points of metrics are reported"),
    row("E11", &["OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"], Reader::Exporter)
        .takes(
            "explicit_bucket_histogram or base2_exponential_bucket_histogram",
            "explicit_bucket_histogram",
        )
        .code("Builder::metrics_histograms")
        .effect("the buckets of histograms, in providers of init or with preferred_histograms"),
    row(
        "E12",
        &["OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER"],
        Reader::Exporter,
    )
    .takes("otlp, console (or otlp/stdout), none", "otlp")
    .code("Builder::signal_exporter")
    .effect("who gets a signal: a collector, the standard output as OTLP/JSON, or nobody"),
    row("E13", &["OTEL_SDK_DISABLED"], Reader::Exporter)
        .takes("true or false", "false")
        .code("Builder::disabled")
        .effect("true: nothing is exported, of no signal; propagators stay"),
    row("E14", &["OTEL_RESOURCE_ATTRIBUTES"], Reader::Sdk)
        .takes("key=value,key=value, percent-encoded", "none")
        .code("Init::resource")
        .effect("attributes of the resource of all signals"),
    row("E15", &["OTEL_SERVICE_NAME"], Reader::Sdk)
        .takes("text", "unknown_service:<program>")
        .code("Init::resource")
        .effect("service.name of the resource; beats OTEL_RESOURCE_ATTRIBUTES"),
    row("E16", &["OTEL_ENTITIES"], Reader::Nobody)
        .takes("entities", "none")
        .code("none")
        .effect("not supported, and opentelemetry_sdk has no entities: use OTEL_RESOURCE_ATTRIBUTES"),
    row("E17", &["OTEL_LOG_LEVEL"], Reader::Exporter)
        .takes("none, error, warn, info (debug and trace are as info)", "info")
        .code("Builder::diagnostic_level")
        .effect("which diagnostics of the exporter are delivered"),
    row("E18", &["OTEL_PROPAGATORS"], Reader::Init)
        .takes("list of tracecontext, baggage; or none", "tracecontext,baggage")
        .code("Init::propagator")
        .effect("how context travels between services, with init"),
    row("E19", &["OTEL_TRACES_SAMPLER"], Reader::Sdk)
        .takes(
            "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off \
             or parentbased_traceidratio",
            "parentbased_always_on",
        )
        .code("Init::tracer_provider (with_sampler)")
        .effect("which spans are recorded and exported"),
    row("E20", &["OTEL_TRACES_SAMPLER_ARG"], Reader::Sdk)
        .takes("a number from 0 to 1, for the ratio samplers", "1.0")
        .code("Init::tracer_provider (with_sampler)")
        .effect("which part of the traces is sampled"),
    row("E21", &["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY"], Reader::Exporter)
        .takes("milliseconds", "1000")
        .code("Builder::batch_age")
        .effect("how long spans, or log records, wait for company"),
    row("E22", &["OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_EXPORT_TIMEOUT"], Reader::Exporter)
        .takes("milliseconds, 0 is no limit", "300000")
        .code("Builder::export_timeout")
        .effect("bounds the delivery of one batch with all its attempts; then it is dropped"),
    row("E23", &["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_QUEUE_SIZE"], Reader::Exporter)
        .takes("records", "16 MiB")
        .code("Builder::buffer_bytes")
        .effect("the buffer holds so many records of 1 KiB, at least 1 MiB; what finds it full is dropped"),
    row(
        "E24",
        &["OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"],
        Reader::Exporter,
    )
    .takes("records, at most the queue's", "no limit but 512 KiB")
    .code("Builder::batch_records")
    .effect("at most so many records a request"),
    row("E25", &["OTEL_BSP_MAX_CONCURRENT_EXPORTS"], Reader::Exporter)
        .takes("requests, 1 to 64", "4")
        .code("Builder::in_flight")
        .effect("requests of traces in flight at once"),
    row("E26", &["OTEL_METRIC_EXPORT_INTERVAL"], Reader::Init)
        .takes("milliseconds", "60000")
        .code("Init::metric_interval")
        .effect("how often metrics are collected, with init"),
    row("E27", &["OTEL_METRIC_EXPORT_TIMEOUT"], Reader::Exporter)
        .takes("milliseconds, 0 is no limit", "that of one attempt")
        .code("Builder::export_timeout")
        .effect("bounds the export of one collection with all its attempts"),
    row("E28", &["OTEL_METRICS_EXEMPLAR_FILTER"], Reader::Sdk)
        .takes("always_on, always_off or trace_based", "trace_based")
        .code("none")
        .effect("opentelemetry_sdk 0.33 records no exemplars: always_off is all there is"),
    row("E29", &["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"], Reader::Exporter)
        .takes("characters", "no limit")
        .code("Builder::attribute_value_len_max")
        .effect("longer strings in attributes are cut"),
    row("E30", &["OTEL_ATTRIBUTE_COUNT_LIMIT"], Reader::Exporter)
        .takes("attributes", "128")
        .code("Builder::attribute_count_max")
        .effect("attributes beyond it are dropped, and counted in the record"),
    row("E31", &["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"], Reader::Exporter)
        .takes("characters", "the general limit")
        .code("Builder::span_attribute_value_len_max")
        .effect("the same for spans, their events and links"),
    row("E32", &["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"], Reader::Exporter)
        .takes("attributes", "128")
        .code("Builder::span_attribute_count_max")
        .effect("the same for spans; opentelemetry_sdk applies it as well"),
    row("E33", &["OTEL_SPAN_EVENT_COUNT_LIMIT"], Reader::Sdk)
        .takes("events", "128")
        .code("Init::tracer_provider (with_max_events_per_span)")
        .effect("events of a span beyond it are dropped, and counted in the span"),
    row("E34", &["OTEL_SPAN_LINK_COUNT_LIMIT"], Reader::Sdk)
        .takes("links", "128")
        .code("Init::tracer_provider (with_max_links_per_span)")
        .effect("links of a span beyond it are dropped, and counted in the span"),
    row("E35", &["OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"], Reader::Exporter)
        .takes("attributes", "the general limit")
        .code("Builder::event_attribute_count_max")
        .effect("attributes of an event beyond it are dropped, and counted in the event"),
    row("E36", &["OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"], Reader::Exporter)
        .takes("attributes", "the general limit")
        .code("Builder::link_attribute_count_max")
        .effect("attributes of a link beyond it are dropped, and counted in the link"),
    row("E37", &["OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT"], Reader::Exporter)
        .takes("characters", "the general limit")
        .code("Builder::log_attribute_value_len_max")
        .effect("longer strings in attributes of log records are cut"),
    row("E38", &["OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT"], Reader::Exporter)
        .takes("attributes", "128")
        .code("Builder::log_attribute_count_max")
        .effect("attributes of a log record beyond it are dropped, and counted in the record"),
    row("E39", &["OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"], Reader::Nobody)
        .takes("path of a YAML file", "none")
        .code("Builder")
        .effect("not supported: the other variables apply"),
    row("E40", &["SPANWIRE_IO"], Reader::Exporter)
        .takes("auto, uring or epoll", "auto")
        .code("Builder::io")
        .effect("which driver moves the bytes; uring fails where it is denied, auto falls back"),
    row("E41", &["http_proxy", "HTTP_PROXY"], Reader::Exporter)
        .takes("URL of an HTTP proxy", "the one for all")
        .code("Builder::proxy")
        .effect(
            "who is asked for a tunnel to http:// endpoints elsewhere than on this machine; with \
             REQUEST_METHOD (CGI) the lower case alone",
        )
        .shows(Shows::Url),
    row("E42", &["https_proxy", "HTTPS_PROXY"], Reader::Exporter)
        .takes("URL of an HTTP proxy", "the one for all")
        .code("Builder::proxy")
        .effect("the same for https:// endpoints")
        .shows(Shows::Url),
    row("E43", &["all_proxy", "ALL_PROXY"], Reader::Exporter)
        .takes("URL of an HTTP proxy", "none")
        .code("Builder::proxy")
        .effect("the same for endpoints that have no proxy of their scheme")
        .shows(Shows::Url),
    row("E44", &["no_proxy", "NO_PROXY"], Reader::Exporter)
        .takes("list of names, addresses, networks, each with :port or not; or *", "none")
        .code("Builder::no_proxy")
        .effect("endpoints that are connected to directly"),
];
