//! What scipy, lifelines and pymannkendall say about the same numbers
//! (`tests/statistics/reference.py`), and what papers say about published ones.

use serde::Deserialize;

use super::{
    exact_share, mann_kendall, pettitt, pieces,
    survival::{Life, Survival},
    theil_sen, two_sided_p, wilson_lower_bound,
};

#[derive(Deserialize)]
struct Reference {
    trends: Vec<Trend>,
    curves: Vec<Curve>,
    counts: Counts,
}

#[derive(Deserialize)]
struct Trend {
    name: String,
    times: Vec<f64>,
    values: Vec<f64>,
    sen: [f64; 3],
    tau_b: f64,
    s: f64,
    variance: f64,
    p: f64,
    pettitt: (usize, f64),
}

#[derive(Deserialize)]
struct Curve {
    name: String,
    ages: Vec<f64>,
    ended: Vec<bool>,
    entered: Option<Vec<f64>>,
    at: Vec<f64>,
    survival: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
}

#[derive(Deserialize)]
struct Counts {
    trials: Vec<(f64, f64)>,
    wilson_lower_one_sided_95: Vec<f64>,
    clopper_pearson_95: Vec<[f64; 2]>,
    normal_p: Vec<f64>,
    normal_quantile: Vec<f64>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../../../tests/statistics/reference.json")).unwrap()
}

#[track_caller]
fn assert_near(found: f64, expected: f64, what: &str) {
    let within = 1e-6 * expected.abs().max(1e-6);
    assert!((found - expected).abs() <= within, "{what}: {found}, expected {expected}");
}

#[test]
fn slopes_are_scipys() {
    for trend in reference().trends {
        let points: Vec<_> = trend.times.iter().copied().zip(trend.values).collect();
        let found = theil_sen(&points).unwrap();
        let [slope, low, high] = trend.sen;
        assert_near(found.per_s, slope, &trend.name);
        // The ranks of the ends are rounded outwards here, to the nearest there, which matters to
        // the shortest series, and ties narrow it there.
        let within = (high - low) * if points.len() < 20 { 0.15 } else { 0.03 };
        let ends = [found.low - low, found.high - high];
        assert!(ends.iter().all(|end| end.abs() < within), "{}: {found:?}", trend.name);
    }
}

#[test]
fn tests_for_trend_are_scipys_and_pymannkendalls() {
    for trend in reference().trends {
        let found = mann_kendall(&trend.values).unwrap();
        assert_near(found.s, trend.s, &trend.name);
        assert_near(found.variance, trend.variance, &trend.name);
        assert_near(found.tau, trend.tau_b, &trend.name);
        assert!((found.p_value - trend.p).abs() < 1e-9, "{}: {}", trend.name, found.p_value);
    }
}

#[test]
fn survival_and_its_interval_are_lifelines() {
    for curve in reference().curves {
        let lives: Vec<_> = (0..curve.ages.len())
            .map(|index| Life {
                entered_s: curve.entered.as_ref().map_or(0.0, |entered| entered[index]),
                ..Life::new(curve.ages[index], curve.ended[index])
            })
            .collect();
        let survival = Survival::of(&lives);
        for (index, age_s) in curve.at.iter().enumerate() {
            let found = survival.at(*age_s);
            let what = format!("{} at {age_s}", curve.name);
            assert!((found.ratio - curve.survival[index]).abs() < 1e-9, "{what}: {found:?}");
            if found.ratio > 1e-9 {
                assert!((found.low - curve.low[index]).abs() < 1e-6, "{what}: {found:?}");
                assert!((found.high - curve.high[index]).abs() < 1e-6, "{what}: {found:?}");
            }
        }
    }
}

#[test]
fn bounds_from_counts_are_scipys() {
    let counts = reference().counts;
    for (index, (hits, trials)) in counts.trials.into_iter().enumerate() {
        let what = format!("{hits} of {trials}");
        let wilson = counts.wilson_lower_one_sided_95[index];
        assert_near(wilson_lower_bound(hits, trials), wilson, &what);
        let exact = exact_share(hits, trials);
        assert_near(exact.low, counts.clopper_pearson_95[index][0], &what);
        assert_near(exact.high, counts.clopper_pearson_95[index][1], &what);
    }
    for (p, z) in counts.normal_p.into_iter().zip(counts.normal_quantile) {
        assert_near(two_sided_p(z), 2.0 * p.min(1.0 - p), "normal");
    }
}

/// Weeks in remission under 6-MP: E. J. Freireich et al., Blood 21 (1963); the estimates as in
/// D. R. Cox and D. Oakes, "Analysis of survival data" (1984), 4.2.
#[test]
fn survival_under_6_mp_is_as_published() {
    let curve = reference().curves.swap_remove(0);
    let lives = curve.ages.iter().zip(&curve.ended).map(|(age, ended)| Life::new(*age, *ended));
    let survival = Survival::of(&lives.collect::<Vec<_>>());
    let published = [
        (6.0, 0.857),
        (7.0, 0.807),
        (10.0, 0.753),
        (13.0, 0.690),
        (16.0, 0.627),
        (22.0, 0.538),
        (23.0, 0.448),
    ];
    for (weeks, share) in published {
        // 0.6275 is printed as 0.627 and as 0.628.
        assert!((survival.at(weeks).ratio - share).abs() < 1.1e-3, "{weeks}");
    }
    assert_eq!(survival.at(5.0).ratio, 1.0);
    assert_eq!(survival.plateau(), survival.at(35.0));
}

#[test]
fn change_points_are_those_of_the_definition() {
    for trend in reference().trends {
        let found = pettitt(&trend.values).unwrap();
        assert_eq!((found.before, found.k), trend.pettitt, "{}", trend.name);
    }
}

/// The Nile's flow fell after 1898, from 1097.75 to 849.97 in the mean: G. W. Cobb, "The problem of
/// the Nile", Biometrika 65 (1978).
#[test]
fn the_nile_changes_in_1898() {
    let nile = reference().trends.swap_remove(0).values;
    let change = pettitt(&nile).unwrap();
    assert_eq!((1870 + change.before, change.k), (1898, 1617.0));
    let p = 2.0 * (-6.0 * 1617f64.powi(2) / 1.01e6).exp();
    assert!((change.p_value - p).abs() < 1e-12, "{}", change.p_value);
    let found = pieces(&nile, 5, 0.0);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(1870 + found[0].end, 1898);
    assert!((found[0].level - 1097.75).abs() < 0.01 && (found[1].level - 849.97).abs() < 0.01);
}

/// U.S. EPA, "Data quality assessment: statistical methods for practitioners", QA/G-9S (2006), the
/// example of the Mann-Kendall test with ties: S = 22, V(S) = 155.33, Z = 1.685.
#[test]
fn the_epas_example_of_a_trend_with_ties() {
    let values = [10.0, 10.0, 10.0, 5.0, 10.0, 20.0, 18.0, 17.0, 15.0, 24.0, 15.0];
    let found = mann_kendall(&values).unwrap();
    assert_eq!(found.s, 22.0);
    assert!((found.variance - 155.33).abs() < 0.01, "{}", found.variance);
    assert!((found.p_value - two_sided_p(1.685)).abs() < 1e-4, "{}", found.p_value);
}
