//! One page of metrics on its way out: families of one kind, by prometheus-client's encoder.
//!
//! Used by `metrics` only. The encoder appends what a name needs: its unit, `_total` of a counter,
//! `_bucket`, `_sum` and `_count` of a histogram.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::tally::{BOUNDS, Histogram};

type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

pub(super) struct Page<'e>(pub DescriptorEncoder<'e>);

impl Page<'_> {
    pub(super) fn counters<'a, const N: usize, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Labels<'a, N>, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in samples {
            let mut sample = family.encode_family(&labels)?;
            sample.encode_counter::<NoLabelSet, V, f64>(&value, None)?;
        }
        Ok(())
    }

    pub(super) fn counter<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: V,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, V, f64>(&value, None)
    }

    pub(super) fn gauges<'a, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a, N>, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub(super) fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: V,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        family.encode_gauge(&value)
    }

    /// In seconds.
    pub(super) fn histograms<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a, N>, &'a Histogram)>,
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (labels, histogram) in samples {
            let bounds = BOUNDS.iter().map(std::time::Duration::as_secs_f64);
            let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(histogram.buckets).collect();
            let (sum, count) = (histogram.sum.as_secs_f64(), histogram.count());
            let mut sample = family.encode_family(&labels)?;
            sample.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}
