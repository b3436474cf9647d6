//! The tasks whose futures a worker has to drop before it ends.

use std::cell::RefCell;

use crate::task::schedule::{Owner, TaskRef};

/// A slab of references; a task knows its place.
#[derive(Default)]
pub(super) struct Owned(RefCell<Slab>);

#[derive(Default)]
struct Slab {
    places: Vec<Option<TaskRef>>,
    /// Indices of the places that are free.
    free: Vec<u32>,
}

impl Owned {
    /// Takes out any one task.
    pub(super) fn pop(&self) -> Option<TaskRef> {
        let mut slab = self.0.borrow_mut();
        // The places shrink as they are emptied from the end, so popping all is linear.
        while let Some(place) = slab.places.pop() {
            if place.is_some() {
                return place;
            }
        }
        // No place is left that a free index could mean.
        slab.free.clear();
        None
    }
}

impl Owner for Owned {
    fn adopt(&self, task: TaskRef) -> u32 {
        let mut slab = self.0.borrow_mut();
        let end = slab.places.len();
        // While `pop` empties the slab, free indices may lie beyond its end.
        let place = loop {
            match slab.free.pop() {
                Some(place) if (place as usize) < end => break place,
                Some(_) => {}
                None => {
                    slab.places.push(None);
                    break u32::try_from(end).expect("more than 4 billion tasks on one worker");
                }
            }
        };
        slab.places[place as usize] = Some(task);
        place
    }

    fn release(&self, place: u32) -> Option<TaskRef> {
        let mut slab = self.0.borrow_mut();
        let task = slab.places.get_mut(place as usize)?.take();
        if task.is_some() {
            slab.free.push(place);
        }
        task
    }
}
