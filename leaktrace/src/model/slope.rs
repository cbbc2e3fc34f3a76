//! Robust slope of a series with irregular time stamps, with its interval.
//!
//! P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63 (1968):
//! the median of all pairwise slopes; the interval from the normal approximation of Kendall's S.

/// Two-sided 95 % quantile of the normal distribution.
const Z_95: f64 = 1.959_964;

/// Fewer points than this give no interval worth the name.
const POINTS_MIN: usize = 5;

/// See [`how_long_s`].
pub const SURE_SPANS: f64 = 1.5;

/// A slope per second with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// Median of the pairwise slopes.
    pub per_s: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// The Theil-Sen slope of `points`, (seconds, value); none with fewer than five points.
/// The work is quadratic in the number of points, which the history bounds.
pub fn theil_sen(points: &[(f64, f64)]) -> Option<Slope> {
    if points.len() < POINTS_MIN {
        return None;
    }
    let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    for (i, (t0, v0)) in points.iter().enumerate() {
        let later = points[i + 1..].iter().filter(|(t1, _)| t1 > t0);
        slopes.extend(later.map(|(t1, v1)| (v1 - v0) / (t1 - t0)));
    }
    if slopes.is_empty() {
        return None;
    }
    let pairs = slopes.len() as f64;
    let n = points.len() as f64;
    let spread = Z_95 * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let (low, high) = (((pairs - spread) / 2.0).floor(), ((pairs + spread) / 2.0).ceil());
    Some(Slope {
        per_s: median(&mut slopes),
        // The ranks that Sen counts from 1.
        low: ranked(&mut slopes, (low - 1.0).max(0.0) as usize),
        high: ranked(&mut slopes, high as usize),
    })
}

/// The value that would be at `rank` if they were sorted, or the last: a fifth of the work of sorting.
fn ranked(values: &mut [f64], rank: usize) -> f64 {
    let rank = rank.min(values.len() - 1);
    *values.select_nth_unstable_by(rank, f64::total_cmp).1
}

/// The smallest slope that this window can tell from its own noise: the range of what remains
/// after the trend is taken out, or `noise` if that is known to be larger, over the span. Unlike the interval above it does not take
/// neighbouring points for independent, which a garbage collector's saw-tooth is not.
pub fn resolvable_slope(points: &[(f64, f64)], slope: &Slope, noise: f64) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    let span_s = last.0 - first.0;
    let residuals = points.iter().map(|(t, value)| value - slope.per_s * (t - first.0));
    let (low, high) = residuals
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), r| (low.min(r), high.max(r)));
    (span_s > 0.0).then(|| (high - low).max(noise) / span_s)
}

/// For how long to watch a series that swings by `swing` so that growth of `per_s` is told from it,
/// in seconds; none for no growth. [`resolvable_slope`] falls with the span, and half as much again
/// leaves room for the error of the slope and for the wider swings of a longer time.
pub fn how_long_s(per_s: f64, swing: f64) -> Option<f64> {
    let sound = per_s.is_finite() && swing.is_finite() && per_s > 0.0 && swing >= 0.0;
    sound.then(|| SURE_SPANS * swing / per_s)
}

fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    let lower = below.iter().copied().max_by(f64::total_cmp);
    match lower {
        Some(lower) if values.len().is_multiple_of(2) => f64::midpoint(lower, upper),
        _ => upper,
    }
}

#[cfg(test)]
mod tests {
    use super::{resolvable_slope, theil_sen};

    /// A small deterministic generator: SplitMix64 scaled to [0, 1).
    fn noise(seed: u64) -> impl Iterator<Item = f64> {
        let mut state = seed;
        std::iter::from_fn(move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Some((z ^ (z >> 31)) as f64 / u64::MAX as f64)
        })
    }

    #[test]
    fn an_exact_line_has_its_own_slope_and_no_width() {
        let points: Vec<_> = (0..12).map(|t| (f64::from(t) * 5.0, f64::from(t) * 15.0)).collect();
        let slope = theil_sen(&points).unwrap();
        assert_eq!((slope.per_s, slope.low, slope.high), (3.0, 3.0, 3.0));
        assert_eq!(resolvable_slope(&points, &slope, 0.0), Some(0.0));
    }

    #[test]
    fn irregular_times_and_outliers_do_not_bend_it() {
        let mut points: Vec<_> = [0.0, 1.0, 1.5, 7.0, 7.1, 20.0, 21.0, 40.0, 41.0, 60.0]
            .map(|t| (t, 100.0 + 2.0 * t))
            .to_vec();
        points[4].1 = 1e6;
        let slope = theil_sen(&points).unwrap();
        assert!((slope.per_s - 2.0).abs() < 1e-9, "{slope:?}");
    }

    #[test]
    fn a_falling_series_has_the_rising_ones_interval_turned_round() {
        for seed in 0..50 {
            let points: Vec<_> =
                noise(seed).take(12).zip(0..).map(|(r, t)| (f64::from(t), r)).collect();
            let falling: Vec<_> = points.iter().map(|(t, value)| (*t, -value)).collect();
            let (one, other) = (theil_sen(&points).unwrap(), theil_sen(&falling).unwrap());
            assert_eq!((one.low, one.per_s, one.high), (-other.high, -other.per_s, -other.low));
        }
    }

    /// The interval must hold what it says: 95 % of honest noise has the true slope inside.
    #[test]
    fn the_interval_covers_the_truth_about_as_often_as_it_claims() {
        let covered = (0..1000)
            .filter(|trial| {
                let points: Vec<_> = noise(*trial)
                    .take(24)
                    .enumerate()
                    .map(|(i, r)| (i as f64, 0.3 * i as f64 + 10.0 * r))
                    .collect();
                let slope = theil_sen(&points).unwrap();
                slope.low <= 0.3 && 0.3 <= slope.high
            })
            .count();
        assert!((920..=985).contains(&covered), "{covered} of 1000");
    }

    /// Five teeth of 10 MB in 60 s and no growth: a slope below the floor must not be believed.
    #[test]
    fn a_saw_tooth_stays_below_its_floor() {
        let points: Vec<_> =
            (0..60).map(|t| (f64::from(t), 1e8 + f64::from(t % 12) * 1e6)).collect();
        let slope = theil_sen(&points).unwrap();
        assert!(slope.per_s.abs() < resolvable_slope(&points, &slope, 0.0).unwrap());
    }

    #[test]
    fn too_few_points_have_no_slope() {
        assert_eq!(theil_sen(&[(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]), None);
        assert_eq!(theil_sen(&[(1.0, 1.0); 9]), None);
    }
}
