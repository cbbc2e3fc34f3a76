//! Code that is not Go: an address in a mapped file in, its ELF symbol out.
//!
//! Non-goals: Go functions; debug files that lie elsewhere.

use std::{collections::HashMap, fs::File};

use super::Mapping;
use crate::binary::{Blocks, Elf};

/// A daemon maps some ten libraries; each one that is read costs up to 1 MiB of cache.
const LIBRARIES_MAX: usize = 16;

/// Opens what a process has mapped, as the process sees it.
pub type Open<'a> = Box<dyn Fn(&Mapping) -> std::io::Result<File> + 'a>;

/// The files whose symbols were asked for.
pub(super) struct Libraries<'a> {
    open: Open<'a>,
    read: HashMap<String, Option<Library>>,
}

struct Library {
    file: Blocks,
    elf: Elf,
}

impl<'a> Libraries<'a> {
    pub fn new(open: Open<'a>) -> Self {
        Self { open, read: HashMap::new() }
    }

    /// The name of the function at `offset` of the file behind `mapping`; none if the file can't
    /// be read or names none.
    pub fn symbol(&mut self, mapping: &Mapping, offset: u64) -> Option<String> {
        if !self.read.contains_key(&mapping.name) {
            let room = self.read.len() < LIBRARIES_MAX;
            let library = room.then(|| Library::read((self.open)(mapping).ok()?)).flatten();
            self.read.insert(mapping.name.clone(), library);
        }
        let Library { file, elf } = self.read.get(&mapping.name)?.as_ref()?;
        let found = elf.symbol(file, elf.vaddr(offset)?).ok()??;
        Some(found.name)
    }
}

impl Library {
    fn read(file: File) -> Option<Self> {
        let file = Blocks::new(file);
        let elf = Elf::read(&file).ok()?;
        Some(Self { file, elf })
    }
}
