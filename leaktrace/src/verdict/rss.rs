//! Growth of the anonymous RSS: its slope, what the window can resolve, and what it looks like.

use crate::model::{SeriesShape, Shaped, Slope, resolvable_slope, shape_of, theil_sen};

/// The RSS moves in pages: no window resolves less.
pub const PAGE_BYTES: f64 = 4096.0;

/// What the growth comes to; see [`SeriesShape`] for how that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RssShape {
    /// No growth that this window could tell from its own noise.
    Flat,
    /// It grew, but slows down: caches fill, the heap finds its size.
    WarmUp,
    /// It jumped, and was flat between the jumps and after the last.
    Steps,
    /// It fell at once to near where it began.
    Restarted,
    /// It has begun to grow only lately.
    Lately,
    /// It grows steadily, or its floor does.
    Growing,
}

impl RssShape {
    /// As in the report.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::WarmUp => "warm_up",
            Self::Steps => "steps",
            Self::Restarted => "restarted",
            Self::Lately => "lately",
            Self::Growing => "growing",
        }
    }
}

/// The growth of one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RssGrowth {
    /// Bytes per second, with its interval: of all, or of what grows if that is only the floor or
    /// only the time after a warm-up.
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
        let shaped = shape_of(series, noise_bytes)?;
        let shape = rss_shape(shaped.shape);
        // A part of the series grows where all of it does not say so by itself.
        let in_part = shape == RssShape::Growing && grows_in_part(series, &shaped);
        let slope = if in_part { shaped.slope } else { slope };
        Some(Self { slope, floor_bytes_per_s, shape })
    }
}

fn grows_in_part(series: &[(f64, f64)], shaped: &Shaped) -> bool {
    let from_s = series.first().map_or(0.0, |first| first.0);
    let late = matches!(shaped.shape, SeriesShape::Growing { since_s } if since_s > from_s);
    late || shaped.floor.is_some()
}

const fn rss_shape(shape: SeriesShape) -> RssShape {
    match shape {
        SeriesShape::Flat | SeriesShape::SawTooth { .. } | SeriesShape::Falling => RssShape::Flat,
        SeriesShape::Lately { .. } => RssShape::Lately,
        SeriesShape::WarmUp => RssShape::WarmUp,
        SeriesShape::Steps { .. } => RssShape::Steps,
        SeriesShape::Restarted { .. } => RssShape::Restarted,
        SeriesShape::Growing { .. } => RssShape::Growing,
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

    #[test]
    fn a_step_and_a_restart_are_no_growth() {
        assert_eq!(shape(|i| if i < 12.0 { 1e8 } else { 1.6e8 }), RssShape::Steps);
        assert_eq!(shape(|i| 1e8 + (i % 20.0) * 5e6), RssShape::Restarted);
    }

    #[test]
    fn the_slope_is_that_of_what_grows() {
        let warm = |i: f64| if i < 6.0 { 1e7 * i } else { 6e7 + (i - 6.0) * 2e4 };
        let series: Vec<_> = (0..30).map(|i| (f64::from(i), 1e8 + warm(f64::from(i)))).collect();
        let late = RssGrowth::of(&series, 0.0).unwrap();
        assert_eq!(late.shape, RssShape::Growing);
        assert!((late.slope.per_s - 2e4).abs() < 1.0, "{late:?}");
    }
}
