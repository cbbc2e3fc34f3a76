//! One bucket of the heap profile: its address in, what it counts and for which stack out.
//!
//! Non-goals: the list that it is part of.

use super::{HeapCounts, MemoryError, Runtime};

/// `maxProfStackDepth` (runtime/mprof.go), the most that `GODEBUG=profstackdepth` can ask for, and
/// the two that the runtime may add.
const STACK_MAX: u64 = 1024 + 2;
/// An address space has 47 bits: nothing in it is larger.
const OBJECT_BYTES_MAX: u64 = 1 << 47;
/// `memRecord.future` (runtime/mprof.go).
const FUTURES: usize = 3;
/// The longest `memRecord` of any version is 128 bytes.
const RECORD_BYTES_MAX: usize = 256;
/// The counts of a bucket change together within nanoseconds.
const ATTEMPTS: usize = 4;

/// The header is 48 bytes in every version.
const HEADER_BYTES_MAX: usize = 64;

/// A bucket's header, checked.
pub(super) struct Bucket {
    /// Where the stack begins.
    stack_at: u64,
    stack_len: usize,
    /// Address of the next bucket; 0 for none.
    pub next: u64,
    /// Bytes of each object.
    pub object_bytes: u64,
}

/// The counts of a bucket, as they are published and as they are.
pub(super) struct Counts {
    pub published: HeapCounts,
    pub current: HeapCounts,
}

impl Bucket {
    pub fn read(runtime: &Runtime<'_>, address: u64) -> Result<Self, MemoryError> {
        const BROKEN: MemoryError = MemoryError::NotRecognised("a bucket of the heap profile");
        let (heap, at) = (runtime.layout.heap, &runtime.layout.heap.bucket);
        let mut buffer = [0; HEADER_BYTES_MAX];
        let header = buffer.get_mut(..at.bytes as usize).ok_or(BROKEN)?;
        runtime.view.read(address, header)?;
        let (next, typ) = (word(header, at.allnext), word(header, at.typ));
        let (object_bytes, stack_len) = (word(header, at.size), word(header, at.nstk));
        let recognised = address.is_multiple_of(8)
            && typ == heap.numbers.mem_profile
            && object_bytes <= OBJECT_BYTES_MAX
            && stack_len <= STACK_MAX;
        if !recognised {
            return Err(BROKEN);
        }
        let stack_at = address.wrapping_add(at.bytes);
        Ok(Self { stack_at, stack_len: stack_len as usize, next, object_bytes })
    }

    /// The return addresses, innermost first.
    pub fn stack(&self, runtime: &Runtime<'_>) -> Result<Vec<u64>, MemoryError> {
        let mut bytes = vec![0; self.stack_len * size_of::<u64>()];
        runtime.view.read(self.stack_at, &mut bytes)?;
        Ok((0..self.stack_len as u64).map(|index| word(&bytes, index * 8)).collect())
    }

    /// The counts; none if more was freed than allocated each time they were read. `due` is the
    /// unpublished part that a publication adds first.
    pub fn counts(&self, runtime: &Runtime<'_>, due: usize) -> Result<Option<Counts>, MemoryError> {
        let length = runtime.layout.heap.mem_record.bytes as usize;
        let mut buffer = [0; RECORD_BYTES_MAX];
        let Some(record) = buffer.get_mut(..length) else { return Ok(None) };
        let address = self.stack_at.wrapping_add(self.stack_len as u64 * 8);
        runtime.view.read(address, record)?;
        for _ in 0..ATTEMPTS {
            let counts = Counts::of(runtime, record, due);
            if counts.make_sense() {
                return Ok(Some(counts));
            }
            // It changed while it was read: now past the cache.
            if runtime.view.read_once(address, record)? < length {
                return Err(MemoryError::Unmapped { address });
            }
        }
        Ok(None)
    }
}

/// The little-endian word at `at`; 0 beyond the end.
fn word(bytes: &[u8], at: u64) -> u64 {
    let bytes = bytes.get(at as usize..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Counts {
    fn of(runtime: &Runtime<'_>, record: &[u8], due: usize) -> Self {
        let heap = runtime.layout.heap;
        let cycle = |at: u64| HeapCounts {
            alloc_objects: word(record, at + heap.mem_record_cycle.allocs),
            free_objects: word(record, at + heap.mem_record_cycle.frees),
        };
        let future = |index: usize| {
            cycle(heap.mem_record.future + index as u64 * heap.mem_record_cycle.bytes)
        };
        let active = cycle(heap.mem_record.active);
        let current = (0..FUTURES).fold(active, |sum, index| sum.plus(future(index)));
        Self { published: active.plus(future(due)), current }
    }

    fn make_sense(&self) -> bool {
        [self.published, self.current].iter().all(|both| both.free_objects <= both.alloc_objects)
    }
}
