//! The table of slots against a naive model.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use proptest::prelude::*;

use super::Count;
use crate::driver::slots::{Abandoned, Effect, Key, Lent, REPEATS_MAX, Slots};

/// An operation that says which of its kind are alive.
struct Tracked(u32, Rc<RefCell<BTreeSet<u32>>>);

impl Lent for Tracked {
    fn is_repeatable(&self) -> bool {
        is_repeatable(self.0)
    }
}

fn is_repeatable(number: u32) -> bool {
    !number.is_multiple_of(3)
}

impl Drop for Tracked {
    fn drop(&mut self) {
        assert!(self.1.borrow_mut().remove(&self.0), "dropped once");
    }
}

/// One step of a sequence; numbers pick one of what there is.
#[derive(Clone, Debug)]
enum Step {
    Insert,
    Wait(usize),
    Take(usize),
    Abandon(usize),
    Complete(usize, i32),
    Cancel(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Insert),
        2 => any::<usize>().prop_map(Step::Wait),
        2 => any::<usize>().prop_map(Step::Take),
        1 => any::<usize>().prop_map(Step::Abandon),
        3 => (any::<usize>(), -5..5).prop_map(|(at, result)| Step::Complete(at, result)),
        3 => (any::<usize>(), interruption()).prop_map(|(at, end)| Step::Complete(at, end)),
        1 => any::<usize>().prop_map(Step::Cancel),
    ];
    prop::collection::vec(step, 0..200)
}

fn interruption() -> impl Strategy<Value = i32> {
    prop::sample::select(&[-libc::ECANCELED, -libc::EINTR, -libc::EAGAIN][..])
}

/// What the naive model knows of one operation.
struct Modelled {
    key: Key,
    is_held: bool,
    is_abandoned: bool,
    is_cancelled: bool,
    repeats: u8,
    /// The result, until it was fetched.
    result: Option<i32>,
    waker: Option<Arc<Count>>,
}

#[derive(Default)]
struct Model {
    ops: Vec<Modelled>,
    stale: u64,
    orphaned: u64,
    cancelled: u64,
    repeated: u64,
    /// How many operations were held or unfetched at a time, at most.
    most: u64,
}

proptest! {
    #[test]
    fn slots_do_what_a_naive_model_does(steps in steps()) {
        let alive = Rc::new(RefCell::new(BTreeSet::new()));
        let mut slots = Slots::new();
        let mut model = Model::default();
        for step in steps {
            perform(&mut slots, &mut model, &alive, step);
            let counts = slots.tally().read();
            prop_assert_eq!(counts.started, model.ops.len() as u64);
            prop_assert_eq!((counts.stale, counts.orphaned), (model.stale, model.orphaned));
            prop_assert_eq!((counts.cancelled, counts.repeated), (model.cancelled, model.repeated));
            let held: BTreeSet<u32> = numbers(&model, |op| op.is_held);
            prop_assert_eq!(slots.in_flight(), held.len());
            prop_assert_eq!(counts.started - counts.completed, held.len() as u64);
            let due = numbers(&model, |op| op.is_held || op.result.is_some());
            prop_assert_eq!(&*alive.borrow(), &due, "nothing lives longer, nothing less long");
        }
    }
}

fn numbers(model: &Model, filter: impl Fn(&Modelled) -> bool) -> BTreeSet<u32> {
    (0..).zip(&model.ops).filter(|(_, op)| filter(op)).map(|(number, _)| number).collect()
}

fn perform(
    slots: &mut Slots<Tracked>,
    model: &mut Model,
    alive: &Rc<RefCell<BTreeSet<u32>>>,
    step: Step,
) {
    let Step::Insert = step else { return act(slots, model, step) };
    let number = u32::try_from(model.ops.len()).unwrap();
    alive.borrow_mut().insert(number);
    let Ok(key) = slots.insert(Box::new(Tracked(number, Rc::clone(alive)))) else {
        panic!("there is room");
    };
    assert!(model.ops.iter().all(|op| op.key != key), "a key is never used twice");
    let new = Modelled {
        key,
        is_held: true,
        is_abandoned: false,
        is_cancelled: false,
        repeats: 0,
        result: None,
        waker: None,
    };
    model.ops.push(new);
    let due = model.ops.iter().filter(|op| op.is_held || op.result.is_some()).count();
    model.most = model.most.max(due as u64);
    assert!(key.to_bits() & 0xffff_ffff < model.most, "free slots are used first");
}

fn act(slots: &mut Slots<Tracked>, model: &mut Model, step: Step) {
    let count = model.ops.len();
    let (Step::Wait(at)
    | Step::Take(at)
    | Step::Abandon(at)
    | Step::Complete(at, _)
    | Step::Cancel(at)) = step
    else {
        return;
    };
    let Some(at) = at.checked_rem(count) else { return };
    let op = &mut model.ops[at];
    match step {
        Step::Wait(_) if op.is_held && !op.is_abandoned => {
            let count = Arc::new(Count::default());
            let old = slots.wait(op.key, Waker::from(Arc::clone(&count)));
            assert_eq!(old.is_some(), op.waker.is_some());
            op.waker = Some(count);
        }
        Step::Take(_) if !op.is_abandoned => {
            let taken = slots.take(op.key).map(|(_, result)| result);
            assert_eq!(taken, op.result.take());
        }
        Step::Abandon(_) => {
            match slots.abandon(op.key) {
                Abandoned::InFlight(waker) => {
                    assert!(op.is_held && !op.is_abandoned);
                    assert_eq!(waker.is_some(), op.waker.is_some());
                    model.orphaned += 1;
                }
                Abandoned::Ended(_, result) => assert_eq!(op.result.take(), Some(result)),
                Abandoned::Unknown => {
                    assert!(op.is_abandoned || !op.is_held && op.result.is_none());
                }
            }
            op.is_abandoned = true;
        }
        Step::Complete(_, result) => {
            slots.complete(op.key, result);
            if repeats(op, at, result) {
                op.repeats += 1;
                model.repeated += 1;
                assert_eq!(slots.next_interrupted(), Some(op.key));
            } else {
                complete(slots, op, result, &mut model.stale);
            }
            assert_eq!(slots.next_interrupted(), None);
        }
        Step::Cancel(_) => {
            assert_eq!(slots.mark_cancelled(op.key), op.is_held);
            model.cancelled += u64::from(op.is_held && !op.is_cancelled);
            op.is_cancelled |= op.is_held;
        }
        _ => {}
    }
    assert!(slots.next_effect().is_none());
}

/// Whether an end of the operation `at` is none.
fn repeats(op: &Modelled, at: usize, result: i32) -> bool {
    let is_interruption = [libc::ECANCELED, libc::EINTR, libc::EAGAIN].contains(&-result);
    let is_wanted = op.is_held && !op.is_abandoned && !op.is_cancelled;
    let number = u32::try_from(at).unwrap();
    is_interruption && is_wanted && is_repeatable(number) && op.repeats < REPEATS_MAX
}

fn complete(slots: &mut Slots<Tracked>, op: &mut Modelled, result: i32, stale: &mut u64) {
    if !op.is_held {
        *stale += 1;
        return;
    }
    op.is_held = false;
    match slots.next_effect() {
        Some(Effect::Leftover(_, left)) => assert!(op.is_abandoned && left == result),
        Some(Effect::Wake(waker)) => {
            waker.wake();
            assert_eq!(op.waker.as_ref().map(|count| count.get()), Some(1));
            op.result = Some(result);
        }
        None => {
            assert!(op.waker.is_none() && !op.is_abandoned);
            op.result = Some(result);
        }
    }
}
