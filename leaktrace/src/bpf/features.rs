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

/// One thing that tracing needs of the kernel or of our rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// What is needed.
    pub what: &'static str,
    /// What was found, or what is missing with the way out.
    pub found: Result<String, String>,
}

/// Everything that tracing needs; loads and attaches nothing.
pub fn requirements() -> [Requirement; 3] {
    [
        Requirement { what: "rights", found: rights() },
        Requirement { what: "kernel", found: kernel() },
        Requirement { what: "uprobes", found: uprobes() },
    ]
}

/// Checks rights and kernel before anything is loaded.
///
/// # Errors
/// The first thing that is missing.
pub fn check() -> Result<(), BpfError> {
    let found = requirements().into_iter().try_for_each(|need| need.found.map(|_| ()));
    found.map_err(BpfError::Unsupported)
}

fn rights() -> Result<String, String> {
    let status = procfs::process::Process::myself()
        .and_then(|myself| myself.status())
        .map_err(|error| format!("can't read /proc/self/status: {error}"))?;
    let has = |capability: u64| status.capeff & (1 << capability) != 0;
    let missing: Vec<_> = [
        ("CAP_BPF", has(CAP_BPF) || has(CAP_SYS_ADMIN)),
        ("CAP_PERFMON", has(CAP_PERFMON) || has(CAP_SYS_ADMIN)),
        ("CAP_SYS_PTRACE", has(CAP_SYS_PTRACE)),
    ]
    .into_iter()
    .filter_map(|(name, present)| (!present).then_some(name))
    .collect();
    if missing.is_empty() {
        return Ok("CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE are there".to_owned());
    }
    let missing = missing.join(", ");
    Err(format!("missing {missing}: run leaktrace as root (sudo), or grant these capabilities"))
}

fn kernel() -> Result<String, String> {
    let kernel = procfs::sys::kernel::Version::current()
        .map_err(|error| format!("can't read the kernel version: {error}"))?;
    if (u32::from(kernel.major), u32::from(kernel.minor)) < KERNEL_NEEDED {
        let (major, minor) = (kernel.major, kernel.minor);
        return Err(format!("kernel {major}.{minor} is too old: 5.8 or newer is needed"));
    }
    Ok(format!("{}.{}.{}", kernel.major, kernel.minor, kernel.patch))
}

fn uprobes() -> Result<String, String> {
    if Path::new(UPROBE_PMU).exists() {
        return Ok("the uprobe PMU is there".to_owned());
    }
    Err(format!(
        "this kernel has no uprobes ({UPROBE_PMU} is missing): use one built with \
         CONFIG_UPROBE_EVENTS, and mount sysfs on /sys"
    ))
}
