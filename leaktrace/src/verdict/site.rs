//! One site: does it keep contexts far longer than is usual for them, all through the window?
//!
//! Contexts older than the horizon (a multiple of the site's usual lifetime) are *old*. A leak
//! leaves old contexts from every part of the window in which it created any, also lately; a
//! burst, a warm-up, or a set of contexts held from the start does not.

use super::{
    ages::{HORIZON_MIN_S, RELEASES_FOR_QUANTILE, horizon_s, timed_releases, usual_lifetime_s},
    odds::{Before, Outliving, leak_probability},
    parts::{Parts, interpolate},
    past::{is_balanced, is_new, like_this_before_s, settled_s},
};
use crate::{
    model::{
        LifeCounts, Slope, bucket_ceiling_s, count_at_least, leak_rate, poisson_difference_noise,
        theil_sen, wilson_lower_bound,
    },
    snapshot::{ContextKind, ContextNature, HoldingSample, SiteSample},
};

/// The horizon must fit into the window at least this often.
const HORIZONS_PER_WINDOW: f64 = 2.0;
/// Where growth is not told to be a leak or none, only a leak that is so many times as fast would be.
const UNTOLD_GROWTHS: f64 = 2.0;
/// Share of the window that must lie before the horizon for a floor from what is old.
const FLOOR_WINDOW_RATIO: f64 = 0.5;
/// Fewer old contexts than this prove nothing.
const OLD_MIN: u32 = 8;
/// At this mean at least [`OLD_MIN`] are old with 95 % probability, and enough of them are from the later
/// half (`Parts::leave_lately`).
pub const OLD_NEEDED: f64 = 15.8;
/// From this share of proven collections on, the garbage collector is seen to free the site's
/// contexts: nobody holds them.
const COLLECTED_RATIO: f64 = 0.05;
/// At least this share of the contexts that got old must never be released later.
const NEVER_RELEASED_RATIO: f64 = 0.8;
/// The last third of the window must have left at least this share of what the others did.
const GOING_ON_RATIO: f64 = 0.3;
/// Survivors that are not old yet say something when they outnumber the releases so many times.
const SURVIVORS_PER_RELEASE: u64 = 4;
/// In a window so long the garbage collector has run at least twice (runtime/proc.go
/// `forcegcperiod` is 120 s): what nobody holds would have been seen to go.
pub const TWO_COLLECTIONS_S: f64 = 240.0;
/// A young process that has released nothing at a site must be watched at least so long,
const YOUNG_WINDOW_MIN_S: f64 = 30.0;
/// must go on creating in this last share of the window,
const YOUNG_LAST_SHARE: f64 = 1.0 / 6.0;
/// at no less than this share of its average rate: what fills up comes to its end.
const YOUNG_RATE_RATIO: f64 = 0.8;
/// Less likely leaks among which some end are lives too long for the window.
const LONG_LIVES_PROBABILITY: f64 = 0.3;
/// What is less likely a leak is not called one.
const LEAK_PROBABILITY_MIN: f64 = 0.55;

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
    /// What its contexts are by their making.
    pub nature: ContextNature,
    /// What keeps a sample of its outstanding contexts, where memory could be read.
    pub holding: Option<&'a HoldingSample>,
    /// For how long the process had been running when tracing began, in seconds, where known.
    pub uptime_s: Option<f64>,
    /// What was there already of what it keeps, at most; none where that is not known.
    pub held_before: Option<u64>,
    /// Releases so far, at the times of the series, of what was made before; also those of other
    /// sites, where they can't be told apart.
    pub released_before: &'a [u64],
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
    /// It has kept contexts, but not from all of the window: it may have begun lately.
    Recent,
    /// It has kept old contexts, but keeps no more of late.
    Stopped,
    /// It grows, and the garbage collector is seen to free its contexts, or nothing holds them.
    Collectable,
    /// It grows, and no parent of its contexts holds them, as far as memory or the parent's type
    /// tells; whether anything else does was not seen.
    HeldByOthers,
    /// The same for so long that the garbage collector would have freed what nobody holds.
    KeptByOthers,
    /// It grows, but its contexts end at their deadline.
    BoundedByDeadline,
    /// It grows, but too many old contexts are released in the end.
    ReleasedLate,
    /// It has kept what it made, but as much of what was there before is released: a steady coming and
    /// going of long lives.
    Balanced,
    /// It has grown, and what got old was not released, but not steadily enough or for too short a
    /// time: contexts that are meant to live long look the same.
    NeverReleased,
    /// It leaks.
    Leak,
}

impl SiteState {
    /// As in the report.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Unresolved => "unresolved",
            Self::Recent => "recent",
            Self::Stopped => "stopped",
            Self::HeldByOthers | Self::KeptByOthers => "held_by_others",
            Self::Balanced => "balanced",
            Self::NeverReleased => "never_released",
            Self::Collectable => "collectable",
            Self::BoundedByDeadline => "bounded_by_deadline",
            Self::ReleasedLate => "released_late",
            Self::Leak => "leak",
        }
    }
}

/// A site's judgement with its figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SiteJudgement {
    /// What it is.
    pub state: SiteState,
    /// Growth of the outstanding contexts per second: the slope of their number.
    pub growth: Option<Slope>,
    /// How many more every second are never released, of a site that leaks: counted, on average over
    /// the window; the interval is of who is one of them, not of windows to come.
    pub leaked: Option<Slope>,
    /// Age in seconds from which a context is old.
    pub horizon_s: f64,
    /// Age of the usual context at its release, a bound from above; none without releases.
    pub usual_lifetime_s: Option<f64>,
    /// Releases tell the horizon; else it is a share of the window.
    pub horizon_is_told: bool,
    /// It was not like this for long before tracing began, or that is not known.
    pub is_new: bool,
    /// Contexts older than the horizon, scaled when sampled.
    pub old: u64,
    /// Lower 95 % bound of the share of contexts past the horizon that are never released.
    pub never_released_ratio: f64,
    /// The probability that they are leaked, and do not just live long: see `odds`.
    pub leak_probability: f64,
}

/// The rate at which a leak of this site would have been seen with 95 % probability, in objects per
/// second of which one in `sample_divisor` is tracked; where they usually live too long for the
/// window, the fastest growth that the counts allow. None without either.
pub fn floor_per_s(site: &SiteJudgement, window_s: f64, sample_divisor: u64) -> Option<f64> {
    let needed = OLD_NEEDED * sample_divisor as f64;
    let effective_s = window_s - site.horizon_s;
    let is_told = matches!(site.state, SiteState::Clean | SiteState::Leak | SiteState::Stopped);
    if is_told && effective_s >= FLOOR_WINDOW_RATIO * window_s {
        return Some(needed / effective_s);
    }
    let margin = if is_told { 1.0 } else { UNTOLD_GROWTHS };
    Some((margin * site.growth?.high).max(needed / (FLOOR_WINDOW_RATIO * window_s)))
}

impl SiteJudgement {
    /// How fast it grows, as far as is known best: by what is never released if it leaks, else by what
    /// is outstanding.
    pub fn grows(&self) -> Option<Slope> {
        self.leaked.filter(|_| self.state == SiteState::Leak).or(self.growth)
    }
}

/// The floor of a site at which everything ends soon.
pub fn least_floor_per_s(window_s: f64, sample_divisor: u64) -> f64 {
    OLD_NEEDED * sample_divisor as f64 / (window_s - HORIZON_MIN_S).max(window_s / 2.0)
}

/// Judges one site.
pub fn judge(site: &SiteEvidence<'_>) -> SiteJudgement {
    let usual_lifetime_s = usual_lifetime_s(site.latest);
    let horizon_s = horizon_s(site, usual_lifetime_s);
    let parts = Parts::of(site, site.window_s - horizon_s);
    let old = parts.survivors.iter().sum();
    let late_releases = count_at_least(&site.latest.lifetimes, horizon_s) as f64;
    let mut judgement = SiteJudgement {
        state: SiteState::Clean,
        growth: theil_sen(&series(site.times_s, site.outstanding)),
        leaked: None,
        horizon_s,
        usual_lifetime_s,
        horizon_is_told: timed_releases(site.latest) >= RELEASES_FOR_QUANTILE,
        is_new: is_new(site),
        old: old as u64 * site.sample_divisor,
        never_released_ratio: wilson_lower_bound(old, old + late_releases),
        leak_probability: leak_probability(&outliving(site, horizon_s)),
    };
    judgement.state = state(site, &judgement, &parts, old);
    if matches!(judgement.state, SiteState::Leak | SiteState::NeverReleased)
        && is_balanced(site, horizon_s)
    {
        judgement.state = SiteState::Balanced;
    }
    if judgement.state == SiteState::Leak {
        judgement.leaked = leaked_per_s(site);
    }
    judgement
}

/// How fast the site leaks: unlike the slope of what is outstanding this leaves out what is going to be
/// released, of which there is more and more at first.
fn leaked_per_s(site: &SiteEvidence<'_>) -> Option<Slope> {
    let created = series(site.times_s, site.created);
    let rate = leak_rate(&LifeCounts {
        window_s: site.window_s,
        created: &created,
        births_s: site.births_s,
        ended: &site.latest.lifetimes,
        each: site.sample_divisor as f64,
    })?;
    Some(Slope { per_s: rate.per_s, low: rate.low, high: rate.high })
}

/// What was seen of those that are old.
fn outliving(site: &SiteEvidence<'_>, horizon_s: f64) -> Outliving {
    let past_s = |age_s: f64| (age_s - horizon_s).max(0.0);
    let ages = || site.births_s.iter().map(|birth_s| site.window_s - birth_s);
    let late = site.latest.lifetimes.iter().enumerate().skip(1);
    let late = late.map(|(bucket, count)| past_s(bucket_ceiling_s(bucket - 1)) * *count as f64);
    let released = |time_s| interpolate(site.times_s, site.released_before, time_s);
    Outliving {
        survivors: ages().filter(|age_s| *age_s > horizon_s).count() as f64,
        ended: count_at_least(&site.latest.lifetimes, horizon_s) as f64,
        exposure_s: ages().map(past_s).sum::<f64>() + late.sum::<f64>(),
        horizon_s,
        oldest_s: ages().fold(0.0, f64::max),
        beside_short_lives: timed_releases(site.latest) >= RELEASES_FOR_QUANTILE,
        funcs_are_lost: site.holding.and_then(HoldingSample::funcs_are_lost),
        before: like_this_before_s(site).map(|uptime_s| Before {
            uptime_s,
            ended: (released(site.window_s) - released(horizon_s)) / site.sample_divisor as f64,
        }),
    }
}

/// Contexts that are meant to live as long as their process look like this while they are made.
fn may_only_be_filling(site: &SiteEvidence<'_>) -> bool {
    timed_releases(site.latest) == 0 && is_new(site)
}

/// Whether the site goes on creating as before, up to the end of a window that is long enough.
fn fills_without_end(site: &SiteEvidence<'_>) -> bool {
    let created = |time_s| interpolate(site.times_s, site.created, time_s);
    let last_s = YOUNG_LAST_SHARE * site.window_s;
    let last = created(site.window_s) - created(site.window_s - last_s);
    let all = created(site.window_s) - created(0.0);
    let expected = YOUNG_RATE_RATIO * YOUNG_LAST_SHARE * all;
    let goes_on = last >= 1.0 && last + poisson_difference_noise(expected, 0.0) >= expected;
    site.window_s >= YOUNG_WINDOW_MIN_S && goes_on
}

/// The first that applies, from the surest knowledge down.
fn state(site: &SiteEvidence<'_>, judgement: &SiteJudgement, parts: &Parts, old: f64) -> SiteState {
    let SiteSample { collected, outstanding, .. } = *site.latest;
    let freed = collected as f64 / (collected + outstanding).max(1) as f64;
    let growing = judgement.growth.is_some_and(|growth| growth.low > 0.0);
    let collectable = site.holding.is_some_and(HoldingSample::is_collectable);
    let unpinned = site.holding.and_then(HoldingSample::pinned) == Some(false);
    if unpinned && !growing {
        SiteState::Clean
    } else if growing && (collectable || freed >= COLLECTED_RATIO) {
        SiteState::Collectable
    } else if growing && (unpinned || site.nature.is_unheld()) {
        let long = site.window_s >= TWO_COLLECTIONS_S;
        if long { SiteState::KeptByOthers } else { SiteState::HeldByOthers }
    } else if site.window_s < HORIZONS_PER_WINDOW * judgement.horizon_s {
        if growing { SiteState::Unresolved } else { SiteState::Clean }
    } else if old < f64::from(OLD_MIN) {
        if keeps_unaged(site) { SiteState::Recent } else { SiteState::Clean }
    } else if parts.are_few(site) {
        SiteState::Recent
    } else if !parts.leave_lately() {
        SiteState::Clean
    } else if !goes_on(site) {
        SiteState::Stopped
    } else if !parts.leave_throughout() {
        if ends_after_all(site, judgement, old) { SiteState::Clean } else { SiteState::Recent }
    } else if site.nature.kind == ContextKind::Timer {
        SiteState::BoundedByDeadline
    } else if judgement.never_released_ratio < never_released_needed(old) {
        let long = judgement.leak_probability < LONG_LIVES_PROBABILITY;
        if long { SiteState::Unresolved } else { SiteState::ReleasedLate }
    } else if may_only_be_filling(site) && !fills_without_end(site) {
        SiteState::NeverReleased
    } else if judgement.leak_probability < LEAK_PROBABILITY_MIN {
        let none = count_at_least(&site.latest.lifetimes, judgement.horizon_s) == 0;
        if none { SiteState::NeverReleased } else { SiteState::ReleasedLate }
    } else {
        SiteState::Leak
    }
}

/// Whether the old ones are of a tail whose others are seen to end: as many have ended so late as are
/// left, at ages that none of these has reached.
fn ends_after_all(site: &SiteEvidence<'_>, judgement: &SiteJudgement, old: f64) -> bool {
    let lifetimes = &site.latest.lifetimes;
    let longest_s = lifetimes.iter().rposition(|count| *count > 0).map_or(0.0, bucket_ceiling_s);
    let first_s = site.births_s.iter().copied().reduce(f64::min).unwrap_or(site.window_s);
    count_at_least(lifetimes, judgement.horizon_s) as f64 >= old
        && site.window_s - first_s <= longest_s
}

/// Whether the last third of the window, but for what may be on its way to a usual end, has left
/// survivors as the two before have, measured by their (lower) median ninth, so that what was kept once
/// at the start does not count.
fn goes_on(site: &SiteEvidence<'_>) -> bool {
    let (mut ninths, settled_s) = ([0.0; 9], settled_s(site));
    for birth_s in site.births_s.iter().filter(|birth_s| **birth_s < settled_s) {
        ninths[((birth_s / settled_s * 9.0) as usize).min(8)] += 1.0;
    }
    let late: f64 = ninths[6..].iter().sum();
    ninths[..6].sort_by(f64::total_cmp);
    late >= GOING_ON_RATIO * 3.0 * ninths[2]
}

/// Whether a site with few releases keeps contexts that just are not old yet.
fn keeps_unaged(site: &SiteEvidence<'_>) -> bool {
    let (survivors, timed) = (site.births_s.len() as u64, timed_releases(site.latest));
    survivors >= u64::from(OLD_MIN)
        && timed < RELEASES_FOR_QUANTILE
        && survivors >= SURVIVORS_PER_RELEASE * timed
}

/// Few old contexts can't reach the ratio even when none was released: then the bound that they
/// could reach is asked for.
fn never_released_needed(old: f64) -> f64 {
    NEVER_RELEASED_RATIO.min(wilson_lower_bound(old, old))
}

fn series(times_s: &[f64], values: &[u64]) -> Vec<(f64, f64)> {
    times_s.iter().zip(values).map(|(time, value)| (*time, *value as f64)).collect()
}

#[cfg(test)]
#[path = "site_tests.rs"]
mod tests;
