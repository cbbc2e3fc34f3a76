//! One site: does it keep contexts far longer than is usual for them, all through the window?
//!
//! Contexts older than the horizon (a multiple of the site's usual lifetime) are *old*. A leak
//! leaves old contexts from every part of the window in which it created any, also lately; a
//! burst, a warm-up, or a set of contexts held from the start does not.

use super::{
    balance::{balance_spans_s, balances},
    odds::{Before, Outliving, leak_probability},
};
use crate::{
    model::{
        LifeCounts, Slope, bucket_ceiling_s, count_at_least, leak_rate, poisson_difference_noise,
        poisson_mean_for_at_least, quantile_ceiling_s, quantile_s, theil_sen, wilson_lower_bound,
    },
    snapshot::{ContextKind, ContextNature, HoldingSample, SiteSample},
};

/// Old means this many times the usual lifetime.
const HORIZON_LIFETIMES: f64 = 2.0;
/// Nothing is old before this age: schedulers and collectors need their time.
const HORIZON_MIN_S: f64 = 5.0;
/// The same for a site at which few or no releases were seen,
const HORIZON_FEW_RELEASES_MIN_S: f64 = 10.0;
/// where a context must also have outlived this share of the window.
const HORIZON_FEW_RELEASES_WINDOWS: f64 = 1.0 / 3.0;
/// The horizon must fit into the window at least this often.
const HORIZONS_PER_WINDOW: f64 = 2.0;
/// Releases from which a quantile of lifetimes is taken.
const RELEASES_FOR_QUANTILE: u64 = 20;
/// The usual lifetime is this quantile.
const USUAL_QUANTILE: f64 = 0.99;
/// Where growth is not told to be a leak or none, only a leak that is so many times as fast would be.
const UNTOLD_GROWTHS: f64 = 2.0;
/// Share of the window that must lie before the horizon for a floor from what is old.
const FLOOR_WINDOW_RATIO: f64 = 0.5;
/// Fewer old contexts than this prove nothing.
pub const OLD_MIN: u32 = 8;
/// Parts into which the time before the horizon is cut.
const PARTS: usize = 8;
/// Parts in which something must have been created.
const ACTIVE_PARTS_MIN: usize = 3;
/// A site that creates behind this share of the window goes on.
const LATELY: f64 = 2.0 / 3.0;
/// Share of the active parts that must have left old contexts.
const LEAVING_PARTS_RATIO: f64 = 0.75;
/// The later half must have left at least this share of what the median part would give.
const LATE_RATIO: f64 = 0.25;
/// And at least this many contexts.
const LATE_MIN: f64 = 4.0;
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
/// What has been growing for less than so many windows before may still be filling up what it means to
/// keep.
pub const NEW_WINDOWS: f64 = 4.0;
/// Less likely leaks among which some end are lives too long for the window.
const LONG_LIVES_PROBABILITY: f64 = 0.3;
/// A site began in the window if nothing was made there for so many times its longest pause,
const BEGAN_PAUSES: f64 = 2.0;
/// and so many readings.
const BEGAN_READINGS: f64 = 3.0;
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
    /// How many more every second are never released, of a site that leaks.
    pub leaked: Option<Slope>,
    /// Age in seconds from which a context is old.
    pub horizon_s: f64,
    /// Age of the usual context at its release, a bound from above; none without releases.
    pub usual_lifetime_s: Option<f64>,
    /// Contexts older than the horizon, scaled when sampled.
    pub old: u64,
    /// Lower 95 % bound of the share of contexts past the horizon that are never released.
    pub never_released_ratio: f64,
    /// The probability that they are leaked, and do not just live long: see `odds`.
    pub leak_probability: f64,
}

/// The rate at which a leak of this site would have been seen with 95 % probability, in tracked
/// objects per second; where they usually live too long for the window, the fastest growth that the
/// counts allow. None without either.
pub fn floor_per_s(site: &SiteJudgement, window_s: f64) -> Option<f64> {
    let needed = poisson_mean_for_at_least(OLD_MIN);
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

/// Whether what was there before ends as new ones stay: once that of usual lives has ended, or lately.
fn is_balanced(site: &SiteEvidence<'_>, horizon_s: f64) -> bool {
    let released = |time_s| interpolate(site.times_s, site.released_before, time_s);
    balance_spans_s(horizon_s, site.window_s).into_iter().any(|from_s| {
        let kept = site.births_s.iter().filter(|birth_s| **birth_s >= from_s).count() as u64;
        let ended = released(site.window_s) - released(from_s);
        balances((kept * site.sample_divisor) as f64, ended)
    })
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
        before: like_this_before_s(site).map(|uptime_s| Before {
            uptime_s,
            ended: (released(site.window_s) - released(horizon_s)) / site.sample_divisor as f64,
        }),
    }
}

/// For how long the site had been growing as it does when tracing began, at most, in seconds: not
/// longer than the process runs, nor than it takes to keep what was there already.
fn like_this_before_s(site: &SiteEvidence<'_>) -> Option<f64> {
    let kept_per_s = site.births_s.len() as f64 * site.sample_divisor as f64 / site.window_s;
    let grown_s = site.held_before.map(|held| held as f64 / kept_per_s.max(f64::MIN_POSITIVE));
    let began_s = began_in_window(site).then_some(0.0);
    [site.uptime_s?].into_iter().chain(grown_s).chain(began_s).reduce(f64::min)
}

/// Whether that is not much longer than the window, or not known: what the site means to keep may
/// still be filling up.
fn is_new(site: &SiteEvidence<'_>) -> bool {
    like_this_before_s(site).is_none_or(|before_s| before_s < NEW_WINDOWS * site.window_s)
}

/// Whether the site made nothing at first, for longer than it ever paused later: what it does is
/// new, however old the process is.
fn began_in_window(site: &SiteEvidence<'_>) -> bool {
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
        SiteState::Recent
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

/// Whether the last third of the window has left survivors as the two before have, measured by
/// their (lower) median ninth, so that what was kept once at the start does not count.
fn goes_on(site: &SiteEvidence<'_>) -> bool {
    let mut ninths = [0.0; 9];
    for birth_s in site.births_s {
        ninths[((birth_s / site.window_s * 9.0) as usize).min(8)] += 1.0;
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

/// Releases whose lifetime is known: all of them unless sampled.
fn timed_releases(sample: &SiteSample) -> u64 {
    sample.lifetimes.iter().sum()
}

/// Few old contexts can't reach the ratio even when none was released: then the bound that they
/// could reach is asked for.
fn never_released_needed(old: f64) -> f64 {
    NEVER_RELEASED_RATIO.min(wilson_lower_bound(old, old))
}

/// From what age on a context is old.
fn horizon_s(site: &SiteEvidence<'_>, usual_lifetime_s: Option<f64>) -> f64 {
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
fn usual_lifetime_s(sample: &SiteSample) -> Option<f64> {
    if timed_releases(sample) >= RELEASES_FOR_QUANTILE {
        return quantile_ceiling_s(&sample.lifetimes, USUAL_QUANTILE);
    }
    sample.lifetimes.iter().rposition(|count| *count > 0).map(bucket_ceiling_s)
}

/// The time before the horizon in equal parts: what was created in each, and what of it lives.
struct Parts {
    created: [f64; PARTS],
    survivors: [f64; PARTS],
}

impl Parts {
    fn of(site: &SiteEvidence<'_>, cutoff_s: f64) -> Self {
        let mut parts = Self { created: [0.0; PARTS], survivors: [0.0; PARTS] };
        if cutoff_s <= 0.0 {
            return parts;
        }
        let part_s = cutoff_s / PARTS as f64;
        for birth_s in site.births_s.iter().filter(|birth_s| **birth_s < cutoff_s) {
            parts.survivors[((birth_s / part_s) as usize).min(PARTS - 1)] += 1.0;
        }
        let created_by =
            |part: usize| interpolate(site.times_s, site.created, part as f64 * part_s);
        for (part, created) in parts.created.iter_mut().enumerate() {
            *created = created_by(part + 1) - created_by(part);
        }
        parts
    }

    /// Whether the site still creates, but so rarely that its bursts can't be told from its end.
    fn are_few(&self, site: &SiteEvidence<'_>) -> bool {
        let created = |time_s| interpolate(site.times_s, site.created, time_s);
        let lately = created(site.window_s) - created(LATELY * site.window_s);
        lately >= 1.0 && self.active().len() < ACTIVE_PARTS_MIN
    }

    /// The parts in which anything was created. Interpolation smears a burst over an interval; less
    /// than one creation is no activity.
    fn active(&self) -> Vec<usize> {
        (0..PARTS).filter(|part| self.created[*part] >= 1.0).collect()
    }

    /// Whether survivors come from the later half too, measured by the (lower) median part: what was
    /// kept once at the start counts neither for nor against.
    fn leave_lately(&self) -> bool {
        let mut sorted = self.survivors;
        sorted.sort_by(f64::total_cmp);
        let half = PARTS / 2;
        let late: f64 = self.survivors[half..].iter().sum();
        late >= LATE_MIN && late >= LATE_RATIO * sorted[half - 1] * half as f64
    }

    /// Whether nearly all parts in which the site created anything, and one of the last two,
    /// have left survivors.
    fn leave_throughout(&self) -> bool {
        let active = self.active();
        let leaves = |part: &usize| self.survivors[*part] > 0.0;
        let leaving = active.iter().filter(|part| leaves(part)).count();
        active.len() >= ACTIVE_PARTS_MIN
            && leaving as f64 >= LEAVING_PARTS_RATIO * active.len() as f64
            && active.iter().rev().take(2).any(leaves)
    }
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
