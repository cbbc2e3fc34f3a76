//! Hostile memory of some tens of bytes: which recording, and what differs from it, and when.
//!
//! As in `script.rs`, a script is plain fixed-size records.
//!
//! ```text
//! 0  which recording, modulo their number
//! 1  odd: where nothing was recorded, there is a page of it over and over; 255: and the readers
//!    go as far as they go by default, which takes their whole time
//! 2  which page that is, in 2 bytes
//! 4  patches of 16 bytes: place 2, within it 2, kind 1, how often that page is read before 1,
//!    which other place 2, value 8
//! ```
//!
//! A place below 0x8000 is a page; another is a variable of the runtime.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{cell::RefCell, collections::HashMap, io, sync::LazyLock};

use leaktrace::{
    binary::RuntimeVariable,
    memory::{
        HeapProfile, HeapReading, Holders, ReadMemory, Standing,
        goroutines::{Goroutines, Limits, by_creation, by_labels, by_profile, by_stack, by_state},
    },
};

use super::recording::{self, PAGE_BYTES, Recording};

const HEAD_BYTES: usize = 4;
const PATCH_BYTES: usize = 16;
/// More patches than this are left out: each costs time in every reading.
const PATCHES_MAX: usize = 64;
const PAGE: u64 = PAGE_BYTES as u64;
/// `TOP` of `find_holders`.
const HOLDERS_MAX: usize = 20;
/// Frames of a call chain, of `heap_bucket` and of `goroutines::Limits`.
const HEAP_FRAMES_MAX: usize = 1026;
const FRAMES_MAX: usize = 512;
/// `LABELS_MAX` of `goroutines`.
const LABELS_MAX: usize = 64;

/// What is kept of goroutines: enough for every limit to be met, and soon.
const LIMITS: Limits =
    Limits { slots: 2048, frames: 512, stack_words: 1 << 12, label_bytes: 1 << 12 };
/// How often `find_holders` is told to go on: for 1024 spans each.
const TIMES_ON: u64 = 4;

/// A recording with its places.
struct Subject {
    recording: Recording,
    pages: Vec<u64>,
    variables: Vec<u64>,
}

static SUBJECTS: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    let subject = |recording: Recording| {
        let pages = recording.memory.pages().keys().copied().collect();
        let variables =
            RuntimeVariable::ALL.map(|variable| recording.addresses.of(variable).unwrap());
        Subject { pages, variables: variables.to_vec(), recording }
    };
    recording::all().into_iter().map(subject).collect()
});

/// What a page has instead of what was recorded.
enum Change {
    /// Nothing is mapped.
    Unmapped,
    /// These bytes from there on, as far as the page goes.
    Bytes(usize, Vec<u8>),
    /// All words are this one.
    Words(u64),
}

struct Patch {
    /// Readings of the page until it is so.
    after: u32,
    change: Change,
}

/// Recorded memory seen through patches, which moves as it is read.
struct Moving {
    subject: &'static Subject,
    /// What is everywhere else.
    elsewhere: Option<&'static [u8]>,
    patches: HashMap<u64, Vec<Patch>>,
    readings: RefCell<HashMap<u64, u32>>,
}

impl ReadMemory for Moving {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let Some(at) = address.checked_add(done as u64) else { break };
            let (start, within) = (at - at % PAGE, (at % PAGE) as usize);
            let length = (PAGE_BYTES - within).min(buffer.len() - done);
            if !self.copy(start, within, &mut buffer[done..done + length]) {
                break;
            }
            done += length;
        }
        Ok(done)
    }
}

impl Moving {
    /// Fills `part` from `within` the page at `start`, unless nothing is there.
    fn copy(&self, start: u64, within: usize, part: &mut [u8]) -> bool {
        let pages = self.subject.recording.memory.pages();
        let Some(page) = pages.get(&start).map(Vec::as_slice).or(self.elsewhere) else {
            return false;
        };
        let Some(patches) = self.patches.get(&start) else {
            part.copy_from_slice(&page[within..within + part.len()]);
            return true;
        };
        let mut readings = self.readings.borrow_mut();
        let reading = readings.entry(start).or_default();
        let mut page = page.to_vec();
        for patch in patches.iter().filter(|patch| patch.after <= *reading) {
            match &patch.change {
                Change::Unmapped => return false,
                Change::Bytes(at, bytes) => {
                    let length = bytes.len().min(PAGE_BYTES - at);
                    page[*at..at + length].copy_from_slice(&bytes[..length]);
                }
                Change::Words(word) => page = word.to_le_bytes().repeat(PAGE_BYTES / 8),
            }
        }
        *reading = reading.saturating_add(1);
        part.copy_from_slice(&page[within..within + part.len()]);
        true
    }
}

fn le(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

impl Subject {
    /// The address of a place: of its page, or of a variable.
    fn place(&self, number: u64) -> u64 {
        let (list, index) = match number < 0x8000 {
            true => (&self.pages, number as usize),
            false => (&self.variables, number as usize - 0x8000),
        };
        list[index % list.len()]
    }

    fn page(&self, address: u64) -> &[u8] {
        self.recording.memory.pages().get(&(address - address % PAGE)).map_or(&[], Vec::as_slice)
    }

    /// The page of one patch, and the patch.
    fn patch(&self, record: &[u8]) -> (u64, Patch) {
        let at = self.place(le(record, 0, 2)).wrapping_add(le(record, 2, 2) % PAGE);
        let (start, within) = (at - at % PAGE, (at % PAGE) as usize);
        let (other, value) = (self.place(le(record, 6, 2)), le(record, 8, 8));
        let honest = self.page(start).get(within).copied().unwrap_or(0);
        let change = match record[4] % 9 {
            0 => Change::Bytes(within, vec![honest ^ (1 << (value % 8))]),
            1 => Change::Bytes(within, vec![value as u8]),
            2 => Change::Bytes(within & !3, (value as u32).to_le_bytes().to_vec()),
            3 => Change::Bytes(within & !7, value.to_le_bytes().to_vec()),
            // A likely pointer, and one back to where it lies.
            4 => {
                Change::Bytes(within & !7, other.wrapping_add(value % PAGE).to_le_bytes().to_vec())
            }
            5 => Change::Bytes(within & !7, at.wrapping_sub(value % 512).to_le_bytes().to_vec()),
            6 => Change::Unmapped,
            7 => Change::Words(value),
            _ => Change::Bytes(0, self.page(other).to_vec()),
        };
        (start, Patch { after: record[5].into(), change })
    }
}

/// What the readers said: how much, or why not.
pub struct Reading {
    pub sites: Result<usize, String>,
    pub goroutines: Result<usize, String>,
    pub with_children: Result<u64, String>,
    pub standings: Result<usize, String>,
}

/// Reads the memory that `script` describes with every reader; none for less than its head.
/// Only with `may_go_far` does it obey a script that asks to go far. Panics where an answer is one
/// that no memory may cause.
pub fn read_moving(script: &[u8], may_go_far: bool) -> Option<Reading> {
    let (head, rest) = script.split_at_checked(HEAD_BYTES)?;
    let subject = &SUBJECTS[usize::from(head[0]) % SUBJECTS.len()];
    let elsewhere = (head[1] % 2 == 1).then(|| subject.page(subject.place(le(head, 2, 2))));
    let mut patches: HashMap<u64, Vec<Patch>> = HashMap::new();
    for record in rest.chunks_exact(PATCH_BYTES).take(PATCHES_MAX) {
        let (page, patch) = subject.patch(record);
        patches.entry(page).or_default().push(patch);
    }
    let elsewhere = elsewhere.filter(|page| page.len() == PAGE_BYTES);
    let moving = Moving { subject, elsewhere, patches, readings: RefCell::default() };
    Some(read_all(&moving, may_go_far && head[1] == 255))
}

/// One reader after the other; nothing is kept, so that each has all of the memory.
fn read_all(memory: &Moving, far: bool) -> Reading {
    let recording = &memory.subject.recording;
    let mut subject = recording.read(memory);
    if !far {
        (subject.limits, subject.times_on) = (LIMITS, TIMES_ON);
    }
    let types = recording.types();
    // What hangs on contexts is at most all that there is to be followed.
    if let Ok(Some(reached)) = subject.reached(&types) {
        assert_eq!(reached.len(), subject.contexts.len());
    }
    let _ = subject.arenas().map(|found| assert!(found.resident().exclusive_bytes < 1 << 48));
    // Whatever numbers there are, they are numbers.
    let _ = subject.counters();
    let _ = subject.goroutines(false).map(|read| check_goroutines(&read));
    let reading = Reading {
        sites: subject.heap().map(|profile| check_heap(&profile)),
        goroutines: subject.goroutines(true).map(|read| check_goroutines(&read)),
        with_children: subject.holders(&types).map(|found| check_holders(&found)),
        standings: subject.standings(&types).map(|all| check_standings(&all, subject.contexts)),
    };
    // One thing that is not what it should be keeps none of the others from being found.
    let errors = [reading.goroutines.as_ref().err(), reading.with_children.as_ref().err()];
    for error in errors.into_iter().chain([reading.standings.as_ref().err()]).flatten() {
        assert!(!error.starts_with("not recognised"), "{error}");
    }
    reading
}

fn check_heap(profile: &HeapProfile) -> usize {
    for site in &profile.sites {
        assert!(site.stack.len() <= HEAP_FRAMES_MAX, "{} frames", site.stack.len());
        assert!(site.published.free_objects <= site.published.alloc_objects, "{site:?}");
        assert!(site.current.free_objects <= site.current.alloc_objects, "{site:?}");
    }
    let groups = [HeapReading::Published, HeapReading::Current].map(|of| profile.groups(of).len());
    assert!(groups.into_iter().all(|groups| groups <= profile.sites.len()));
    profile.sites.len()
}

fn check_goroutines(read: &Goroutines) -> usize {
    let list = &read.list;
    assert!(list.is_sorted_by(|a, b| a.id < b.id));
    for one in list {
        assert!(read.stack_of(one.stack).len() <= FRAMES_MAX, "{one:?}");
        assert!(read.labels(one.labels).len() <= LABELS_MAX, "{one:?}");
        assert!(!one.state().is_empty());
    }
    let counts = [
        by_stack(list).iter().map(|group| group.count).sum::<u64>(),
        by_profile(list).iter().map(|group| group.count).sum(),
        by_creation(list).iter().map(|group| group.count).sum(),
        by_labels(list).iter().map(|group| group.count).sum(),
        by_state(list).iter().map(|group| group.count).sum(),
    ];
    assert!(counts.into_iter().all(|count| count == list.len() as u64));
    list.len()
}

fn check_holders(found: &Holders) -> u64 {
    assert!(found.top.len() <= HOLDERS_MAX);
    assert!(found.top.is_sorted_by(|a, b| a.children >= b.children), "{:?}", found.top);
    assert!(found.spans_read <= found.spans_seen, "{found:?}");
    assert!(found.top.len() as u64 <= found.with_children, "{found:?}");
    found.with_children
}

fn check_standings(standings: &[Standing], asked: &[u64]) -> usize {
    assert!(standings.iter().map(|standing| &standing.address).eq(asked));
    standings.len()
}
