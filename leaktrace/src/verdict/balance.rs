//! Whether what ends balances what stays: counts in, yes or no out.

use crate::model::poisson_difference_noise;

/// At least this share of the growth must remain when the ends of what was there before tracing are
/// taken off: a process that keeps things for minutes lets older ones go as fast as it makes new
/// ones.
const BALANCE_RATIO: f64 = 0.5;
/// Over the whole window, and in its last third.
pub const BALANCE_PARTS: [f64; 2] = [0.0, 2.0 / 3.0];

/// Whether `released` older ones leave less of `kept` new ones than a leak would: less than half,
/// or less than the noise of two counts (Poisson, one-sided 95 %).
pub fn balances(kept: f64, released: f64) -> bool {
    let noise = poisson_difference_noise(kept, released);
    released > 0.0 && kept - released < (BALANCE_RATIO * kept).max(noise)
}
