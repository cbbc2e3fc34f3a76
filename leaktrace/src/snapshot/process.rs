//! The target's memory, threads, faults and CPU time.

use procfs::process::Process;

const KIB: u64 = 1024;

/// From `/proc/PID/status` and `/proc/PID/stat`; cheap, taken at every interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessSample {
    /// VmRSS.
    pub rss_bytes: Option<u64>,
    /// RssAnon: heap, stacks, everything not backed by a file.
    pub rss_anon_bytes: Option<u64>,
    /// RssFile.
    pub rss_file_bytes: Option<u64>,
    /// RssShmem.
    pub rss_shmem_bytes: Option<u64>,
    /// VmData: private writable address space, resident or not.
    pub vm_data_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Page faults that needed no I/O, since the process began.
    pub minor_faults: Option<u64>,
    /// Page faults that needed I/O, since the process began.
    pub major_faults: Option<u64>,
    /// User and system CPU time since the process began, in clock ticks.
    pub cpu_ticks: Option<u64>,
}

/// From `/proc/PID/smaps_rollup`: exact, but the kernel walks every page table for it, so it is
/// taken at the beginning and the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollupSample {
    /// Resident, exact.
    pub rss_bytes: u64,
    /// Proportional share of what is shared.
    pub pss_bytes: u64,
    /// Anonymous resident memory, exact.
    pub anonymous_bytes: u64,
    /// Swapped out.
    pub swap_bytes: u64,
}

impl ProcessSample {
    /// Reads `process`; of one that has ended nothing is known.
    pub fn read(process: &Process) -> Self {
        let mut sample = Self::default();
        if let Ok(status) = process.status() {
            let bytes = |kib: Option<u64>| kib.map(|kib| kib * KIB);
            sample.rss_bytes = bytes(status.vmrss);
            sample.rss_anon_bytes = bytes(status.rssanon);
            sample.rss_file_bytes = bytes(status.rssfile);
            sample.rss_shmem_bytes = bytes(status.rssshmem);
            sample.vm_data_bytes = bytes(status.vmdata);
            sample.threads = Some(status.threads);
        }
        if let Ok(stat) = process.stat() {
            sample.minor_faults = Some(stat.minflt);
            sample.major_faults = Some(stat.majflt);
            sample.cpu_ticks = Some(stat.utime + stat.stime);
        }
        sample
    }
}

impl RollupSample {
    /// Reads `process`, if the kernel (4.14 on) and the process's life allow.
    pub fn read(process: &Process) -> Option<Self> {
        let rollup = process.smaps_rollup().ok()?;
        let fields = &rollup.memory_map_rollup.0.first()?.extension.map;
        // procfs has already turned kB into bytes.
        let bytes = |name: &str| fields.get(name).copied();
        Some(Self {
            rss_bytes: bytes("Rss")?,
            pss_bytes: bytes("Pss")?,
            anonymous_bytes: bytes("Anonymous")?,
            swap_bytes: bytes("Swap").unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ProcessSample, RollupSample};
    use procfs::process::Process;

    /// The two sources must agree on the unit: a factor of 1024 would show.
    #[test]
    fn rollup_and_status_agree_about_this_process() {
        let myself = Process::myself().unwrap();
        let rollup = RollupSample::read(&myself).unwrap();
        let status = ProcessSample::read(&myself).rss_bytes.unwrap();
        let ratio = rollup.rss_bytes as f64 / status as f64;
        assert!((0.5..2.0).contains(&ratio), "smaps_rollup / status = {ratio}");
        assert!(rollup.anonymous_bytes <= rollup.rss_bytes);
    }
}
