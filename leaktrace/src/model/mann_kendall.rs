//! Whether a series rises or falls at all: values in their order in, a probability out.
//!
//! H. B. Mann, "Nonparametric tests against trend", Econometrica 13 (1945); M. G. Kendall, "Rank
//! correlation methods" (1975), with his correction for ties. Non-goals: how fast, for which see
//! `slope`.

use std::cmp::Ordering;

use super::proportion::two_sided_p;

/// Fewer values prove nothing by the normal approximation.
const VALUES_MIN: usize = 5;

/// The outcome of a test for trend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannKendall {
    /// Pairs in rising order less those in falling order.
    pub s: f64,
    /// The variance of that by chance.
    pub variance: f64,
    /// Kendall's tau-b: 1 for a series that only rises, -1 for one that only falls.
    pub tau: f64,
    /// How probable so much of a trend is by chance, on either side.
    pub p_value: f64,
}

/// The test for independent values, with ties; none for fewer than five, and p is 1 when all are
/// the same.
pub fn mann_kendall(values: &[f64]) -> Option<MannKendall> {
    if values.len() < VALUES_MIN || !values.iter().all(|value| value.is_finite()) {
        return None;
    }
    let rises = values.iter().enumerate().flat_map(|(index, value)| {
        values[index + 1..].iter().map(move |later| sign(later.partial_cmp(value)))
    });
    let s = rises.sum();
    let n = values.len() as f64;
    let (mut tied_pairs, mut tied_variance) = (0.0, 0.0);
    for t in tie_sizes(values) {
        tied_pairs += t * (t - 1.0) / 2.0;
        tied_variance += t * (t - 1.0) * (2.0 * t + 5.0) / 18.0;
    }
    let pairs = n * (n - 1.0) / 2.0;
    let variance = n * (n - 1.0) * (2.0 * n + 5.0) / 18.0 - tied_variance;
    let untied = (pairs * (pairs - tied_pairs)).sqrt();
    let tau = if untied > 0.0 { s / untied } else { 0.0 };
    Some(MannKendall { s, variance, tau, p_value: p_value(s, variance) })
}

/// With the correction for continuity.
fn p_value(s: f64, variance: f64) -> f64 {
    if variance <= 0.0 || s == 0.0 {
        return 1.0;
    }
    two_sided_p((s.abs() - 1.0) / variance.sqrt())
}

fn sign(ordering: Option<Ordering>) -> f64 {
    match ordering {
        Some(Ordering::Greater) => 1.0,
        Some(Ordering::Less) => -1.0,
        _ => 0.0,
    }
}

/// How many values there are of each that occurs more than once.
fn tie_sizes(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let groups = sorted.chunk_by(|one, other| one == other);
    groups.filter(|group| group.len() > 1).map(|group| group.len() as f64).collect()
}
