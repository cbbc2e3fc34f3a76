//! Reading what growth was counted.

use std::collections::HashMap;

use leaktrace_common::{
    FRAMES_MAX, GrowthCounters, GrowthFrames, GrowthKind, GrowthOperation, GrowthTotal, Lost,
    growth_total_index,
};

use super::GrowthTracer;
use crate::bpf::{BpfError, maps};

/// One site's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrowthSiteReadout {
    /// The site's hash; [`leaktrace_common::growth_overflow_site`] for what found no room.
    pub site: u64,
    /// What happened there.
    pub counters: GrowthCounters,
}

/// What a site does, on what, and where; live addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrowthOrigin {
    /// What happened.
    pub operation: GrowthOperation,
    /// To what kind of memory.
    pub kind: GrowthKind,
    /// First the instruction itself (of a call the one behind it), then return addresses.
    pub pcs: Vec<u64>,
    /// Whether `pcs[1]` was taken from the top of the stack; see [`GrowthFrames`].
    pub caller_from_top: bool,
}

/// How page faults were sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFaults {
    /// All faults of all threads, counted; none where the kernel counts those of children with them.
    pub counted: Option<u64>,
    /// One in so many is sampled by now.
    pub period: u64,
    /// Threads that may not be sampled, since they appeared while events were opened.
    pub unsure_threads: u64,
}

/// Everything counted so far.
#[derive(Debug, Clone)]
pub struct GrowthReadout {
    /// Sites where anything happened.
    pub sites: Vec<GrowthSiteReadout>,
    /// Exact counts by operation and kind, of what happened; faults have the kind `Unknown`.
    pub totals: Vec<(GrowthOperation, GrowthKind, GrowthTotal)>,
    /// None while faults are not sampled.
    pub faults: Option<PageFaults>,
    /// Losses by reason, over all CPUs; only those that happened.
    pub lost: Vec<(Lost, u64)>,
}

impl GrowthTracer {
    /// Reads the counters.
    ///
    /// # Errors
    /// A map or an event can't be read.
    pub fn read(&self) -> Result<GrowthReadout, BpfError> {
        let mut sites = Vec::new();
        maps::for_each(
            &self.ebpf,
            "GROWTH_SITES",
            self.limits.sites as usize,
            |site: u64, counters: GrowthCounters| {
                if counters.calls > 0 {
                    sites.push(GrowthSiteReadout { site, counters });
                }
            },
        )?;
        let lost = maps::lost(&self.ebpf)?;
        Ok(GrowthReadout { sites, totals: self.totals()?, faults: self.page_faults()?, lost })
    }

    /// The origin of every site seen so far.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn origins(&self) -> Result<HashMap<u64, GrowthOrigin>, BpfError> {
        let mut all = HashMap::new();
        maps::for_each(
            &self.ebpf,
            "GROWTH_FRAMES",
            self.limits.sites as usize,
            |site: u64, frames: GrowthFrames| {
                all.extend(origin(&frames).map(|origin| (site, origin)));
            },
        )?;
        Ok(all)
    }

    /// Kernel memory of all maps in bytes.
    pub fn map_bytes(&self) -> u64 {
        maps::bytes(&self.ebpf)
    }

    fn totals(&self) -> Result<Vec<(GrowthOperation, GrowthKind, GrowthTotal)>, BpfError> {
        let mut totals = Vec::new();
        for operation in GrowthOperation::ALL {
            for kind in GrowthKind::ALL {
                let row = growth_total_index(operation, kind as u64);
                let mut sum = GrowthTotal::default();
                for cpu in maps::per_cpu::<GrowthTotal>(&self.ebpf, "GROWTH_SUMS", row)? {
                    sum.calls += cpu.calls;
                    sum.amount = sum.amount.wrapping_add(cpu.amount);
                }
                if sum.calls > 0 {
                    totals.push((operation, kind, sum));
                }
            }
        }
        Ok(totals)
    }

    fn page_faults(&self) -> Result<Option<PageFaults>, BpfError> {
        let Some(events) = &self.faults else { return Ok(None) };
        let unreadable = |error| BpfError::map("page faults", error);
        let counted = events.count().map_err(unreadable)?;
        Ok(Some(PageFaults {
            counted: counted.map(|now| now + self.faults_before),
            period: events.period,
            unsure_threads: events.unsure_threads,
        }))
    }
}

/// None of numbers that BPF never writes.
fn origin(frames: &GrowthFrames) -> Option<GrowthOrigin> {
    let depth = (frames.depth as usize).min(FRAMES_MAX);
    Some(GrowthOrigin {
        operation: GrowthOperation::from_index(frames.operation)?,
        kind: GrowthKind::from_index(frames.kind)?,
        pcs: frames.pcs[..depth].to_vec(),
        caller_from_top: frames.caller_from_top == 1,
    })
}
