//! A resource of opentelemetry_sdk 0.33.

use opentelemetry_sdk::Resource;

use crate::encode::common::{self, Attributes};
use crate::encode::envelope::Frame;
use crate::encode::limits::Limits;

/// Encodes a resource, attributes sorted by key: the SDK keeps them in a hash map, and equal
/// resources should give equal bytes.
pub(crate) fn encode_resource(resource: &Resource, limits: &Limits) -> Frame {
    let mut attributes: Vec<_> = resource.iter().collect();
    attributes.sort_by_key(|(key, _)| *key);
    common::resource(resource.schema_url().unwrap_or_default(), |out, field| {
        let mut written = Attributes::begin(out, field, &limits.exempt);
        for (key, value) in &attributes {
            written.put(out, key.as_str(), *value);
        }
        written.end()
    })
}
