//! A resource of opentelemetry_sdk 0.33.

use opentelemetry_sdk::Resource;

use super::attributes::put_attribute;
use crate::encode::common;
use crate::encode::envelope::Frame;

/// Encodes a resource, attributes sorted by key: the SDK keeps them in a hash map, and equal
/// resources should give equal bytes.
pub(crate) fn encode_resource(resource: &Resource) -> Frame {
    let mut attributes: Vec<_> = resource.iter().collect();
    attributes.sort_by_key(|(key, _)| *key);
    common::resource(resource.schema_url().unwrap_or_default(), |out, field| {
        for (key, value) in &attributes {
            put_attribute(out, field, key, value);
        }
    })
}
