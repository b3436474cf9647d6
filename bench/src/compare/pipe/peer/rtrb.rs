//! A ring of rtrb for each thread, all of them emptied by one consumer.

use std::hint::black_box;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::compare::pipe::queue::{Drain, Push, Queue, RECORDS};

pub(super) struct Rings;

impl<const N: usize> Queue<N> for Rings {
    type Push = Producer<[u8; N]>;
    type Drain = Vec<Consumer<[u8; N]>>;

    fn open(threads: usize) -> (Vec<Self::Push>, Self::Drain) {
        (0..threads).map(|_| RingBuffer::new(RECORDS / threads)).unzip()
    }
}

impl<const N: usize> Push<N> for Producer<[u8; N]> {
    #[inline]
    fn push(&mut self, record: &[u8; N]) -> bool {
        Self::push(self, *record).is_ok()
    }
}

impl<const N: usize> Drain for Vec<Consumer<[u8; N]>> {
    fn drain(&mut self) -> usize {
        let pop = |ring: &mut Consumer<[u8; N]>| {
            std::iter::from_fn(|| ring.pop().ok()).map(black_box).count()
        };
        self.iter_mut().map(pop).sum()
    }
}
