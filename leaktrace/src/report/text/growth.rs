//! Growth by call chain.

use super::{BOLD, COLUMNS, DIM, head, line, short};
use crate::{
    binary::Frame,
    display::bytes,
    report::{FaultRow, GrowthSection, MappingRow, Report},
};

/// Sites of each kind that are shown.
const ROWS_MAX: usize = 5;
/// Frames of a call chain that are shown on one line.
const CHAIN_MAX: usize = 3;
/// What allocates and copies on behalf of others.
const RUNTIME: [&str; 2] = ["runtime.", "internal/runtime/"];

/// Appends the section, if growth was traced.
pub fn section(out: &mut String, report: &Report) {
    let Some(growth) = &report.growth else { return };
    let faults = growth.faults.map_or_else(|| "?".to_owned(), |faults| faults.to_string());
    line(
        out,
        &format!("  {BOLD}GROWTH{BOLD:#}  {faults} page faults, by the code that touched first"),
    );
    for row in growth.fault_sites.iter().take(ROWS_MAX) {
        line(out, &fault(row));
    }
    if growth.mmap_bytes.is_some() {
        mappings(out, growth);
    }
    out.push('\n');
}

fn fault(row: &FaultRow) -> String {
    let size = bytes(row.bytes as f64);
    let kind = row.kind.unwrap_or("unmapped since");
    let percent = row.ratio * 100.0;
    let figures = format!("  {size:>10} {percent:>4.0} %  {kind:<9}  ");
    format!("{figures}{}", chain(&row.frames, figures.len()))
}

fn mappings(out: &mut String, growth: &GrowthSection) {
    let size = |value: Option<u64>| bytes(value.unwrap_or(0) as f64);
    line(
        out,
        &format!(
            "{DIM}   mapped {}, unmapped {}, heap (brk) +{}, given back {}; what is kept, by call:{DIM:#}",
            size(growth.mmap_bytes),
            size(growth.munmap_bytes),
            size(growth.brk_bytes),
            size(growth.discarded_bytes),
        ),
    );
    let keeps = |row: &&MappingRow| row.net_bytes.is_some_and(|bytes| bytes > 0);
    for row in growth.mapping_sites.iter().filter(keeps).take(ROWS_MAX) {
        let kept = bytes(row.net_bytes.unwrap_or(0) as f64);
        let (calls, kind) = (row.calls, row.kind);
        let figures = format!("  {kept:>10} {calls:>6} calls  {kind:<9}  ");
        line(out, &format!("{figures}{}", chain(&row.frames, figures.len())));
    }
}

/// The innermost functions that are not a runtime's own, behind so many columns.
fn chain(frames: &[Frame], columns: usize) -> String {
    let is_runtime = |frame: &&Frame| RUNTIME.iter().any(|own| frame.function.starts_with(own));
    let user = frames.iter().skip_while(is_runtime);
    let shown: Vec<_> = user.take(CHAIN_MAX).collect();
    let shown = if shown.is_empty() { frames.iter().take(CHAIN_MAX).collect() } else { shown };
    let name = |(index, frame): (usize, &&Frame)| match (index, frame.line) {
        (0, 1..) => {
            let file = frame.file.rsplit('/').next().unwrap_or_default();
            format!("{} {file}:{}", short(&frame.function), frame.line)
        }
        _ => short(&frame.function).to_owned(),
    };
    let names: Vec<_> = shown.iter().enumerate().map(name).collect();
    head(&names.join(" < "), COLUMNS - columns)
}
