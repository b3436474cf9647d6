//! The import law of the exporter, as docs/ARCHITECTURE.md states it: stages never name each
//! other, so each can be replaced, or become a crate, in one mechanical commit.

#[path = "support/scan.rs"]
mod scan;

use std::collections::BTreeSet;
use std::path::Path;

use scan::{Law, Offence, offences, offences_in};

/// Plain data and its vocabulary; below everything else.
const BASE: [&str; 5] = ["model", "wire", "stats", "error", "diagnostics"];
/// One step of a span's way each. They meet in the pipeline only.
const STAGES: [&str; 5] = ["encode", "batch", "compress", "retry", "transport"];
/// Where telemetry and settings come in.
const DOORS: [&str; 2] = ["ingest", "env"];

/// Who may name whom, bottom up.
fn law() -> Law {
    Law::new()
        .may(&BASE, &BASE)
        .may(&STAGES, &BASE)
        .may(&["pipeline"], &BASE)
        .may(&["pipeline"], &STAGES)
        .may(&DOORS, &BASE)
        .may(&DOORS, &["encode", "pipeline"])
        // A door is opened on the handle that users hold.
        .may(&["ingest"], &["exporter"])
        .joins(&[scan::ROOT, "exporter", "builder", "init"])
}

#[test]
fn no_module_names_a_higher_layer_and_no_stage_another() {
    let found = offences(&law(), &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let report: String = found.iter().map(|offence| format!("\n  {offence}")).collect();
    assert!(found.is_empty(), "the import law is broken:{report}");
}

#[test]
fn a_planted_violation_is_found() {
    let cases = [
        // (module, source, what is wrong)
        ("retry", "use crate::batch::Batch;", "`retry` must not name `batch`"),
        ("batch", "use super::transport;", "`batch` must not name `transport`"),
        (
            "transport",
            "use crate::{model, pipeline::Flush};",
            "`transport` must not name `pipeline`",
        ),
        ("model", "use crate::encode;", "`model` must not name `encode`"),
        ("wire", "fn f() { crate::ingest::x() }", "`wire` must not name `ingest`"),
        ("ingest", "use crate::transport;", "`ingest` must not name `transport`"),
        ("pipeline", "use crate::ingest;", "`pipeline` must not name `ingest`"),
        ("pipeline", "use crate::Exporter;", "`pipeline` must not name `lib`"),
        ("env", "use crate::exporter::Exporter;", "`env` must not name `exporter`"),
    ];
    for (module, source, what) in cases {
        let found: Vec<_> = check(module, source).into_iter().map(|offence| offence.what).collect();
        assert_eq!(found, [what], "in `{module}`: {source}");
    }
}

#[test]
fn what_the_law_allows_is_not_an_offence() {
    let cases = [
        ("pipeline", "use crate::{batch, encode, retry, transport, model, stats};"),
        ("ingest", "use crate::{encode, pipeline, wire}; use crate::exporter::Exporter;"),
        ("transport", "use crate::{error, model, wire}; use spanwire_runtime::net;"),
        ("builder", "use crate::{env, pipeline, transport};"),
        ("batch", "#[cfg(test)]\nmod tests {\n    use crate::encode;\n}"),
    ];
    for (module, source) in cases {
        assert_eq!(check(module, source), [], "in `{module}`: {source}");
    }
}

/// The offences of a `mod.rs` whose text is `source`.
fn check(module: &str, source: &str) -> Vec<Offence> {
    let known = [&BASE[..], &STAGES, &DOORS, &["pipeline", "exporter", "builder"]].concat();
    let tops: BTreeSet<_> = known.into_iter().map(String::from).collect();
    let file = Path::new("src").join(module).join("mod.rs");
    offences_in(&law(), &tops, &file, &[module.into()], source)
}
