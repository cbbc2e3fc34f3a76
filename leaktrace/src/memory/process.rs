//! The memory of a live process, read-only.

use std::{fs::File, io, os::unix::fs::FileExt};

use procfs::{ProcError, process::Process};

use super::{MemoryError, ReadMemory};

/// `/proc/PID/mem`, opened for reading: bound to this process, so that a pid which is given out
/// again is never read by mistake.
#[derive(Debug)]
pub struct ProcessMemory(File);

impl ProcessMemory {
    /// Opens the memory of `process`. This attaches to nothing and stops nothing.
    ///
    /// # Errors
    /// [`MemoryError::Closed`] with the way out: rights are missing, or the kernel is locked down.
    pub fn open(process: &Process) -> Result<Self, MemoryError> {
        process.mem().map(Self).map_err(|why| {
            MemoryError::Closed(match why {
                ProcError::PermissionDenied(_) => {
                    "permission denied: run leaktrace as root (CAP_SYS_PTRACE); where it is root, a \
                     security module (Yama ptrace_scope 3, lockdown, a container's profile) forbids it"
                        .to_owned()
                }
                ProcError::NotFound(_) => "the process has ended".to_owned(),
                other => other.to_string(),
            })
        })
    }
}

impl ReadMemory for ProcessMemory {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], address.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // EIO: nothing is mapped there; EINVAL: beyond what an offset can say.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL)) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}
