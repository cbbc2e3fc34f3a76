//! Can this process trace on this kernel? Each missing piece is one sentence with its way out.

use std::path::Path;

use super::BpfError;

/// Bit numbers of include/uapi/linux/capability.h.
const CAP_SYS_PTRACE: u64 = 19;
const CAP_SYS_ADMIN: u64 = 21;
const CAP_PERFMON: u64 = 38;
const CAP_BPF: u64 = 39;
/// The PMU through which uprobes are opened (kernel 4.17 on).
const UPROBE_PMU: &str = "/sys/bus/event_source/devices/uprobe/type";
/// perf and bpf rights as they are since 5.8; batch reads and ring buffers need no more.
const KERNEL_NEEDED: (u32, u32) = (5, 8);

/// Checks rights and kernel before anything is loaded.
///
/// # Errors
/// The first thing that is missing.
pub fn check() -> Result<(), BpfError> {
    let status = procfs::process::Process::myself()
        .and_then(|myself| myself.status())
        .map_err(|error| BpfError::Unsupported(format!("can't read /proc/self/status: {error}")))?;
    let has = |capability: u64| status.capeff & (1 << capability) != 0;
    let missing: Vec<_> = [
        ("CAP_BPF", has(CAP_BPF) || has(CAP_SYS_ADMIN)),
        ("CAP_PERFMON", has(CAP_PERFMON) || has(CAP_SYS_ADMIN)),
        ("CAP_SYS_PTRACE", has(CAP_SYS_PTRACE)),
    ]
    .into_iter()
    .filter_map(|(name, present)| (!present).then_some(name))
    .collect();
    if !missing.is_empty() {
        return Err(BpfError::Rights(missing.join(", ")));
    }
    let kernel = procfs::sys::kernel::Version::current().map_err(|error| {
        BpfError::Unsupported(format!("can't read the kernel version: {error}"))
    })?;
    if (u32::from(kernel.major), u32::from(kernel.minor)) < KERNEL_NEEDED {
        return Err(BpfError::Unsupported(format!(
            "kernel {}.{} is too old: 5.8 or newer is needed",
            kernel.major, kernel.minor
        )));
    }
    if !Path::new(UPROBE_PMU).exists() {
        return Err(BpfError::Unsupported(format!(
            "this kernel has no uprobes ({UPROBE_PMU} is missing): use one built with \
             CONFIG_UPROBE_EVENTS, and mount sysfs on /sys"
        )));
    }
    Ok(())
}
