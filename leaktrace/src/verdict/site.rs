//! One site: does it keep contexts far longer than is usual for them, all through the window?
//!
//! Contexts older than the horizon (a multiple of the site's usual lifetime) are *old*. A leak
//! leaves old contexts from every part of the window in which it created any, and its count
//! keeps growing; a burst, a warm-up, or a set of contexts held from the start does not.

use crate::{
    model::{
        Slope, bucket_ceiling_s, count_at_least, quantile_ceiling_s, theil_sen, wilson_lower_bound,
    },
    snapshot::{ContextKind, SiteSample},
};

/// Old means this many times the usual lifetime, which is itself a bound from above.
const HORIZON_LIFETIMES: f64 = 4.0;
/// Nothing is old before this age: schedulers and collectors need their time.
const HORIZON_MIN_S: f64 = 5.0;
/// The same for a site at which no release was seen.
const HORIZON_UNRELEASED_MIN_S: f64 = 10.0;
/// And where no release was seen in the whole process, so that no usual lifetime is known.
const HORIZON_UNKNOWN_S: f64 = 60.0;
/// The horizon must fit into the window at least this often.
const HORIZONS_PER_WINDOW: f64 = 2.0;
/// Releases from which a quantile of lifetimes is taken.
const RELEASES_FOR_QUANTILE: u64 = 20;
/// The usual lifetime is this quantile.
const USUAL_QUANTILE: f64 = 0.99;
/// Fewer old contexts than this prove nothing.
pub const OLD_MIN: u32 = 8;
/// Parts into which the time before the horizon is cut.
const PARTS: usize = 8;
/// Parts in which something must have been created.
const ACTIVE_PARTS_MIN: usize = 3;
/// Share of the active parts that must have left old contexts.
const LEAVING_PARTS_RATIO: f64 = 0.75;
/// Share of growth that must fall into the later half of the window.
const LATE_GROWTH_RATIO: f64 = 0.25;
/// From this share of proven collections on, the garbage collector is seen to free the site's
/// contexts: nobody holds them.
const COLLECTED_RATIO: f64 = 0.05;
/// At least this share of the contexts that got old must never be released later.
const NEVER_RELEASED_RATIO: f64 = 0.8;

/// What is known of a site.
#[derive(Debug, Clone, Copy)]
pub struct SiteEvidence<'a> {
    /// Times of the series, in seconds since the start.
    pub times_s: &'a [f64],
    /// Creations so far, at those times.
    pub created: &'a [u64],
    /// Outstanding contexts at those times.
    pub outstanding: &'a [u64],
    /// The newest sample.
    pub latest: &'a SiteSample,
    /// Births of the tracked survivors, in seconds since the start.
    pub births_s: &'a [f64],
    /// Contexts that each tracked survivor stands for.
    pub sample_divisor: u64,
    /// How its contexts end.
    pub kind: ContextKind,
    /// Usual lifetime in the whole process, for a site that has no releases of its own.
    pub process_lifetime_s: Option<f64>,
    /// Length of the window in seconds.
    pub window_s: f64,
}

/// What a site is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteState {
    /// Its contexts come and go, or stay without growing.
    Clean,
    /// It grows, but its contexts usually live too long for this window.
    Unresolved,
    /// It grows, and the garbage collector is seen to free its contexts.
    Collectable,
    /// It grows, but its contexts end at their deadline.
    BoundedByDeadline,
    /// It grows, but too many old contexts are released in the end.
    ReleasedLate,
    /// It leaks.
    Leak,
}

/// A site's judgement with its figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SiteJudgement {
    /// What it is.
    pub state: SiteState,
    /// Growth of the outstanding contexts per second.
    pub growth: Option<Slope>,
    /// Age in seconds from which a context is old.
    pub horizon_s: f64,
    /// Age of the usual context at its release, a bound from above; none without releases.
    pub usual_lifetime_s: Option<f64>,
    /// Contexts older than the horizon, scaled when sampled.
    pub old: u64,
    /// Lower 95 % bound of the share of contexts past the horizon that are never released.
    pub never_released_ratio: f64,
}

/// Judges one site.
pub fn judge(site: &SiteEvidence<'_>) -> SiteJudgement {
    let horizon_s = horizon_s(site);
    let cutoff_s = site.window_s - horizon_s;
    let old = site.births_s.iter().filter(|birth| **birth < cutoff_s).count() as f64;
    let late_releases = count_at_least(&site.latest.lifetimes, horizon_s) as f64;
    let growth = theil_sen(&series(site.times_s, site.outstanding));
    let mut judgement = SiteJudgement {
        state: SiteState::Clean,
        growth,
        horizon_s,
        usual_lifetime_s: own_lifetime_s(site.latest),
        old: old as u64 * site.sample_divisor,
        never_released_ratio: wilson_lower_bound(old, old + late_releases),
    };
    if keeps_growing(site, growth) {
        judgement.state = state_of_growing(site, &judgement, cutoff_s, old);
    }
    judgement
}

fn state_of_growing(
    site: &SiteEvidence<'_>,
    judgement: &SiteJudgement,
    cutoff_s: f64,
    old: f64,
) -> SiteState {
    let SiteSample { collected, outstanding, .. } = *site.latest;
    let freed = collected as f64 / (collected + outstanding).max(1) as f64;
    if freed >= COLLECTED_RATIO {
        SiteState::Collectable
    } else if site.window_s < HORIZONS_PER_WINDOW * judgement.horizon_s {
        SiteState::Unresolved
    } else if old < f64::from(OLD_MIN) || !leaves_old_ones_throughout(site, cutoff_s) {
        SiteState::Clean
    } else if site.kind == ContextKind::Timer {
        SiteState::BoundedByDeadline
    } else if judgement.never_released_ratio < old_share_needed(old) {
        SiteState::ReleasedLate
    } else {
        SiteState::Leak
    }
}

/// Few old contexts can't reach the ratio even when none was released: then the bound that they
/// could reach is asked for.
fn old_share_needed(old: f64) -> f64 {
    NEVER_RELEASED_RATIO.min(wilson_lower_bound(old, old))
}

/// From what age on a context is old.
fn horizon_s(site: &SiteEvidence<'_>) -> f64 {
    let own = own_lifetime_s(site.latest);
    let minimum = if own.is_some() { HORIZON_MIN_S } else { HORIZON_UNRELEASED_MIN_S };
    let few = site.latest.released < RELEASES_FOR_QUANTILE;
    let usual = match (own, site.process_lifetime_s) {
        (Some(own), Some(process)) if few => Some(own.max(process)),
        (own, process) => own.or(process),
    };
    usual.map_or(HORIZON_UNKNOWN_S, |usual| (HORIZON_LIFETIMES * usual).max(minimum))
}

/// The usual lifetime from the site's own releases; of few, the longest.
fn own_lifetime_s(sample: &SiteSample) -> Option<f64> {
    if sample.lifetimes.iter().sum::<u64>() >= RELEASES_FOR_QUANTILE {
        return quantile_ceiling_s(&sample.lifetimes, USUAL_QUANTILE);
    }
    sample.lifetimes.iter().rposition(|count| *count > 0).map(bucket_ceiling_s)
}

/// Surely upwards, and also in the later half of the window.
fn keeps_growing(site: &SiteEvidence<'_>, growth: Option<Slope>) -> bool {
    let Some(growth) = growth else { return false };
    let at = |time_s| interpolate(site.times_s, site.outstanding, time_s);
    let whole = at(site.window_s) - at(0.0);
    let late = at(site.window_s) - at(site.window_s / 2.0);
    growth.low > 0.0 && whole > 0.0 && late >= LATE_GROWTH_RATIO * whole
}

/// Whether nearly all parts of the time before `cutoff_s` in which the site created anything,
/// and the last of them, have left survivors.
fn leaves_old_ones_throughout(site: &SiteEvidence<'_>, cutoff_s: f64) -> bool {
    let part_s = cutoff_s / PARTS as f64;
    let created = |part: usize| {
        let at = |time_s| interpolate(site.times_s, site.created, time_s);
        at((part + 1) as f64 * part_s) - at(part as f64 * part_s)
    };
    let survivors = |part: usize| {
        let range = part as f64 * part_s..(part + 1) as f64 * part_s;
        site.births_s.iter().any(|birth| range.contains(birth))
    };
    // Interpolation smears a burst over an interval; less than one creation is no activity.
    let active: Vec<_> = (0..PARTS).filter(|part| created(*part) >= 1.0).collect();
    let leaving = active.iter().filter(|part| survivors(**part)).count();
    active.len() >= ACTIVE_PARTS_MIN
        && leaving as f64 >= LEAVING_PARTS_RATIO * active.len() as f64
        && active.iter().rev().take(2).any(|part| survivors(*part))
}

fn series(times_s: &[f64], values: &[u64]) -> Vec<(f64, f64)> {
    times_s.iter().zip(values).map(|(time, value)| (*time, *value as f64)).collect()
}

/// The value at `time_s` on the straight line between its neighbours; constant beyond the ends.
fn interpolate(times_s: &[f64], values: &[u64], time_s: f64) -> f64 {
    let after = times_s.partition_point(|time| *time < time_s);
    let value = |index: usize| values.get(index).copied().unwrap_or(0) as f64;
    match after {
        0 => value(0),
        end if end >= times_s.len() => value(values.len().saturating_sub(1)),
        after => {
            let (t0, t1) = (times_s[after - 1], times_s[after]);
            let share = (time_s - t0) / (t1 - t0);
            value(after - 1) + share * (value(after) - value(after - 1))
        }
    }
}

#[cfg(test)]
#[path = "site_tests.rs"]
mod tests;
