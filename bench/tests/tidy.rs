//! House rules of the whole workspace that no compiler checks. It reads sources and papers only.

#[path = "../../runtime/tests/support/scan.rs"]
mod scan;

use std::path::{Path, PathBuf};

use scan::{Token, code, read, tokens, without_tests};

#[test]
fn only_the_shim_names_the_checkers() {
    // Each model is built under one of them alone, so it may say so.
    let exempt = |file: &Path| file.starts_with("loom-tests") || file == Path::new(SHIM);
    assert!(
        names_in_cfg(&tokens(&code(&read(&root().join(SHIM)))), CHECKERS),
        "the shim has moved: {SHIM}"
    );
    assert_none("cfg(loom) or cfg(shuttle) outside of sync/shim.rs", |file, source| {
        !exempt(file) && names_in_cfg(&tokens(source), CHECKERS)
    });
}

/// What only some systems have goes into runtime/src/sys, with a twin for the others.
#[test]
fn only_the_boundary_asks_for_the_system() {
    assert_none("a cfg of a system outside of runtime/src/sys", |file, source| {
        is_library(file)
            && !begins_with_any(file, MAY_ASK_FOR_THE_SYSTEM)
            && names_in_cfg(&tokens(&without_tests(source)), SYSTEMS)
    });
    assert_none("the C library outside of runtime/src/sys and the ring", |file, source| {
        is_library(file)
            && !begins_with_any(file, MAY_CALL_THE_C_LIBRARY)
            && tokens(&without_tests(source)).iter().any(|token| token.text == "libc")
    });
}

#[test]
fn unsafe_code_is_in_the_runtime_only() {
    assert_none("unsafe outside of runtime/", |file, source| {
        !file.starts_with("runtime") && tokens(source).iter().any(|token| token.text == "unsafe")
    });
    for main in ["exporter/src/lib.rs", "bench/src/lib.rs"] {
        assert!(read(&root().join(main)).contains("#![forbid(unsafe_code)]"), "{main}");
    }
}

#[test]
fn nothing_is_left_to_be_written() {
    assert_none("a macro that stands for missing code", |_, source| {
        tokens(source).windows(2).any(|pair| {
            ["todo", "unimplemented"].contains(&pair[0].text.as_str()) && pair[1].text == "!"
        })
    });
    // Spelled so that this file passes its own rule.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    for file in files_of(&["rs", "md", "toml", "sh", "py", "yaml"]) {
        let text = read(&root().join(&file));
        assert!(!marks.iter().any(|mark| text.contains(mark)), "{} has a mark", file.display());
    }
}

#[test]
fn the_changelog_names_the_version_of_the_workspace() {
    let manifest = read(&root().join("Cargo.toml"));
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .expect("a version in [workspace.package]");
    let heading = format!("## {version}");
    let changelog = read(&root().join("CHANGELOG.md"));
    assert!(changelog.lines().any(|line| line.starts_with(&heading)), "no `{heading}`");
}

#[test]
fn every_member_shares_the_lints() {
    for member in MEMBERS {
        let manifest = read(&root().join(member).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{member}");
    }
}

#[test]
fn the_book_lists_every_page() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    let pages = files_of(&["md"]).into_iter().filter_map(|file| {
        let page = file.strip_prefix("docs").ok()?.to_str()?.to_owned();
        (page != "SUMMARY.md").then_some(page)
    });
    for page in pages {
        assert!(summary.contains(&format!("({page})")), "docs/SUMMARY.md lacks {page}");
    }
    let linked = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for page in linked {
        assert!(root().join("docs").join(page).is_file(), "docs/SUMMARY.md links {page}");
    }
}

#[test]
fn every_atomic_has_its_invariant_and_every_model_exists() {
    let text = read(&root().join("docs/INVARIANTS.md"));
    for file in files_of(&["rs"]).into_iter().filter(|file| is_library(file)) {
        for name in atomics(&without_tests(&code(&read(&root().join(&file))))) {
            let named = text.contains(&format!("`{name}`"));
            assert!(named, "docs/INVARIANTS.md lacks `{name}` of {}", file.display());
        }
    }
    let models = text.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once("::"));
    for (file, model) in models.filter(|(file, _)| *file != "std") {
        let source = read(&root().join(format!("loom-tests/tests/{file}.rs")));
        assert!(source.contains(&format!("fn {model}()")), "there is no model {file}::{model}");
    }
}

#[test]
fn every_mutation_is_explained_and_every_row_is_performed() {
    let performed = mutations(&read(&root().join("ci/mutations.txt")));
    let explained = mutation_tables();
    for (name, kills) in &performed {
        let row = explained.iter().find(|(explained, _)| explained == name);
        let (_, row) = row.unwrap_or_else(|| panic!("docs/INVARIANTS*.md have no row for {name}"));
        for test in kills {
            assert!(row.contains(&format!("`{test}`")), "the row of {name} does not name {test}");
        }
    }
    for (name, _) in &explained {
        let known = performed.iter().any(|(performed, _)| performed == name);
        assert!(known, "ci/mutations.txt does not perform {name} of docs/INVARIANTS*.md");
    }
}

#[test]
fn every_ordering_is_weakened_or_argued() {
    let weakened = weakened_lines(&read(&root().join("ci/mutations.txt")));
    let argued = argued_rows();
    for file in files_of(&["rs"]).into_iter().filter(|file| is_library(file)) {
        let mut function = String::new();
        for line in without_tests(&code(&read(&root().join(&file)))).lines() {
            function = function_of(line).unwrap_or(function);
            let is_weakened = weakened.contains(&(file.clone(), line.trim().to_owned()));
            if !is_strong(line) || is_weakened {
                continue;
            }
            let at: PathBuf = file.iter().skip(2).collect();
            let (name, at) = (format!("`{function}`"), format!("({})", at.display()));
            let is_argued = argued.iter().any(|row| row.contains(&name) && row.contains(&at));
            assert!(
                is_argued,
                "{}, {function}: `{}` is weakened by no row of ci/mutations.txt, and no row of \
                 docs/INVARIANTS*.md without a name argues about {name} {at}",
                file.display(),
                line.trim(),
            );
        }
    }
}

/// Whether `line` orders more than one word.
fn is_strong(line: &str) -> bool {
    ["Acquire", "Release", "AcqRel", "SeqCst"]
        .iter()
        .any(|strong| line.contains(&format!("Ordering::{strong}")))
}

/// The function that begins in `line`.
fn function_of(line: &str) -> Option<String> {
    let name =
        line.split("fn ").nth(1)?.split(|c: char| c != '_' && !c.is_alphanumeric()).next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The lines that `ci/mutations.txt` changes, each with its file.
fn weakened_lines(list: &str) -> Vec<(PathBuf, String)> {
    let mut file = PathBuf::new();
    let mut found = Vec::new();
    for line in list.lines() {
        if let Some(scope) = line.strip_prefix("in ") {
            file = scope.split(" :: ").next().unwrap_or_default().trim().into();
        } else if let Some(old) = line.strip_prefix('-') {
            found.push((file.clone(), old.trim().to_owned()));
        }
    }
    found
}

/// The names in `ci/mutations.txt`, each with the tests that it is killed by.
fn mutations(list: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in list.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            found.push((name.to_owned(), Vec::new()));
        } else if let Some(kill) = line.strip_prefix("kill ") {
            let test = kill.split(' ').nth(1).expect("a kind and a test");
            let row = found.last_mut().expect("a name before the first test");
            row.1.push(test.strip_prefix("lib::").unwrap_or(test).to_owned());
        }
    }
    found
}

/// The rows of the tables headed "mutation" that have a name, each with its name.
fn mutation_tables() -> Vec<(String, String)> {
    let named = |row: String| {
        let name = row.strip_prefix("| `")?.split('`').next()?.to_owned();
        Some((name, row))
    };
    mutation_rows().into_iter().filter_map(named).collect()
}

/// The rows of the same tables that have an argument instead of a name.
fn argued_rows() -> Vec<String> {
    mutation_rows().into_iter().filter(|row| row.starts_with("| – |")).collect()
}

fn mutation_rows() -> Vec<String> {
    let mut rows = Vec::new();
    let is_page = |file: &PathBuf| file.to_string_lossy().starts_with("docs/INVARIANTS");
    for page in files_of(&["md"]).into_iter().filter(is_page) {
        let mut is_inside = false;
        for line in read(&root().join(page)).lines() {
            is_inside = line.starts_with("| mutation |") || is_inside && line.starts_with('|');
            rows.extend(is_inside.then(|| line.to_owned()));
        }
    }
    rows
}

#[test]
fn every_bug_of_others_has_a_test_that_exists() {
    let page = read(&root().join("docs/BUGS-OF-OTHERS.md"));
    for (file, test) in tests_named_in(&page) {
        let source = read(&root().join(file));
        assert!(source.contains(&format!("fn {test}(")), "{file} has no test `{test}`");
    }
    let rows = page.lines().filter(|line| is_numbered(line));
    for row in rows.clone() {
        let is_argued = row.contains("Cannot happen: ");
        assert!(is_argued || !tests_named_in(row).is_empty(), "neither test nor argument: {row}");
    }
    assert_eq!(rows.count(), 25, "the rows are those of a list that is closed");
}

/// What is quoted as `file.rs::test`.
fn tests_named_in(page: &str) -> Vec<(&str, &str)> {
    let quoted = page.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once("::"));
    quoted.filter(|(file, _)| file.ends_with(".rs")).collect()
}

fn is_numbered(line: &str) -> bool {
    let number = line.strip_prefix("| ").and_then(|rest| rest.split(' ').next());
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

#[test]
fn the_gate_runs_every_script_and_contributors_are_told_of_it() {
    let gate = read(&root().join(".ci/run"));
    let told = read(&root().join("CONTRIBUTING.md"));
    let steps = gate.split("STEPS=(").nth(1).and_then(|rest| rest.split(')').next());
    let steps: Vec<_> = steps.expect("a list of steps").split_whitespace().collect();
    // What stands deeper is part of a step.
    let scripts =
        files_of(&["sh"]).into_iter().filter(|file| file.parent() == Some(Path::new("ci")));
    for script in scripts {
        let name = script.file_stem().and_then(|stem| stem.to_str()).expect("UTF-8");
        assert!(steps.contains(&name), ".ci/run does not run ci/{name}.sh");
        assert!(told.contains(&format!("`ci/{name}.sh`")), "CONTRIBUTING.md lacks ci/{name}.sh");
    }
}

#[test]
fn a_planted_breach_is_seen() {
    let loom = |source: &str| names_in_cfg(&tokens(&code(source)), CHECKERS);
    assert!(loom("#[cfg(loom)] mod a;"));
    assert!(loom("#[cfg(all(test, not(loom)))] mod a;"));
    assert!(loom("#[cfg_attr(loom, allow(x))] mod a;"));
    assert!(loom("if cfg!(loom) {}"));
    assert!(loom("#[cfg(any(windows, shuttle))] mod a;"));
    assert!(!loom("// #[cfg(loom)]\n#[cfg(test)] mod loom;"));
    assert!(!loom("const S: &str = \"#[cfg(loom)]\"; fn f(loom: u8) {}"));
    let system = |source: &str| names_in_cfg(&tokens(&code(source)), SYSTEMS);
    assert!(system("#[cfg(all(target_os = \"linux\", test))] mod a;"));
    assert!(system("#[cfg_attr(not(spanwire_portable), path = \"a.rs\")] mod a;"));
    assert!(system("if cfg!(windows) {}"));
    assert!(!system("use std::os::unix::net::UnixStream; #[cfg(test)] mod unix;"));
}

/// Names of fields, statics and tuple structs whose type holds an atomic.
fn atomics(source: &str) -> Vec<String> {
    source.lines().filter_map(atomic).map(String::from).collect()
}

fn atomic(line: &str) -> Option<&str> {
    // A value or a borrow is no declaration; what initialises a static stands behind a `=`.
    let declared = line.split('=').next()?;
    if ["use ", "fn ", "&Atomic", "::new("].iter().any(|no| declared.contains(no)) {
        return None;
    }
    let before = &declared[..declared.find("Atomic")?];
    let name = before.rsplit_once(": ").map_or(before, |(name, _)| name);
    name.rsplit(|c: char| c != '_' && !c.is_alphanumeric()).find(|word| !word.is_empty())
}

fn is_test(file: &Path) -> bool {
    file.iter().any(|part| part == "tests" || part == "tests.rs") || file == Path::new(SHIM)
}

#[test]
fn declarations_of_atomics_are_seen() {
    let source = "struct A {\n    pub(super) a: CachePadded<AtomicU64>,\n    b: AtomicU8,\n}\n\
                  pub(super) struct C(AtomicUsize);\nstatic D: AtomicU64 = AtomicU64::new(0);\n\
                  let e = AtomicU8::new(0);\n    f: AtomicU64::new(0),\nfn g(h: &AtomicU8) {}";
    assert_eq!(atomics(source), ["a", "b", "C", "D"]);
}

/// Whether a `cfg`, `cfg!` or `cfg_attr` speaks of one of `words`.
fn names_in_cfg(tokens: &[Token], words: &[&str]) -> bool {
    tokens.iter().enumerate().any(|(at, token)| {
        ["cfg", "cfg_attr"].contains(&token.text.as_str()) && in_parentheses(&tokens[at..], words)
    })
}

/// Whether one of `words` stands in the pair of parentheses that opens within the next marks.
fn in_parentheses(tokens: &[Token], words: &[&str]) -> bool {
    let open = tokens.iter().take(3).position(|token| token.text == "(");
    let Some(open) = open else { return false };
    let mut depth = 0_usize;
    for token in &tokens[open..] {
        match token.text.as_str() {
            "(" => depth += 1,
            ")" if depth == 1 => return false,
            ")" => depth -= 1,
            text if words.contains(&text) => return true,
            _ => {}
        }
    }
    false
}

/// Fails with the names of the Rust files that `breaks` holds for; it is given code without
/// comments and literals.
fn assert_none(rule: &str, breaks: impl Fn(&Path, &str) -> bool) {
    let files = files_of(&["rs"]);
    assert!(files.len() > MEMBERS.len(), "the sources were not found");
    let broken: Vec<_> =
        files.into_iter().filter(|file| breaks(file, &code(&read(&root().join(file))))).collect();
    assert!(broken.is_empty(), "{rule}: {broken:?}");
}

/// Files with one of these extensions, relative to the root of the repository; build output and
/// fuzzing corpora are left out.
fn files_of(extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(dir) = open.pop() {
        let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        for path in entries.map(|entry| entry.expect("a directory entry").path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                open.extend((!SKIPPED.contains(&name)).then_some(path));
            } else if path.extension().is_some_and(|ext| extensions.iter().any(|e| ext == *e)) {
                found.push(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("bench/ has a parent").to_owned()
}

/// Whether it is a source of what users get.
fn is_library(file: &Path) -> bool {
    begins_with_any(file, &["runtime/src", "exporter/src"]) && !is_test(file)
}

fn begins_with_any(file: &Path, places: &[&str]) -> bool {
    places.iter().any(|place| file.to_string_lossy().starts_with(place))
}

/// `sys`, and the modules that leave out in one line what a system does not have; and whether a file
/// is another one than before, which is told by its inode where there are inodes.
const MAY_ASK_FOR_THE_SYSTEM: &[&str] = &[
    "runtime/src/sys/",
    "runtime/src/driver/mod.rs",
    "runtime/src/net/mod.rs",
    "exporter/src/transport/tls/files.rs",
];
/// `sys`, the ring, and the kernels that tests make up.
const MAY_CALL_THE_C_LIBRARY: &[&str] = &[
    "runtime/src/sys/",
    "runtime/src/driver/uring",
    "runtime/src/driver/fake.rs",
    "runtime/src/driver/hostile.rs",
];
const CHECKERS: &[&str] = &["loom", "shuttle"];
const SYSTEMS: &[&str] =
    &["target_os", "target_vendor", "target_family", "unix", "windows", "spanwire_portable"];
const SHIM: &str = "runtime/src/sync/shim.rs";
const MEMBERS: [&str; 4] = ["runtime", "exporter", "bench", "loom-tests"];
const SKIPPED: [&str; 4] = ["target", ".git", "corpus", "artifacts"];
