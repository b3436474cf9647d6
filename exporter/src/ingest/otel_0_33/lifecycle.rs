//! What the SDK is told of flushing and closing a door, whichever of its traits asks.

use std::time::Duration;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};

use crate::error::FlushError;
use crate::pipeline::door::Door;

/// Delivers what came in through `door` so far, within `limit`.
pub(super) fn flush(door: &Door, limit: Duration) -> OTelSdkResult {
    match door.flush(limit) {
        Ok(()) => Ok(()),
        Err(FlushError::Timeout { .. }) => Err(OTelSdkError::Timeout(limit)),
        Err(FlushError::ShutDown | FlushError::Forked) => Err(OTelSdkError::AlreadyShutdown),
        Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
    }
}

/// Closes `door`, which can be done once, and delivers what came in, within `limit`.
pub(super) fn shut(door: &Door, limit: Duration) -> OTelSdkResult {
    if !door.close() {
        return Err(OTelSdkError::AlreadyShutdown);
    }
    flush(door, limit)
}

/// How long `force_flush`, which names no limit, may take: the default export timeout of the
/// specification's batch processor (30 s).
pub const FLUSH_LIMIT: Duration = Duration::from_secs(30);
