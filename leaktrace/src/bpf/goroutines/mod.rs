//! Starts and ends of goroutines, traced in the kernel on demand.
//!
//! In: probe points of one process, a budget. Out: starts and ends by site, call chains that start
//! goroutines, what it costs, losses. Dropping the [`GoroutineTracer`] (or dying) takes the probes
//! out. Non-goals: which goroutines live (memory tells, without a probe); names for addresses.

mod cost;
mod pacer;
mod pacing;
mod probes;
mod read;
mod sampling;

use std::{
    ffi::CString,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
    programs::{ProgramError, UProbe},
};
use leaktrace_common::{GOROUTINE_OVERFLOW_SITE, GoroutineCounters};

use self::{
    pacer::{Pacer, PacerMaps},
    probes::{Place, Probes},
};
use super::{BpfError, Target, attach::raise_memlock_limit, maps};
use crate::probe::{GoroutineLayout, GoroutinePoint};

pub use self::{
    probes::Probes as GoroutineProbes,
    read::{GoroutineReadout, GoroutineSiteReadout, GoroutineStackReadout},
    sampling::GoroutineSampling,
};

/// How much tracing goroutines may take.
#[derive(Debug, Clone, Copy)]
pub struct GoroutineLimits {
    /// Entries of the map of sites, at least 16.
    pub sites: u32,
    /// Entries of the map of call chains, at least 16.
    pub stacks: u32,
    /// Cores that the target may lose to the probes; above it, time is sampled.
    pub budget_cores: f64,
}

impl Default for GoroutineLimits {
    fn default() -> Self {
        Self { sites: 4096, stacks: 4096, budget_cores: 0.01 }
    }
}

/// Loaded goroutine programs and their maps.
pub struct GoroutineTracer {
    ebpf: Ebpf,
    target: Target,
    limits: GoroutineLimits,
    pacer: Option<Pacer>,
}

impl GoroutineTracer {
    /// Loads the object for `target`, whose code lies `bias` above where its file says; nothing
    /// runs yet.
    ///
    /// # Errors
    /// The kernel refuses the object or a map.
    pub fn load(
        target: Target,
        layout: GoroutineLayout,
        bias: u64,
        limits: GoroutineLimits,
    ) -> Result<Self, BpfError> {
        raise_memlock_limit();
        let code = target.code.clone().unwrap_or(0..u64::MAX);
        let (code_start, code_bytes) = (code.start, code.end.saturating_sub(code.start));
        let coroutine = layout.coroutine_vaddr.map_or(0, |vaddr| vaddr.wrapping_add(bias));
        let ebpf = EbpfLoader::new()
            .btf(None)
            .override_global("CODE_START", &code_start, true)
            .override_global("CODE_BYTES", &code_bytes, true)
            .override_global("GOPC_OFFSET", &layout.gopc, true)
            .override_global("COROUTINE_START", &coroutine, true)
            .map_max_entries("GOROUTINE_SITES", limits.sites)
            .map_max_entries("GOROUTINE_STACKS", limits.stacks)
            .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/leaktrace-goroutines")))
            .map_err(|error| BpfError::Load(Box::new(error)))?;
        let mut tracer = Self { ebpf, target, limits, pacer: None };
        tracer.enter_overflow_site()?;
        Ok(tracer)
    }

    /// Puts the probes in. From now on everything is counted, until that costs the target more than
    /// the budget: then windows of time are, and the readout says so.
    ///
    /// # Errors
    /// A program or a point is refused.
    pub fn attach(&mut self, points: &[GoroutinePoint]) -> Result<(), BpfError> {
        let empty = self.program("empty")?;
        let hit_cost_ns = cost::hit_cost_ns(empty.as_fd()).map_err(|error| {
            BpfError::Unsupported(format!("can't measure what a probe costs: {error}"))
        })?;
        let probes = self.probes(points, |point| point.program.name())?;
        let (maps, budget) = (self.pacer_maps()?, self.limits.budget_cores);
        self.pacer = Some(Pacer::start(probes, maps, budget, hit_cost_ns)?);
        Ok(())
    }

    /// Puts a program that does nothing at every point and holds it there: the benchmark's
    /// yardstick.
    ///
    /// # Errors
    /// As [`GoroutineTracer::attach`].
    pub fn attach_empty(&mut self, points: &[GoroutinePoint]) -> Result<Probes, BpfError> {
        let mut probes = self.probes(points, |_| "empty")?;
        probes.put_in()?;
        Ok(probes)
    }

    /// Takes the probes out; the counts stay.
    pub fn detach(&mut self) {
        self.pacer = None;
    }

    fn probes(
        &mut self,
        points: &[GoroutinePoint],
        name: impl Fn(&GoroutinePoint) -> &'static str,
    ) -> Result<Probes, BpfError> {
        let mut places = Vec::new();
        for point in points {
            let program = self.program(name(point))?;
            let (file_offset, function) = (point.file_offset, point.function.clone());
            places.push(Place { program, file_offset, function });
        }
        let path = CString::new(self.target.exe.as_os_str().as_bytes())
            .map_err(|error| BpfError::Unsupported(format!("the executable's path: {error}")))?;
        Probes::new(self.target.pid, path, places)
    }

    /// A program, loaded if it was not yet.
    fn program(&mut self, name: &'static str) -> Result<OwnedFd, BpfError> {
        let missing = || BpfError::Unsupported(format!("the BPF object has no program {name}"));
        let verify = |why| BpfError::Verify { name, why: Box::new(why) };
        let program = self.ebpf.program_mut(name).ok_or_else(missing)?;
        let program: &mut UProbe = program.try_into().map_err(verify)?;
        match program.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
            Err(why) => return Err(verify(why)),
        }
        let fd = program.fd().map_err(verify)?.as_fd().try_clone_to_owned();
        fd.map_err(|error| BpfError::Unsupported(format!("can't open {name} again: {error}")))
    }

    /// The gate and the sums, opened once more for the thread.
    fn pacer_maps(&self) -> Result<PacerMaps, BpfError> {
        let (gate, sums) = (self.second("GATE")?, self.second("GOROUTINE_SUMS")?);
        Ok(PacerMaps {
            gate: Array::try_from(Map::Array(gate)).map_err(|why| BpfError::map("GATE", why))?,
            sums: PerCpuArray::try_from(Map::PerCpuArray(sums))
                .map_err(|why| BpfError::map("GOROUTINE_SUMS", why))?,
        })
    }

    fn second(&self, name: &'static str) -> Result<MapData, BpfError> {
        let map =
            self.ebpf.map(name).and_then(maps::map_data).ok_or_else(|| maps::missing(name))?;
        let fd = map.fd().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| BpfError::map(name, error))?;
        MapData::from_fd(fd).map_err(|error| BpfError::map(name, error))
    }

    /// The site that must always exist.
    fn enter_overflow_site(&mut self) -> Result<(), BpfError> {
        const NAME: &str = "GOROUTINE_SITES";
        let map = self.ebpf.map_mut(NAME).ok_or_else(|| maps::missing(NAME))?;
        HashMap::try_from(map)
            .and_then(|mut map| {
                map.insert(GOROUTINE_OVERFLOW_SITE, GoroutineCounters::default(), 0)
            })
            .map_err(|error: MapError| BpfError::map(NAME, error))
    }
}
