//! Reading what goroutines were counted.

use std::collections::BTreeMap;

use leaktrace_common::{
    EventCount, FRAMES_MAX, GoroutineCounters, GoroutineSite, GoroutineStack, GoroutineTotals, Lost,
};

use super::{GoroutineTracer, pacer::Pacer, sampling::GoroutineSampling};
use crate::bpf::{BpfError, maps};

/// One site's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoroutineSiteReadout {
    /// The site; [`leaktrace_common::GOROUTINE_OVERFLOW_SITE`] for what found no room.
    pub site: GoroutineSite,
    /// Starts.
    pub started: EventCount,
    /// Ends, also of goroutines that were started before tracing began.
    pub ended: EventCount,
}

/// One call chain that starts goroutines; live addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoroutineStackReadout {
    /// The hash of chain and start function.
    pub stack: u64,
    /// Entry of the started function.
    pub start_pc: u64,
    /// Return addresses, that of the `go` statement first.
    pub pcs: Vec<u64>,
    /// Starts.
    pub started: EventCount,
}

/// Everything counted so far.
#[derive(Debug, Clone)]
pub struct GoroutineReadout {
    /// Sites where anything happened, ordered.
    pub sites: Vec<GoroutineSiteReadout>,
    /// Call chains, in no order.
    pub stacks: Vec<GoroutineStackReadout>,
    /// Sums over all CPUs.
    pub totals: GoroutineTotals,
    /// None as long as everything was counted.
    pub sampling: Option<GoroutineSampling>,
    /// CPU time that the target has lost to the probes, by their hits and the measured cost of one.
    pub cost_ns: u64,
    /// What keeps it from being counted any further.
    pub failure: Option<String>,
    /// Losses by reason, over all CPUs; only those that happened.
    pub lost: Vec<(Lost, u64)>,
}

impl GoroutineTracer {
    /// Reads the counters; waits for the end of a window.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn read(&self) -> Result<GoroutineReadout, BpfError> {
        let _still = self.pacer.as_ref().map(Pacer::between_windows);
        let stacks = self.stacks()?;
        let mut sites: BTreeMap<GoroutineSite, [EventCount; 2]> = BTreeMap::new();
        for stack in &stacks {
            let creator_pc = stack.pcs.first().copied().unwrap_or(0);
            let site = GoroutineSite { creator_pc, start_pc: stack.start_pc };
            add(&mut sites.entry(site).or_default()[0], stack.started);
        }
        let entries = self.limits.sites as usize;
        maps::for_each(&self.ebpf, "GOROUTINE_SITES", entries, |site, read: GoroutineCounters| {
            let [started, ended] = sites.entry(site).or_default();
            add(started, read.started_elsewhere);
            add(ended, read.ended);
        })?;
        sites.retain(|_, counts| counts.iter().any(|count| count.seen > 0));
        let state = self.pacer.as_ref().map(Pacer::state).unwrap_or_default();
        let row =
            |(site, [started, ended]): (_, [_; 2])| GoroutineSiteReadout { site, started, ended };
        Ok(GoroutineReadout {
            sites: sites.into_iter().map(row).collect(),
            stacks,
            totals: self.totals()?,
            sampling: state.sampling,
            cost_ns: state.cost_ns,
            failure: state.failure,
            lost: maps::lost(&self.ebpf)?,
        })
    }

    /// Kernel memory of all maps in bytes, as the kernel accounts it (`memlock` in fdinfo).
    pub fn map_bytes(&self) -> u64 {
        maps::bytes(&self.ebpf)
    }

    fn stacks(&self) -> Result<Vec<GoroutineStackReadout>, BpfError> {
        let (mut stacks, entries) = (Vec::new(), self.limits.stacks as usize);
        maps::for_each(&self.ebpf, "GOROUTINE_STACKS", entries, |stack, read: GoroutineStack| {
            let depth = (read.depth as usize).min(FRAMES_MAX);
            let (start_pc, pcs) = (read.start_pc, read.pcs[..depth].to_vec());
            stacks.push(GoroutineStackReadout { stack, start_pc, pcs, started: read.started });
        })?;
        Ok(stacks)
    }

    fn totals(&self) -> Result<GoroutineTotals, BpfError> {
        let rows = maps::per_cpu::<GoroutineTotals>(&self.ebpf, "GOROUTINE_SUMS", 0)?;
        Ok(rows.into_iter().fold(GoroutineTotals::default(), |sum, cpu| sum + cpu))
    }
}

fn add(sum: &mut EventCount, count: EventCount) {
    sum.seen += count.seen;
    sum.unseen_weight += count.unseen_weight;
}
