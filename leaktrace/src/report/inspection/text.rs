//! The page of an inspection, and of what changed, for a terminal of 100 columns.

use std::fmt::Write as _;

use super::{Changes, GoroutineSection, HeapSection, HoldersSection, Inspection, diff::Change};
use crate::{
    binary::Frame,
    display::{bytes, seconds},
    memory::RuntimeCounters,
    report::text::{BOLD, COLUMNS, DIM, bullet, ledger::ledger, line, placed, short, tail, wrap},
};

/// Rows of each kind on the page; files have more.
const ROWS: usize = 8;
/// Callers shown with a heap site.
const CALLERS: usize = 2;
/// Changes of each kind that are shown.
const CHANGES: usize = 12;

/// The page.
pub fn render_inspection(inspection: &Inspection) -> String {
    let mut out = String::new();
    header(&mut out, inspection);
    memory(&mut out, inspection);
    if let Some(heap) = &inspection.heap {
        heap_page(&mut out, heap);
    }
    if let Some(goroutines) = &inspection.goroutines {
        goroutine_page(&mut out, goroutines);
    }
    if let Some(holders) = &inspection.holders {
        holder_page(&mut out, holders);
    }
    for missing in &inspection.unavailable {
        bullet(&mut out, "!", &format!("{} unavailable: {}", missing.what, missing.why));
    }
    let own = inspection
        .own_rss_peak_bytes
        .map_or_else(String::new, |peak| format!(", {} of own memory at most", bytes(peak as f64)));
    line(
        &mut out,
        &format!("{DIM}read in {:.2} s without stopping anything{own}{DIM:#}", inspection.took_s),
    );
    out
}

fn header(out: &mut String, inspection: &Inspection) {
    let target = &inspection.target;
    let mut head = format!("{}  pid {}", target.comm, target.pid);
    for version in [&target.version, &target.go_version].into_iter().flatten() {
        let _ = write!(head, "  {version}");
    }
    if let Some(uptime_s) = target.uptime_s {
        let _ = write!(head, "  up {}", seconds(uptime_s as f64));
    }
    line(out, &format!("{BOLD}{head}{BOLD:#}"));
    line(out, &format!("{DIM}{}  {}{DIM:#}\n", tail(&target.exe, 60), inspection.taken));
}

fn memory(out: &mut String, inspection: &Inspection) {
    let amount = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |v| bytes(v as f64));
    let (rss, anon) = (amount(inspection.rss_bytes), amount(inspection.rss_anon_bytes));
    line(out, &format!("  {BOLD}MEMORY{BOLD:#}  resident {rss}, of it anonymous {anon}"));
    if let Some(runtime) = &inspection.runtime {
        split(out, runtime);
    }
    if let Some(lines) = &inspection.ledger {
        ledger(out, lines);
    }
    out.push('\n');
}

fn split(out: &mut String, runtime: &RuntimeCounters) {
    let new = runtime.heap_live_bytes.saturating_sub(runtime.heap_marked_bytes);
    let unswept = runtime.heap_in_use_bytes.saturating_sub(runtime.heap_live_bytes);
    let parts = [
        ("live", runtime.heap_marked_bytes),
        ("new or garbage", new),
        ("holes", unswept),
        ("free", runtime.heap_free_bytes),
        ("stacks", runtime.stacks_bytes),
        ("runtime", runtime.runtime_bytes),
    ];
    let parts: Vec<_> =
        parts.iter().map(|(what, amount)| format!("{what} {}", bytes(*amount as f64))).collect();
    wrap(
        out,
        "    Go:",
        &format!("{}; given back {}", parts.join(", "), bytes(runtime.heap_released_bytes as f64)),
    );
    let gogc = match runtime.gc_percent {
        percent if percent < 0 => "off".to_owned(),
        percent => percent.to_string(),
    };
    let limit = runtime.memory_limit_bytes.map_or_else(|| "none".to_owned(), |b| bytes(b as f64));
    let cycles =
        format!("{} collections, {} of them forced", runtime.gc_cycles, runtime.gc_cycles_forced);
    let goal = bytes(runtime.next_gc_bytes as f64);
    wrap(
        out,
        "    GC:",
        &format!(
            "{cycles}; the next ends at {goal}; GOGC {gogc}, GOMEMLIMIT {limit}, GOMAXPROCS {}",
            runtime.processors
        ),
    );
}

fn heap_page(out: &mut String, heap: &HeapSection) {
    if heap.rate_bytes == 0 {
        wrap(
            out,
            &format!("  {BOLD}HEAP{BOLD:#} "),
            "this program keeps no heap profile (the linker leaves it out where nothing can ask for it)",
        );
        out.push('\n');
        return;
    }
    let (in_use, rate) = (bytes(heap.in_use.bytes as f64), bytes(heap.rate_bytes as f64));
    let sites = heap.sites_total;
    line(
        out,
        &format!(
            "  {BOLD}HEAP{BOLD:#}  {in_use} in use from {sites} call chains, estimated from one sample per {rate}"
        ),
    );
    for row in heap.sites.iter().take(ROWS).filter(|row| row.in_use.bytes > 0) {
        let amount =
            format!("{:>10}  {} objects", bytes(row.in_use.bytes as f64), row.in_use.objects);
        site(out, &format!("{amount:<30}"), &row.frames);
    }
    out.push('\n');
}

/// The innermost frame behind `head`, and some callers below it.
fn site(out: &mut String, head: &str, frames: &[Frame]) {
    let shown = |frame: &Frame| format!("{}:{}", frame.file, frame.line);
    let Some((first, callers)) = frames.split_first() else {
        return line(out, &format!("{head}  (unknown)"));
    };
    placed(
        out,
        BOLD,
        &format!("{head}  {}", short(&first.function)),
        &tail(&shown(first), COLUMNS / 2),
    );
    let callers = callers.iter().filter(|frame| !frame.function.starts_with("runtime."));
    for caller in callers.take(CALLERS) {
        let text = format!(
            "{:>12}called by {}  {}",
            "",
            short(&caller.function),
            tail(&shown(caller), COLUMNS / 2)
        );
        line(out, &format!("{DIM}{text}{DIM:#}"));
    }
}

fn goroutine_page(out: &mut String, section: &GoroutineSection) {
    let (total, groups) = (section.total, section.groups_total);
    line(out, &format!("  {BOLD}GOROUTINES{BOLD:#}  {total} in {groups} groups"));
    let states = section.states.iter().map(|row| format!("{} {}", row.state, row.count));
    wrap(out, "   ", &states.take(ROWS).collect::<Vec<_>>().join(", "));
    for row in section.groups.iter().take(ROWS) {
        let waits = row
            .longest_wait_s
            .map_or_else(String::new, |s| format!(", up to {}", seconds(s as f64)));
        let head = format!("{:>10}  {}{waits}", row.count, row.state);
        let mut frames = row.frames.iter().filter(|frame| !frame.function.starts_with("runtime."));
        let place = frames.next().unwrap_or(&row.start);
        site(out, &format!("{head:<30}"), std::slice::from_ref(place));
        if let Some(creator) = &row.creator {
            let place = tail(&format!("{}:{}", creator.file, creator.line), COLUMNS / 2);
            let text = format!("{:>12}made by {}  {place}", "", short(&creator.function));
            line(out, &format!("{DIM}{text}{DIM:#}"));
        }
        if let Some(advice) = row.advice.first().filter(|advice| !advice.usual) {
            let text = format!("looks like {}: {}", advice.family, advice.check);
            wrap(out, "            ", &text);
        }
    }
    out.push('\n');
}

fn holder_page(out: &mut String, section: &HoldersSection) {
    let seen = section.seen_ratio * 100.0;
    line(
        out,
        &format!(
            "  {BOLD}CONTEXTS THAT HOLD OTHERS{BOLD:#}  {} found in {seen:.0} % of the heap",
            section.found
        ),
    );
    // Nearly every context that was ever derived from has one.
    for row in section.top.iter().take(ROWS).filter(|row| row.children > 1) {
        line(
            out,
            &format!(
                "{:>10}  children of the {} at {:#x}",
                row.children, row.type_name, row.address
            ),
        );
        if let (true, Some(looked_at), Some(lost)) =
            (row.forgets(), row.looked_at, row.cancel_func_lost)
        {
            let text = format!(
                "the program has lost the cancel functions of {lost} of {looked_at} that were looked \
                 at: only the end of this one can still end these"
            );
            wrap(out, "            ", &text);
        }
    }
    out.push('\n');
}

/// What changed.
pub fn render_changes(changes: &Changes) -> String {
    let mut out = String::new();
    let process = if changes.same_process { "the same process" } else { "another start" };
    line(&mut out, &format!("{BOLD}since {}{BOLD:#}  {process}", changes.from));
    let amounts = [("resident", changes.rss_bytes), ("live heap", changes.heap_marked_bytes)];
    for (what, amount) in amounts.iter().filter_map(|(what, amount)| Some((what, (*amount)?))) {
        line(&mut out, &format!("{:>12}  {what}", signed_bytes(amount)));
    }
    if let Some(goroutines) = changes.goroutines {
        line(&mut out, &format!("{goroutines:>+12}  goroutines"));
    }
    let count = |amount| format!("{amount:+}");
    change_list(&mut out, "HEAP", &changes.heap_sites, signed_bytes);
    change_list(&mut out, "GOROUTINES", &changes.goroutine_groups, count);
    change_list(&mut out, "CONTEXTS THAT HOLD OTHERS", &changes.holders, count);
    out
}

fn change_list(out: &mut String, name: &str, list: &[Change], show: impl Fn(i64) -> String) {
    if !list.is_empty() {
        line(out, &format!("\n  {BOLD}{name}{BOLD:#}"));
    }
    for change in list.iter().take(CHANGES) {
        wrap(out, &format!("{:>12} ", show(change.change)), &change.place);
    }
}

fn signed_bytes(amount: i64) -> String {
    format!("{}{}", if amount > 0 { "+" } else { "" }, bytes(amount as f64))
}
