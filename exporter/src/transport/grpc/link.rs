//! One HTTP/2 connection: the end that requests use, and the task that moves its bytes.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use spanwire_runtime::spawn_pinned;
use spanwire_runtime::time::{Sleep, sleep_until};

use super::body::Body;
use super::keepalive::{Keepalive, KeepaliveConfig, Step};
use super::quiet::{Quiet, quiet};
use super::wire::{Pump, Wire, wire};
use crate::transport::connection::Connection;

/// The end of a connection that requests use. The connection closes once the last clone of the
/// `Rc` around it is gone and no stream is open.
pub(super) struct Link {
    /// Taken out on drop only.
    sender: Option<SendRequest<Body>>,
    gauge: Rc<Gauge>,
}

/// What requests and the connection's task know of each other.
struct Gauge {
    /// When HTTP/2 began.
    opened_at: Instant,
    /// When something was last received; as long as nothing was, when HTTP/2 began.
    heard_at: Rc<Cell<Instant>>,
    /// Requests under way.
    streams: Cell<usize>,
    /// No request comes any more.
    is_released: Cell<bool>,
    /// Why the connection has ended.
    ended: RefCell<Option<String>>,
    /// The connection's task.
    task: RefCell<Option<Waker>>,
}

/// A request is under way for as long as this lives.
pub(super) struct Stream(Rc<Gauge>);

impl Link {
    /// Begins HTTP/2 on `connection`, whose bytes a task of this worker moves from now on.
    ///
    /// # Errors
    ///
    /// None that h2 has today: nothing is waited for.
    pub(super) async fn open(
        connection: Connection,
        keepalive: Option<KeepaliveConfig>,
    ) -> Result<Self, h2::Error> {
        let opened_at = Instant::now();
        let heard_at = Rc::new(Cell::new(opened_at));
        let (wire, pump) = wire(connection, Rc::clone(&heard_at));
        let (sender, mut connection) = settings().handshake::<_, Body>(wire).await?;
        let gauge = Rc::new(Gauge {
            opened_at,
            heard_at,
            streams: Cell::new(0),
            is_released: Cell::new(false),
            ended: RefCell::default(),
            task: RefCell::default(),
        });
        let keepalive =
            keepalive.and_then(|config| Some((Keepalive::new(config), connection.ping_pong()?)));
        let task = Task {
            connection,
            pump,
            gauge: Rc::clone(&gauge),
            keepalive,
            timer: None,
            linger: None,
        };
        // Detached: it ends with the connection, or with the worker.
        drop(spawn_pinned(move || Quiet::new(task)));
        Ok(Self { sender: Some(sender), gauge })
    }

    /// What sends requests; none if the connection takes no more.
    pub(super) fn sender(&self) -> Option<SendRequest<Body>> {
        let mut sender = self.sender.clone()?;
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Some(sender),
            _ => None,
        }
    }

    /// Counts a request for as long as the guard lives.
    pub(super) fn begin_stream(&self) -> Stream {
        self.gauge.streams.set(self.gauge.streams.get() + 1);
        Stream(Rc::clone(&self.gauge))
    }

    /// Whether anything was received at `instant` or later. To accept a connection is no sign of
    /// life: the system does it, or a middlebox, for a peer that hangs.
    pub(super) fn has_heard_since(&self, instant: Instant) -> bool {
        let heard_at = self.gauge.heard_at.get();
        heard_at > self.gauge.opened_at && heard_at >= instant
    }

    /// Why the connection has ended, if it is known.
    pub(super) fn why_ended(&self) -> Option<String> {
        self.gauge.ended.borrow().clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let sender = self.sender.take();
        quiet(|| drop(sender));
        self.gauge.is_released.set(true);
        self.gauge.wake();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        if self.0.is_released.get() {
            self.0.wake();
        }
    }
}

impl Gauge {
    fn is_driven_by(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        if task.as_ref().is_none_or(|task| !task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }
}

/// Moves the bytes of a connection until it ends.
struct Task {
    connection: h2::client::Connection<Wire, Body>,
    pump: Pump,
    gauge: Rc<Gauge>,
    keepalive: Option<(Keepalive, PingPong)>,
    /// Wakes the task when time has something to say.
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Until when the goodbye may take, once nobody needs the connection.
    linger: Option<Instant>,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.gauge.is_driven_by(cx.waker());
        let why = loop {
            if let Poll::Ready(why) = self.poll_bytes(cx) {
                break why;
            }
            match self.time_has_come() {
                Ok(wake_at) => {
                    if self.poll_timer(wake_at, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                Err(why) => break Some(why.to_owned()),
            }
        };
        // Requests under way hear of the end when the connection is dropped.
        *self.gauge.ended.borrow_mut() = why;
        Poll::Ready(())
    }
}

impl Task {
    /// Lets h2 work and sends what it has written, until neither gets on.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut self.connection).poll(cx) {
                return Poll::Ready(ended.err().map(|error| error.to_string()));
            }
            if let Poll::Ready(Err(error)) = self.pump.poll_send(cx) {
                return Poll::Ready(Some(error.to_string()));
            }
            if !self.pump.has_room_again() {
                return Poll::Pending;
            }
        }
    }

    /// What is to be done by the clock, and when to look again.
    ///
    /// # Errors
    ///
    /// The connection is to be given up, and why.
    fn time_has_come(&mut self) -> Result<Option<Instant>, &'static str> {
        if self.gauge.is_released.get() && self.gauge.streams.get() == 0 {
            let now = Instant::now();
            let end = *self.linger.get_or_insert(now + LINGER);
            return if now < end { Ok(Some(end)) } else { Err("its goodbye took too long") };
        }
        let Some((keepalive, pings)) = &mut self.keepalive else { return Ok(None) };
        let (heard_at, is_busy) = (self.gauge.heard_at.get(), self.gauge.streams.get() > 0);
        match keepalive.step(Instant::now(), heard_at, is_busy) {
            Step::Wait(until) => Ok(until),
            Step::Ping => {
                // An answer to an earlier ping that came late was not picked up yet.
                let mut cx = Context::from_waker(Waker::noop());
                let _ = pings.poll_pong(&mut cx);
                // An error is a ping that is still unanswered, or a connection that ends.
                let _ = pings.send_ping(Ping::opaque());
                // The ping wakes the task; what is heard counts, whatever it is.
                self.time_has_come()
            }
            Step::Dead => Err("the collector did not answer a keepalive ping"),
        }
    }

    fn poll_timer(&mut self, wake_at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = wake_at else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = match &mut self.timer {
            Some((set_to, timer)) if *set_to == at => timer,
            other => &mut other.insert((at, Box::pin(sleep_until(at)))).1,
        };
        let rang = timer.as_mut().poll(cx);
        if rang.is_ready() {
            self.timer = None;
        }
        rang
    }
}

fn settings() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        // No request before the peer's settings are known: what exceeds limits that it has not
        // told yet it may reset (RFC 9113, 6.9.3), and requests do not survive that.
        .initial_max_send_streams(0)
        .max_header_list_size(HEADER_BYTES_MAX);
    builder
}

/// Heads and trailers of an answer, in bytes as HTTP/2 counts them. Room for long details.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// How long the goodbye to a peer may take.
const LINGER: Duration = Duration::from_secs(1);
