//! What a mapping is: its name, its rights and its neighbours in, one kind out.
//!
//! Sources: fs/proc/task_mmu.c `get_vma_name`, mm/shmem.c (`/dev/zero`, `SYSV`), mm/memfd.c
//! (`memfd:`), glibc's malloc/arena.c `new_heap`, runtime/set_vma_name_linux.go.

use std::ops::Range;

use super::smaps::Mapping;

/// The heaps of malloc beside the main one begin at multiples of this, and have this much address
/// space (malloc/arena.c `HEAP_MAX_SIZE`, on 64 bits).
const MALLOC_HEAP_BYTES: u64 = 64 << 20;

/// A stack where there is no limit (proc(5) `limits`: the usual one).
const STACK_LIMIT_BYTES: u64 = 8 << 20;

/// The least that a thread may have (limits.h `PTHREAD_STACK_MIN`).
const THREAD_STACK_MIN_BYTES: u64 = 16 << 10;

/// What a mapping is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum MappingKind {
    /// An arena of the Go heap: its objects, its stacks, its free pages.
    GoArena,
    /// Named so by the Go runtime (1.25 on, on kernels that know names): its own structures.
    GoRuntime,
    /// The stack of the first thread.
    MainStack,
    /// A stack of another thread: a stack pointer points to it, or a guard page lies below it.
    ThreadStack,
    /// What `brk` gave: malloc's main heap.
    Brk,
    /// A heap of malloc for further threads, known by its place and its claims.
    MallocHeap,
    /// Memory of the process alone that nothing says more about.
    Anonymous,
    /// Address space that was set aside: nothing may be done in it, and nothing is in memory.
    Reserved,
    /// The executable: code, constants, data.
    Executable,
    /// Zeroed data of the executable, which lie behind it without a name.
    ExecutableBss,
    /// Code that is mapped from another file, and that file's data.
    Library,
    /// Any other file.
    File,
    /// Memory made by `memfd_create`.
    Memfd,
    /// Shared memory: System V, POSIX, shared anonymous.
    SharedMemory,
    /// Code and data that the kernel lends.
    Kernel,
    /// A device's memory.
    Device,
    /// Anything else.
    Other,
}

impl MappingKind {
    /// In a few words, for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::GoArena => "Go heap",
            Self::GoRuntime => "Go runtime",
            Self::MainStack => "main stack",
            Self::ThreadStack => "thread stacks",
            Self::Brk => "brk heap",
            Self::MallocHeap => "malloc heaps",
            Self::Anonymous => "anonymous",
            Self::Reserved => "reserved",
            Self::Executable => "executable",
            Self::ExecutableBss => "executable's zeroed data",
            Self::Library => "library",
            Self::File => "file",
            Self::Memfd => "memfd",
            Self::SharedMemory => "shared memory",
            Self::Kernel => "kernel's",
            Self::Device => "device",
            Self::Other => "other",
        }
    }
}

/// What is known of the process before its mappings are read.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Where its executable lies, as `/proc/PID/exe` says.
    pub executable: Option<Vec<u8>>,
    /// Arenas of the Go heap, by address.
    pub arenas: Vec<Range<u64>>,
    /// Stack pointers of its threads, by value.
    pub stack_pointers: Vec<u64>,
    /// How large a stack is unless a thread asks for another (RLIMIT_STACK), if that is limited.
    pub stack_limit_bytes: Option<u64>,
}

/// Tells what mappings are; to be asked in the order of addresses.
#[derive(Debug)]
pub struct Kinds<'k> {
    known: &'k Known,
    /// Where the last mapping of the executable ended.
    executable_end: Option<u64>,
    /// Where a guard page ended.
    guard_end: Option<u64>,
}

impl<'k> Kinds<'k> {
    /// Nothing was asked yet.
    pub const fn new(known: &'k Known) -> Self {
        Self { known, executable_end: None, guard_end: None }
    }

    /// What `mapping` is.
    pub fn of(&mut self, mapping: &Mapping) -> MappingKind {
        let kind = match mapping.name.as_slice() {
            b"" => self.unnamed(mapping),
            name if name.first() == Some(&b'[') => self.special(name, mapping),
            name if self.known.executable.as_deref() == Some(name) => MappingKind::Executable,
            name => file(name, mapping),
        };
        self.guard_end = is_guard(kind, mapping).then_some(mapping.range.end);
        self.executable_end = (kind == MappingKind::Executable).then_some(mapping.range.end);
        kind
    }

    fn unnamed(&self, mapping: &Mapping) -> MappingKind {
        let (range, rights) = (&mapping.range, mapping.rights);
        if !(rights.read || rights.write || rights.execute) && mapping.figures.rss_bytes == 0 {
            MappingKind::Reserved
        } else if self.is_arena(range) {
            MappingKind::GoArena
        } else if self.executable_end == Some(range.start) && rights.write {
            MappingKind::ExecutableBss
        } else if is_malloc_heap(mapping) {
            MappingKind::MallocHeap
        } else if self.is_stack(mapping) {
            MappingKind::ThreadStack
        } else {
            MappingKind::Anonymous
        }
    }

    fn special(&self, name: &[u8], mapping: &Mapping) -> MappingKind {
        match name {
            b"[heap]" => MappingKind::Brk,
            b"[stack]" => MappingKind::MainStack,
            _ if name.starts_with(b"[anon: Go: heap") && self.is_arena(&mapping.range) => {
                MappingKind::GoArena
            }
            _ if name.starts_with(b"[anon: Go: ") => MappingKind::GoRuntime,
            _ if name.starts_with(b"[anon:") => self.unnamed(mapping),
            _ if name.starts_with(b"[anon_shmem:") => MappingKind::SharedMemory,
            _ if name.starts_with(b"[v") || name == b"[uprobes]" => MappingKind::Kernel,
            _ => MappingKind::Other,
        }
    }

    /// Arenas are mapped piece by piece, and pieces of several may be one mapping.
    fn is_arena(&self, range: &Range<u64>) -> bool {
        let next = self.known.arenas.partition_point(|arena| arena.end <= range.start);
        self.known.arenas.get(next).is_some_and(|arena| arena.start < range.end)
    }

    /// A stack pointer points to it, or it lies above a guard page. Before kernel 6.7 a stack may be
    /// joined with what lies above it: then it is too long, and no more proven to be one.
    fn is_stack(&self, mapping: &Mapping) -> bool {
        let (range, pointers) = (&mapping.range, &self.known.stack_pointers);
        let bytes = range.end - range.start;
        let limit = self.known.stack_limit_bytes.unwrap_or(STACK_LIMIT_BYTES);
        let next = pointers.partition_point(|pointer| *pointer < range.start);
        let has_pointer = pointers.get(next).is_some_and(|pointer| *pointer < range.end);
        let has_guard = self.guard_end == Some(range.start) && bytes >= THREAD_STACK_MIN_BYTES;
        (has_pointer || has_guard) && (mapping.without_huge_pages || bytes <= limit)
    }
}

/// pthreads lay one page that nobody may touch below a stack, unless they are told otherwise
/// (nptl/allocatestack.c).
fn is_guard(kind: MappingKind, mapping: &Mapping) -> bool {
    let bytes = mapping.range.end - mapping.range.start;
    kind == MappingKind::Reserved && mapping.name.is_empty() && bytes == procfs::page_size()
}

fn is_malloc_heap(mapping: &Mapping) -> bool {
    let (start, end) = (mapping.range.start, mapping.range.end);
    mapping.unreserved
        && mapping.rights.write
        && !mapping.rights.shared
        && start.is_multiple_of(MALLOC_HEAP_BYTES)
        && end - start <= MALLOC_HEAP_BYTES
}

/// What has a path, or the look of one.
fn file(name: &[u8], mapping: &Mapping) -> MappingKind {
    // Memory of the kernel's own mount has no device; a real file of such a name has one.
    let in_memory = mapping.device_major == 0;
    if in_memory && name.starts_with(b"/memfd:") {
        return MappingKind::Memfd;
    }
    let shared = [b"/SYSV".as_slice(), b"/dev/zero", b"/dev/shm/"];
    if in_memory && shared.iter().any(|start| name.starts_with(start)) {
        return MappingKind::SharedMemory;
    }
    match name {
        _ if name.starts_with(b"/dev/") => MappingKind::Device,
        _ if mapping.rights.execute || has_library_name(name) => MappingKind::Library,
        _ if name.starts_with(b"/") => MappingKind::File,
        _ => MappingKind::Other,
    }
}

/// `libc.so.6`, `ld-linux-x86-64.so.2`, `module.so`: all parts of a library must be one kind.
fn has_library_name(name: &[u8]) -> bool {
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    let base = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    base.ends_with(b".so") || base.windows(4).any(|part| part == b".so.")
}

#[cfg(test)]
mod tests {
    use super::{
        super::smaps::{Figures, Mapping, Rights},
        Kinds, Known, MALLOC_HEAP_BYTES, MappingKind,
    };

    fn mapping(start: u64, name: &str, rights: &str, device_major: u32) -> Mapping {
        let can = |right| rights.contains(right);
        Mapping {
            range: start..start + 0x1000,
            rights: Rights { read: can('r'), write: can('w'), execute: can('x'), shared: can('s') },
            device_major,
            name: name.as_bytes().to_vec(),
            unreserved: can('n'),
            without_huge_pages: can('h'),
            figures: Figures::default(),
        }
    }

    fn known() -> Known {
        Known {
            executable: Some(b"/usr/bin/daemon".to_vec()),
            arenas: vec![0xc0_0000_0000..0xc0_0400_0000, 0xc0_0800_0000..0xc0_0c00_0000],
            stack_pointers: vec![0x10, 0x7f00_0000_0800, 0x7f00_0010_0000],
            stack_limit_bytes: Some(1 << 20),
        }
    }

    fn kind(start: u64, name: &str, rights: &str, device_major: u32) -> MappingKind {
        Kinds::new(&known()).of(&mapping(start, name, rights, device_major))
    }

    #[test]
    fn names_and_rights_tell_files_apart() {
        assert_eq!(kind(0, "/usr/bin/daemon", "rx", 8), MappingKind::Executable);
        assert_eq!(kind(0, "/usr/bin/daemon2", "r", 8), MappingKind::File);
        assert_eq!(kind(0, "/usr/lib/libc.so.6", "rw", 8), MappingKind::Library);
        assert_eq!(kind(0, "/usr/lib/plugin (deleted)", "rx", 8), MappingKind::Library);
        assert_eq!(kind(0, "/memfd:x (deleted)", "rws", 0), MappingKind::Memfd);
        assert_eq!(kind(0, "/memfd:x (deleted)", "rws", 8), MappingKind::File);
        assert_eq!(kind(0, "/SYSV00000000 (deleted)", "rws", 0), MappingKind::SharedMemory);
        assert_eq!(kind(0, "/dev/zero (deleted)", "rws", 0), MappingKind::SharedMemory);
        assert_eq!(kind(0, "/dev/shm/x", "rws", 0), MappingKind::SharedMemory);
        assert_eq!(kind(0, "/dev/nvidia0", "rws", 0), MappingKind::Device);
        assert_eq!(kind(0, "anon_inode:[perf_event]", "rws", 0), MappingKind::Other);
    }

    #[test]
    fn places_tell_anonymous_memory_apart() {
        assert_eq!(kind(0xc0_0010_0000, "", "rw", 0), MappingKind::GoArena);
        assert_eq!(kind(0xc0_0400_0000, "", "rw", 0), MappingKind::Anonymous);
        assert_eq!(kind(0xc0_0800_0000, "[anon: Go: heap]", "rw", 0), MappingKind::GoArena);
        assert_eq!(kind(0x7f00_0000_0000, "", "rw", 0), MappingKind::ThreadStack);
        assert_eq!(kind(0x7f00_000f_f000, "", "rw", 0), MappingKind::Anonymous);
        assert_eq!(kind(0, "[anon: Go: heap index]", "rw", 0), MappingKind::GoRuntime);
        assert_eq!(kind(0xc0_0010_0000, "", "", 0), MappingKind::Reserved);
        assert_eq!(kind(0, "[heap]", "rw", 0), MappingKind::Brk);
        assert_eq!(kind(0, "[stack]", "rw", 0), MappingKind::MainStack);
        assert_eq!(kind(0, "[vdso]", "rx", 0), MappingKind::Kernel);
        let heap = MALLOC_HEAP_BYTES * 0x1fc_0000;
        assert_eq!(kind(heap, "", "rwn", 0), MappingKind::MallocHeap);
        assert_eq!(kind(heap, "", "rw", 0), MappingKind::Anonymous);
        assert_eq!(kind(heap + 0x1000, "", "rwn", 0), MappingKind::Anonymous);
    }

    #[test]
    fn a_stack_lies_above_its_guard() {
        let known = Known::default();
        for (guard_bytes, bytes, kind) in [
            (procfs::page_size(), 16 << 10, MappingKind::ThreadStack),
            (procfs::page_size(), 4 << 10, MappingKind::Anonymous),
            (64 << 10, 16 << 10, MappingKind::Anonymous),
        ] {
            let mut kinds = Kinds::new(&known);
            let mut guard = mapping(0x7f00_0000_0000, "", "", 0);
            guard.range.end = guard.range.start + guard_bytes;
            assert_eq!(kinds.of(&guard), MappingKind::Reserved);
            let mut stack = mapping(guard.range.end, "", "rw", 0);
            stack.range.end = stack.range.start + bytes;
            assert_eq!(kinds.of(&stack), kind, "{guard_bytes} {bytes}");
            assert_eq!(kinds.of(&mapping(stack.range.end, "", "r", 0)), MappingKind::Anonymous);
        }
    }

    #[test]
    fn a_stack_that_was_joined_with_other_memory_is_not_taken_for_one() {
        let known = known();
        let kind = |bytes, rights| {
            let mut stack = mapping(0x7f00_0000_0000, "", rights, 0);
            stack.range.end = stack.range.start + bytes;
            Kinds::new(&known).of(&stack)
        };
        assert_eq!(kind(1 << 20, "rw"), MappingKind::ThreadStack);
        assert_eq!(kind(2 << 20, "rw"), MappingKind::Anonymous);
        assert_eq!(kind(2 << 20, "rwh"), MappingKind::ThreadStack);
    }

    #[test]
    fn zeroed_data_lie_right_behind_the_executable() {
        let known = known();
        let mut kinds = Kinds::new(&known);
        kinds.of(&mapping(0x40_0000, "/usr/bin/daemon", "rw", 8));
        assert_eq!(kinds.of(&mapping(0x40_1000, "", "rw", 0)), MappingKind::ExecutableBss);
        assert_eq!(kinds.of(&mapping(0x40_2000, "", "rw", 0)), MappingKind::Anonymous);
        let mut kinds = Kinds::new(&known);
        kinds.of(&mapping(0x40_0000, "/usr/bin/daemon", "rw", 8));
        assert_eq!(kinds.of(&mapping(0x40_2000, "", "rw", 0)), MappingKind::Anonymous);
    }
}
