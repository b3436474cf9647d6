//! What the specification's variables of the SDK say
//! (`configuration/sdk-environment-variables.md`).

#[cfg(feature = "otel_0_33")]
use std::time::Duration;

#[cfg(feature = "otel_0_33")]
use super::OfSdk;
use super::So;
use super::reader::Env;
use super::table::{Reader, TABLE};
use crate::diagnostics::Level;
use crate::model::{Signal, SignalExporter};

/// A way for context to travel between services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagator {
    /// W3C Trace Context.
    TraceContext,
    /// W3C Baggage.
    Baggage,
}

/// Who gets each signal, in the order of [`Signal::ALL`].
pub(super) fn exporters(env: &mut Env<'_>) -> [Option<SignalExporter>; Signal::ALL.len()] {
    let names = ["OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER"];
    let signals = Signal::ALL.into_iter().zip(names);
    let mut found = signals.map(|(signal, name)| env.for_signal(signal, |env| exporter(env, name)));
    // As many as there are signals.
    [(); Signal::ALL.len()].map(|()| found.next().flatten())
}

fn exporter(env: &mut Env<'_>, name: &'static str) -> Option<SignalExporter> {
    let known = known_words(env, name, "exporter", SignalExporter::named)?;
    if known.len() > 1 {
        env.tell(name, So::Changed, format!("it names several; the first, {}, applies", known[0]));
    }
    known.first().copied()
}

/// Which diagnostics are delivered.
pub(super) fn level(env: &mut Env<'_>) -> Option<Level> {
    env.first_word("level", &["OTEL_LOG_LEVEL"], Level::named).map(|given| given.value)
}

/// What is for who sets up providers.
#[cfg(feature = "otel_0_33")]
pub(super) fn of_sdk(env: &mut Env<'_>) -> OfSdk {
    let propagators = propagators(env);
    let interval = env.positive(INTERVAL, "0 would collect without a pause");
    OfSdk { propagators, metric_interval: interval.map(Duration::from_millis) }
}

/// Checks what is not read here, so that it is not ignored in silence.
pub(super) fn check(env: &mut Env<'_>) {
    #[cfg(not(feature = "otel_0_33"))]
    {
        propagators(env);
        env.number(INTERVAL);
    }
    check_resource(env);
    check_sampler(env);
    for name in ["OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"] {
        env.number(name);
    }
    if let Some(filter) = env.taken_value(FILTER)
        && !filter.eq_ignore_ascii_case("always_off")
    {
        env.warn(FILTER, "opentelemetry_sdk 0.33 records no exemplars");
    }
}

/// Names what has no counterpart here, lest somebody relies on it.
pub(super) fn warn_of_the_unsupported(env: &mut Env<'_>) {
    let rows = TABLE.iter().filter(|row| row.reader == Reader::Nobody);
    for (name, row) in rows.flat_map(|row| row.names.iter().map(move |name| (*name, row))) {
        if env.value(name).is_some() {
            env.warn(name, row.effect);
        }
    }
}

/// The ways for context to travel; words that mean nothing are left out.
fn propagators(env: &mut Env<'_>) -> Option<Vec<Propagator>> {
    let known = known_words(env, PROPAGATORS, "propagator", propagator)?;
    let mut propagators = Vec::new();
    for propagator in known.into_iter().flatten() {
        if !propagators.contains(&propagator) {
            propagators.push(propagator);
        }
    }
    Some(propagators)
}

/// The words of a list that `known` knows; the others are told of. `None` if it knows none.
fn known_words<T>(
    env: &mut Env<'_>,
    name: &'static str,
    what: &str,
    known: fn(&str) -> Option<T>,
) -> Option<Vec<T>> {
    let list = env.value(name)?;
    let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for word in words {
        match known(word) {
            Some(value) => found.push(value),
            None => unknown.push(word),
        }
    }
    let so = if found.is_empty() { So::Ignored } else { So::Changed };
    for word in unknown {
        env.tell(name, so, format!("{word:?} is not a known {what}"));
    }
    (!found.is_empty()).then(|| env.take(name))?;
    Some(found)
}

/// The propagator that `word` names, in any case; `none` is known and is none.
fn propagator(word: &str) -> Option<Option<Propagator>> {
    let known = [
        ("none", None),
        ("tracecontext", Some(Propagator::TraceContext)),
        ("baggage", Some(Propagator::Baggage)),
    ];
    known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, it)| it)
}

fn check_resource(env: &mut Env<'_>) {
    env.taken_value("OTEL_SERVICE_NAME");
    let Some(list) = env.taken_value(RESOURCE) else { return };
    for (index, pair) in list.split(',').enumerate() {
        let is_pair = pair.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty());
        if !is_pair && !pair.trim().is_empty() {
            let why = format!("item {} is not of the form key=value", index + 1);
            env.tell(RESOURCE, So::Changed, why);
        }
    }
}

/// The SDK knows samplers by their exact names and falls back in silence.
fn check_sampler(env: &mut Env<'_>) {
    let (sampler, ratio) = (env.taken_value(SAMPLER), env.taken_value(SAMPLER_ARG));
    let sampler = sampler.as_deref().unwrap_or("parentbased_always_on");
    if !SAMPLERS.contains(&sampler) {
        let why = format!("opentelemetry_sdk does not know {sampler:?} and samples everything");
        env.warn(SAMPLER, why);
    }
    let is_ratio = sampler.ends_with("traceidratio");
    match ratio.map(|text| (text.parse::<f64>(), text)) {
        None if is_ratio => env.tell(SAMPLER, So::Changed, "it has no ratio, so all is sampled"),
        Some((Ok(ratio), _)) if is_ratio && (0.0..=1.0).contains(&ratio) => {}
        Some((_, text)) if is_ratio => {
            env.warn(SAMPLER_ARG, format!("{text:?} is not a number from 0 to 1"));
        }
        Some(_) => env.warn(SAMPLER_ARG, format!("the sampler {sampler} takes no argument")),
        None => {}
    }
}

const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const PROPAGATORS: &str = "OTEL_PROPAGATORS";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
const FILTER: &str = "OTEL_METRICS_EXEMPLAR_FILTER";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
/// What opentelemetry_sdk 0.33 implements.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
