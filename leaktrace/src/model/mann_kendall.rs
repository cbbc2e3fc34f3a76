//! Whether a series rises or falls at all: values in their order in, a probability out.
//!
//! H. B. Mann, "Nonparametric tests against trend", Econometrica 13 (1945); M. G. Kendall, "Rank
//! correlation methods" (1975), with his correction for ties. Non-goals: how fast, for which see
//! `slope`.

use std::cmp::Ordering;

use super::{proportion::two_sided_p, slope::theil_sen};

/// Fewer values prove nothing by the normal approximation.
const VALUES_MIN: usize = 5;
/// Two-sided 95 % quantile of the normal distribution: autocorrelation below it is chance.
const Z_95: f64 = 1.959_964;

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

/// The test for values that depend on their neighbours, as memory's do: the variance is that of
/// as many independent values as the ranks' autocorrelation leaves. K. H. Hamed and A. R. Rao, "A
/// modified Mann-Kendall trend test for autocorrelated data", J. Hydrology 204 (1998). None also
/// where no variance is left, which happens to series that swing to and fro.
pub fn mann_kendall_correlated(values: &[f64]) -> Option<MannKendall> {
    let plain = mann_kendall(values)?;
    let n = values.len() as f64;
    let correlation = autocorrelation(&ranks(&without_trend(values)));
    let chance = Z_95 / n.sqrt();
    let terms = correlation.iter().enumerate().skip(1).filter(|(_, r)| r.abs() > chance);
    let sum: f64 = terms
        .map(|(lag, r)| {
            let left = n - lag as f64;
            left * (left - 1.0) * (left - 2.0) * r
        })
        .sum();
    let factor = 1.0 + 2.0 / (n * (n - 1.0) * (n - 2.0)) * sum;
    let variance = plain.variance * factor;
    let p_value = p_value(plain.s, variance);
    (factor > 0.0).then_some(MannKendall { variance, p_value, ..plain })
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

/// Values less the Theil-Sen line over their places.
fn without_trend(values: &[f64]) -> Vec<f64> {
    let points: Vec<_> = values.iter().enumerate().map(|(i, value)| (i as f64, *value)).collect();
    let per_place = theil_sen(&points).map_or(0.0, |slope| slope.per_s);
    points.into_iter().map(|(place, value)| value - per_place * place).collect()
}

/// Ranks from 1; ties share the middle one.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<_> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*one].total_cmp(&values[*other]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 1.0;
    for group in order.chunk_by(|one, other| values[*one] == values[*other]) {
        let size = group.len() as f64;
        group.iter().for_each(|index| ranks[*index] = first + (size - 1.0) / 2.0);
        first += size;
    }
    ranks
}

/// The autocorrelation at each lag; all 0 for a constant.
fn autocorrelation(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let beside: Vec<_> = values.iter().map(|value| value - mean).collect();
    let at = |lag: usize| beside.iter().zip(&beside[lag..]).map(|(a, b)| a * b).sum::<f64>();
    let own = at(0);
    (0..values.len()).map(|lag| if own > 0.0 { at(lag) / own } else { 0.0 }).collect()
}
