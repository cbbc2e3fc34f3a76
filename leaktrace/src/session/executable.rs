//! The target's executable, as far as it could be understood, and the plan made from it.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    ops::Range,
    path::Path,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use procfs::process::Process;
use rustix::fs::OFlags;

use crate::{
    binary::{Blocks, BuildInfo, Elf, Frame, GoBinary, Machine, ProgramVersion},
    bpf::SiteOrigin,
    memory::Types,
    probe::{
        ContextFacts, GoroutineFacts, GoroutinePlan, Plan, Unavailable, plan, plan_goroutines,
    },
    report::NamedSite,
    signatures::{Advice, Families, Program},
    snapshot::ContextNature,
    symbolize::{
        CANCEL_FUNCS, GIVING_CANCEL_FUNCS, Mapping, Mappings, Symbolizer, context_kind,
        context_parent, gives_cancel_func,
    },
    target::Watch,
};

/// What is known of the executable. Everything that failed is in the plan, by name.
pub struct Executable {
    file: Blocks,
    elf: Option<Elf>,
    build: Option<BuildInfo>,
    go: Option<GoBinary>,
    version: Option<ProgramVersion>,
    mappings: Option<Mappings>,
    plan: Plan,
    cancel_funcs: OnceLock<HashSet<u64>>,
}

impl Executable {
    /// Reads the file that the target runs, through `/proc/PID/exe`.
    ///
    /// # Errors
    /// It can't be opened at all.
    pub fn of(watch: &Watch) -> Result<Self> {
        let path = format!("/proc/{}/exe", watch.identity().pid);
        let file = File::open(&path).map_err(|why| match why.kind() {
            io::ErrorKind::PermissionDenied => {
                anyhow!("can't open {path}: permission denied; run leaktrace as root (sudo)")
            }
            _ => anyhow!("can't open {path}: has the process ended? ({why})"),
        })?;
        let mut this = Self::read(file);
        if let Err(why) = this.map(watch) {
            this.plan.unavailable.push(Unavailable::new("function names", format!("{why:#}")));
        }
        Ok(this)
    }

    /// Reads a file that perhaps nobody runs.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn at(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("can't open {}", path.display()))?;
        Ok(Self::read(file))
    }

    fn read(file: File) -> Self {
        let mut this = Self {
            file: Blocks::new(file),
            elf: None,
            build: None,
            go: None,
            version: None,
            mappings: None,
            plan: Plan::default(),
            cancel_funcs: OnceLock::new(),
        };
        if let Err(why) = this.understand() {
            this.plan.unavailable.push(Unavailable::new("contexts", format!("{why:#}")));
        }
        this
    }

    fn understand(&mut self) -> Result<()> {
        let elf = &*self.elf.insert(Elf::read(&self.file)?);
        let build = &*self.build.insert(BuildInfo::read(&self.file, elf)?);
        let go = &*self.go.insert(GoBinary::read(&self.file, elf, build)?);
        // Without a version the rest is as good.
        self.version = ProgramVersion::read(&self.file, elf, build, go).ok().flatten();
        let facts = ContextFacts::read(&self.file, elf, go)?;
        self.plan = plan(&facts).on(elf.machine, Machine::HOST);
        Ok(())
    }

    /// Finds out where the target has it in memory.
    fn map(&mut self, watch: &Watch) -> Result<()> {
        let Some(elf) = &self.elf else { return Ok(()) };
        let maps = watch.process().maps().context("can't read /proc/PID/maps")?;
        self.mappings = Mappings::new(&maps, &watch.identity().exe, elf);
        ensure!(
            self.mappings.is_some(),
            "the executable is not mapped where its headers say: frames stay addresses"
        );
        Ok(())
    }

    /// The parts that questions about Go functions and variables go to, if it was understood.
    pub const fn go(&self) -> Option<(&Blocks, &Elf, &GoBinary)> {
        match (&self.elf, &self.go) {
            (Some(elf), Some(go)) => Some((&self.file, elf, go)),
            _ => None,
        }
    }

    /// The load bias in the process that it was read from.
    pub fn bias(&self) -> Option<u64> {
        Some(self.mappings.as_ref()?.bias())
    }

    /// Where its Go code lies in the process that it was read from.
    pub fn go_code(&self) -> Option<Range<u64>> {
        let (code, bias) = (self.go.as_ref()?.table.code(), self.bias()?);
        Some(code.start.checked_add(bias)?..code.end.checked_add(bias)?)
    }

    /// The types of its Go values, as they lie in the process that it was read from.
    pub fn types(&self) -> Option<Types<'_>> {
        let (file, elf, go) = self.go()?;
        Some(Types::of_file(file, elf, &go.table, self.bias()?))
    }

    /// Where the code of cancel functions begins in the process that it was read from; empty if it has
    /// none, or they can't be found.
    pub fn cancel_funcs(&self) -> &HashSet<u64> {
        self.cancel_funcs.get_or_init(|| {
            let (Some((file, _, go)), Some(bias)) = (self.go(), self.bias()) else {
                return HashSet::new();
            };
            let found = go.table.find(file, &CANCEL_FUNCS).unwrap_or_default().into_iter();
            found.map(|function| function.entry.wrapping_add(bias)).collect()
        })
    }

    /// Whether every context that it makes without a deadline has a cancel function in the heap, as
    /// long as anybody has that: builds with profile-guided optimisation may do without.
    pub fn cancel_funcs_are_in_heap(&self) -> bool {
        let inlining =
            self.go().map(|(file, _, go)| go.table.find_inlining(file, &GIVING_CANCEL_FUNCS));
        matches!(inlining, Some(Ok(functions)) if functions.is_empty())
    }

    /// How many Go functions it has, if its tables were understood.
    pub fn function_count(&self) -> Option<u64> {
        Some(self.go.as_ref()?.table.function_count())
    }

    /// What kind of file it is: `amd64, position independent`.
    pub fn kind(&self) -> Option<String> {
        let elf = self.elf.as_ref()?;
        let address =
            if elf.position_independent { "position independent" } else { "fixed address" };
        Some(format!("{}, {address}", elf.machine))
    }

    /// What to attach, and what is missing.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// One line for the progress display.
    pub fn describe(&self) -> String {
        let version = self.go_version().unwrap_or_else(|| "not a Go binary".to_owned());
        let functions = self.function_count().unwrap_or(0);
        match self.plan.points.len() {
            0 => format!("{version}; contexts can't be counted, the RSS is traced"),
            points => format!("{version}, {functions} functions, {points} probes"),
        }
    }

    /// GNU build id in hex, else Go's.
    pub fn build_id(&self) -> Option<String> {
        self.elf.as_ref()?.build_id.clone()
    }

    /// The toolchain's version.
    pub fn go_version(&self) -> Option<String> {
        Some(self.build.as_ref()?.version.to_string())
    }

    /// The experiments of its Go that may change how its memory is laid out.
    pub fn memory_experiments(&self) -> Vec<&str> {
        self.build.as_ref().map_or_else(Vec::new, |build| build.version.memory_experiments())
    }

    /// Main module and version, else the main package's path.
    pub fn module(&self) -> Option<String> {
        let build = self.build.as_ref()?;
        build.module.clone().or_else(|| build.path.clone())
    }

    /// The version that the program's makers gave it.
    pub const fn program_version(&self) -> Option<&ProgramVersion> {
        self.version.as_ref()
    }

    /// What names addresses of the process that it was read from; none if it was not understood,
    /// or is not mapped as it should be.
    pub fn symbolizer<'a>(&'a self, watch: &'a Watch) -> Option<Symbolizer<'a>> {
        let (elf, mappings) = (self.elf.as_ref()?, self.mappings.as_ref()?);
        let open = Box::new(|mapping: &Mapping| open_mapped(watch.process(), mapping));
        Some(Symbolizer::new(&self.file, elf, self.go.as_ref(), mappings, open))
    }

    /// The files that the process executes, each with its build id if that is known.
    pub fn mapped_files(&self) -> Vec<(&Mapping, Option<&str>)> {
        let build_id = self.elf.as_ref().and_then(|elf| elf.build_id.as_deref());
        let with_id = |(mapping, is_own): (_, bool)| (mapping, build_id.filter(|_| is_own));
        self.mappings.iter().flat_map(Mappings::all).map(with_id).collect()
    }

    /// Where goroutines begin and end in it.
    ///
    /// # Errors
    /// It is no Go program of a known version, or can't be read.
    pub fn goroutine_plan(&self) -> Result<GoroutinePlan> {
        let (file, elf, go) = self.go().context("no Go program of a known version")?;
        let build = self.build.as_ref().context("no Go build information")?;
        let facts = GoroutineFacts::read(file, elf, go, build)?;
        Ok(plan_goroutines(&facts).on(elf.machine, Machine::HOST))
    }

    /// Path of the main package.
    pub fn main_package(&self) -> Option<&str> {
        self.build.as_ref()?.path.as_deref()
    }

    /// What the program is, for known issues.
    pub fn program(&self) -> Program<'_> {
        Program {
            module: self.build.as_ref().and_then(|build| build.module.as_deref()),
            version: self.version.as_ref().map(|found| found.version.as_str()),
        }
    }

    fn context_advice(&self, families: &Families, frames: &[Frame]) -> Vec<Advice> {
        let found = families.match_context(frames).into_iter();
        found.map(|family| family.advice(self.program())).collect()
    }

    /// Names the sites by their origins.
    pub fn name_sites(
        &self,
        watch: &Watch,
        origins: &HashMap<u64, SiteOrigin>,
        families: &Families,
    ) -> HashMap<u64, NamedSite> {
        let Some(mut symbolizer) = self.symbolizer(watch) else { return HashMap::new() };
        let pcs = origins.values().flat_map(|origin| &origin.return_pcs).copied();
        symbolizer.read_ahead(pcs.collect());
        let named = origins.iter().map(|(site, origin)| {
            let frames = symbolizer.frames(&origin.return_pcs);
            let parent_type = symbolizer.itab_type(origin.parent_itab);
            let nature = ContextNature {
                kind: context_kind(&frames),
                parent: context_parent(parent_type.as_deref()),
                gives_cancel_func: gives_cancel_func(&frames),
            };
            let advice = self.context_advice(families, &frames);
            (*site, NamedSite { frames, nature, parent_type, advice })
        });
        named.collect()
    }
}

/// The file behind a mapping, as the kernel has it or, without the right to that, as the process
/// sees it. Never waits: the path is the target's to choose, and may be a pipe by now.
fn open_mapped(process: &Process, mapping: &Mapping) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mapped = format!("map_files/{:x}-{:x}", mapping.start, mapping.end);
    let seen = format!("root{}", mapping.name);
    let file = process
        .open_relative_flags(mapped, flags)
        .or_else(|_| process.open_relative_flags(seen, flags))
        .map_err(io::Error::other)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}
