//! The lines of a Go runtime, and anonymous memory, which it shares with whatever else is in the
//! process.
//!
//! Arenas are split page by page where memory and page map can be read, else by the counters.
//! Outside its arenas the runtime's structures have names on kernels that know names (Go 1.25 on);
//! elsewhere they lie among other anonymous memory: what malloc has mapped is told by its own
//! marks, and of the rest the runtime has as much as its counters admit.

use super::{How, Line, Part, signed};
use crate::{
    memory::{ArenaUse, Resident, RuntimeCounters},
    snapshot::{GoSample, MappingKind, ResidentSample},
};

/// The lines of `sample`'s Go runtime, if it has one, and of its anonymous memory.
pub(super) fn lines(sample: &ResidentSample) -> Vec<Line> {
    let anonymous = sample.mappings.of(&[MappingKind::Anonymous]).rss_bytes;
    let Some(go) = &sample.go else {
        return vec![Line { what: Part::Anonymous, bytes: signed(anonymous), how: How::Smaps }];
    };
    let arenas_rss = sample.mappings.of(&[MappingKind::GoArena]).rss_bytes;
    let mut lines = match &go.arenas {
        Some(arenas) => by_pages(arenas, &go.counters, arenas_rss),
        None => by_counters(&go.counters),
    };
    lines.extend(outside_arenas(sample, go, anonymous));
    lines
}

fn by_pages(arenas: &ArenaUse, counters: &RuntimeCounters, arenas_rss: u64) -> Vec<Line> {
    let all = arenas.resident();
    // Pages that are not exclusive are in RSS only if RSS has room for them.
    let room = arenas_rss.saturating_sub(all.exclusive_bytes);
    let ratio = (room as f64 / all.shared_bytes.max(1) as f64).min(1.0);
    let bytes = |part: Resident| part.counting_shared(ratio);
    let unswept = bytes(arenas.unswept);
    // What the collector found live and is in no swept span is in the others.
    let unswept_live =
        counters.heap_marked_bytes.saturating_sub(arenas.live_object_bytes).min(unswept);
    let figures = [
        (Part::GoLive, bytes(arenas.live).saturating_add(unswept_live)),
        (Part::GoGarbage, bytes(arenas.fresh).saturating_add(unswept - unswept_live)),
        (Part::GoGaps, bytes(arenas.gaps)),
        (Part::GoIdle, bytes(arenas.idle)),
        (Part::GoStacks, bytes(arenas.stacks)),
        (Part::GoRuntime, bytes(arenas.collector)),
    ];
    figures.map(|(what, bytes)| Line { what, bytes: signed(bytes), how: How::Pages }).to_vec()
}

/// Without the page map: what is mapped stands for what is resident.
fn by_counters(counters: &RuntimeCounters) -> Vec<Line> {
    let live = counters.heap_marked_bytes.min(counters.heap_live_bytes);
    let figures = [
        (Part::GoLive, live),
        (Part::GoGarbage, counters.heap_live_bytes - live),
        (Part::GoGaps, counters.heap_in_use_bytes.saturating_sub(counters.heap_live_bytes)),
        (Part::GoIdle, counters.heap_free_bytes),
        (Part::GoStacks, counters.stacks_bytes),
    ];
    figures.map(|(what, bytes)| Line { what, bytes: signed(bytes), how: How::Counters }).to_vec()
}

fn outside_arenas(sample: &ResidentSample, go: &GoSample, anonymous: u64) -> [Line; 3] {
    let named = sample.mappings.of(&[MappingKind::GoRuntime]).rss_bytes;
    let pieces = go.malloc.map_or(0, |malloc| malloc.resident.bytes()).min(anonymous);
    let collector = go.arenas.as_ref().map_or(0, |arenas| arenas.collector.bytes());
    let (runtime, how) = if named > 0 {
        (named, How::Smaps)
    } else {
        let most = go.counters.runtime_bytes.saturating_sub(collector);
        ((anonymous - pieces).min(most), How::SmapsAndCounters)
    };
    let unnamed = if named > 0 { 0 } else { runtime };
    let line = |what, bytes, how| Line { what, bytes: signed(bytes), how };
    [
        line(Part::GoRuntime, runtime, how),
        line(Part::MallocPieces, pieces, How::Pages),
        line(Part::Anonymous, anonymous - pieces - unnamed, how),
    ]
}
