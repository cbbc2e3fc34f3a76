//! A family of goroutines or context sites, and what there is to say about it.

use super::{affected::Affected, conditions::Conditions};

/// What a family consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Goroutines, by their stacks, creators and first functions.
    #[default]
    Goroutine,
    /// Sites that make contexts, by their call chains.
    Context,
}

/// Goroutines or sites that are known, by how they look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Unique among all; a later file replaces it by its name.
    pub name: String,
    /// What it consists of.
    pub kind: Kind,
    /// It comes and goes in a healthy program: shown with that remark, never hidden.
    pub usual: bool,
    /// What it says when there are many.
    pub meaning: String,
    /// What to look at first, or to do.
    pub check: String,
    /// Bugs that looked like this.
    pub issues: Vec<Issue>,
    /// Where this knowledge is from.
    pub sources: Vec<String>,
    /// How it looks.
    pub(super) conditions: Conditions,
}

/// A known bug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// As people call it: `kubernetes#139823`.
    pub id: String,
    /// Where to read on.
    pub url: String,
    /// In a few words.
    pub what: Option<String>,
    /// The main modules whose versions are meant.
    pub modules: Vec<String>,
    /// The releases that have it, as written.
    pub affected: Option<String>,
    /// The first release without it.
    pub fixed_in: Option<String>,
    pub(super) ranges: Option<Affected>,
}

/// The program in which something was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Program<'a> {
    /// Its main module, with or without `@version`.
    pub module: Option<&'a str>,
    /// Its own version, as its makers wrote it.
    pub version: Option<&'a str>,
}

/// What there is to say about something that looks like a family: advice, never evidence.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Advice {
    /// The family's name.
    pub family: String,
    /// It comes and goes in a healthy program.
    pub usual: bool,
    /// What it says when there are many.
    pub meaning: String,
    /// What to look at first, or to do.
    pub check: String,
    /// Bugs that looked like this, those that the program has first, those that it has not last.
    pub issues: Vec<KnownIssue>,
}

/// A bug that looked like this.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KnownIssue {
    /// As people call it: `kubernetes#139823`.
    pub id: String,
    /// Where to read on.
    pub url: String,
    /// In a few words.
    pub what: Option<String>,
    /// The releases that have it.
    pub affected: Option<String>,
    /// The first release without it.
    pub fixed_in: Option<String>,
    /// Whether the program is one of them; none when that can't be told. A vendor may have fixed
    /// what the release had.
    pub affects_program: Option<bool>,
}

impl Family {
    /// What to say about it when it is found in `program`.
    pub fn advice(&self, program: Program<'_>) -> Advice {
        let mut issues: Vec<_> = self.issues.iter().map(|issue| issue.known(program)).collect();
        issues.sort_by_key(|issue| match issue.affects_program {
            Some(true) => 0,
            None => 1,
            Some(false) => 2,
        });
        Advice {
            family: self.name.clone(),
            usual: self.usual,
            meaning: self.meaning.clone(),
            check: self.check.clone(),
            issues,
        }
    }
}

impl Issue {
    /// Whether `program` has it; none when that can't be told.
    pub fn affects(&self, program: Program<'_>) -> Option<bool> {
        let module = program.module?;
        let module = module.split_once('@').map_or(module, |(module, _)| module);
        if !self.modules.iter().any(|meant| meant == module) {
            return None;
        }
        self.ranges.as_ref()?.covers(program.version?)
    }

    fn known(&self, program: Program<'_>) -> KnownIssue {
        KnownIssue {
            id: self.id.clone(),
            url: self.url.clone(),
            what: self.what.clone(),
            affected: self.affected.clone(),
            fixed_in: self.fixed_in.clone(),
            affects_program: self.affects(program),
        }
    }
}
