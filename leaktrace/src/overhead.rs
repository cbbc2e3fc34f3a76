//! What leaktrace costs: its own process, its kernel maps, and the target's probe hits.

use serde::Serialize;

use crate::snapshot::OwnSample;

/// Cost of one hit of a context probe: medians of `cargo xtask bench` (`probes`) were 0.94 to 1.21 µs
/// in a nested VM, where traps are dear; ordinary hardware is cheaper.
const CONTEXT_HIT_NS: f64 = 1000.0;
/// Cost of a sampled page fault with its call chain: 0.65 µs where every fault was sampled
/// (`cargo xtask bench`, `growth`), rounded up.
const FAULT_SAMPLE_NS: f64 = 1000.0;
/// Cost of a counted mapping call: 2 % of a CPU for 20,000 calls a second (`cargo xtask bench`,
/// `growth`).
const MAPPING_CALL_NS: f64 = 1000.0;

/// The costs of one trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overhead {
    /// Own CPU time per wall time of the window; 1 is one CPU. Read from `/proc/self/stat`.
    pub cpu_ratio: Option<f64>,
    /// Own resident size at the end of the trace. Read from `/proc/self/status`.
    pub rss_bytes: Option<u64>,
    /// Own highest resident size, for a moment while the programs are loaded.
    pub rss_peak_bytes: Option<u64>,
    /// Kernel memory of the BPF maps, as the kernel accounts it.
    pub map_bytes: u64,
    /// Runs of all programs in the target. Counted.
    pub probe_hits: u64,
    /// CPU time that these took from the target per wall time of the window; 1 is one CPU. The sum of
    /// `probes`.
    pub estimated_target_slowdown_ratio: f64,
    /// By what is probed; such as was not probed is missing.
    pub probes: Vec<ProbeCost>,
}

/// What one kind of probe costs the target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeCost {
    /// What is probed.
    pub what: &'static str,
    /// Runs of its programs. Counted.
    pub hits: u64,
    /// CPU time that they took from the target, in seconds.
    pub cost_s: f64,
    /// Where that comes from.
    pub how: &'static str,
}

impl ProbeCost {
    /// Of creations and releases of contexts.
    pub fn contexts(hits: u64) -> Self {
        Self::modelled("contexts", hits, CONTEXT_HIT_NS)
    }

    /// Of sampled page faults.
    pub fn faults(samples: u64) -> Self {
        Self::modelled("page faults", samples, FAULT_SAMPLE_NS)
    }

    /// Of counted mapping calls. What each system call of the node pays beside them is not in it.
    pub fn mappings(calls: u64) -> Self {
        Self::modelled("mapping calls", calls, MAPPING_CALL_NS)
    }

    /// Of starts and ends of goroutines, which took `cost_ns` together.
    pub fn goroutines(hits: u64, cost_ns: u64) -> Self {
        Self {
            what: "goroutines",
            hits,
            cost_s: cost_ns as f64 / 1e9,
            how: "hits x the cost of one, measured here at the start",
        }
    }

    fn modelled(what: &'static str, hits: u64, hit_ns: f64) -> Self {
        let cost_s = hits as f64 * hit_ns / 1e9;
        Self { what, hits, cost_s, how: "modelled: hits x 1 µs" }
    }
}

impl Overhead {
    /// The costs between two looks at our own process, `duration_s` apart.
    pub fn new(
        before: OwnSample,
        after: OwnSample,
        duration_s: f64,
        (map_bytes, probes): (u64, Vec<ProbeCost>),
    ) -> Self {
        let cpu_s = after.cpu_s.zip(before.cpu_s).map(|(after, before)| after - before);
        let per_wall = |seconds: f64| if duration_s > 0.0 { seconds / duration_s } else { 0.0 };
        Self {
            cpu_ratio: cpu_s.map(per_wall),
            rss_bytes: after.rss_bytes,
            rss_peak_bytes: after.rss_peak_bytes,
            map_bytes,
            probe_hits: probes.iter().map(|probe| probe.hits).sum(),
            estimated_target_slowdown_ratio: per_wall(
                probes.iter().map(|probe| probe.cost_s).sum(),
            ),
            probes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Overhead, ProbeCost};
    use crate::snapshot::OwnSample;

    #[test]
    fn ratios_are_per_wall_time() {
        let own = |cpu_s| OwnSample { cpu_s: Some(cpu_s), ..OwnSample::default() };
        let probes = vec![ProbeCost::contexts(500_000)];
        let overhead = Overhead::new(own(1.0), own(1.5), 50.0, (7, probes.clone()));
        assert_eq!(overhead.cpu_ratio, Some(0.01));
        assert!((overhead.estimated_target_slowdown_ratio - 0.01).abs() < 1e-12);
        let instant = Overhead::new(own(1.0), own(1.0), 0.0, (7, probes));
        assert_eq!(instant.estimated_target_slowdown_ratio, 0.0);
    }

    #[test]
    fn every_probe_counts_with_its_own_cost() {
        let probes = vec![
            ProbeCost::contexts(1_000_000),
            ProbeCost::goroutines(400_000, 600_000_000),
            ProbeCost::faults(300_000),
            ProbeCost::mappings(100_000),
        ];
        let own = OwnSample::default();
        let overhead = Overhead::new(own, own, 10.0, (0, probes));
        assert_eq!(overhead.probe_hits, 1_800_000);
        // 1.0 + 0.6 + 0.3 + 0.1 s in 10 s.
        assert!((overhead.estimated_target_slowdown_ratio - 0.2).abs() < 1e-12);
    }
}
