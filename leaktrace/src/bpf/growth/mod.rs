//! Growth of memory of any process, traced in the kernel.
//!
//! In: a pid. Out: mapping calls and page faults by call chain, losses. Dropping the
//! [`GrowthTracer`] (or dying) detaches everything.
//! Non-goals: names for addresses; what of the growth stays resident (the ledger knows).

mod events;
mod read;
mod tracepoints;

use std::{num::NonZeroU32, os::fd::AsFd as _};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, MapError},
    programs::{PerfEvent, ProgramError, TracePoint},
};
use leaktrace_common::{
    FRAMES_MAX, GrowthCounters, GrowthFrames, GrowthKind, GrowthOperation, MappedRange,
    growth_overflow_site, page_aligned,
};
use procfs::process::{MMapPath, Process};

use self::events::FaultEvents;
use super::{
    BpfError,
    attach::{raise_file_limit, raise_memlock_limit},
    maps,
    perf::{self, Event},
};

pub use self::{
    events::FaultPeriod,
    read::{GrowthOrigin, GrowthReadout, GrowthSiteReadout, PageFaults},
};

/// The first kernel with `bpf_task_pt_regs`.
const TASK_REGISTERS_SINCE: (u8, u8) = (5, 15);

/// How much the kernel side may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrowthLimits {
    /// Sites, of which four are for what finds no room; about 450 B each with their frames.
    pub sites: u32,
    /// Mappings that are followed until they are unmapped; about 100 B each.
    pub ranges: u32,
}

impl Default for GrowthLimits {
    /// 2.7 MiB.
    fn default() -> Self {
        Self { sites: 4096, ranges: 8192 }
    }
}

/// There is such a file on every kernel that has perf events (Documentation/admin-guide/sysctl/kernel.rst).
const PERF_EVENTS: &str = "/proc/sys/kernel/perf_event_paranoid";

/// Whether page faults could be sampled, or why not; attaches nothing.
///
/// # Errors
/// The kernel has no perf events.
pub fn page_faults_available() -> Result<(), BpfError> {
    if std::path::Path::new(PERF_EVENTS).exists() {
        return Ok(());
    }
    let why = format!("this kernel has no perf events ({PERF_EVENTS} is missing)");
    Err(BpfError::Unsupported(format!("{why}: use one built with CONFIG_PERF_EVENTS")))
}

/// Whether mapping calls could be counted, or why not; attaches nothing.
///
/// # Errors
/// The kernel is older than 5.15, or its tracepoints can't be found.
pub fn mapping_calls_available() -> Result<(), BpfError> {
    mapping_call_ids().map(|_| ())
}

/// The numbers of the tracepoints of mapping calls.
fn mapping_call_ids() -> Result<Vec<u64>, BpfError> {
    if !has_task_registers() {
        let (major, minor) = TASK_REGISTERS_SINCE;
        return Err(BpfError::Unsupported(format!(
            "mapping calls need kernel {major}.{minor} or newer; page faults are sampled on older \
             ones too"
        )));
    }
    tracepoints::exit_ids()
}

/// Loaded growth programs with what they are attached to.
pub struct GrowthTracer {
    ebpf: Ebpf,
    pid: NonZeroU32,
    limits: GrowthLimits,
    faults: Option<FaultEvents>,
    /// Page faults counted by events that were replaced since.
    faults_before: u64,
    mappings: Vec<Event>,
}

impl GrowthTracer {
    /// Loads the object for the process `pid`, as the node's own pid namespace
    /// numbers it; nothing runs yet.
    ///
    /// # Errors
    /// The kernel refuses the object or a map.
    pub fn load(pid: NonZeroU32, limits: GrowthLimits) -> Result<Self, BpfError> {
        raise_memlock_limit();
        raise_file_limit();
        let (tgid, registers) = (pid.get(), u32::from(has_task_registers()));
        let ebpf = EbpfLoader::new()
            .btf(None)
            .override_global("TARGET_TGID", &tgid, true)
            .override_global("HAS_TASK_REGISTERS", &registers, true)
            .map_max_entries("GROWTH_SITES", limits.sites)
            .map_max_entries("GROWTH_FRAMES", limits.sites)
            .map_max_entries("RANGES", limits.ranges)
            .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/leaktrace-growth")))
            .map_err(|error| BpfError::Load(Box::new(error)))?;
        let mut tracer =
            Self { ebpf, pid, limits, faults: None, faults_before: 0, mappings: Vec::new() };
        tracer.enter_overflow_sites()?;
        Ok(tracer)
    }

    /// Samples page faults of all threads, of those to come too. Costs other processes nothing.
    ///
    /// # Errors
    /// The program or an event is refused.
    pub fn attach_faults(&mut self, period: FaultPeriod) -> Result<(), BpfError> {
        const NAME: &str = "page_fault";
        let program: &mut PerfEvent = self.program(NAME)?;
        loaded(program.load(), NAME)?;
        let program = program.fd().map_err(|why| verify(NAME, why))?.try_clone();
        let program = program.map_err(|error| perf::refused(NAME, &error))?;
        let events = FaultEvents::open(self.pid, period, program)?;
        events.enable()?;
        self.faults = Some(events);
        Ok(())
    }

    /// Counts calls of mmap, munmap, mremap, brk and madvise. While this is attached, every system
    /// call of every process of the node takes a little longer.
    ///
    /// # Errors
    /// The kernel is older than 5.15, its tracepoints can't be found, or the program is refused.
    pub fn attach_mappings(&mut self) -> Result<(), BpfError> {
        const NAME: &str = "mapping_call";
        let ids = mapping_call_ids()?;
        self.forget_ranges()?;
        self.seed_heap_end()?;
        let program: &mut TracePoint = self.program(NAME)?;
        loaded(program.load(), NAME)?;
        let program = program.fd().map_err(|why| verify(NAME, why))?;
        let attach = |id: &u64| Event::tracepoint(*id, program.as_fd());
        let attached = ids.iter().map(attach).collect::<Result<_, _>>();
        self.mappings =
            attached.map_err(|error| perf::refused("the tracepoints of mapping calls", &error))?;
        Ok(())
    }

    /// Stops sampling page faults; the counts of the sites stay.
    pub fn detach_faults(&mut self) {
        self.faults = None;
    }

    /// Stops counting mapping calls: what it costs other processes ends; the counts stay.
    pub fn detach_mappings(&mut self) {
        self.mappings.clear();
    }

    /// Adapts the sampling of page faults to their rate, which is that of the `seconds` since the
    /// last heartbeat. Where the period changes, the faults of some microseconds are missed.
    ///
    /// # Errors
    /// An event can't be read or opened again.
    pub fn heartbeat(&mut self, seconds: f64) -> Result<(), BpfError> {
        let Some(events) = &mut self.faults else { return Ok(()) };
        if let Some((replacement, counted)) = events.adapted(self.pid, seconds)? {
            *events = replacement;
            self.faults_before += counted;
        }
        Ok(())
    }

    fn program<'a, P>(&'a mut self, name: &'static str) -> Result<&'a mut P, BpfError>
    where
        &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
    {
        let missing = || BpfError::Unsupported(format!("the BPF object has no program {name}"));
        let program = self.ebpf.program_mut(name).ok_or_else(missing)?;
        program.try_into().map_err(|why| verify(name, why))
    }

    /// The sites that must always exist.
    fn enter_overflow_sites(&mut self) -> Result<(), BpfError> {
        for operation in GrowthOperation::ALL {
            let site = growth_overflow_site(operation);
            self.insert("GROWTH_SITES", site, GrowthCounters::default())?;
            let frames = GrowthFrames {
                pcs: [0; FRAMES_MAX],
                depth: 0,
                operation: operation as u64,
                kind: GrowthKind::Unknown as u64,
                caller_from_top: 0,
            };
            self.insert("GROWTH_FRAMES", site, frames)?;
        }
        Ok(())
    }

    fn insert<V: aya::Pod>(&mut self, map: &'static str, key: u64, v: V) -> Result<(), BpfError> {
        let found = self.ebpf.map_mut(map).ok_or_else(|| maps::missing(map))?;
        HashMap::try_from(found)
            .and_then(|mut map| map.insert(key, v, 0))
            .map_err(|error: MapError| BpfError::map(map, error))
    }

    /// What was mapped when calls were last counted may be gone since.
    fn forget_ranges(&mut self) -> Result<(), BpfError> {
        const NAME: &str = "RANGES";
        let mut addresses = Vec::new();
        maps::for_each(
            &self.ebpf,
            NAME,
            self.limits.ranges as usize,
            |address: u64, _: MappedRange| {
                addresses.push(address);
            },
        )?;
        let map = self.ebpf.map_mut(NAME).ok_or_else(|| maps::missing(NAME))?;
        let mut map = HashMap::<_, u64, MappedRange>::try_from(map)
            .map_err(|error| BpfError::map(NAME, error))?;
        let removed = addresses.iter().try_for_each(|address| map.remove(address));
        removed.map_err(|error| BpfError::map(NAME, error))
    }

    /// Tells BPF where the heap ends, so that the first brk has a difference; growth between this
    /// and attaching is counted with that one.
    fn seed_heap_end(&mut self) -> Result<(), BpfError> {
        const NAME: &str = "HEAP_END";
        // Where it can't be read, the first call of brk tells.
        let end = heap_end(self.pid).unwrap_or(0);
        let map = self.ebpf.map_mut(NAME).ok_or_else(|| maps::missing(NAME))?;
        Array::try_from(map)
            .and_then(|mut array| array.set(0, end, 0))
            .map_err(|error: MapError| BpfError::map(NAME, error))
    }
}

fn has_task_registers() -> bool {
    let kernel = procfs::sys::kernel::Version::current();
    kernel.is_ok_and(|kernel| (kernel.major, kernel.minor) >= TASK_REGISTERS_SINCE)
}

/// The end of the heap in whole pages; of a heap that has not grown yet, its start.
fn heap_end(pid: NonZeroU32) -> Option<u64> {
    let process = Process::new(i32::try_from(pid.get()).ok()?).ok()?;
    let maps = process.maps().ok()?;
    let heap = maps.iter().find(|map| map.pathname == MMapPath::Heap);
    match heap {
        Some(heap) => Some(heap.address.1),
        None => process.stat().ok()?.start_brk.map(page_aligned),
    }
}

fn verify(name: &'static str, why: ProgramError) -> BpfError {
    BpfError::Verify { name, why: Box::new(why) }
}

fn loaded(result: Result<(), ProgramError>, name: &'static str) -> Result<(), BpfError> {
    match result {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(why) => Err(verify(name, why)),
    }
}
