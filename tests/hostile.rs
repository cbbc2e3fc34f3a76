//! Executables that lie: whatever a file says, the answer is facts or a reason, soon.
//!
//! The mutants come from real programs of the oldest and the newest Go versions, by a fixed seed.
//! A mutant that panics or takes long names itself, so that it can be made again.

#![expect(clippy::unwrap_used, reason = "what the test itself can't read is its failure")]

#[path = "support/readers.rs"]
mod readers;
#[path = "support/specimen.rs"]
mod specimen;

use std::{
    fs,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::{Duration, Instant},
};

use leaktrace::binary::{BinaryError, Blocks, BuildInfo, Elf, GoBinary};
use readers::{Answer, read_all};
use specimen::{BUILDS, CREATE, Specimen, le32};

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

/// The answer, in time and without a panic; `mutant` says how to make the file again.
fn answer(mutant: &str, bytes: Vec<u8>, pcs: &[u64]) -> Answer {
    let begin = Instant::now();
    let answer = catch_unwind(AssertUnwindSafe(|| read_all(&Blocks::new(bytes), pcs, &[])))
        .unwrap_or_else(|_| panic!("{mutant} made it panic"));
    assert!(begin.elapsed() < TIME_MAX, "{mutant} took {:?}", begin.elapsed());
    answer
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
    let workload = Specimen::read(build);
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
    ["go1.21.13", "go1.21.13-pie", "go1.22.10-pgo"].into_iter().for_each(fuzz);
}

#[test]
fn mutants_of_new_programs_are_read_or_refused() {
    ["go1.26.3", "go1.26.3-pie", "go1.27.3", "go1.27.3-pie"].into_iter().for_each(fuzz);
}

#[test]
fn an_honest_program_is_read_with_its_sections_and_without() {
    for build in BUILDS {
        let workload = Specimen::read(build);
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
        let workload = Specimen::read(build);
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
        let workload = Specimen::read(build);
        let (table, text) = (workload.part(4), workload.text());
        let inlined =
            |pc: &u64| read_all(&Blocks::new(workload.bytes.clone()), &[*pc], &[]).frames.len() > 1;
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
        let mut workload = Specimen::read(build);
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
    let honest = Specimen::read("go1.26.3").bytes;
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
