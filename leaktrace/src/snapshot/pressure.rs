//! Pressure stall information: a pressure file in, the share of time lost to it out.
//!
//! Non-goals: CPU and I/O pressure.

use procfs::{FromBufRead as _, MemoryPressure, PressureRecord};
use serde::{Deserialize, Serialize};

/// The node's file (Documentation/accounting/psi.rst); a cgroup's has the same lines.
const NODE: &str = "/proc/pressure/memory";

/// Memory pressure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PressureSample {
    /// At least one task waited for memory.
    pub some: Stall,
    /// All tasks that were not idle waited at once.
    pub full: Stall,
}

/// How long something waited.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stall {
    /// Share of the last 10 s; 1 is all of it.
    pub avg10_ratio: f64,
    /// Share of the last 60 s.
    pub avg60_ratio: f64,
    /// Share of the last 300 s.
    pub avg300_ratio: f64,
    /// Since the start, in microseconds.
    pub total_us: u64,
}

impl PressureSample {
    /// Reads the node's pressure; kernels before 4.20, or without CONFIG_PSI, have none.
    pub fn read_node() -> Option<Self> {
        Self::parse(&std::fs::read(NODE).ok()?)
    }

    /// From the text of a pressure file.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let MemoryPressure { some, full } = MemoryPressure::from_buf_read(text).ok()?;
        Some(Self { some: stall(&some)?, full: stall(&full)? })
    }
}

/// The kernel shows percent.
fn stall(record: &PressureRecord) -> Option<Stall> {
    let ratio = |percent: f32| percent.is_finite().then(|| f64::from(percent) / 100.0);
    Some(Stall {
        avg10_ratio: ratio(record.avg10)?,
        avg60_ratio: ratio(record.avg60)?,
        avg300_ratio: ratio(record.avg300)?,
        total_us: record.total,
    })
}

#[cfg(test)]
mod tests {
    use super::PressureSample;

    #[test]
    fn both_lines_are_read_as_ratios() {
        let text = b"some avg10=4.50 avg60=0.91 avg300=0.25 total=681245\n\
                     full avg10=2.10 avg60=0.12 avg300=0.00 total=391926\n";
        let found = PressureSample::parse(text).unwrap();
        assert!((found.some.avg10_ratio - 0.045).abs() < 1e-6, "{found:?}");
        assert!((found.full.avg60_ratio - 0.0012).abs() < 1e-6, "{found:?}");
        assert_eq!((found.some.total_us, found.full.total_us), (681_245, 391_926));
    }

    #[test]
    fn anything_else_is_absent() {
        let broken: [&[u8]; 6] = [
            b"",
            b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            b"some avg10=NaN avg60=0.00 avg300=0.00 total=0\nfull avg10=0 avg60=0 avg300=0 total=0",
            b"some avg10=1\nfull avg10=1\n",
            b"\xff\xfe\n\xff",
            b"some\nfull\n",
        ];
        for text in broken {
            assert_eq!(PressureSample::parse(text), None, "{}", String::from_utf8_lossy(text));
        }
    }
}
