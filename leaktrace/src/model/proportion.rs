//! Bounds on rates and shares from counts.

use statrs::distribution::{Beta, ContinuousCDF, Normal};

/// One-sided 95 % quantile of the normal distribution.
const Z_95_ONE_SIDED: f64 = 1.644_854;
/// What lies below a two-sided 95 % interval, and above it.
const TAIL_95: f64 = 0.025;

/// A share with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Share {
    /// The estimate, 0 to 1.
    pub ratio: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How probable a value at least as far from 0 as `z` is by chance, on either side, if it is normal
/// with variance 1.
pub fn two_sided_p(z: f64) -> f64 {
    2.0 * Normal::standard().sf(z.abs())
}

/// Lower 95 % bound of a proportion of which `hits` of `trials` were seen.
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
/// JASA 22 (1927).
pub fn wilson_lower_bound(hits: f64, trials: f64) -> f64 {
    if trials <= 0.0 {
        return 0.0;
    }
    let z2 = Z_95_ONE_SIDED * Z_95_ONE_SIDED;
    let p = hits / trials;
    let centre = p + z2 / (2.0 * trials);
    let spread = Z_95_ONE_SIDED * (p * (1.0 - p) / trials + z2 / (4.0 * trials * trials)).sqrt();
    ((centre - spread) / (1.0 + z2 / trials)).max(0.0)
}

/// The exact 95 % interval of a proportion of which `hits` of `trials` were seen; counts may be
/// fractions where they are estimates. All is possible without trials.
/// C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the
/// case of the binomial", Biometrika 26 (1934), by the quantiles of the beta distribution.
pub fn exact_share(hits: f64, trials: f64) -> Share {
    let hits = hits.clamp(0.0, trials.max(0.0));
    let misses = trials - hits;
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).ok().map(|beta| beta.inverse_cdf(p));
    // A shape of 0 has no distribution: that end is the end of what is possible.
    Share {
        ratio: if trials > 0.0 { hits / trials } else { 0.0 },
        low: quantile(hits, misses + 1.0, TAIL_95).unwrap_or(0.0),
        high: quantile(hits + 1.0, misses, 1.0 - TAIL_95).unwrap_or(1.0),
    }
}

/// By how much two counts may differ by chance alone when both have the same mean, with 95 %
/// probability: the difference of two Poisson counts has the sum of both as its variance.
pub fn poisson_difference_noise(one: f64, other: f64) -> f64 {
    Z_95_ONE_SIDED * (one + other).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{exact_share, wilson_lower_bound};

    #[test]
    fn wilson_bound_agrees_with_published_values() {
        // One-sided 95 % of 10/10: 1 / (1 + z^2/10) = 0.787; of 50/100: 0.419.
        assert!((wilson_lower_bound(10.0, 10.0) - 0.787).abs() < 1e-3);
        assert!((wilson_lower_bound(50.0, 100.0) - 0.419).abs() < 1e-3);
        assert_eq!(wilson_lower_bound(0.0, 0.0), 0.0);
    }

    #[test]
    fn without_trials_all_is_possible() {
        let share = exact_share(0.0, 0.0);
        assert_eq!((share.low, share.high), (0.0, 1.0));
        let share = exact_share(12.0, 10.0);
        assert_eq!((share.ratio, share.high), (1.0, 1.0), "no more hits than trials");
    }
}
