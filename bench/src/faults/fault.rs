//! What can be wrong, and how it is written.

use std::{fmt, str::FromStr, time::Duration};

/// What the proxy does to its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is wrong.
    #[default]
    Pass,
    /// A round trip takes so much longer, half of it in each direction; throughput is not limited,
    /// and a connection is accepted at once.
    Latency(Duration),
    /// Nothing moves in either direction; when it ends, everything goes on where it was.
    Stall,
    /// What arrives disappears and nothing is answered, as if the peer's machine had lost its power:
    /// the connections of that time stay so until the client closes them, however the fault ends.
    Blackhole,
    /// So many bytes of answers pass on each connection from now on, then both of its ends are reset.
    Reset(u64),
    /// The client's bytes are read at this rate a second, all answers pass.
    Slow(u64),
    /// Connections are accepted and reset at once; those that were there are reset too.
    Refuse,
    /// Every request gets this status and no collector sees it, with `Retry-After` in seconds if
    /// there is one. This fault and the next three end the connections that were there, and speak
    /// HTTP/1.1.
    Answer(u16, Option<u64>),
    /// Every request gets this status with a body that never ends.
    Endless(u16),
    /// Every request gets an answer whose head never ends.
    HeaderBomb,
    /// Every request gets an answer that is not HTTP.
    Garbage,
}

impl Fault {
    /// Whether the proxy answers by itself.
    pub fn answers(self) -> bool {
        matches!(self, Self::Answer(..) | Self::Endless(_) | Self::HeaderBomb | Self::Garbage)
    }

    /// Whether requests that were under way when it came or went may have arrived although the client
    /// saw them fail: then a retry may be a duplicate.
    pub fn hides_outcomes(self) -> bool {
        !matches!(self, Self::Pass | Self::Latency(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.pad("pass"),
            Self::Latency(more) => f.pad(&format!("latency {}ms", more.as_millis())),
            Self::Stall => f.pad("stall"),
            Self::Blackhole => f.pad("blackhole"),
            Self::Reset(bytes) => f.pad(&format!("reset {bytes}")),
            Self::Slow(rate) => f.pad(&format!("slow {rate}")),
            Self::Refuse => f.pad("refuse"),
            Self::Answer(status, None) => f.pad(&format!("answer {status}")),
            Self::Answer(status, Some(wait)) => {
                f.pad(&format!("answer {status} retry-after {wait}"))
            }
            Self::Endless(status) => f.pad(&format!("endless {status}")),
            Self::HeaderBomb => f.pad("header-bomb"),
            Self::Garbage => f.pad("garbage"),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |word: &str| {
            word.parse::<u64>().map_err(|_| format!("{word:?} in {text:?} is not a number"))
        };
        match words[..] {
            ["pass"] => Ok(Self::Pass),
            ["latency", more] => duration(more).map(Self::Latency),
            ["stall"] => Ok(Self::Stall),
            ["blackhole"] => Ok(Self::Blackhole),
            ["reset", bytes] => number(bytes).map(Self::Reset),
            ["slow", "0"] => Err("a rate of 0 is the fault stall".to_owned()),
            ["slow", rate] => number(rate).map(Self::Slow),
            ["refuse"] => Ok(Self::Refuse),
            ["answer", status] => status_of(status).map(|status| Self::Answer(status, None)),
            ["answer", status, "retry-after", wait] => {
                Ok(Self::Answer(status_of(status)?, Some(number(wait)?)))
            }
            ["endless"] => Ok(Self::Endless(200)),
            ["endless", status] => status_of(status).map(Self::Endless),
            ["header-bomb"] => Ok(Self::HeaderBomb),
            ["garbage"] => Ok(Self::Garbage),
            _ => Err(format!("there is no fault {text:?}; the faults are {FAULTS}")),
        }
    }
}

/// A time with its unit: `20ms`, `3s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let number = |digits: &str| digits.parse::<u64>().ok();
    let parsed = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => number(digits).map(Duration::from_millis),
        (None, Some(digits)) => number(digits).map(Duration::from_secs),
        (None, None) => None,
    };
    parsed.ok_or_else(|| format!("{text:?} is not a time such as 20ms or 3s"))
}

fn status_of(word: &str) -> Result<u16, String> {
    let status = word.parse().ok().filter(|status| (200..600).contains(status));
    status.ok_or_else(|| format!("{word:?} is not a status from 200 to 599"))
}

const FAULTS: &str = "pass, latency TIME, stall, blackhole, reset BYTES, slow BYTES, refuse, \
    answer STATUS [retry-after SECONDS], endless [STATUS], header-bomb, garbage";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_as_it_is_written() {
        for text in [
            "pass",
            "latency 20ms",
            "stall",
            "blackhole",
            "reset 17",
            "slow 100000",
            "refuse",
            "answer 503",
            "answer 429 retry-after 2",
            "endless 503",
            "header-bomb",
            "garbage",
        ] {
            assert_eq!(text.parse::<Fault>().map(|fault| fault.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("endless".parse(), Ok(Fault::Endless(200)));
        assert_eq!("latency 2s".parse(), Ok(Fault::Latency(Duration::from_secs(2))));
    }

    #[test]
    fn what_is_no_fault_says_what_is_wrong() {
        for (text, word) in [
            ("", "the faults are"),
            ("latency", "the faults are"),
            ("latency 20", "not a time"),
            ("reset -1", "not a number"),
            ("slow 0", "stall"),
            ("answer 99", "not a status"),
            ("answer 503 retry-after soon", "not a number"),
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }
}
