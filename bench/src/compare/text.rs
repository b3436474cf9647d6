//! A comparison of exporters as text for people.

use std::fmt;

use super::{
    Allocator,
    export::{Comparison, Mode, Section, VERSIONS_OF},
    table, versions,
};
use crate::{measure, subject::Role};

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.options();
        let [before, after] = self.load;
        writeln!(f, "{}, load average {before} before and {after} after", measure::machine())?;
        writeln!(f, "{}, {}", versions::of(&VERSIONS_OF), options.allocator)?;
        writeln!(f, "{}", versions::features())?;
        writeln!(f, "over {}", options.wire_text())?;
        match options.flood {
            None => writeln!(
                f,
                "{}, {}: {} runs of {}, {} producers; median (least..greatest)",
                options.signal, options.shape, options.runs, options.spans, options.threads
            )?,
            Some(seconds) => writeln!(
                f,
                "{}, {}: a flood of {seconds} s at default settings",
                options.signal, options.shape
            )?,
        }
        for section in &self.sections {
            write_section(f, section, options.outstanding())?;
        }
        self.floods.iter().try_for_each(|flooded| writeln!(f, "{flooded}"))?;
        for (peer, reason) in &self.skipped {
            writeln!(f, "skipped {peer}: {reason}")?;
        }
        self.goals().iter().try_for_each(|goal| writeln!(f, "goal {}", goal.text()))?;
        write!(f, "{LEGEND}")
    }
}

fn write_section(f: &mut fmt::Formatter<'_>, section: &Section, outstanding: u64) -> fmt::Result {
    match section.mode {
        Mode::Closed => writeln!(f, "\nclosed loop: at most {outstanding} outstanding")?,
        mode => writeln!(f, "\n{mode}")?,
    }
    writeln!(f, "{}", table::heading())?;
    section.lines.iter().try_for_each(|line| writeln!(f, "{}", line.text()))?;
    for ours in section.lines.iter().filter(|line| line.peer.role() == Role::Ours) {
        let ratios = table::compared(ours, &section.lines);
        let ratios =
            ratios.iter().filter(|(key, _)| SHOWN.iter().any(|shown| key.starts_with(shown)));
        for (key, of) in ratios {
            let (low, high) = (of.interval.low, of.interval.high);
            writeln!(f, "  {:<16} {key:<32} {:>7.2} ({low:.2}..{high:.2})", ours.peer, of.value)?;
        }
    }
    Ok(())
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.pad("closed loop"),
            Self::Fixed(rate) => f.pad(&format!("fixed rate {rate}/s")),
            Self::Alone => f.pad("exporter alone"),
            Self::Ceiling => f.pad("what the sink can take"),
        }
    }
}

impl fmt::Display for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Glibc => "glibc",
            Self::Mimalloc => "mimalloc",
        })
    }
}

/// The ratios that fit on a screen; all of them are in the JSON.
const SHOWN: [&str; 3] = ["cpu_", "delivered_", "app_ns_over_noop"];
const LEGEND: &str = "
ratios: how many times less CPU, how many times more delivered; in brackets the 95 % interval of the
ratio of medians (bootstrap of paired rounds); a goal passes on the unfavourable end of it.
CPU: getrusage of the whole process. machine: all cores' busy time without the sink's, so with all
that ran beside. sink: its own CPU time, counted nowhere else. wire bytes: of request bodies for a record,
/ how many times compression made them smaller. exp. %: CPU of all threads but the producing ones, in percent
of a core. noop drops every record: the SDK's floor.";
