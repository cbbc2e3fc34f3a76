//! Growth by call chain: page faults and mapping calls by site in, rows with names out.
//!
//! A page fault is what makes memory resident: its call chain is the code that touched a page first.
//! A mapping call takes or gives back addresses. Non-goals: what of it is still resident.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use leaktrace_common::{GrowthKind, GrowthOperation};
use serde::Serialize;

use crate::{
    binary::Frame,
    bpf::GrowthOrigin,
    snapshot::{FaultsHow, GrowthSample, MappingTotal},
    symbolize::Symbolizer,
};

/// Sites of each kind in the report: those with most bytes.
const ROWS_MAX: usize = 50;

/// Growth by call chain.
#[derive(Debug, Clone, Serialize)]
pub struct GrowthSection {
    /// All page faults of the target in the window, counted; null where they were not.
    pub faults: Option<u64>,
    /// Of these, those that no sample stands for.
    pub faults_unsampled: Option<u64>,
    /// Threads whose faults may be missing.
    pub unsure_threads: u64,
    /// Code that touched pages first, most pages first.
    pub fault_sites: Vec<FaultRow>,
    /// Bytes that mmap, and mremap that grew, took; null when mapping calls were not counted.
    pub mmap_bytes: Option<u64>,
    /// Bytes that munmap, and mremap that shrank, gave back.
    pub munmap_bytes: Option<u64>,
    /// Bytes by which brk moved the heap's end up.
    pub brk_bytes: Option<u64>,
    /// Bytes whose pages madvise gave back.
    pub discarded_bytes: Option<u64>,
    /// Code that maps and unmaps, what it keeps first.
    pub mapping_sites: Vec<MappingRow>,
    /// Losses by reason.
    pub lost: BTreeMap<String, u64>,
}

/// Code that touched pages first.
#[derive(Debug, Clone, Serialize)]
pub struct FaultRow {
    /// Hash of the call chain.
    pub id: String,
    /// The call chain, innermost first; the first frame is where the page was touched.
    pub frames: Vec<Frame>,
    /// Page faults.
    pub faults: u64,
    /// The same as bytes of pages.
    pub bytes: u64,
    /// Share of all faults that were seen.
    pub ratio: f64,
    /// counted, or sampled with the ratio.
    pub how: String,
    /// What lies where it touched last.
    pub kind: Option<&'static str>,
}

/// Code that maps or unmaps.
#[derive(Debug, Clone, Serialize)]
pub struct MappingRow {
    /// Hash of the call chain.
    pub id: String,
    /// The call chain, innermost first.
    pub frames: Vec<Frame>,
    /// map, unmap or discard.
    pub operation: &'static str,
    /// Of what.
    pub kind: &'static str,
    /// Calls that succeeded.
    pub calls: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of what it mapped, what is not known to be unmapped again.
    pub net_bytes: Option<u64>,
}

/// What a section is made from.
#[derive(Debug, Clone, Copy)]
pub struct GrowthInputs<'a> {
    /// Figures by site.
    pub sample: &'a GrowthSample,
    /// Where the sites are.
    pub origins: &'a HashMap<u64, GrowthOrigin>,
    /// What lies where the faults of a site touched last.
    pub kinds: &'a HashMap<u64, GrowthKind>,
    /// Mapping calls were counted.
    pub mappings_counted: bool,
}

/// Names the sites.
pub fn growth_section(inputs: &GrowthInputs<'_>, symbolizer: &mut Symbolizer<'_>) -> GrowthSection {
    let sample = inputs.sample;
    let sum = |wanted: &dyn Fn(&MappingTotal) -> bool| {
        let sum =
            sample.mapping_totals.iter().filter(|total| wanted(total)).map(|total| total.bytes);
        inputs.mappings_counted.then(|| sum.sum())
    };
    let heap = |total: &MappingTotal| total.kind == GrowthKind::Heap;
    use GrowthOperation::{Discard, Map, Unmap};
    GrowthSection {
        faults: sample.faults_counted,
        faults_unsampled: sample.faults_unsampled,
        unsure_threads: sample.unsure_threads,
        fault_sites: fault_rows(inputs, symbolizer),
        mmap_bytes: sum(&|total| total.operation == Map && !heap(total)),
        munmap_bytes: sum(&|total| total.operation == Unmap && !heap(total)),
        brk_bytes: sum(&|total| total.operation == Map && heap(total)),
        discarded_bytes: sum(&|total| total.operation == Discard),
        mapping_sites: mapping_rows(inputs, symbolizer),
        lost: sample.lost.iter().map(|(why, count)| (why.name().to_owned(), *count)).collect(),
    }
}

fn fault_rows(inputs: &GrowthInputs<'_>, symbolizer: &mut Symbolizer<'_>) -> Vec<FaultRow> {
    let sites = &inputs.sample.fault_sites;
    let all: u64 = sites.values().map(|site| site.faults).sum();
    let mut largest: Vec<_> = sites.iter().collect();
    largest.sort_unstable_by_key(|(id, site)| (Reverse(site.faults), **id));
    largest.truncate(ROWS_MAX);
    let row = |(id, site): (&u64, &crate::snapshot::FaultSite)| FaultRow {
        id: format!("{id:016x}"),
        frames: frames(inputs, *id, symbolizer),
        faults: site.faults,
        bytes: site.page_bytes,
        ratio: site.faults as f64 / all.max(1) as f64,
        how: match site.how {
            FaultsHow::Counted => "counted".to_owned(),
            FaultsHow::Sampled { one_in } => format!("sampled, one in about {one_in}"),
        },
        kind: inputs.kinds.get(id).map(|kind| kind_name(*kind)),
    };
    largest.into_iter().map(row).collect()
}

fn mapping_rows(inputs: &GrowthInputs<'_>, symbolizer: &mut Symbolizer<'_>) -> Vec<MappingRow> {
    let mut largest: Vec<_> = inputs.sample.mapping_sites.iter().collect();
    largest.sort_unstable_by_key(|(id, site)| {
        (Reverse(site.net_bytes().unwrap_or(0)), Reverse(site.bytes), **id)
    });
    largest.truncate(ROWS_MAX);
    let row = |(id, site): (&u64, &crate::snapshot::MappingSite)| MappingRow {
        id: format!("{id:016x}"),
        frames: frames(inputs, *id, symbolizer),
        operation: match site.operation {
            GrowthOperation::Fault => "fault",
            GrowthOperation::Map => "map",
            GrowthOperation::Unmap => "unmap",
            GrowthOperation::Discard => "discard",
        },
        kind: kind_name(site.kind),
        calls: site.calls,
        bytes: site.bytes,
        net_bytes: site.net_bytes(),
    };
    largest.into_iter().map(row).collect()
}

/// The call chain of a site. A page fault has the address of the instruction itself where others
/// have that of the one behind their call.
fn frames(inputs: &GrowthInputs<'_>, site: u64, symbolizer: &mut Symbolizer<'_>) -> Vec<Frame> {
    let Some(origin) = inputs.origins.get(&site) else { return Vec::new() };
    let mut pcs = origin.pcs.clone();
    if let Some(first) = pcs.first_mut().filter(|_| origin.operation == GrowthOperation::Fault) {
        *first = first.wrapping_add(1);
    }
    symbolizer.frames(&pcs)
}

const fn kind_name(kind: GrowthKind) -> &'static str {
    match kind {
        GrowthKind::Unknown => "unknown",
        GrowthKind::Anon => "anonymous",
        GrowthKind::File => "file",
        GrowthKind::Shared => "shared memory",
        GrowthKind::Stack => "stack",
        GrowthKind::Heap => "brk heap",
        GrowthKind::Reserved => "reserved",
    }
}
