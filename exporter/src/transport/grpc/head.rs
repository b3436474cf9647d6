//! The head of a request: rendered once for a signal of an endpoint, completed for each request.

use std::fmt;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TE, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri, Version};

use super::status::is_binary_value;
use super::timeout::grpc_timeout;
use crate::model::Signal;
use crate::transport::http1::user_agent;

/// The head of every request of one signal to one endpoint.
pub(super) struct RequestHead {
    uri: Uri,
    headers: HeaderMap,
}

impl RequestHead {
    /// `authority` is what `:authority` shows; it comes from an endpoint, so it is one. Headers
    /// that [`check`] refuses are left out.
    pub(super) fn new(
        is_tls: bool,
        authority: &str,
        signal: Signal,
        given: &[(HeaderName, HeaderValue)],
    ) -> Self {
        let mut headers = HeaderMap::with_capacity(given.len() + OWN_HEADERS);
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if let Ok(agent) = HeaderValue::from_bytes(&user_agent(given)) {
            headers.insert(USER_AGENT, agent);
        }
        // No coding of the answer is asked for, which has some hundred bytes; who chooses that of the
        // request all the same is understood.
        headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
        let others = given.iter().filter(|(name, _)| *name != USER_AGENT);
        for (name, value) in others.filter(|(name, value)| check(name, value).is_ok()) {
            headers.append(name.clone(), value.clone());
        }
        Self { uri: uri(is_tls, authority, path(signal)), headers }
    }

    /// The head of a request that may take `timeout`. Headers among `extra` win over the others.
    pub(super) fn request(
        &self,
        timeout: Option<Duration>,
        encoding: Option<&'static str>,
        extra: &[(HeaderName, HeaderValue)],
    ) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        let mut headers = self.headers.clone();
        merge(&mut headers, extra);
        if let Some(timeout) = timeout {
            headers.insert("grpc-timeout", grpc_timeout(timeout));
        }
        if let Some(encoding) = encoding {
            headers.insert("grpc-encoding", HeaderValue::from_static(encoding));
        }
        *request.headers_mut() = headers;
        request
    }
}

/// Puts `extra` into `headers`, in place of their namesakes there; of those with the same name
/// all. A user agent goes in front of spanwire's own.
fn merge(headers: &mut HeaderMap, extra: &[(HeaderName, HeaderValue)]) {
    let (agents, others): (Vec<_>, Vec<_>) =
        extra.iter().cloned().partition(|(name, _)| *name == USER_AGENT);
    let others = others.into_iter().filter(|(name, value)| check(name, value).is_ok());
    // Of a `HeaderMap` the first of a name replaces what is there, the next ones are added.
    headers.extend(others.collect::<HeaderMap>());
    if let (false, Ok(agent)) = (agents.is_empty(), HeaderValue::from_bytes(&user_agent(&agents))) {
        headers.insert(USER_AGENT, agent);
    }
}

/// Shows no header values: they may be credentials.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// The path of the Export call of a signal (opentelemetry-proto, the `*_service.proto` files).
pub(crate) fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

/// Checks that a header is the user's to set, and that gRPC can carry its value.
///
/// # Errors
///
/// The exporter, HTTP/2 or gRPC decides this header itself; or its name ends with `-bin` and its
/// value is no base64. The reason is given in words.
pub(crate) fn check(name: &HeaderName, value: &HeaderValue) -> Result<(), String> {
    let text = name.as_str();
    // HTTP/2 gives each name once; of `te` it allows one value only.
    if RESERVED.contains(&text) || text.starts_with("grpc-") {
        return Err(format!("the exporter decides {text} itself; remove it from the headers"));
    }
    if text.ends_with("-bin") && !is_binary_value(value.as_bytes()) {
        return Err("the name of a gRPC header ends with -bin if its value is base64".to_owned());
    }
    Ok(())
}

fn uri(is_tls: bool, authority: &str, path: &'static str) -> Uri {
    let scheme = if is_tls { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(PathAndQuery::from_static(path))
        .build();
    // An authority that `http` does not take cannot have come from an endpoint.
    uri.unwrap_or_else(|_| Uri::from_static("http://localhost"))
}

/// How many headers are the exporter's own, of one request.
const OWN_HEADERS: usize = 6;
/// Headers that decide how the request is read, or that HTTP/2 has not. Lower case; beside them
/// all that begin with `grpc-`.
const RESERVED: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    }

    #[test]
    fn a_request_has_the_fields_of_the_protocol_and_the_users_headers() {
        let given = [header("x-tenant", "shop"), header("user-agent", "shop/2")];
        let head = RequestHead::new(false, "localhost:4317", Signal::Logs, &given);
        let request = head.request(Some(Duration::from_secs(10)), Some("gzip"), &[]);
        assert_eq!(
            request.uri(),
            "http://localhost:4317/opentelemetry.proto.collector.logs.v1.LogsService/Export"
        );
        assert_eq!(request.method(), Method::POST);
        let fields = request.headers();
        for (name, value) in [
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("grpc-accept-encoding", "identity"),
            ("grpc-encoding", "gzip"),
            ("grpc-timeout", "10000000u"),
            ("x-tenant", "shop"),
        ] {
            assert_eq!(fields[name], value, "{name}");
        }
        assert!(fields["user-agent"].to_str().unwrap().starts_with("shop/2 "));
        let bare = head.request(None, None, &[]);
        assert!(!bare.headers().contains_key("grpc-timeout"));
        assert!(!bare.headers().contains_key("grpc-encoding"));
    }

    #[test]
    fn a_header_of_one_request_wins_over_its_namesake() {
        let head = RequestHead::new(true, "h", Signal::Traces, &[header("authorization", "old")]);
        let request = head.request(None, None, &[header("authorization", "new")]);
        assert_eq!(request.headers().get_all("authorization").iter().count(), 1);
        assert_eq!(request.headers()["authorization"], "new");
        assert_eq!(request.uri().scheme_str(), Some("https"));
    }

    #[test]
    fn headers_of_one_request_may_share_a_name_and_a_user_agent_goes_in_front() {
        let given = [header("x-tag", "old"), header("user-agent", "old/1")];
        let head = RequestHead::new(false, "h", Signal::Traces, &given);
        let extra =
            [header("x-tag", "one"), header("user-agent", "shop/2"), header("x-tag", "two")];
        let request = head.request(None, None, &extra);
        let tags: Vec<_> = request.headers().get_all("x-tag").iter().collect();
        assert_eq!(tags, ["one", "two"]);
        let agents: Vec<_> = request.headers().get_all("user-agent").iter().collect();
        assert_eq!(agents, [&*String::from_utf8(user_agent(&extra)).unwrap()]);
        assert!(agents[0].as_bytes().starts_with(b"shop/2 spanwire/"));
    }

    #[test]
    fn reserved_names_and_binary_headers_without_base64_are_refused() {
        for (name, value) in [
            ("grpc-timeout", "1S"),
            ("grpc-anything", "x"),
            ("te", "trailers"),
            ("content-type", "text/plain"),
            ("trace-bin", "not base64!"),
        ] {
            let (name, value) = header(name, value);
            assert!(check(&name, &value).is_err(), "{name}");
        }
        for (name, value) in [("trace-bin", "AAEC"), ("trace-bin", "AAE="), ("x-tenant", "a b")] {
            let (name, value) = header(name, value);
            assert_eq!(check(&name, &value), Ok(()), "{name}");
        }
    }
}
