//! The guide speaks of everything that a user can set, and of every text that a user can meet.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_failure_of_an_export_is_in_the_guide() {
    let source = read("exporter/src/model/outcome.rs");
    let texts = strings_of_method(&source, "fn what(&self)");
    let page = read("docs/guide/troubleshooting.md");
    let missing: Vec<_> = texts
        .iter()
        .map(|text| text.trim_end_matches(" HTTP/1.1"))
        .filter(|text| !page.contains(text))
        .collect();
    assert!(texts.len() > 5, "{texts:?}");
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_method_of_the_builder_is_in_the_guide() {
    let methods: Vec<_> = builder_sources().iter().flat_map(|path| methods_of(path)).collect();
    let page = read("docs/guide/configuration.md");
    let missing: Vec<_> = methods
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")) && !page.contains(&format!("`{name}(")))
        .collect();
    assert!(methods.len() > 20, "{methods:?}");
    assert_eq!(missing, Vec::<&String>::new());
}

#[test]
fn every_row_of_the_environment_is_in_the_guide() {
    let table = read("exporter/src/env/table.rs");
    let ids: Vec<_> = table
        .split("row(")
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix("\"E"))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let page = read("docs/guide/configuration.md");
    let missing: Vec<_> = ids.iter().filter(|id| !page.contains(&format!("| E{id} |"))).collect();
    assert!(ids.len() > 30, "{ids:?}");
    assert_eq!(missing, Vec::<&&str>::new());
}

/// The string literals of a method that stands at the depth of an `impl`.
fn strings_of_method<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let body = source.split(name).nth(1).and_then(|rest| rest.split("\n    }").next());
    body.expect("the method is there").split('"').skip(1).step_by(2).collect()
}

fn builder_sources() -> Vec<PathBuf> {
    let folder = root().join("exporter/src/builder");
    let inside = fs::read_dir(&folder).expect("the builder's folder");
    let mut sources: Vec<_> = inside.map(|entry| entry.expect("an entry").path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    sources.push(root().join("exporter/src/builder.rs"));
    sources
}

/// The public methods that a source declares at the depth of an `impl Builder`.
fn methods_of(path: &Path) -> Vec<String> {
    let source = fs::read_to_string(path).expect("a source");
    let blocks = source.split("impl Builder {").skip(1).filter_map(|rest| rest.split("\n}").next());
    let declarations =
        blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("    pub fn "));
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    declarations.map(name).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}
