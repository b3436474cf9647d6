//! What the variables say of proxies that many programs share.

use super::reader::Env;
use super::{Given, So};

/// Proxies and exceptions, not parsed yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenProxies {
    /// For http:// endpoints.
    pub(crate) http: Option<Given<String>>,
    /// For https:// endpoints.
    pub(crate) https: Option<Given<String>>,
    /// For those for which the others say nothing.
    pub(crate) all: Option<Given<String>>,
    /// What is reached directly.
    pub(crate) no_proxy: Option<Given<String>>,
}

/// The lower case comes first, as in curl.
pub(super) fn read(env: &mut Env<'_>) -> GivenProxies {
    GivenProxies {
        http: http(env),
        https: env.first(&["https_proxy", "HTTPS_PROXY"]),
        all: env.first(&["all_proxy", "ALL_PROXY"]),
        no_proxy: env.first(&["no_proxy", "NO_PROXY"]),
    }
}

/// A server that runs programs by CGI gives them the `Proxy` header of whoever asks as
/// `HTTP_PROXY` (CVE-2016-5385), so there the lower case counts alone.
fn http(env: &mut Env<'_>) -> Option<Given<String>> {
    let is_set = env.value("HTTP_PROXY").is_some();
    if is_set && env.value("REQUEST_METHOD").is_some() {
        let why =
            "REQUEST_METHOD is set, so it may be from whoever sent the request; use http_proxy";
        env.tell("HTTP_PROXY", So::Ignored, why);
        return env.first(&["http_proxy"]);
    }
    env.first(&["http_proxy", "HTTP_PROXY"])
}
