//! Growth of memory: mappings made, grown and given back, and page faults, by site.

use crate::FRAMES_MAX;

/// Bytes of a page; x86-64 has no other base size.
const PAGE_BYTES: u64 = 4096;

/// What happened at a site.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrowthOperation {
    /// A page was touched for the first time (or was written while it was shared).
    Fault = 0,
    /// Address space was mapped: mmap, and brk and mremap that grow.
    Map = 1,
    /// Address space was given back: munmap, and brk and mremap that shrink.
    Unmap = 2,
    /// Pages were given back, their addresses kept: madvise with `MADV_DONTNEED` or `MADV_FREE`.
    Discard = 3,
}

/// What kind of memory a mapping is.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrowthKind {
    /// Not known: it was mapped before tracing began, or only its address is known.
    Unknown = 0,
    /// Private memory of no file.
    Anon = 1,
    /// A file, private or shared.
    File = 2,
    /// Shared memory of no file (the kernel's shmem).
    Shared = 3,
    /// A thread's stack (`MAP_STACK`, `MAP_GROWSDOWN`).
    Stack = 4,
    /// The heap that brk moves the end of.
    Heap = 5,
    /// Private memory of no file, without any right of access: only addresses until that changes.
    Reserved = 6,
}

/// Rows of the totals: every operation with every kind.
pub const GROWTH_TOTALS: u32 = 4 * KINDS;
const KINDS: u32 = 7;

impl GrowthOperation {
    /// All, in index order.
    pub const ALL: [Self; 4] = [Self::Fault, Self::Map, Self::Unmap, Self::Discard];

    /// The operation of this number, if there is one.
    pub fn from_index(index: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| *operation as u64 == index)
    }
}

impl GrowthKind {
    /// All, in index order.
    pub const ALL: [Self; KINDS as usize] = [
        Self::Unknown,
        Self::Anon,
        Self::File,
        Self::Shared,
        Self::Stack,
        Self::Heap,
        Self::Reserved,
    ];

    /// The kind of this number, if there is one.
    pub fn from_index(index: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u64 == index)
    }
}

/// The row of an operation on a kind in the totals.
#[inline(always)]
pub const fn growth_total_index(operation: GrowthOperation, kind: u64) -> u32 {
    operation as u32 * KINDS + (kind % KINDS as u64) as u32
}

/// The site that takes the events of an operation whose own site found no room. Hashes of sites
/// are odd, so that it is none of these.
#[inline(always)]
pub const fn growth_overflow_site(operation: GrowthOperation) -> u64 {
    operation as u64 * 2
}

/// What identifies a site of growth: operation, kind and call chain. Written once by BPF when its
/// hash is first seen.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GrowthFrames {
    /// Addresses in the target's address space: first the instruction itself (of a system call the
    /// one behind it), then return addresses, innermost caller first; 0 beyond `depth`.
    pub pcs: [u64; FRAMES_MAX],
    /// How many entries of `pcs` are set.
    pub depth: u64,
    /// A [`GrowthOperation`].
    pub operation: u64,
    /// A [`GrowthKind`].
    pub kind: u64,
    /// 1: `pcs[1]` is the word at the top of the stack, which lies behind a call instruction. In a
    /// function without a frame of its own that is its caller; elsewhere it may be left over.
    pub caller_from_top: u64,
}
const _: () = assert!(size_of::<GrowthFrames>() == 280);

/// What happened at one site. Written by BPF with atomic adds, read by userspace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrowthCounters {
    /// Calls that succeeded and changed something; of faults: samples.
    pub calls: u64,
    /// Bytes, whole pages; of faults: how many faults the samples stand for.
    pub amount: u64,
    /// Of what this site mapped, the bytes that were unmapped since, wherever that was done.
    pub released_bytes: u64,
    /// The address that was touched, mapped or given back last.
    pub last_address: u64,
}
const _: () = assert!(size_of::<GrowthCounters>() == 32);

/// Counts of one operation on one kind, exact whatever finds no room elsewhere.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrowthTotal {
    /// As [`GrowthCounters::calls`].
    pub calls: u64,
    /// As [`GrowthCounters::amount`].
    pub amount: u64,
}
const _: () = assert!(size_of::<GrowthTotal>() == 16);

/// A mapping that was made while tracing; keyed by its first address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MappedRange {
    /// The site that mapped it.
    pub site: u64,
    /// Its whole length.
    pub bytes: u64,
    /// The site that last grew it by mremap; 0: none has.
    pub grown_site: u64,
    /// How much of `bytes` came by growing.
    pub grown_bytes: u64,
    /// A [`GrowthKind`].
    pub kind: u64,
}
const _: () = assert!(size_of::<MappedRange>() == 40);

/// `bytes` rounded up to whole pages, as the kernel does with lengths.
#[inline(always)]
pub const fn page_aligned(bytes: u64) -> u64 {
    bytes.wrapping_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1)
}

/// `MAP_SHARED`, also a bit of `MAP_SHARED_VALIDATE` (include/uapi/linux/mman.h).
const MAP_SHARED: u64 = 0x01;
/// include/uapi/asm-generic/mman-common.h, as the next.
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_GROWSDOWN: u64 = 0x100;
const MAP_STACK: u64 = 0x2_0000;

/// What an mmap with these arguments makes.
#[inline(always)]
pub const fn mmap_kind(protection: u64, flags: u64) -> GrowthKind {
    if flags & MAP_ANONYMOUS == 0 {
        GrowthKind::File
    } else if flags & (MAP_STACK | MAP_GROWSDOWN) != 0 {
        GrowthKind::Stack
    } else if flags & MAP_SHARED != 0 {
        GrowthKind::Shared
    } else if protection == 0 {
        GrowthKind::Reserved
    } else {
        GrowthKind::Anon
    }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), only u64 fields, no padding (sizes asserted above), any bits are valid.
    unsafe impl aya::Pod for super::GrowthFrames {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::GrowthCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::GrowthTotal {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::MappedRange {}
}

#[cfg(test)]
mod tests {
    use super::{
        GROWTH_TOTALS, GrowthKind, GrowthOperation, growth_total_index, mmap_kind, page_aligned,
    };

    #[test]
    fn every_operation_on_every_kind_has_its_own_row() {
        let mut seen = [false; GROWTH_TOTALS as usize];
        for operation in GrowthOperation::ALL {
            for kind in GrowthKind::ALL {
                let row = growth_total_index(operation, kind as u64) as usize;
                assert!(!core::mem::replace(&mut seen[row], true), "row {row} twice");
            }
        }
        assert_eq!(seen, [true; GROWTH_TOTALS as usize]);
    }

    #[test]
    fn kinds_and_operations_are_listed_in_index_order() {
        for (index, kind) in GrowthKind::ALL.into_iter().enumerate() {
            assert_eq!(GrowthKind::from_index(index as u64), Some(kind));
        }
        for (index, operation) in GrowthOperation::ALL.into_iter().enumerate() {
            assert_eq!(GrowthOperation::from_index(index as u64), Some(operation));
        }
        assert_eq!(GrowthKind::from_index(7), None);
    }

    #[test]
    fn lengths_become_whole_pages() {
        assert_eq!([0, 1, 4096, 4097].map(page_aligned), [0, 4096, 4096, 8192]);
    }

    /// Flags as glibc, the Go runtime and the dynamic linker pass them.
    #[test]
    fn kinds_are_told_by_the_arguments() {
        assert_eq!(mmap_kind(3, 0x22), GrowthKind::Anon);
        assert_eq!(mmap_kind(0, 0x4022), GrowthKind::Reserved);
        assert_eq!(mmap_kind(0, 0x2_0022), GrowthKind::Stack);
        assert_eq!(mmap_kind(3, 0x21), GrowthKind::Shared);
        assert_eq!(mmap_kind(5, 0x812), GrowthKind::File);
        assert_eq!(mmap_kind(1, 0x01), GrowthKind::File);
    }
}
