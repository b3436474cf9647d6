//! What a figure is worth little without: the versions of what was measured, from the lock file.

/// Each with its version.
pub(super) fn of(names: &[&str]) -> String {
    let named = |name: &&str| format!("{name} {}", locked(name).unwrap_or("?"));
    names.iter().map(named).collect::<Vec<_>>().join(", ")
}

fn locked(name: &str) -> Option<&'static str> {
    let (_, package) = LOCK_FILE.split_once(&format!("\nname = \"{name}\"\nversion = \""))?;
    package.split('"').next()
}

/// How the exporters were built: what a reader needs in order to build the same.
pub(super) fn features() -> String {
    let backend = match cfg!(feature = "rivals-zlib-rs") {
        true => "zlib-rs, as spanwire's",
        false => "miniz_oxide, the default of flate2",
    };
    format!(
        "features: spanwire grpc, tls, zstd; opentelemetry-otlp http-proto, http-json, grpc-tonic, \
         reqwest-blocking-client, tls-ring, all compressions (gzip by {backend}), no internal logs; \
         hyper by opentelemetry-http; fastrace enable; emit_otlp without TLS and gzip; release profile \
         without LTO"
    )
}

const LOCK_FILE: &str = include_str!("../../../Cargo.lock");

#[cfg(test)]
mod tests {
    use super::{
        super::{encode, export, pipe, rows::Row as _, runtime},
        *,
    };

    #[test]
    fn every_version_that_a_report_names_is_in_the_lock_file() {
        let of_rows = encode::Row::PACKAGES.iter().chain(pipe::Row::PACKAGES);
        for name in export::VERSIONS_OF.iter().chain(&runtime::VERSIONS_OF).chain(of_rows) {
            let version = locked(name).unwrap_or_else(|| panic!("{name} is not locked"));
            assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{name} {version}");
        }
        assert_eq!(locked("spanwire"), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(locked("no-such-package"), None);
    }
}
