//! The Go heap by call chain: what grows, and what only churns.

use super::{BOLD, DIM, line, short, tail};
use crate::{
    binary::Frame,
    display::bytes,
    report::{HeapTraffic, HeapTrafficSite, Report},
};

/// Call chains in the table.
const ROWS_MAX: usize = 5;

/// Appends the section, if there is a profile.
pub fn section(out: &mut String, report: &Report) {
    let Some(heap) = report.heap.as_ref() else { return };
    if heap.rate_bytes == 0 {
        line(out, "  HEAP    the program keeps no heap profile");
        return;
    }
    line(out, &format!("  {BOLD}HEAP{BOLD:#}    {}", summary(heap)));
    line(out, &format!("{DIM}     grows/s  allocates/s      in use{DIM:#}"));
    for site in heap.sites.iter().take(ROWS_MAX) {
        line(out, &row(site));
    }
    out.push('\n');
}

fn summary(heap: &HeapTraffic) -> String {
    let growth = match (heap.growth_bytes_per_s, heap.growth_interval) {
        (Some(growth), Some([low, high])) => {
            format!("grows by {}/s ({} to {})", bytes(growth), bytes(low), bytes(high))
        }
        _ => "growth unknown: too few collections".to_owned(),
    };
    let allocates = bytes(heap.alloc_bytes_per_s);
    format!("allocates {allocates}/s, {growth}; the runtime's sample")
}

fn row(site: &HeapTrafficSite) -> String {
    let growth = site.growth_bytes_per_s.map_or_else(|| "?".to_owned(), bytes);
    let (allocates, in_use) = (bytes(site.alloc_bytes_per_s), bytes(site.in_use_bytes as f64));
    let place = site.frames.first().map_or_else(|| "?".to_owned(), place);
    format!("  {growth:>10}  {allocates:>11}  {in_use:>10}  {}", tail(&place, 61))
}

fn place(frame: &Frame) -> String {
    let file = frame.file.rsplit('/').next().unwrap_or_default();
    format!("{}  {file}:{}", short(&frame.function), frame.line)
}
