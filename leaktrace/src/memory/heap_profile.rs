//! The heap profile: the runtime's list of allocation sites in, plain counts out.
//!
//! The list (`runtime.mbuckets`, runtime/mprof.go) only grows at its head, and its buckets are
//! never moved or freed, so it can be walked while the process runs on; only the counts in it
//! change. Non-goals: names of the stacks; estimates of what was not sampled
//! (`heap_sites` has them).

use super::{MemoryError, Runtime, heap_bucket::Bucket};
use crate::binary::RuntimeVariable;

/// Buckets that are walked. A bucket takes at least 112 bytes of its process for ever, and one for
/// each distinct stack and size is made: large daemons have some ten thousand.
const BUCKETS_MAX: usize = 1_000_000;
/// Memory for the sites that are kept: 100,000 with stacks of 12. Beyond it the smallest half goes.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// A walk takes milliseconds, and a cycle lasts as long as a garbage collection takes.
const ATTEMPTS: usize = 4;

/// What the runtime's memory profiler has counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeapProfile {
    /// `runtime.MemProfileRate`: bytes allocated per sample on average. 0: profiling is off, as
    /// in every program that could not write a profile; then nothing was counted.
    pub rate_bytes: u64,
    /// One for each stack and size, in the order of the runtime's list: the newest site first.
    pub sites: Vec<HeapSite>,
    /// What is missing from the sites.
    pub dropped: HeapDropped,
    /// No collection moved the counts while they were read: all of them are of one moment.
    pub settled: bool,
}

/// What could not be kept of a heap profile; all zero and false as a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct HeapDropped {
    /// Buckets whose counts made no sense, also when read again.
    pub torn: u64,
    /// Buckets for which there was no room: those with the fewest bytes in use.
    pub small: u64,
    /// The list did not go on as it must, or for too long: older sites are missing.
    pub cut_short: bool,
}

/// Objects of one size that were allocated by one call chain, and sampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeapSite {
    /// The call chain, innermost first, as live return addresses. They are logical: a call that
    /// was inlined has an address of its own (see `symbolize::Symbolizer::logical_calls`).
    pub stack: Vec<u64>,
    /// Bytes of each object: its size class.
    pub object_bytes: u64,
    /// As the process itself would publish: exact for the end of the last collection but one.
    pub published: HeapCounts,
    /// All that was counted by now; what is garbage since the last sweep counts as in use.
    pub current: HeapCounts,
}

/// Sampled objects; not an estimate of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeapCounts {
    /// Objects allocated.
    pub alloc_objects: u64,
    /// Of these, freed.
    pub free_objects: u64,
}

impl HeapCounts {
    /// Objects that were not freed.
    pub const fn in_use(self) -> u64 {
        self.alloc_objects.saturating_sub(self.free_objects)
    }

    /// The sum of two that are parts of one.
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            alloc_objects: self.alloc_objects.wrapping_add(other.alloc_objects),
            free_objects: self.free_objects.wrapping_add(other.free_objects),
        }
    }
}

impl HeapProfile {
    /// Reads the profile, several times if the collector moves the counts meanwhile.
    ///
    /// # Errors
    /// A variable was not located, the memory can't be read, or the list leads in a circle.
    pub fn read(runtime: &Runtime<'_>) -> Result<Self, MemoryError> {
        let rate = number(runtime, RuntimeVariable::HeapProfileRate, 8)? as i64;
        let Ok(rate_bytes @ 1..) = u64::try_from(rate) else {
            return Ok(Self { settled: true, ..Self::default() });
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let cycle = number(runtime, RuntimeVariable::HeapProfileCycle, 4)?;
            let profile = Walk::new(runtime, cycle).run()?;
            let settled = cycle == number(runtime, RuntimeVariable::HeapProfileCycle, 4)?;
            if settled || attempts == ATTEMPTS {
                return Ok(Self { rate_bytes, settled, ..profile });
            }
        }
    }
}

/// The variable of `bytes` bytes as it is now: what the cache has of it may be old.
fn number(
    runtime: &Runtime<'_>,
    variable: RuntimeVariable,
    bytes: usize,
) -> Result<u64, MemoryError> {
    let address = runtime.addresses.of(variable)?;
    let mut word = [0; 8];
    let read = runtime.view.read_once(address, &mut word[..bytes])?;
    if read < bytes {
        return Err(MemoryError::Unmapped { address: address.wrapping_add(read as u64) });
    }
    Ok(u64::from_le_bytes(word))
}

/// One walk of the list.
struct Walk<'a> {
    runtime: &'a Runtime<'a>,
    /// Which of the three unpublished counts a publication would add first: `C % 3`.
    due: usize,
    profile: HeapProfile,
    kept_bytes: usize,
    kept_bytes_max: usize,
    published_any: bool,
}

impl<'a> Walk<'a> {
    /// `cycle` is `mProfCycle`: the cycle C, and in bit 0 whether it was published already; then
    /// there is nothing left of it to add.
    fn new(runtime: &'a Runtime<'a>, cycle: u64) -> Self {
        // What an earlier attempt has read is of an earlier cycle.
        runtime.view.refresh();
        Self {
            runtime,
            due: ((cycle >> 1) % 3) as usize,
            profile: HeapProfile::default(),
            kept_bytes: 0,
            kept_bytes_max: KEPT_BYTES_MAX,
            published_any: false,
        }
    }

    fn run(mut self) -> Result<HeapProfile, MemoryError> {
        let mut address = number(self.runtime, RuntimeVariable::HeapProfile, 8)?;
        let mut circle = Circle::default();
        while address != 0 {
            circle.check(address)?;
            match self.step(address) {
                Ok(next) if circle.steps < BUCKETS_MAX => address = next,
                Ok(_) | Err(MemoryError::Unmapped { .. } | MemoryError::NotRecognised(_)) => {
                    self.profile.dropped.cut_short = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if !self.published_any {
            // No collection yet: the process would publish everything.
            self.profile.sites.iter_mut().for_each(|site| site.published = site.current);
        }
        Ok(self.profile)
    }

    /// Keeps the bucket at `address`; gives the address of the next.
    fn step(&mut self, address: u64) -> Result<u64, MemoryError> {
        let bucket = Bucket::read(self.runtime, address)?;
        let Some(counts) = bucket.counts(self.runtime, self.due)? else {
            self.profile.dropped.torn += 1;
            return Ok(bucket.next);
        };
        self.published_any |= counts.published != HeapCounts::default();
        let site = HeapSite {
            stack: bucket.stack(self.runtime)?,
            object_bytes: bucket.object_bytes,
            published: counts.published,
            current: counts.current,
        };
        self.kept_bytes += site.bytes();
        self.profile.sites.push(site);
        if self.kept_bytes > self.kept_bytes_max {
            self.drop_small();
        }
        Ok(bucket.next)
    }

    /// Makes room: drops the half of the sites with the fewest bytes in use.
    fn drop_small(&mut self) {
        let sites = &mut self.profile.sites;
        let mut sizes: Vec<_> = sites.iter().map(HeapSite::sampled_bytes).collect();
        let half = sizes.len() / 2;
        let (_, median, _) = sizes.select_nth_unstable(half);
        let (median, mut room) = (*median, half);
        let before = sites.len();
        sites.retain(|site| {
            let stays = site.sampled_bytes() >= median && room > 0;
            room -= usize::from(stays);
            stays
        });
        self.profile.dropped.small += (before - sites.len()) as u64;
        self.kept_bytes = sites.iter().map(HeapSite::bytes).sum();
    }
}

impl HeapSite {
    /// What it takes of our own memory.
    const fn bytes(&self) -> usize {
        size_of::<Self>() + self.stack.capacity() * size_of::<u64>()
    }

    const fn sampled_bytes(&self) -> u64 {
        self.current.in_use().saturating_mul(self.object_bytes)
    }
}

/// Brent's detection of a circle: an address that is seen again within 2^k steps of a mark.
#[derive(Default)]
struct Circle {
    mark: u64,
    steps: usize,
}

impl Circle {
    fn check(&mut self, address: u64) -> Result<(), MemoryError> {
        if address == self.mark {
            return Err(MemoryError::NotRecognised("a heap profile that leads in a circle"));
        }
        self.steps += 1;
        if self.steps.is_power_of_two() {
            self.mark = address;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{HeapCounts, HeapDropped, HeapProfile, HeapSite, Walk};
    use crate::{
        binary::{Machine, RuntimeVariable, layout::for_version},
        memory::{Addresses, MemoryError, RecordedMemory, Runtime, View},
    };

    const HEAD: u64 = 0x1000;
    const CYCLE: u64 = 0x1010;
    const RATE: u64 = 0x1020;
    const FIRST: u64 = 0xc000_0000;
    const STEP: u64 = 0x100;

    /// A list of `buckets` (stack and size, then allocs and frees: active, and of the three
    /// futures) as Go 1.27 has it; the first is the newest.
    fn memory(cycle: u64, buckets: &[(&[u64], [u64; 8])]) -> RecordedMemory {
        let mut memory = RecordedMemory::default();
        let first = if buckets.is_empty() { 0 } else { FIRST };
        memory.put_words(HEAD, &[first, 0, cycle, 0, 4096]);
        for (index, (stack, counts)) in buckets.iter().enumerate() {
            let at = FIRST + STEP * index as u64;
            let next = if index + 1 == buckets.len() { 0 } else { at + STEP };
            memory.put_words(at, &[0, next, 1, 0x4a54, 48, stack.len() as u64]);
            memory.put_words(at + 48, stack);
            memory.put_words(at + 48 + 8 * stack.len() as u64, counts);
        }
        memory
    }

    fn with_runtime<T>(memory: &RecordedMemory, use_it: impl Fn(&Runtime<'_>) -> T) -> T {
        let located = [
            (RuntimeVariable::HeapProfile, Ok(HEAD)),
            (RuntimeVariable::HeapProfileCycle, Ok(CYCLE)),
            (RuntimeVariable::HeapProfileRate, Ok(RATE)),
        ];
        let addresses = Addresses::new(located, 0);
        let layout = for_version(&"go1.27.3".into()).unwrap();
        let (view, machine) = (View::new(memory), Machine::Amd64);
        use_it(&Runtime { view, layout, machine, addresses: &addresses })
    }

    fn read(memory: &RecordedMemory) -> Result<HeapProfile, MemoryError> {
        with_runtime(memory, HeapProfile::read)
    }

    const fn counts(alloc_objects: u64, free_objects: u64) -> HeapCounts {
        HeapCounts { alloc_objects, free_objects }
    }

    #[test]
    fn what_is_due_is_published_and_the_rest_is_current() {
        let bucket = [100, 40, 1, 2, 10, 20, 1000, 0];
        for (cycle, due) in [(6, counts(101, 42)), (8, counts(110, 60)), (11, counts(1100, 40))] {
            let profile = read(&memory(cycle, &[(&[0x40_1234, 0x40_5678], bucket)])).unwrap();
            let [site] = &*profile.sites else { panic!("{profile:?}") };
            assert_eq!((&*site.stack, site.object_bytes), (&[0x40_1234, 0x40_5678][..], 48));
            assert_eq!((site.published, site.current), (due, counts(1111, 62)), "{cycle}");
            assert_eq!((profile.rate_bytes, profile.settled), (4096, true));
            assert_eq!(profile.dropped, HeapDropped::default());
        }
    }

    #[test]
    fn before_the_first_collection_everything_is_published() {
        let buckets: [(&[u64], _); 2] =
            [(&[1], [0, 0, 0, 0, 5, 0, 3, 1]), (&[2], [0, 0, 0, 0, 0, 0, 0, 0])];
        let profile = read(&memory(0, &buckets)).unwrap();
        assert_eq!(profile.sites[0].published, counts(8, 1));
    }

    #[test]
    fn without_a_rate_profiling_is_off() {
        for rate in [0, u64::MAX, 1 << 63] {
            let mut memory = memory(0, &[(&[1], [1; 8])]);
            memory.put_words(RATE, &[rate]);
            let profile = read(&memory).unwrap();
            assert_eq!((profile.rate_bytes, profile.sites.len()), (0, 0));
        }
    }

    #[test]
    fn a_circle_is_an_error() {
        for back_to in [0, 1, 6] {
            let mut memory = memory(0, &[(&[1][..], [1, 0, 0, 0, 0, 0, 0, 0]); 7]);
            memory.put_words(FIRST + 6 * STEP + 8, &[FIRST + back_to * STEP]);
            let error = read(&memory).unwrap_err();
            assert!(matches!(error, MemoryError::NotRecognised(_)), "{error}");
        }
    }

    #[test]
    fn a_broken_bucket_ends_the_list() {
        // next, type, size, stack length; the others are as they should be.
        let broken = [
            [FIRST + 3, 1, 48, 1],
            [0xdead_0000, 1, 48, 1],
            [u64::MAX - 7, 1, 48, 1],
            [0, 2, 48, 1],
            [0, 1, 1 << 60, 1],
            [0, 1, 48, u64::MAX],
            [0, 1, 48, 1026],
        ];
        for [next, typ, size, length] in broken {
            let mut memory = memory(0, &[(&[1][..], [1, 0, 0, 0, 0, 0, 0, 0]); 3]);
            memory.put_words(FIRST + STEP, &[0, next, typ, 0, size, length]);
            let profile = read(&memory).unwrap();
            assert!(profile.dropped.cut_short, "{profile:?}");
            assert!((1..=2).contains(&profile.sites.len()), "{profile:?}");
        }
    }

    #[test]
    fn more_freed_than_allocated_is_torn() {
        let sound: (&[u64], _) = (&[2], [1, 0, 0, 0, 0, 0, 0, 0]);
        for torn in [[1, 2, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 2, 0, 0], [u64::MAX; 8]] {
            let profile = read(&memory(0, &[(&[1], torn), sound])).unwrap();
            let torn_count = u64::from(torn != [u64::MAX; 8]);
            assert_eq!(profile.dropped.torn, torn_count, "{torn:?}");
            assert_eq!(profile.sites.last().unwrap().stack, [2]);
        }
    }

    #[test]
    fn what_cannot_be_kept_is_the_smallest() {
        let buckets: Vec<(&[u64], _)> =
            (1..=1000).map(|allocs| (&[7, 7][..], [allocs, 0, 0, 0, 0, 0, 0, 0])).collect();
        let profile = with_runtime(&memory(0, &buckets), |runtime| {
            let mut walk = Walk::new(runtime, 0);
            walk.kept_bytes_max = 40_000;
            walk.run().unwrap()
        });
        assert!(profile.dropped.small > 500, "{:?}", profile.dropped);
        assert_eq!(profile.dropped.small + profile.sites.len() as u64, 1000);
        assert_eq!(profile.sites.last().unwrap().current, counts(1000, 0));
        assert!(profile.sites.iter().map(HeapSite::bytes).sum::<usize>() <= 40_000);
    }

    #[test]
    fn a_list_that_begins_within_a_block_is_read() {
        // Blocks of the cache have two pages, and the first of them is not mapped here.
        let mut memory = memory(0, &[]);
        memory.put_words(HEAD, &[0xc000_1000]);
        memory.put_words(0xc000_1000, &[0, 0, 1, 0, 16, 1, 0x40_1234, 3, 1]);
        let profile = read(&memory).unwrap();
        assert_eq!(profile.sites[0].published, counts(3, 1));
    }

    #[test]
    fn a_variable_beyond_the_memory_is_an_error() {
        let error = read(&RecordedMemory::default()).unwrap_err();
        assert!(matches!(error, MemoryError::Unmapped { .. }), "{error}");
    }
}
