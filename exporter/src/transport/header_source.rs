//! Headers that change: credentials that expire, signatures of the body.
//!
//! The source is the user's code. It is asked once for each attempt, within the attempt's
//! deadline, and told when the collector no longer believes what it gave.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use spanwire_runtime::blocking::spawn_blocking;

use super::verdict::one_line;
use crate::model::{Failure, Phase, Signal};

/// Gives the headers of each request, for those that are not always the same: a token that
/// expires, a signature of the body.
///
/// Set with [`Builder::header_source`](crate::Builder::header_source);
/// [`Builder::headers_from`](crate::Builder::headers_from) takes a closure in its place.
///
/// # Examples
///
/// What costs no time may run on the exporter's own thread:
///
/// ```
/// use std::error::Error;
/// use spanwire::{HeaderSource, OutgoingRequest};
///
/// /// Each request has a number.
/// struct Numbered(std::sync::Mutex<u64>);
///
/// impl HeaderSource for Numbered {
///     fn headers(
///         &self,
///         _: &OutgoingRequest,
///     ) -> Result<Vec<(String, String)>, Box<dyn Error + Send + Sync>> {
///         let mut number = self.0.lock().unwrap();
///         *number += 1;
///         Ok(vec![("x-number".to_owned(), number.to_string())])
///     }
///
///     fn may_block(&self) -> bool {
///         false
///     }
/// }
///
/// let builder = spanwire::Exporter::builder().header_source(Numbered(Default::default()));
/// ```
pub trait HeaderSource: Send + Sync {
    /// The headers of `request`, beside those that are always the same. One of the same name
    /// wins over those. Values are never logged.
    ///
    /// Called for each attempt, by up to two threads at once, within the time limit of the
    /// attempt ([`Builder::timeout`](crate::Builder::timeout)). A call cannot be interrupted: one
    /// that does not return holds its thread, and after two such calls no request is sent.
    ///
    /// # Errors
    ///
    /// The attempt counts as failed and is made again like any other. A diagnostic shows the
    /// start of the error's text, so it should hold no secret. A panic is an error too, and so is a header
    /// that cannot be sent, or that the exporter decides itself (such as `content-length`).
    fn headers(
        &self,
        request: &OutgoingRequest,
    ) -> Result<Vec<(String, String)>, Box<dyn Error + Send + Sync>>;

    /// Whether [`headers`](Self::headers) may wait: for a file, a lock, another server. Then it
    /// runs on a thread for such calls, which costs some microseconds; this is the default. If
    /// not, it runs on the exporter's own thread, where a wait would hold up every signal.
    fn may_block(&self) -> bool {
        true
    }
}

/// A closure that is a source, which may block.
pub(crate) struct FromFn<F>(F);

impl<F> FromFn<F>
where
    F: Fn(&OutgoingRequest) -> Result<Vec<(String, String)>, Box<dyn Error + Send + Sync>>
        + Send
        + Sync,
{
    pub(crate) fn new(source: F) -> Self {
        Self(source)
    }
}

impl<F> HeaderSource for FromFn<F>
where
    F: Fn(&OutgoingRequest) -> Result<Vec<(String, String)>, Box<dyn Error + Send + Sync>>
        + Send
        + Sync,
{
    fn headers(
        &self,
        request: &OutgoingRequest,
    ) -> Result<Vec<(String, String)>, Box<dyn Error + Send + Sync>> {
        (self.0)(request)
    }
}

/// A request that is about to be sent, as a [`HeaderSource`] sees it.
#[derive(Clone)]
pub struct OutgoingRequest {
    pub(crate) signal: Signal,
    pub(crate) scheme: &'static str,
    pub(crate) authority: Arc<str>,
    pub(crate) target: Arc<str>,
    pub(crate) body: Vec<Bytes>,
    pub(crate) is_after_refusal: bool,
}

impl OutgoingRequest {
    /// What it carries.
    #[must_use]
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// Its method: always `POST`.
    #[must_use]
    pub fn method(&self) -> &str {
        "POST"
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.scheme
    }

    /// What the `Host` header (`:authority` of gRPC) shows: the host, and the port unless it is
    /// the default of the scheme.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The body as it is sent, compressed if it is, in pieces: no copy is made for whoever does
    /// not look. Of gRPC it is the message, without the five bytes before it.
    pub fn body(&self) -> impl Iterator<Item = &[u8]> {
        self.body.iter().map(|part| &**part)
    }

    /// Whether the collector has answered 401 (`UNAUTHENTICATED` of gRPC) to a request whose
    /// headers came from this source, and the source has given none since: what it had is no
    /// longer good. Requests that were under way together count as one refusal.
    #[must_use]
    pub fn is_after_refusal(&self) -> bool {
        self.is_after_refusal
    }
}

impl fmt::Debug for OutgoingRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query may be a secret, and the body is the user's data.
        f.debug_struct("OutgoingRequest")
            .field("signal", &self.signal)
            .field("authority", &self.authority)
            .field("is_after_refusal", &self.is_after_refusal)
            .finish_non_exhaustive()
    }
}

/// A source, and what is known of the calls to it. Clones share it: all that send with its
/// headers do.
#[derive(Clone)]
pub(crate) struct ChangingHeaders {
    shared: Arc<Shared>,
}

struct Shared {
    source: Arc<dyn HeaderSource>,
    /// Refuses names that the exporter decides itself.
    check: fn(&HeaderName) -> Result<(), String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Calls that run; at most [`CALLS_MAX`]. A call that nobody waits for any more counts.
    running: usize,
    /// Who waits for one of them to end.
    waiting: Vec<Waker>,
    /// How often what the source gave was refused.
    refusals: u64,
    /// Of how many of those the source knows: it was asked since, and has answered.
    known: u64,
}

/// What the source gave for one request.
#[derive(Debug)]
pub(crate) struct Given {
    /// The headers. Their values are marked as sensitive.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// As of which refusal they are.
    as_of: u64,
}

impl ChangingHeaders {
    /// `check` refuses names that the exporter decides itself.
    pub(crate) fn new(
        source: impl HeaderSource + 'static,
        check: fn(&HeaderName) -> Result<(), String>,
    ) -> Self {
        Self::of(Arc::new(source), check)
    }

    fn of(source: Arc<dyn HeaderSource>, check: fn(&HeaderName) -> Result<(), String>) -> Self {
        Self { shared: Arc::new(Shared { source, check, state: Mutex::default() }) }
    }

    /// The same source with nothing known of it, for a forked process.
    pub(crate) fn again(&self) -> Self {
        Self::of(Arc::clone(&self.shared.source), self.shared.check)
    }

    /// Asks the source, on a thread that may block unless it needs none. The caller brings the
    /// deadline; a call that is given up runs on, and holds one of [`CALLS_MAX`] places.
    ///
    /// # Errors
    ///
    /// It has none to give, or what it gives cannot be sent, or it panicked.
    pub(crate) async fn ask(&self, request: OutgoingRequest) -> Result<Given, Failure> {
        if !self.shared.source.may_block() {
            return self.shared.call(request);
        }
        let place = poll_fn(|cx| self.shared.poll_place(cx)).await;
        let called = spawn_blocking(move || place.0.call(request));
        called.await.unwrap_or_else(|error| Err(failure(&error)))
    }

    /// The collector has answered that it does not believe what `given` says. Which headers were
    /// refused matters: of requests that were under way together, the first one counts.
    pub(crate) fn refused(&self, given: &Given) {
        let mut state = self.shared.state();
        if state.refusals == given.as_of {
            state.refusals += 1;
        }
    }
}

impl Shared {
    fn call(&self, mut request: OutgoingRequest) -> Result<Given, Failure> {
        let (as_of, known) = {
            let state = self.state();
            (state.refusals, state.known)
        };
        request.is_after_refusal = known < as_of;
        // Whatever state a panic leaves behind is the source's own.
        // What it says of an error is the user's code, too.
        let asked = || self.source.headers(&request).map_err(|error| failure(&error));
        let called = catch_unwind(AssertUnwindSafe(asked));
        let headers = called
            .map_err(|_| failure("it panicked"))??
            .into_iter()
            .enumerate()
            .map(|(index, header)| self.checked(index, header))
            .collect::<Result<_, _>>()?;
        let mut state = self.state();
        state.known = state.known.max(as_of);
        Ok(Given { headers, as_of })
    }

    /// A header that can be sent. What stands in the place of a name is not shown if it is none:
    /// it may be a secret.
    fn checked(
        &self,
        index: usize,
        (name, value): (String, String),
    ) -> Result<(HeaderName, HeaderValue), Failure> {
        let name = HeaderName::try_from(name)
            .map_err(|_| failure(&format!("the name of item {} is no header name", index + 1)))?;
        (self.check)(&name).map_err(|why| failure(&why))?;
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| failure(&format!("the value of {name} has a control character")))?;
        value.set_sensitive(true);
        Ok((name, value))
    }

    /// One of the places for calls that may block.
    fn poll_place(self: &Arc<Self>, cx: &Context<'_>) -> Poll<Place> {
        let mut state = self.state();
        if state.running < CALLS_MAX {
            state.running += 1;
            return Poll::Ready(Place(Arc::clone(self)));
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that may block; its place is free again when this is dropped.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.0.state();
            state.running -= 1;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

fn failure(why: &(impl fmt::Display + ?Sized)) -> Failure {
    Failure::new(Phase::Headers, one_line(&why.to_string()))
}

impl fmt::Debug for ChangingHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangingHeaders").finish_non_exhaustive()
    }
}

/// Calls of one source that run at once: two, so that a slow one holds up the next alone; and no
/// more, because the pool's threads are few and names are resolved on them too.
const CALLS_MAX: usize = 2;

#[cfg(test)]
mod tests;
