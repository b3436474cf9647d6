//! Resources and scopes, encoded once: a record in the pipe carries their indices only.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::encode::envelope::Frame;

/// Interns frames; an index stays valid for as long as the exporter lives.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    resources: Mutex<Table>,
    scopes: Mutex<Table>,
}

/// At most this many different resources and this many different scopes an exporter: what a
/// program names statically, with room; a program that makes scopes up is told, not served.
pub(crate) const FRAMES_MAX: usize = 4096;

#[derive(Debug, Default)]
struct Table {
    frames: Vec<Frame>,
    indices: HashMap<Frame, u32>,
}

impl Registry {
    /// The index of a resource, or `None` if there are [`FRAMES_MAX`] others already.
    pub(crate) fn resource(&self, frame: Frame) -> Option<u32> {
        lock(&self.resources).intern(frame)
    }

    /// The index of a scope, or `None` if there are [`FRAMES_MAX`] others already.
    pub(crate) fn scope(&self, frame: Frame) -> Option<u32> {
        lock(&self.scopes).intern(frame)
    }

    /// The resource with this index.
    pub(crate) fn resource_frame(&self, index: u32) -> Frame {
        lock(&self.resources).frame(index)
    }

    /// The scope with this index.
    pub(crate) fn scope_frame(&self, index: u32) -> Frame {
        lock(&self.scopes).frame(index)
    }
}

impl Table {
    fn intern(&mut self, frame: Frame) -> Option<u32> {
        if let Some(&index) = self.indices.get(&frame) {
            return Some(index);
        }
        let index = u32::try_from(self.frames.len()).ok()?;
        if self.frames.len() >= FRAMES_MAX {
            return None;
        }
        self.frames.push(frame.clone());
        self.indices.insert(frame, index);
        Some(index)
    }

    /// An unknown index cannot come out of the pipe; an empty frame is the harmless answer.
    fn frame(&self, index: u32) -> Frame {
        debug_assert!((index as usize) < self.frames.len(), "index {index} was never interned");
        self.frames.get(index as usize).cloned().unwrap_or_default()
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // Between any two statements the table is consistent, so a poisoned lock is fine.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(text: &str) -> Frame {
        Frame { head: Bytes::copy_from_slice(text.as_bytes()), tail: Bytes::new() }
    }

    #[test]
    fn equal_frames_share_an_index_and_scopes_are_not_resources() {
        let registry = Registry::default();
        assert_eq!(registry.scope(frame("a")), Some(0));
        assert_eq!(registry.scope(frame("b")), Some(1));
        assert_eq!(registry.scope(frame("a")), Some(0));
        assert_eq!(registry.resource(frame("b")), Some(0));
        assert_eq!(registry.scope_frame(1), frame("b"));
        assert_eq!(registry.resource_frame(0), frame("b"));
    }

    #[test]
    fn the_same_head_with_another_tail_is_another_frame() {
        let registry = Registry::default();
        let plain = frame("scope");
        let with_url = Frame { tail: Bytes::from_static(b"url"), ..plain.clone() };
        assert_ne!(registry.scope(plain), registry.scope(with_url));
    }

    #[test]
    fn the_table_is_bounded() {
        let registry = Registry::default();
        for index in 0..FRAMES_MAX {
            assert_eq!(registry.scope(frame(&index.to_string())), Some(index as u32));
        }
        assert_eq!(registry.scope(frame("one more")), None);
        assert_eq!(registry.scope(frame("0")), Some(0));
    }
}
