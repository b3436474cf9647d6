//! The tasks whose futures a worker has to drop before it ends.

use crate::task::schedule::TaskRef;

/// A list of references; a task knows its place.
#[derive(Default)]
pub(super) struct Owned {
    places: Vec<Option<TaskRef>>,
    /// Indices of the places that are free.
    free: Vec<u32>,
}

impl Owned {
    /// Adds a task; the result is its place.
    pub(super) fn adopt(&mut self, task: TaskRef) -> u32 {
        let end = self.places.len();
        // While `pop` empties the list, free indices may lie beyond its end.
        let place = loop {
            match self.free.pop() {
                Some(place) if (place as usize) < end => break place,
                Some(_) => {}
                None => {
                    self.places.push(None);
                    break u32::try_from(end).expect("more than 4 billion tasks on one worker");
                }
            }
        };
        self.places[place as usize] = Some(task);
        place
    }

    /// Removes the task at `place`, if it is still there.
    pub(super) fn release(&mut self, place: u32) -> Option<TaskRef> {
        let task = self.places.get_mut(place as usize)?.take();
        if task.is_some() {
            self.free.push(place);
        }
        task
    }

    /// Takes out any one task.
    pub(super) fn pop(&mut self) -> Option<TaskRef> {
        // The places shrink as they are emptied from the end, so popping all is linear.
        while let Some(place) = self.places.pop() {
            if place.is_some() {
                return place;
            }
        }
        // No place is left that a free index could mean.
        self.free.clear();
        None
    }
}
