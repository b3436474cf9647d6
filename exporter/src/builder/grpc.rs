//! Builder methods: what only OTLP/gRPC has.

use std::time::Duration;

use super::Builder;
use crate::error::BuildError;
use crate::transport::grpc::keepalive::KeepaliveConfig;

/// What was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given {
    /// Interval and timeout.
    keepalive: Option<(Duration, Duration)>,
    while_idle: bool,
}

impl Builder {
    /// Sends a ping over gRPC's connection if nothing was heard on it for `interval` while a
    /// request is under way, and closes it if nothing is heard for `timeout` after that; what was
    /// under way is tried again. At least 1 ms each. Default: no pings.
    ///
    /// A dead peer is found anyway, by the time limit of an attempt
    /// ([`timeout`](Self::timeout)); a ping finds it earlier if that limit is long. Many servers
    /// close a connection that pings often, some as often as every five minutes. Over HTTP/1.1
    /// there are no pings, and this has no effect.
    pub fn keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.grpc.keepalive = Some((interval, timeout));
        self
    }

    /// Sends the pings of [`keepalive`](Self::keepalive) also while no request is under way, so
    /// that a firewall between does not forget the connection. Default: none; an idle exporter
    /// wakes up for them.
    pub fn keepalive_while_idle(mut self, pings: bool) -> Self {
        self.grpc.while_idle = pings;
        self
    }

    pub(super) fn keepalive_config(&self) -> Result<Option<KeepaliveConfig>, BuildError> {
        let Given { keepalive, while_idle } = self.grpc;
        let Some((interval, timeout)) = keepalive else { return Ok(None) };
        match [interval, timeout].into_iter().find(|time| *time < PAUSE_MIN) {
            None => Ok(Some(KeepaliveConfig { interval, timeout, while_idle })),
            Some(time) => Err(BuildError::InvalidValue {
                value: format!("{time:?}"),
                source_name: "Builder::keepalive",
                why: format!("it must be at least {PAUSE_MIN:?}"),
            }),
        }
    }
}

/// Below this, pings would be all that a connection is busy with.
const PAUSE_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keepalive_without_a_pause_is_refused() {
        let second = Duration::from_secs(1);
        for (interval, timeout) in [(Duration::ZERO, second), (second, Duration::ZERO)] {
            let refused = Builder::new().keepalive(interval, timeout).keepalive_config();
            assert!(matches!(refused, Err(BuildError::InvalidValue { .. })), "{refused:?}");
        }
        let config = Builder::new().keepalive(second, second).keepalive_while_idle(true);
        let config = config.keepalive_config().unwrap();
        assert_eq!(
            config,
            Some(KeepaliveConfig { interval: second, timeout: second, while_idle: true })
        );
        assert_eq!(Builder::new().keepalive_config().unwrap(), None);
    }
}
