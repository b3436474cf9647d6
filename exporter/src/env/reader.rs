//! Reads one variable at a time, by the specification's rules for each kind of value, and
//! remembers what became of it.

use std::ffi::OsString;

use super::{Given, So, Taken, Warning};
use crate::model::Signal;

/// An environment that is being read.
pub(super) struct Env<'a> {
    lookup: &'a dyn Fn(&str) -> Option<OsString>,
    warnings: Vec<Warning>,
    taken: Vec<Taken>,
    /// Whose settings are being read; none if they are not those of a signal.
    signal: Option<Signal>,
}

impl<'a> Env<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self { lookup, warnings: Vec::new(), taken: Vec::new(), signal: None }
    }

    pub(super) fn finish(self) -> (Vec<Warning>, Vec<Taken>) {
        (self.warnings, self.taken)
    }

    /// What `read` takes is taken for `signal`.
    pub(super) fn for_signal<T>(&mut self, signal: Signal, read: impl FnOnce(&mut Self) -> T) -> T {
        self.signal = Some(signal);
        let result = read(self);
        self.signal = None;
        result
    }

    /// The trimmed value of a variable that is set and not empty.
    pub(super) fn value(&mut self, name: &'static str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let Some(text) = value.to_str() else {
            self.warn(name, "it is not UTF-8");
            return None;
        };
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The same, and it decides.
    pub(super) fn taken_value(&mut self, name: &'static str) -> Option<String> {
        let value = self.value(name)?;
        self.take(name);
        Some(value)
    }

    /// The first of `names` that has a value.
    pub(super) fn first(&mut self, names: &[&'static str]) -> Option<Given<String>> {
        names.iter().find_map(|name| {
            let value = self.taken_value(name)?;
            Some(Given { value, source_name: name })
        })
    }

    /// The first of `names` that is a whole number.
    pub(super) fn first_number(&mut self, names: &[&'static str]) -> Option<u64> {
        names.iter().find_map(|name| self.number(name))
    }

    pub(super) fn number(&mut self, name: &'static str) -> Option<u64> {
        let value = self.value(name)?;
        let Ok(number) = value.parse() else {
            self.warn(name, format!("{value:?} is not a whole number from 0 on"));
            return None;
        };
        self.take(name);
        Some(number)
    }

    /// A number of which 0 has no meaning; `why` says why not.
    pub(super) fn positive(&mut self, name: &'static str, why: &str) -> Option<u64> {
        let number = self.number(name)?;
        if number == 0 {
            self.give_back(name);
            self.warn(name, why);
        }
        (number > 0).then_some(number)
    }

    /// The first of `names` that is set: `true` in any case is true, all else is false.
    pub(super) fn boolean(&mut self, names: &[&'static str]) -> Option<Given<bool>> {
        let Given { value, source_name } = self.first(names)?;
        let is_true = value.eq_ignore_ascii_case("true");
        if !is_true && !value.eq_ignore_ascii_case("false") {
            self.tell(source_name, So::False, format!("{value:?} is neither true nor false"));
        }
        Some(Given { value: is_true, source_name })
    }

    /// The first of `names` whose value is a word that `known` knows.
    pub(super) fn first_word<T>(
        &mut self,
        what: &str,
        names: &[&'static str],
        known: fn(&str) -> Option<T>,
    ) -> Option<Given<T>> {
        names.iter().find_map(|name| {
            let word = self.value(name)?;
            let Some(value) = known(&word) else {
                self.warn(name, format!("{word:?} is not a known {what}"));
                return None;
            };
            self.take(name);
            Some(Given { value, source_name: name })
        })
    }

    /// `source_name` is ignored.
    pub(super) fn warn(&mut self, source_name: &'static str, why: impl Into<String>) {
        self.tell(source_name, So::Ignored, why);
    }

    /// Warns once of each variable: the generic ones are read for each signal.
    pub(super) fn tell(&mut self, source_name: &'static str, so: So, why: impl Into<String>) {
        let warning = Warning { source_name, so, why: why.into() };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The value of `source_name` decides.
    pub(super) fn take(&mut self, source_name: &'static str) {
        self.taken.push(Taken { source_name, signal: self.signal });
    }

    /// It does not, after all.
    fn give_back(&mut self, source_name: &'static str) {
        self.taken.retain(|taken| taken.source_name != source_name || taken.signal != self.signal);
    }
}
