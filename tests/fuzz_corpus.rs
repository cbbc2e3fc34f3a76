//! What the fuzzer found worth keeping is read again: a corpus goes on protecting without a fuzzer.
//!
//! `cargo xtask fuzz --keep` makes `tests/fuzz/corpus` anew. In `tests/fuzz/seeds` stay the honest
//! programs, and what was mishandled once; `UPDATE_SEEDS=1 cargo test --test fuzz_corpus` writes
//! the hand-made ones after a change in `support/tiny.rs`.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/moving.rs"]
mod moving;
#[path = "support/readers.rs"]
mod readers;
#[path = "support/recording.rs"]
mod recording;
#[path = "support/script.rs"]
mod script;
#[path = "support/specimen.rs"]
mod specimen;
#[path = "support/tiny.rs"]
mod tiny;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use leaktrace::binary::Blocks;
use moving::read_moving;
use readers::{Answer, read_all};
use script::read_patched;

/// As for a fuzzer's single input.
const TIME_MAX: Duration = Duration::from_secs(5);
const SEEDS: [(&str, bool); 2] = [("fixed", false), ("position_independent", true)];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz").join(name)
}

fn read_whole(bytes: &[u8]) -> Answer {
    read_all(&Blocks::new(bytes.to_vec()), &tiny::pcs(), &tiny::ITABS)
}

/// Reads every input that is kept for `target`: the answers, each in time and without a panic.
fn replay<T>(target: &str, read: impl Fn(&[u8]) -> Option<T>) -> Vec<T> {
    let folders = ["corpus", "seeds"].map(|kind| folder(kind).join(target));
    let entries = folders.into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut inputs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    let answer = |path: &PathBuf| {
        let (shown, bytes, begin) = (path.display(), fs::read(path).unwrap(), Instant::now());
        let answer = catch_unwind(AssertUnwindSafe(|| read(&bytes)))
            .unwrap_or_else(|_| panic!("{shown} made it panic"));
        assert!(begin.elapsed() < TIME_MAX, "{shown} took {:?}", begin.elapsed());
        answer
    };
    inputs.iter().filter_map(answer).collect()
}

/// Some are read, some refused for one reason or another, or the corpus protects nothing.
fn check(answers: &[Answer]) {
    let whole = answers.iter().filter(|answer| answer.is_whole()).count();
    let mut reasons: Vec<_> = answers.iter().filter_map(|a| a.plan.as_ref().err()).collect();
    reasons.sort();
    reasons.dedup();
    assert!(whole > 5 && reasons.len() > 10, "{whole} of {}: {reasons:?}", answers.len());
}

#[test]
fn kept_patches_of_real_programs_are_read_or_refused() {
    // The honest programs are read by the first script, whose time is not taken.
    assert!(read_patched(&[0; 4]).unwrap().is_whole());
    check(&replay("patched", read_patched));
}

#[test]
fn kept_files_are_read_or_refused() {
    check(&replay("whole", |bytes| Some(read_whole(bytes))));
}

#[test]
fn kept_patches_of_memory_are_read_or_refused() {
    // The recordings are read by the first script, whose time is not taken.
    assert!(read_moving(&[0; 4], false).is_some());
    // Going far takes an optimised build half a second, and this one ten.
    let readings = replay("memory", |script| read_moving(script, false));
    let whole = |reading: &&moving::Reading| {
        let heap_and_goroutines = reading.sites.is_ok() && reading.goroutines.is_ok();
        heap_and_goroutines && reading.with_children.is_ok() && reading.standings.is_ok()
    };
    let wholes = readings.iter().filter(whole).count();
    assert!(wholes > 9 && wholes < readings.len(), "{wholes} of {}", readings.len());
}

#[test]
fn an_empty_script_is_the_recorded_memory() {
    for number in 0..9 {
        let reading = read_moving(&[number, 0, 0, 0], false).unwrap();
        assert!(reading.goroutines.unwrap() > 5, "{number}");
        assert!(reading.sites.is_ok() && reading.with_children.is_ok(), "{number}");
        assert!(reading.standings.is_ok(), "{number}");
    }
}

#[test]
fn an_empty_script_is_the_honest_program() {
    for number in 0..specimen::BUILDS.len() as u8 {
        let answer = read_patched(&[number, 0, 0, 0]).unwrap();
        assert!(answer.is_whole(), "{number}: {:?}", answer.plan);
        assert!(answer.types.len() >= 5, "{number}: {:?}", answer.types);
    }
}

#[test]
fn the_hand_made_programs_are_read_whole() {
    for (name, position_independent) in SEEDS {
        let answer = read_whole(&tiny::executable(position_independent));
        let plan = answer.plan.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(plan.releases_complete && plan.points.len() == 3, "{name}: {plan:?}");
        assert!(answer.frames.iter().any(|frame| frame.inlined && frame.line == 10), "{name}");
        assert_eq!(answer.types, ["main.ctx"], "{name}");
    }
}

#[test]
fn the_fuzzer_starts_from_the_hand_made_programs() {
    for (name, position_independent) in SEEDS {
        let (path, made) =
            (folder("seeds/whole").join(name), tiny::executable(position_independent));
        if std::env::var_os("UPDATE_SEEDS").is_some() {
            fs::write(&path, &made).unwrap();
        }
        assert!(fs::read(&path).unwrap() == made, "{} is not up to date", path.display());
    }
}
