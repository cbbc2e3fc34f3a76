//! A process's threads and open files: `/proc/PID/task` and `/proc/PID/fd` in, counts out.
//!
//! Since kernel 4.5 no mapping is named after its thread's stack, and `MAP_STACK` is not to be
//! seen: a stack is what a stack pointer points to. Non-goals: what the threads do.

use std::{collections::BTreeMap, io::Read as _, time::Duration};

use procfs::process::{FDTarget, Process};
use serde::{Deserialize, Serialize};

/// Threads and files that are looked at; a bound on time.
const THREADS_MAX: usize = 32_768;
const FILES_MAX: usize = 65_536;
/// A thread that runs has no stack pointer to show; it is asked again, a little later.
const ASKED_MAX: usize = 4;
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// Where the threads' stacks are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackPointers {
    /// By value.
    pub pointers: Vec<u64>,
    /// Threads that ran whenever they were asked, or could not be asked.
    pub unknown_threads: u64,
}

/// Open files by what they are, side evidence for memory that grows with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesSample {
    /// How many there are, by kind: `file`, `socket`, `pipe`, `memfd`, or the name of an
    /// `anon_inode` such as `eventfd`.
    pub kinds: BTreeMap<String, u64>,
    /// All that were looked at.
    pub count: u64,
    /// There are more.
    pub more: bool,
}

impl StackPointers {
    /// Asks the threads of `process` (`/proc/PID/task/TID/syscall`, fs/proc/base.c
    /// `proc_pid_syscall`).
    pub fn read(process: &Process) -> Self {
        let mut found = Self::default();
        let Ok(tasks) = process.tasks() else { return found };
        let mut left: Vec<_> = tasks.flatten().take(THREADS_MAX).map(|task| task.tid).collect();
        for round in 0..ASKED_MAX {
            if round > 0 && !left.is_empty() {
                std::thread::sleep(ASKED_AGAIN_AFTER);
            }
            left.retain(|tid| {
                let mut text = String::new();
                let file = process.open_relative(format!("task/{tid}/syscall")).ok();
                let read = file.and_then(|mut file| file.read_to_string(&mut text).ok());
                let pointer = read.and_then(|_| stack_pointer(&text));
                found.pointers.extend(pointer);
                pointer.is_none()
            });
        }
        found.unknown_threads = left.len() as u64;
        found.pointers.sort_unstable();
        found
    }
}

/// The last but one number: `nr args.. sp pc`, or `-1 sp pc` outside a system call. Threads of the
/// kernel have 0.
fn stack_pointer(syscall: &str) -> Option<u64> {
    let mut words = syscall.split_ascii_whitespace().rev();
    let (_pc, pointer) = (words.next()?, words.next()?);
    let pointer = u64::from_str_radix(pointer.strip_prefix("0x")?, 16).ok()?;
    (pointer != 0).then_some(pointer)
}

impl FilesSample {
    /// Reads `process`; none if we may not or it has ended.
    pub fn read(process: &Process) -> Option<Self> {
        let mut sample = Self::default();
        // One that was closed meanwhile is none.
        for file in process.fd().ok()?.flatten() {
            if sample.count == FILES_MAX as u64 {
                sample.more = true;
                break;
            }
            *sample.kinds.entry(kind(&file.target)).or_default() += 1;
            sample.count += 1;
        }
        Some(sample)
    }
}

/// What an open file is. Names of `anon_inode`s come from the kernel, and are few.
fn kind(target: &FDTarget) -> String {
    let kind = match target {
        FDTarget::Path(_) => "file",
        FDTarget::Socket(_) => "socket",
        FDTarget::Pipe(_) => "pipe",
        FDTarget::MemFD(_) => "memfd",
        FDTarget::AnonInode(name) => name,
        FDTarget::Net(_) | FDTarget::Other(..) | FDTarget::Unknown(..) => "other",
    };
    let is_letter = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    kind.chars().filter(is_letter).take(32).collect()
}

#[cfg(test)]
mod tests {
    use procfs::process::{FDTarget, Process};

    use super::{FilesSample, StackPointers, kind, stack_pointer};

    #[test]
    fn the_stack_pointer_is_the_last_but_one() {
        let waiting = "202 0x7f 0x80 0x0 0x0 0x0 0x0 0x7ffd12345678 0x7f01\n";
        assert_eq!(stack_pointer(waiting), Some(0x7ffd_1234_5678));
        assert_eq!(stack_pointer("-1 0x7ffd0000 0x7f01\n"), Some(0x7ffd_0000));
        assert_eq!(stack_pointer("running\n"), None);
        assert_eq!(stack_pointer("0 0x0 0x0\n"), None);
        assert_eq!(stack_pointer(""), None);
    }

    #[test]
    fn an_open_file_is_of_a_kind() {
        let kinds = [
            (FDTarget::Path("/tmp/socket:[".into()), "file"),
            (FDTarget::Pipe(1), "pipe"),
            (FDTarget::AnonInode("[eventpoll]".to_owned()), "eventpoll"),
            (FDTarget::AnonInode("\x1b[inotify".to_owned()), "inotify"),
            (FDTarget::Net(1), "other"),
        ];
        for (target, expected) in kinds {
            assert_eq!(kind(&target), expected);
        }
    }

    #[test]
    fn this_process_has_threads_and_files() {
        let myself = Process::myself().unwrap();
        let (reader, _writer) = std::io::pipe().unwrap();
        let files = FilesSample::read(&myself).unwrap();
        assert!(files.kinds["pipe"] >= 2 && !files.more, "{files:?} {reader:?}");
        let stacks = StackPointers::read(&myself);
        assert!(stacks.pointers.len() as u64 + stacks.unknown_threads >= 2, "{stacks:?}");
    }
}
