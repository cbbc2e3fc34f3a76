//! What a site did before tracing began: what was there already and what became of it in, how long it
//! has been like this out.

use super::{
    SiteEvidence,
    ages::{RELEASES_FOR_QUANTILE, horizon_s, timed_releases, usual_lifetime_s},
    balance::{balance_spans_s, balances},
    parts::interpolate,
};

/// What has been growing for less than so many windows before may still be filling up what it means to
/// keep.
pub const NEW_WINDOWS: f64 = 4.0;
/// A site began in the window if nothing was made there for so many times its longest pause,
const BEGAN_PAUSES: f64 = 2.0;
/// and so many readings.
const BEGAN_READINGS: f64 = 3.0;

/// For how long the site had been growing as it does when tracing began, at most, in seconds: not
/// longer than the process runs, nor than it takes to keep what was there already.
pub fn like_this_before_s(site: &SiteEvidence<'_>) -> Option<f64> {
    let settled_s = settled_s(site);
    let kept = site.births_s.iter().filter(|birth_s| **birth_s < settled_s).count();
    let kept_per_s = kept as f64 * site.sample_divisor as f64 / settled_s;
    let grown_s = site.held_before.map(|held| held as f64 / kept_per_s.max(f64::MIN_POSITIVE));
    let began_s = began_in_window(site).then_some(0.0);
    [site.uptime_s?].into_iter().chain(grown_s).chain(began_s).reduce(f64::min)
}

/// The time, in seconds since the beginning, from which on what lives may be on its way to a usual end;
/// the whole window where hardly anything ends.
pub fn settled_s(site: &SiteEvidence<'_>) -> f64 {
    let usual_s = usual_lifetime_s(site.latest);
    let ends = timed_releases(site.latest) >= RELEASES_FOR_QUANTILE;
    let horizon_s = if ends { horizon_s(site, usual_s) } else { 0.0 };
    (site.window_s - horizon_s).max(site.window_s / 2.0)
}

/// Whether that is not much longer than the window, or not known: what the site means to keep may
/// still be filling up.
pub fn is_new(site: &SiteEvidence<'_>) -> bool {
    like_this_before_s(site).is_none_or(|before_s| before_s < NEW_WINDOWS * site.window_s)
}

/// Whether the site made nothing at first, for longer than it ever paused later: what it does is
/// new, however old the process is.
pub fn began_in_window(site: &SiteEvidence<'_>) -> bool {
    let pairs = site.times_s.windows(2).zip(site.created.windows(2));
    let makes = pairs.filter(|(_, created)| created[1] > created[0]);
    let mut active = makes.map(|(times, _)| (times[0], times[1]));
    let Some((first_s, mut last_s)) = active.next() else { return false };
    let mut pause_s = 0f64;
    for (from_s, to_s) in active {
        pause_s = pause_s.max(from_s - last_s);
        last_s = to_s;
    }
    let reading_s = site.window_s / site.times_s.len().max(1) as f64;
    first_s > BEGAN_PAUSES * pause_s + BEGAN_READINGS * reading_s
}

/// Whether what was there before ends as new ones stay: once that of usual lives has ended, or lately.
/// New ones stay when they got old, so that those on their way to a usual end do not count: what is
/// compared are spans of equal length.
pub fn is_balanced(site: &SiteEvidence<'_>, horizon_s: f64) -> bool {
    let released = |time_s| interpolate(site.times_s, site.released_before, time_s);
    balance_spans_s(horizon_s, site.window_s).into_iter().any(|from_s| {
        let span_s = from_s - horizon_s..site.window_s - horizon_s;
        let kept = site.births_s.iter().filter(|birth_s| span_s.contains(birth_s)).count() as u64;
        let ended = released(site.window_s) - released(from_s);
        balances((kept * site.sample_divisor) as f64, ended)
    })
}
