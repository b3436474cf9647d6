//! The connection that all lanes of a destination share: opened when needed, again when lost.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::keepalive::KeepaliveConfig;
use super::link::Link;
use crate::model::{Failure, Phase};
use crate::transport::connect::{Alpn, Connector};

/// At most one connection that takes requests, and any number that still finish theirs.
pub(crate) struct Channel {
    connector: Connector,
    keepalive: Option<KeepaliveConfig>,
    state: RefCell<State>,
}

/// | state | what a request does |
/// |---|---|
/// | Closed | opens a connection |
/// | Opening | waits for whoever does, and fails if that one fails |
/// | Open | takes the connection, unless it takes no more requests; then as in Closed |
enum State {
    Closed,
    Opening(Rc<Opening>),
    Open(Rc<Link>),
}

/// Who opens a connection, and who waits for it.
#[derive(Default)]
struct Opening {
    /// Open or given up: there is nothing to wait for.
    is_over: Cell<bool>,
    /// Why it could not be opened.
    failed: RefCell<Option<Failure>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Channel {
    pub(crate) fn new(connector: Connector, keepalive: Option<KeepaliveConfig>) -> Self {
        Self { connector, keepalive, state: RefCell::new(State::Closed) }
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// A connection that takes requests. The caller brings the deadline; `busy_with` says
    /// meanwhile what is waited for.
    ///
    /// # Errors
    ///
    /// It could not be opened.
    pub(super) async fn link(&self, busy_with: &Cell<&'static str>) -> Result<Rc<Link>, Failure> {
        loop {
            let opening = match &*self.state.borrow() {
                State::Open(link) if link.sender().is_some() => return Ok(Rc::clone(link)),
                State::Open(_) | State::Closed => break,
                State::Opening(opening) => Rc::clone(opening),
            };
            busy_with.set("waiting for another request to connect to the collector");
            poll_fn(|cx| opening.poll_over(cx)).await;
            let failed = opening.failed.borrow().clone();
            if let Some(why) = failed {
                return Err(why);
            }
        }
        self.open(busy_with).await
    }

    /// Sees to it that later requests get another connection than `link`, which may be dead.
    pub(super) fn retire(&self, link: &Rc<Link>) {
        let is_current =
            matches!(&*self.state.borrow(), State::Open(current) if Rc::ptr_eq(current, link));
        if is_current {
            self.state.replace(State::Closed);
        }
    }

    async fn open(&self, busy_with: &Cell<&'static str>) -> Result<Rc<Link>, Failure> {
        let opening = Rc::<Opening>::default();
        self.state.replace(State::Opening(Rc::clone(&opening)));
        // If this future is dropped, the next one tries.
        let mut attempt = Attempt { channel: self, opening, opened: None };
        let connected = async {
            let connection = self.connector.connect(Alpn::H2, busy_with).await?;
            busy_with.set("beginning HTTP/2 with the collector");
            let link = Link::open(connection, self.keepalive).await;
            link.map_err(|error| Failure::new(Phase::Exchange, error.to_string()))
        };
        match connected.await {
            Ok(link) => {
                let link = Rc::new(link);
                attempt.opened = Some(Rc::clone(&link));
                Ok(link)
            }
            Err(why) => {
                attempt.opening.failed.replace(Some(why.clone()));
                Err(why)
            }
        }
    }
}

impl Opening {
    fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Tells those who wait, however it ends.
struct Attempt<'a> {
    channel: &'a Channel,
    opening: Rc<Opening>,
    opened: Option<Rc<Link>>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let state = self.opened.take().map_or(State::Closed, State::Open);
        self.channel.state.replace(state);
        self.opening.is_over.set(true);
        self.opening.waiting.take().into_iter().for_each(Waker::wake);
    }
}
