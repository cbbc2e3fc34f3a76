//! Context counts at one instant: raw map values in, figures per site out.

use std::collections::HashMap;

use leaktrace_common::{LIFETIME_BUCKETS, Lost, OVERFLOW_SITE, SiteCounters};

use crate::bpf::{ContextReadout, SiteReadout};

/// How a site's contexts end besides by their `CancelFunc`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContextKind {
    /// `WithCancel`: only by its function or its parent.
    #[default]
    Cancel,
    /// `WithTimeout`, `WithDeadline`: at its deadline at the latest.
    Timer,
    /// `AfterFunc`: by its stop function or its parent.
    AfterFunc,
}

/// What the parent of a site's contexts can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContextParent {
    /// Not known: its type hides further ancestors.
    #[default]
    Unknown,
    /// It can be cancelled, so it holds its children.
    Cancellable,
    /// Neither it nor any ancestor can ever be cancelled, so it holds nobody.
    Uncancellable,
}

/// What contexts of a site are by their making.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContextNature {
    /// How they end.
    pub kind: ContextKind,
    /// What they hang under.
    pub parent: ContextParent,
    /// Their constructor gave a cancel function away, which lies in the heap: see `memory`.
    pub gives_cancel_func: bool,
}

impl ContextNature {
    /// The context package does not hold such a context: forgotten, it is garbage, unless a
    /// goroutine or the program's own data hold it. (A timer holds its context until the deadline.)
    pub fn is_unheld(self) -> bool {
        self.parent == ContextParent::Uncancellable && self.kind != ContextKind::Timer
    }
}

/// What one site has done so far.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteSample {
    /// Exact at any sampling.
    pub created: u64,
    /// Exact unless sampled, then scaled.
    pub released: u64,
    /// Proven dead by a second creation at their address; a lower bound of what the garbage
    /// collector freed. Exact unless sampled, then scaled.
    pub collected: u64,
    /// Neither released nor proven dead. Exact unless sampled, then scaled.
    pub outstanding: u64,
    /// Released contexts by lifetime (`leaktrace_common::lifetime_bucket`).
    pub lifetimes: [u64; LIFETIME_BUCKETS],
}

/// All sites and totals at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextSample {
    /// By site hash.
    pub sites: HashMap<u64, SiteSample>,
    /// Releases of contexts made before tracing began (or without room in the live map), scaled
    /// when sampled.
    pub released_untracked: u64,
    /// Cancels of contexts that were cancelled already.
    pub repeated_cancels: u64,
    /// Runs of all programs.
    pub probe_hits: u64,
    /// One in this many contexts is tracked; 1: all.
    pub sample_divisor: u64,
    /// Losses by reason.
    pub lost: Vec<(Lost, u64)>,
}

impl ContextSample {
    /// Interprets a readout.
    pub fn new(readout: &ContextReadout) -> Self {
        let shift = readout.shift;
        let site = |read: &SiteReadout| (read.site, site_sample(read, shift));
        let totals = readout.totals;
        Self {
            sites: readout.sites.iter().map(site).collect(),
            released_untracked: totals.released_untracked_scaled,
            repeated_cancels: totals.repeated_cancels,
            probe_hits: probe_hits(readout),
            sample_divisor: 1 << shift,
            lost: readout.lost.clone(),
        }
    }

    /// Notes that `gone` tracked contexts of each site, which count as outstanding, are no more, though
    /// no event told it.
    pub fn note_collected(&mut self, gone: &HashMap<u64, u64>) {
        for (site, count) in gone {
            let Some(sample) = self.sites.get_mut(site) else { continue };
            let count = count.saturating_mul(self.sample_divisor).min(sample.outstanding);
            sample.outstanding -= count;
            sample.collected += count;
        }
    }

    /// Whether `site` only stands for creations whose site is not known.
    pub const fn is_overflow(site: u64) -> bool {
        site == OVERFLOW_SITE
    }
}

/// Every run of a program has counted exactly one of these.
fn probe_hits(readout: &ContextReadout) -> u64 {
    let per_site = |read: &SiteReadout| read.counters.created + read.counters.released;
    let totals = readout.totals;
    readout.sites.iter().map(per_site).sum::<u64>()
        + totals.released_untracked
        + totals.released_sampled_out
        + totals.repeated_cancels
}

fn site_sample(read: &SiteReadout, shift: u64) -> SiteSample {
    let (counters, evicted) = (&read.counters, read.evicted);
    let dead = counters.released + counters.collected;
    let tracked = counters.created.saturating_sub(counters.untracked);
    let alive = tracked.saturating_sub(dead + evicted);
    let (released, collected, outstanding) = if shift == 0 {
        (counters.released, counters.collected, alive)
    } else {
        scaled(counters, alive << shift, (tracked, tracked.saturating_sub(dead) << shift))
    };
    SiteSample {
        created: counters.created,
        released,
        collected,
        outstanding,
        lifetimes: counters.lifetimes,
    }
}

/// Released, collected and outstanding of all, from the tracked ones: what is alive now is scaled
/// up, and the dead are shared out between released and collected as the tracked ones are.
/// (Scaling releases themselves would be far noisier: few addresses serve many short lives.)
fn scaled(counters: &SiteCounters, alive: u64, (tracked, kept): (u64, u64)) -> (u64, u64, u64) {
    let created = counters.created;
    let dead = counters.released + counters.collected;
    if tracked == 0 {
        // None fell into the sample: only that they were created is known.
        return (0, 0, 0);
    }
    if dead == 0 && kept >= created / 2 {
        // No tracked context has ended, and they stand for all: nothing says that any other has.
        return (0, 0, created);
    }
    if dead == 0 {
        // Too few fell into the sample to tell what became of the others.
        return (0, 0, alive.min(created));
    }
    let outstanding = alive.min(created);
    let share = counters.collected as f64 / dead.max(1) as f64;
    let collected = ((created - outstanding) as f64 * share).round() as u64;
    (created - outstanding - collected, collected, outstanding)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{ContextSample, site_sample};
    use crate::bpf::SiteReadout;
    use leaktrace_common::SiteCounters;

    fn readout(
        created: u64,
        tracked: u64,
        [released, collected, evicted]: [u64; 3],
    ) -> SiteReadout {
        let untracked = created - tracked;
        let counters =
            SiteCounters { created, untracked, released, collected, ..SiteCounters::ZERO };
        SiteReadout { site: 1, counters, evicted }
    }

    #[test]
    fn unsampled_counts_are_passed_through() {
        let sample = site_sample(&readout(1000, 1000, [900, 20, 0]), 0);
        assert_eq!((sample.released, sample.collected, sample.outstanding), (900, 20, 80));
    }

    #[test]
    fn sampled_counts_add_up_to_created() {
        // 1 in 4: 30 of the tracked are alive after 10 were evicted.
        let sample = site_sample(&readout(1000, 260, [165, 55, 10]), 2);
        assert_eq!(sample.outstanding, 120);
        assert_eq!((sample.released, sample.collected), (660, 220));
        assert_eq!(sample.released + sample.collected + sample.outstanding, 1000);
    }

    #[test]
    fn a_site_without_survivors_stays_at_zero_however_few_its_addresses() {
        let sample = site_sample(&readout(1_000_000, 60_000, [60_000, 0, 0]), 4);
        assert_eq!((sample.outstanding, sample.released), (0, 1_000_000));
    }

    #[test]
    fn a_sampled_leak_is_not_taken_for_collected() {
        // 591 of 9,000 is sampling error, not the garbage collector's work.
        let sample = site_sample(&readout(9000, 1100, [0, 0, 50]), 3);
        assert_eq!((sample.released, sample.collected, sample.outstanding), (0, 0, 9000));
        let untouched = site_sample(&readout(9000, 1100, [0; 3]), 3);
        assert_eq!((untouched.released, untouched.outstanding), (0, 9000));
    }

    #[test]
    fn a_site_outside_the_sample_is_unknown_but_for_its_creations() {
        let sample = site_sample(&readout(10, 0, [0; 3]), 4);
        assert_eq!((sample.created, sample.released, sample.outstanding), (10, 0, 0));
    }

    #[test]
    fn the_dead_are_no_longer_outstanding() {
        let site = site_sample(&readout(1000, 260, [165, 55, 10]), 2);
        let mut contexts = ContextSample {
            sites: HashMap::from([(1, site)]),
            released_untracked: 0,
            repeated_cancels: 0,
            probe_hits: 0,
            sample_divisor: 4,
            lost: Vec::new(),
        };
        contexts.note_collected(&HashMap::from([(1, 10), (2, 5)]));
        let counts = |contexts: &ContextSample| {
            let site = &contexts.sites[&1];
            (site.released, site.collected, site.outstanding)
        };
        assert_eq!(counts(&contexts), (660, 260, 80));
        contexts.note_collected(&HashMap::from([(1, 1000)]));
        assert_eq!(counts(&contexts), (660, 340, 0));
    }

    #[test]
    fn counters_read_in_mid_flight_never_wrap() {
        assert_eq!(site_sample(&readout(10, 10, [11, 0, 0]), 0).outstanding, 0);
    }
}
