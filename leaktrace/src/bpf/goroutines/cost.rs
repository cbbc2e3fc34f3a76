//! What a probe hit costs here and now: measured on a function of our own.

use std::{ffi::CString, io, num::NonZeroU32, os::fd::BorrowedFd, time::Instant};

use procfs::process::Process;

use crate::bpf::perf::{self, Event};

/// Calls per measurement, and measurements; together some milliseconds.
const CALLS: u32 = 400;
const MEASUREMENTS: usize = 9;

/// What our programs take, relative to an empty one at the same instructions (the benchmark
/// `goroutines` measures it): only the empty one can be run here without counting anything.
const FULL_OVER_EMPTY: f64 = 1.3;

core::arch::global_asm!(
    // Begins with what the probes in Go code lie on.
    ".global leaktrace_calibration",
    ".type leaktrace_calibration, @function",
    "leaktrace_calibration:",
    "push rbp",
    "pop rbp",
    "ret",
    ".size leaktrace_calibration, . - leaktrace_calibration",
);

unsafe extern "C" {
    safe fn leaktrace_calibration();
}

/// Nanoseconds that a hit of our programs takes from the target.
///
/// # Errors
/// Our own executable can't be found in memory or probed.
pub fn hit_cost_ns(empty: BorrowedFd<'_>) -> io::Result<f64> {
    let address = leaktrace_calibration as *const () as u64;
    let own = NonZeroU32::new(std::process::id()).ok_or(io::ErrorKind::Unsupported)?;
    let path = CString::new("/proc/self/exe").map_err(io::Error::other)?;
    let without_ns = call_ns();
    let event = Event::uprobe(perf::uprobe_kind()?, &path, file_offset(address)?, own, empty)?;
    let with_ns = call_ns();
    // The kernel takes its time to close it.
    drop(event);
    Ok((with_ns - without_ns).max(1.0) * FULL_OVER_EMPTY)
}

/// The median of some measurements: others may want the CPU.
fn call_ns() -> f64 {
    let mut times = [0.0; MEASUREMENTS];
    for time in &mut times {
        let begin = Instant::now();
        (0..CALLS).for_each(|_| leaktrace_calibration());
        *time = begin.elapsed().as_nanos() as f64 / f64::from(CALLS);
    }
    times.sort_by(f64::total_cmp);
    times[MEASUREMENTS / 2]
}

/// Where the file that we run has the code at `address`.
fn file_offset(address: u64) -> io::Result<u64> {
    let maps = Process::myself().and_then(|own| own.maps()).map_err(io::Error::other)?;
    let holds =
        |map: &&procfs::process::MemoryMap| (map.address.0..map.address.1).contains(&address);
    let map = maps.iter().find(holds).ok_or(io::ErrorKind::NotFound)?;
    Ok(address - map.address.0 + map.offset)
}
