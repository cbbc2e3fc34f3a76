//! Everything that says what is in a process's memory, read at one instant: a process and, if it is
//! Go and can be looked into, its runtime in, plain values out.

use procfs::process::{LimitValue, Process};

use super::{
    CgroupSample, FilesSample, KernelSample, Known, MappingKind, MappingsSample, StackPointers,
};
use crate::memory::{ArenaUse, MappedPieces, Pagemap, Runtime, RuntimeCounters};

/// A heap that changes between the reading of its pages and that of its mappings is read again so
/// often, and the best reading is kept.
const READINGS_MAX: u32 = 4;
/// Readings agree when no more than this, or this share of the arenas, lies between them: half of
/// what a line of the ledger may be wrong by.
const AGREE_BYTES: u64 = 512 << 10;
const AGREE_PART: u64 = 100;

/// What a Go runtime says.
#[derive(Debug, Clone)]
pub struct GoSample {
    /// Its counters: what is mapped.
    pub counters: RuntimeCounters,
    /// What the resident pages of its arenas are used for.
    pub arenas: Option<ArenaUse>,
    /// What malloc has mapped beside it.
    pub malloc: Option<MappedPieces>,
}

/// What is in a process's memory.
#[derive(Debug, Clone, Default)]
pub struct ResidentSample {
    /// Its mappings.
    pub mappings: MappingsSample,
    /// Its Go runtime.
    pub go: Option<GoSample>,
    /// What the kernel keeps for it.
    pub kernel: KernelSample,
    /// Threads whose stacks are known, and threads whose are not.
    pub threads: (u64, u64),
    /// Its open files.
    pub files: Option<FilesSample>,
    /// What could not be read, and why.
    pub unavailable: Vec<String>,
}

impl ResidentSample {
    /// Reads `process`, which is in `cgroup`, and `runtime` where there is one. Stops nothing.
    ///
    /// # Errors
    /// Its mappings can't be read: it has ended, or we may not.
    pub fn read(
        process: &Process,
        runtime: Option<&Runtime<'_>>,
        cgroup: Option<&CgroupSample>,
    ) -> std::io::Result<Self> {
        let mut sample = Self::default();
        let stacks = StackPointers::read(process);
        sample.threads = (stacks.pointers.len() as u64, stacks.unknown_threads);
        let executable = process.exe().ok();
        let mut known = Known {
            executable: executable.map(|path| path.into_os_string().into_encoded_bytes()),
            arenas: Vec::new(),
            stack_pointers: stacks.pointers,
            stack_limit_bytes: stack_limit_bytes(process),
        };
        let pagemap = Pagemap::open(process);
        let pagemap = sample.available("the page map", pagemap);
        match runtime {
            Some(runtime) => sample.read_both(process, runtime, pagemap.as_ref(), &mut known)?,
            None => sample.mappings = MappingsSample::read(process, &known)?,
        }
        if let (Some(runtime), Some(pagemap)) = (runtime, &pagemap) {
            sample.read_malloc(runtime, pagemap);
        }
        sample.kernel = KernelSample::read(process, cgroup);
        sample.files = FilesSample::read(process);
        Ok(sample)
    }

    /// The runtime and the mappings, until they agree.
    fn read_both(
        &mut self,
        process: &Process,
        runtime: &Runtime<'_>,
        pagemap: Option<&Pagemap>,
        known: &mut Known,
    ) -> std::io::Result<()> {
        let (mut best, mut unavailable) = (None, Vec::new());
        for _ in 0..READINGS_MAX {
            let mut reading = Self::default();
            runtime.view.refresh();
            reading.read_go(runtime, pagemap, known);
            reading.mappings = MappingsSample::read(process, known)?;
            let between = reading.bytes_between();
            if is_better(between, best) {
                best = between;
                (self.go, self.mappings) = (reading.go, reading.mappings);
                unavailable = reading.unavailable;
            }
            let arenas_rss = self.mappings.of(&[MappingKind::GoArena]).rss_bytes;
            let enough = AGREE_BYTES.max(arenas_rss / AGREE_PART);
            if between.is_none() || best.is_some_and(|bytes| bytes <= enough) {
                break;
            }
        }
        self.unavailable.extend(unavailable);
        Ok(())
    }

    /// What lies between the arenas' pages and their mappings; none without pages. Pages that are
    /// not exclusive may or may not be part of RSS.
    fn bytes_between(&self) -> Option<u64> {
        let pages = self.go.as_ref()?.arenas.as_ref()?.resident();
        let rss = self.mappings.of(&[MappingKind::GoArena]).rss_bytes;
        Some(pages.exclusive_bytes.saturating_sub(rss).max(rss.saturating_sub(pages.bytes())))
    }

    fn read_go(&mut self, runtime: &Runtime<'_>, pagemap: Option<&Pagemap>, known: &mut Known) {
        let arenas = pagemap.map(|pagemap| ArenaUse::read(runtime, pagemap));
        let arenas = arenas.and_then(|arenas| self.available("the heap's spans", arenas));
        let ranges = match &arenas {
            Some(arenas) => Ok(arenas.arenas.clone()),
            None => ArenaUse::places(runtime),
        };
        known.arenas = self.available("the heap's arenas", ranges).unwrap_or_default();
        let counters = RuntimeCounters::read(runtime);
        let counters = self.available("the runtime's counters", counters);
        self.go = counters.map(|counters| GoSample { counters, arenas, malloc: None });
    }

    fn read_malloc(&mut self, runtime: &Runtime<'_>, pagemap: &Pagemap) {
        runtime.view.refresh();
        let pieces = MappedPieces::find(&runtime.view, pagemap, &self.mappings.anonymous);
        let pieces = self.available("what malloc has mapped", pieces);
        if let Some(go) = &mut self.go {
            go.malloc = pieces;
        }
    }

    fn available<T, E: std::fmt::Display>(&mut self, what: &str, read: Result<T, E>) -> Option<T> {
        read.map_err(|why| self.unavailable.push(format!("{what}: {why}"))).ok()
    }
}

/// Whether a reading is to be kept: the first one is, and then those whose pages and mappings are
/// closer. A look at a large heap may read no more than so much, and end without pages.
const fn is_better(between: Option<u64>, best: Option<u64>) -> bool {
    match (between, best) {
        (_, None) => true,
        (Some(bytes), Some(best)) => bytes < best,
        (None, Some(_)) => false,
    }
}

/// RLIMIT_STACK of `process`, if it is known and limited.
fn stack_limit_bytes(process: &Process) -> Option<u64> {
    match process.limits().ok()?.max_stack_size.soft_limit {
        LimitValue::Value(bytes) => Some(bytes),
        LimitValue::Unlimited => None,
    }
}

#[cfg(test)]
mod tests {
    use procfs::process::Process;

    use super::{ResidentSample, is_better};

    #[test]
    fn a_reading_without_pages_replaces_none_with_pages() {
        assert!(is_better(None, None) && is_better(Some(9), None));
        assert!(is_better(Some(1), Some(2)) && !is_better(Some(2), Some(2)));
        assert!(!is_better(None, Some(9)));
    }

    #[test]
    fn without_a_runtime_mappings_are_all_there_is() {
        let sample = ResidentSample::read(&Process::myself().unwrap(), None, None).unwrap();
        assert!(sample.go.is_none() && sample.mappings.total.rss_bytes > 0);
        assert!(sample.threads.0 + sample.threads.1 >= 2, "{:?}", sample.threads);
        assert_eq!(sample.unavailable, [] as [String; 0]);
    }
}
