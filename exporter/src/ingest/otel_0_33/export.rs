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
use crate::pipeline::submission::{Settlement, Submission};

/// Encoded records by scope, in the order in which the scopes came.
#[derive(Default)]
pub(super) struct Groups<'a> {
    groups: Vec<OneScope<'a>>,
    /// Index of the one that was added to last, which is often the next one too.
    last: usize,
    records: u64,
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
        self.records += 1;
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

    /// Hands all of them to the exporter.
    pub(super) fn submit_to(self, door: &Door) -> Answer<Settlement> {
        let (records, limits) = (self.records, door.limits());
        let groups = self.groups.into_iter().map(|group| group.finish(limits)).collect();
        door.submit(Submission { groups, records })
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
