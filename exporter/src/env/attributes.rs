//! The specification's attribute limits
//! (`configuration/sdk-environment-variables.md`, "Attribute Limits" and below).

use super::Env;
use crate::encode::limits::{Given, GivenModel};

/// What the environment says of the limits.
pub(super) fn limits(env: &mut Env<'_>) -> Given {
    let mut limit = |name| env.number(name).map(saturated);
    Given {
        general: GivenModel {
            count_max: limit("OTEL_ATTRIBUTE_COUNT_LIMIT"),
            value_len_max: limit("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
        },
        span: GivenModel {
            count_max: limit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
            value_len_max: limit("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
        },
        event: GivenModel {
            count_max: limit("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"),
            value_len_max: None,
        },
        link: GivenModel {
            count_max: limit("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"),
            value_len_max: None,
        },
        log: GivenModel {
            count_max: limit("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT"),
            value_len_max: limit("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
        },
        ..Given::default()
    }
}

/// A limit that 32 bits cannot hold is one that nothing reaches.
fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
