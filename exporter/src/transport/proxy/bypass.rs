//! Which endpoints no proxy is asked for: the list of `NO_PROXY`.
//!
//! There is no specification; this is what curl, Go and Python agree on, and where they differ
//! it is the reading that connects directly more often. No name is resolved: an entry that is an
//! address stands for endpoints that are addresses.
//!
//! | entry | covers |
//! |---|---|
//! | `*` | everything |
//! | `example.com`, `.example.com`, `*.example.com` | that name and those below it |
//! | `10.1.2.3`, `::1`, `[::1]` | that address |
//! | `10.0.0.0/8`, `fd00::/8` | the addresses of that network |
//! | any name or address, then `:4318` | the same on that port alone |

use std::net::IpAddr;

/// Endpoints that are connected to directly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bypass {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    /// All of them if there is none.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// A name and those below it; in lower case, without dots at its ends.
    Below(String),
    /// The addresses that begin with as many bits as this one does.
    Network(IpAddr, u32),
}

impl Bypass {
    /// Reads a list whose entries are separated by commas or blanks.
    pub(crate) fn parse(list: &str) -> Self {
        let entries = list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        Self { entries: entries.filter_map(Entry::parse).collect() }
    }

    /// Whether `host`, a name or an address without brackets, is connected to directly.
    pub(crate) fn covers(&self, host: &str, port: u16) -> bool {
        let (name, ip) = (normal(host), address(host));
        self.entries.iter().any(|entry| {
            entry.port.is_none_or(|only| only == port) && entry.hosts.covers(&name, ip)
        })
    }
}

/// Whether `host` is this machine whatever the resolver says (RFC 6761, section 6.3).
pub(super) fn is_loopback(host: &str) -> bool {
    let name = normal(host);
    name == "localhost"
        || name.ends_with(".localhost")
        || address(host).is_some_and(|ip| ip.is_loopback())
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if let Some(hosts) = Hosts::numbers(text) {
            return Some(Self { hosts, port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let hosts = Hosts::numbers(host).or_else(|| Hosts::names(host))?;
        Some(Self { hosts, port })
    }
}

impl Hosts {
    /// An address or a network.
    fn numbers(text: &str) -> Option<Self> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (address(ip)?, Some(bits.parse().ok()?)),
            None => (address(text)?, None),
        };
        let all = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        (bits <= all).then_some(Self::Network(ip, bits))
    }

    fn names(text: &str) -> Option<Self> {
        let name = normal(text.strip_prefix('*').unwrap_or(text));
        match (text, name.is_empty()) {
            ("*", _) => Some(Self::All),
            // A broken network covers nothing, and neither do dots alone.
            (_, true) => None,
            _ if text.contains('/') => None,
            _ => Some(Self::Below(name)),
        }
    }

    fn covers(&self, name: &str, ip: Option<IpAddr>) -> bool {
        match (self, ip) {
            (Self::All, _) => true,
            (Self::Below(suffix), None) => name
                .strip_suffix(suffix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            (Self::Network(network, bits), Some(ip)) => starts_alike(*network, ip, *bits),
            (Self::Below(_), Some(_)) | (Self::Network(..), None) => false,
        }
    }
}

/// Whether the first `bits` of two addresses are the same; never of two kinds.
fn starts_alike(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    let differ = match (one, other) {
        // In the upper half, so that bits are counted from the same end.
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            u128::from(one.to_bits() ^ other.to_bits()) << (128 - 32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= bits
}

/// An address, with or without brackets; one of IPv4 in the clothes of IPv6 is one of IPv4.
fn address(text: &str) -> Option<IpAddr> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip: IpAddr = inside.unwrap_or(text).parse().ok()?;
    Some(ip.to_canonical())
}

fn normal(name: &str) -> String {
    name.trim_matches('.').to_ascii_lowercase()
}
