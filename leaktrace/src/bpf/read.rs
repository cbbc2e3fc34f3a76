//! Reading the maps, and evicting what left the sample.

use std::collections::HashMap as StdHashMap;

use aya::maps::{Array, HashMap, MapData};
use leaktrace_common::{
    ContextTotals, Eviction, FRAMES_MAX, LiveContext, Lost, Sampling, SiteCounters, SiteFrames,
    is_sampled,
};

use super::{BpfError, Tracer, maps};

/// Readings in a row that may fall into a widening of the sampling.
const READINGS_MAX: usize = 3;
/// Sites at most, as leaktrace-ebpf's maps have them.
const SITES_MAX: usize = 4096;

/// One site's counters.
#[derive(Debug, Clone, Copy)]
pub struct SiteReadout {
    /// The site's hash; [`leaktrace_common::OVERFLOW_SITE`] for what found no room.
    pub site: u64,
    /// What happened there.
    pub counters: SiteCounters,
    /// Tracked contexts that were taken out because the sampling widened.
    pub evicted: u64,
}

/// Where and under what the contexts of a site are made; live addresses.
#[derive(Debug, Clone)]
pub struct SiteOrigin {
    /// Return addresses of the call chain, innermost first.
    pub return_pcs: Vec<u64>,
    /// The `runtime.itab` of the parent.
    pub parent_itab: u64,
}

/// A tracked context and where it lies.
#[derive(Debug, Clone, Copy)]
pub struct LiveEntry {
    /// Its live address.
    pub address: u64,
    /// Where and when it was made.
    pub context: LiveContext,
}

/// Everything counted so far.
#[derive(Debug, Clone)]
pub struct ContextReadout {
    /// Sites with at least one creation.
    pub sites: Vec<SiteReadout>,
    /// Counts that belong to no site, over all CPUs.
    pub totals: ContextTotals,
    /// One in 2^shift contexts is tracked.
    pub shift: u64,
    /// Losses by reason, over all CPUs; only those that happened.
    pub lost: Vec<(Lost, u64)>,
}

impl Tracer {
    /// Reads the counters, at a moment when nothing is left in the live map that the sampling
    /// leaves out: otherwise it would be scaled up.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn read(&mut self) -> Result<ContextReadout, BpfError> {
        let mut readout = self.read_once()?;
        for _ in 1..READINGS_MAX {
            if readout.shift == self.sampling()?.shift {
                break;
            }
            readout = self.read_once()?;
        }
        Ok(readout)
    }

    fn read_once(&mut self) -> Result<ContextReadout, BpfError> {
        self.evict()?;
        let mut sites = Vec::new();
        maps::for_each(&self.ebpf, "SITES", SITES_MAX, |site: u64, counters: SiteCounters| {
            if counters.created > 0 {
                let evicted = self.evicted.get(&site).copied().unwrap_or(0);
                sites.push(SiteReadout { site, counters, evicted });
            }
        })?;
        let (totals, lost) = (self.totals()?, maps::lost(&self.ebpf)?);
        let shift = self.eviction.shift;
        Ok(ContextReadout { sites, totals, shift, lost })
    }

    /// The origin of every site seen so far.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn origins(&self) -> Result<StdHashMap<u64, SiteOrigin>, BpfError> {
        let mut all = StdHashMap::new();
        maps::for_each(&self.ebpf, "SITE_FRAMES", SITES_MAX, |site: u64, frames: SiteFrames| {
            let depth = (frames.depth as usize).min(FRAMES_MAX);
            let return_pcs = frames.pcs[..depth].to_vec();
            all.insert(site, SiteOrigin { return_pcs, parent_itab: frames.parent_itab });
        })?;
        Ok(all)
    }

    /// Every tracked context that is neither released nor seen to be collected, by address.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn live(&self) -> Result<Vec<LiveEntry>, BpfError> {
        let (mut live, shift) = (Vec::new(), self.sampling()?.shift);
        let entries = self.limits.live_entries as usize;
        maps::for_each(&self.ebpf, "LIVE", entries, |address: u64, context: LiveContext| {
            if is_sampled(address, shift) {
                live.push(LiveEntry { address, context });
            }
        })?;
        live.sort_unstable_by_key(|entry| entry.address);
        Ok(live)
    }

    /// If the kernel has widened the sampling, removes the entries that it now leaves out. BPF no
    /// longer touches such entries, so nothing is counted twice.
    ///
    /// # Errors
    /// A map can't be read or written.
    pub fn evict(&mut self) -> Result<(), BpfError> {
        let shift = self.sampling()?.shift;
        if shift == self.eviction.shift {
            return Ok(());
        }
        let mut leaving = Vec::new();
        let entries = self.limits.live_entries as usize;
        maps::for_each(&self.ebpf, "LIVE", entries, |address: u64, context: LiveContext| {
            if !is_sampled(address, shift) {
                leaving.push((address, context.site));
            }
        })?;
        let live = self.ebpf.map_mut("LIVE").ok_or_else(|| maps::missing("LIVE"))?;
        let mut live = HashMap::<&mut MapData, u64, LiveContext>::try_from(live)
            .map_err(|error| BpfError::map("LIVE", error))?;
        let mut evicted = self.eviction.evicted;
        for (address, site) in leaving {
            if live.remove(&address).is_ok() {
                *self.evicted.entry(site).or_default() += 1;
                evicted += 1;
            }
        }
        self.set_eviction(Eviction { evicted, shift, ..self.eviction })
    }

    /// Kernel memory of all maps in bytes, as the kernel accounts it (`memlock` in fdinfo).
    pub fn map_bytes(&self) -> u64 {
        maps::bytes(&self.ebpf)
    }

    fn sampling(&self) -> Result<Sampling, BpfError> {
        let map = self.ebpf.map("SAMPLING").ok_or_else(|| maps::missing("SAMPLING"))?;
        Array::try_from(map)
            .and_then(|array: Array<_, Sampling>| array.get(&0, 0))
            .map_err(|error| BpfError::map("SAMPLING", error))
    }

    fn totals(&self) -> Result<ContextTotals, BpfError> {
        let per_cpu = maps::per_cpu::<ContextTotals>(&self.ebpf, "TOTALS", 0)?;
        Ok(per_cpu.into_iter().fold(ContextTotals::default(), |sum, cpu| ContextTotals {
            released_untracked: sum.released_untracked + cpu.released_untracked,
            released_untracked_scaled: sum.released_untracked_scaled
                + cpu.released_untracked_scaled,
            released_sampled_out: sum.released_sampled_out + cpu.released_sampled_out,
            repeated_cancels: sum.repeated_cancels + cpu.repeated_cancels,
        }))
    }
}
