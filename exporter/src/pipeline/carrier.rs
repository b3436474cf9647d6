//! What carries a request away: a connection to a collector, or a file.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use spanwire_runtime::blocking::spawn_blocking;

use crate::encode::json;
use crate::model::{Failure, Outcome, Payload, Phase, Protocol, Signal};
use crate::pipeline::balanced::{Balanced, BalancedCarrier, Endpoints};
use crate::pipeline::prepare::Coding;
use crate::stats::Server;
use crate::transport::balance::MemberId;
use crate::transport::client::Client;
use crate::transport::connect::Connector;
use crate::transport::endpoint::Endpoint;
#[cfg(feature = "grpc")]
use crate::transport::grpc::channel::Channel;
#[cfg(feature = "grpc")]
use crate::transport::grpc::client::GrpcClient;
#[cfg(feature = "grpc")]
use crate::transport::grpc::keepalive::KeepaliveConfig;
use crate::transport::header_source::ChangingHeaders;
use crate::transport::lines::Lines;
use crate::transport::proxy::Proxy;
#[cfg(feature = "tls")]
use crate::transport::tls::Tls;

/// Where the requests of a signal go.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// To a collector.
    Collector(Box<Collector>),
    /// To one of several.
    Balanced(Arc<Balanced>),
    /// Each as a line of OTLP/JSON.
    Lines(Arc<Lines>),
}

/// A collector, and how it is talked to.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    pub(crate) endpoint: Endpoint,
    /// Of several that its name has; none is any of them.
    pub(crate) address: Option<IpAddr>,
    /// Who is asked for a tunnel to it; none if it is reached directly.
    pub(crate) proxy: Option<Proxy>,
    /// Sent with each request; values are marked as sensitive.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) protocol: Protocol,
    /// How the bodies for it are made.
    pub(crate) coding: Coding,
    /// Gives further headers for each request.
    pub(crate) header_source: Option<ChangingHeaders>,
    /// Of an answer's body, so much is read at most.
    pub(crate) response_bytes_max: usize,
    /// For an https endpoint.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<Tls>>,
    /// How a connection is looked after on which nothing is heard.
    #[cfg(feature = "grpc")]
    pub(crate) keepalive: Option<KeepaliveConfig>,
}

impl Target {
    /// The same without what a thread of the process that this one was forked from may have
    /// locked.
    ///
    /// Signals that share a file share it there too, or their lines would mix: `files` are those
    /// that were made again already, each with the parent's.
    pub(crate) fn in_child(
        &self,
        files: &mut Vec<[Arc<Lines>; 2]>,
    ) -> Result<Self, Box<dyn Error>> {
        Ok(match self {
            Self::Collector(collector) => Self::Collector(Box::new(collector.in_child()?)),
            Self::Balanced(balanced) => Self::Balanced(Arc::new(balanced.in_child()?)),
            Self::Lines(lines) => {
                let known = files.iter().find(|[parents, _]| Arc::ptr_eq(parents, lines));
                let own = match known {
                    Some([_, own]) => Arc::clone(own),
                    None => Arc::new(lines.again()?),
                };
                files.push([Arc::clone(lines), Arc::clone(&own)]);
                Self::Lines(own)
            }
        })
    }

    /// A collector that tells how all of them are talked to; none of a file.
    pub(crate) fn collector(&self) -> Option<&Collector> {
        match self {
            Self::Collector(collector) => Some(collector),
            Self::Balanced(balanced) => balanced.collectors.first(),
            Self::Lines(_) => None,
        }
    }

    /// How requests are framed; none of a file.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        self.collector().map(|collector| collector.protocol)
    }

    /// Whom requests go to, in the terms of the semantic conventions; none of a file, or if it is
    /// not always the same.
    pub(crate) fn server(&self) -> Option<Server> {
        let Self::Collector(collector) = self else { return None };
        let Endpoint { host, port, unix_path, .. } = &collector.endpoint;
        Some(match unix_path {
            Some(path) => Server::new(path.to_string_lossy(), None),
            None => Server::new(host.as_str(), Some(*port)),
        })
    }
}

impl Collector {
    pub(crate) fn in_child(&self) -> Result<Self, Box<dyn Error>> {
        let mut collector = self.clone();
        collector.header_source = self.header_source.as_ref().map(ChangingHeaders::again);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            collector.tls = Some(Arc::new(tls.again()?));
        }
        Ok(collector)
    }

    /// What tells it from others, the same in every process.
    pub(crate) fn label(&self) -> String {
        let Endpoint { host, port, unix_path, .. } = &self.endpoint;
        match (unix_path, self.address) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(address)) => SocketAddr::new(address, *port).to_string(),
            (None, None) => format!("{host}:{port}"),
        }
    }

    /// What opens connections to it.
    pub(crate) fn connector(&self) -> Connector {
        Connector {
            endpoint: self.endpoint.clone(),
            address: self.address,
            proxy: self.proxy.clone(),
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
        }
    }

    fn client(&self) -> Client {
        let (headers, source) = (self.headers.clone(), self.header_source.clone());
        Client::new(self.connector(), self.protocol, headers, source, self.response_bytes_max)
    }

    #[cfg(feature = "grpc")]
    fn grpc_client(&self, channel: &Rc<Channel>, signal: Signal) -> GrpcClient {
        let (channel, source) = (Rc::clone(channel), self.header_source.clone());
        GrpcClient::new(channel, signal, &self.headers, source, self.response_bytes_max)
    }
}

/// Carries one request at a time.
pub(crate) enum Carrier {
    Client(Box<Client>),
    #[cfg(feature = "grpc")]
    Grpc(Box<GrpcClient>),
    Lines(Arc<Lines>),
    Balanced(BalancedCarrier),
}

impl Carrier {
    /// One for each of the `lanes` of a destination of `signal`, whose requests are retried for
    /// `budget` at most. Lanes of gRPC share a connection.
    pub(crate) fn for_lanes(
        target: &Target,
        signal: Signal,
        lanes: usize,
        budget: Duration,
    ) -> Vec<Self> {
        let each = |one: &dyn Fn() -> Self| (0..lanes).map(|_| one()).collect();
        match target {
            #[cfg(feature = "grpc")]
            Target::Collector(collector) if collector.protocol == Protocol::Grpc => {
                let channel = Rc::new(Channel::new(collector.connector(), collector.keepalive));
                each(&|| Self::Grpc(Box::new(collector.grpc_client(&channel, signal))))
            }
            Target::Collector(collector) => each(&|| Self::Client(Box::new(collector.client()))),
            Target::Balanced(balanced) => {
                let endpoints = Endpoints::new(Arc::clone(balanced), signal, lanes, budget);
                each(&|| Self::Balanced(endpoints.carrier()))
            }
            Target::Lines(lines) => each(&|| Self::Lines(Arc::clone(lines))),
        }
    }

    /// The endpoints to sort records for by whose trace they belong to, if that is to be done.
    pub(crate) fn sorts_for(&self) -> Option<Rc<Endpoints>> {
        let Self::Balanced(balanced) = self else { return None };
        Some(balanced.endpoints()).filter(|endpoints| endpoints.is_by_trace_id())
    }

    /// A new request begins. Of several endpoints, it belongs to `preferred`, if to any.
    pub(crate) fn begin(&mut self, preferred: Option<MemberId>) {
        if let Self::Balanced(balanced) = self {
            balanced.begin(preferred);
        }
    }

    /// Tries once, by `deadline` at the latest. A write has no deadline: it cannot be called
    /// back, and to do it again would double the line.
    pub(crate) async fn attempt(
        &mut self,
        signal: Signal,
        payload: &Payload,
        deadline: Option<Instant>,
    ) -> Outcome {
        match self {
            Self::Client(client) => client.attempt(signal, payload, deadline).await,
            #[cfg(feature = "grpc")]
            Self::Grpc(client) => client.attempt(signal, payload, deadline).await,
            Self::Lines(lines) => write(Arc::clone(lines), signal, payload.clone()).await,
            Self::Balanced(balanced) => balanced.attempt(signal, payload, deadline).await,
        }
    }
}

/// Writes a request as one line, on a thread that may block.
async fn write(lines: Arc<Lines>, signal: Signal, payload: Payload) -> Outcome {
    let written = spawn_blocking(move || line(signal, &payload).map(|line| lines.append(line)));
    match written.await {
        Ok(Ok(Ok(()))) => Outcome::Delivered { rejected: 0, warning: None, status: None },
        Ok(Ok(Err(error))) => unwritten(&error),
        // A bug of ours: what we have encoded cannot be read.
        Ok(Err(why)) => Outcome::Refused { why: Failure::new(Phase::Write, why) },
        Err(error) => Outcome::retry(Failure::new(Phase::Write, error.to_string())),
    }
}

fn line(signal: Signal, payload: &Payload) -> Result<Vec<u8>, String> {
    let mut line = Vec::with_capacity(JSON_FACTOR * payload.bytes);
    match json::transcode(signal, &payload.joined(), &mut line) {
        Ok(()) => Ok(line),
        Err(error) => Err(format!("the encoded request {error}")),
    }
}

/// A full disk may have room later; who has closed the other end of a pipe does not come back.
fn unwritten(error: &io::Error) -> Outcome {
    let why = Failure::new(Phase::Write, error.to_string());
    match error.kind() {
        io::ErrorKind::BrokenPipe => Outcome::Refused { why },
        _ => Outcome::retry(why),
    }
}

/// About how much longer OTLP/JSON is than the same in protobuf.
const JSON_FACTOR: usize = 3;
