//! What the sink can take: the upper end of every figure of delivered spans a second.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::SinkProcess;
use crate::{
    drive::{self, Plan},
    measure, span,
    subject::{self, Kind, Settings},
};

/// What the sink took, and what that cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ceiling {
    spans_per_s: f64,
    sink_cpu_s_per_million: f64,
    sender_cpu_s_per_million: f64,
}

/// Starts a sink and sends to it for about two seconds.
pub(super) fn measure() -> Result<Ceiling, String> {
    let mut sink = SinkProcess::start_counting()?;
    let settings = Settings::new(Some(sink.endpoint().to_owned()), span::resource());
    let subject = subject::open(Kind::SinkCeiling, &settings)?;
    let plan = Plan { threads: CONNECTIONS, period: Some(PERIOD), ..Plan::default() };
    // A first part that does not count: connections, buffers, and the requests themselves.
    drive::drive(&subject, &Plan { period: Some(PERIOD / 8), ..plan.clone() });
    sink.mark()?;
    let (start, sender, receiver) =
        (Instant::now(), measure::process_cpu(), measure::cpu_of(sink.id()));
    drive::drive(&subject, &plan);
    let elapsed = start.elapsed();
    let sender = measure::process_cpu().saturating_sub(sender);
    let receiver = measure::cpu_of(sink.id()).saturating_sub(receiver);
    let spans = sink.mark()?.traces.records.max(1) as f64;
    Ok(Ceiling {
        spans_per_s: spans / elapsed.as_secs_f64(),
        sink_cpu_s_per_million: receiver.as_secs_f64() * 1e6 / spans,
        sender_cpu_s_per_million: sender.as_secs_f64() * 1e6 / spans,
    })
}

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the sink took {:.0} spans/s; CPU s per 1M spans: sink {:.3}, sender {:.3}",
            self.spans_per_s, self.sink_cpu_s_per_million, self.sender_cpu_s_per_million
        )
    }
}

/// One for each core of the smallest machine that figures come from.
const CONNECTIONS: usize = 2;
const PERIOD: Duration = Duration::from_secs(2);
