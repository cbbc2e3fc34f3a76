//! A look into a live process, once: nothing is attached, nothing is traced.
//!
//! In: a process. Out: an inspection and the profiles that it was made from; what could not be had
//! is in it by name. Non-goals: printing; writing files.

use std::{
    collections::HashSet,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

use super::{executable::Executable, identify, look::Look};
use crate::{
    display::printable,
    ledger::Ledger,
    memory::{
        CancelFuncs, ChildFuncs, ContextReader, HeapProfile, HeapReading, Holder, MemoryError,
        Runtime, RuntimeCounters, Types, cancellable_children, find_holders,
        goroutines::{CodeFrames, Goroutines, Options},
    },
    probe::Unavailable,
    report::{
        GoroutineProfile, GoroutineSection, HeapSection, HolderRow, HoldersSection, Inspected,
        Inspection, SCHEMA_VERSION, goroutine_section, heap_section, pprof,
    },
    signatures::{Families, Program},
    snapshot::{CgroupSample, Hierarchies, OwnSample, ProcessSample, ResidentSample},
    symbolize::Symbolizer,
    target::{Selector, Watch, select},
};

/// How long the heap is searched for contexts that hold others: with it a look stays within two
/// seconds. A GiB of heap takes a fraction of it.
const SEARCH_TIME: Duration = Duration::from_secs(1);

/// How long it is searched for cancel functions after that, all tries together.
const FUNCS_TIME: Duration = Duration::from_millis(500);
/// Within this time a constructor that has entered a context into a map returns, with its function.
const MAKING_TIME: Duration = Duration::from_millis(20);
/// How often cancel functions are searched for until no collection comes between.
const FUNCS_TRIES: usize = 3;

/// A process that is being looked at.
pub struct Inspector {
    watch: Watch,
    executable: Executable,
    look: Result<Look>,
    families: Families,
}

/// What was read, before it is named.
pub struct Findings {
    /// The page and its figures.
    pub inspection: Inspection,
    heap: Option<HeapProfile>,
    goroutines: Option<Goroutines>,
}

impl Inspector {
    /// Finds the process and opens its executable and its memory.
    ///
    /// # Errors
    /// There is no such process, or several, or its executable can't be opened; or the file of
    /// families is wrong.
    pub fn open(selector: &Selector, families: Option<&Path>) -> Result<Self> {
        let families = super::families(families)?;
        let process = select(selector)?;
        let identity = identify(&process)?;
        let watch = Watch::new(process, identity);
        let executable = Executable::of(&watch)?;
        let look = Look::open(watch.process(), &executable);
        Ok(Self { watch, executable, look, families })
    }

    /// Looks. Whatever fails is in the inspection's list of what is unavailable.
    pub fn inspect(&self) -> Findings {
        let (began, taken) = (Instant::now(), SystemTime::now());
        let mut missing = Vec::new();
        let parts = self.parts(&mut missing);
        let sample = ProcessSample::read(self.watch.process());
        let inspection = Inspection {
            schema_version: SCHEMA_VERSION,
            taken: humantime::format_rfc3339_millis(taken).to_string(),
            target: self.target(taken),
            rss_bytes: sample.rss_bytes,
            rss_anon_bytes: sample.rss_anon_bytes,
            runtime: parts.runtime,
            ledger: self.ledger(&mut missing),
            heap: parts.heap_section,
            goroutines: parts.goroutine_section,
            holders: parts.holders,
            took_s: began.elapsed().as_secs_f64(),
            own_rss_peak_bytes: OwnSample::read().rss_peak_bytes,
            unavailable: missing,
        };
        Findings { inspection, heap: parts.heap, goroutines: parts.goroutines }
    }

    fn parts(&self, missing: &mut Vec<Unavailable>) -> Parts {
        let look = match &self.look {
            Ok(look) => look,
            Err(why) => {
                missing.push(Unavailable::new("the Go runtime's memory", format!("{why:#}")));
                return Parts::default();
            }
        };
        let mut keep = |what: &str, why: MemoryError| missing.push(Unavailable::new(what, why));
        let mut parts = Parts {
            runtime: RuntimeCounters::read(&look.runtime())
                .map_err(|why| keep("counters", why))
                .ok(),
            heap: HeapProfile::read(&look.runtime()).map_err(|why| keep("heap", why)).ok(),
            goroutines: self.goroutines(look).map_err(|why| keep("goroutines", why)).ok(),
            holders: self.holders(look).map_err(|why| keep("contexts", why)).ok(),
            ..Parts::default()
        };
        if let Some(mut symbolizer) = self.executable.symbolizer(&self.watch) {
            parts.name(&mut symbolizer, &self.families, self.executable.program());
        }
        parts
    }

    /// What the process's memory is used for; of one that is not Go, what the kernel tells.
    fn ledger(&self, missing: &mut Vec<Unavailable>) -> Option<Ledger> {
        let process = self.watch.process();
        let cgroup = CgroupSample::read(process, &Hierarchies::find());
        let runtime = self.look.as_ref().ok().map(Look::runtime);
        let sample = ResidentSample::read(process, runtime.as_ref(), cgroup.as_ref());
        let sample = sample
            .map_err(|why| missing.push(Unavailable::new("what the memory is used for", why)));
        sample.ok().map(|sample| Ledger::new(&sample))
    }

    fn goroutines(&self, look: &Look) -> Result<Goroutines, MemoryError> {
        let frames = self.executable.go().zip(self.executable.bias());
        let frames = frames.map(|((file, _, go), bias)| CodeFrames::new(file, &go.table, bias));
        let unwind = frames.as_ref().map(|frames| frames as _);
        Goroutines::read(&look.runtime(), &Options { unwind, ..Options::default() })
    }

    fn holders(&self, look: &Look) -> Result<HoldersSection, MemoryError> {
        let types = self.executable.types();
        let types = types.ok_or(MemoryError::NotRecognised("the executable's types"))?;
        let began = Instant::now();
        let found = find_holders(&look.runtime(), &types, &|| began.elapsed() < SEARCH_TIME)?;
        // What was found of the holders is as true without it.
        let funcs = self.child_funcs(&look.runtime(), &types, &found.top).unwrap_or_default();
        let funcs = funcs.into_iter().chain(std::iter::repeat(None));
        let row = |(holder, funcs): (Holder, Option<ChildFuncs>)| HolderRow {
            address: holder.address,
            type_name: holder.type_name.to_owned(),
            children: holder.children,
            looked_at: funcs.map(|funcs| funcs.looked_at),
            cancel_func_lost: funcs.map(|funcs| funcs.lost),
        };
        Ok(HoldersSection {
            top: found.top.into_iter().zip(funcs).map(row).collect(),
            found: found.with_children,
            seen_ratio: match found.spans {
                0 => 0.0,
                spans => found.spans_seen as f64 / spans as f64,
            },
            dropped: found.dropped,
        })
    }

    /// What became of the cancel functions of some children of each of `holders`; nothing where that
    /// can't be told.
    fn child_funcs(
        &self,
        runtime: &Runtime<'_>,
        types: &Types<'_>,
        holders: &[Holder],
    ) -> Result<Vec<Option<ChildFuncs>>, MemoryError> {
        if !self.executable.cancel_funcs_are_in_heap() {
            return Ok(Vec::new());
        }
        let began = Instant::now();
        let go_on = || began.elapsed() < FUNCS_TIME;
        for _ in 0..FUNCS_TRIES {
            runtime.view.refresh();
            let reader = ContextReader::new(runtime, types)?;
            let children = holders.iter().map(|holder| cancellable_children(&reader, holder));
            let children = children.collect::<Result<Vec<_>, _>>()?;
            let all: HashSet<u64> = children.iter().flatten().copied().collect();
            if all.is_empty() || !go_on() {
                break;
            }
            thread::sleep(MAKING_TIME);
            let funcs = self.executable.cancel_funcs();
            if let Some(found) = CancelFuncs::search(&reader, funcs, &all, &go_on)? {
                let count = |children: &Vec<u64>| Some(ChildFuncs::count(&found, children));
                return Ok(children.iter().map(count).collect());
            }
        }
        Ok(Vec::new())
    }

    fn target(&self, now: SystemTime) -> Inspected {
        let identity = self.watch.identity();
        let start = self.watch.start_time();
        let uptime = start.and_then(|start| now.duration_since(start).ok());
        Inspected {
            pid: identity.pid,
            comm: printable(identity.comm.as_bytes()),
            exe: printable(identity.exe.as_os_str().as_encoded_bytes()),
            build_id: self.executable.build_id(),
            go_version: self.executable.go_version(),
            version: self.executable.program_version().map(|found| found.version.clone()),
            start_time: start.map(|start| humantime::format_rfc3339_seconds(start).to_string()),
            uptime_s: uptime.map(|uptime| uptime.as_secs()),
        }
    }

    /// The heap profile as a pprof file, as the process itself would publish it.
    ///
    /// # Errors
    /// There is no heap profile.
    pub fn heap_file(&self, findings: &Findings) -> Result<Vec<u8>> {
        let heap = findings.heap.as_ref().filter(|heap| heap.rate_bytes > 0);
        let heap = heap.context("there is no heap profile: see `leaktrace inspect`")?;
        let mut symbolizer = self.symbolizer()?;
        let mappings = self.executable.mapped_files();
        let process = pprof::PprofProcess { mappings: &mappings, time_unix_ns: unix_ns() };
        Ok(pprof::heap(heap, HeapReading::Published, &process, &mut symbolizer)?)
    }

    /// All goroutines as a pprof file.
    ///
    /// # Errors
    /// They could not be read.
    pub fn goroutine_file(&self, findings: &Findings) -> Result<Vec<u8>> {
        let goroutines = findings.goroutines.as_ref().context(NO_GOROUTINES)?;
        let mut symbolizer = self.symbolizer()?;
        let mappings = self.executable.mapped_files();
        let process = pprof::PprofProcess { mappings: &mappings, time_unix_ns: unix_ns() };
        Ok(pprof::goroutines(goroutines, &process, &mut symbolizer)?)
    }

    /// All goroutines with names, in groups.
    ///
    /// # Errors
    /// They could not be read.
    pub fn goroutine_profile(&self, findings: &Findings) -> Result<GoroutineProfile> {
        let goroutines = findings.goroutines.as_ref().context(NO_GOROUTINES)?;
        Ok(GoroutineProfile::new(goroutines, &mut self.symbolizer()?))
    }

    fn symbolizer(&self) -> Result<Symbolizer<'_>> {
        self.executable.symbolizer(&self.watch).context("its functions have no names")
    }
}

const NO_GOROUTINES: &str = "the goroutines could not be read: see `leaktrace inspect`";

/// What a look gives, part by part.
#[derive(Default)]
struct Parts {
    runtime: Option<RuntimeCounters>,
    heap: Option<HeapProfile>,
    heap_section: Option<HeapSection>,
    goroutines: Option<Goroutines>,
    goroutine_section: Option<GoroutineSection>,
    holders: Option<HoldersSection>,
}

impl Parts {
    fn name(&mut self, symbolizer: &mut Symbolizer<'_>, families: &Families, program: Program<'_>) {
        let now_ns = monotonic_ns();
        self.heap_section = self.heap.as_ref().map(|heap| heap_section(heap, symbolizer));
        let goroutines = self.goroutines.as_ref();
        self.goroutine_section =
            goroutines.map(|goroutines| goroutine_section(goroutines, now_ns, symbolizer));
        for group in self.goroutine_section.iter_mut().flat_map(|section| &mut section.groups) {
            let found =
                families.match_stack(&group.frames, group.creator.as_ref(), Some(&group.start));
            group.advice = found.into_iter().map(|family| family.advice(program)).collect();
        }
    }
}

/// The clock that the target's runtime reads too (`runtime.nanotime`).
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

fn unix_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
