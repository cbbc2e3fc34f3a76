//! An honest Go executable in memory, and where in it lies what its readers depend on.
//!
//! The places come from its sections and from Go's own layout, read here without leaktrace's
//! readers but for the ELF headers.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    collections::HashMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use leaktrace::binary::{Blocks, Elf};

/// Old and new layouts, position-independent or not, and one with inlined cancels.
pub const BUILDS: [&str; 7] = [
    "go1.21.13",
    "go1.21.13-pie",
    "go1.26.3",
    "go1.26.3-pie",
    "go1.27.3",
    "go1.27.3-pie",
    "go1.22.10-pgo",
];
/// What every cancellable context passes when it is made.
pub const CREATE: &str = "context.(*cancelCtx).propagateCancel";
/// Offsets in `runtime.moduledata` (runtime/symtab.go).
const MODULE_TEXT: u64 = 176;
const MODULE_TYPES: u64 = 296;
/// How many itabs are asked for.
const ITABS: usize = 8;

/// A little-endian `u64`.
pub fn le(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// A little-endian `u32`.
pub fn le32(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
}

fn sized(at: usize, bytes: usize) -> Range<usize> {
    at..at + bytes
}

/// The folder of the workloads: the nearest `target` above this package has it, unless said.
fn workloads() -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1);
    let nearest = above.map(|folder| folder.join("target/workloads")).find(|path| path.is_dir());
    let said = std::env::var_os("LEAKTRACE_WORKLOADS").map(PathBuf::from);
    said.or(nearest).expect("no target/workloads: run `cargo xtask test`")
}

/// A workload with the places where its tables lie.
pub struct Specimen {
    pub build: &'static str,
    pub bytes: Vec<u8>,
    pub elf: Elf,
}

impl Specimen {
    /// Reads the workload of `build`.
    pub fn read(build: &'static str) -> Self {
        let path = workloads().join(build).join("workload");
        let bytes = fs::read(&path)
            .unwrap_or_else(|_| panic!("{} is missing: run `cargo xtask test`", path.display()));
        let elf = Elf::read(&Blocks::new(bytes.clone())).unwrap();
        Self { build, bytes, elf }
    }

    /// File offset, address and size of the first section that is there.
    pub fn section(&self, names: &[&str]) -> Option<(usize, u64, usize)> {
        let section = names.iter().find_map(|name| self.elf.section(name))?;
        Some((section.file_offset as usize, section.vaddr, section.bytes as usize))
    }

    /// File offset and address of the pclntab.
    fn pclntab(&self) -> (usize, u64) {
        let names = [".gopclntab", ".data.rel.ro.gopclntab"];
        let (offset, vaddr, _) = self.section(&names).unwrap();
        (offset, vaddr)
    }

    /// Where part `index` of the pclntab begins: names, units, files, pc tables, functions.
    pub fn part(&self, index: usize) -> usize {
        let (offset, _) = self.pclntab();
        offset + le(&self.bytes, offset + 32 + index * 8) as usize
    }

    pub fn functions(&self) -> usize {
        le(&self.bytes, self.pclntab().0 + 8) as usize
    }

    fn relocations(&self) -> Range<usize> {
        let (offset, _, bytes) = self.section(&[".rela", ".rela.dyn"]).unwrap_or_default();
        sized(offset, bytes)
    }

    fn offset(&self, vaddr: u64) -> usize {
        self.elf.file_offset(vaddr).unwrap() as usize
    }

    /// The word at `vaddr` when the file is loaded at its own addresses.
    fn word(&self, vaddr: u64) -> u64 {
        let relas = self.relocations().step_by(24);
        let mut relocated = relas.filter(|at| le(&self.bytes, *at) == vaddr);
        relocated
            .next()
            .map_or_else(|| le(&self.bytes, self.offset(vaddr)), |at| le(&self.bytes, at + 16))
    }

    /// Address of the module data: their first word is the pclntab's address.
    fn moduledata(&self) -> u64 {
        let (_, pclntab) = self.pclntab();
        let mut relas = self.relocations().step_by(24);
        let relocated = relas.find(|at| le(&self.bytes, at + 16) == pclntab);
        if let Some(at) = relocated {
            return le(&self.bytes, at);
        }
        let data = self.elf.segments.iter().find(|segment| segment.writable).unwrap();
        let mut words = (data.vaddr..data.vaddr + data.file_bytes).step_by(8);
        words.find(|vaddr| self.word(*vaddr) == pclntab).unwrap()
    }

    pub fn text(&self) -> u64 {
        self.word(self.moduledata() + MODULE_TEXT)
    }

    fn is_go_1_27(&self) -> bool {
        self.build.starts_with("go1.27")
    }

    /// The function data, inline trees among them, to the end of their section.
    pub fn function_data(&self) -> Range<usize> {
        let within = if self.is_go_1_27() { 344 } else { 320 };
        let start = self.offset(self.word(self.moduledata() + within)) as u64;
        let mut ends = self.elf.sections.iter().map(|s| s.file_offset..s.file_offset + s.bytes);
        start as usize..ends.find(|section| section.contains(&start)).unwrap().end as usize
    }

    /// Addresses in the middle of functions all over the program, and some of none.
    pub fn pcs(&self) -> Vec<u64> {
        let (table, text) = (self.part(4), self.text());
        let entry = |index: usize| text + le32(&self.bytes, table + index * 8);
        let middle = |index| u64::midpoint(entry(index), entry(index + 1));
        let pcs = (0..self.functions()).step_by(self.functions() / 60).map(middle);
        pcs.chain([0, 1, text, 1 << 40, u64::MAX - 1, u64::MAX]).collect()
    }

    /// Addresses of itabs: both their types are among the types, and they have the hash of the
    /// second (`abi.ITab`, internal/abi/iface.go).
    pub fn itabs(&self) -> impl Iterator<Item = u64> {
        let (module, etypes) = (self.moduledata(), if self.is_go_1_27() { 312 } else { 304 });
        let types = self.word(module + MODULE_TYPES)..self.word(module + etypes);
        let relas = self.relocations().step_by(24);
        let relocated: HashMap<u64, u64> =
            relas.map(|at| (le(&self.bytes, at), le(&self.bytes, at + 16))).collect();
        let word = move |vaddr: u64| match relocated.get(&vaddr) {
            Some(value) => *value,
            None if relocated.is_empty() => le(&self.bytes, self.offset(vaddr)),
            None => 0,
        };
        let is_itab = move |vaddr: &u64| {
            types.contains(&word(*vaddr)) && types.contains(&word(vaddr + 8)) && {
                let hash = le32(&self.bytes, self.offset(vaddr + 16));
                hash != 0 && hash == le32(&self.bytes, self.offset(word(vaddr + 8)) + 16)
            }
        };
        self.pointers().filter(is_itab).take(ITABS)
    }

    /// Addresses of all words that may be pointers.
    fn pointers(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        let relas = self.relocations();
        if !relas.is_empty() {
            return Box::new(relas.step_by(24).map(|at| le(&self.bytes, at)));
        }
        let data = self.elf.segments.iter().filter(|segment| !segment.executable);
        Box::new(data.flat_map(|s| (s.vaddr..s.vaddr + s.file_bytes - 24).step_by(8)))
    }

    /// File offset of the code of the function called `name`.
    fn code(&self, name: &str) -> usize {
        let (names, table) = (self.part(0), self.part(4));
        let needle = [b"\0", name.as_bytes(), b"\0"].concat();
        let mut windows = self.bytes[names..self.part(1)].windows(needle.len());
        let wanted = windows.position(|window| window == needle).unwrap() as u64 + 1;
        let mut entries = (0..self.functions()).map(|index| table + index * 8);
        let is_wanted = |at: &usize| {
            let record = table + le32(&self.bytes, at + 4) as usize;
            le32(&self.bytes, record + 4) == wanted
        };
        let entry = entries.find(is_wanted).unwrap();
        self.offset(self.text() + le32(&self.bytes, entry))
    }

    /// What a reader depends on, by name.
    pub fn regions(&self) -> Vec<(&'static str, Range<usize>)> {
        let (headers, sections) = (le(&self.bytes, 32) as usize, le(&self.bytes, 40) as usize);
        let (build_info, _, _) = self.section(&[".go.buildinfo"]).unwrap();
        let (table, functions) = (self.part(4), self.functions());
        let mut regions = vec![
            ("ELF header", 0..64),
            ("program headers", sized(headers, 56 * usize::from(self.bytes[56]))),
            ("section headers", sized(sections, 64 * usize::from(self.bytes[60]))),
            ("build information", sized(build_info, 200)),
            ("pclntab header", sized(self.pclntab().0, 72)),
            ("module data", sized(self.offset(self.moduledata()), 384)),
            ("names", self.part(0)..self.part(1)),
            ("units", self.part(1)..self.part(2)),
            ("files", self.part(2)..self.part(3)),
            ("pc tables", self.part(3)..table),
            ("function table", sized(table, functions * 8)),
            ("function records", sized(table + functions * 8, functions * 60)),
            ("function data", self.function_data()),
            ("code", sized(self.code(CREATE), 32)),
        ];
        regions.extend(self.type_regions());
        regions.extend(self.relocation_regions());
        regions
    }

    /// An itab, its type, and the type's name.
    fn type_regions(&self) -> [(&'static str, Range<usize>); 3] {
        let itab = self.itabs().next().unwrap();
        let ty = self.offset(self.word(itab + 8));
        let name = self.word(self.moduledata() + MODULE_TYPES) + le32(&self.bytes, ty + 40);
        [
            ("itab", sized(self.offset(itab), 32)),
            ("type", sized(ty, 48)),
            ("type name", sized(self.offset(name), 64)),
        ]
    }

    /// The dynamic section and the relocations of the module data, where there are any.
    fn relocation_regions(&self) -> Vec<(&'static str, Range<usize>)> {
        let Some((dynamic, _, bytes)) = self.section(&[".dynamic"]) else { return Vec::new() };
        let module = self.moduledata();
        let mut relas = self.relocations().step_by(24);
        let first = relas.find(|at| le(&self.bytes, *at) == module).unwrap();
        vec![("dynamic", sized(dynamic, bytes)), ("relocations", sized(first, 48 * 24))]
    }
}
