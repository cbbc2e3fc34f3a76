//! The numbers of tracepoints, also where tracefs is not mounted: a mount of our own that lies in
//! no folder shows them, and no mount namespace is changed.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

use crate::bpf::BpfError;

/// The calls that are counted, at their exits.
const CALLS: [&str; 5] = ["mmap", "munmap", "mremap", "brk", "madvise"];
/// Where tracefs is mounted, if it is.
const MOUNTED: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const ID_DIGITS_MAX: u64 = 20;

/// The numbers of the exits of [`CALLS`].
pub fn exit_ids() -> Result<Vec<u64>, BpfError> {
    let tracefs = open_tracefs().map_err(|error| unsupported(&error))?;
    let id = |call: &&str| read_id(&tracefs, call);
    CALLS.iter().map(id).collect::<io::Result<_>>().map_err(|error| unsupported(&error))
}

fn open_tracefs() -> io::Result<OwnedFd> {
    let has_events = |path: &&&str| Path::new(path).join("events/syscalls").is_dir();
    if let Some(mounted) = MOUNTED.iter().find(has_events) {
        return Ok(File::open(mounted)?.into());
    }
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn read_id(tracefs: &OwnedFd, call: &str) -> io::Result<u64> {
    let path = format!("events/syscalls/sys_exit_{call}/id");
    let file = openat(tracefs, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    File::from(file).take(ID_DIGITS_MAX + 1).read_to_string(&mut text)?;
    text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn unsupported(error: &io::Error) -> BpfError {
    BpfError::Unsupported(format!(
        "the tracepoints of mapping calls can't be found ({error}): run leaktrace as root (sudo), \
         on a kernel built with CONFIG_FTRACE_SYSCALLS"
    ))
}
