//! What leaktrace costs: its own process, its kernel maps, and the target's probe hits.

use serde::Serialize;

use crate::snapshot::OwnSample;

/// Modelled cost of one probe hit: medians of `cargo xtask bench` were 0.94 to 1.21 µs in a nested
/// VM, where traps are dear; ordinary hardware is cheaper.
const PROBE_HIT_S: f64 = 1e-6;

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
    /// Probe hits. Counted.
    pub probe_hits: u64,
    /// CPU time the hits cost the target per wall time of the window; 1 is one CPU. Modelled:
    /// hits x 1 µs.
    pub estimated_target_slowdown_ratio: f64,
}

impl Overhead {
    /// The costs between two looks at our own process, `duration_s` apart.
    pub fn new(
        before: OwnSample,
        after: OwnSample,
        duration_s: f64,
        (map_bytes, probe_hits): (u64, u64),
    ) -> Self {
        let cpu_s = after.cpu_s.zip(before.cpu_s).map(|(after, before)| after - before);
        let per_wall = |seconds: f64| if duration_s > 0.0 { seconds / duration_s } else { 0.0 };
        Self {
            cpu_ratio: cpu_s.map(per_wall),
            rss_bytes: after.rss_bytes,
            rss_peak_bytes: after.rss_peak_bytes,
            map_bytes,
            probe_hits,
            estimated_target_slowdown_ratio: per_wall(probe_hits as f64 * PROBE_HIT_S),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Overhead;
    use crate::snapshot::OwnSample;

    #[test]
    fn ratios_are_per_wall_time() {
        let own = |cpu_s| OwnSample { cpu_s: Some(cpu_s), ..OwnSample::default() };
        let overhead = Overhead::new(own(1.0), own(1.5), 50.0, (7, 500_000));
        assert_eq!(overhead.cpu_ratio, Some(0.01));
        assert!((overhead.estimated_target_slowdown_ratio - 0.01).abs() < 1e-12);
        let instant = Overhead::new(own(1.0), own(1.0), 0.0, (7, 5));
        assert_eq!(instant.estimated_target_slowdown_ratio, 0.0);
    }
}
