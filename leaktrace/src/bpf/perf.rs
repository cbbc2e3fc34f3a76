//! Perf events with a program: what aya opens can be neither read nor left disabled.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read as _},
    num::NonZeroU32,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _},
};

use perf_event_open_sys::{
    bindings::{
        PERF_COUNT_SW_PAGE_FAULTS, PERF_FLAG_FD_CLOEXEC, PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT,
        perf_event_attr,
    },
    ioctls, perf_event_open,
};

use super::BpfError;

/// Where the kernel tells the number of its uprobes.
const UPROBE_KIND: &str = "/sys/bus/event_source/devices/uprobe/type";

/// Whose threads inherit an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inherit {
    /// Threads that the thread makes (kernel 5.13 on).
    Threads,
    /// Processes that it makes, too.
    All,
}

/// An open event; closing it detaches its program.
#[derive(Debug)]
pub struct Event(File);

impl Event {
    /// Page faults of one thread and of those it makes from now on, one in `period`; disabled.
    pub fn page_faults(
        tid: i32,
        period: u64,
        inherit: Inherit,
        program: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        let mut attr = attr(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS.into());
        attr.__bindgen_anon_1.sample_period = period;
        attr.set_disabled(1);
        attr.set_inherit(1);
        attr.set_inherit_thread(u64::from(inherit == Inherit::Threads));
        Self::open(attr, tid, program)
    }

    /// Every hit of the tracepoint `id`, of whatever process.
    pub fn tracepoint(id: u64, program: BorrowedFd<'_>) -> io::Result<Self> {
        let mut attr = attr(PERF_TYPE_TRACEPOINT, id);
        // The program runs on all CPUs wherever the event is; it counts nothing itself.
        attr.set_disabled(1);
        Self::open(attr, 0, program)
    }

    /// Every run of the instruction at `file_offset` of the file `path`, by any thread of the
    /// process `pid`. Closing it takes the probe out of the process.
    pub fn uprobe(
        kind: u32,
        path: &CStr,
        file_offset: u64,
        pid: NonZeroU32,
        program: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        let mut attr = attr(kind, 0);
        attr.__bindgen_anon_3.config1 = path.as_ptr() as u64;
        attr.__bindgen_anon_4.config2 = file_offset;
        let tid = i32::try_from(pid.get()).map_err(io::Error::other)?;
        Self::open(attr, tid, program)
    }

    fn open(mut attr: perf_event_attr, tid: i32, program: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: `attr` is a whole perf_event_attr with its size in it.
        let fd = unsafe { perf_event_open(&mut attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC.into()) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor.
        let file = unsafe { File::from_raw_fd(fd) };
        // SAFETY: both descriptors are open.
        checked(unsafe { ioctls::SET_BPF(file.as_raw_fd(), program.as_raw_fd() as u32) })?;
        Ok(Self(file))
    }

    /// Lets it count, and all that inherited it.
    pub fn enable(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open.
        checked(unsafe { ioctls::ENABLE(self.0.as_raw_fd(), 0) })
    }

    /// The opposite.
    pub fn disable(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open.
        checked(unsafe { ioctls::DISABLE(self.0.as_raw_fd(), 0) })
    }

    /// How often it happened, with all that inherited it; exact whatever the period.
    pub fn count(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        (&self.0).read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

fn attr(kind: u32, config: u64) -> perf_event_attr {
    let size = size_of::<perf_event_attr>() as u32;
    perf_event_attr { type_: kind, size, config, ..perf_event_attr::default() }
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Why `what` can't be opened, with the way out.
pub fn refused(what: &str, error: &io::Error) -> BpfError {
    let way_out = match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => "; raise the limit of open files (ulimit -n)",
        Some(libc::EACCES | libc::EPERM) => "; run leaktrace as root (sudo)",
        _ => "",
    };
    BpfError::Unsupported(format!("can't open {what}: {error}{way_out}"))
}

/// The number of the kind of event that uprobes are (kernel 4.17 on).
pub fn uprobe_kind() -> io::Result<u32> {
    let text = std::fs::read_to_string(UPROBE_KIND)?;
    text.trim().parse().map_err(io::Error::other)
}
