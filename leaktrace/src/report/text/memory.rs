//! The resident memory, and the node's.

use super::{BOLD, line, size};
use crate::{display::bytes, report::Report};

/// Appends the section.
pub fn section(out: &mut String, report: &Report) {
    let rss = &report.rss;
    let count = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |v| v.to_string());
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
    line(
        out,
        &format!(
            "          RSS {} -> {}, threads {} -> {}, node has {} available of {}",
            size(rss.first_bytes),
            size(rss.last_bytes),
            count(rss.threads_first),
            count(rss.threads_last),
            size(report.node.mem_available_last_bytes),
            size(report.node.mem_total_bytes),
        ),
    );
}
