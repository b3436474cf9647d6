//! What a queue has to do to take part.

/// A bounded queue from several threads to one, for records of `N` bytes.
pub trait Queue<const N: usize> {
    /// A thread's end.
    type Push: Push<N> + Send;
    /// The consumer's end.
    type Drain: Drain + Send;

    /// A queue for so many threads, with room for about [`RECORDS`] records; an end for each thread.
    fn open(threads: usize) -> (Vec<Self::Push>, Self::Drain);
}

/// Puts records in.
pub trait Push<const N: usize> {
    /// Copies one in; false when there is no room.
    fn push(&mut self, record: &[u8; N]) -> bool;
}

/// Takes records out.
pub trait Drain {
    /// Takes all that is there; how many.
    fn drain(&mut self) -> usize;
}

/// Does something with whatever queue it is given.
pub trait Visit<const N: usize> {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<Q: Queue<N>>(self) -> Self::Output;
}

/// Room of a queue, in records: a burst of some milliseconds. spanwire's pipe counts bytes and has
/// its default of 16 MiB, which is this many records of 512 bytes.
pub const RECORDS: usize = 32 << 10;
