//! An instrumentation scope of opentelemetry 0.33.

use opentelemetry::InstrumentationScope;

use super::attributes::put_attribute;
use crate::encode::common;
use crate::encode::envelope::Frame;

/// Encodes a scope. What identifies it (name, version, schema url, attributes) is all in the
/// frame, so equal frames are equal scopes.
pub(crate) fn encode_scope(scope: &InstrumentationScope) -> Frame {
    let version = scope.version().unwrap_or_default();
    let schema_url = scope.schema_url().unwrap_or_default();
    common::scope(scope.name(), version, schema_url, |out, field| {
        for attribute in scope.attributes() {
            put_attribute(out, field, &attribute.key, &attribute.value);
        }
    })
}
