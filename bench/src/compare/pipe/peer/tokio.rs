//! A bounded channel of tokio, without waiting at either end.

use std::hint::black_box;

use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::compare::pipe::queue::{Drain, Push, Queue, RECORDS};

pub(super) struct Channel;

impl<const N: usize> Queue<N> for Channel {
    type Push = Sender<[u8; N]>;
    type Drain = Receiver<[u8; N]>;

    fn open(threads: usize) -> (Vec<Self::Push>, Self::Drain) {
        let (sender, receiver) = mpsc::channel(RECORDS);
        (vec![sender; threads], receiver)
    }
}

impl<const N: usize> Push<N> for Sender<[u8; N]> {
    #[inline]
    fn push(&mut self, record: &[u8; N]) -> bool {
        self.try_send(*record).is_ok()
    }
}

impl<const N: usize> Drain for Receiver<[u8; N]> {
    fn drain(&mut self) -> usize {
        std::iter::from_fn(|| self.try_recv().ok()).map(black_box).count()
    }
}
