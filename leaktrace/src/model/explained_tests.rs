//! Shares whose truth is known, and how often their intervals contain it.

use super::{
    Contribution, Explained, SampledChange, explained_by_parts, explained_share, sampled_growth,
};
use crate::model::{Slope, testing::uniform, theil_sen, trend};

const RATE: u64 = 512 << 10;

fn slope(per_s: f64, within: f64) -> Slope {
    Slope { per_s, low: per_s - within, high: per_s + within }
}

fn exactly(growth_per_s: Slope, bytes: f64) -> Contribution {
    Contribution { growth_per_s, bytes_each: [bytes, bytes] }
}

#[test]
fn exact_growths_have_an_exact_share() {
    let leak = exactly(slope(50.0, 0.0), 480.0);
    let found = explained_share(&[leak], [2.0, 2.0], slope(48_000.0, 0.0)).unwrap();
    assert_eq!(found, Explained { ratio: 1.0, low: 1.0, high: 1.0 });
    assert_eq!(found.to_string(), "100 % (100-100)");
    let found = explained_share(&[leak, leak], [1.0, 1.0], slope(480_000.0, 0.0)).unwrap();
    assert!((found.ratio - 0.1).abs() < 1e-12 && (found.high - 0.1).abs() < 1e-9);
}

/// Garbage comes on top of the heap, and of nothing else.
#[test]
fn each_part_of_the_memory_has_its_own_room() {
    let (heap, stacks) = (exactly(slope(10.0, 0.0), 100.0), exactly(slope(2.0, 0.0), 2048.0));
    let parts: [(&[_], _); 2] = [(&[heap], [2.0, 2.0]), (&[stacks], [1.0, 1.0])];
    let found = explained_by_parts(&parts, slope(12_192.0, 0.0)).unwrap();
    assert!((found.ratio - 0.5).abs() < 1e-12 && (found.high - 0.5).abs() < 1e-9, "{found:?}");
    let none: [(&[Contribution], _); 2] = [(&[], [2.0, 2.0]), (&[], [1.0, 1.0])];
    assert_eq!(explained_by_parts(&none, slope(12_192.0, 0.0)), None);
}

#[test]
fn no_growth_has_no_share() {
    let leak = exactly(slope(50.0, 0.0), 480.0);
    assert_eq!(explained_share(&[leak], [2.0, 2.0], slope(100.0, 100.0)), None);
    assert_eq!(explained_share(&[leak], [2.0, 2.0], slope(-100.0, 10.0)), None);
    assert_eq!(explained_share(&[], [2.0, 2.0], slope(100.0, 10.0)), None);
}

#[test]
fn bounds_on_bytes_and_headroom_do_not_cancel() {
    let leak = Contribution { growth_per_s: slope(10.0, 0.0), bytes_each: [100.0, 300.0] };
    let found = explained_share(&[leak], [1.0, 2.0], slope(6000.0, 0.0)).unwrap();
    assert!((found.low - 1000.0 / 6000.0).abs() < 1e-9, "{found:?}");
    assert!((found.high - 1.0).abs() < 1e-9, "{found:?}");
    assert!((found.ratio - 0.5).abs() < 1e-9, "{found:?}");
}

#[test]
fn independent_errors_cancel_in_part() {
    let leak = exactly(slope(100.0, 20.0), 1.0);
    let found = explained_share(&[leak], [1.0, 1.0], slope(100.0, 20.0)).unwrap();
    // The extremes are 80/120 and 120/80.
    assert!(found.low > 0.70 && found.low < 0.80, "{found:?}");
    assert!(found.high < 1.45 && found.high > 1.25, "{found:?}");
    let four = [exactly(slope(25.0, 5.0), 1.0); 4];
    let of_four = explained_share(&four, [1.0, 1.0], slope(100.0, 0.0)).unwrap();
    assert!((of_four.high - 1.1).abs() < 1e-9, "10 of 100, not 20: {of_four:?}");
}

#[test]
fn a_growth_that_is_hardly_there_gives_a_wide_share() {
    let leak = exactly(slope(100.0, 1.0), 1.0);
    let found = explained_share(&[leak], [1.0, 1.0], slope(100.0, 99.0)).unwrap();
    assert!(found.low < 0.6 && found.high > 50.0, "{found:?}");
    // An upper end of more than twice the middle.
    let lopsided = Slope { per_s: 100.0, low: 50.0, high: 250.0 };
    let found = explained_share(&[leak], [1.0, 1.0], lopsided).unwrap();
    assert!((found.low - 99.0 / 250.0).abs() < 1e-9 && found.low < found.ratio, "{found:?}");
}

/// Three leaking sites under a collector's saw-tooth, beside growth that is no leak: the share is
/// 2 * (40 * 500 + 10 * 2000 + 5 * 1000) of 125,000 bytes/s.
#[test]
fn the_share_of_a_synthetic_leak_is_in_its_interval() {
    const SITES: [(f64, f64); 3] = [(40.0, 500.0), (10.0, 2000.0), (5.0, 1000.0)];
    const TRUTH: f64 = 90_000.0 / 125_000.0;
    let (mut covered, mut width) = (0, 0.0);
    for seed in 0..500 {
        let mut random = uniform(seed);
        let mut draw = move || random.next().unwrap();
        let (phase, period_s) = (draw(), 15.0 + 10.0 * draw());
        let times: Vec<_> = (0..100).map(|index| f64::from(index) * 3.0).collect();
        let sites = SITES.map(|(per_s, bytes)| {
            let counts: Vec<_> = times.iter().map(|t| (*t, per_s * t + 60.0 * draw())).collect();
            exactly(theil_sen(&counts).unwrap(), bytes)
        });
        let resident: Vec<_> = times
            .iter()
            .map(|t| (*t, 125_000.0 * t + 4e6 * (t / period_s + phase).fract() + 3e5 * draw()))
            .collect();
        let resident = trend(&resident, 0.0).unwrap().slope;
        let found = explained_share(&sites, [2.0, 2.0], resident).unwrap();
        covered += usize::from(found.low <= TRUTH && TRUTH <= found.high);
        width += (found.high - found.low) / 500.0;
    }
    println!("the share is in {covered} of 500, mean width {width:.3}");
    assert!(covered >= 475, "{covered} of 500");
    assert!(width < 0.25, "{width}");
}

/// A Poisson variable of this mean, by counting exponential gaps.
fn poisson(mean: f64, draw: &mut impl FnMut() -> f64) -> u64 {
    let mut sum = 0.0;
    (0..)
        .find(|_| {
            sum -= (1.0 - draw()).ln();
            sum > mean
        })
        .unwrap()
}

/// Objects of three sizes come, and some of the old ones go; each was sampled on its own.
#[test]
fn the_growth_of_a_sampled_heap_is_in_its_interval() {
    // Bytes each; in use at first; of these gone; new; new but gone again.
    const KINDS: [(u64, u64, u64, u64, u64); 3] = [
        (512, 200_000, 20_000, 100_000, 50_000),
        (8192, 30_000, 5_000, 12_000, 90_000),
        (1 << 20, 100, 20, 60, 500),
    ];
    let truth: f64 = KINDS.iter().map(|k| k.0 as f64 * (k.3 as f64 - k.2 as f64)).sum();
    let (mut covered, mut width) = (0, 0.0);
    for seed in 0..500 {
        let mut random = uniform(seed);
        let mut draw = move || random.next().unwrap();
        let sites = KINDS.map(|(object_bytes, first, gone, new, passing)| {
            let p = 1.0 - (-(object_bytes as f64) / RATE as f64).exp();
            let mut sampled = |objects: u64| {
                // Few objects one by one; many of small probability are Poisson.
                if objects > 1000 {
                    poisson(objects as f64 * p, &mut draw)
                } else {
                    (0..objects).filter(|_| draw() < p).count() as u64
                }
            };
            let (stay, go) = (sampled(first - gone), sampled(gone));
            let (come, pass) = (sampled(new), sampled(passing));
            let (first_in_use, last_in_use) = (stay + go, stay + come);
            SampledChange { object_bytes, first_in_use, last_in_use, allocated: come + pass }
        });
        let found = sampled_growth(&sites, RATE, 10.0).unwrap();
        covered += usize::from(found.low <= truth / 10.0 && truth / 10.0 <= found.high);
        width += (found.high - found.low) / (truth / 10.0) / 500.0;
    }
    println!("the growth is in {covered} of 500, mean width {width:.3}");
    assert!(covered >= 460, "{covered} of 500");
    assert!(width < 1.0, "{width}");
}

#[test]
fn what_is_there_at_both_looks_brings_no_error() {
    let site =
        SampledChange { object_bytes: 512, first_in_use: 1000, last_in_use: 1000, allocated: 0 };
    assert_eq!(sampled_growth(&[site], RATE, 10.0), Some(slope(0.0, 0.0)));
    // Profiled one by one: exact.
    let site = SampledChange { last_in_use: 1010, allocated: 10, ..site };
    assert_eq!(sampled_growth(&[site], 1, 10.0), Some(slope(512.0, 0.0)));
    assert_eq!(sampled_growth(&[site], RATE, 0.0), None);
    assert_eq!(sampled_growth(&[], RATE, 10.0), None);
}

/// 100 sampled objects of 512 KiB came: p = 1 - 1/e; the spread is 1.96 size sqrt(100 (1-p)) / p.
#[test]
fn the_variance_is_that_of_horvitz_and_thompson() {
    let site =
        SampledChange { object_bytes: RATE, first_in_use: 0, last_in_use: 100, allocated: 100 };
    let found = sampled_growth(&[site], RATE, 1.0).unwrap();
    let p = 1.0 - (-1f64).exp();
    let size = RATE as f64;
    assert!((found.per_s - 100.0 * size / p).abs() < 1.0);
    let spread = 1.959_964 * size * (100.0 * (1.0 - p)).sqrt() / p;
    assert!((found.high - found.per_s - spread).abs() < 1.0);
}
