//! What endpoint strings mean.

use super::*;

const BASE: Scope = Scope::Base(Signal::Traces);
const SIGNAL: Scope = Scope::Signal(Signal::Logs);
const GRPC: Scope = Scope::Grpc { is_insecure: false };
const INSECURE: Scope = Scope::Grpc { is_insecure: true };

fn parse(value: &str, scope: Scope) -> Result<Endpoint, BuildError> {
    Endpoint::parse(value, scope, "TEST")
}

#[test]
fn a_base_url_gets_the_path_of_the_signal_with_one_slash_between() {
    for (value, target) in [
        ("http://h", "/v1/traces"),
        ("http://h/", "/v1/traces"),
        ("http://h/mycollector", "/mycollector/v1/traces"),
        ("http://h/mycollector/", "/mycollector/v1/traces"),
        ("http://h/a//", "/a/v1/traces"),
        ("http://h?tenant=1", "/v1/traces?tenant=1"),
    ] {
        assert_eq!(parse(value, BASE).unwrap().target, target, "{value}");
    }
}

#[test]
fn each_signal_has_a_path_of_its_own() {
    for signal in Signal::ALL {
        let endpoint = parse("http://h/a", Scope::Base(signal)).unwrap();
        assert_eq!(endpoint.target, format!("/a/{}", signal.path()));
    }
}

#[test]
fn the_url_of_a_signal_is_used_as_it_is() {
    for (value, target) in [
        ("http://h", "/"),
        ("http://h/", "/"),
        ("http://h/a/", "/a/"),
        ("http://h/a?b=c", "/a?b=c"),
        ("HTTP://h/v1/traces", "/v1/traces"),
    ] {
        assert_eq!(parse(value, SIGNAL).unwrap().target, target, "{value}");
    }
}

#[test]
fn host_and_port_are_honoured_and_ipv6_literals_lose_their_brackets_for_the_resolver() {
    for (value, host, port, authority) in [
        ("http://h", "h", 80, "h"),
        ("http://h:80/", "h", 80, "h"),
        (" http://localhost:4318 ", "localhost", 4318, "localhost:4318"),
        ("http://[::1]:4318", "::1", 4318, "[::1]:4318"),
        ("http://[fe80::2]", "fe80::2", 80, "[fe80::2]"),
        ("http://127.0.0.1:1", "127.0.0.1", 1, "127.0.0.1:1"),
    ] {
        let endpoint = parse(value, BASE).unwrap();
        let found = (&*endpoint.host, endpoint.port, &*endpoint.authority);
        assert_eq!(found, (host, port, authority), "{value}");
    }
}

#[test]
fn what_this_build_has_not_is_refused_by_name() {
    for value in ["grpc://h", "GRPCS://h", "unix-abstract:x"] {
        for scope in [BASE, SIGNAL, GRPC] {
            assert_eq!(unsupported(value, scope), "scheme");
        }
    }
}

#[test]
#[cfg(not(feature = "tls"))]
fn without_the_feature_tls_what_needs_it_is_refused_by_its_name() {
    for (value, scope) in
        [("https://h", BASE), ("HTTPS://h", SIGNAL), ("https://h", GRPC), ("h:1", GRPC)]
    {
        assert_eq!(unsupported(value, scope), "tls", "{value}");
    }
    let error = parse("https://h", BASE).unwrap_err().to_string();
    assert!(error.contains("feature `tls`"), "{error}");
}

#[test]
#[cfg(feature = "tls")]
fn https_has_a_default_port_of_its_own() {
    for (value, port, authority) in [
        ("https://h", 443, "h"),
        ("https://h:443/x", 443, "h"),
        ("HTTPS://h:80", 80, "h:80"),
        ("https://h:4318", 4318, "h:4318"),
    ] {
        let endpoint = parse(value, BASE).unwrap();
        let found = (endpoint.scheme, endpoint.port, &*endpoint.authority);
        assert_eq!(found, (Scheme::Https, port, authority), "{value}");
    }
}

#[test]
#[cfg(unix)]
fn a_unix_socket_is_named_in_three_ways_and_asked_for_the_path_of_the_signal() {
    for (value, path) in [
        ("unix:/run/otel.sock", "/run/otel.sock"),
        ("unix:///run/otel.sock", "/run/otel.sock"),
        ("unix:otel.sock", "otel.sock"),
        (" UNIX:./a b?c#d%20 ", "./a b?c#d%20"),
    ] {
        let path = Some(PathBuf::from(path));
        for (scope, target) in
            [(BASE, "/v1/traces"), (SIGNAL, "/v1/logs"), (GRPC, "/"), (INSECURE, "/")]
        {
            let endpoint = parse(value, scope).unwrap();
            assert_eq!((endpoint.scheme, &endpoint.unix_path), (Scheme::Unix, &path), "{value}");
            let found = (&*endpoint.authority, &*endpoint.target);
            assert_eq!(found, ("localhost", target), "{value}");
        }
    }
}

#[test]
fn what_is_no_unix_socket_is_an_error() {
    let long = format!("unix:/{}", "x".repeat(200));
    for value in ["unix:", "unix://", "unix:///", "unix://run/x", "unix:/run/", &long] {
        let error = parse(value, BASE).expect_err(value);
        assert!(matches!(error, BuildError::InvalidEndpoint { .. }), "{value}: {error:?}");
    }
}

#[test]
fn a_grpc_endpoint_may_leave_out_the_scheme_and_a_scheme_beats_insecure() {
    for (value, host, port, authority) in [
        ("localhost:4317", "localhost", 4317, "localhost:4317"),
        ("h", "h", 80, "h"),
        ("[::1]:4317", "::1", 4317, "[::1]:4317"),
        ("127.0.0.1:4317", "127.0.0.1", 4317, "127.0.0.1:4317"),
        ("http:80", "http", 80, "http"),
        ("http://h:1", "h", 1, "h:1"),
    ] {
        let endpoint = parse(value, INSECURE).unwrap();
        let found = (endpoint.scheme, &*endpoint.host, endpoint.port, &*endpoint.authority);
        assert_eq!(found, (Scheme::Http, host, port, authority), "{value}");
    }
    assert_eq!(parse("http://h:1", GRPC).unwrap().scheme, Scheme::Http);
    #[cfg(feature = "tls")]
    {
        let endpoint = parse("h", GRPC).unwrap();
        assert_eq!((endpoint.scheme, endpoint.port), (Scheme::Https, 443));
        assert_eq!(parse("https://h", INSECURE).unwrap().scheme, Scheme::Https);
    }
}

#[test]
fn the_path_of_a_grpc_endpoint_is_kept_apart_so_that_it_can_be_warned_of() {
    for (value, target) in [
        ("http://h:4317", "/"),
        ("http://h:4317/", "/"),
        ("http://h:4317/a/b?c", "/a/b?c"),
        ("h:4317/v1", "/v1"),
    ] {
        assert_eq!(parse(value, INSECURE).unwrap().target, target, "{value}");
    }
}

#[test]
fn what_is_no_grpc_endpoint_is_an_error() {
    for value in ["", "ftp://h", "h:x", "h:0", ":4317", "u:p@h", "h h", "http://", "http:h"] {
        let error = parse(value, INSECURE).expect_err(value);
        assert!(matches!(error, BuildError::InvalidEndpoint { .. }), "{value}: {error:?}");
    }
}

/// What this build has not.
fn unsupported(value: &str, scope: Scope) -> &'static str {
    match parse(value, scope) {
        Err(BuildError::Unsupported { what, value: shown, source_name }) => {
            assert_eq!((&*shown, source_name), (value, "TEST"));
            what
        }
        other => panic!("{value}: {other:?}"),
    }
}

#[test]
fn what_cannot_be_sent_to_is_an_error() {
    for value in [
        "",
        "h",
        "localhost:4318",
        "h:4318/v1",
        "http:h",
        "http://",
        "http:///x",
        "ftp://h",
        "http://h:0",
        "http://h:",
        "http://h:65536",
        "http://h:x",
        "http://h h",
        "http://[::1",
        "http://u:p@h",
        "http://:80",
        "http://h/\u{7f}",
    ] {
        let error = parse(value, BASE).expect_err(value);
        assert!(matches!(error, BuildError::InvalidEndpoint { .. }), "{value}: {error:?}");
    }
}

#[test]
fn an_error_shows_no_password_and_no_query() {
    for (value, shown) in [
        ("http://user:secret@h", "http://***@h"),
        ("grpcs://secret@h:1/x", "grpcs://***@h:1/x"),
        ("grpcs://user:secret@h/x@y", "grpcs://***@y"),
        ("grpcs://h/x?api_key=secret", "grpcs://h/x?***"),
        ("grpcs://secret@h?key=secret", "grpcs://***@h?***"),
        ("grpcs://h#secret", "grpcs://h#***"),
        ("grpcs://user:se?cret@h", "grpcs://***"),
        ("grpcs://user:sec/ret@h", "grpcs://***@h"),
        ("user:secret@h:4318", "***@h:4318"),
        ("http:/user:secret@h", "***@h"),
        ("secret@h/?x=http://y", "***@h/?***"),
        ("grpcs://h/x", "grpcs://h/x"),
        ("", ""),
    ] {
        let error = parse(value, BASE).unwrap_err();
        let (BuildError::InvalidEndpoint { value: found, .. }
        | BuildError::Unsupported { value: found, .. }) = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!(found, shown);
        assert!(!format!("{error} {error:?}").contains("ecret"), "{error:?}");
    }
}
