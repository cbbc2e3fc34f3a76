//! Starts and ends of goroutines at one instant: raw map values in, figures per site out.
//!
//! Non-goals: whether they agree with the goroutines that memory shows (`reconciled` has it).

use std::collections::{BTreeMap, HashMap};

use leaktrace_common::{EventCount, GOROUTINE_OVERFLOW_SITE, Lost, WEIGHT_ONE};

use crate::{
    bpf::{GoroutineReadout, GoroutineSampling, GoroutineSiteReadout, GoroutineStackReadout},
    memory::goroutines::Creation,
};

/// How often something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    /// As often as it was seen.
    pub seen: u64,
    /// As often as it happened: what was seen, and unless that is all, scaled up.
    pub estimate: f64,
    /// Standard error of the estimate; 0 when everything was seen.
    pub error: f64,
}

/// What goroutines of one site did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SiteRates {
    /// They were started.
    pub started: Rate,
    /// They ended, also those that were started before tracing began.
    pub ended: Rate,
}

/// A call chain that starts goroutines; live addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatorStack {
    /// Where it starts them, and with what.
    pub site: Creation,
    /// Return addresses, that of the `go` statement first.
    pub pcs: Vec<u64>,
    /// Starts.
    pub started: Rate,
}

/// All sites and call chains at one instant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GoroutineRates {
    /// By where goroutines are started, and with what.
    pub sites: BTreeMap<Creation, SiteRates>,
    /// Starts and ends whose site is not known.
    pub unplaced: SiteRates,
    /// By the hash of the chain.
    pub stacks: HashMap<u64, CreatorStack>,
    /// None as long as everything was counted: then every figure is exact.
    pub sampling: Option<GoroutineSampling>,
    /// Runs of all programs.
    pub probe_hits: u64,
    /// CPU time that the target has lost to the probes, by their hits and the measured cost of one.
    pub cost_ns: u64,
    /// Why nothing is counted any more.
    pub failure: Option<String>,
    /// Losses by reason.
    pub lost: Vec<(Lost, u64)>,
}

impl GoroutineRates {
    /// Interprets a readout.
    pub fn new(readout: &GoroutineReadout) -> Self {
        let sampling = readout.sampling.as_ref();
        let rates = |read: &GoroutineSiteReadout| SiteRates {
            started: rate(read.started, sampling),
            ended: rate(read.ended, sampling),
        };
        let is_placed = |read: &&GoroutineSiteReadout| read.site != GOROUTINE_OVERFLOW_SITE;
        let placed = readout.sites.iter().filter(is_placed);
        let unplaced = readout.sites.iter().find(|read| !is_placed(read));
        let stack = |read: &GoroutineStackReadout| (read.stack, creator_stack(read, sampling));
        Self {
            sites: placed.map(|read| (creation(read), rates(read))).collect(),
            unplaced: unplaced.map(rates).unwrap_or_default(),
            stacks: readout.stacks.iter().map(stack).collect(),
            sampling: readout.sampling,
            probe_hits: readout.totals.hits(),
            cost_ns: readout.cost_ns,
            failure: readout.failure.clone(),
            lost: readout.lost.clone(),
        }
    }

    /// Starts and ends of one site; none where nothing happened.
    pub fn site(&self, site: Creation) -> SiteRates {
        self.sites.get(&site).copied().unwrap_or_default()
    }
}

const fn creation(read: &GoroutineSiteReadout) -> Creation {
    Creation { creator_pc: read.site.creator_pc, start_pc: read.site.start_pc }
}

fn creator_stack(
    read: &GoroutineStackReadout,
    sampling: Option<&GoroutineSampling>,
) -> CreatorStack {
    let creator_pc = read.pcs.first().copied().unwrap_or(0);
    CreatorStack {
        site: Creation { creator_pc, start_pc: read.start_pc },
        pcs: read.pcs.clone(),
        started: rate(read.started, sampling),
    }
}

/// The error has two parts: how much the windows differ as a whole, and that a rare event may fall
/// into one or beside it, as often as a window stands for (Poisson).
fn rate(count: EventCount, sampling: Option<&GoroutineSampling>) -> Rate {
    let estimate = count.seen as f64 + count.unseen_weight as f64 / WEIGHT_ONE as f64;
    let Some(sampling) = sampling else {
        return Rate { seen: count.seen, estimate, error: 0.0 };
    };
    let divisor = sampling.span_ns as f64 / sampling.observed_ns.max(1) as f64;
    let together = sampling.relative_error.unwrap_or(0.0) * estimate;
    let alone = estimate.max(1.0) * (divisor - 1.0).max(0.0);
    Rate { seen: count.seen, estimate, error: (together * together + alone).sqrt() }
}

#[cfg(test)]
mod tests {
    use leaktrace_common::{
        EventCount, GOROUTINE_OVERFLOW_SITE, GoroutineSite, GoroutineTotals, Lost, WEIGHT_ONE,
    };

    use super::GoroutineRates;
    use crate::{
        bpf::{GoroutineReadout, GoroutineSampling, GoroutineSiteReadout},
        memory::goroutines::Creation,
    };

    const A: Creation = Creation { creator_pc: 0x10, start_pc: 0x100 };
    const B: Creation = Creation { creator_pc: 0x20, start_pc: 0x200 };

    fn site(site: Creation, [started, ended]: [u64; 2], weight: u64) -> GoroutineSiteReadout {
        let count = |seen: u64| EventCount { seen, unseen_weight: seen * (weight - WEIGHT_ONE) };
        let site = GoroutineSite { creator_pc: site.creator_pc, start_pc: site.start_pc };
        GoroutineSiteReadout { site, started: count(started), ended: count(ended) }
    }

    fn readout(sites: &[GoroutineSiteReadout]) -> GoroutineReadout {
        GoroutineReadout {
            sites: sites.to_vec(),
            stacks: Vec::new(),
            totals: GoroutineTotals::default(),
            sampling: None,
            cost_ns: 0,
            failure: None,
            lost: vec![(Lost::StacksFull, 1)],
        }
    }

    /// A tenth of the time, in windows that agree to 1 %.
    fn sampled(sites: &[GoroutineSiteReadout]) -> GoroutineRates {
        let sampling = GoroutineSampling {
            since_ns: 0,
            told_until_ns: None,
            observed_ns: 1_000,
            span_ns: 10_000,
            windows: 5,
            relative_error: Some(0.01),
        };
        GoroutineRates::new(&GoroutineReadout { sampling: Some(sampling), ..readout(sites) })
    }

    fn exact(sites: &[GoroutineSiteReadout]) -> GoroutineRates {
        GoroutineRates::new(&readout(sites))
    }

    #[test]
    fn what_was_counted_completely_has_no_error() {
        let rates = exact(&[site(A, [7, 3], WEIGHT_ONE)]);
        let started = rates.site(A).started;
        assert_eq!((started.seen, started.estimate, started.error), (7, 7.0, 0.0));
        assert_eq!(rates.site(B).ended.seen, 0);
        assert_eq!(rates.lost, [(Lost::StacksFull, 1)]);
    }

    #[test]
    fn what_was_sampled_is_scaled_and_says_how_far_it_may_be_off() {
        let rates = sampled(&[site(A, [1000, 0], 10 * WEIGHT_ONE)]);
        let started = rates.site(A).started;
        assert_eq!((started.seen, started.estimate), (1000, 10_000.0));
        // The root of (1 % of 10,000)^2 and of 10,000 events of which 1 in 10 was seen.
        assert!((started.error - 316.2).abs() < 0.1, "{}", started.error);
        assert!(rates.site(B).started.seen == 0 && rates.site(A).ended.error > 2.9);
    }

    #[test]
    fn what_found_no_room_is_no_site() {
        let overflow = Creation {
            creator_pc: GOROUTINE_OVERFLOW_SITE.creator_pc,
            start_pc: GOROUTINE_OVERFLOW_SITE.start_pc,
        };
        let rates = exact(&[site(overflow, [5, 4], WEIGHT_ONE), site(A, [1, 1], WEIGHT_ONE)]);
        assert_eq!(rates.sites.keys().collect::<Vec<_>>(), [&A]);
        assert_eq!((rates.unplaced.started.seen, rates.unplaced.ended.seen), (5, 4));
    }
}
