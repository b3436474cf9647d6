//! One direction of one connection: a thread that reads and one that writes, with a queue between
//! them whose chunks know when they are due.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Fault, proxy::Shared};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// Both sockets of a connection, and what became of it.
pub(super) struct Link {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    fate: Mutex<Fate>,
}

#[derive(Debug, Default)]
struct Fate {
    /// Once swallowed, always swallowed.
    swallowed: bool,
    /// Bytes of answers since the present fault began, by its number.
    answered: (u64, u64),
}

/// What to do with a chunk that was read.
enum Way {
    Forward { bytes: usize, delay: Duration },
    ForwardThenReset(usize),
    Swallow,
}

impl Link {
    pub(super) fn new(client: TcpStream, server: TcpStream) -> Self {
        Self { client, server, fate: Mutex::default() }
    }

    /// Moves bytes in one direction until its end.
    pub(super) fn relay(self: &Arc<Self>, direction: Direction, shared: &Arc<Shared>) {
        let (chunks, queue) = mpsc::channel();
        let room = Arc::new(Room::default());
        let writer = {
            let (link, room, shared) = (Arc::clone(self), Arc::clone(&room), Arc::clone(shared));
            let write = move || link.write(direction, &queue, &room, &shared);
            thread::Builder::new().name("proxy-write".into()).spawn(write)
        };
        let Ok(writer) = writer else { return self.reset() };
        if self.read(direction, shared, &chunks, &room).is_err() {
            self.close();
        }
        drop(chunks);
        // It does not panic.
        let _ = writer.join();
        let swallowed = self.lock().swallowed;
        let ended = if swallowed {
            self.close();
            Ok(())
        } else {
            self.to(direction).shutdown(Shutdown::Write)
        };
        // The other end may have gone already.
        drop(ended);
    }

    fn read(
        &self,
        direction: Direction,
        shared: &Shared,
        chunks: &mpsc::Sender<(Instant, Vec<u8>)>,
        room: &Room,
    ) -> io::Result<()> {
        let mut due = Instant::now();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let most = pause_before_reading(direction, shared);
            let read = self.from(direction).read(&mut buffer[..most.min(CHUNK_BYTES)])?;
            if read == 0 {
                return Ok(());
            }
            let now = Instant::now();
            shared.count(direction, read);
            match self.way(direction, shared, read) {
                Way::Swallow => {}
                Way::Forward { bytes, delay } => {
                    due = due.max(now + delay);
                    room.take(bytes);
                    shared.queued(bytes as i64);
                    if chunks.send((due, buffer[..bytes].to_vec())).is_err() {
                        return Ok(());
                    }
                }
                Way::ForwardThenReset(bytes) => {
                    // What is before the cut must arrive: a reset may overtake what is in a buffer.
                    room.wait_until_empty();
                    self.to(direction).write_all(&buffer[..bytes])?;
                    thread::sleep(CUT_AFTER);
                    self.reset();
                    return Ok(());
                }
            }
        }
    }

    fn write(
        &self,
        direction: Direction,
        queue: &Receiver<(Instant, Vec<u8>)>,
        room: &Room,
        shared: &Shared,
    ) {
        let mut broken = false;
        for (due, chunk) in queue {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if !broken && self.to(direction).write_all(&chunk).is_err() {
                // The reader learns it from its socket, and the queue goes on to be emptied.
                broken = true;
                self.close();
            }
            room.give(chunk.len());
            shared.queued(-(chunk.len() as i64));
        }
    }

    /// Decides by the fault that is in force after the chunk was read; waits while it is a stall.
    fn way(&self, direction: Direction, shared: &Shared, read: usize) -> Way {
        let (number, fault) = shared.fault_after_stall();
        let mut fate = self.lock();
        if fate.swallowed {
            return Way::Swallow;
        }
        match (fault, direction) {
            (Fault::Reset(at), Direction::Down) => {
                if fate.answered.0 != number {
                    fate.answered = (number, 0);
                }
                let before = fate.answered.1;
                fate.answered.1 += read as u64;
                if fate.answered.1 >= at {
                    let rest = usize::try_from(at.saturating_sub(before)).unwrap_or(read);
                    Way::ForwardThenReset(rest.min(read))
                } else {
                    Way::Forward { bytes: read, delay: Duration::ZERO }
                }
            }
            (Fault::Latency(more), _) => Way::Forward { bytes: read, delay: more / 2 },
            _ => Way::Forward { bytes: read, delay: Duration::ZERO },
        }
    }

    /// Lets nothing pass any more, and does not say so.
    pub(super) fn swallow(&self) {
        self.lock().swallowed = true;
    }

    /// Ends both connections at once, so that both peers see a reset.
    pub(super) fn reset(&self) {
        for stream in [&self.client, &self.server] {
            // Shutting it down would be an orderly end, and closing it waits for the threads that
            // read from it. A socket that is gone is as good as reset.
            let _ = rustix::net::connect_unspec(stream);
        }
        self.close();
    }

    /// Ends both connections.
    pub(super) fn close(&self) {
        for stream in [&self.client, &self.server] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn from(&self, direction: Direction) -> &TcpStream {
        if direction == Direction::Up { &self.client } else { &self.server }
    }

    fn to(&self, direction: Direction) -> &TcpStream {
        if direction == Direction::Up { &self.server } else { &self.client }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much to read next. A stall ends first; a slow reader takes its time.
fn pause_before_reading(direction: Direction, shared: &Shared) -> usize {
    match shared.fault_after_stall() {
        (_, Fault::Slow(rate)) if direction == Direction::Up => {
            thread::sleep(SLOW_TICK);
            let part = rate as f64 * SLOW_TICK.as_secs_f64();
            (part as usize).max(1)
        }
        _ => CHUNK_BYTES,
    }
}

/// Bytes between a reader and its writer.
#[derive(Default)]
struct Room {
    used: Mutex<usize>,
    changed: Condvar,
}

impl Room {
    /// Waits until less than the limit is used.
    fn take(&self, bytes: usize) {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut used = self
            .changed
            .wait_while(used, |used| *used > QUEUE_BYTES_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        *used += bytes;
    }

    fn give(&self, bytes: usize) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
        self.changed.notify_all();
    }

    fn wait_until_empty(&self) {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(used, |used| *used > 0));
    }
}

const CHUNK_BYTES: usize = 64 << 10;
/// What a delay of 100 ms holds at 640 MB/s.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// How often a slow reader reads.
const SLOW_TICK: Duration = Duration::from_millis(10);
/// Long enough on loopback for the bytes before a reset to be in the peer's buffer; a reset drops
/// what the kernel has not handed over.
const CUT_AFTER: Duration = Duration::from_millis(2);
