//! Which process exactly: pid, start time, executable inode and build id (IDENT-1).

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use procfs::{CurrentSI as _, ProcError, process::Process};

/// What tells this process from every other, also from a later one with the same pid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Process (thread group) id.
    pub pid: i32,
    /// Start time in clock ticks since boot, `/proc/PID/stat` field 22.
    pub start_ticks: u64,
    /// Device and inode of the executable.
    pub exe_inode: (u64, u64),
    /// Bottom of the main stack, `/proc/PID/stat` field 28: another one after every `execve`,
    /// also of the same file.
    pub stack_start: u64,
    /// Command name.
    pub comm: String,
    /// Path of the executable as the kernel shows it.
    pub exe: PathBuf,
    /// systemd unit, if the process runs in one.
    pub unit: Option<String>,
    /// Its cgroup (v2, else the one of v1's memory controller).
    pub cgroup: Option<String>,
}

/// What became of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It has ended.
    Ended,
    /// It has executed a file, another or the same (`execve`): another epoch.
    Replaced,
}

impl Identity {
    /// Identifies `process`.
    ///
    /// # Errors
    /// It has ended, or its executable can't be looked at.
    pub fn of(process: &Process) -> Result<Self, ProcError> {
        let stat = process.stat()?;
        let cgroup = cgroup(process);
        Ok(Self {
            pid: process.pid(),
            start_ticks: stat.starttime,
            exe_inode: exe_inode(process.pid())?,
            stack_start: stat.startstack,
            comm: stat.comm,
            exe: process.exe()?,
            unit: cgroup.as_deref().and_then(unit).map(str::to_owned),
            cgroup,
        })
    }
}

/// Tells whether the target is still itself.
#[derive(Debug)]
pub struct Watch {
    process: Process,
    identity: Identity,
}

impl Watch {
    /// Watches the process identified as `identity`.
    pub const fn new(process: Process, identity: Identity) -> Self {
        Self { process, identity }
    }

    /// The process.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Who it was at the start.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When it began, by the wall clock, if the kernel's boot time is known.
    pub fn start_time(&self) -> Option<SystemTime> {
        let boot_s = procfs::KernelStats::current().ok()?.btime;
        let since_boot_s = self.identity.start_ticks as f64 / procfs::ticks_per_second() as f64;
        let since_epoch = Duration::try_from_secs_f64(boot_s as f64 + since_boot_s).ok()?;
        Some(SystemTime::UNIX_EPOCH + since_epoch)
    }

    /// What became of it. `Process` holds `/proc/PID` open, so a reused pid reads as ended.
    pub fn state(&self) -> State {
        match self.process.stat() {
            Ok(stat) if matches!(stat.state, 'Z' | 'X') => State::Ended,
            // On its way to its end it has let go of its memory (`do_task_stat`, fs/proc/array.c).
            Ok(stat) if stat.startstack == 0 && self.identity.stack_start != 0 => State::Ended,
            Ok(stat) if stat.startstack != self.identity.stack_start => State::Replaced,
            Ok(_) => match exe_inode(self.identity.pid) {
                Ok(inode) if inode != self.identity.exe_inode => State::Replaced,
                _ => State::Running,
            },
            Err(_) => State::Ended,
        }
    }
}

fn exe_inode(pid: i32) -> Result<(u64, u64), ProcError> {
    let path = PathBuf::from(format!("/proc/{pid}/exe"));
    let metadata = fs::metadata(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ProcError::NotFound(Some(path.clone())),
        std::io::ErrorKind::PermissionDenied => ProcError::PermissionDenied(Some(path.clone())),
        _ => ProcError::Io(error, Some(path.clone())),
    })?;
    Ok((metadata.dev(), metadata.ino()))
}

fn cgroup(process: &Process) -> Option<String> {
    let groups: Vec<_> = process.cgroups().ok()?.into_iter().collect();
    let v1_memory = groups.iter().find(|group| group.controllers.iter().any(|c| c == "memory"));
    let v2 = groups.iter().find(|group| group.hierarchy == 0);
    v2.or(v1_memory).map(|group| group.pathname.clone())
}

/// The innermost path component that is a service or scope.
fn unit(cgroup: &str) -> Option<&str> {
    cgroup.rsplit('/').find(|part| part.ends_with(".service") || part.ends_with(".scope"))
}

#[cfg(test)]
mod tests {
    use super::unit;

    #[test]
    fn the_unit_is_the_innermost_service_or_scope() {
        assert_eq!(unit("/system.slice/kubelet.service"), Some("kubelet.service"));
        assert_eq!(unit("/system.slice/containerd.service/sub"), Some("containerd.service"));
        assert_eq!(unit("/user.slice/session-2.scope"), Some("session-2.scope"));
        assert_eq!(unit("/"), None);
    }
}
