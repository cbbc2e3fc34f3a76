//! The layout of Go's runtime: a Go version in, offsets, sizes and numbers out.
//!
//! The rows are derived from the DWARF of the pinned toolchains by `cargo xtask layouts`, and
//! compared with it by `cargo xtask test`. Fields have Go's names in snake case and, unless they
//! say otherwise, are offsets in bytes from the start of the Go type that their struct names.

pub mod contexts;
pub mod goroutines;
pub mod heap;
mod rows_contexts;
mod rows_goroutines;
mod rows_heap;
mod rows_tables;
mod rows_wait_reasons;
pub mod tables;

use contexts::Contexts;
use goroutines::{Goroutines, WaitReason};
use heap::Heap;
use tables::Tables;

use super::GoVersion;
use crate::binary::{BinaryError, Machine};

/// The layout of one Go version.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Minor version N of Go 1.N.
    pub minor: u32,
    /// The tables in the executable.
    pub tables: &'static Tables,
    /// Contexts in live memory.
    pub contexts: &'static Contexts,
    /// Goroutines in live memory.
    pub goroutines: &'static Goroutines,
    /// The heap in live memory.
    pub heap: &'static Heap,
    /// Why a goroutine waits, by the number in its `waitreason`.
    pub wait_reasons: &'static [WaitReason],
}

/// A fact on which amd64 and arm64 differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByMachine {
    /// On x86-64.
    pub amd64: u64,
    /// On AArch64.
    pub arm64: u64,
}

impl ByMachine {
    /// The value on `machine`; none where it was not derived.
    pub const fn on(self, machine: Machine) -> Option<u64> {
        match machine {
            Machine::Amd64 => Some(self.amd64),
            Machine::Arm64 => Some(self.arm64),
            Machine::Other(_) => None,
        }
    }
}

/// The layout of `version`.
///
/// # Errors
/// [`BinaryError::UnknownGoVersion`] when it has no row: a layout is never guessed.
pub fn for_version(version: &GoVersion) -> Result<Layout, BinaryError> {
    let layout = version.minor().and_then(for_minor);
    layout.ok_or_else(|| BinaryError::UnknownGoVersion(version.to_string()))
}

/// The versions that have a row: `1.21 to 1.27`.
pub fn known() -> String {
    let minors = || rows_tables::ROWS.iter().map(|(minor, _)| *minor);
    let (first, last) = (minors().min().unwrap_or(0), minors().max().unwrap_or(0));
    format!("1.{first} to 1.{last}")
}

fn for_minor(minor: u32) -> Option<Layout> {
    Some(Layout {
        minor,
        tables: row(&rows_tables::ROWS, minor)?,
        contexts: row(&rows_contexts::ROWS, minor)?,
        goroutines: row(&rows_goroutines::ROWS, minor)?,
        heap: row(&rows_heap::ROWS, minor)?,
        wait_reasons: row(&rows_wait_reasons::ROWS, minor)?,
    })
}

fn row<T>(rows: &'static [(u32, T)], minor: u32) -> Option<&'static T> {
    rows.iter().find(|(known, _)| *known == minor).map(|(_, row)| row)
}

/// The layouts of all versions that have one.
#[cfg(test)]
pub fn for_every_version() -> impl Iterator<Item = Layout> {
    rows_tables::ROWS.iter().filter_map(|(minor, _)| for_minor(*minor))
}

#[cfg(test)]
mod tests {
    use super::{
        for_minor, for_version, rows_contexts, rows_goroutines, rows_heap, rows_tables,
        rows_wait_reasons,
    };
    use crate::binary::Machine;

    #[test]
    fn every_version_has_every_row_and_no_other_has_any() {
        fn minors<T>(rows: &[(u32, T)]) -> Vec<u32> {
            rows.iter().map(|(minor, _)| *minor).collect()
        }
        let known = minors(&rows_tables::ROWS);
        assert_eq!(minors(&rows_contexts::ROWS), known);
        assert_eq!(minors(&rows_goroutines::ROWS), known);
        assert_eq!(minors(&rows_heap::ROWS), known);
        assert_eq!(minors(&rows_wait_reasons::ROWS), known);
        for minor in known {
            assert_eq!(
                for_version(&format!("go1.{minor}.1").as_str().into()).unwrap().minor,
                minor
            );
        }
        assert!(for_version(&"go1.20.1".into()).is_err());
        assert!(for_version(&"go1.99".into()).is_err());
    }

    /// Figures of Go 1.27.3 and 1.21.13 as a walk of a live process confirmed them.
    #[test]
    fn rows_are_those_of_their_version() {
        let [old, new] = [21, 27].map(|minor| for_minor(minor).unwrap());
        assert_eq!((old.tables.module_data.gofunc, new.tables.module_data.gofunc), (320, 344));
        assert_eq!((old.goroutines.g.goid, new.goroutines.g.goid), (152, 152));
        assert_eq!((old.heap.mem_record.future, new.heap.mem_record.future), (32, 16));
        assert!(old.contexts.hmap.is_some() && new.contexts.hmap.is_none());
        assert!(old.contexts.swiss_map.is_none() && new.contexts.swiss_map.is_some());
        assert_eq!(old.wait_reasons[14].name, "ChanReceive");
        assert_eq!(new.wait_reasons[19].name, "ChanReceive");
        assert_eq!(new.heap.page_heap.arenas.on(Machine::Arm64), Some(66072));
        assert_eq!(new.heap.page_heap.arenas.on(Machine::Other(0)), None);
    }
}
