//! `spanwire env`: what the environment says to an exporter that is configured by nothing else.

use std::fmt;

use clap::Args;
use serde_json::{Value, json};
use spanwire::{Explanation, Exporter, Standing, Variable};

/// What to print.
#[derive(Clone, Copy, Debug, Args)]
pub struct Options {
    /// Print one JSON object for tools as the last line
    #[arg(long)]
    pub json: bool,
}

/// Every variable, and whether an exporter can be built.
#[derive(Debug)]
pub struct Report(Explanation);

/// Asks for this process's environment.
#[must_use]
pub fn run() -> Report {
    Report(Exporter::builder().explain())
}

impl Report {
    /// Whether an exporter can be built.
    #[must_use]
    pub fn can_build(&self) -> bool {
        self.0.error.is_none()
    }

    /// For tools.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Explanation { variables, error, .. } = &self.0;
        json!({
            "builds": self.can_build(),
            "error": error.as_ref().map(ToString::to_string),
            "variables": variables.iter().map(variable).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn variable(variable: &Variable) -> Value {
    let (standing, signals, by) = match &variable.standing {
        Standing::Unset => ("unset", vec![], None),
        Standing::Applies(signals) => {
            ("applies", signals.iter().map(ToString::to_string).collect(), None)
        }
        Standing::Overruled(by) => ("overruled", vec![], Some(*by)),
        Standing::Ignored => ("ignored", vec![], None),
        Standing::Refused => ("refused", vec![], None),
        // What a later version of the library adds.
        _ => ("other", vec![], None),
    };
    json!({
        "id": variable.id,
        "name": variable.name,
        "value": variable.value,
        "standing": standing,
        "signals": signals,
        "overruled_by": by,
        "remarks": variable.remarks,
        "takes": variable.takes,
        "default": variable.default,
        "code": variable.code,
        "effect": variable.effect,
    })
}
