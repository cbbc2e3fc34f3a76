//! Which share of what is made is never released: counts in, a share and a rate out.
//!
//! Non-goals: why; lives that are longer than the window, which no count tells from endless ones.

use leaktrace_common::LIFETIME_BUCKETS;

use super::{Share, bucket_ceiling_s, count_at_least, proportion::exact_share};

/// Two-sided 95 % quantile of the normal distribution.
const Z_95: f64 = 1.959_964;
/// A horizon leaves at least this share of the window before it.
const COHORT_WINDOWS_MIN: f64 = 0.1;
/// Fewer made before the horizon than this have no share worth the name.
const COHORT_MIN: f64 = 4.0;
/// Releases past the horizon, as a share of the survivors there, up to which the latter are a
/// plateau whatever their follow-up.
const LATE_RATIO: f64 = 0.05;
/// The places of ends within their buckets may matter so much, as a share of the leaked.
const BUCKETS_ERROR_MAX: f64 = 0.05;
/// The follow-up is taken for sufficient below this probability of the contrary.
const FOLLOW_UP_P: f64 = 0.05;

/// What was counted of one kind of object in a window.
#[derive(Debug, Clone, Copy)]
pub struct LifeCounts<'a> {
    /// Length of the window in seconds.
    pub window_s: f64,
    /// (seconds, made so far) since the beginning of the window, rising.
    pub created: &'a [(f64, f64)],
    /// Births of the tracked survivors, in seconds since the beginning.
    pub births_s: &'a [f64],
    /// Released tracked objects that were made in the window, by `lifetime_bucket`.
    pub ended: &'a [u64],
    /// Objects that each tracked one stands for.
    pub each: f64,
}

/// What is never released.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NeverReleased {
    /// Of all that is made.
    pub share: Share,
    /// The age in seconds from which on it is told.
    pub horizon_s: f64,
    /// Survivors older than that, not scaled.
    pub old: usize,
    /// Made before that, not scaled: of these `old` are left.
    pub cohort: f64,
    /// Releases came early enough in life, or hardly any came late, so that more are not to be
    /// expected. False without any release.
    pub followed_up: bool,
}

/// Objects per second on average over a window, with a 95 % interval of how many there were; it is no
/// interval of what another window would have.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rate {
    /// The estimate.
    pub per_s: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The share of objects that will never be released, told from those made longer ago than a
/// horizon; none where hardly anything was.
///
/// Lifetimes are known to a factor of two only, which is too rough for a product of conditional
/// shares. But of all that was made before a time the number is exact, and so is the number of
/// those that live: their ratio is the *reduced sample* estimate of survival at that age (Kaplan
/// and Meier 1958, 3.2), with the binomial's interval. Survivors that are going to be released are
/// taken off: a life of x seconds that is over at the end of the window was seen to end with the
/// probability C(T-x)/C(T), where C(t) was made by the time t, and would have been alive and older
/// than the horizon h with (C(T-h)-C(T-x))/C(T), so each end past the horizon stands for the
/// quotient of the two (D. G. Horvitz and D. J. Thompson, JASA 47 (1952)). The horizon is the one
/// with the least error: a late one has few objects before it, an early one much to take off.
pub fn never_released_share(counts: &LifeCounts<'_>) -> Option<NeverReleased> {
    let ceilings = (0..LIFETIME_BUCKETS).map(bucket_ceiling_s);
    let horizons = std::iter::once(0.0).chain(ceilings);
    let last_s = (1.0 - COHORT_WINDOWS_MIN) * counts.window_s;
    let looks: Vec<_> = horizons
        .take_while(|horizon_s| *horizon_s <= last_s)
        .map(|horizon_s| Look::new(counts, horizon_s))
        .filter(|look| look.cohort >= COHORT_MIN)
        .collect();
    // What is left at the end of all ends, or in the middle: it weighs chance against error.
    let ends_s = counts.ended.iter().rposition(|count| *count > 0).map_or(0.0, bucket_ceiling_s);
    let middle_s = ends_s.min(counts.window_s / 2.0);
    let reference = looks.iter().find(|look| look.horizon_s >= middle_s).or(looks.last())?;
    let ratio = reference.old as f64 / reference.cohort;
    let best = looks.iter().min_by(|one, other| one.error(ratio).total_cmp(&other.error(ratio)))?;
    Some(best.told(counts))
}

/// How many objects of the window will never be released, per second. None where
/// [`never_released_share`] can't be told, or where releases come so late that more must be expected.
///
/// Each survivor counts with the chance that it is one of those at its age, by Bayes' rule from the share
/// and the ages that the others reach. (With S for the survival of all that is B. Efron's
/// self-consistent S(inf)/S(age), "The two sample problem with censored data", Proc. 5th Berkeley Symp.
/// 4, 1967.) Thus old ones are counted and not estimated, however the load changes. Where that hangs on
/// the places of ends within a bucket of the histogram, the share of all that were made is taken.
pub fn leak_rate(counts: &LifeCounts<'_>) -> Option<Rate> {
    let told = never_released_share(counts)?;
    let any_ended = counts.ended.iter().any(|count| *count > 0);
    if any_ended && !told.followed_up {
        return None;
    }
    let Share { ratio, low, high } = told.share;
    let [evenly, at_most] = [Within::Evenly, Within::ToTheEnd].map(|within| {
        let ages_s = counts.births_s.iter().map(|birth_s| counts.window_s - birth_s);
        ages_s.map(|age_s| counts.ended_after(age_s, within)).collect::<Vec<f64>>()
    });
    let chances = |share: f64| evenly.iter().map(move |others| chance(share, *others));
    let leaked: f64 = chances(ratio).sum();
    let least: f64 = at_most.iter().map(|others| chance(ratio, *others)).sum();
    if least < (1.0 - BUCKETS_ERROR_MAX) * leaked {
        let made_per_s = counts.created.last()?.1 / counts.window_s;
        let [per_s, low, high] = [ratio, low, high].map(|share| share * made_per_s);
        return Some(Rate { per_s, low, high });
    }
    let per_s = |leaked: f64| (leaked * counts.each / counts.window_s).max(0.0);
    // Whether each is one of them is left to chance, and one may be on its way.
    let variance: f64 = chances(ratio).map(|chance| chance * (1.0 - chance)).sum();
    let spread = Z_95 * variance.sqrt() + 1.0;
    Some(Rate {
        per_s: per_s(leaked),
        low: per_s(chances(low).sum::<f64>() - spread),
        high: per_s(chances(high).sum::<f64>() + spread),
    })
}

/// Of those that got so old that only `others` of what is released does: how many are never released,
/// where that is a `share` of all.
fn chance(share: f64, others: f64) -> f64 {
    let all = share + (1.0 - share) * others;
    if all > 0.0 { share / all } else { 0.0 }
}

/// Where in a bucket of the histogram lives end.
#[derive(Debug, Clone, Copy)]
enum Within {
    /// All over it.
    Evenly,
    /// All at its end.
    ToTheEnd,
}

impl LifeCounts<'_> {
    /// Tracked objects made by the time `at_s`, on straight lines between the readings.
    fn made_by(&self, at_s: f64) -> f64 {
        let after = self.created.partition_point(|reading| reading.0 < at_s);
        let before = after.checked_sub(1).and_then(|index| self.created.get(index));
        let (t0, c0) = before.copied().unwrap_or((0.0, 0.0));
        let made = match self.created.get(after) {
            Some((t1, c1)) if *t1 > t0 => c0 + (c1 - c0) * (at_s - t0).max(0.0) / (t1 - t0),
            Some((_, c1)) => *c1,
            None => c0,
        };
        made / self.each
    }

    /// How many of a cohort are alive at the end of the window for each that was seen to end, if
    /// they live for `age_s`.
    fn passing_each(&self, cohort: f64, age_s: f64) -> f64 {
        let seen = self.made_by(self.window_s - age_s);
        ((cohort - seen) / seen.max(1.0)).max(0.0)
    }

    /// The share of what was released that had got older than this.
    fn ended_after(&self, age_s: f64, within: Within) -> f64 {
        let all = self.ended.iter().sum::<u64>().max(1) as f64;
        let buckets = self.ended.iter().enumerate().filter(|(_, ends)| **ends > 0);
        let after = buckets.map(|(bucket, ends)| {
            let floor_s = bucket.checked_sub(1).map_or(0.0, bucket_ceiling_s);
            let left_s = bucket_ceiling_s(bucket) - age_s;
            let share = match within {
                Within::Evenly => left_s / (bucket_ceiling_s(bucket) - floor_s),
                Within::ToTheEnd => left_s.signum(),
            };
            *ends as f64 * share.clamp(0.0, 1.0)
        });
        after.sum::<f64>() / all
    }

    /// Whether lives that end have not outlived what was seen: those that ended late, in as long a time
    /// before the last end as was watched after it, tell (R. A. Maller and S. Zhou, "Estimating the
    /// proportion of immunes in a censored sample", Biometrika 79, 1992). Here that is the window, and
    /// ends are known by their buckets only. The last of d ends that lie anywhere between two
    /// powers of two is expected near the upper one for many and anywhere for one, which is taken
    /// for the earliest.
    fn is_followed_up(&self) -> bool {
        let Some(last) = self.ended.iter().rposition(|count| *count > 0) else { return false };
        let floor_s = last.checked_sub(1).map_or(0.0, bucket_ceiling_s);
        let ends = self.ended[last] as f64;
        let width = bucket_ceiling_s(last).min(self.window_s) / floor_s.max(f64::MIN_POSITIVE);
        let last_s = floor_s * width.max(1.0).powf((ends - 1.0) / (ends + 1.0));
        let from_s = 2.0 * last_s - self.window_s;
        let late = count_at_least(self.ended, from_s.max(0.0));
        let first = if from_s <= 0.0 { self.ended.first().copied().unwrap_or(0) } else { 0 };
        let lives = self.ended.iter().sum::<u64>() as f64 + self.births_s.len() as f64;
        let share = (late + first) as f64 / lives;
        (1.0 - share).max(0.0).powf(lives) < FOLLOW_UP_P
    }
}

/// The survivors older than one horizon.
struct Look {
    horizon_s: f64,
    /// Tracked objects made before it.
    cohort: f64,
    /// Of these, alive.
    old: usize,
    /// Of these, going to be released: expected, at least, at most, and the variance.
    passing: [f64; 3],
    variance: f64,
}

impl Look {
    fn new(counts: &LifeCounts<'_>, horizon_s: f64) -> Self {
        let before_s = counts.window_s - horizon_s;
        let cohort = counts.made_by(before_s);
        let old = counts.births_s.iter().filter(|birth_s| **birth_s < before_s).count();
        let (mut passing, mut variance) = ([0.0; 3], 0.0);
        let last = counts.ended.iter().rposition(|ends| *ends > 0);
        // Past the last bucket with ends, one more may just not have been seen.
        let buckets = counts.ended.iter().enumerate().take(last.map_or(0, |last| last + 2));
        for (bucket, ends) in buckets {
            let floor_s = bucket.checked_sub(1).map_or(0.0, bucket_ceiling_s);
            // What was seen to end was not longer than the window.
            let ceiling_s = bucket_ceiling_s(bucket).min(counts.window_s);
            if floor_s < horizon_s || floor_s >= ceiling_s {
                continue;
            }
            let each = |age_s| counts.passing_each(cohort, age_s);
            let (ends, middle) = (*ends as f64, each((floor_s * ceiling_s).sqrt()));
            passing[0] += ends * middle;
            passing[1] += ends * each(floor_s);
            passing[2] += ends * each(ceiling_s);
            // One more than was seen, so that few by chance are not taken for a sure count.
            variance += (ends + 1.0) * middle * middle;
        }
        Self { horizon_s, cohort, old, passing, variance }
    }

    /// The expected square error of the share, if it is about `ratio`.
    fn error(&self, ratio: f64) -> f64 {
        let bias = self.passing[2] - self.passing[1];
        (bias * bias + self.variance + ratio * self.cohort + 1.0) / (self.cohort * self.cohort)
    }

    fn told(&self, counts: &LifeCounts<'_>) -> NeverReleased {
        let spread = Z_95 * self.variance.sqrt();
        let kept = |passing: f64| self.old as f64 - passing;
        let most = exact_share(kept(self.passing[1] - spread), self.cohort);
        let least = exact_share(kept(self.passing[2] + spread), self.cohort);
        let ratio = (kept(self.passing[0]) / self.cohort).clamp(0.0, 1.0);
        let late = count_at_least(counts.ended, self.horizon_s) as f64;
        let hardly_late = self.horizon_s > 0.0 && late < LATE_RATIO * self.old as f64;
        NeverReleased {
            share: Share { ratio, low: least.low.min(ratio), high: most.high.max(ratio) },
            horizon_s: self.horizon_s,
            old: self.old,
            cohort: self.cohort,
            followed_up: hardly_late || counts.is_followed_up(),
        }
    }
}

#[cfg(test)]
#[path = "never_released_tests.rs"]
mod tests;
