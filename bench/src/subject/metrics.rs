//! Laps of recording and collecting.

use opentelemetry_sdk::metrics::SdkMeterProvider;

use crate::{
    drive::{Ids, Producer},
    metric::{MetricMaker, POINTS},
    shape::Shape,
};

/// Records once for each point and lets the provider collect and export, lap by lap.
pub(super) struct Laps {
    maker: MetricMaker,
    provider: SdkMeterProvider,
}

impl Laps {
    pub(super) fn new(provider: SdkMeterProvider, shape: Shape) -> Self {
        Self { maker: MetricMaker::new(&provider, shape), provider }
    }
}

impl Producer for Laps {
    /// Always a whole collection.
    fn burst(&mut self, _: u64, _: &mut Ids) -> u64 {
        self.maker.record();
        // What fails shows in the exporter's counts.
        let _ = self.provider.force_flush();
        POINTS
    }

    fn burst_len(&self) -> u64 {
        POINTS
    }
}
