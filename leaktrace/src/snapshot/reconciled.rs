//! Whether starts and ends by the probes explain how the living goroutines have changed: two
//! comparisons of both in, the differences by site out.
//!
//! Memory is read while goroutines start and end, so the probes are read right before and right
//! after: what happened in between may be in one and not in the other, and no more than that is
//! forgiven. Non-goals: estimates; what was sampled can't be reconciled event by event.

use std::collections::{BTreeMap, BTreeSet};

use super::{GoroutineRates, GoroutineSample, OTHER_SITES};
use crate::memory::goroutines::Creation;

/// Starts and ends of a site so far, as they were seen.
type Seen = BTreeMap<Creation, [u64; 2]>;

/// Goroutines that are alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Living {
    /// How many, by site.
    pub by_site: BTreeMap<Creation, u64>,
    /// How many may be missing that could not be read.
    pub unread: u64,
}

impl From<&GoroutineSample> for Living {
    fn from(sample: &GoroutineSample) -> Self {
        let by_site = sample.sites.iter().map(|(site, now)| (*site, now.live)).collect();
        Self { by_site, unread: sample.lost.unread() }
    }
}

/// The living, and what the probes had counted right before and right after they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    before: Seen,
    after: Seen,
    live: Living,
    /// Events whose site is not known, before and after.
    unplaced: [u64; 2],
}

impl Comparison {
    /// `rates` before and after the living were read, only of sites that are the program's own.
    /// None unless everything was counted.
    pub fn new(
        rates: [&GoroutineRates; 2],
        living: &Living,
        is_own: &mut dyn FnMut(Creation) -> bool,
    ) -> Option<Self> {
        let is_whole =
            |rates: &&GoroutineRates| rates.sampling.is_none() && rates.failure.is_none();
        if !rates.iter().all(is_whole) {
            return None;
        }
        let mut own = |site: Creation| site == OTHER_SITES || is_own(site);
        let [before, after] = rates.map(|rates| seen(rates, living, &mut own));
        let live = living.by_site.iter().filter(|(site, _)| own(**site));
        let by_site = live.map(|(site, count)| (*site, *count)).collect();
        let unplaced = |rates: &GoroutineRates| {
            rates.unplaced.started.seen.saturating_add(rates.unplaced.ended.seen)
        };
        Some(Self {
            before,
            after,
            live: Living { by_site, unread: living.unread },
            unplaced: rates.map(unplaced),
        })
    }

    /// Starts less ends before memory was read.
    fn balance(&self, site: Creation) -> i64 {
        let [started, ended] = self.before.get(&site).copied().unwrap_or_default();
        started as i64 - ended as i64
    }

    /// Starts and ends while it was read.
    fn meanwhile(&self, site: Creation) -> [i64; 2] {
        let of = |seen: &Seen| seen.get(&site).copied().unwrap_or_default();
        let (before, after) = (of(&self.before), of(&self.after));
        [0, 1].map(|event| after[event].saturating_sub(before[event]) as i64)
    }

    fn sites(&self) -> impl Iterator<Item = Creation> {
        let known = self.before.keys().chain(self.after.keys());
        known.chain(self.live.by_site.keys()).copied()
    }
}

/// Counts by site, where memory has too many sites all those together that it does not tell apart.
fn seen(rates: &GoroutineRates, living: &Living, is_own: &mut dyn FnMut(Creation) -> bool) -> Seen {
    let live = &living.by_site;
    let has_others = live.contains_key(&OTHER_SITES);
    let mut seen = Seen::new();
    for (site, rates) in rates.sites.iter().filter(|(site, _)| is_own(**site)) {
        let is_other = has_others && !live.contains_key(site);
        let counts = seen.entry(if is_other { OTHER_SITES } else { *site }).or_default();
        counts[0] += rates.started.seen;
        counts[1] += rates.ended.seen;
    }
    seen
}

/// How the living of one site, or of all, changed between two comparisons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SiteChange {
    /// By what memory shows.
    pub of_living: i64,
    /// By the probes: starts less ends.
    pub of_probes: i64,
    /// Starts and ends while memory was read: by so many the two may differ.
    pub in_between: u64,
    /// By how much more they differ; positive: more are alive than the probes say.
    pub unexplained: i64,
}

/// How well starts and ends explain what memory shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// By site.
    pub sites: BTreeMap<Creation, SiteChange>,
    /// Of all together; what is unexplained of it is the sum by site, without signs.
    pub total: SiteChange,
    /// Of what is unexplained, events that were lost, at least.
    pub lost: u64,
}

/// Compares the change of the living between two comparisons with starts less ends. Of what stays
/// unexplained, `excused` events are no loss: such as the probes had counted when the runtime's
/// list did not show them yet: one per processor at each end.
pub fn reconcile([first, last]: [&Comparison; 2], excused: u64) -> Reconciled {
    let sites: BTreeSet<_> = first.sites().chain(last.sites()).collect();
    let mut found = Reconciled::default();
    let mut unexplained = 0_u64;
    for site in sites {
        let change = change([first, last], site);
        found.total.of_living += change.of_living;
        found.total.of_probes += change.of_probes;
        found.total.in_between += change.in_between;
        unexplained = unexplained.saturating_add(change.unexplained.unsigned_abs());
        found.sites.insert(site, change);
    }
    found.total.unexplained = i64::try_from(unexplained).unwrap_or(i64::MAX);
    // They are lost already, by other reasons.
    let unplaced = last.unplaced[1].saturating_sub(first.unplaced[0]);
    let unread = first.live.unread.saturating_add(last.live.unread);
    found.lost = [unplaced, unread, excused].into_iter().fold(unexplained, u64::saturating_sub);
    found
}

fn change([first, last]: [&Comparison; 2], site: Creation) -> SiteChange {
    let [before, now] =
        [first, last].map(|one| one.live.by_site.get(&site).map_or(0, |n| *n as i64));
    let (of_living, of_probes) = (now - before, last.balance(site) - first.balance(site));
    let [[first_started, first_ended], [started, ended]] =
        [first, last].map(|one| one.meanwhile(site));
    // The living may be ahead of the probes' first reading by what happened until the second.
    let (most, least) = (started + first_ended, -(ended + first_started));
    let difference = of_living - of_probes;
    SiteChange {
        of_living,
        of_probes,
        in_between: (most - least).unsigned_abs(),
        unexplained: difference - difference.clamp(least, most),
    }
}

#[cfg(test)]
#[path = "reconciled_tests.rs"]
mod tests;
