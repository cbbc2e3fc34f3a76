//! The files of one memory cgroup: texts in, plain values out.
//!
//! Non-goals: where the files are.

use super::{CgroupLevel, CgroupLimit, CgroupStat};
use crate::snapshot::PressureSample;

/// v1 has no word for "no limit": it shows the largest page counter, 2^63 rounded down to pages
/// (PAGE_COUNTER_MAX, include/linux/page_counter.h). Pages have up to 64 KiB.
const V1_UNLIMITED_BYTES: u64 = (1 << 63) - (1 << 16);

/// A v2 cgroup from its files, of which some may be missing.
pub fn level_v2(path: String, text: impl Fn(&str) -> Option<String>) -> CgroupLevel {
    let limit = |name: &str| text(name).and_then(|text| limit_v2(&text));
    let size = |name: &str| text(name).and_then(|text| number(&text));
    CgroupLevel {
        path,
        is_root: false,
        usage_bytes: size("memory.current"),
        max: limit("memory.max"),
        high: limit("memory.high"),
        swap_bytes: size("memory.swap.current"),
        swap_max: limit("memory.swap.max"),
        stat: text("memory.stat").map_or_else(CgroupStat::default, |text| stat_v2(&text)),
        oom_kills: text("memory.events").and_then(|text| keyed(&text, "oom_kill")),
        oom_kill_disabled: None,
        pressure: text("memory.pressure").and_then(|text| PressureSample::parse(text.as_bytes())),
    }
}

/// A v1 cgroup from its files, of which some may be missing.
pub fn level_v1(path: String, text: impl Fn(&str) -> Option<String>) -> CgroupLevel {
    let size = |name: &str| text(name).and_then(|text| number(&text));
    let oom_control = text("memory.oom_control");
    let oom = |key: &str| oom_control.as_deref().and_then(|text| keyed(text, key));
    let mut stat = text("memory.stat").map_or_else(CgroupStat::default, |text| stat_v1(&text));
    stat.kernel_bytes = size("memory.kmem.usage_in_bytes");
    CgroupLevel {
        path,
        is_root: false,
        usage_bytes: size("memory.usage_in_bytes"),
        max: size("memory.limit_in_bytes").map(limit_v1),
        high: None,
        swap_bytes: None,
        swap_max: None,
        stat,
        oom_kills: oom("oom_kill"),
        oom_kill_disabled: oom("oom_kill_disable").map(|flag| flag != 0),
        pressure: None,
    }
}

fn stat_v2(text: &str) -> CgroupStat {
    let bytes = |key: &str| keyed(text, key);
    CgroupStat {
        anon_bytes: bytes("anon"),
        file_bytes: bytes("file"),
        inactive_file_bytes: bytes("inactive_file"),
        active_file_bytes: bytes("active_file"),
        kernel_bytes: bytes("kernel"),
        slab_bytes: bytes("slab"),
        slab_reclaimable_bytes: bytes("slab_reclaimable"),
        sock_bytes: bytes("sock"),
        pagetables_bytes: bytes("pagetables"),
        hierarchical_limit: None,
    }
}

fn stat_v1(text: &str) -> CgroupStat {
    let bytes = |key: &str| keyed(text, key);
    CgroupStat {
        anon_bytes: bytes("total_rss"),
        file_bytes: bytes("total_cache"),
        inactive_file_bytes: bytes("total_inactive_file"),
        active_file_bytes: bytes("total_active_file"),
        hierarchical_limit: bytes("hierarchical_memory_limit").map(limit_v1),
        ..CgroupStat::default()
    }
}

fn limit_v1(bytes: u64) -> CgroupLimit {
    if bytes >= V1_UNLIMITED_BYTES { CgroupLimit::Unlimited } else { CgroupLimit::Bytes(bytes) }
}

fn limit_v2(text: &str) -> Option<CgroupLimit> {
    if text.trim() == "max" {
        return Some(CgroupLimit::Unlimited);
    }
    number(text).map(CgroupLimit::Bytes)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value of `key` in lines of `key value`.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(key)?.strip_prefix(' ')?))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
