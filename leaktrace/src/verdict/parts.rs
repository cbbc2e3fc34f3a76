//! The time before the horizon in equal parts: a site's creations and survivors in, from which parts it
//! has left any out.

use super::SiteEvidence;

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

/// The time before the horizon in equal parts: what was created in each, and what of it lives.
pub struct Parts {
    created: [f64; PARTS],
    pub survivors: [f64; PARTS],
}

impl Parts {
    pub fn of(site: &SiteEvidence<'_>, cutoff_s: f64) -> Self {
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
    pub fn are_few(&self, site: &SiteEvidence<'_>) -> bool {
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
    pub fn leave_lately(&self) -> bool {
        let mut sorted = self.survivors;
        sorted.sort_by(f64::total_cmp);
        let half = PARTS / 2;
        let late: f64 = self.survivors[half..].iter().sum();
        late >= LATE_MIN && late >= LATE_RATIO * sorted[half - 1] * half as f64
    }

    /// Whether nearly all parts in which the site created anything, and one of the last two,
    /// have left survivors.
    pub fn leave_throughout(&self) -> bool {
        let active = self.active();
        let leaves = |part: &usize| self.survivors[*part] > 0.0;
        let leaving = active.iter().filter(|part| leaves(part)).count();
        active.len() >= ACTIVE_PARTS_MIN
            && leaving as f64 >= LEAVING_PARTS_RATIO * active.len() as f64
            && active.iter().rev().take(2).any(leaves)
    }
}

/// The value at `time_s` on the straight line between its neighbours; constant beyond the ends.
pub fn interpolate(times_s: &[f64], values: &[u64], time_s: f64) -> f64 {
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
