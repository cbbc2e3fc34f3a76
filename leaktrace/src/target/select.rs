//! From what the user typed to one pid; several matches are refused with the list.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use procfs::{ProcError, process::Process};

use crate::display::printable;

/// How the user names the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// By process id.
    Pid(i32),
    /// By command name, as in `/proc/PID/comm` (at most 15 bytes).
    Comm(String),
    /// By executable.
    Exe(PathBuf),
    /// By systemd unit, through the cgroup of that name.
    Unit(String),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "--pid {pid}"),
            Self::Comm(comm) => write!(f, "--comm {comm}"),
            Self::Exe(exe) => write!(f, "--exe {}", exe.display()),
            Self::Unit(unit) => write!(f, "--unit {unit}"),
        }
    }
}

/// One of several matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Process id.
    pub pid: i32,
    /// Command line, shortened.
    pub command: String,
}

/// Why there is no target.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// Nothing matches.
    #[error("no process matches {selector}{hint}")]
    NotFound {
        /// What was asked for.
        selector: Selector,
        /// The way out.
        hint: &'static str,
    },
    /// Too much matches.
    #[error("{} processes match {selector}; choose one with --pid:{}", .candidates.len(), list(.candidates))]
    Ambiguous {
        /// What was asked for.
        selector: Selector,
        /// What was found, by pid.
        candidates: Vec<Candidate>,
    },
    /// A kernel thread has no executable and no memory of its own.
    #[error("pid {0} is a kernel thread: it has no memory of its own to trace")]
    KernelThread(i32),
    /// Pids in `/proc` mean other processes than pids in system calls.
    #[error(
        "/proc belongs to another pid namespace: run leaktrace in the host's (nsenter -t 1 -p -m, \
         or hostPID in a pod)"
    )]
    ForeignProc,
    /// `/proc` can't be read.
    #[error("can't read /proc: {0}")]
    Proc(#[from] ProcError),
}

fn list(candidates: &[Candidate]) -> String {
    let line = |candidate: &Candidate| format!("\n  {:>8}  {}", candidate.pid, candidate.command);
    candidates.iter().map(line).collect()
}

/// The process that `selector` means.
///
/// # Errors
/// None or several match, or `/proc` can't be read.
pub fn select(selector: &Selector) -> Result<Process, SelectError> {
    if Process::myself()?.pid() != std::process::id() as i32 {
        return Err(SelectError::ForeignProc);
    }
    let mut found = match selector {
        Selector::Pid(pid) => by_pid(*pid)?.into_iter().collect(),
        Selector::Comm(comm) => matching(|process| {
            process.stat().is_ok_and(|stat| stat.comm == *comm || truncated(comm) == stat.comm)
        })?,
        Selector::Exe(exe) => {
            let wanted = exe.canonicalize().unwrap_or_else(|_| exe.clone());
            matching(|process| process.exe().is_ok_and(|path| same_path(&path, &wanted)))?
        }
        Selector::Unit(unit) => matching(|process| in_unit(process, unit))?,
    };
    found.sort_by_key(Process::pid);
    match found.len() {
        0 => Err(SelectError::NotFound { selector: selector.clone(), hint: hint(selector) }),
        1 => Ok(found.remove(0)),
        _ => Err(SelectError::Ambiguous {
            selector: selector.clone(),
            candidates: found.iter().map(candidate).collect(),
        }),
    }
}

const fn hint(selector: &Selector) -> &'static str {
    match selector {
        Selector::Pid(_) => ": it does not exist, or has ended",
        Selector::Comm(_) => ": see `ps -e -o pid,comm` for the names",
        Selector::Exe(_) => ": see `ls -l /proc/PID/exe` for a process's executable",
        Selector::Unit(_) => ": see `systemctl status UNIT`; the name includes .service",
    }
}

fn by_pid(pid: i32) -> Result<Option<Process>, SelectError> {
    let process = match Process::new(pid) {
        Ok(process) => process,
        Err(ProcError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match process.stat() {
        Ok(stat) if stat.state == 'Z' => Ok(None),
        Ok(stat) if stat.vsize == 0 => Err(SelectError::KernelThread(pid)),
        Ok(_) => Ok(Some(process)),
        Err(ProcError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// All user processes but this one for which `matches` says so. One that vanishes meanwhile
/// does not match.
fn matching(matches: impl Fn(&Process) -> bool) -> Result<Vec<Process>, SelectError> {
    let own = std::process::id() as i32;
    let user = |process: &Process| {
        process.pid() != own && process.stat().is_ok_and(|s| s.vsize > 0 && s.state != 'Z')
    };
    let all = procfs::process::all_processes()?.filter_map(Result::ok);
    Ok(all.filter(|process| user(process) && matches(process)).collect())
}

/// The kernel keeps 15 bytes of a command name.
fn truncated(comm: &str) -> &str {
    comm.get(..15).unwrap_or(comm)
}

/// The link of a deleted or replaced executable ends in " (deleted)".
fn same_path(link: &Path, wanted: &Path) -> bool {
    let text = link.to_string_lossy();
    Path::new(text.strip_suffix(" (deleted)").unwrap_or(&text)) == wanted
}

/// Whether one of the process's cgroups is the unit's, or below it.
fn in_unit(process: &Process, unit: &str) -> bool {
    process.cgroups().is_ok_and(|groups| {
        groups.into_iter().any(|group| group.pathname.split('/').any(|part| part == unit))
    })
}

fn candidate(process: &Process) -> Candidate {
    const COMMAND_CHARS: usize = 70;
    let command = process.cmdline().unwrap_or_default().join(" ");
    let shown: String = command.chars().take(COMMAND_CHARS).collect();
    Candidate { pid: process.pid(), command: printable(shown.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, SelectError, Selector, same_path, select, truncated};
    use std::path::Path;

    #[test]
    fn a_deleted_executable_still_matches_its_path() {
        assert!(same_path(Path::new("/usr/bin/kubelet (deleted)"), Path::new("/usr/bin/kubelet")));
        assert!(!same_path(Path::new("/usr/bin/kubelet2"), Path::new("/usr/bin/kubelet")));
    }

    #[test]
    fn long_names_match_what_the_kernel_keeps() {
        assert_eq!(truncated("kube-controller-manager"), "kube-controller");
        assert_eq!(truncated("kubelet"), "kubelet");
    }

    #[test]
    fn several_matches_are_listed_with_the_way_out() {
        let candidates = [(7, "kubelet -v 2"), (812, "kubelet")]
            .map(|(pid, command)| Candidate { pid, command: command.to_owned() });
        let selector = Selector::Comm("kubelet".to_owned());
        let error = SelectError::Ambiguous { selector, candidates: candidates.to_vec() };
        assert_eq!(
            error.to_string(),
            "2 processes match --comm kubelet; choose one with --pid:\
             \n         7  kubelet -v 2\n       812  kubelet"
        );
    }

    #[test]
    fn a_pid_that_does_not_exist_is_named() {
        let error = select(&Selector::Pid(0x3fff_fff0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no process matches --pid 1073741808: it does not exist, or has ended"
        );
    }
}
