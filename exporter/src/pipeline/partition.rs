//! Sorts the records of a batch by whose trace they belong to.
//!
//! This is the one place where encoded records are copied: those of one owner are brought
//! together in one piece. As slices of where they lie they would be a piece each, and a request
//! thousands of them, which costs the kernel more than the copy.

use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::Batch;
use crate::model::Signal;
use crate::transport::balance::MemberId;
use crate::wire::fields::{log_record, span};
use crate::wire::read::{Fields, Records, Value};

/// A batch in parts, the first and the others, each with whose it is; records without a trace are nobody's. A batch that is
/// one owner's, or that cannot be read (which would be a bug), comes back as it is.
pub(crate) fn by_owner(
    batch: Batch,
    signal: Signal,
    owner_of: impl Fn(&[u8]) -> Option<MemberId>,
) -> (Sorted, Vec<Sorted>) {
    let mut parts = Parts::default();
    for (scope, runs) in &batch.groups {
        for run in runs {
            for record in Records::new(run) {
                let Ok(record) = record else { return ((None, batch), Vec::new()) };
                parts.add(trace_id(record, signal).and_then(&owner_of), *scope, record);
            }
        }
    }
    if let [only] = &parts.0[..] {
        return ((only.owner, batch), Vec::new());
    }
    let is_whole = parts.records() == batch.records;
    let mut parts = parts.0.into_iter().filter(|_| is_whole).map(|part| part.into_batch(&batch));
    match parts.next() {
        Some(first) => (first, parts.collect()),
        None => {
            drop(parts);
            ((None, batch), Vec::new())
        }
    }
}

/// Records, and whom they belong to.
pub(crate) type Sorted = (Option<MemberId>, Batch);

/// At most one for each owner, and one for nobody.
#[derive(Default)]
struct Parts(Vec<Part>);

struct Part {
    owner: Option<MemberId>,
    records: u64,
    groups: Vec<(u32, BytesMut)>,
}

impl Parts {
    fn add(&mut self, owner: Option<MemberId>, scope: u32, record: &[u8]) {
        let index = self.0.iter().position(|part| part.owner == owner).unwrap_or_else(|| {
            self.0.push(Part { owner, records: 0, groups: Vec::new() });
            self.0.len() - 1
        });
        let Part { records, groups, .. } = &mut self.0[index];
        *records += 1;
        match groups.iter_mut().rev().find(|(known, _)| *known == scope) {
            Some((_, bytes)) => bytes.put_slice(record),
            None => groups.push((scope, BytesMut::from(record))),
        }
    }

    fn records(&self) -> u64 {
        self.0.iter().map(|part| part.records).sum()
    }
}

impl Part {
    fn into_batch(self, whole: &Batch) -> (Option<MemberId>, Batch) {
        let bytes = self.groups.iter().map(|(_, bytes)| bytes.len()).sum();
        let group = |(scope, bytes): (u32, BytesMut)| (scope, vec![Bytes::from(bytes)]);
        let batch = Batch {
            resource: whole.resource,
            groups: self.groups.into_iter().map(group).collect(),
            records: self.records,
            bytes,
            request_bytes: whole.request_bytes - whole.bytes + bytes,
        };
        (self.owner, batch)
    }
}

/// The trace of a record, which stands with its key and length; none if it has none, or only
/// zeros.
fn trace_id(record: &[u8], signal: Signal) -> Option<&[u8]> {
    let number = match signal {
        Signal::Traces => span::TRACE_ID,
        Signal::Logs => log_record::TRACE_ID,
        Signal::Metrics => return None,
    };
    // The record is a field of its own, and the only one.
    let message = Fields::new(record).next()?.ok()?;
    let (_, Value::Len(message)) = message else { return None };
    match Fields::new(message).next_of(number)? {
        Ok(Value::Len(id)) if id.iter().any(|byte| *byte != 0) => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::transport::balance::{Balance, Balancer};

    fn record(message: &impl Message) -> Vec<u8> {
        let mut record = vec![0x12];
        message.encode_length_delimited(&mut record).unwrap();
        record
    }

    fn span(trace: u8) -> Vec<u8> {
        let trace_id = if trace == 0 { Vec::new() } else { vec![trace; 16] };
        record(&Span { name: format!("span of {trace}"), trace_id, ..Span::default() })
    }

    fn batch(groups: Vec<(u32, Vec<Bytes>)>) -> Batch {
        let runs = || groups.iter().flat_map(|(_, runs)| runs);
        let bytes = runs().map(Bytes::len).sum();
        let records = runs().map(|run| Records::new(run).count() as u64).sum();
        Batch { resource: 7, groups, records, bytes, request_bytes: bytes + 100 }
    }

    /// Three endpoints.
    fn members() -> Vec<MemberId> {
        let mut balancer = Balancer::new(Balance::ByTraceId);
        balancer.set((0..3).map(|endpoint| (endpoint, endpoint, 1)), |a, b| a == b);
        let now = std::time::Instant::now();
        (0..3_u64)
            .map(|endpoint| match balancer.pick(now, endpoint << 62, None, &[]) {
                crate::transport::balance::Pick::To(id) => id,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn records_without_a_trace_belong_to_nobody() {
        assert_eq!(trace_id(&span(0), Signal::Traces), None);
        let zeros = record(&Span { trace_id: vec![0; 16], ..Span::default() });
        assert_eq!(trace_id(&zeros, Signal::Traces), None);
        assert_eq!(trace_id(&span(3), Signal::Traces), Some(&[3; 16][..]));
        let log = LogRecord { severity_number: 9, trace_id: vec![4; 16], ..LogRecord::default() };
        assert_eq!(trace_id(&record(&log), Signal::Logs), Some(&[4; 16][..]));
        assert_eq!(trace_id(&record(&LogRecord::default()), Signal::Logs), None);
        assert_eq!(trace_id(&span(3), Signal::Metrics), None);
    }

    #[test]
    fn a_batch_of_one_owner_is_not_copied() {
        let members = members();
        let run = Bytes::from([span(1), span(2)].concat());
        let whole = batch(vec![(0, vec![run.clone()])]);
        let ((owner, first), others) = by_owner(whole, Signal::Traces, |_| Some(members[1]));
        assert_eq!((owner, others.len()), (Some(members[1]), 0));
        assert_eq!(first.groups[0].1[0].as_ptr(), run.as_ptr());
    }

    proptest! {
        /// Against sorting the decoded spans: each is in one part, that of its owner, in order,
        /// within its scope.
        #[test]
        fn each_record_is_in_the_part_of_its_owner_and_in_no_other(
            scopes in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(0..9_u8, 1..6), 1..4), 1..4),
        ) {
            let members = members();
            let owner = |id: &[u8]| Some(members[usize::from(id[0]) % 3]);
            let groups = scopes.iter().enumerate().map(|(scope, runs)| {
                let run = |traces: &Vec<u8>| {
                    Bytes::from(traces.iter().flat_map(|trace| span(*trace)).collect::<Vec<_>>())
                };
                (scope as u32, runs.iter().map(run).collect())
            });
            let whole = batch(groups.collect());
            let (records, bytes) = (whole.records, whole.bytes);
            let (first, others) = by_owner(whole, Signal::Traces, owner);
            let parts: Vec<_> = std::iter::once(first).chain(others).collect();
            prop_assert_eq!(parts.iter().map(|(_, part)| part.records).sum::<u64>(), records);
            prop_assert_eq!(parts.iter().map(|(_, part)| part.bytes).sum::<usize>(), bytes);
            for (owner, part) in parts {
                prop_assert_eq!((part.resource, part.request_bytes), (7, part.bytes + 100));
                for (scope, runs) in &part.groups {
                    let found: Vec<_> = runs.iter().flat_map(|run| run.to_vec()).collect();
                    let traces = scopes[*scope as usize].iter().flatten().copied();
                    let expected = traces.filter(|trace| match trace {
                        0 => owner.is_none(),
                        trace => owner == Some(members[usize::from(*trace) % 3]),
                    });
                    prop_assert_eq!(found, expected.flat_map(span).collect::<Vec<_>>());
                }
            }
        }
    }
}
