//! From what age on a site's objects are old: its releases in, seconds out.

use super::SiteEvidence;
use crate::{
    model::{bucket_ceiling_s, quantile_ceiling_s, quantile_s},
    snapshot::SiteSample,
};

/// Old means this many times the usual lifetime.
const HORIZON_LIFETIMES: f64 = 2.0;
/// Nothing is old before this age: schedulers and collectors need their time.
pub const HORIZON_MIN_S: f64 = 5.0;
/// The same for a site at which few or no releases were seen,
const HORIZON_FEW_RELEASES_MIN_S: f64 = 10.0;
/// where a context must also have outlived this share of the window.
const HORIZON_FEW_RELEASES_WINDOWS: f64 = 1.0 / 3.0;
/// Releases from which a quantile of lifetimes is taken.
pub const RELEASES_FOR_QUANTILE: u64 = 20;
/// The usual lifetime is this quantile.
const USUAL_QUANTILE: f64 = 0.99;

/// From what age on a context is old.
pub fn horizon_s(site: &SiteEvidence<'_>, usual_lifetime_s: Option<f64>) -> f64 {
    let minimum = if timed_releases(site.latest) >= RELEASES_FOR_QUANTILE {
        HORIZON_MIN_S
    } else {
        HORIZON_FEW_RELEASES_MIN_S.max(HORIZON_FEW_RELEASES_WINDOWS * site.window_s)
    };
    let usual_s = if timed_releases(site.latest) >= RELEASES_FOR_QUANTILE {
        quantile_s(&site.latest.lifetimes, USUAL_QUANTILE)
    } else {
        usual_lifetime_s
    };
    usual_s.map_or(minimum, |usual_s| (HORIZON_LIFETIMES * usual_s).max(minimum))
}

/// The usual lifetime from the site's own releases; of few, the longest.
pub fn usual_lifetime_s(sample: &SiteSample) -> Option<f64> {
    if timed_releases(sample) >= RELEASES_FOR_QUANTILE {
        return quantile_ceiling_s(&sample.lifetimes, USUAL_QUANTILE);
    }
    sample.lifetimes.iter().rposition(|count| *count > 0).map(bucket_ceiling_s)
}

/// Releases whose lifetime is known: all of them unless sampled.
pub fn timed_releases(sample: &SiteSample) -> u64 {
    sample.lifetimes.iter().sum()
}
