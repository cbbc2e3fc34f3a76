//! Folders below a root that may be another process's: a path in, names of the folders there out.
//!
//! Links are followed as that process would follow them and never lead out of its root.

use std::{fs::File, io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::PodsUnknown;

/// Entries of one folder that are read: some hundred times the pods that a node can have.
pub const ENTRIES_MAX: usize = 16_384;

/// A root folder that stays the same whatever becomes of its process.
#[derive(Debug)]
pub struct Root(OwnedFd);

/// The folders in a folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Folders {
    /// Their names, in order.
    pub names: Vec<String>,
    /// There are more than were read.
    pub more: bool,
}

impl Root {
    /// Opens `path`, which may be a `/proc/PID/root`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(File::open(path)?.into()))
    }

    /// Whether there is something at `path`.
    pub fn has(&self, path: &Path) -> bool {
        self.at(path, OFlags::PATH).is_ok()
    }

    /// The folders in the folder at `path`.
    pub fn folders(&self, path: &Path) -> Result<Folders, PodsUnknown> {
        let unreadable = |source| PodsUnknown::Unreadable { place: path.to_owned(), source };
        self.read(path).map_err(unreadable)
    }

    fn read(&self, path: &Path) -> Result<Folders, Errno> {
        let folder = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut found = Folders { names: Vec::new(), more: false };
        for (index, entry) in Dir::read_from(&folder)?.enumerate() {
            if index == ENTRIES_MAX {
                found.more = true;
                break;
            }
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || !is_folder(&folder, &entry) {
                continue;
            }
            found.names.push(name.to_string_lossy().into_owned());
        }
        found.names.sort_unstable();
        Ok(found)
    }

    fn at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }
}

fn is_folder(parent: &OwnedFd, entry: &fs::DirEntry) -> bool {
    match entry.file_type() {
        FileType::Directory => true,
        // Some file systems don't say.
        FileType::Unknown => fs::statat(parent, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        _ => false,
    }
}
