//! Faults with the time of each.

use std::{str::FromStr, time::Duration};

use super::fault::{self, Fault};

/// What comes when, in the order of time. See [`crate::faults`] for how it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(Vec<(Duration, Fault)>);

impl Script {
    /// The changes, each with its time from the start.
    pub fn changes(&self) -> &[(Duration, Fault)] {
        &self.0
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut changes: Vec<(Duration, Fault)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let at_line = |error| format!("line {}: {error}", number + 1);
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (time, fault) = line
                .split_once(char::is_whitespace)
                .ok_or_else(|| at_line(format!("{line:?} is not a time and a fault")))?;
            let time = fault::duration(time).map_err(at_line)?;
            if changes.last().is_some_and(|(last, _)| *last > time) {
                return Err(at_line("the times go backwards".to_owned()));
            }
            changes.push((time, fault.parse().map_err(at_line)?));
        }
        Ok(Self(changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_a_line_for_each_change() {
        let script: Script =
            "# a bad day\n0s pass\n\n1500ms  latency 20ms # slow\n2s stall".parse().unwrap();
        let ms = Duration::from_millis;
        let expected =
            [(ms(0), Fault::Pass), (ms(1500), Fault::Latency(ms(20))), (ms(2000), Fault::Stall)];
        assert_eq!(script.changes(), expected);
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        for (text, wanted) in [
            ("0s pass\nstall", "line 2"),
            ("0s\tpass\n3 stall", "line 2: \"3\" is not a time"),
            ("2s pass\n1s stall", "line 2: the times go backwards"),
            ("0s nothing", "line 1: there is no fault"),
        ] {
            let error = text.parse::<Script>().unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
