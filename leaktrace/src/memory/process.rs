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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use procfs::process::Process;

    use super::ProcessMemory;
    use crate::memory::ReadMemory as _;

    /// SAFE-1: what was opened can't be written to.
    #[test]
    fn memory_is_opened_for_reading_only() {
        let myself = Process::myself().unwrap();
        let memory = ProcessMemory::open(&myself).unwrap();
        let path = format!("/proc/self/fdinfo/{}", memory.0.as_raw_fd());
        let info = std::fs::read_to_string(path).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let access = i32::from_str_radix(flags, 8).unwrap() & libc::O_ACCMODE;
        assert_eq!(access, libc::O_RDONLY, "{info}");
    }

    #[test]
    fn a_read_ends_where_the_mapping_ends() {
        let value = 0x1eaf_u64;
        let memory = ProcessMemory::open(&Process::myself().unwrap()).unwrap();
        let mut buffer = [0; 8];
        let address = std::ptr::from_ref(&value) as u64;
        assert_eq!(memory.read_at(address, &mut buffer).unwrap(), 8);
        assert_eq!(u64::from_le_bytes(buffer), value);
        assert_eq!(memory.read_at(0, &mut buffer).unwrap(), 0);
        assert_eq!(memory.read_at(u64::MAX - 3, &mut buffer).unwrap(), 0);
    }
}
