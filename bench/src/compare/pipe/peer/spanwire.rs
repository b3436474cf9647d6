//! spanwire's pipe at its default sizes.

use std::sync::Arc;

use spanwire_runtime::{
    Doorbell,
    pipe::{self, Config, Drainer, Run, Tag},
};

use crate::compare::pipe::queue::{Drain, Push, Queue};

pub(super) struct Pipe;

impl<const N: usize> Queue<N> for Pipe {
    type Push = pipe::Pipe;
    type Drain = Taken;

    fn open(threads: usize) -> (Vec<pipe::Pipe>, Taken) {
        let (pipe, drainer) = pipe::Pipe::new(Config::default(), Arc::new(Doorbell::new()));
        (vec![pipe; threads], Taken { drainer, runs: Vec::new() })
    }
}

impl<const N: usize> Push<N> for pipe::Pipe {
    #[inline]
    fn push(&mut self, record: &[u8; N]) -> bool {
        self.append(Tag::new(0, 0), |cursor| cursor.put_slice(record)).is_ok()
    }
}

pub(super) struct Taken {
    drainer: Drainer,
    runs: Vec<Run>,
}

impl Drain for Taken {
    fn drain(&mut self) -> usize {
        self.drainer.take_all(&mut self.runs);
        let records = self.runs.iter().map(|run| run.records as usize).sum();
        self.runs.clear();
        self.drainer.reclaim();
        records
    }
}
