//! What was read out of memory, named and grouped: profiles in, sections of an inspection out.

use super::{GoroutineRow, GoroutineSection, HeapRow, HeapSection, LabelRow, StateRow};
use crate::{
    memory::{
        HeapEstimate, HeapProfile, HeapReading,
        goroutines::{
            Creation, Goroutine, Goroutines, Group, LabelsId, NoStack, Stack, by_labels, by_state,
            group_by,
        },
    },
    symbolize::Symbolizer,
};

/// Call chains and groups that a section has, largest first: files stay small, and what is left
/// out is small too.
const ROWS_MAX: usize = 500;
const NS_PER_S: u64 = 1_000_000_000;

/// The heap as it is by now, unpublished counts included.
pub fn heap_section(heap: &HeapProfile, symbolizer: &mut Symbolizer<'_>) -> HeapSection {
    let groups = heap.groups(HeapReading::Current);
    let total = |pick: fn(&HeapRow) -> HeapEstimate, rows: &[HeapRow]| {
        rows.iter().map(pick).fold(HeapEstimate::default(), HeapEstimate::plus)
    };
    let bare: Vec<_> = groups
        .iter()
        .map(|group| HeapRow {
            in_use: group.in_use,
            allocated: group.allocated,
            frames: Vec::new(),
        })
        .collect();
    let mut section = HeapSection {
        rate_bytes: heap.rate_bytes,
        in_use: total(|row| row.in_use, &bare),
        allocated: total(|row| row.allocated, &bare),
        sites_total: groups.len() as u64,
        sites: bare,
        dropped: heap.dropped,
    };
    section.sites.truncate(ROWS_MAX);
    let pcs = groups.iter().take(ROWS_MAX).flat_map(|group| group.stack).copied();
    symbolizer.read_ahead(pcs.collect());
    for (row, group) in section.sites.iter_mut().zip(&groups) {
        let calls = symbolizer.allocation_calls(group.stack);
        row.frames = calls.into_iter().flat_map(|call| call.frames).collect();
    }
    section
}

/// The program's goroutines at `now_ns` of the monotonic clock.
pub fn goroutine_section(
    goroutines: &Goroutines,
    now_ns: u64,
    symbolizer: &mut Symbolizer<'_>,
) -> GoroutineSection {
    let own = symbolizer.own_goroutines(goroutines);
    let total = own.len() as u64;
    let states = by_state(own.iter().copied())
        .into_iter()
        .map(|group| StateRow { state: group.key.to_owned(), count: group.count });
    let states = states.collect();
    let labels = label_rows(&own, goroutines);
    let groups = group_by(own, |one| {
        let (creator_pc, start_pc) = (one.creator_pc, one.start_pc);
        (one.stack, Creation { creator_pc, start_pc }, one.state())
    });
    let groups_total = groups.len() as u64;
    let row = |group: Group<(Stack, Creation, &'static str)>| {
        let (stack, creation, state) = group.key;
        let lines = symbolizer.stack_lines(goroutines.stack_of(stack));
        let longest = group.oldest_since_ns.map(|since| now_ns.saturating_sub(since) / NS_PER_S);
        GoroutineRow {
            count: group.count,
            state: state.to_owned(),
            longest_wait_s: longest,
            creator: symbolizer.creator(creation.creator_pc),
            start: symbolizer.start_function(creation.start_pc),
            frames: lines.into_iter().map(|line| line.frame).collect(),
            incomplete: incomplete(stack).map(str::to_owned),
            sample_ids: group.sample_ids,
            advice: Vec::new(),
        }
    };
    let rows = groups.into_iter().take(ROWS_MAX).map(row).collect();
    let lost = goroutines.lost;
    GoroutineSection { total, groups_total, groups: rows, states, labels, lost }
}

fn label_rows(own: &[&Goroutine], goroutines: &Goroutines) -> Vec<LabelRow> {
    let groups = by_labels(own.iter().copied()).into_iter();
    let labelled = groups.filter(|group| group.key.is_some()).take(ROWS_MAX);
    let row = |group: Group<Option<LabelsId>>| LabelRow {
        labels: goroutines.labels(group.key).to_vec(),
        count: group.count,
    };
    labelled.map(row).collect()
}

/// Why a stack is missing, or not whole.
pub const fn incomplete(stack: Stack) -> Option<&'static str> {
    match stack {
        Stack::Known(_) => None,
        Stack::Cut(_) => Some("its outer end could not be read"),
        Stack::Unknown(why) => Some(NoStack::text(why)),
    }
}
