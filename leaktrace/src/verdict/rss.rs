//! Growth of the anonymous RSS: its slope, what the window can resolve, and warm-up.

use crate::model::{Slope, resolvable_slope, theil_sen};

/// A later half that grows slower than this share of the whole is warm-up coming to its end.
const WARM_UP_RATIO: f64 = 0.3;

/// The RSS moves in pages: no window resolves less.
const PAGE_BYTES: f64 = 4096.0;

/// The shape of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RssShape {
    /// No growth that this window could tell from its own noise.
    Flat,
    /// It grew, but slows down: caches fill, the heap finds its size.
    WarmUp,
    /// It grows steadily.
    Growing,
}

/// The growth of one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RssGrowth {
    /// Bytes per second, with its interval.
    pub slope: Slope,
    /// The slope that the window can tell from its noise.
    pub floor_bytes_per_s: f64,
    /// What it looks like.
    pub shape: RssShape,
}

impl RssGrowth {
    /// From (seconds, bytes) of a process whose RSS is known to swing by `noise_bytes`; none with
    /// too few points.
    pub fn of(series: &[(f64, f64)], noise_bytes: f64) -> Option<Self> {
        let slope = theil_sen(series)?;
        let noise_bytes = noise_bytes.max(PAGE_BYTES);
        let floor_bytes_per_s = resolvable_slope(series, &slope, noise_bytes)?;
        let shape = if slope.low <= 0.0 || slope.per_s <= floor_bytes_per_s {
            RssShape::Flat
        } else {
            match theil_sen(&series[series.len() / 2..]) {
                Some(late) if late.per_s < WARM_UP_RATIO * slope.per_s => RssShape::WarmUp,
                _ => RssShape::Growing,
            }
        };
        Some(Self { slope, floor_bytes_per_s, shape })
    }
}

#[cfg(test)]
mod tests {
    use super::{RssGrowth, RssShape};

    fn shape(value: impl Fn(f64) -> f64) -> RssShape {
        noisy_shape(0.0, value)
    }

    fn noisy_shape(noise_bytes: f64, value: impl Fn(f64) -> f64) -> RssShape {
        let series: Vec<_> = (0..30).map(|i| (f64::from(i) * 2.0, value(f64::from(i)))).collect();
        RssGrowth::of(&series, noise_bytes).unwrap().shape
    }

    /// A small Go heap grows evenly until its first collection.
    #[test]
    fn growth_within_the_known_noise_is_no_growth() {
        assert_eq!(noisy_shape(1e7, |i| 5e6 + i * 3e4), RssShape::Flat);
        assert_eq!(noisy_shape(1e7, |i| 5e6 + i * 5e5), RssShape::Growing);
    }

    #[test]
    fn steady_growth_warm_up_and_saw_tooth_are_told_apart() {
        assert_eq!(shape(|i| 1e8 + i * 5e4), RssShape::Growing);
        assert_eq!(shape(|i| 1e8 + (i.min(12.0)) * 5e6), RssShape::WarmUp);
        assert_eq!(shape(|i| 1e8 + (i % 7.0) * 1e6), RssShape::Flat);
        assert_eq!(shape(|i| 1e8 - i * 5e4), RssShape::Flat);
        assert_eq!(shape(|_| 1e8), RssShape::Flat);
    }
}
