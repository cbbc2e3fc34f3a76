//! What changed between two looks: per site, also when the process was started again in between.
//!
//! Sites are matched by their functions, files and lines: addresses differ between two starts.

use std::{cmp::Reverse, collections::HashMap};

use serde::Serialize;

use super::{GoroutineRow, Inspection};
use crate::binary::Frame;

/// What changed, largest growth first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changes {
    /// When the earlier look was taken, RFC 3339.
    pub from: String,
    /// When the later one was.
    pub to: String,
    /// The same process, not started again in between.
    pub same_process: bool,
    /// Resident memory.
    pub rss_bytes: Option<i64>,
    /// Live objects that the last collection found.
    pub heap_marked_bytes: Option<i64>,
    /// Goroutines.
    pub goroutines: Option<i64>,
    /// Heap sites whose bytes in use changed.
    pub heap_sites: Vec<Change>,
    /// Groups of goroutines whose number changed.
    pub goroutine_groups: Vec<Change>,
    /// Contexts whose number of children changed; only in the same process.
    pub holders: Vec<Change>,
}

/// What changed at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Bytes, goroutines or children.
    pub change: i64,
    /// The same by the later look.
    pub now: u64,
    /// Where.
    pub place: String,
}

/// Compares two looks.
pub fn changes(old: &Inspection, new: &Inspection) -> Changes {
    let same_process = old.target.pid == new.target.pid
        && old.target.start_time == new.target.start_time
        && old.target.build_id == new.target.build_id;
    let heap = |look: &Inspection| {
        let rows = look.heap.iter().flat_map(|heap| &heap.sites);
        sum(rows.map(|row| (chain(&row.frames), row.in_use.bytes)))
    };
    let goroutines = |look: &Inspection| {
        let rows = look.goroutines.iter().flat_map(|section| &section.groups);
        sum(rows.map(|row| (group(row), row.count)))
    };
    let holders = |look: &Inspection| {
        let rows = look.holders.iter().flat_map(|section| &section.top);
        sum(rows.map(|row| (format!("{} at {:#x}", row.type_name, row.address), row.children)))
    };
    let holder_changes =
        if same_process { compared(&holders(old), &holders(new)) } else { Vec::new() };
    Changes {
        from: old.taken.clone(),
        to: new.taken.clone(),
        same_process,
        rss_bytes: difference(old.rss_bytes, new.rss_bytes),
        heap_marked_bytes: difference(
            old.runtime.map(|counters| counters.heap_marked_bytes),
            new.runtime.map(|counters| counters.heap_marked_bytes),
        ),
        goroutines: difference(
            old.goroutines.as_ref().map(|section| section.total),
            new.goroutines.as_ref().map(|section| section.total),
        ),
        heap_sites: compared(&heap(old), &heap(new)),
        goroutine_groups: compared(&goroutines(old), &goroutines(new)),
        holders: holder_changes,
    }
}

fn sum(rows: impl Iterator<Item = (String, u64)>) -> HashMap<String, u64> {
    let mut sums = HashMap::new();
    for (place, amount) in rows {
        let sum: &mut u64 = sums.entry(place).or_default();
        *sum = sum.saturating_add(amount);
    }
    sums
}

/// A chain in one line: the place first, then its callers.
fn chain(frames: &[Frame]) -> String {
    let places = frames.iter().map(|f| format!("{} {}:{}", f.function, f.file, f.line));
    places.collect::<Vec<_>>().join(" < ")
}

fn group(row: &GoroutineRow) -> String {
    let creator = row.creator.as_ref().map_or_else(String::new, |frame| {
        format!(", made by {} {}:{}", frame.function, frame.file, frame.line)
    });
    format!("[{}] {}{creator}", row.state, chain(&row.frames))
}

fn difference(old: Option<u64>, new: Option<u64>) -> Option<i64> {
    Some(change(old?, new?))
}

/// Bounded, as an earlier look is a file that anybody may have written.
fn change(old: u64, new: u64) -> i64 {
    new.checked_signed_diff(old).unwrap_or(if new > old { i64::MAX } else { i64::MIN })
}

fn compared(old: &HashMap<String, u64>, new: &HashMap<String, u64>) -> Vec<Change> {
    let places = new.keys().chain(old.keys().filter(|place| !new.contains_key(*place)));
    let at = |place: &String| {
        let [before, now] = [old, new].map(|side| side.get(place).copied().unwrap_or(0));
        Change { change: change(before, now), now, place: place.clone() }
    };
    let mut changes: Vec<_> = places.map(at).filter(|change| change.change != 0).collect();
    changes
        .sort_unstable_by(|a, b| (Reverse(a.change), &a.place).cmp(&(Reverse(b.change), &b.place)));
    changes
}
