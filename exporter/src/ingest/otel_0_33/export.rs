//! What the exporters for the SDK's own processors have in common: a batch of records is encoded,
//! grouped by scope, submitted, and its fate awaited.

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use spanwire_runtime::buf::Cursor;

use super::scope::encode_named_scope;
use crate::encode::envelope::Group;
use crate::encode::limits::Limits;
use crate::pipeline::door::Door;
use crate::pipeline::reply::Answer;
use crate::pipeline::submission::Settlement;

/// Encoded records by scope, in the order in which the scopes came.
#[derive(Default)]
pub(super) struct Groups<'a> {
    groups: Vec<OneScope<'a>>,
    /// Index of the one that was added to last, which is often the next one too.
    last: usize,
}

struct OneScope<'a> {
    name: &'a str,
    scope: &'a InstrumentationScope,
    bytes: Vec<u8>,
}

impl<'a> Groups<'a> {
    /// Adds what `encode` writes to the records of `scope`, which is called `name` there.
    pub(super) fn add(
        &mut self,
        scope: &'a InstrumentationScope,
        name: &'a str,
        encode: impl Fn(&mut Cursor<'_>),
    ) {
        let bytes = self.bytes_of(scope, name);
        let mut room = ROOM;
        // It ends: a record takes about as much as what it is made of.
        while Cursor::append_to(bytes, room, &encode).is_err() {
            room *= 2;
        }
    }

    fn bytes_of(&mut self, scope: &'a InstrumentationScope, name: &'a str) -> &mut Vec<u8> {
        let is_last = self.groups.get(self.last).is_some_and(|last| last.is(scope, name));
        if !is_last {
            let known = self.groups.iter().position(|group| group.is(scope, name));
            self.last = known.unwrap_or_else(|| {
                self.groups.push(OneScope { name, scope, bytes: Vec::new() });
                self.groups.len() - 1
            });
        }
        &mut self.groups[self.last].bytes
    }

    /// All of them, each with its scope.
    pub(super) fn finish(self, limits: &Limits) -> Vec<Group> {
        self.groups.into_iter().map(|group| group.finish(limits)).collect()
    }
}

impl OneScope<'_> {
    /// Compares the full identity, as a thread's cache of scopes does.
    fn is(&self, scope: &InstrumentationScope, name: &str) -> bool {
        self.name == name
            && self.scope.version() == scope.version()
            && self.scope.schema_url() == scope.schema_url()
            && self.scope.attributes().eq(scope.attributes())
    }

    fn finish(self, limits: &Limits) -> Group {
        let scope = encode_named_scope(self.scope, self.name, limits);
        Group { scope, runs: vec![self.bytes.into()] }
    }
}

/// What the SDK is told once the fate of a batch is known.
pub(super) async fn outcome(door: &Door, answer: Answer<Settlement>) -> OTelSdkResult {
    let settlement = answer.await;
    let lost = match settlement {
        Some(Settlement { rejected: 0, dropped: 0, .. }) => return Ok(()),
        _ if door.is_closed() => return Err(OTelSdkError::AlreadyShutdown),
        Some(lost) => lost,
        None => return Err(OTelSdkError::InternalFailure(UNANSWERED.to_owned())),
    };
    let Settlement { delivered, rejected, dropped, why } = lost;
    let why = why.unwrap_or_else(|| "see the exporter's diagnostics".to_owned());
    let text = format!(
        "{delivered} records were delivered, {rejected} rejected by the collector and {dropped} dropped: {why}"
    );
    Err(OTelSdkError::InternalFailure(text))
}

/// Room for a record at first: most spans and log records need less.
const ROOM: usize = 1 << 10;
/// Nobody says what became of a batch.
const UNANSWERED: &str = "the exporter has ended, and what was left is counted as dropped";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::Exporter;
    use crate::model::Signal;
    use crate::pipeline::reply::Waited;

    #[test]
    fn a_panic_of_the_encoder_loses_its_records_with_a_count_and_ends_no_caller() {
        let exporter = Exporter::builder().env_from(|_| None).build().unwrap();
        let door = Door::open(exporter.home(), Signal::Logs);
        let answer = door.submit_encoded(3, || panic!("expected by the test"));
        let Waited::Answered(settlement) = answer.wait_until(None) else { panic!("unanswered") };
        assert_eq!((settlement.delivered, settlement.dropped), (0, 3));
        let stats = exporter.stats();
        assert_eq!((stats.logs.emitted, stats.logs.dropped.encoder_panicked), (3, 3));
        assert_eq!(stats.accounted_for(), stats.emitted);
    }
}
