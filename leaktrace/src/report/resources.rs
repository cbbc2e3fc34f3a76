//! What procfs says of the target and the node: series in, sections of the report out.

use super::schema::{Node, Rss};
use crate::{
    history::History,
    snapshot::{OomSample, ProcessSample, RollupSample},
    verdict::RssGrowth,
};

/// The target's memory, and the shape of its growth.
pub fn rss(
    history: &History,
    growth: Option<RssGrowth>,
    [first_rollup, last_rollup]: [Option<RollupSample>; 2],
) -> Rss {
    let ends = |value: fn(&ProcessSample) -> Option<u64>| {
        let mut read = history.points().iter().filter_map(|point| value(&point.process));
        let first = read.next();
        (first, read.next_back().or(first))
    };
    let within = |(first, last): (Option<u64>, Option<u64>)| Some(last?.saturating_sub(first?));
    let (first_bytes, last_bytes) = ends(|p| p.rss_bytes);
    let (anon_first_bytes, anon_last_bytes) = ends(|p| p.rss_anon_bytes);
    let (vm_data_first_bytes, vm_data_last_bytes) = ends(|p| p.vm_data_bytes);
    let (threads_first, threads_last) = ends(|p| p.threads);
    let cpu_ticks = within(ends(|p| p.cpu_ticks));
    let wall_ticks = history.duration_s() * procfs::ticks_per_second() as f64;
    Rss {
        how: "read from /proc/PID/status, stat and smaps_rollup",
        first_bytes,
        last_bytes,
        anon_first_bytes,
        anon_last_bytes,
        anon_slope_bytes_per_s: growth.map(|growth| growth.slope.per_s),
        anon_slope_interval: growth.map(|growth| [growth.slope.low, growth.slope.high]),
        anon_shape: growth.map(|growth| growth.shape.word()),
        explained_by_sites: None,
        explained_by_heap: None,
        heap_headroom: None,
        file_last_bytes: ends(|p| p.rss_file_bytes).1,
        vm_data_first_bytes,
        vm_data_last_bytes,
        rollup_anon_first_bytes: first_rollup.map(|rollup| rollup.anonymous_bytes),
        rollup_anon_last_bytes: last_rollup.map(|rollup| rollup.anonymous_bytes),
        pss_last_bytes: last_rollup.map(|rollup| rollup.pss_bytes),
        swap_last_bytes: last_rollup.map(|rollup| rollup.swap_bytes),
        threads_first,
        threads_last,
        minor_faults: within(ends(|p| p.minor_faults)),
        major_faults: within(ends(|p| p.major_faults)),
        cpu_ratio: cpu_ticks.filter(|_| wall_ticks > 0.0).map(|ticks| ticks as f64 / wall_ticks),
    }
}

/// The node's memory.
pub fn node(history: &History, oom: OomSample) -> Node {
    let (first, last) = (history.points().first(), history.points().last());
    Node {
        last: last.map(|point| point.node.clone()),
        cgroup: last.and_then(|point| point.cgroup.clone()),
        oom,
        mem_total_bytes: last.and_then(|point| point.node.capacity_bytes),
        mem_available_first_bytes: first.and_then(|point| point.node.available_bytes),
        mem_available_last_bytes: last.and_then(|point| point.node.available_bytes),
    }
}
