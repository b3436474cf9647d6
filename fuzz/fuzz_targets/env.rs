//! The environment's variables, with arbitrary values.
//!
//! Promises: no panic; an empty variable is an unset one; every variable that is set has a
//! standing, and one that is ignored or refused a reason; an error names a variable that is set;
//! values of headers, and what stands in their place, are never shown.
//!
//! Each line of an input is `NAME=value`, so corpus files are readable. Where the name is none of
//! the table, the line's first byte chooses one and the rest is the value. The values of headers
//! get a secret in front, by which they would be recognised.
#![no_main]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use spanwire::internals::env_from_os;
use spanwire::{Explanation, Exporter, Standing};

type Variables = BTreeMap<&'static str, Vec<u8>>;

fuzz_target!(|input: &[u8]| {
    let variables = Arc::new(variables(input));
    let explanation = explain(&variables, None);
    let shown = format!("{explanation} {explanation:?}");
    assert!(!shown.contains(SECRET), "a secret is shown: {shown}");
    let with_empty = explain(&variables, Some(" \t"));
    assert_eq!(shown, format!("{with_empty} {with_empty:?}"), "empty is unset");
    check(&explanation, &variables);
});

fn explain(variables: &Arc<Variables>, otherwise: Option<&'static str>) -> Explanation {
    let variables = Arc::clone(variables);
    let lookup = move |name: &str| match variables.get(name) {
        Some(value) => Some(OsString::from_vec(value.clone())),
        // What tells a CGI program from others is not in the table.
        None if name == "REQUEST_METHOD" => None,
        None => otherwise.map(OsString::from),
    };
    env_from_os(Exporter::builder(), lookup).explain()
}

fn check(explanation: &Explanation, variables: &Variables) {
    for variable in &explanation.variables {
        let is_set = variables.get(variable.name).is_some_and(|value| !is_blank(value));
        assert_eq!(variable.standing != Standing::Unset, is_set, "{variable:?}");
        assert_eq!(variable.value.is_some(), is_set, "{variable:?}");
        let needs_reason = matches!(variable.standing, Standing::Ignored | Standing::Refused);
        assert!(!needs_reason || !variable.remarks.is_empty(), "{variable:?}");
    }
    if let Some(error) = &explanation.error {
        let source = error.source_name().unwrap_or_default();
        assert!(variables.contains_key(source), "{error} is of a variable that is set");
        assert!(error.to_string().contains(source), "{error} names {source}");
    }
}

fn is_blank(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|value| value.trim().is_empty())
}

/// What an input sets.
fn variables(input: &[u8]) -> Variables {
    let mut variables = Variables::new();
    for line in input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let (name, value) = named(line).unwrap_or_else(|| numbered(line));
        let is_secret = name.ends_with("_HEADERS");
        let value = if is_secret { with_secrets(value) } else { value.to_vec() };
        variables.insert(name, value);
    }
    variables
}

fn named(line: &[u8]) -> Option<(&'static str, &[u8])> {
    let at = line.iter().position(|byte| *byte == b'=')?;
    let name = names().iter().find(|name| name.as_bytes() == &line[..at])?;
    Some((name, &line[at + 1..]))
}

fn numbered(line: &[u8]) -> (&'static str, &[u8]) {
    let names = names();
    (names[usize::from(line[0]) % names.len()], &line[1..])
}

/// Each value of a list of headers with a secret in front, and each item without a value as well.
fn with_secrets(list: &[u8]) -> Vec<u8> {
    let items = list.split(|byte| *byte == b',').filter(|item| !is_blank(item));
    let items = items.map(|item| {
        let at = item.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
        [&item[..at], SECRET.as_bytes(), &item[at..]].concat()
    });
    items.collect::<Vec<_>>().join(&b","[..])
}

/// Those of the table.
fn names() -> &'static [&'static str] {
    static NAMES: OnceLock<Vec<&'static str>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let explanation = Exporter::builder().env_from(|_| None).explain();
        explanation.variables.iter().map(|variable| variable.name).collect()
    })
}

/// Nothing that anybody prints by chance.
const SECRET: &str = "c3BhbndpcmU6c2VjcmV0";
