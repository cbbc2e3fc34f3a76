//! Memory made up by hand: what a walk must bear, without a process.

use std::collections::HashMap;

use super::{
    GoroutineReader, Goroutines, Limits, NoStack, Options, Stack, StackFrame, Status, Unwind,
};
use crate::{
    binary::{
        Machine, RuntimeVariable,
        layout::{Layout, for_every_version},
    },
    memory::{Addresses, MemoryError, RecordedMemory, Runtime, View},
};

const COUNT: u64 = 0x2000;
const LIST: u64 = 0x2008;
const ARRAY: u64 = 0x10_0000;
const G: u64 = 0x20_0000;
const STACK: u64 = 0x30_0000;
const STACK_BYTES: u64 = 0x1000;
const LABELS: u64 = 0x40_0000;

/// A process with goroutines that wait.
struct Process {
    layout: Layout,
    memory: RecordedMemory,
}

impl Process {
    fn new(layout: Layout, count: u64) -> Self {
        let mut this = Self { layout, memory: RecordedMemory::default() };
        this.memory.put_words(COUNT, &[count, ARRAY]);
        (0..count).for_each(|index| this.waiting(index));
        this
    }

    /// Goroutine `index + 1`: two frames, of 16 and 0 bytes.
    fn waiting(&mut self, index: u64) {
        let g = self.layout.goroutines.g;
        let hi = STACK + (index + 1) * STACK_BYTES;
        let sp = hi - 0x40;
        self.memory.put_words(ARRAY + index * 8, &[G + index * 0x400]);
        self.memory.put_words(G + index * 0x400, &[0; 0x80]);
        self.set(index, g.stack_lo, hi - STACK_BYTES);
        self.set(index, g.stack_hi, hi);
        self.set(index, g.sched_pc, 0x500);
        self.set(index, g.sched_sp, sp);
        self.set(index, g.sched_bp, sp + 8);
        self.set(index, g.atomicstatus, 4);
        self.set(index, g.goid, index + 1);
        self.set(index, g.waitreason, 2);
        self.memory.put_words(sp + 8, &[sp + 0x18, 0x600, 0, 0x700, 0]);
    }

    fn set(&mut self, index: u64, field: u64, value: u64) {
        self.memory.put_words(G + index * 0x400 + field, &[value]);
    }

    fn with_runtime<T>(&self, read: impl FnOnce(&Runtime<'_>) -> T) -> T {
        let known = [(RuntimeVariable::GoroutineCount, COUNT), (RuntimeVariable::Goroutines, LIST)];
        let addresses = Addresses::new(known.map(|(variable, at)| (variable, Ok(at))), 0);
        read(&Runtime {
            view: View::new(&self.memory),
            layout: self.layout,
            machine: Machine::Amd64,
            addresses: &addresses,
        })
    }

    fn read_by(&self, options: &Options<'_>) -> Result<Goroutines, MemoryError> {
        self.with_runtime(|runtime| Goroutines::read(runtime, options))
    }

    /// With what `reader` knows of earlier readings.
    fn read_again(&self, reader: &mut GoroutineReader) -> Goroutines {
        self.with_runtime(|runtime| reader.read(runtime, None)).unwrap()
    }

    fn read(&self) -> Goroutines {
        self.read_by(&Options::default()).unwrap()
    }
}

/// Depths by addresses; at 0x700 is the outermost function.
struct Depths(HashMap<u64, u64>);

impl Unwind for Depths {
    fn frame(&self, pc: u64) -> Option<StackFrame> {
        let depth = *self.0.get(&pc)?;
        Some(StackFrame { depth, outermost: pc == 0x700 })
    }
}

fn every_version() -> impl Iterator<Item = Layout> {
    for_every_version()
}

fn newest() -> Layout {
    every_version().last().unwrap()
}

#[test]
fn stacks_are_walked_by_either_method() {
    for layout in every_version() {
        let process = Process::new(layout, 3);
        let depths = Depths(HashMap::from([(0x500, 16), (0x600, 8), (0x700, 0)]));
        let limits = Limits::default();
        for unwind in [None, Some(&depths as &dyn Unwind)] {
            let read = process.read_by(&Options { unwind, limits }).unwrap();
            assert_eq!((read.list.len(), read.stack_count()), (3, 1));
            let one = read.list[1];
            assert_eq!((one.id, one.status, one.state()), (2, Status::Waiting, "IO wait"));
            assert!(matches!(one.stack, Stack::Known(_)), "{one:?}");
            assert_eq!(read.stack_of(one.stack), [0x500, 0x600, 0x700]);
            assert_eq!(read.lost, super::Lost::default());
        }
    }
}

#[test]
fn states_are_told_apart() {
    let layout = newest();
    let g = layout.goroutines.g;
    let mut process = Process::new(layout, 6);
    process.set(0, g.atomicstatus, 2); // runs
    process.set(1, g.atomicstatus, 6); // dead
    process.set(2, g.atomicstatus, 4 | 0x1000); // is scanned
    process.set(3, g.atomicstatus, 3);
    process.set(4, g.atomicstatus, 10); // leaked
    process.set(5, g.waitsince, 7_000_000_000);
    process.set(5, g.lockedm, 1);
    let read = process.read();
    let states: Vec<_> = read.list.iter().map(|one| (one.id, one.state())).collect();
    let expected = [(1, "running"), (3, "IO wait"), (4, "syscall"), (5, "IO wait"), (6, "IO wait")];
    assert_eq!(states, expected);
    assert_eq!(read.list[0].stack, Stack::Unknown(NoStack::Running));
    assert_eq!(read.list[4].waiting_s(9_500_000_000), Some(2.5));
    assert_eq!(read.list[3].waiting_s(9_500_000_000), None);
    assert!(read.list[4].locked_to_thread && !read.list[3].locked_to_thread);
}

#[test]
fn a_system_call_without_frame_pointer_has_no_stack() {
    for layout in every_version() {
        let g = layout.goroutines.g;
        let mut process = Process::new(layout, 1);
        process.set(0, g.atomicstatus, 3);
        process.set(0, g.syscallsp, STACK + STACK_BYTES - 0x40);
        process.set(0, g.syscallpc, 0x501);
        if let Some(at) = g.syscallbp {
            process.set(0, at, STACK + STACK_BYTES - 0x38);
        }
        let (read, known) = (process.read(), g.syscallbp.is_some());
        let expected: &[u64] = if known { &[0x501, 0x600, 0x700] } else { &[] };
        assert_eq!(read.stack_of(read.list[0].stack), expected);
        let why = Stack::Unknown(NoStack::NoFramePointer);
        assert_eq!(read.list[0].stack == why, !known);
    }
}

#[test]
fn what_is_no_goroutine_is_counted() {
    let g = newest().goroutines.g;
    let wrong: [(u64, u64); 7] = [
        (g.atomicstatus, 77),
        (g.goid, 0),
        (g.stack_lo, 0),
        (g.stack_lo, u64::MAX - 7),
        (g.stack_hi, u64::MAX - 7),
        (g.sched_sp, 0x123),
        (g.sched_sp, STACK + 2 * STACK_BYTES),
    ];
    for (field, value) in wrong {
        let mut process = Process::new(newest(), 3);
        process.set(0, field, value);
        let read = process.read();
        assert_eq!((read.list.len(), read.lost.invalid), (2, 1), "{field} {value:#x}");
    }
}

#[test]
fn a_list_that_lies_is_survived() {
    let mut process = Process::new(newest(), 2);
    process.memory.put_words(ARRAY, &[G, G, 3, 0, u64::MAX - 7, 0xdead_0000]);
    process.memory.put_words(COUNT, &[u64::MAX]);
    let read = process.read();
    assert_eq!((read.list.len(), read.lost.duplicates), (1, 1));
    assert!(read.lost.slots_unreadable > 0 && read.lost.slots_beyond_limit > 1 << 60);
    process.memory.put_words(COUNT, &[5, u64::MAX - 15]);
    assert_eq!(process.read().lost.slots_unreadable, 5);
    let closed = Process { layout: newest(), memory: RecordedMemory::default() };
    assert!(closed.read_by(&Options::default()).is_err());
}

#[test]
fn a_stack_that_leads_in_a_circle_or_nowhere_is_cut() {
    let sp = STACK + STACK_BYTES - 0x40;
    for bp in [sp + 8, sp - 64, sp + 9, u64::MAX - 7, STACK + STACK_BYTES, 1] {
        let mut process = Process::new(newest(), 1);
        process.memory.put_words(sp + 8, &[bp]);
        let read = process.read();
        assert!(matches!(read.list[0].stack, Stack::Cut(_)), "{bp:#x}");
        assert_eq!(read.stack_of(read.list[0].stack)[..2], [0x500, 0x600], "{bp:#x}");
        assert_eq!(read.lost.stacks_cut, 1);
    }
    for depth in [u64::MAX - 7, 0x1000, 7] {
        let process = Process::new(newest(), 1);
        let depths = Depths(HashMap::from([(0x500, depth), (0x600, depth)]));
        let options = Options { unwind: Some(&depths), limits: Limits::default() };
        let read = process.read_by(&options).unwrap();
        assert!(matches!(read.list[0].stack, Stack::Cut(_)), "{depth:#x}");
    }
}

#[test]
fn limits_hold_and_are_told() {
    let process = Process::new(newest(), 4);
    let read = |limits| process.read_by(&Options { unwind: None, limits }).unwrap();
    let all = Limits::default();
    let few = read(Limits { slots: 3, ..all });
    assert_eq!((few.list.len(), few.lost.slots_beyond_limit), (3, 1));
    let short = read(Limits { frames: 2, ..all });
    assert_eq!(short.stack_of(short.list[0].stack), [0x500, 0x600]);
    assert_eq!(short.lost.stacks_cut, 4);
    let none = read(Limits { stack_words: 5, ..all });
    assert_eq!(none.list[0].stack, Stack::Unknown(NoStack::BeyondLimit));
    assert_eq!(none.lost.stacks_beyond_limit, 4);
}

/// Two labels as `layout` keeps them, at [`LABELS`].
fn put_labels(process: &mut Process) {
    let texts = LABELS + 0x800;
    process.memory.put(texts, b"keyvalueabc");
    let strings = [texts, 3, texts + 3, 5, texts + 8, 1, texts + 9, 2];
    let (layout, memory) = (process.layout, &mut process.memory);
    match (layout.contexts.hmap, layout.goroutines.label_bucket) {
        (Some(hmap), Some(bucket)) => {
            let (map, buckets) = (LABELS + 0x100, LABELS + 0x200);
            memory.put_words(LABELS, &[map]);
            memory.put_words(map, &[0; 8]);
            memory.put_words(map + hmap.count, &[2]);
            memory.put_words(map + hmap.buckets, &[buckets]);
            memory.put_words(buckets, &[0; 40]);
            memory.put(buckets, &[9, 0, 0, 200]);
            for (slot, texts) in [0, 3].into_iter().zip(strings.chunks(4)) {
                memory.put_words(buckets + bucket.keys + slot * 16, &texts[..2]);
                memory.put_words(buckets + bucket.values + slot * 16, &texts[2..]);
            }
        }
        _ => {
            memory.put_words(LABELS, &[LABELS + 0x100, 2, 2]);
            memory.put_words(LABELS + 0x100, &strings);
        }
    }
    process.set(0, layout.goroutines.g.labels, LABELS);
    process.set(2, layout.goroutines.g.labels, LABELS);
}

#[test]
fn labels_are_read_in_both_encodings() {
    for layout in every_version() {
        let mut process = Process::new(layout, 3);
        put_labels(&mut process);
        let read = process.read();
        let labels = read.labels(read.list[0].labels).iter();
        let labels: Vec<_> = labels.map(|label| (&*label.key, &*label.value)).collect();
        assert_eq!(labels, [("a", "bc"), ("key", "value")], "{}", layout.minor);
        assert_eq!((read.list[1].labels, read.list[2].labels), (None, read.list[0].labels));
        assert_eq!(read.lost.labels, 0);
        let limits = Limits { label_bytes: 100, ..Limits::default() };
        let read = process.read_by(&Options { unwind: None, limits }).unwrap();
        assert_eq!((read.list[0].labels, read.lost.labels), (None, 2));
    }
}

#[test]
fn labels_that_are_none_are_counted() {
    for layout in every_version() {
        // An absurd number, a pointer to nowhere, a chain that leads in a circle.
        let mut breaks: Vec<(u64, u64)> = vec![(LABELS, 0xdead_0000)];
        match (layout.contexts.hmap, layout.goroutines.label_bucket) {
            (Some(hmap), Some(bucket)) => {
                let (map, buckets) = (LABELS + 0x100, LABELS + 0x200);
                breaks.push((map + hmap.count, u64::MAX));
                breaks.push((map + hmap.count, 1));
                breaks.push((map + hmap.b, u64::MAX));
                breaks.push((buckets + bucket.overflow, buckets));
            }
            _ => breaks.extend([(LABELS + 8, u64::MAX), (LABELS + 0x108, 1 << 40)]),
        }
        for (address, value) in breaks {
            let mut process = Process::new(layout, 3);
            put_labels(&mut process);
            process.memory.put_words(address, &[value]);
            let read = process.read();
            assert_eq!(
                (read.list.len(), read.lost.labels),
                (3, 2),
                "{} {address:#x}",
                layout.minor
            );
        }
    }
}

#[test]
fn only_what_moved_is_walked_again() {
    for layout in every_version() {
        let mut process = Process::new(layout, 4);
        put_labels(&mut process);
        let mut reader = GoroutineReader::new(Limits::default());
        let first = process.read_again(&mut reader);
        assert_eq!((first.walked, first.list.len()), (4, 4));
        let again = process.read_again(&mut reader);
        assert_eq!((again.walked, &again.list), (0, &first.list));
        assert_eq!(again.labels(again.list[0].labels).len(), 2);
        // It ran, came back to the same place, and was called from elsewhere.
        let sp = STACK + 2 * STACK_BYTES - 0x40;
        process.memory.put_words(sp + 0x10, &[0x601]);
        process.set(1, layout.goroutines.g.tracking_seq, 1);
        let moved = process.read_again(&mut reader);
        assert_eq!(moved.walked, 1);
        assert_eq!(moved.stack_of(moved.list[1].stack), [0x500, 0x601, 0x700]);
        assert_eq!(moved.stack_of(moved.list[0].stack), [0x500, 0x600, 0x700]);
        assert_eq!(process.read_again(&mut reader).walked, 0);
    }
}

#[test]
fn another_goroutine_in_the_same_slot_is_another() {
    let g = newest().goroutines.g;
    let mut process = Process::new(newest(), 2);
    let mut reader = GoroutineReader::new(Limits::default());
    process.read_again(&mut reader);
    process.set(0, g.goid, 17);
    process.set(1, g.atomicstatus, 6);
    let other = process.read_again(&mut reader);
    let ids: Vec<_> = other.list.iter().map(|one| one.id).collect();
    assert_eq!((ids.as_slice(), other.walked), (&[17][..], 1));
    process.set(1, g.atomicstatus, 4);
    assert_eq!(process.read_again(&mut reader).walked, 1, "what ended was forgotten");
}

/// A trace that goes on for days must not keep every stack that it ever saw.
#[test]
fn stacks_that_nobody_has_any_more_make_room() {
    let g = newest().goroutines.g;
    let mut process = Process::new(newest(), 3);
    put_labels(&mut process);
    let mut reader = GoroutineReader::new(Limits { stack_words: 1000, ..Limits::default() });
    for round in 0..500 {
        process.set(1, g.sched_pc, 0x1000 + round);
        let read = process.read_again(&mut reader);
        assert_eq!(read.lost, super::Lost::default(), "round {round}");
        assert_eq!(read.stack_of(read.list[0].stack), [0x500, 0x600, 0x700]);
        assert_eq!(read.stack_of(read.list[1].stack)[0], 0x1000 + round);
        assert_eq!((read.walked, read.stack_count() < 95), (if round == 0 { 3 } else { 1 }, true));
        assert_eq!(read.labels(read.list[2].labels).len(), 2);
    }
}
