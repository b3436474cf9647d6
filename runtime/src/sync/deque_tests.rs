//! The queue against plain ones, in one thread.

use std::sync::Arc as Tracked;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What one may do with two queues.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push(u16),
    PushFrom(usize),
    Pop,
    Steal,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..200_u16).prop_map(Step::Push),
        1 => (0..300_usize).prop_map(Step::PushFrom),
        4 => Just(Step::Pop),
        2 => Just(Step::Steal),
    ]
}

proptest! {
    #[test]
    fn queues_behave_like_plain_ones(
        start in any::<u32>(),
        shared in any::<bool>(),
        steps in vec((0..2_usize, step()), 0..200),
    ) {
        // Close to the end half of the time, so that positions wrap.
        let start = if start % 2 == 0 { start } else { u32::MAX - start % 300 };
        let queues = [Local::starting_at(start), Local::starting_at(start ^ 77)];
        let stealers = shared.then(|| [queues[0].stealer(), queues[1].stealer()]);
        let mut models = [VecDeque::new(), VecDeque::new()];
        let mut next = 0_u64;
        for (at, step) in steps {
            match step {
                Step::Push(count) => for _ in 0..count {
                    next += 1;
                    let over = queues[at].push(next).err();
                    let expected = push(&mut models[at], next);
                    prop_assert_eq!(over.map(Vec::from_iter), expected);
                }
                Step::PushFrom(count) => {
                    let mut from: VecDeque<_> = (next + 1..next + 200).collect();
                    next += 200;
                    let mut expected = from.clone();
                    let room = QUEUE_SLOTS - models[at].len();
                    let moved = count.min(room).min(from.len());
                    models[at].extend(expected.drain(..moved));
                    prop_assert_eq!(queues[at].push_from(&mut from, count), moved);
                    prop_assert_eq!(from, expected);
                }
                Step::Pop => prop_assert_eq!(queues[at].pop(), models[at].pop_front()),
                Step::Steal => if let Some(stealers) = &stealers {
                    let [to, from] = [&queues[at], &queues[1 - at]];
                    let stolen = stealers[1 - at].steal_into(to);
                    prop_assert_eq!(stolen, steal(&mut models, at));
                    prop_assert_eq!(from.len(), stealers[1 - at].len());
                }
            }
            for (queue, model) in queues.iter().zip(&models) {
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                prop_assert_eq!(queue.spare(), QUEUE_SLOTS - model.len());
            }
        }
        for (queue, model) in queues.iter().zip(models) {
            prop_assert!(std::iter::from_fn(|| queue.pop()).eq(model));
        }
    }
}

/// Pushes as documented; what comes back if it is full.
fn push(model: &mut VecDeque<u64>, item: u64) -> Option<Vec<u64>> {
    model.push_back(item);
    (model.len() > QUEUE_SLOTS).then(|| model.drain(QUEUE_SLOTS / 2..).collect())
}

/// Steals as documented from the other queue to the one at `at`.
fn steal(models: &mut [VecDeque<u64>; 2], at: usize) -> Option<u64> {
    let queued = models[1 - at].len();
    if queued == 0 || models[at].len() > QUEUE_SLOTS / 2 {
        return None;
    }
    let half: Vec<_> = models[1 - at].drain(..queued.div_ceil(2)).collect();
    models[at].extend(&half[1..]);
    Some(half[0])
}

#[test]
fn a_dropped_queue_drops_what_is_in_it() {
    let item = Tracked::new(());
    let (queue, stealer) = deque();
    for _ in 0..3 {
        queue.push(Tracked::clone(&item)).expect("room");
    }
    let other = Local::new();
    drop(stealer.steal_into(&other));
    assert_eq!(Tracked::strong_count(&item), 3);
    drop(queue);
    assert_eq!(Tracked::strong_count(&item), 2, "what was stolen");
    assert!(stealer.steal_into(&other).is_none());
    drop(other);
    assert_eq!(Tracked::strong_count(&item), 1);
}

#[test]
fn the_owner_may_move_to_another_thread_and_thieves_may_be_shared() {
    fn assert<T: Send>() {}
    fn assert_sync<T: Send + Sync>() {}
    assert::<Local<Cell<u8>>>();
    assert_sync::<Stealer<Cell<u8>>>();
}

#[test]
fn both_positions_fit_into_the_head() {
    for (steal, real) in [(0, 0), (1, 2), (u32::MAX, 0), (0, u32::MAX), (7, u32::MAX)] {
        let head = Head { steal, real };
        assert_eq!(Head::from(u64::from(head)), head);
    }
    assert_eq!(Head { steal: 5, real: 5 }.past(1), Head { steal: 6, real: 6 });
    assert_eq!(Head { steal: 5, real: 7 }.past(1), Head { steal: 5, real: 8 }, "somebody steals");
    let end = u32::MAX;
    assert_eq!(Head { steal: end, real: end }.past(1), Head { steal: 0, real: 0 });
}
