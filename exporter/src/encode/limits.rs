//! How many attributes a record may have and how long their values may be: the specification's
//! attribute limits (`common/README.md`, "Attribute Limits").
//!
//! What a limit cuts:
//!
//! | limit | default | what is beyond it |
//! |---|---|---|
//! | `count_max` | 128 | attributes are dropped and counted in `dropped_attributes_count` |
//! | `value_len_max` | none | strings are cut after so many characters, byte arrays after so many bytes, also inside of arrays and maps |
//! | `depth_max` | 64 | an array or map in more than so many others is replaced by an empty value |
//!
//! A limit of a model (span, event, link, log record) beats the general one. Resources, scopes,
//! metrics and the bodies of log records are exempt from count and length.

/// What becomes of attributes that have the same key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Duplicates {
    /// The last one stays, where it stands, and the others are left out; they do not count as
    /// dropped. The specification's default: keys are unique.
    #[default]
    LastWins,
    /// All of them stay, for programs that know their keys to be unique. Saves about 1 ns an
    /// attribute.
    Keep,
}

/// The limits of one kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttributeLimits {
    /// Attributes that are kept; [`u32::MAX`] is all, because nobody said a number.
    pub(crate) count_max: u32,
    /// Characters of a string and bytes of a byte array that are kept; `None` is all.
    pub(crate) value_len_max: Option<u32>,
    /// Arrays and maps that may stand in each other; 0 allows none.
    pub(crate) depth_max: u32,
    /// What becomes of equal keys.
    pub(crate) duplicates: Duplicates,
}

/// The limits of everything that has attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of spans.
    pub(crate) span: AttributeLimits,
    /// Of the events of spans.
    pub(crate) event: AttributeLimits,
    /// Of the links of spans.
    pub(crate) link: AttributeLimits,
    /// Of log records.
    pub(crate) log: AttributeLimits,
    /// Of resources, scopes, metrics and the bodies of log records: depth and equal keys only.
    pub(crate) exempt: AttributeLimits,
}

/// What a source of configuration says of the limits; `None` is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// Of all models.
    pub(crate) general: GivenModel,
    /// Of spans; its length is that of events and links as well.
    pub(crate) span: GivenModel,
    /// Of events.
    pub(crate) event: GivenModel,
    /// Of links.
    pub(crate) link: GivenModel,
    /// Of log records.
    pub(crate) log: GivenModel,
    /// Of all models.
    pub(crate) depth_max: Option<u32>,
    /// Of all models.
    pub(crate) duplicates: Option<Duplicates>,
}

/// What a source says of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenModel {
    /// See [`AttributeLimits::count_max`].
    pub(crate) count_max: Option<u32>,
    /// See [`AttributeLimits::value_len_max`].
    pub(crate) value_len_max: Option<u32>,
}

impl Limits {
    /// The limits if nobody says anything, over data that an SDK has cut already.
    #[cfg_attr(
        not(any(test, feature = "internals")),
        expect(dead_code, reason = "for what has no exporter")
    )]
    pub(crate) const DEFAULT: Self = Given::NOTHING.resolve();

    /// The same limits for data that no SDK has cut: the specification's count applies where
    /// nobody said another.
    #[must_use]
    pub(crate) fn of_raw_data(&self) -> Self {
        let mut limits = *self;
        for model in [&mut limits.span, &mut limits.event, &mut limits.link] {
            if model.count_max == u32::MAX {
                model.count_max = COUNT_MAX;
            }
        }
        limits
    }
}

impl Given {
    /// Nothing is said.
    pub(crate) const NOTHING: Self = {
        let nothing = GivenModel { count_max: None, value_len_max: None };
        Self {
            general: nothing,
            span: nothing,
            event: nothing,
            link: nothing,
            log: nothing,
            depth_max: None,
            duplicates: None,
        }
    };

    /// What `self` says, and what `other` says of the rest. A general limit of `self` beats one
    /// of a model in `other`: code beats environment.
    #[must_use]
    pub(crate) fn or(&self, other: &Self) -> Self {
        let (winner, loser) = (self.spread(), other.spread());
        Self {
            general: winner.general.over(loser.general),
            span: winner.span.over(loser.span),
            event: winner.event.over(loser.event),
            link: winner.link.over(loser.link),
            log: winner.log.over(loser.log),
            depth_max: winner.depth_max.or(loser.depth_max),
            duplicates: winner.duplicates.or(loser.duplicates),
        }
    }

    /// The limits, with the defaults for what is not said.
    ///
    /// The default count of spans, events and links is the SDK's own: it has applied 128, or
    /// what the program told it, before the encoder sees them. It has none for log records.
    pub(crate) const fn resolve(&self) -> Limits {
        let Self { span, event, link, log, depth_max, duplicates, .. } = self.spread();
        let exempt = AttributeLimits {
            count_max: u32::MAX,
            value_len_max: None,
            depth_max: match depth_max {
                Some(depth) => depth,
                None => DEPTH_MAX,
            },
            duplicates: match duplicates {
                Some(duplicates) => duplicates,
                None => Duplicates::LastWins,
            },
        };
        Limits {
            span: span.resolve(&exempt, u32::MAX),
            event: event.resolve(&exempt, u32::MAX),
            link: link.resolve(&exempt, u32::MAX),
            log: log.resolve(&exempt, COUNT_MAX),
            exempt,
        }
    }

    /// Says of each model what is said of all of them, unless it has a word of its own.
    const fn spread(&self) -> Self {
        let span = self.span.over(self.general);
        let span_len = GivenModel { count_max: None, value_len_max: self.span.value_len_max };
        Self {
            general: self.general,
            span,
            event: self.event.over(span_len).over(self.general),
            link: self.link.over(span_len).over(self.general),
            log: self.log.over(self.general),
            depth_max: self.depth_max,
            duplicates: self.duplicates,
        }
    }
}

impl GivenModel {
    const fn over(self, other: Self) -> Self {
        Self {
            count_max: first(self.count_max, other.count_max),
            value_len_max: first(self.value_len_max, other.value_len_max),
        }
    }

    const fn resolve(self, exempt: &AttributeLimits, count_max: u32) -> AttributeLimits {
        AttributeLimits {
            count_max: match self.count_max {
                // As good as all, and not mistaken for nobody's word: see `of_raw_data`.
                Some(u32::MAX) => u32::MAX - 1,
                Some(count) => count,
                None => count_max,
            },
            value_len_max: self.value_len_max,
            depth_max: exempt.depth_max,
            duplicates: exempt.duplicates,
        }
    }
}

/// `Option::or`, which is not const.
const fn first(winner: Option<u32>, loser: Option<u32>) -> Option<u32> {
    match winner {
        Some(_) => winner,
        None => loser,
    }
}

/// The specification's `AttributeCountLimit`.
const COUNT_MAX: u32 = 128;
/// The specification's `AttributeValueDepthLimit`. (What receivers decode is less: see
/// `common::MESSAGES_MAX`.)
const DEPTH_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(limits: &Limits) -> [u32; 4] {
        [&limits.span, &limits.event, &limits.link, &limits.log].map(|limits| limits.count_max)
    }

    fn lens(limits: &Limits) -> [Option<u32>; 4] {
        [&limits.span, &limits.event, &limits.link, &limits.log].map(|limits| limits.value_len_max)
    }

    fn model(count_max: u32, value_len_max: u32) -> GivenModel {
        GivenModel { count_max: Some(count_max), value_len_max: Some(value_len_max) }
    }

    #[test]
    fn the_defaults_are_the_specifications() {
        let raw = Limits::DEFAULT.of_raw_data();
        assert_eq!(counts(&raw), [128; 4]);
        assert_eq!(lens(&raw), [None; 4]);
        assert_eq!((raw.exempt.depth_max, raw.exempt.duplicates), (64, Duplicates::LastWins));
    }

    #[test]
    fn what_a_program_told_the_sdk_is_not_cut_by_a_default() {
        assert_eq!(counts(&Limits::DEFAULT)[..3], [u32::MAX; 3]);
    }

    #[test]
    fn who_says_all_of_them_means_it_for_raw_data_too() {
        let given = Given { general: model(u32::MAX, 1), ..Given::default() };
        assert!(counts(&given.resolve().of_raw_data()).iter().all(|count| *count > 1 << 31));
    }

    #[test]
    fn a_limit_of_a_model_beats_the_general_one() {
        let given = Given { general: model(10, 100), span: model(7, 70), ..Given::default() };
        assert_eq!(counts(&given.resolve()), [7, 10, 10, 10]);
        assert_eq!(lens(&given.resolve()), [Some(70), Some(70), Some(70), Some(100)]);
        assert_eq!(given.resolve().of_raw_data(), given.resolve());
    }

    #[test]
    fn code_beats_the_environment_also_where_it_is_less_specific() {
        let code = Given { general: model(10, 100), ..Given::default() };
        let environment = Given { span: model(7, 70), log: model(3, 30), ..Given::default() };
        assert_eq!(counts(&code.or(&environment).resolve()), [10; 4]);
        assert_eq!(counts(&environment.or(&code).resolve()), [7, 10, 10, 3]);
        assert_eq!(lens(&environment.or(&code).resolve())[1], Some(70));
    }

    #[test]
    fn resources_scopes_metrics_and_bodies_are_exempt() {
        let given = Given { general: model(1, 1), depth_max: Some(3), ..Given::default() };
        let exempt = given.resolve().exempt;
        assert_eq!((exempt.count_max, exempt.value_len_max), (u32::MAX, None));
        assert_eq!(exempt.depth_max, 3);
    }
}
