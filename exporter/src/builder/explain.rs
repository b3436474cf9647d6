//! What became of each environment variable: for people who wonder where a setting came from.

use std::fmt;

use super::Builder;
use crate::encode::limits::{Given, GivenModel};
use crate::env::table::{Row, Shows, TABLE};
use crate::env::{self, Reading, So, Taken, Warning};
use crate::error::BuildError;
use crate::model::Signal;
use crate::transport::endpoint::redacted;

/// What a configuration comes to: each variable that there is, and whether an exporter can be
/// built.
///
/// It shows no secrets: of headers the names, of URLs neither user name, password nor query.
/// [`Display`](fmt::Display) is for people, a block for each setting.
///
/// # Examples
///
/// ```
/// use spanwire::{Exporter, Standing};
///
/// let variables = |name: &str| match name {
///     "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("2500".to_owned()),
///     "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" => Some("soon".to_owned()),
///     _ => None,
/// };
/// let explanation = Exporter::builder().env_from(variables).explain();
/// let of = |name| explanation.variables.iter().find(|it| it.name == name).unwrap();
/// assert!(matches!(of("OTEL_EXPORTER_OTLP_TIMEOUT").standing, Standing::Applies(_)));
/// let ignored = of("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT");
/// assert_eq!(ignored.standing, Standing::Ignored);
/// assert_eq!(ignored.remarks, ["\"soon\" is not a whole number from 0 on"]);
/// assert!(explanation.error.is_none());
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Every variable that means something, set or not, by setting; those of a signal before the
    /// generic one.
    pub variables: Vec<Variable>,
    /// Why [`Builder::build`] would fail.
    pub error: Option<BuildError>,
}

/// A variable, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// Names the setting, of which it is one variable: `E1`, `E2` and so on.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its value, as far as that may be shown; none if it is not set, or empty.
    pub value: Option<String>,
    /// What became of it.
    pub standing: Standing,
    /// What is odd about it.
    pub remarks: Vec<String>,
    /// Unit or form of its value.
    pub takes: &'static str,
    /// What holds if nothing is said.
    pub default: &'static str,
    /// What sets the same in code.
    pub code: &'static str,
    /// What follows from it.
    pub effect: &'static str,
}

/// What became of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It is not set, or empty.
    Unset,
    /// It applies, to these signals; to what is not of a signal, if there are none.
    Applies(Vec<Signal>),
    /// It would apply if this variable or builder method did not beat it.
    Overruled(&'static str),
    /// It is as if it were unset; the remarks say why.
    Ignored,
    /// It is an error of [`Builder::build`].
    Refused,
}

impl Builder {
    /// Tells of each environment variable what became of it, and whether [`build`](Self::build)
    /// would succeed. It starts nothing, but opens the files that `build` would open.
    ///
    /// The command `spanwire env` prints it for an exporter that is configured by nothing but the
    /// environment.
    pub fn explain(self) -> Explanation {
        let before: Vec<_> = rows().map(|(row, name)| self.before(row, name)).collect();
        let Reading { settings, mut warnings, taken } = self.read_env();
        let error = self.resolve(settings, &mut warnings).err();
        let outcome = Outcome { warnings, taken, error };
        let variables = rows().zip(before).map(|(row, before)| outcome.of(row, before)).collect();
        Explanation { variables, error: outcome.error }
    }

    /// What there is to say of a variable before any is read: its value, as far as that may be
    /// shown, and what of the code beats it.
    fn before(&self, row: &Row, name: &str) -> (Option<String>, Option<&'static str>) {
        let value = (self.lookup)(name).map(|value| value.to_string_lossy().trim().to_owned());
        let value = value.filter(|value| !value.is_empty()).map(|value| match row.shows {
            Shows::Value => value,
            Shows::Url => redacted(&value),
            Shows::HeaderNames => env::hidden_headers(&value),
        });
        (value, self.overruling(row, name))
    }

    /// What of the code beats the variable `name` of `row`.
    fn overruling(&self, row: &Row, name: &str) -> Option<&'static str> {
        let by = |is_set: bool, method| is_set.then_some(method);
        let index = row.names.iter().position(|other| *other == name).unwrap_or(0);
        match row.id {
            "E1" => self.overruling_endpoint(index),
            "E2" => by(self.insecure.is_some(), "Builder::insecure"),
            #[cfg(feature = "tls")]
            "E3" | "E4" | "E5" => by(self.tls.overrule(row.id, index), "Builder::tls"),
            "E7" => by(self.compression.is_some(), "Builder::compression"),
            "E8" => by(self.timeout.is_some(), "Builder::timeout"),
            "E9" => by(self.protocol.is_some(), "Builder::protocol"),
            "E10" => by(self.metrics.temporality.is_some(), "Builder::metrics_temporality"),
            "E11" => by(self.metrics.histograms.is_some(), "Builder::metrics_histograms"),
            "E12" => by(self.exporters[index].is_some(), "Builder::signal_exporter")
                .or_else(|| by(self.output.is_some(), "Builder::file")),
            "E13" => by(self.is_disabled.is_some(), "Builder::disabled"),
            "E17" => by(self.level.is_some(), "Builder::diagnostic_level"),
            "E21" => by(self.age_max.is_some(), "Builder::batch_age"),
            "E22" | "E27" => by(self.export_timeout.is_some(), "Builder::export_timeout"),
            "E23" => by(self.buffer_bytes.is_some(), "Builder::buffer_bytes"),
            "E24" => by(self.batch.records_max.is_some(), "Builder::batch_records"),
            "E25" => by(self.lanes.is_some(), "Builder::in_flight"),
            "E41" | "E42" | "E43" => by(self.proxy.is_some(), "Builder::proxy"),
            "E44" => by(self.no_proxy.is_some(), "Builder::no_proxy"),
            "E40" => by(self.io.is_some(), "Builder::io"),
            _ => overruling_limit(&self.limits, row.id),
        }
        .or_else(|| by(self.output.is_some() && is_about_collectors(name), "Builder::file"))
    }

    /// What beats the endpoint of the signal with this index, or the generic one.
    fn overruling_endpoint(&self, index: usize) -> Option<&'static str> {
        let of_signal = self.signal_endpoints.get(index).and_then(Option::as_ref);
        let methods =
            ["Builder::traces_endpoint", "Builder::logs_endpoint", "Builder::metrics_endpoint"];
        let several = (!self.endpoints.is_empty()).then_some("Builder::endpoints");
        let of_all = several.or_else(|| self.endpoint.as_ref().map(|_| "Builder::endpoint"));
        of_signal.map(|_| methods[index]).or(of_all)
    }
}

/// Each variable with its row, in the order of the table.
fn rows() -> impl Iterator<Item = (&'static Row, &'static str)> {
    TABLE.iter().flat_map(|row| row.names.iter().map(move |name| (row, *name)))
}

/// A general limit of the code beats one of a model in the environment.
fn overruling_limit(code: &Given, id: &str) -> Option<&'static str> {
    const GENERAL: [&str; 2] = ["Builder::attribute_count_max", "Builder::attribute_value_len_max"];
    let count = |model: GivenModel| model.count_max.is_some();
    let len = |model: GivenModel| model.value_len_max.is_some();
    let (is_set, method, is_general_set, general) = match id {
        "E29" => (false, "", len(code.general), GENERAL[1]),
        "E30" => (false, "", count(code.general), GENERAL[0]),
        "E31" => {
            (len(code.span), "Builder::span_attribute_value_len_max", len(code.general), GENERAL[1])
        }
        "E32" => {
            (count(code.span), "Builder::span_attribute_count_max", count(code.general), GENERAL[0])
        }
        "E35" => (
            count(code.event),
            "Builder::event_attribute_count_max",
            count(code.general),
            GENERAL[0],
        ),
        "E36" => {
            (count(code.link), "Builder::link_attribute_count_max", count(code.general), GENERAL[0])
        }
        "E37" => {
            (len(code.log), "Builder::log_attribute_value_len_max", len(code.general), GENERAL[1])
        }
        "E38" => {
            (count(code.log), "Builder::log_attribute_count_max", count(code.general), GENERAL[0])
        }
        _ => return None,
    };
    if is_set { Some(method) } else { is_general_set.then_some(general) }
}

/// Whether a variable says how a collector is reached, which has no effect without one.
pub(super) fn is_about_collectors(name: &str) -> bool {
    let is_about_metrics = name.starts_with("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY")
        || name.starts_with("OTEL_EXPORTER_OTLP_METRICS_DEFAULT");
    name.starts_with("OTEL_EXPORTER_OTLP_") && !is_about_metrics
        || name.to_ascii_lowercase().ends_with("_proxy")
}

/// What reading and resolving came to.
struct Outcome {
    warnings: Vec<Warning>,
    taken: Vec<Taken>,
    error: Option<BuildError>,
}

impl Outcome {
    fn of(
        &self,
        (row, name): (&Row, &'static str),
        (value, overruling): (Option<String>, Option<&'static str>),
    ) -> Variable {
        let standing = match &value {
            None if self.is_ignored(name) => Standing::Ignored,
            None => Standing::Unset,
            Some(_) => self.standing(row, name, overruling),
        };
        let Row { id, takes, default, code, effect, .. } = *row;
        let remarks = self.remarks(name);
        Variable { id, name, value, standing, remarks, takes, default, code, effect }
    }

    /// Of a variable that is set.
    fn standing(&self, row: &Row, name: &str, overruling: Option<&'static str>) -> Standing {
        let taken = self.taken.iter().filter(|taken| taken.source_name == name);
        let signals: Vec<_> = taken.clone().filter_map(|taken| taken.signal).collect();
        let winner = || row.names.iter().find(|other| self.is_taken(other));
        if self.error.as_ref().and_then(BuildError::source_name) == Some(name) {
            Standing::Refused
        } else if let Some(by) = overruling {
            Standing::Overruled(by)
        } else if self.is_ignored(name) {
            Standing::Ignored
        } else if taken.count() > 0 {
            Standing::Applies(signals)
        } else {
            winner().map_or(Standing::Ignored, |winner| Standing::Overruled(winner))
        }
    }

    fn is_taken(&self, name: &str) -> bool {
        self.taken.iter().any(|taken| taken.source_name == name)
    }

    fn is_ignored(&self, name: &str) -> bool {
        let mut warnings = self.warnings.iter();
        warnings.any(|warning| warning.source_name == name && warning.so == So::Ignored)
    }

    fn remarks(&self, name: &str) -> Vec<String> {
        let warnings = self.warnings.iter().filter(|warning| warning.source_name == name);
        let error = self.error.iter().filter(|error| error.source_name() == Some(name));
        warnings.map(|warning| warning.why.clone()).chain(error.map(ToString::to_string)).collect()
    }
}

impl Variable {
    /// Whether it is set, and neither without effect nor odd.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        let is_refused = matches!(self.standing, Standing::Ignored | Standing::Refused);
        !is_refused && self.remarks.is_empty()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for setting in self.variables.chunk_by(|one, other| one.id == other.id) {
            write_setting(setting, f)?;
        }
        match &self.error {
            None => f.write_str("\nan exporter can be built"),
            Some(error) => write!(f, "\nno exporter can be built: {error}"),
        }
    }
}

/// The variables of one setting.
fn write_setting(setting: &[Variable], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(first) = setting.first() else { return Ok(()) };
    let Variable { id, takes, default, .. } = first;
    let names: Vec<_> = setting.iter().map(|variable| variable.name).collect();
    writeln!(f, "{id:4}{}  ({takes}; default {default})", family(&names))?;
    for variable in setting.iter().filter(|variable| variable.standing != Standing::Unset) {
        let value = variable.value.as_deref().unwrap_or_default();
        writeln!(f, "      {} = {value:?} {}", variable.name, variable.standing)?;
        for remark in &variable.remarks {
            writeln!(f, "          {remark}")?;
        }
    }
    Ok(())
}

/// Names that begin and end with the same words, as one: `OTEL_{TRACES_,LOGS_}EXPORTER`.
fn family(names: &[&str]) -> String {
    let words: Vec<Vec<_>> = names.iter().map(|name| name.split_inclusive('_').collect()).collect();
    let [first, rest @ ..] = &*words else { return String::new() };
    let shortest = words.iter().map(Vec::len).min().unwrap_or_default();
    let starts = |len: &usize| rest.iter().all(|words| words[..*len] == first[..*len]);
    let start = (0..=shortest).rev().find(starts).unwrap_or_default();
    let end_of = |words: &[&str], len: usize| words[words.len() - len..].concat();
    let ends = |len: &usize| rest.iter().all(|words| end_of(words, *len) == end_of(first, *len));
    let end = (0..=shortest - start).rev().find(ends).unwrap_or_default();
    let middle = |words: &Vec<&str>| words[start..words.len() - end].concat();
    let middles = words.iter().map(middle).collect::<Vec<_>>().join(",");
    let middles = if rest.is_empty() { middles } else { format!("{{{middles}}}") };
    format!("{}{middles}{}", first[..start].concat(), end_of(first, end))
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("is not set"),
            Self::Applies(signals) if signals.is_empty() => f.write_str("applies"),
            Self::Applies(signals) => {
                let names: Vec<_> = signals.iter().map(ToString::to_string).collect();
                write!(f, "applies to {}", names.join(", "))
            }
            Self::Overruled(by) => write!(f, "is overruled by {by}"),
            Self::Ignored => f.write_str("is ignored"),
            Self::Refused => f.write_str("is refused"),
        }
    }
}
