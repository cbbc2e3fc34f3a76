//! Known families of goroutines and context sites: a stack in, what it looks like and what to
//! check first out.
//!
//! What matches is advice, never evidence: no verdict looks at it. The format of the files is in
//! docs/FAMILIES.md. Non-goals: finding leaks; knowing versions of anything but the program.

mod affected;
mod conditions;
mod family;
mod file;
mod pattern;
#[cfg(test)]
mod tests;

pub use family::{Advice, Family, Issue, Kind, KnownIssue, Program};

use std::{cmp::Reverse, fs::File, io::Read as _, path::Path};

use conditions::Names;

use crate::binary::Frame;

/// What comes with leaktrace.
const BUILT_IN: &str = include_str!("../../data/families.toml");
/// What errors call it.
const BUILT_IN_NAME: &str = "the built-in families";

/// Why a file of families can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// It can't be read.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is wrong as a whole, or at a line.
    #[error("{file}: {message}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// One of its families is wrong.
    #[error("{file}: {entry}: {message}")]
    Entry {
        /// The file.
        file: String,
        /// The family, by number and name.
        entry: String,
        /// The field, and what is wrong with it.
        message: String,
    },
}

/// All families that are known, those of the user's own files first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Families {
    list: Vec<Family>,
}

impl Families {
    /// Those that come with leaktrace.
    pub fn built_in() -> Self {
        // A unit test parses it.
        Self { list: file::parse(BUILT_IN_NAME, BUILT_IN).unwrap_or_default() }
    }

    /// With the families of the file at `path` before the others. A family that has the name of
    /// another takes its place.
    ///
    /// # Errors
    /// The file can't be read or is wrong, see [`SignatureError`].
    pub fn with_file(self, path: &Path) -> Result<Self, SignatureError> {
        let name = path.display().to_string();
        let mut text = String::new();
        // One byte more than allowed shows that it is too large.
        let read = File::open(path).and_then(|opened| {
            opened.take(file::FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)
        });
        match read {
            Ok(_) => self.with_text(&name, &text),
            Err(source) => Err(SignatureError::Read { file: name, source }),
        }
    }

    /// The same for a file that was read already; `name` is for errors.
    ///
    /// # Errors
    /// The text is wrong.
    pub fn with_text(self, name: &str, text: &str) -> Result<Self, SignatureError> {
        let mut list = file::parse(name, text)?;
        let replaced = |old: &Family| list.iter().any(|new: &Family| new.name == old.name);
        let kept: Vec<_> = self.list.into_iter().filter(|old| !replaced(old)).collect();
        list.extend(kept);
        Ok(Self { list })
    }

    /// All of them.
    pub fn list(&self) -> &[Family] {
        &self.list
    }

    /// What goroutines with this stack (innermost frame first), creator and first function look
    /// like, the most specific family first.
    pub fn match_stack(
        &self,
        frames: &[Frame],
        creator: Option<&Frame>,
        start: Option<&Frame>,
    ) -> Vec<&Family> {
        self.matching(Kind::Goroutine, &Names::new(frames, creator, start))
    }

    /// What contexts that are made by this call chain (innermost frame first) look like, the most
    /// specific family first.
    pub fn match_context(&self, chain: &[Frame]) -> Vec<&Family> {
        self.matching(Kind::Context, &Names::new(chain, None, None))
    }

    fn matching(&self, kind: Kind, names: &Names<'_>) -> Vec<&Family> {
        let mut found = Vec::new();
        for family in self.list.iter().filter(|family| family.kind == kind) {
            if let Some(fixed) = family.conditions.fit(names) {
                found.push((fixed, family));
            }
        }
        // Stable: of equals, the user's own stay first.
        found.sort_by_key(|(fixed, _)| Reverse(*fixed));
        found.into_iter().map(|(_, family)| family).collect()
    }
}
