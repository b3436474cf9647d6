//! Builder methods: the headers of requests.

use std::error::Error;

use http::HeaderName;

use super::Builder;
use crate::transport::header_source::{ChangingHeaders, FromFn, HeaderSource, OutgoingRequest};
use crate::transport::http1::RequestHead;

impl Builder {
    /// Adds a header to every request, in place of one of the same name. Values are never logged.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds several headers, as [`header`](Self::header) does for one.
    ///
    /// ```
    /// # use spanwire::Exporter;
    /// let credentials = [("x-tenant", "shop"), ("authorization", "Bearer ...")];
    /// let builder = Exporter::builder().headers(credentials);
    /// ```
    pub fn headers<N, V>(mut self, headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.headers.extend(headers);
        self
    }

    /// Adds the headers that `source` gives to each request: credentials that expire, or
    /// signatures of the body. They win over those of [`header`](Self::header) and of the
    /// environment.
    ///
    /// `source` is asked for each attempt. When the collector answers 401 (`UNAUTHENTICATED` of
    /// gRPC), that request is dropped and counted, as OTLP demands, and `source` is told the next
    /// time that it is asked, so it affects later requests only.
    pub fn header_source(mut self, source: impl HeaderSource + 'static) -> Self {
        self.header_source = Some(ChangingHeaders::new(source, check));
        self
    }

    /// As [`header_source`](Self::header_source), with a closure, which may block.
    ///
    /// ```
    /// use std::sync::Mutex;
    ///
    /// fn fetch_token() -> std::io::Result<String> {
    ///     // May take its time: it runs on a thread that may block.
    ///     # Ok("t".into())
    /// }
    ///
    /// let token = Mutex::new(None);
    /// let builder = spanwire::Exporter::builder().headers_from(move |request| {
    ///     let mut token = token.lock().unwrap();
    ///     if token.is_none() || request.is_after_refusal() {
    ///         *token = Some(fetch_token()?);
    ///     }
    ///     let value = format!("Bearer {}", token.as_deref().unwrap_or_default());
    ///     Ok(vec![("authorization".to_owned(), value)])
    /// });
    /// ```
    pub fn headers_from<F>(self, source: F) -> Self
    where
        F: Fn(&OutgoingRequest) -> Result<Vec<(String, String)>, Box<dyn Error + Send + Sync>>
            + Send
            + Sync
            + 'static,
    {
        self.header_source(FromFn::new(source))
    }
}

/// One source serves every protocol, so what any of them decides itself is not the source's.
fn check(name: &HeaderName) -> Result<(), String> {
    if name.as_str().starts_with("grpc-") {
        return Err(format!("the exporter decides {name} itself; remove it from the headers"));
    }
    RequestHead::check(name).map_err(|error| error.to_string())
}
