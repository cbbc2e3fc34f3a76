//! The probes in the target: put in and taken out as a whole.

use std::{
    ffi::CString,
    io,
    num::NonZeroU32,
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use crate::bpf::{
    BpfError,
    perf::{self, Event},
};

/// One program and where it runs.
#[derive(Debug)]
pub struct Place {
    /// The loaded program.
    pub program: OwnedFd,
    /// Where its instruction lies in the executable.
    pub file_offset: u64,
    /// The probed function.
    pub function: String,
}

/// All places in one process.
#[derive(Debug)]
pub struct Probes {
    pid: NonZeroU32,
    path: CString,
    kind: u32,
    places: Vec<Place>,
    events: Vec<Event>,
}

impl Probes {
    /// For the process `pid`, whose executable is reached by `path`; puts nothing in yet.
    pub fn new(pid: NonZeroU32, path: CString, places: Vec<Place>) -> Result<Self, BpfError> {
        let kind = perf::uprobe_kind().map_err(|error| perf::refused("uprobes", &error))?;
        Ok(Self { pid, path, kind, places, events: Vec::new() })
    }

    /// Puts in all, or none.
    ///
    /// # Errors
    /// One is refused.
    pub fn put_in(&mut self) -> Result<(), BpfError> {
        let opened: Result<Vec<_>, BpfError> = self
            .places
            .iter()
            .map(|place| self.open(place).map_err(|e| refused(place, &e)))
            .collect();
        self.events = opened?;
        Ok(())
    }

    /// Takes out all, and gives how long that took. The kernel first takes the program off a probe,
    /// waits until nobody runs it (some tenths of a second), and only then removes the probe, which
    /// costs the target until then though no program counts it. Hence all at once: one by one, each
    /// would cost for as long as those before it take.
    pub fn take_out(&mut self) -> Duration {
        let (begin, events) = (Instant::now(), std::mem::take(&mut self.events));
        std::thread::scope(|scope| {
            for event in events {
                scope.spawn(move || drop(event));
            }
        });
        begin.elapsed()
    }

    fn open(&self, place: &Place) -> io::Result<Event> {
        let program = place.program.as_fd();
        Event::uprobe(self.kind, &self.path, place.file_offset, self.pid, program)
    }
}

fn refused(place: &Place, error: &io::Error) -> BpfError {
    perf::refused(&format!("a probe in {}", place.function), error)
}
