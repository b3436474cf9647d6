//! The import law of the runtime, as docs/ARCHITECTURE.md states it: lower layers never name
//! higher ones, so any part can be replaced, or become a crate, in one mechanical commit.

#[path = "support/scan.rs"]
mod scan;

use std::collections::BTreeSet;
use std::path::Path;

use scan::{Law, Offence, offences, offences_in};

/// Who may name whom, bottom up.
fn law() -> Law {
    Law::new()
        .chain(&["sys", "sync", "task", "executor"])
        .chain(&["sync", "time"])
        .chain(&["sync", "task", "blocking"])
        .chain(&["sync", "buf", "pipe"])
        .chain(&["sync", "buf", "driver"])
        .chain(&["time", "blocking", "driver", "net"])
        .chain(&["driver", "blocking", "fs"])
        .may(&["compat"], &["task", "time", "net", scan::ROOT])
        .joins(&["runtime", scan::ROOT])
}

#[test]
fn no_module_names_a_higher_layer() {
    let found = offences(&law(), &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let report: String = found.iter().map(|offence| format!("\n  {offence}")).collect();
    assert!(found.is_empty(), "the import law is broken:{report}");
}

#[test]
fn a_planted_violation_is_found() {
    let cases = [
        // (module, source, lines with an offence)
        ("task", "use crate::net::TcpStream;", &[1][..]),
        ("task", "use std::fmt;\nuse crate::{sync::shim, pipe};", &[2]),
        ("task", "use crate::{\n    sync::{a, b},\n    net,\n    driver::{c},\n};", &[3, 4]),
        ("task", "fn f() { crate::driver::x() }", &[1]),
        ("task", "fn f() { $crate::driver::x() }", &[1]),
        ("sync", "pub(in crate::task) struct S;", &[1]),
        ("buf", "use super::pipe::Pipe;", &[1]),
        ("buf", "mod inner {\n    use super::super::pipe;\n}\nuse super::pipe;", &[2, 4]),
        ("time", "use crate::Runtime;", &[1]),
        ("time", "let c = '\"'; use crate::net; let d = '\"';", &[1]),
        ("time", "#[cfg(test)]\nuse crate::net;\nuse crate::net;", &[3]),
    ];
    for (module, source, lines) in cases {
        let found = check(module, source);
        let at: Vec<_> = found.iter().map(|offence| offence.line).collect();
        assert_eq!(at, lines, "in `{module}`: {source}");
    }
    let shown = check("task", "\nuse crate::net;")[0].to_string();
    assert_eq!(shown, "src/task/mod.rs:2: `task` must not name `net`");
}

#[test]
fn what_the_law_allows_is_not_an_offence() {
    let cases = [
        ("executor", "use crate::{sync::shim::Arc, task::JoinHandle};"),
        ("net", "use crate::blocking::spawn; use crate::{driver, time, sync, buf};"),
        ("task", "// use crate::net;\n/* crate::net /* crate::pipe */ */"),
        ("task", "const S: &str = \"crate::net\"; const R: &str = r#\"\"crate::net\"#;"),
        ("task", "mod inner {\n    use super::state;\n}\nuse self::inner::x;"),
        ("task", "#[cfg(test)]\nmod tests {\n    use crate::net;\n    fn f() { if a {} }\n}"),
        ("task", "impl<'a> S<'a> { fn f(c: char) -> bool { c == '\\'' } } // crate::net"),
        ("runtime", "use crate::{net, pipe, executor};"),
    ];
    for (module, source) in cases {
        assert_eq!(check(module, source), [], "in `{module}`: {source}");
    }
}

#[test]
fn a_module_without_a_place_in_the_law_is_an_offence() {
    assert_eq!(check("misc", "")[0].what, "`misc` has no place in the import law");
}

/// The offences of a `mod.rs` whose text is `source`.
fn check(module: &str, source: &str) -> Vec<Offence> {
    let tops = ["sync", "task", "executor", "time", "blocking", "buf", "pipe", "driver", "net"];
    let tops: BTreeSet<_> = tops.into_iter().map(String::from).collect();
    let file = Path::new("src").join(module).join("mod.rs");
    offences_in(&law(), &tops, &file, &[module.into()], source)
}
