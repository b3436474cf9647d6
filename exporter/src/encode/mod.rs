//! Building blocks of OTLP messages, free of any SDK's types: the doors in `ingest` walk their
//! own data and call these in the order of the field numbers.
//!
//! Attributes, resources and scopes are in [`common`], spans in [`traces`], and the containers
//! around finished records in [`envelope`].

pub(crate) mod common;
pub(crate) mod envelope;
pub(crate) mod traces;
