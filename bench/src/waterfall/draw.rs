//! The drawing.

use std::{
    collections::{BTreeSet, HashSet},
    fmt::Write as _,
};

use super::{Span, Trace};

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the screen; fewer than 60 are treated as 60.
    pub width: usize,
    /// Whether errors are red and what matters less is dim, by escape sequences of terminals.
    pub color: bool,
}

/// Draws a trace; every line ends with a line break. What is not printable is shown as `?`.
pub fn draw(trace: &Trace, style: Style) -> String {
    let rows = rows(trace);
    let Some(layout) = Layout::of(&rows, trace, style) else {
        return "the trace has no spans\n".to_owned();
    };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}\n", layout.title(trace));
    let _ = writeln!(out, "{}", layout.axis());
    for row in &rows {
        let _ = writeln!(out, "{}", layout.line(row));
        if let Some(note) = layout.note(row) {
            let _ = writeln!(out, "{note}");
        }
    }
    out
}

/// A span and its place in the tree.
struct Row<'a> {
    span: &'a Span,
    /// What stands before its name, such as `│ └ `.
    branch: String,
    /// What stands before the names of its children.
    trunk: String,
    has_children: bool,
}

/// The spans in the order of the tree; children by their start. A span without a parent in the trace
/// is a root, and so is the first span of a circle.
fn rows(trace: &Trace) -> Vec<Row<'_>> {
    let mut spans: Vec<&Span> = trace.spans.iter().collect();
    spans.sort_by_key(|span| (span.start, span.id));
    let ids: HashSet<u64> = spans.iter().map(|span| span.id).collect();
    let mut tree = Tree { spans: &spans, drawn: HashSet::new(), rows: Vec::new() };
    for root in spans.iter().filter(|span| !ids.contains(&span.parent)) {
        tree.add(root, String::new(), String::new());
    }
    for left in &spans {
        tree.add(left, String::new(), String::new());
    }
    tree.rows
}

struct Tree<'a, 's> {
    spans: &'s [&'a Span],
    drawn: HashSet<u64>,
    rows: Vec<Row<'a>>,
}

impl<'a> Tree<'a, '_> {
    fn add(&mut self, span: &'a Span, branch: String, trunk: String) {
        if !self.drawn.insert(span.id) {
            return;
        }
        let children: Vec<&'a Span> = self
            .spans
            .iter()
            .copied()
            .filter(|child| child.parent == span.id && !self.drawn.contains(&child.id))
            .collect();
        let deeper = trunk.clone();
        self.rows.push(Row { span, branch, trunk, has_children: !children.is_empty() });
        for (index, child) in children.iter().enumerate() {
            let (arm, rest) =
                if index + 1 == children.len() { ("└ ", "  ") } else { ("├ ", "│ ") };
            self.add(child, format!("{deeper}{arm}"), format!("{deeper}{rest}"));
        }
    }
}

/// Where things are, in columns.
struct Layout {
    begin: u64,
    total: u64,
    name: usize,
    place: usize,
    bar: usize,
    /// Whether the spans have several services.
    services: bool,
    color: bool,
}

impl Layout {
    fn of(rows: &[Row<'_>], trace: &Trace, style: Style) -> Option<Self> {
        let begin = trace.spans.iter().map(|span| span.start).min()?;
        let end = trace.spans.iter().map(|span| span.end.max(span.start)).max()?;
        let services = services(trace).len() > 1;
        let width = style.width.max(WIDTH_MIN);
        let widest = |of: &dyn Fn(&Row<'_>) -> usize| rows.iter().map(of).max().unwrap_or(0);
        let name = widest(&|row| columns(&row.branch) + columns(&row.span.name)).min(width * 2 / 5);
        let place = widest(&|row| columns(&place(row.span, services))).min(width / 5);
        let bar = width.saturating_sub(name + place + 2 * GAP + TIME);
        Some(Self {
            begin,
            total: (end - begin).max(1),
            name,
            place,
            bar,
            services,
            color: style.color,
        })
    }

    fn title(&self, trace: &Trace) -> String {
        let spans = trace.spans.len();
        let services: Vec<_> = services(trace).into_iter().collect();
        let of = if services.is_empty() {
            String::new()
        } else {
            format!(" of {}", services.join(", "))
        };
        let errors = match trace.errors() {
            0 => String::new(),
            1 => ", 1 error".to_owned(),
            errors => format!(", {errors} errors"),
        };
        let plural = if spans == 1 { "" } else { "s" };
        let total = time(self.total);
        printable(&format!("trace {:032x}  {spans} span{plural}{of}{errors}, {total}", trace.id))
    }

    /// The beginning, the end and, if there is room, the middle of the time.
    fn axis(&self) -> String {
        let (middle, end) = (time(self.total / 2), time(self.total));
        let left = self.name + self.place + 2 * GAP;
        let half = self.bar / 2;
        let room = self.bar.saturating_sub(half + columns(&middle));
        let line = if room > columns(&end) {
            format!("{:left$}{:<half$}{middle}{end:>room$}", "", "0")
        } else {
            let room = self.bar.saturating_sub(1);
            format!("{:left$}0{end:>room$}", "")
        };
        self.dim(&line)
    }

    fn line(&self, row: &Row<'_>) -> String {
        let branch = cut(&row.branch, self.name);
        let room = self.name - columns(&branch);
        let name = padded(&cut(&row.span.name, room), room);
        let place = padded(&cut(&place(row.span, self.services), self.place), self.place);
        let is_error = row.span.error.is_some();
        let name = if is_error { self.red(&name) } else { name };
        let bar = if is_error { self.red(&self.bar(row.span)) } else { self.bar(row.span) };
        let took = time(row.span.end.saturating_sub(row.span.start));
        let mark = if is_error { self.red(" ✗") } else { String::new() };
        format!("{}{name}  {}  {bar}{took:>TIME_TEXT$}{mark}", self.dim(&branch), self.dim(&place))
    }

    /// What an error says, under its bar.
    fn note(&self, row: &Row<'_>) -> Option<String> {
        let text = row.span.error.as_deref().filter(|text| !text.is_empty())?;
        let trunk = if row.has_children { format!("{}│", row.trunk) } else { row.trunk.clone() };
        let left = self.name + self.place + 2 * GAP;
        let trunk = cut(&trunk, left);
        // Under the begin of its bar, if the text fits there.
        let text = cut(text, self.bar);
        let begin = self.half_cells(row.span).0 / 2;
        let begin = begin.min(self.bar.saturating_sub(columns(&text)));
        let gap = left + begin - columns(&trunk);
        Some(format!("{}{:gap$}{}", self.dim(&trunk), "", self.red(&text)))
    }

    /// A bar of at least half a column.
    fn bar(&self, span: &Span) -> String {
        let (begin, end) = self.half_cells(span);
        let is_in = |half: usize| (begin..end).contains(&half);
        (0..self.bar)
            .map(|cell| match (is_in(2 * cell), is_in(2 * cell + 1)) {
                (true, true) => '█',
                (true, false) => '▌',
                (false, true) => '▐',
                (false, false) => ' ',
            })
            .collect()
    }

    /// From where to where a bar goes, in halves of a column.
    fn half_cells(&self, span: &Span) -> (usize, usize) {
        let halves = 2 * self.bar as u128;
        let scaled = |moment: u64| u128::from(moment - self.begin) * halves;
        let total = u128::from(self.total);
        let begin = (scaled(span.start) / total).min(halves - 1);
        let end = scaled(span.end.max(span.start)).div_ceil(total).clamp(begin + 1, halves);
        // Both are at most twice the width of a screen.
        (begin as usize, end as usize)
    }

    fn red(&self, text: &str) -> String {
        self.escaped("31", text)
    }

    fn dim(&self, text: &str) -> String {
        self.escaped("2", text)
    }

    fn escaped(&self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn services(trace: &Trace) -> BTreeSet<&str> {
    let named = trace.spans.iter().map(|span| span.service.as_str());
    named.filter(|name| !name.is_empty()).collect()
}

/// The scope, after the service if there are several.
fn place(span: &Span, services: bool) -> String {
    if services { format!("{} {}", span.service, span.scope) } else { span.scope.clone() }
}

/// A duration in three digits or so.
fn time(nanos: u64) -> String {
    let (value, unit) = match nanos {
        0..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (nanos as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
        1_000_000_000..3_600_000_000_000 => (nanos as f64 / 1e9, "s"),
        _ => (nanos as f64 / 3.6e12, "h"),
    };
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {unit}")
}

/// As many columns as a text of this world's services usually takes.
fn columns(text: &str) -> usize {
    text.chars().count()
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// At most so many columns; a cut text ends with `…`.
fn cut(text: &str, most: usize) -> String {
    let text = printable(text);
    if columns(&text) <= most {
        return text;
    }
    let kept = text.chars().take(most.saturating_sub(1));
    kept.chain("…".chars().take(most)).collect()
}

fn padded(text: &str, width: usize) -> String {
    format!("{text:width$}")
}

const WIDTH_MIN: usize = 60;
/// Between columns.
const GAP: usize = 2;
/// The column of durations with its mark of an error.
const TIME: usize = TIME_TEXT + 2;
const TIME_TEXT: usize = 9;
