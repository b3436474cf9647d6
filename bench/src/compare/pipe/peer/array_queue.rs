//! crossbeam's bounded queue of many producers and many consumers.

use std::{hint::black_box, sync::Arc};

use crossbeam_queue::ArrayQueue;

use crate::compare::pipe::queue::{Drain, Push, RECORDS};

pub(super) struct Queue;

impl<const N: usize> crate::compare::pipe::queue::Queue<N> for Queue {
    type Push = Arc<ArrayQueue<[u8; N]>>;
    type Drain = Arc<ArrayQueue<[u8; N]>>;

    fn open(threads: usize) -> (Vec<Self::Push>, Self::Drain) {
        let queue = Arc::new(ArrayQueue::new(RECORDS));
        (vec![Arc::clone(&queue); threads], queue)
    }
}

impl<const N: usize> Push<N> for Arc<ArrayQueue<[u8; N]>> {
    #[inline]
    fn push(&mut self, record: &[u8; N]) -> bool {
        ArrayQueue::push(self, *record).is_ok()
    }
}

impl<const N: usize> Drain for Arc<ArrayQueue<[u8; N]>> {
    fn drain(&mut self) -> usize {
        std::iter::from_fn(|| self.pop()).map(black_box).count()
    }
}
