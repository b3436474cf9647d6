//! An instrumentation scope of opentelemetry 0.33.

use opentelemetry::InstrumentationScope;

use super::attributes::put_attribute;
use crate::encode::common;
use crate::encode::envelope::Frame;

/// Encodes a scope. What identifies it (name, version, schema url, attributes) is all in the
/// frame, so equal frames are equal scopes.
#[cfg_attr(not(test), allow(dead_code, reason = "the doors of spans and logs ask by name"))]
pub(crate) fn encode_scope(scope: &InstrumentationScope) -> Frame {
    encode_named_scope(scope, scope.name())
}

/// The same for a scope that is called `name` instead.
pub(crate) fn encode_named_scope(scope: &InstrumentationScope, name: &str) -> Frame {
    let version = scope.version().unwrap_or_default();
    let schema_url = scope.schema_url().unwrap_or_default();
    common::scope(name, version, schema_url, |out, field| {
        for attribute in scope.attributes() {
            put_attribute(out, field, &attribute.key, &attribute.value);
        }
    })
}
