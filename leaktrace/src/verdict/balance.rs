//! Whether what ends balances what stays: counts in, yes or no out.

use crate::model::poisson_difference_noise;

/// At least this share of the growth must remain when the ends of what was there before tracing are
/// taken off: a process that keeps things for minutes lets older ones go as fast as it makes new
/// ones.
const BALANCE_RATIO: f64 = 0.5;
/// The last third of a window is looked at by itself.
const LATE_PART: f64 = 2.0 / 3.0;

/// From when on what ends is set against what stays, in seconds since the beginning: once what was
/// there before and lives as usual has ended, and lately.
pub fn balance_spans_s(horizon_s: f64, window_s: f64) -> [f64; 2] {
    let late_s = LATE_PART * window_s;
    [horizon_s.min(late_s), late_s]
}

/// Whether `released` older ones leave less of `kept` new ones than a leak would: less than half,
/// or less than the noise of two counts (Poisson, one-sided 95 %).
pub fn balances(kept: f64, released: f64) -> bool {
    let noise = poisson_difference_noise(kept, released);
    released > 0.0 && kept - released < (BALANCE_RATIO * kept).max(noise)
}
