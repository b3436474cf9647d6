//! Which traces are kept, and which of them is shown.

use std::{cmp::Reverse, collections::HashMap};

use super::{Span, Trace};

/// The first traces that were received. Bounded, however many come.
#[derive(Debug, Default)]
pub struct Kept(HashMap<u128, (usize, Vec<Span>)>);

impl Kept {
    /// Whether a span of this trace would be kept.
    pub fn wants(&self, trace: u128) -> bool {
        match self.0.get(&trace) {
            Some((_, spans)) => spans.len() < SPANS_MAX,
            None => self.0.len() < TRACES_MAX,
        }
    }

    /// Keeps a span, if there is room; one that came before is not kept again.
    pub fn add(&mut self, trace: u128, span: Span) {
        if !self.wants(trace) {
            return;
        }
        let number = self.0.len();
        let (_, spans) = self.0.entry(trace).or_insert_with(|| (number, Vec::new()));
        if spans.iter().all(|kept| kept.id != span.id) {
            spans.push(span);
        }
    }

    /// The trace that tells most: a whole one, with an error, with many spans; of equals the first.
    pub fn best(self) -> Option<Trace> {
        let traces = self.0.into_iter();
        let traces = traces.map(|(id, (number, spans))| (number, Trace { id, spans }));
        let worth = |(number, trace): &(usize, Trace)| {
            (trace.is_whole(), trace.errors() > 0, trace.spans.len(), Reverse(*number))
        };
        traces.max_by_key(worth).map(|(_, trace)| trace)
    }
}

/// Enough that one request in a hundred, which fails, is among them.
const TRACES_MAX: usize = 256;
/// More would not fit on a screen.
const SPANS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: u64, parent: u64) -> Span {
        Span { id, parent, ..Span::default() }
    }

    #[test]
    fn the_trace_that_tells_most_is_shown() {
        let mut kept = Kept::default();
        kept.add(1, span(1, 0));
        kept.add(2, span(1, 0));
        kept.add(2, span(2, 1));
        kept.add(3, span(9, 8));
        kept.add(3, span(7, 6));
        kept.add(3, Span { error: Some(String::new()), ..span(5, 4) });
        assert_eq!(kept.best().unwrap().id, 2, "a trace without its root is worth less");

        let mut kept = Kept::default();
        kept.add(1, span(1, 0));
        kept.add(1, span(2, 1));
        kept.add(2, Span { error: Some("broken".into()), ..span(1, 0) });
        assert_eq!(kept.best().unwrap().id, 2, "an error is worth more than a span");
        assert_eq!(Kept::default().best(), None);
    }

    #[test]
    fn what_is_kept_is_bounded_and_a_duplicate_is_not_kept() {
        let mut kept = Kept::default();
        for trace in 0..1000 {
            kept.add(trace, span(1, 0));
            kept.add(trace, span(1, 0));
        }
        for id in 0..1000 {
            kept.add(7, span(id, 0));
        }
        assert_eq!(kept.0.len(), TRACES_MAX);
        assert_eq!(kept.0[&7].1.len(), SPANS_MAX);
        assert_eq!(kept.0[&8].1.len(), 1);
    }
}
