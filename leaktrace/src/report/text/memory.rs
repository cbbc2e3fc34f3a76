//! The resident memory: its slope, what it is used for and what grew, and the node's.

use super::{BOLD, DIM, bullet, ledger::ledger, line, size, tail};
use crate::{
    display::bytes,
    ledger::Group,
    report::{MemorySection, Report},
};

/// Mappings that are shown, if they grew by more than [`SHOWN_BYTES`].
const MAPPINGS_MAX: usize = 3;
const SHOWN_BYTES: i64 = 256 << 10;

/// Appends the section.
pub fn section(out: &mut String, report: &Report) {
    slope(out, report);
    node(out, report);
    if let Some(memory) = &report.memory {
        ledger(out, &memory.ledger);
        growth(out, memory);
    }
    out.push('\n');
}

fn slope(out: &mut String, report: &Report) {
    let rss = &report.rss;
    let slope = match (rss.anon_slope_bytes_per_s, rss.anon_slope_interval) {
        (Some(slope), Some([low, high])) => {
            format!("{}/s ({} to {})", bytes(slope), bytes(low), bytes(high))
        }
        _ => "unknown".to_owned(),
    };
    let (first, last) = (size(rss.anon_first_bytes), size(rss.anon_last_bytes));
    line(out, &format!("  {BOLD}MEMORY{BOLD:#}  anonymous RSS {first} -> {last}, slope {slope}"));
    if let Some(floor) = report.verdict.floor_bytes_per_s {
        line(
            out,
            &format!("          growth below {}/s would not show in this window", bytes(floor)),
        );
    }
    let explained = [
        ("the leaking sites", rss.explained_by_sites),
        ("the heap profile", rss.explained_by_heap),
    ];
    for (what, share) in explained {
        if let Some(share) = share {
            line(out, &format!("          {what} and room for garbage explain {share} of it"));
        }
    }
}

fn node(out: &mut String, report: &Report) {
    let rss = &report.rss;
    let count = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |v| v.to_string());
    line(
        out,
        &format!(
            "          RSS {} -> {}, threads {} -> {}{}",
            size(rss.first_bytes),
            size(rss.last_bytes),
            count(rss.threads_first),
            count(rss.threads_last),
            files(report),
        ),
    );
    let available = size(report.node.mem_available_last_bytes);
    let total = size(report.node.mem_total_bytes);
    line(out, &format!("          the node has {available} available of {total}"));
}

/// How many files were open, at both ends.
fn files(report: &Report) -> String {
    let ends = report.memory.as_ref().map(|memory| &memory.files);
    match ends {
        Some([Some(first), Some(last)]) => format!(", files {} -> {}", first.count, last.count),
        _ => String::new(),
    }
}

/// What grew, in one word and by mapping.
fn growth(out: &mut String, memory: &MemorySection) {
    let growth = &memory.growth;
    let grew = bytes(growth.rss_grew_bytes as f64);
    let answer = match (growth.answer, growth.answer_ratio) {
        (Group::None, _) | (_, None) => "nothing grew to speak of".to_owned(),
        (group, Some(ratio)) => format!("{:.0} % of what grew is {}", ratio * 100.0, group.label()),
    };
    let lines =
        growth.lines.iter().filter(|line| line.grew_bytes >= SHOWN_BYTES).take(MAPPINGS_MAX);
    let lines: Vec<_> = lines
        .map(|line| format!("{} +{}", line.what.label(), bytes(line.grew_bytes as f64)))
        .collect();
    let lines = if lines.is_empty() { String::new() } else { format!(": {}", lines.join(", ")) };
    bullet(out, "+", &format!("RSS grew by {grew}; {answer}{lines}"));
    let mappings = memory.mappings.iter().filter(|mapping| mapping.rss_grew_bytes >= SHOWN_BYTES);
    for mapping in mappings.take(MAPPINGS_MAX) {
        let name = mapping.name.as_deref().map_or_else(String::new, |name| format!(" {name}"));
        let more = match mapping.more_mappings {
            0 => String::new(),
            more => format!(" in {more:+} mappings"),
        };
        let what = format!("{}{}", mapping.kind.label(), tail(&name, 60));
        let text = format!("          +{}{more}  {what}", bytes(mapping.rss_grew_bytes as f64));
        line(out, &format!("{DIM}{text}{DIM:#}"));
    }
}
