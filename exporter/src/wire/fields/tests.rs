//! The table against the descriptors that opentelemetry-proto ships.

use std::collections::{BTreeMap, BTreeSet};

use super::super::read::{Fields, Value};

/// Numbers by name.
type Numbers = BTreeMap<String, u32>;

#[test]
fn every_number_is_the_descriptors_and_none_is_missing() {
    let ours = modules();
    let mut described: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (message, numbers) in descriptors() {
        let Some(module) = module_of(&message) else { continue };
        for (name, number) in numbers {
            let constant = constant_of(&message, &name);
            if constant == IMPLIED {
                continue;
            }
            let found = ours.get(module).and_then(|module| module.get(&constant));
            assert_eq!(found, Some(&number), "{module}::{constant} of {message}");
            described.entry(module).or_default().insert(constant);
        }
    }
    for (module, numbers) in &ours {
        let constants: BTreeSet<_> = numbers.keys().cloned().collect();
        let described = described.remove(module.as_str()).unwrap_or_default();
        assert!(module == "rpc_status" || constants == described, "{module}: {described:?}");
    }
}

/// The module that has the numbers of a message or enum; none for profiles and zpages.
fn module_of(message: &str) -> Option<&'static str> {
    let (package, name) = message.split_once(".v1")?;
    let name = name.strip_prefix('.').filter(|_| package != "tracez")?;
    Some(match name {
        "ResourceSpans" | "ResourceLogs" | "ResourceMetrics" => "resource_records",
        "ScopeSpans" | "ScopeLogs" | "ScopeMetrics" => "scope_records",
        "TracesData" | "LogsData" | "MetricsData" => "export_request",
        "Gauge" | "Sum" | "Histogram" | "ExponentialHistogram" | "Summary" => "metric_data",
        _ if package.starts_with("collector.") && name.ends_with("Request") => "export_request",
        _ if package.starts_with("collector.") && name.ends_with("Response") => "export_response",
        _ if package.starts_with("collector.") => "partial_success",
        // `SummaryDataPoint.ValueAtQuantile` is `value_at_quantile`.
        _ => snake_case(name.rsplit('.').next()?),
    })
}

/// The constant for a field or an enum value.
fn constant_of(message: &str, name: &str) -> String {
    let renamed = match name {
        "resource_spans" | "resource_logs" | "resource_metrics" => "RESOURCES",
        "scope_spans" | "scope_logs" | "scope_metrics" => "SCOPES",
        "spans" | "log_records" | "metrics" => "RECORDS",
        "rejected_spans" | "rejected_log_records" | "rejected_data_points" => "REJECTED",
        "SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK" => "CONTEXT_HAS_IS_REMOTE",
        "SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK" => "CONTEXT_IS_REMOTE",
        _ if name.ends_with("_UNSPECIFIED") || name.ends_with("_DO_NOT_USE") => IMPLIED,
        "STATUS_CODE_UNSET" => IMPLIED,
        _ => "",
    };
    if !renamed.is_empty() {
        return renamed.into();
    }
    // Values of an enum are in capitals and begin with its name.
    let prefix = format!("{}_", module_of(message).unwrap_or_default()).to_uppercase();
    name.strip_prefix(&prefix).unwrap_or(name).to_uppercase()
}

/// Zero of an enum: what an absent field means, so it is never written.
const IMPLIED: &str = "(implied)";

fn snake_case(name: &str) -> &'static str {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake.leak()
}

/// The constants of each module, from the source: so a new one cannot be forgotten here.
fn modules() -> BTreeMap<String, Numbers> {
    let mut modules = BTreeMap::new();
    let mut module = &mut Numbers::new();
    for line in include_str!("../fields.rs").lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("pub(crate) mod ") {
            module = modules.entry(name.trim_end_matches(" {").to_owned()).or_default();
        } else if let Some(constant) = line.strip_prefix("pub(crate) const ") {
            let (name, rest) = constant.split_once(": ").unwrap();
            let number = rest.split_once(" = ").unwrap().1.trim_end_matches(';');
            let hexadecimal = number.strip_prefix("0x");
            let number =
                hexadecimal.map_or_else(|| number.parse(), |hex| u32::from_str_radix(hex, 16));
            assert_eq!(module.insert(name.to_owned(), number.unwrap()), None, "{line}");
        }
    }
    modules
}

/// Numbers of all members of all messages and enums, by the name without
/// `opentelemetry.proto.` (google/protobuf/descriptor.proto has the numbers of its fields).
fn descriptors() -> BTreeMap<String, Numbers> {
    let mut found = BTreeMap::new();
    for file in children(opentelemetry_proto::DESCRIPTORS, 1) {
        let package = text(file, 2).replace("opentelemetry.proto.", "");
        children(file, 4).for_each(|message| add_message(&mut found, &package, message));
        children(file, 5).for_each(|kind| drop(add_members(&mut found, &package, kind, 2, 2)));
    }
    found
}

fn add_message(found: &mut BTreeMap<String, Numbers>, parent: &str, message: &[u8]) {
    let name = add_members(found, parent, message, 2, 3);
    children(message, 3).for_each(|nested| add_message(found, &name, nested));
    children(message, 4).for_each(|kind| drop(add_members(found, &name, kind, 2, 2)));
}

/// Adds the fields of a message or the values of an enum; returns its full name.
fn add_members(
    found: &mut BTreeMap<String, Numbers>,
    parent: &str,
    container: &[u8],
    members: u32,
    number: u32,
) -> String {
    let name = format!("{parent}.{}", text(container, 1));
    let numbers = children(container, members)
        .map(|member| (text(member, 1), varint(member, number).unwrap_or(0) as u32));
    found.insert(name.clone(), numbers.collect());
    name
}

pub(crate) fn children(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields::new(message).filter_map(move |field| match field.unwrap() {
        (found, Value::Len(child)) if found == number => Some(child),
        _ => None,
    })
}

pub(crate) fn text(message: &[u8], number: u32) -> String {
    String::from_utf8(children(message, number).next().unwrap().to_vec()).unwrap()
}

pub(crate) fn varint(message: &[u8], number: u32) -> Option<u64> {
    Fields::new(message).find_map(|field| match field.unwrap() {
        (found, Value::Varint(value)) if found == number => Some(value),
        _ => None,
    })
}
