//! Data points of metrics: a collection written afresh, and patched into the image of the one
//! before.

use std::{hint::black_box, mem};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest, metrics::v1::ScopeMetrics,
};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use prost::Message as _;
use spanwire::internals::MetricImage;

use super::{
    body::{Body, verify},
    inputs::{self, Points},
    row::Peer,
};

/// All points are written, as of a collection that is the first.
pub(super) fn rebuilt(of: Points, peer: Peer) -> Result<Body, String> {
    let ([metrics, _], image, bytes) = image(of)?;
    let mut out = Vec::with_capacity(2 * bytes);
    Ok(match peer {
        Peer::Spanwire => {
            let mut image = image;
            body(of, bytes, move || {
                image.forget();
                image.encode(&metrics);
            })
        }
        Peer::Prost => {
            let scope = transform(&metrics);
            body(of, bytes, move || {
                out.clear();
                scope.encode(&mut out).expect("a vector has room for all");
            })
        }
        Peer::Transform => body(of, bytes, move || {
            out.clear();
            transform(&metrics).encode(&mut out).expect("a vector has room for all");
        }),
        Peer::SpanwirePlain | Peer::Serde => return Err(peer.takes_no_part()),
        Peer::Memcpy => body(of, bytes, move || {
            out.clear();
            out.extend_from_slice(black_box(image.bytes()));
        }),
    })
}

/// The next collection has the same points, which is verified, and their numbers are overwritten.
pub(super) fn verified(of: Points) -> Result<Body, String> {
    let (mut collections, mut image, bytes) = image(of)?;
    image.encode(&collections[1]);
    verify(image.bytes(), &transform(&collections[1]).encode_to_vec())?;
    Ok(body(of, bytes, move || {
        image.encode(&collections[0]);
        collections.swap(0, 1);
    }))
}

/// The numbers are overwritten without a look at anything else.
pub(super) fn patched(of: Points) -> Result<Body, String> {
    let (mut collections, mut image, bytes) = image(of)?;
    image.encode(&collections[0]);
    if !image.patch_unseen(&collections[1]) {
        return Err("the next collection has other points".to_owned());
    }
    verify(image.bytes(), &transform(&collections[1]).encode_to_vec())?;
    Ok(body(of, bytes, move || {
        assert!(image.patch_unseen(&collections[0]), "the collections have the same points");
        collections.swap(0, 1);
    }))
}

fn body(of: Points, bytes: usize, run: impl FnMut() + 'static) -> Body {
    Body::new(of.count(), bytes, run)
}

/// Two collections, and the image of the first, if that is what prost writes.
fn image(of: Points) -> Result<([ResourceMetrics; 2], MetricImage, usize), String> {
    let collections = inputs::collections(of);
    let mut image = MetricImage::new();
    image.encode(&collections[0]);
    verify(image.bytes(), &transform(&collections[0]).encode_to_vec())?;
    if image.points() != of.count() as u64 {
        return Err(format!("{} points instead of {}", image.points(), of.count()));
    }
    let bytes = image.bytes().len();
    Ok((collections, image, bytes))
}

/// What opentelemetry-otlp does with a collection.
fn transform(metrics: &ResourceMetrics) -> ScopeMetrics {
    let mut request = ExportMetricsServiceRequest::from(metrics);
    let mut scope = mem::take(&mut request.resource_metrics[0].scope_metrics[0]);
    scope.scope = None;
    scope
}
