//! The node's memory.

use procfs::{Current as _, Meminfo};

/// From `/proc/meminfo`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostSample {
    /// MemTotal.
    pub mem_total_bytes: Option<u64>,
    /// MemAvailable.
    pub mem_available_bytes: Option<u64>,
}

impl HostSample {
    /// Reads the node's figures.
    pub fn read() -> Self {
        // procfs has already turned kB into bytes.
        Meminfo::current().map_or_else(
            |_| Self::default(),
            |info| Self {
                mem_total_bytes: Some(info.mem_total),
                mem_available_bytes: info.mem_available,
            },
        )
    }
}
