//! Where a process's files lie in its memory.

use std::path::Path;

use procfs::process::{MMPermissions, MMapPath, MemoryMap};

use crate::{binary::Elf, display::printable};

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

    /// A process without mappings.
    #[cfg(test)]
    pub const fn for_test() -> Self {
        Self { mappings: Vec::new(), exe: String::new(), bias: 0 }
    }

    /// All of them, and whether each is of the main executable.
    pub fn all(&self) -> impl Iterator<Item = (&Mapping, bool)> {
        self.mappings.iter().map(|map| (map, map.name == self.exe))
    }

    /// What is added to an address of the file to get the live one.
    pub const fn bias(&self) -> u64 {
        self.bias
    }

    /// The file's own address of what runs at `address`, if that is the main executable's code.
    pub fn in_executable(&self, address: u64) -> Option<u64> {
        self.find(address).filter(|map| map.name == self.exe)?;
        // The file may be mapped a second time, below the bias.
        address.checked_sub(self.bias)
    }

    /// The file's own address of what lies at `address`, if that is in the main executable's image;
    /// whether it is, the file's segments tell.
    pub const fn in_file(&self, address: u64) -> Option<u64> {
        address.checked_sub(self.bias)
    }

    /// The file mapped at `address` that is not the main executable, and the offset in it.
    pub fn in_library(&self, address: u64) -> Option<(&Mapping, u64)> {
        let map = self.find(address).filter(|map| map.name != self.exe)?;
        let is_file = map.name.starts_with('/');
        is_file.then(|| Some((map, map.file_offset.checked_add(address - map.start)?)))?
    }

    /// `name+0xoffset`, or the bare address.
    pub fn describe(&self, address: u64) -> String {
        self.find(address).map_or_else(
            || format!("{address:#x}"),
            |map| {
                let name = printable(map.name.as_bytes());
                format!("{name}+{:#x}", (address - map.start).wrapping_add(map.file_offset))
            },
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
        assert_eq!(mappings.in_executable(0x5555_0000_1234), Some(0x1234));
        assert_eq!(mappings.in_executable(0x5555_0000_9000), None);
    }

    #[test]
    fn a_fixed_file_must_be_where_it_says() {
        let fixed = elf(0x40_1000, false);
        let mappings = mapped(0x40_1000, EXE, &fixed).unwrap();
        assert_eq!(mappings.in_executable(0x40_1000), Some(0x40_1000));
        assert_eq!(mapped(0x50_1000, EXE, &fixed), None);
        assert_eq!(mapped(0x40_1000, "/usr/bin/other", &fixed), None);
    }

    #[test]
    fn other_addresses_are_described_by_their_mapping() {
        let mappings = mapped(0x40_1000, EXE, &elf(0x40_1000, false)).unwrap();
        assert_eq!(mappings.describe(0x40_1010), "/usr/bin/daemon+0x1010");
        assert_eq!(mappings.describe(0x10), "0x10");
    }

    #[test]
    fn a_library_is_any_other_file() {
        let mapping = |start, name: &str| Mapping {
            start,
            end: start + 0x8000,
            file_offset: 0x1000,
            name: name.to_owned(),
        };
        let mappings = [
            mapping(0x40_1000, EXE),
            mapping(0x7f00_0000, "/usr/lib/libc.so.6"),
            mapping(0x7f10_0000, "[vdso]"),
        ];
        let mappings =
            Mappings::from_mappings(mappings.into(), EXE.to_owned(), &elf(0x40_1000, false))
                .unwrap();
        let found = mappings.in_library(0x7f00_0010).map(|(map, at)| (map.name.as_str(), at));
        assert_eq!(found, Some(("/usr/lib/libc.so.6", 0x1010)));
        assert_eq!(mappings.in_library(0x40_1010), None);
        assert_eq!(mappings.in_library(0x7f10_0010), None);
    }

    #[test]
    fn an_address_below_the_bias_is_none_of_the_file() {
        let mapping = |start, file_offset| {
            let name = EXE.to_owned();
            Mapping { start, end: start + 0x8000, file_offset, name }
        };
        let mappings = vec![mapping(0x10_0000, 0x20_0000), mapping(0x50_0000, 0x1000)];
        let mappings = Mappings::from_mappings(mappings, EXE.to_owned(), &elf(0x1000, true));
        assert_eq!(mappings.unwrap().in_executable(0x10_0010), None);
    }

    #[test]
    fn a_path_cannot_command_the_terminal() {
        let mappings = mapped(0x40_1000, "/tmp/\x1b[2J", &elf(0x40_1000, false));
        assert_eq!(mappings, None);
        let name = "/tmp/\x1b[2J".to_owned();
        let mapping = Mapping { start: 0, end: 1, file_offset: 0, name };
        let mappings = Mappings { mappings: vec![mapping], exe: EXE.to_owned(), bias: 0 };
        assert!(!mappings.describe(0).contains('\x1b'));
    }
}
