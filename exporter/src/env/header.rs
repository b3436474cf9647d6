//! Headers out of `OTEL_EXPORTER_OTLP_HEADERS`, in the syntax of W3C Baggage, and out of code.

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::So;
use super::reader::Env;
use crate::error::BuildError;

/// A header and where it came from. Its value is marked as sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GivenHeader {
    /// The name.
    pub(crate) name: HeaderName,
    /// The value, percent-decoded.
    pub(crate) value: HeaderValue,
    /// The variable or builder method.
    pub(crate) source_name: &'static str,
}

/// Adds `winners` to `headers`; a name that both have keeps the winners' values only.
pub(crate) fn merge(headers: &mut Vec<GivenHeader>, winners: Vec<GivenHeader>) {
    headers.retain(|header| winners.iter().all(|winner| winner.name != header.name));
    headers.extend(winners);
}

/// A header from its parts, which were at `index` of those that `source_name` gave.
///
/// # Errors
///
/// [`BuildError::InvalidHeader`]. It shows the name if it is one: anything else may be a secret.
pub(crate) fn parse(
    name: &str,
    value: &[u8],
    index: usize,
    source_name: &'static str,
) -> Result<GivenHeader, BuildError> {
    let invalid = |name: String, why: &str| BuildError::InvalidHeader {
        name,
        source_name,
        why: why.to_owned(),
    };
    let name = HeaderName::try_from(name).map_err(|_| {
        let item = format!("item {}", index + 1);
        invalid(item, "its name is empty or has characters that no header name may have")
    })?;
    let mut value = HeaderValue::from_bytes(value).map_err(|_| {
        invalid(name.to_string(), "its value has a line break or another control character")
    })?;
    value.set_sensitive(true);
    Ok(GivenHeader { name, value, source_name })
}

/// A list of headers without their values, and without what is no header at all.
pub(crate) fn hidden(list: &str) -> String {
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if HeaderName::try_from(name.trim()).is_ok() => {
            format!("{}={HIDDEN}", name.trim())
        }
        _ => HIDDEN.to_owned(),
    };
    let pairs: Vec<_> =
        list.split(',').filter(|pair| !pair.trim().is_empty()).map(hidden).collect();
    pairs.join(",")
}

/// The headers of several variables of which the first wins.
pub(super) fn read(
    env: &mut Env<'_>,
    names: &[&'static str],
) -> Result<Vec<GivenHeader>, BuildError> {
    let mut headers = Vec::new();
    // The generic variable first: what comes later wins.
    for name in names.iter().rev() {
        let Some(list) = env.taken_value(name) else { continue };
        for (index, pair) in list.split(',').enumerate() {
            if let Some(header) = header(env, name, index, pair.trim())? {
                merge(&mut headers, vec![header]);
            }
        }
    }
    Ok(headers)
}

/// Reads one `name=value`. What has no `=`, or no name before it, is not shown: it may be a
/// secret (`Authorization: Bearer ...==`, say).
fn header(
    env: &mut Env<'_>,
    source_name: &'static str,
    index: usize,
    pair: &str,
) -> Result<Option<GivenHeader>, BuildError> {
    if pair.is_empty() {
        return Ok(None);
    }
    let Some((name, value)) = pair.split_once('=') else {
        env.tell(source_name, So::Changed, format!("item {} has no '='", index + 1));
        return Ok(None);
    };
    let decoded: Vec<u8> = percent_decode_str(value.trim()).collect();
    parse(name.trim(), &decoded, index, source_name).map(Some)
}

/// Stands for what is not shown.
const HIDDEN: &str = "***";
