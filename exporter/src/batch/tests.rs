//! The batcher against an oracle that only knows the promises.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::model::Signal;

/// One record whose content is `id`, padded with `pad` bytes.
fn record(id: u32, pad: usize) -> Vec<u8> {
    let mut content = id.to_le_bytes().to_vec();
    content.resize(4 + pad, 0xee);
    let mut out = vec![0x12];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(content);
    out
}

/// The ids in a run, read by plain recursion over well-formed bytes.
fn ids(mut run: &[u8]) -> Vec<u32> {
    let mut ids = Vec::new();
    while !run.is_empty() {
        let total = first_record(run).expect("whole records");
        let header = 1 + run[1..].iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
        ids.push(u32::from_le_bytes(run[header..header + 4].try_into().unwrap()));
        run = &run[total..];
    }
    ids
}

fn item(resource: u32, scope: u32, records: &[Vec<u8>]) -> Item {
    Item {
        resource,
        scope,
        records: records.len() as u64,
        bytes: records.concat().into(),
        resource_bytes: 0,
        scope_bytes: 0,
    }
}

/// Of a run of spans that others stand before.
fn prefix(run: &[u8], bytes_max: usize, records_max: u64) -> Option<(usize, u64)> {
    prefix_that_fits(run, bytes_max, records_max, weigher(Signal::Traces), false)
}

fn batcher(limits: Limits) -> (Batcher, Vec<Batch>) {
    (Batcher::new(limits, weigher(Signal::Traces)), Vec::new())
}

/// Counts a record for as much as its first byte says.
fn by_first_byte(record: &[u8]) -> u64 {
    record[2].into()
}

#[test]
fn a_record_that_counts_for_more_than_the_limit_is_a_batch_of_its_own() {
    let limits = Limits { records_max: Some(10), ..Limits::default() };
    let (mut batcher, mut due) = (Batcher::new(limits, by_first_byte), Vec::new());
    let run = [record(4, 0), record(6, 0), record(50, 0), record(1, 0)];
    let whole = Item { records: 61, ..item(0, 0, &run) };
    assert_eq!(batcher.push(whole, &mut due), Oversize::default());
    batcher.cut_all(&mut due);
    let records: Vec<_> = due.iter().map(|batch| batch.records).collect();
    assert_eq!(records, [10, 50, 1]);
}

#[test]
fn what_is_cut_apart_adds_up_and_leaves_what_is_open_alone() {
    let limits = Limits { request_bytes_max: 2000, target_bytes: 1000, ..Limits::default() };
    let (mut batcher, mut due) = batcher(limits);
    let _ = batcher.push(item(0, 0, &[record(1, 10)]), &mut due);
    let apart = || vec![item(0, 0, &[record(2, 900), record(3, 900)]), item(0, 1, &[record(4, 0)])];
    // Nobody has counted how many are in which item.
    let uncounted = apart().into_iter().map(|item| Item { records: 0, ..item }).collect();
    assert_eq!(batcher.cut_apart(uncounted, 3, &mut due), Oversize::default());
    assert_eq!(due.iter().map(|batch| batch.records).sum::<u64>(), 3);
    assert!(due.iter().all(|batch| batch.request_bytes <= 2000));
    assert_eq!((batcher.open.len(), batcher.open[0].records), (1, 1));
    due.clear();
    // What fits nowhere is counted too.
    let huge = vec![item(0, 0, &[record(5, 3000), record(6, 0)])];
    let left_out = batcher.cut_apart(huge, 2, &mut due);
    assert_eq!((left_out.records, due[0].records), (1, 1));
}

#[test]
fn a_batch_is_cut_when_it_reaches_its_target() {
    let (mut batcher, mut due) = batcher(Limits { target_bytes: 200, ..Limits::default() });
    let one = item(0, 0, &[record(1, 100)]);
    assert_eq!(batcher.push(one.clone(), &mut due), Oversize::default());
    assert!(due.is_empty());
    let _ = batcher.push(one, &mut due);
    assert_eq!((due.len(), due[0].records, batcher.open.len()), (1, 2, 0));
}

#[test]
fn requests_never_mix_resources() {
    let (mut batcher, mut due) = batcher(Limits::default());
    for resource in [0, 1, 0] {
        let _ = batcher.push(item(resource, 9, &[record(resource, 0)]), &mut due);
    }
    batcher.cut_all(&mut due);
    let mut found: Vec<_> = due.iter().map(|batch| (batch.resource, batch.records)).collect();
    found.sort_unstable();
    assert_eq!(found, [(0, 2), (1, 1)]);
    assert!(batcher.open.is_empty());
}

#[test]
fn runs_are_grouped_by_scope() {
    let (mut batcher, mut due) = batcher(Limits::default());
    for (scope, id) in [(5, 1), (6, 2), (5, 3)] {
        let _ = batcher.push(item(0, scope, &[record(id, 0)]), &mut due);
    }
    batcher.cut_all(&mut due);
    let groups: Vec<_> = due[0]
        .groups
        .iter()
        .map(|(scope, runs)| (*scope, runs.iter().flat_map(|run| ids(run)).collect::<Vec<_>>()))
        .collect();
    assert_eq!(groups, [(5, vec![1, 3]), (6, vec![2])]);
}

#[test]
fn a_record_above_the_request_limit_is_oversize_and_its_neighbours_are_kept() {
    let (mut batcher, mut due) = batcher(Limits { request_bytes_max: 300, ..Limits::default() });
    let big = record(2, 400);
    let run = item(0, 0, &[record(1, 0), big.clone(), record(3, 0)]);
    let oversize = batcher.push(run, &mut due);
    assert_eq!(oversize, Oversize { records: 1, bytes: big.len() });
    batcher.cut_all(&mut due);
    let kept: Vec<_> = due.iter().flat_map(all_ids).collect();
    assert_eq!(kept, [1, 3]);
}

#[test]
fn batches_that_one_request_may_hold_are_merged_and_others_are_not() {
    let limits = Limits { target_bytes: 200, records_max: Some(3), ..Limits::default() };
    let (mut batcher, mut due) = batcher(limits);
    let mut cut = |resource, scope, ids: &[u32]| {
        let records: Vec<_> = ids.iter().map(|id| record(*id, 0)).collect();
        let _ = batcher.push(item(resource, scope, &records), &mut due);
        batcher.cut_all(&mut due);
        due.pop().unwrap()
    };
    let (mut batch, more) = (cut(0, 5, &[1]), cut(0, 5, &[2]));
    let (other_scope, too_many) = (cut(0, 6, &[3]), cut(0, 5, &[4]));
    let other_resource = cut(1, 5, &[5]);
    assert!(batcher.merge(&mut batch, more).is_ok());
    assert!(batcher.merge(&mut batch, other_resource).is_err());
    assert!(!batcher.is_full(&batch));
    assert!(batcher.merge(&mut batch, other_scope).is_ok());
    assert!(batcher.is_full(&batch));
    assert!(batcher.merge(&mut batch, too_many).is_err());
    assert_eq!((all_ids(&batch), batch.records), (vec![1, 2, 3], 3));
    assert_eq!(batch.groups.len(), 2);
    let full = batch.clone();
    let merged_bytes_max = 2 * batch.request_bytes - 1;
    let limits = Limits { merged_bytes_max, ..Limits::default() };
    batcher = Batcher::new(limits, weigher(Signal::Traces));
    assert!(!batcher.is_full(&batch));
    assert!(batcher.merge(&mut batch, full).is_err());
    let limits = Limits { request_bytes_max: batch.request_bytes, ..limits };
    assert!(Batcher::new(limits, weigher(Signal::Traces)).is_full(&batch));
}

#[test]
fn an_empty_run_opens_no_batch() {
    let (mut batcher, mut due) = batcher(Limits::default());
    let _ = batcher.push(item(0, 0, &[]), &mut due);
    assert!(batcher.open.is_empty());
}

#[test]
fn too_many_resources_cut_the_oldest_batch() {
    let (mut batcher, mut due) = batcher(Limits::default());
    for resource in 0..=OPEN_MAX as u32 {
        let _ = batcher.push(item(resource, 0, &[record(resource, 0)]), &mut due);
    }
    assert_eq!(due.iter().map(|batch| batch.resource).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_run_is_split_between_records_and_nowhere_else() {
    let run = [record(1, 0), record(2, 200), record(3, 0)].concat();
    let first = record(1, 0).len();
    assert_eq!(prefix(&run, run.len(), 9), Some((run.len(), 3)));
    assert_eq!(prefix(&run, run.len() - 1, 9), Some((first + record(2, 200).len(), 2)));
    assert_eq!(prefix(&run, run.len(), 1), Some((first, 1)));
    assert_eq!(prefix(&run, first - 1, 9), Some((0, 0)));
    assert_eq!(prefix(&run[..first + 1], run.len(), 9), None);
}

fn all_ids(batch: &Batch) -> Vec<u32> {
    batch.groups.iter().flat_map(|(_, runs)| runs.iter().flat_map(|run| ids(run))).collect()
}

/// What a test does to a batcher.
#[derive(Clone, Debug)]
enum Step {
    Push { resource: u32, scope: u32, pads: Vec<usize> },
    CutAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pads =
        prop::collection::vec(prop_oneof![0..40_usize, 100..140_usize, 300..600_usize], 0..12);
    let push = (0..3_u32, 0..4_u32, pads).prop_map(|(resource, scope, pads)| Step::Push {
        resource,
        scope,
        pads,
    });
    let step = prop_oneof![
        6 => push,
        1 => Just(Step::CutAll),
    ];
    prop::collection::vec(step, 1..40)
}

fn limits() -> impl Strategy<Value = Limits> {
    (50..2000_usize, 200..1500_usize, prop::option::of(0..9_u64)).prop_map(
        |(target_bytes, request_bytes_max, records_max)| Limits {
            target_bytes,
            request_bytes_max,
            records_max,
            ..Limits::default()
        },
    )
}

const RESOURCE_BYTES: usize = 37;
const SCOPE_BYTES: usize = 23;

/// Size of the request as the protocol would have it, with lengths at their widest.
fn request_bytes(batch: &Batch) -> usize {
    let scopes = batch.groups.iter().map(|(_, runs)| {
        SCOPE_BYTES + CONTAINER_BYTES_MAX + runs.iter().map(Bytes::len).sum::<usize>()
    });
    RESOURCE_BYTES + CONTAINER_BYTES_MAX + scopes.sum::<usize>()
}

proptest! {
    #[test]
    fn every_record_leaves_once_in_order_and_within_the_limits(
        limits in limits(),
        steps in steps(),
    ) {
        let (mut batcher, mut due) = batcher(limits);
        let mut pushed: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        let (mut next_id, mut oversize_records) = (0, 0);
        for step in steps {
            match step {
                Step::Push { resource, scope, pads } => {
                    let mut records = Vec::new();
                    for pad in pads {
                        let record = record(next_id, pad);
                        let alone = RESOURCE_BYTES + SCOPE_BYTES + 2 * CONTAINER_BYTES_MAX;
                        if alone + record.len() <= limits.request_bytes_max {
                            pushed.entry((resource, scope)).or_default().push(next_id);
                        } else {
                            oversize_records += 1;
                        }
                        records.push(record);
                        next_id += 1;
                    }
                    let mut item = item(resource, scope, &records);
                    (item.resource_bytes, item.scope_bytes) = (RESOURCE_BYTES, SCOPE_BYTES);
                    oversize_records -= batcher.push(item, &mut due).records;
                }
                Step::CutAll => batcher.cut_all(&mut due),
            }
            prop_assert_eq!(oversize_records, 0);
        }
        batcher.cut_all(&mut due);

        let mut left: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        for batch in &due {
            let found: usize = all_ids(batch).len();
            prop_assert!(found > 0);
            prop_assert_eq!(found as u64, batch.records);
            prop_assert!(request_bytes(batch) <= limits.request_bytes_max);
            prop_assert_eq!(request_bytes(batch), batch.request_bytes);
            prop_assert!(limits.records_max.is_none_or(|max| batch.records <= max.max(1)));
            for (scope, runs) in &batch.groups {
                let tag = left.entry((batch.resource, *scope)).or_default();
                tag.extend(runs.iter().flat_map(|run| ids(run)));
            }
        }
        pushed.retain(|_, ids| !ids.is_empty());
        prop_assert_eq!(left, pushed);
    }
}
