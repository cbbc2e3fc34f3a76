//! Bounds on rates from small counts.

/// One-sided 95 % quantile of the normal distribution.
const Z_95_ONE_SIDED: f64 = 1.644_854;

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

/// The Poisson mean at which at least `n` events are seen with 95 % probability: the rate that
/// a window would surely have shown. Wilson and Hilferty's cube-root approximation of the
/// chi-squared quantile (PNAS 17, 1931), within 1 % for n >= 2.
pub fn poisson_mean_for_at_least(n: u32) -> f64 {
    let n = f64::from(n);
    let ninth = 1.0 / (9.0 * n);
    n * (1.0 - ninth + Z_95_ONE_SIDED * ninth.sqrt()).powi(3)
}

/// By how much two counts may differ by chance alone when both have the same mean, with 95 %
/// probability: the difference of two Poisson counts has the sum of both as its variance.
pub fn poisson_difference_noise(one: f64, other: f64) -> f64 {
    Z_95_ONE_SIDED * (one + other).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{poisson_mean_for_at_least, wilson_lower_bound};

    #[test]
    fn wilson_bound_agrees_with_published_values() {
        // One-sided 95 % of 10/10: 1 / (1 + z^2/10) = 0.787; of 50/100: 0.419.
        assert!((wilson_lower_bound(10.0, 10.0) - 0.787).abs() < 1e-3);
        assert!((wilson_lower_bound(50.0, 100.0) - 0.419).abs() < 1e-3);
        assert_eq!(wilson_lower_bound(0.0, 0.0), 0.0);
    }

    #[test]
    fn at_the_given_mean_fewer_events_are_seen_in_one_case_of_twenty() {
        for n in [2u32, 8, 30] {
            let mean = poisson_mean_for_at_least(n);
            let mut term = (-mean).exp();
            let mut fewer = term;
            for k in 1..n {
                term *= mean / f64::from(k);
                fewer += term;
            }
            assert!((fewer - 0.05).abs() < 0.003, "n {n}: mean {mean}, P {fewer}");
        }
    }
}
