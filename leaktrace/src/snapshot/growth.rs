//! Growth of memory at one instant: raw map values in, figures per site out.
//!
//! Non-goals: names for call chains; whether what grew is still resident.

use std::collections::HashMap;

use leaktrace_common::{GrowthCounters, GrowthKind, GrowthOperation, Lost, growth_overflow_site};
use procfs::process::{MMapPath, MemoryMap};

use crate::bpf::{GrowthOrigin, GrowthReadout, PageFaults};

/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// How a figure of faults was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultsHow {
    /// Each was seen.
    Counted,
    /// One in about so many was seen.
    Sampled {
        /// Faults per sample, on average.
        one_in: u64,
    },
}

/// Page faults of one site so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultSite {
    /// Faults; see `how`.
    pub faults: u64,
    /// The faults as pages. Memory that is new to the process as a rule, but not always: a write to
    /// a page that was shared (after fork, or of a private file) is a fault too. And it may be more
    /// than this: a fault maps up to 16 pages of a file that are cached already (`fault_around_bytes`),
    /// and 512 where the kernel gives a huge page.
    pub page_bytes: u64,
    /// How `faults` was had.
    pub how: FaultsHow,
    /// Seen faults that it rests on.
    pub samples: u64,
    /// The address touched last, to look up what lies there ([`kind_at`]).
    pub last_address: u64,
}

/// Mapping calls of one site so far; all counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappingSite {
    /// What the site does.
    pub operation: GrowthOperation,
    /// To what.
    pub kind: GrowthKind,
    /// Calls that succeeded.
    pub calls: u64,
    /// Bytes mapped, unmapped or given back, in whole pages.
    pub bytes: u64,
    /// Of what it mapped, unmapped since, as far as that is known: ranges cut out of the middle of a
    /// mapping are not, nor is a heap that shrinks.
    pub released_bytes: u64,
}

impl MappingSite {
    /// Bytes mapped and not known to be unmapped; none for sites that map nothing.
    pub fn net_bytes(&self) -> Option<u64> {
        let maps = self.operation == GrowthOperation::Map;
        maps.then(|| self.bytes.saturating_sub(self.released_bytes))
    }
}

/// Exact sums over all sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappingTotal {
    /// What was done.
    pub operation: GrowthOperation,
    /// To what.
    pub kind: GrowthKind,
    /// Calls that succeeded.
    pub calls: u64,
    /// Bytes in whole pages.
    pub bytes: u64,
}

/// All of growth at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct GrowthSample {
    /// By site hash; empty while faults are not sampled.
    pub fault_sites: HashMap<u64, FaultSite>,
    /// By site hash; empty while mapping calls are not counted.
    pub mapping_sites: HashMap<u64, MappingSite>,
    /// Of mapping calls, exact.
    pub mapping_totals: Vec<MappingTotal>,
    /// All page faults of all threads, counted; none where that is not known.
    pub faults_counted: Option<u64>,
    /// Of these, what the samples don't stand for: threads that ended between two samples.
    pub faults_unsampled: Option<u64>,
    /// Threads that may not be sampled.
    pub unsure_threads: u64,
    /// Losses by reason.
    pub lost: Vec<(Lost, u64)>,
}

impl GrowthSample {
    /// Interprets a readout; `origins` are the origins of its sites.
    pub fn new(readout: &GrowthReadout, origins: &HashMap<u64, GrowthOrigin>) -> Self {
        let mut sample = Self {
            fault_sites: HashMap::new(),
            mapping_sites: HashMap::new(),
            mapping_totals: Vec::new(),
            faults_counted: readout.faults.and_then(|faults| faults.counted),
            faults_unsampled: None,
            unsure_threads: readout.faults.map_or(0, |faults: PageFaults| faults.unsure_threads),
            lost: readout.lost.clone(),
        };
        for read in &readout.sites {
            // A site that came after the origins were read is there the next time.
            let Some(origin) = origins.get(&read.site) else { continue };
            if origin.operation == GrowthOperation::Fault {
                sample.fault_sites.insert(read.site, fault_site(&read.counters));
            } else {
                sample.mapping_sites.insert(read.site, mapping_site(origin, &read.counters));
            }
        }
        for (operation, kind, total) in &readout.totals {
            let (operation, kind, calls, bytes) = (*operation, *kind, total.calls, total.amount);
            if operation == GrowthOperation::Fault {
                let counted = sample.faults_counted;
                sample.faults_unsampled = counted.map(|counted| counted.saturating_sub(bytes));
            } else {
                sample.mapping_totals.push(MappingTotal { operation, kind, calls, bytes });
            }
        }
        sample
    }

    /// Whether `site` only stands for what happened where the site is not known.
    pub fn is_overflow(site: u64) -> bool {
        GrowthOperation::ALL.into_iter().any(|operation| growth_overflow_site(operation) == site)
    }
}

fn fault_site(counters: &GrowthCounters) -> FaultSite {
    let (samples, faults) = (counters.calls, counters.amount);
    let how = match samples {
        1.. if faults > samples => FaultsHow::Sampled { one_in: faults.div_ceil(samples) },
        _ => FaultsHow::Counted,
    };
    let page_bytes = faults.saturating_mul(PAGE_BYTES);
    FaultSite { faults, page_bytes, how, samples, last_address: counters.last_address }
}

const fn mapping_site(origin: &GrowthOrigin, counters: &GrowthCounters) -> MappingSite {
    MappingSite {
        operation: origin.operation,
        kind: origin.kind,
        calls: counters.calls,
        bytes: counters.amount,
        released_bytes: counters.released_bytes,
    }
}

/// What kind of memory lies at `address` now, by the list of mappings in the order of addresses;
/// none where nothing does. A thread's stack that libc allocated is anonymous memory there.
pub fn kind_at(maps: &[MemoryMap], address: u64) -> Option<GrowthKind> {
    let at = maps.partition_point(|map| map.address.1 <= address);
    let map = maps.get(at).filter(|map| map.address.0 <= address)?;
    Some(match &map.pathname {
        MMapPath::Heap => GrowthKind::Heap,
        MMapPath::Stack | MMapPath::TStack(_) => GrowthKind::Stack,
        // As the kernel calls shared memory of no file.
        MMapPath::Path(path) if path.starts_with("/dev/zero") => GrowthKind::Shared,
        MMapPath::Path(_) => GrowthKind::File,
        MMapPath::Vsys(_) => GrowthKind::Shared,
        _ => GrowthKind::Anon,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use leaktrace_common::{GrowthCounters, GrowthKind, GrowthOperation, GrowthTotal};
    use procfs::process::Process;

    use super::{FaultsHow, GrowthSample, kind_at};
    use crate::bpf::{GrowthOrigin, GrowthReadout, GrowthSiteReadout, PageFaults};

    fn origin(operation: GrowthOperation, kind: GrowthKind) -> GrowthOrigin {
        GrowthOrigin { operation, kind, pcs: vec![1], caller_from_top: false }
    }

    fn site(site: u64, calls: u64, amount: u64, released_bytes: u64) -> GrowthSiteReadout {
        let counters = GrowthCounters { calls, amount, released_bytes, last_address: 7 };
        GrowthSiteReadout { site, counters }
    }

    fn sample() -> GrowthSample {
        let (fault, map) = (GrowthOperation::Fault, GrowthOperation::Map);
        let origins = HashMap::from([
            (1, origin(fault, GrowthKind::Unknown)),
            (3, origin(fault, GrowthKind::Unknown)),
            (5, origin(map, GrowthKind::Anon)),
            (7, origin(GrowthOperation::Unmap, GrowthKind::Anon)),
        ]);
        let total = |calls, amount| GrowthTotal { calls, amount };
        GrowthSample::new(
            &GrowthReadout {
                sites: vec![
                    site(1, 10, 610, 0),
                    site(3, 4, 4, 0),
                    site(5, 2, 16384, 4096),
                    site(7, 1, 4096, 0),
                    site(9, 1, 1, 0),
                ],
                totals: vec![
                    (fault, GrowthKind::Unknown, total(14, 614)),
                    (map, GrowthKind::Anon, total(2, 16384)),
                ],
                faults: Some(PageFaults { counted: Some(620), period: 61, unsure_threads: 0 }),
                lost: Vec::new(),
            },
            &origins,
        )
    }

    #[test]
    fn faults_say_how_they_were_had() {
        let sample = sample();
        assert_eq!(sample.fault_sites[&1].how, FaultsHow::Sampled { one_in: 61 });
        assert_eq!(sample.fault_sites[&1].page_bytes, 610 * 4096);
        assert_eq!(sample.fault_sites[&3].how, FaultsHow::Counted);
        assert_eq!((sample.faults_counted, sample.faults_unsampled), (Some(620), Some(6)));
    }

    #[test]
    fn only_what_maps_has_a_net() {
        let sample = sample();
        assert_eq!(sample.mapping_sites[&5].net_bytes(), Some(12288));
        assert_eq!(sample.mapping_sites[&7].net_bytes(), None);
        assert_eq!(sample.mapping_totals.len(), 1);
        assert!(!sample.mapping_sites.contains_key(&9), "without an origin it is not known what");
    }

    #[test]
    fn sites_of_the_unknown_are_told_apart() {
        assert!([0, 2, 4, 6].into_iter().all(GrowthSample::is_overflow));
        assert!(!GrowthSample::is_overflow(1));
    }

    #[test]
    fn kinds_are_those_of_this_process() {
        let maps = Process::myself().unwrap().maps().unwrap().0;
        let local = 0u8;
        let code = kinds_are_those_of_this_process as *const () as u64;
        assert_eq!(kind_at(&maps, code), Some(GrowthKind::File));
        assert_eq!(kind_at(&maps, &raw const local as u64), Some(GrowthKind::Anon));
        assert_eq!(kind_at(&maps, 0), None);
    }
}
