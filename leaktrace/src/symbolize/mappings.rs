//! Where a process's files lie in its memory.

use std::path::Path;

use procfs::process::{MMPermissions, MMapPath, MemoryMap};

use crate::binary::Elf;

/// One executable mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// Offset of `start` in the file.
    pub file_offset: u64,
    /// Path or name, as `/proc/PID/maps` has it.
    pub name: String,
}

/// The executable mappings of a process, and the load bias of its main executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mappings {
    mappings: Vec<Mapping>,
    exe: String,
    bias: u64,
}

impl Mappings {
    /// From `/proc/PID/maps` and the link `/proc/PID/exe`, which name the executable alike (inodes
    /// differ on overlayfs); none when its code is not mapped where its headers say it must be.
    pub fn new<'a>(
        maps: impl IntoIterator<Item = &'a MemoryMap>,
        exe: &Path,
        elf: &Elf,
    ) -> Option<Self> {
        let executable = |map: &&MemoryMap| map.perms.contains(MMPermissions::EXECUTE);
        let mappings = maps.into_iter().filter(executable).map(mapping).collect();
        Self::from_mappings(mappings, exe.display().to_string(), elf)
    }

    fn from_mappings(mappings: Vec<Mapping>, exe: String, elf: &Elf) -> Option<Self> {
        let bias = mappings.iter().filter(|map| map.name == exe).find_map(|map| {
            let holds = |offset: u64| {
                offset
                    .checked_sub(map.file_offset)
                    .is_some_and(|within| within < map.end - map.start)
            };
            let code = elf.segments.iter().find(|s| s.executable && holds(s.file_offset))?;
            let loaded_at = map.start + (code.file_offset - map.file_offset);
            loaded_at.checked_sub(code.vaddr)
        })?;
        (elf.position_independent || bias == 0).then_some(Self { mappings, exe, bias })
    }

    /// What must be taken from a live address to get the file's own.
    pub const fn bias(&self) -> u64 {
        self.bias
    }

    /// Whether `address` lies in the main executable's code.
    pub fn in_executable(&self, address: u64) -> bool {
        self.find(address).is_some_and(|map| map.name == self.exe)
    }

    /// `name+0xoffset`, or the bare address.
    pub fn describe(&self, address: u64) -> String {
        self.find(address).map_or_else(
            || format!("{address:#x}"),
            |map| format!("{}+{:#x}", map.name, address - map.start + map.file_offset),
        )
    }

    fn find(&self, address: u64) -> Option<&Mapping> {
        self.mappings.iter().find(|map| (map.start..map.end).contains(&address))
    }
}

fn mapping(map: &MemoryMap) -> Mapping {
    let name = match &map.pathname {
        MMapPath::Path(path) => path.display().to_string(),
        MMapPath::Vdso => "[vdso]".to_owned(),
        MMapPath::Other(name) => name.clone(),
        _ => "[anonymous]".to_owned(),
    };
    Mapping { start: map.address.0, end: map.address.1, file_offset: map.offset, name }
}

#[cfg(test)]
mod tests {
    use super::{Mapping, Mappings};
    use crate::binary::{Elf, Machine, Segment};

    fn elf(vaddr: u64, position_independent: bool) -> Elf {
        let code = Segment {
            vaddr,
            file_offset: 0x1000,
            file_bytes: 0x8000,
            executable: true,
            writable: false,
        };
        Elf::for_test(Machine::Amd64, position_independent, vec![code])
    }

    const EXE: &str = "/usr/bin/daemon";

    fn mapped(start: u64, name: &str, elf: &Elf) -> Option<Mappings> {
        let mapping =
            Mapping { start, end: start + 0x8000, file_offset: 0x1000, name: name.to_owned() };
        Mappings::from_mappings(vec![mapping], EXE.to_owned(), elf)
    }

    #[test]
    fn a_position_independent_file_has_a_bias() {
        let mappings = mapped(0x5555_0000_1000, EXE, &elf(0x1000, true)).unwrap();
        assert_eq!(mappings.bias(), 0x5555_0000_0000);
        assert!(mappings.in_executable(0x5555_0000_1234));
        assert!(!mappings.in_executable(0x5555_0000_9000));
    }

    #[test]
    fn a_fixed_file_must_be_where_it_says() {
        let fixed = elf(0x40_1000, false);
        assert_eq!(mapped(0x40_1000, EXE, &fixed).unwrap().bias(), 0);
        assert_eq!(mapped(0x50_1000, EXE, &fixed), None);
        assert_eq!(mapped(0x40_1000, "/usr/bin/other", &fixed), None);
    }

    #[test]
    fn other_addresses_are_described_by_their_mapping() {
        let mappings = mapped(0x40_1000, EXE, &elf(0x40_1000, false)).unwrap();
        assert_eq!(mappings.describe(0x40_1010), "/usr/bin/daemon+0x1010");
        assert_eq!(mappings.describe(0x10), "0x10");
    }
}
