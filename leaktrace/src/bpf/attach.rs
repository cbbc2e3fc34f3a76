//! Loading the object and attaching its programs to one process.

use std::{num::NonZeroU32, ops::Range, path::PathBuf};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, HashMap, MapError},
    programs::{ProgramError, UProbe, uprobe::UProbeScope},
};
use aya_log::EbpfLogger;
use leaktrace_common::{Eviction, OVERFLOW_SITE, SiteCounters};

use crate::probe::ProbePoint;

/// The kernel's page size is the least a ring buffer can have; nothing is written to it when
/// logging is off.
const LOG_BYTES_OFF: u32 = 4096;
/// aya-log's own default.
const LOG_BYTES_ON: u32 = 128 * 1024;
/// `aya_log_common::Level::Debug`; 0 switches every log statement off, and since the level is a
/// frozen constant the verifier removes them.
const LOG_LEVEL_DEBUG: u8 = 4;

/// What can go wrong on the way into the kernel.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// Rights are missing, or the kernel can't do it.
    #[error("{0}")]
    Unsupported(String),
    /// The object was refused.
    #[error("the kernel refused the BPF programs: {}", chain(.0))]
    Load(Box<EbpfError>),
    /// One program was refused; the text has the verifier's words.
    #[error("the kernel refused the BPF program {name}: {}", chain(.why))]
    Verify {
        /// The program.
        name: &'static str,
        /// Why.
        why: Box<ProgramError>,
    },
    /// One probe could not be attached.
    #[error("can't attach to {function}: {}{}", chain(.why), way_out(.why))]
    Attach {
        /// The function.
        function: String,
        /// Why.
        why: Box<ProgramError>,
    },
    /// A map could not be read or written.
    #[error("the BPF map {name}: {reason}")]
    Map {
        /// The map.
        name: &'static str,
        /// Why.
        reason: String,
    },
}

impl BpfError {
    pub(super) fn map(name: &'static str, error: impl std::fmt::Display) -> Self {
        Self::Map { name, reason: error.to_string() }
    }
}

/// An error with its causes, in one line: aya's own text stops at the outermost.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// What to do about a probe that was refused for want of rights: kernels differ in which
/// capability they ask for.
fn way_out(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if io == Some(std::io::ErrorKind::PermissionDenied) {
            return "; this kernel wants CAP_SYS_ADMIN for it: run leaktrace as root (sudo)";
        }
        cause = error.source();
    }
    ""
}

/// Whom to attach to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Thread group id.
    pub pid: NonZeroU32,
    /// The executable, through `/proc/PID/exe`: this reaches the very inode the process runs,
    /// also when it was deleted or replaced, or lies in another mount namespace.
    pub exe: PathBuf,
    /// Live addresses of its Go code, where call chains may lead; none where that is not known.
    pub code: Option<Range<u64>>,
}

/// How much the kernel side may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries of the live map, at least 16.
    pub live_entries: u32,
    /// Let the BPF programs log.
    pub log: bool,
}

/// Loaded programs and their maps; dropping it detaches and frees everything.
pub struct Tracer {
    pub(super) ebpf: Ebpf,
    pub(super) limits: Limits,
    pub(super) eviction: Eviction,
    /// Evicted contexts by site.
    pub(super) evicted: std::collections::HashMap<u64, u64>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    target: Target,
}

impl Tracer {
    /// Loads the object for `target`; nothing runs yet.
    ///
    /// # Errors
    /// The kernel refuses the object or a map.
    pub fn load(target: Target, limits: Limits) -> Result<Self, BpfError> {
        raise_memlock_limit();
        let level = if limits.log { LOG_LEVEL_DEBUG } else { 0 };
        // Nothing in the object needs the kernel's own BTF. aya reads it all the same, which is
        // most of our peak memory, but gives it back here.
        let code = target.code.clone().unwrap_or(0..u64::MAX);
        let (code_start, code_bytes) = (code.start, code.end.saturating_sub(code.start));
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .override_global("CODE_START", &code_start, true)
            .override_global("CODE_BYTES", &code_bytes, true)
            .override_global("AYA_LOG_LEVEL", &level, false)
            .map_max_entries("AYA_LOGS", if limits.log { LOG_BYTES_ON } else { LOG_BYTES_OFF })
            .map_max_entries("LIVE", limits.live_entries)
            .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/leaktrace-ebpf")))
            .map_err(|error| BpfError::Load(Box::new(error)))?;
        let logger = if limits.log { EbpfLogger::init(&mut ebpf).ok() } else { None };
        let mut tracer = Self {
            ebpf,
            limits,
            eviction: Eviction::default(),
            evicted: std::collections::HashMap::new(),
            logger,
            target,
        };
        tracer.prepare_maps()?;
        Ok(tracer)
    }

    /// Attaches every point, or none.
    ///
    /// # Errors
    /// A program or a point is refused; what was attached before it is detached on drop.
    pub fn attach(&mut self, points: &[ProbePoint]) -> Result<(), BpfError> {
        points.iter().try_for_each(|point| self.attach_program(point.program.name(), point))
    }

    /// Attaches a program that does nothing to every point: the benchmark's yardstick.
    ///
    /// # Errors
    /// As [`Tracer::attach`].
    pub fn attach_empty(&mut self, points: &[ProbePoint]) -> Result<(), BpfError> {
        points.iter().try_for_each(|point| self.attach_program("empty", point))
    }

    fn attach_program(&mut self, name: &'static str, point: &ProbePoint) -> Result<(), BpfError> {
        let missing = || BpfError::Unsupported(format!("the BPF object has no program {name}"));
        let program = self.ebpf.program_mut(name).ok_or_else(missing)?;
        let program: &mut UProbe =
            program.try_into().map_err(|why| BpfError::Verify { name, why: Box::new(why) })?;
        match program.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
            Err(why) => return Err(BpfError::Verify { name, why: Box::new(why) }),
        }
        let scope = UProbeScope::OneProcess(self.target.pid);
        program.attach(point.file_offset, &self.target.exe, scope).map(|_link| ()).map_err(|why| {
            BpfError::Attach { function: point.function.clone(), why: Box::new(why) }
        })
    }

    /// Writes the sampling state and the site that must always exist.
    fn prepare_maps(&mut self) -> Result<(), BpfError> {
        let no_map = |name| BpfError::map(name, "not in the object");
        let capacity = self.limits.live_entries.into();
        self.set_eviction(Eviction { capacity, evicted: 0, shift: 0 })?;
        let sites = self.ebpf.map_mut("SITES").ok_or_else(|| no_map("SITES"))?;
        HashMap::try_from(sites)
            .and_then(|mut map| map.insert(OVERFLOW_SITE, SiteCounters::ZERO, 0))
            .map_err(|error: MapError| BpfError::map("SITES", error))
    }

    /// Tells BPF what was evicted.
    pub(super) fn set_eviction(&mut self, eviction: Eviction) -> Result<(), BpfError> {
        let missing = || BpfError::map("EVICTION", "not in the object");
        let map = self.ebpf.map_mut("EVICTION").ok_or_else(missing)?;
        Array::try_from(map)
            .and_then(|mut array| array.set(0, eviction, 0))
            .map_err(|error: MapError| BpfError::map("EVICTION", error))?;
        self.eviction = eviction;
        Ok(())
    }

    /// Passes what the BPF programs logged on to the log.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }
}

/// Events take a file for each thread of the target. The hard limit is ours to use.
pub(super) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Maps count against RLIMIT_MEMLOCK before kernel 5.11. Failing is harmless on newer ones, and
/// on older ones the map creation then says so.
pub(super) fn raise_memlock_limit() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}
