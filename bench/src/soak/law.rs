//! What has to hold whenever everything has come to rest.

/// The counts of both ends since the start, at rest: producers stopped, a flush has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Spans ended, by the program's own count.
    pub emitted: u64,
    /// Of the exporter's: spans that ended at its door.
    pub accepted: u64,
    /// Spans that the collector acknowledged.
    pub delivered: u64,
    /// Spans that the collector rejected.
    pub rejected: u64,
    /// Spans that were dropped, for whatever reason.
    pub dropped: u64,
    /// Spans without a fate.
    pub in_flight: u64,
    /// Of the collector's: spans received, duplicates included.
    pub records: u64,
    /// Different ones among them.
    pub unique: u64,
}

impl Ledger {
    /// Spans that neither arrived nor were counted as lost.
    pub fn lost(&self) -> u64 {
        self.emitted.saturating_sub(self.unique + self.dropped + self.rejected)
    }

    /// Spans that arrived more than once, by how often too many.
    pub fn duplicates(&self) -> u64 {
        self.records - self.unique
    }

    /// What does not hold, in words; nothing is as it should be. `before` is the ledger at the rest
    /// before this one, and `outcomes_known` says that no request since could have arrived although
    /// it seemed to fail.
    pub fn violations(&self, before: &Self, outcomes_known: bool) -> Vec<String> {
        let mut violations = Vec::new();
        let mut law = |holds: bool, text: String| {
            if !holds {
                violations.push(text);
            }
        };
        let known = self.delivered + self.rejected + self.dropped + self.in_flight;
        law(self.in_flight == 0, format!("{} spans are in flight at rest", self.in_flight));
        law(
            self.accepted == self.emitted,
            format!("{} of {} spans reached the door", self.accepted, self.emitted),
        );
        law(
            known == self.emitted,
            format!("{} spans were emitted, and the fates of {known} are known", self.emitted),
        );
        law(
            self.unique >= self.delivered,
            format!("{} of {} acknowledged spans arrived", self.unique, self.delivered),
        );
        law(self.lost() == 0, format!("{} spans were lost without being counted", self.lost()));
        law(
            self.unique <= self.emitted,
            format!("{} spans arrived of {} emitted", self.unique, self.emitted),
        );
        let duplicates = self.duplicates().saturating_sub(before.duplicates());
        law(
            !outcomes_known || duplicates == 0,
            format!("{duplicates} duplicates, and every outcome was known"),
        );
        let unseen = (self.unique - before.unique.min(self.unique))
            .saturating_sub(self.delivered - before.delivered.min(self.delivered));
        law(
            !outcomes_known || unseen == 0,
            format!("{unseen} spans arrived unacknowledged, and every outcome was known"),
        );
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Ledger = Ledger {
        emitted: 100,
        accepted: 100,
        delivered: 90,
        rejected: 1,
        dropped: 9,
        in_flight: 0,
        records: 90,
        unique: 90,
    };

    fn broken(ledger: Ledger) -> String {
        ledger.violations(&Ledger::default(), true).join("; ")
    }

    #[test]
    fn at_rest_every_span_has_one_fate_at_both_ends() {
        assert_eq!(broken(GOOD), "");
        assert_eq!(broken(Ledger::default()), "");
    }

    #[test]
    fn each_way_to_break_the_law_is_told() {
        for (ledger, told) in [
            (Ledger { in_flight: 1, dropped: 8, ..GOOD }, "in flight"),
            (Ledger { accepted: 99, ..GOOD }, "reached the door"),
            (Ledger { dropped: 8, ..GOOD }, "fates of 99 are known"),
            (Ledger { dropped: 8, ..GOOD }, "1 spans were lost without being counted"),
            (Ledger { records: 89, unique: 89, ..GOOD }, "89 of 90 acknowledged"),
            (Ledger { emitted: 80, accepted: 80, ..GOOD }, "arrived of 80 emitted"),
            (Ledger { records: 91, ..GOOD }, "1 duplicates"),
            (Ledger { records: 92, unique: 92, ..GOOD }, "2 spans arrived unacknowledged"),
        ] {
            assert!(broken(ledger).contains(told), "{ledger:?}: {}", broken(ledger));
        }
    }

    #[test]
    fn after_an_unknown_outcome_a_span_may_arrive_twice_or_unacknowledged() {
        let doubled = Ledger { records: 99, unique: 95, ..GOOD };
        assert!(doubled.violations(&Ledger::default(), false).is_empty());
        let later = Ledger {
            emitted: 101,
            accepted: 101,
            delivered: 91,
            records: 100,
            unique: 96,
            ..doubled
        };
        assert!(later.violations(&doubled, true).is_empty(), "what was before stays excused");
    }
}
