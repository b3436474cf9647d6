//! The containers around finished records.
//!
//! A repeated field is a concatenation, so a run of records *is* the inside of a `ScopeSpans`
//! and the lengths of its containers are sums:
//!
//! ```text
//! 0a len ResourceSpans { resource.head  12 len ScopeSpans { scope.head  records  scope.tail }
//!                                       12 len ScopeSpans { ... }
//!                        resource.tail }
//! ```
//!
//! Only what stands between the records is written; the records themselves are passed on. Logs
//! and metrics have the same field numbers, so this serves them as well.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use spanwire_runtime::buf::Cursor;

use crate::wire::fields::{export_request, resource_records};
use crate::wire::write::{VARINT_LEN_MAX, Wire, field_len, key, put_len};

/// The encoded fields of a container that stand before and after its repeated field, in the
/// order of their numbers: of `ResourceSpans` the resource and the schema url, of `ScopeSpans`
/// the scope and the schema url.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    /// Field 1 with its key and length.
    pub(crate) head: Bytes,
    /// Field 3 with its key and length, or nothing.
    pub(crate) tail: Bytes,
}

/// Records of one scope.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Their scope.
    pub(crate) scope: Frame,
    /// Runs of records, each record with key and length.
    pub(crate) runs: Vec<Bytes>,
}

/// A whole request: the concatenation of `parts` is an `Export*ServiceRequest`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// Headers and runs in turn; none of them is empty.
    pub(crate) parts: Vec<Bytes>,
    /// Bytes of all parts together.
    pub(crate) bytes: usize,
}

impl Frame {
    /// Bytes of both ends.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

impl Group {
    fn records_len(&self) -> usize {
        self.runs.iter().map(Bytes::len).sum()
    }

    /// Bytes inside of this group's container.
    fn len(&self) -> usize {
        self.scope.len() + self.records_len()
    }
}

impl Request {
    /// Puts `groups` into the containers of one resource.
    ///
    /// Groups without records are left out, and a request without any has no parts: clients
    /// should not send empty envelopes (OTLP specification).
    pub(crate) fn new(resource: &Frame, mut groups: Vec<Group>) -> Self {
        groups.retain(|group| group.records_len() > 0);
        if groups.is_empty() {
            return Self::default();
        }
        let resource_len =
            resource.len() + groups.iter().map(|group| field_len(group.len())).sum::<usize>();
        let mut parts = Parts::new(resource, &groups);
        parts.open(RESOURCES, resource_len, resource);
        for group in groups {
            parts.open(SCOPES, group.len(), &group.scope);
            group.runs.into_iter().for_each(|run| parts.run(run));
            parts.close(&group.scope);
        }
        parts.close(resource);
        let request = parts.finish();
        debug_assert_eq!(request.bytes, field_len(resource_len), "predicted and written");
        request
    }
}

/// Collects the parts; what is not a run goes into one arena.
struct Parts {
    request: Request,
    arena: BytesMut,
}

impl Parts {
    fn new(resource: &Frame, groups: &[Group]) -> Self {
        let frames: usize = groups.iter().map(|group| group.scope.len() + OPENING_LEN_MAX).sum();
        let runs: usize = groups.iter().map(|group| group.runs.len()).sum();
        let arena = BytesMut::with_capacity(resource.len() + OPENING_LEN_MAX + frames);
        let parts = Vec::with_capacity(runs + groups.len() + 1);
        Self { request: Request { parts, bytes: 0 }, arena }
    }

    /// Starts a container of `len` bytes.
    fn open(&mut self, key: u8, len: usize, frame: &Frame) {
        let mut opening = [MaybeUninit::uninit(); OPENING_LEN_MAX];
        let mut out = Cursor::new(&mut opening);
        put_len(&mut out, key, len);
        self.arena.extend_from_slice(out.written());
        self.arena.extend_from_slice(&frame.head);
    }

    fn close(&mut self, frame: &Frame) {
        self.arena.extend_from_slice(&frame.tail);
    }

    fn run(&mut self, run: Bytes) {
        let header = self.arena.split().freeze();
        self.part(header);
        self.part(run);
    }

    fn part(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.request.bytes += part.len();
            self.request.parts.push(part);
        }
    }

    fn finish(mut self) -> Request {
        let trailer = self.arena.split().freeze();
        self.part(trailer);
        self.request
    }
}

/// Bytes of the longest key and length that open a container.
const OPENING_LEN_MAX: usize = 1 + VARINT_LEN_MAX;

const RESOURCES: u8 = key(export_request::RESOURCES, Wire::Len);
const SCOPES: u8 = key(resource_records::SCOPES, Wire::Len);
