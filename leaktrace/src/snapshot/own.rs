//! leaktrace's own process: what it costs the node.

use procfs::process::Process;

/// leaktrace's own CPU time and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OwnSample {
    /// User and system CPU time since the start, in seconds.
    pub cpu_s: Option<f64>,
    /// Resident size (VmRSS).
    pub rss_bytes: Option<u64>,
    /// Highest resident size so far (VmHWM).
    pub rss_peak_bytes: Option<u64>,
}

impl OwnSample {
    /// Reads this process.
    pub fn read() -> Self {
        let Ok(myself) = Process::myself() else { return Self::default() };
        let ticks_per_s = procfs::ticks_per_second() as f64;
        let status = myself.status().ok();
        let bytes = |kib: Option<u64>| kib.map(|kib| kib * 1024);
        Self {
            cpu_s: myself.stat().ok().map(|stat| (stat.utime + stat.stime) as f64 / ticks_per_s),
            rss_bytes: bytes(status.as_ref().and_then(|status| status.vmrss)),
            rss_peak_bytes: bytes(status.as_ref().and_then(|status| status.vmhwm)),
        }
    }
}
