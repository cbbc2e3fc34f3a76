//! Executables that lie: whatever a file says, the answer is facts or a reason, soon.
//!
//! The mutants come from real programs of the oldest and the newest Go versions, by a fixed seed.
//! A mutant that panics or takes long names itself, so that it can be made again.

#![expect(clippy::unwrap_used, reason = "what the test itself can't read is its failure")]

use std::{
    fs,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use leaktrace::{
    binary::{BinaryError, Blocks, BuildInfo, Elf, GoBinary},
    probe::{ContextFacts, Plan, plan},
};

const BUILDS: [&str; 6] =
    ["go1.21.13", "go1.21.13-pie", "go1.26.3", "go1.26.3-pie", "go1.27.3", "go1.27.3-pie"];
const CREATE: &str = "context.(*cancelCtx).propagateCancel";
/// A whole workload takes a twentieth of it in a debug build.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Mutants of each region of each build.
const MUTANTS: usize = 10;
const TRUNCATIONS: usize = 40;
/// Numbers that are likely to be mishandled.
const EXTREMES: [u64; 8] =
    [0, 1, 0x7fff_ffff, 0xffff_ffff, 1 << 47, 1 << 63, u64::MAX - 7, u64::MAX];

/// A deterministic source of numbers.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// What the whole chain says about a file.
struct Answer {
    plan: Result<Plan, String>,
    frames: Vec<String>,
}

impl Answer {
    /// No probe, and the reason why.
    fn refuses(&self) -> bool {
        self.plan.as_ref().map_or_else(
            |why| !why.is_empty(),
            |plan| plan.points.is_empty() && !plan.unavailable.is_empty(),
        )
    }

    fn is_whole(&self) -> bool {
        self.plan.as_ref().is_ok_and(|plan| plan.points.len() >= 2) && !self.frames.is_empty()
    }
}

fn try_answer(bytes: Vec<u8>, pcs: &[u64]) -> Answer {
    let file = Blocks::new(bytes);
    let mut frames = Vec::new();
    let mut chain = || -> anyhow::Result<Plan> {
        let elf = Elf::read(&file)?;
        let build = BuildInfo::read(&file, &elf)?;
        let go = GoBinary::read(&file, &elf, &build)?;
        let known = pcs.iter().filter_map(|pc| go.table.frames(&file, *pc).ok());
        frames.extend(known.flatten().map(|frame| frame.function.as_ref().to_owned()));
        Ok(plan(&ContextFacts::read(&file, &elf, &go)?))
    };
    Answer { plan: chain().map_err(|error| format!("{error:#}")), frames }
}

/// The answer, in time and without a panic; `mutant` says how to make the file again.
fn answer(mutant: &str, bytes: Vec<u8>, pcs: &[u64]) -> Answer {
    let begin = Instant::now();
    let answer = catch_unwind(AssertUnwindSafe(|| try_answer(bytes, pcs)))
        .unwrap_or_else(|_| panic!("{mutant} made it panic"));
    assert!(begin.elapsed() < TIME_MAX, "{mutant} took {:?}", begin.elapsed());
    answer
}

fn le(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn le32(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
}

/// A workload with the places where its tables lie.
struct Workload {
    build: &'static str,
    bytes: Vec<u8>,
    elf: Elf,
}

impl Workload {
    fn read(build: &'static str) -> Self {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/workloads");
        let folder = std::env::var_os("LEAKTRACE_WORKLOADS").map_or(default, PathBuf::from);
        let path = folder.join(build).join("workload");
        let bytes = fs::read(&path)
            .unwrap_or_else(|_| panic!("{} is missing: run `cargo xtask test`", path.display()));
        let elf = Elf::read(&Blocks::new(bytes.clone())).unwrap();
        Self { build, bytes, elf }
    }

    fn section(&self, names: &[&str]) -> Option<(usize, u64, usize)> {
        let section = names.iter().find_map(|name| self.elf.section(name))?;
        Some((section.file_offset as usize, section.vaddr, section.bytes as usize))
    }

    /// File offset and address of the pclntab.
    fn pclntab(&self) -> (usize, u64) {
        let names = [".gopclntab", ".data.rel.ro.gopclntab"];
        let (offset, vaddr, _) = self.section(&names).unwrap();
        (offset, vaddr)
    }

    /// Where part `index` of the pclntab begins: names, units, files, pc tables, functions.
    fn part(&self, index: usize) -> usize {
        let (offset, _) = self.pclntab();
        offset + le(&self.bytes, offset + 32 + index * 8) as usize
    }

    fn functions(&self) -> usize {
        le(&self.bytes, self.pclntab().0 + 8) as usize
    }

    fn relocations(&self) -> Range<usize> {
        let (offset, _, bytes) = self.section(&[".rela", ".rela.dyn"]).unwrap_or_default();
        offset..offset + bytes
    }

    /// The word at `vaddr` when the file is loaded at its own addresses.
    fn word(&self, vaddr: u64) -> u64 {
        let relas = self.relocations().step_by(24);
        let mut relocated = relas.filter(|at| le(&self.bytes, *at) == vaddr);
        relocated.next().map_or_else(
            || le(&self.bytes, self.elf.file_offset(vaddr).unwrap() as usize),
            |at| le(&self.bytes, at + 16),
        )
    }

    /// Address of the module data: their first word is the pclntab's address.
    fn moduledata(&self) -> u64 {
        let (_, pclntab) = self.pclntab();
        let mut relas = self.relocations().step_by(24);
        let relocated = relas.find(|at| le(&self.bytes, at + 16) == pclntab);
        if let Some(at) = relocated {
            return le(&self.bytes, at);
        }
        let data = self.elf.segments.iter().find(|segment| segment.writable).unwrap();
        let mut words = (data.vaddr..data.vaddr + data.file_bytes).step_by(8);
        words.find(|vaddr| self.word(*vaddr) == pclntab).unwrap()
    }

    fn text(&self) -> u64 {
        self.word(self.moduledata() + 176)
    }

    /// The function data, inline trees among them, to the end of their section.
    fn function_data(&self) -> Range<usize> {
        let within = if self.build.starts_with("go1.27") { 344 } else { 320 };
        let start = self.elf.file_offset(self.word(self.moduledata() + within)).unwrap();
        let mut ends = self.elf.sections.iter().map(|s| s.file_offset..s.file_offset + s.bytes);
        start as usize..ends.find(|section| section.contains(&start)).unwrap().end as usize
    }

    /// Addresses in the middle of functions all over the program, and some of none.
    fn pcs(&self) -> Vec<u64> {
        let (table, text) = (self.part(4), self.text());
        let entry = |index: usize| text + le32(&self.bytes, table + index * 8);
        let middle = |index| u64::midpoint(entry(index), entry(index + 1));
        let pcs = (0..self.functions()).step_by(self.functions() / 60).map(middle);
        pcs.chain([0, 1, text, 1 << 40, u64::MAX - 1, u64::MAX]).collect()
    }

    /// What a reader depends on, by name.
    fn regions(&self) -> Vec<(&'static str, Range<usize>)> {
        let sized = |at: usize, bytes: usize| at..at + bytes;
        let (headers, sections) = (le(&self.bytes, 32) as usize, le(&self.bytes, 40) as usize);
        let (build_info, _, _) = self.section(&[".go.buildinfo"]).unwrap();
        let module = self.elf.file_offset(self.moduledata()).unwrap() as usize;
        let (table, functions) = (self.part(4), self.functions());
        let mut regions = vec![
            ("ELF header", 0..64),
            ("program headers", sized(headers, 56 * usize::from(self.bytes[56]))),
            ("section headers", sized(sections, 64 * usize::from(self.bytes[60]))),
            ("build information", sized(build_info, 200)),
            ("pclntab header", sized(self.pclntab().0, 72)),
            ("module data", sized(module, 384)),
            ("names", self.part(0)..self.part(1)),
            ("pc tables", self.part(3)..table),
            ("function table", sized(table, functions * 8)),
            ("function records", sized(table + functions * 8, functions * 60)),
            ("function data", self.function_data()),
        ];
        if let Some((dynamic, _, bytes)) = self.section(&[".dynamic"]) {
            let around = sized(self.module_relocation(), 48 * 24);
            regions.extend([("dynamic", sized(dynamic, bytes)), ("relocations", around)]);
        }
        regions
    }

    /// File offset of the relocation of the module data's first word.
    fn module_relocation(&self) -> usize {
        let module = self.moduledata();
        self.relocations().step_by(24).find(|at| le(&self.bytes, *at) == module).unwrap()
    }
}

/// Overwrites a few places of `region`, with extreme numbers or any.
fn mutate(bytes: &mut [u8], region: &Range<usize>, random: &mut SplitMix64) {
    for _ in 0..1 << random.below(6) {
        let within = random.below(region.len());
        let value = match random.below(4) {
            0 => random.next(),
            _ => EXTREMES[random.below(EXTREMES.len())],
        };
        match random.below(4) {
            0 => bytes[region.start + within] ^= 1 << random.below(8),
            1 => bytes[region.start + within] = value as u8,
            2 => write(bytes, region.start + within / 4 * 4, &value.to_le_bytes()[..4]),
            _ => write(bytes, region.start + within / 8 * 8, &value.to_le_bytes()),
        }
    }
}

fn write(bytes: &mut [u8], at: usize, value: &[u8]) {
    let end = (at + value.len()).min(bytes.len());
    bytes[at..end].copy_from_slice(&value[..end - at]);
}

/// Reads mutants of every region of `build`; most of a kind that does no harm stay readable.
fn fuzz(build: &'static str) {
    let workload = Workload::read(build);
    let (pcs, mut random) = (workload.pcs(), SplitMix64(0x1eaf));
    let (mut whole, mut refused) = (0, 0);
    for (name, region) in workload.regions() {
        for number in 0..MUTANTS {
            let mut bytes = workload.bytes.clone();
            mutate(&mut bytes, &region, &mut random);
            let answer = answer(&format!("{build}: {name}, mutant {number}"), bytes, &pcs);
            whole += usize::from(answer.is_whole());
            refused += usize::from(answer.refuses());
        }
    }
    // Both happen, or the mutants test nothing.
    assert!(whole > MUTANTS && refused > MUTANTS, "{build}: {whole} whole, {refused} refused");
}

#[test]
fn mutants_of_old_programs_are_read_or_refused() {
    ["go1.21.13", "go1.21.13-pie"].into_iter().for_each(fuzz);
}

#[test]
fn mutants_of_new_programs_are_read_or_refused() {
    ["go1.26.3", "go1.26.3-pie", "go1.27.3", "go1.27.3-pie"].into_iter().for_each(fuzz);
}

#[test]
fn an_honest_program_is_read_with_its_sections_and_without() {
    for build in BUILDS {
        let workload = Workload::read(build);
        let mut bare = workload.bytes.clone();
        write(&mut bare, 40, &[0; 8]);
        for (name, bytes) in [("whole", workload.bytes.clone()), ("no sections", bare)] {
            let answer = answer(&format!("{build}, {name}"), bytes, &workload.pcs());
            let plan = answer.plan.unwrap_or_else(|why| panic!("{build}, {name}: {why}"));
            assert!(plan.releases_complete && plan.points[0].function == CREATE, "{plan:?}");
            assert!(answer.frames.len() > 30, "{build}, {name}: {:?}", answer.frames);
        }
    }
}

#[test]
fn a_truncated_program_is_refused() {
    for build in BUILDS {
        let workload = Workload::read(build);
        let ends = workload.elf.segments.iter().map(|s| (s.file_offset + s.file_bytes) as usize);
        let loaded = ends.max().unwrap();
        let mut random = SplitMix64(42);
        let starts = workload.regions().into_iter().map(|(_, region)| region.start);
        let edges = starts.flat_map(|at| [at, at + 1]).chain([0, 1, 63, 64, 65, loaded - 1]);
        for length in edges.chain((0..TRUNCATIONS).map(|_| random.below(loaded))) {
            let bytes = workload.bytes[..length].to_vec();
            let answer = answer(&format!("{build}, {length} bytes"), bytes, &[]);
            assert!(answer.refuses(), "{build}, {length} bytes: {:?}", answer.plan);
        }
    }
}

#[test]
fn an_inline_tree_without_a_root_is_refused() {
    for build in BUILDS {
        let workload = Workload::read(build);
        let (table, text) = (workload.part(4), workload.text());
        let inlined = |pc: &u64| try_answer(workload.bytes.clone(), &[*pc]).frames.len() > 1;
        let return_pc = workload.pcs().into_iter().find(inlined).unwrap();
        let entries = (0..workload.functions()).map(|i| le32(&workload.bytes, table + i * 8));
        let entry = entries.take_while(|entry| text + entry < return_pc).last().unwrap();
        // Every call in every tree is inlined into itself.
        let parent = ((return_pc - 1 - text - entry) as u32).to_le_bytes();
        let mut bytes = workload.bytes.clone();
        let trees = workload.function_data().step_by(4);
        trees.for_each(|at| write(&mut bytes, at, &parent));
        let answer = answer(build, bytes, &[return_pc]);
        assert!(answer.frames.is_empty(), "{build}: {:?}", answer.frames);
    }
}

#[test]
fn an_unknown_go_version_is_named() {
    for build in ["go1.26.3", "go1.27.3-pie"] {
        let mut workload = Workload::read(build);
        let (at, _, _) = workload.section(&[".go.buildinfo"]).unwrap();
        assert_eq!(workload.bytes[at + 32], 8);
        write(&mut workload.bytes, at + 33, b"go1.99.1");
        let file = Blocks::new(workload.bytes);
        let build = BuildInfo::read(&file, &workload.elf).unwrap();
        let error = GoBinary::read(&file, &workload.elf, &build).unwrap_err();
        assert!(matches!(error, BinaryError::UnknownGoVersion(_)), "{error}");
        assert!(error.to_string().contains("go1.99.1"), "{error}");
    }
}

#[test]
fn a_program_that_is_not_go_is_said_to_be_none() {
    for path in [PathBuf::from("/bin/sh"), std::env::current_exe().unwrap()] {
        let file = Blocks::new(fs::File::open(path).unwrap());
        let error = BuildInfo::read(&file, &Elf::read(&file).unwrap()).unwrap_err();
        assert!(matches!(error, BinaryError::NotGo), "{error}");
    }
}

#[test]
fn what_is_no_executable_of_ours_is_refused_by_name() {
    let honest = Workload::read("go1.26.3").bytes;
    let patched = |at: usize, value: u8| {
        let mut bytes = honest.clone();
        bytes[at] = value;
        bytes
    };
    for (bytes, reason) in [
        (Vec::new(), "shorter than an ELF header"),
        (b"#!/bin/sh\n".repeat(100), "no ELF magic"),
        (patched(4, 1), "32-bit"),
        (patched(5, 2), "big-endian"),
        (patched(16, 1), "not an executable"),
    ] {
        let why = answer(reason, bytes, &[]).plan.unwrap_err();
        assert!(why.contains(reason), "{why}");
    }
    // Code of another processor than the header says.
    assert!(answer("arm64", patched(18, 183), &[]).refuses());
}
