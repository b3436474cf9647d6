//! What goes wrong, and when.

use std::{fmt, time::Duration};

use crate::{faults::Fault, receive::Protocol};

/// One thing that goes wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Something between exporter and collector.
    Wire(Fault),
    /// The collector is killed, and comes back.
    Killed,
    /// The collector's process stands still (SIGSTOP), and goes on.
    Frozen,
}

impl Trouble {
    /// Whether requests may have arrived although they seemed to fail.
    pub fn hides_outcomes(self) -> bool {
        match self {
            Self::Wire(fault) => fault.hides_outcomes(),
            Self::Killed | Self::Frozen => true,
        }
    }

    /// Whether nothing is wrong.
    pub fn is_calm(self) -> bool {
        self == Self::Wire(Fault::Pass)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(fault) => fault.fmt(f),
            Self::Killed => f.pad("collector killed"),
            Self::Frozen => f.pad("collector frozen"),
        }
    }
}

/// Everything once, in an order that `random` chooses after the calm beginning. What an HTTP/1.1
/// server could answer is left out of gRPC.
pub fn cycle(random: &mut fastrand::Rng, protocol: Protocol) -> Vec<Trouble> {
    let ms = Duration::from_millis;
    let mut troubles = vec![
        Trouble::Wire(Fault::Latency(ms(20))),
        Trouble::Wire(Fault::Latency(ms(200))),
        Trouble::Wire(Fault::Stall),
        Trouble::Wire(Fault::Blackhole),
        Trouble::Wire(Fault::Reset(0)),
        Trouble::Wire(Fault::Reset(random.u64(1..ANSWER_BYTES))),
        Trouble::Wire(Fault::Slow(random.u64(100_000..2_000_000))),
        Trouble::Wire(Fault::Refuse),
        Trouble::Killed,
        Trouble::Frozen,
    ];
    if protocol != Protocol::Grpc {
        troubles.extend([
            Trouble::Wire(Fault::Answer(503, Some(1))),
            Trouble::Wire(Fault::Answer(429, None)),
            Trouble::Wire(Fault::Endless(503)),
            Trouble::Wire(Fault::HeaderBomb),
            Trouble::Wire(Fault::Garbage),
        ]);
    }
    random.shuffle(&mut troubles);
    troubles.insert(0, Trouble::Wire(Fault::Pass));
    troubles
}

/// The sink's answer has about as many.
const ANSWER_BYTES: u64 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_begins_calmly_and_has_every_trouble_once() {
        let mut random = fastrand::Rng::with_seed(1);
        let http = cycle(&mut random, Protocol::Http);
        assert!(http[0].is_calm() && !http[1..].iter().any(|trouble| trouble.is_calm()));
        assert_eq!((http.len(), cycle(&mut random, Protocol::Grpc).len()), (16, 11));
        assert!(http.contains(&Trouble::Killed) && http.contains(&Trouble::Frozen));
        let again = cycle(&mut fastrand::Rng::with_seed(1), Protocol::Http);
        assert_eq!(http, again, "the same seed is the same day");
    }
}
