//! The name of a destination.

use std::fmt;

/// What a destination beside the main one is called in counters, errors and diagnostics: up to
/// 32 bytes of printable ASCII. Small and `Copy`, so that errors can carry it.
///
/// # Examples
///
/// ```
/// let stats = spanwire::Stats::default();
/// for destination in &stats.destinations {
///     println!("{} has taken {} spans", destination.name, destination.traces.delivered);
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DestinationName {
    /// Printable ASCII, and zeros to the end.
    bytes: [u8; NAME_BYTES],
}

impl DestinationName {
    /// `None` unless `name` is 1 to 32 bytes of printable ASCII.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let is_printable = name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if name.is_empty() || name.len() > NAME_BYTES || !is_printable {
            return None;
        }
        let mut bytes = [0; NAME_BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self { bytes })
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        // `new` let nothing but ASCII in.
        std::str::from_utf8(&self.bytes[..end]).unwrap_or_default()
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// The longest name: enough for a region or a host's first label.
pub(crate) const NAME_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_back_as_it_was_given_and_others_are_refused() {
        let longest = "n".repeat(NAME_BYTES);
        for name in ["backup", "eu west 1", &longest] {
            assert_eq!(DestinationName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "two\nlines", "ümlaut", "nul\0", &format!("{longest}n")] {
            assert_eq!(DestinationName::new(name), None, "{name:?}");
        }
    }
}
