//! Reads Rust sources just well enough to know which module names which: comments, strings and
//! test code are blanked, paths that start with `crate` or `super` are resolved to a top-level
//! module. std only.

// Each test that includes this file uses its own part of it.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// The crate root as a module name: `lib.rs`, and items that live there.
pub(crate) const ROOT: &str = "lib";

/// Which top-level module may name which.
#[derive(Default)]
pub(crate) struct Law {
    allowed: BTreeMap<&'static str, BTreeSet<&'static str>>,
    joins: BTreeSet<&'static str>,
}

impl Law {
    /// Nothing is allowed; each module has to be named by a rule.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Each of `modules` may name each of `others`.
    #[must_use]
    pub(crate) fn may(mut self, modules: &[&'static str], others: &[&'static str]) -> Self {
        for &module in modules {
            self.allowed.entry(module).or_default().extend(others);
        }
        self
    }

    /// `sync < task < executor` is `chain(&["sync", "task", "executor"])`: each may name all that
    /// stand before it, and whatever those may name by earlier rules.
    #[must_use]
    pub(crate) fn chain(mut self, bottom_up: &[&'static str]) -> Self {
        for (index, &module) in bottom_up.iter().enumerate() {
            let mut below: BTreeSet<_> = bottom_up[..index].iter().copied().collect();
            for lower in &bottom_up[..index] {
                below.extend(self.allowed.get(lower).into_iter().flatten());
            }
            self.allowed.entry(module).or_default().extend(below);
        }
        self
    }

    /// Each of `modules` joins the parts: it may name all.
    #[must_use]
    pub(crate) fn joins(mut self, modules: &[&'static str]) -> Self {
        self.joins.extend(modules);
        self
    }

    fn knows(&self, module: &str) -> bool {
        self.joins.contains(module) || self.allowed.contains_key(module)
    }

    fn allows(&self, from: &str, to: &str) -> bool {
        from == to
            || self.joins.contains(from)
            || self.allowed.get(from).is_some_and(|below| below.contains(to))
    }
}

/// A place where the law is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Offence {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// All offences against `law` below `src`.
pub(crate) fn offences(law: &Law, src: &Path) -> Vec<Offence> {
    let files = rust_files(src);
    assert!(files.len() > 1, "no sources below {}", src.display());
    let modules = files.iter().map(|file| module_path(src, file)).collect::<Vec<_>>();
    let tops = modules.iter().map(|path| top(path)).map(String::from).collect::<BTreeSet<_>>();
    let mut found = Vec::new();
    for (file, module) in files.iter().zip(&modules) {
        found.extend(offences_in(law, &tops, file, module, &read(file)));
    }
    found
}

/// The offences of one file whose text is `source`; `tops` are the top-level modules there are.
pub(crate) fn offences_in(
    law: &Law,
    tops: &BTreeSet<String>,
    file: &Path,
    module: &[String],
    source: &str,
) -> Vec<Offence> {
    let from = top(module);
    let offence = |line, what| Offence { file: file.to_owned(), line, what };
    if !law.knows(from) {
        return vec![offence(1, format!("`{from}` has no place in the import law"))];
    }
    if is_test_file(file) {
        return Vec::new();
    }
    named(&tokens(&without_tests(&code(source))), module)
        .into_iter()
        .map(|(line, name)| (line, if tops.contains(&name) { name } else { ROOT.into() }))
        .filter(|(_, to)| !law.allows(from, to))
        .map(|(line, to)| offence(line, format!("`{from}` must not name `{to}`")))
        .collect()
}

/// All `.rs` files below `dir`, sorted.
pub(crate) fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for path in entries.map(|entry| entry.expect("a directory entry").path()) {
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text of `file`.
pub(crate) fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// A word or a mark, and the line on which it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// The tokens of `code`: words, `::`, and single characters.
pub(crate) fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            found.push(Token { line: index + 1, text: rest[..length].into() });
            rest = rest[length..].trim_start();
        }
    }
    found
}

/// `source` with comments, strings and character literals blanked; lines stay where they are.
pub(crate) fn code(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest, out.chars().next_back());
        let taken = if length > 0 { length } else { first.len_utf8() };
        match length {
            0 => out.push(first),
            _ => out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
        }
        rest = &rest[taken..];
    }
    out
}

/// How many bytes at the start of `rest` are a comment or a literal.
fn skipped(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    // `r` and `b` open a literal only where a word starts.
    if before.is_some_and(is_word) {
        return 0;
    }
    let prefix = rest.find(|c| !matches!(c, 'r' | 'b' | 'c')).unwrap_or(0);
    let (raw, literal) = (rest[..prefix].contains('r'), &rest[prefix..]);
    match (prefix, literal.chars().next()) {
        (0..=2, Some('"' | '#')) if raw => raw_string(literal).map_or(0, |end| prefix + end),
        (0..=2, Some('"')) => prefix + quoted(literal, '"').unwrap_or(literal.len()),
        (0..=1, Some('\'')) => character(literal).map_or(0, |end| prefix + end),
        _ => 0,
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        match here {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn raw_string(literal: &str) -> Option<usize> {
    let hashes = literal.find(|c| c != '#')?;
    let body = literal[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", &literal[..hashes]);
    Some(hashes + 1 + body.find(&end)? + end.len())
}

/// Length of a literal up to the quote that ends it.
fn quoted(literal: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    literal.char_indices().skip(1).find_map(|(at, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at + 1)
    })
}

/// Length of a character literal; `None` for a lifetime.
fn character(literal: &str) -> Option<usize> {
    let mut chars = literal.chars().skip(1);
    let (first, second) = (chars.next()?, chars.next()?);
    (first == '\\' || second == '\'').then(|| quoted(literal, '\''))?
}

/// `code` with what follows each `#[cfg(test)]` blanked, up to the end of that item.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let end = at + item_length(&rest[at..]);
        out.extend(rest[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[end..];
    }
    out + rest
}

/// Length of the item at the start of `code`: to its `;` or the brace that closes it.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(c, ';' | '}') {
            return at + 1;
        }
    }
    code.len()
}

/// The first name below the crate root of each path that starts with `crate` or `super`, with
/// its line. `module` is where the file hangs.
fn named(tokens: &[Token], module: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut here = module.to_vec();
    // For each open brace, whether it opened an inline module.
    let mut braces = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => {
                let inline = at >= 2 && tokens[at - 2].text == "mod";
                here.extend(inline.then(|| tokens[at - 1].text.clone()));
                braces.push(inline);
            }
            "}" if braces.pop() == Some(true) => drop(here.pop()),
            "crate" => found.extend(first_names(&tokens[at + 1..])),
            "super" if at == 0 || tokens[at - 1].text != "::" => {
                let ups = supers(&tokens[at..]);
                // Deeper, the path stays inside its own top-level module.
                if ups >= here.len() {
                    found.extend(first_names(&tokens[at + 2 * ups - 1..]));
                }
            }
            _ => {}
        }
    }
    found
}

/// How many `super`s are chained at the start.
fn supers(tokens: &[Token]) -> usize {
    tokens.chunks(2).take_while(|pair| pair[0].text == "super").count()
}

/// The names right behind a `::`: one, or each of a `{group}`.
fn first_names(tokens: &[Token]) -> Vec<(usize, String)> {
    let [separator, first, ..] = tokens else { return Vec::new() };
    if separator.text != "::" {
        return Vec::new();
    }
    if first.text != "{" {
        return vec![(first.line, first.text.clone())];
    }
    let (mut names, mut depth, mut starts) = (Vec::new(), 0_usize, true);
    for token in &tokens[1..] {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," if depth == 1 => starts = true,
            _ if depth == 1 && starts => {
                names.push((token.line, token.text.clone()));
                starts = false;
            }
            _ => {}
        }
    }
    names
}

/// Where the file hangs below the crate root: `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`.
fn module_path(src: &Path, file: &Path) -> Vec<String> {
    let below = file.strip_prefix(src).expect("below src").with_extension("");
    let mut path: Vec<_> =
        below.iter().map(|part| part.to_str().expect("UTF-8").to_owned()).collect();
    if path.last().is_some_and(|last| last == "mod") {
        path.pop();
    }
    if path == [ROOT] {
        path.clear();
    }
    path
}

fn top(module: &[String]) -> &str {
    module.first().map_or(ROOT, String::as_str)
}

fn is_test_file(file: &Path) -> bool {
    file.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
