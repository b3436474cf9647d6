//! An instrumentation scope of opentelemetry 0.33.

use opentelemetry::InstrumentationScope;

use crate::encode::common::{self, Attributes};
use crate::encode::envelope::Frame;
use crate::encode::limits::Limits;

/// Encodes a scope. What identifies it (name, version, schema url, attributes) is all in the
/// frame, so equal frames are equal scopes.
#[cfg_attr(not(test), allow(dead_code, reason = "the doors of spans and logs ask by name"))]
pub(crate) fn encode_scope(scope: &InstrumentationScope, limits: &Limits) -> Frame {
    encode_named_scope(scope, scope.name(), limits)
}

/// The same for a scope that is called `name` instead.
pub(crate) fn encode_named_scope(
    scope: &InstrumentationScope,
    name: &str,
    limits: &Limits,
) -> Frame {
    let version = scope.version().unwrap_or_default();
    let schema_url = scope.schema_url().unwrap_or_default();
    common::scope(name, version, schema_url, |out, field| {
        let mut written = Attributes::begin(out, field, &limits.exempt);
        for attribute in scope.attributes() {
            written.put(out, attribute.key.as_str(), &attribute.value);
        }
        written.end()
    })
}
