//! The lines of a Go runtime, and anonymous memory, which it shares with whatever else is in the
//! process.
//!
//! Arenas are split page by page where memory and page map can be read, else by the counters.
//! Outside its arenas the runtime's structures have names on kernels that know names (Go 1.25 on);
//! elsewhere they lie among other anonymous memory: what malloc has mapped is told by its own
//! marks, and what more is mapped than the runtime's counters admit is not the runtime's.

use super::{How, Line, Part, signed};
use crate::{
    memory::{ARENA_INDEX_BYTES, ArenaUse, Resident, RuntimeCounters},
    snapshot::{Figures, GoSample, MappingKind, ResidentSample},
};

/// The lines of `sample`'s Go runtime, if it has one, and of its anonymous memory.
pub(super) fn lines(sample: &ResidentSample) -> Vec<Line> {
    let anonymous = sample.mappings.of(&[MappingKind::Anonymous]);
    let Some(go) = &sample.go else {
        let bytes = signed(anonymous.rss_bytes);
        return vec![Line { what: Part::Anonymous, bytes, how: How::Smaps }];
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

fn outside_arenas(sample: &ResidentSample, go: &GoSample, anonymous: Figures) -> [Line; 3] {
    let named = sample.mappings.of(&[MappingKind::GoRuntime]).rss_bytes;
    let pieces = go.malloc.unwrap_or_default();
    let pieces_rss = pieces.resident.bytes().min(anonymous.rss_bytes);
    let rest = Figures {
        rss_bytes: anonymous.rss_bytes - pieces_rss,
        mapped_bytes: anonymous.mapped_bytes.saturating_sub(pieces.mapped_bytes),
        ..Figures::default()
    };
    let (runtime, others, how) = if named > 0 {
        (named, rest.rss_bytes, How::Smaps)
    } else {
        let others = not_the_runtimes(go, rest);
        (rest.rss_bytes - others, others, How::SmapsAndCounters)
    };
    let line = |what, bytes, how| Line { what, bytes: signed(bytes), how };
    [
        line(Part::GoRuntime, runtime, how),
        line(Part::MallocPieces, pieces_rss, How::Pages),
        line(Part::Anonymous, others, how),
    ]
}

/// Resident bytes of `rest`, anonymous memory outside the arenas, that are not the runtime's.
///
/// The runtime counts what it maps, to the page, but for the index of its arenas; so what is mapped
/// beyond that is others', and taken to be in memory as a whole. Where that would be all there is,
/// others have set memory aside without touching it: then they have only what the runtime can't
/// have, since it has no more in memory than it has mapped.
fn not_the_runtimes(go: &GoSample, rest: Figures) -> u64 {
    let collector = go.arenas.as_ref().map_or(0, |arenas| arenas.collector.bytes());
    let counted = go.counters.runtime_bytes.saturating_sub(collector);
    let foreign = rest.mapped_bytes.saturating_sub(counted.saturating_add(ARENA_INDEX_BYTES));
    let least = rest.rss_bytes.saturating_sub(counted);
    if foreign < rest.rss_bytes { foreign.max(least) } else { least }
}
