//! What a stack has to look like: names of functions in, how specific the fit is out.

use super::pattern::Pattern;
use crate::binary::Frame;

/// Packages whose functions a goroutine waits in, not for.
const RUNTIME: [&str; 2] = ["runtime.", "internal/runtime/"];
/// Where the copies of a `vendor` folder are, in builds without modules.
const VENDOR: &str = "vendor/";

/// All that are given must hold. Of the patterns of one, any will do, except in `stack_all`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// A function on the stack, the first one, or the one that made the goroutine.
    pub anywhere: Vec<Pattern>,
    /// A function on the stack, or the first one.
    pub stack: Vec<Pattern>,
    /// Functions on the stack, or the first one: one for each pattern.
    pub stack_all: Vec<Pattern>,
    /// The innermost function that is not the runtime's: where it waits.
    pub top: Vec<Pattern>,
    /// What the goroutine began with.
    pub start: Vec<Pattern>,
    /// The function with the `go` statement.
    pub creator: Vec<Pattern>,
}

/// The functions of a goroutine, or of the place where a context was made.
#[derive(Debug)]
pub struct Names<'a> {
    /// Innermost first.
    stack: Vec<&'a str>,
    start: Option<&'a str>,
    creator: Option<&'a str>,
}

impl<'a> Names<'a> {
    /// Those of a stack (innermost first), its creator and its first function.
    pub fn new(frames: &'a [Frame], creator: Option<&'a Frame>, start: Option<&'a Frame>) -> Self {
        Self {
            stack: frames.iter().map(name).collect(),
            start: start.map(name),
            creator: creator.map(name),
        }
    }

    fn top(&self) -> Option<&'a str> {
        let own = |name: &&&str| !RUNTIME.iter().any(|package| name.starts_with(package));
        self.stack.iter().find(own).copied()
    }

    fn on_stack(&self) -> impl Iterator<Item = &'a str> + Clone + '_ {
        self.stack.iter().copied().chain(self.start)
    }
}

fn name(frame: &Frame) -> &str {
    let name = &*frame.function;
    name.rfind("/vendor/").map_or_else(
        || name.strip_prefix(VENDOR).unwrap_or(name),
        |at| &name[at + 1 + VENDOR.len()..],
    )
}

impl Conditions {
    /// How many patterns it has.
    pub fn patterns(&self) -> usize {
        let lists =
            [&self.anywhere, &self.stack, &self.stack_all, &self.top, &self.start, &self.creator];
        lists.into_iter().map(Vec::len).sum()
    }

    /// How much of the names is fixed by the patterns that fit, in bytes; none when they don't.
    pub fn fit(&self, names: &Names<'_>) -> Option<usize> {
        let stack = names.on_stack();
        let mut fixed = any(&self.anywhere, stack.clone().chain(names.creator))?;
        fixed += any(&self.stack, stack.clone())?;
        fixed += any(&self.top, names.top().into_iter())?;
        fixed += any(&self.start, names.start.into_iter())?;
        fixed += any(&self.creator, names.creator.into_iter())?;
        for pattern in &self.stack_all {
            stack.clone().find(|name| pattern.matches(name))?;
            fixed += pattern.literals();
        }
        Some(fixed)
    }
}

/// The most that a pattern which fits one of `names` fixes; nothing when no pattern is given.
fn any<'a>(patterns: &[Pattern], names: impl Iterator<Item = &'a str> + Clone) -> Option<usize> {
    if patterns.is_empty() {
        return Some(0);
    }
    let fits = |pattern: &&Pattern| names.clone().any(|name| pattern.matches(name));
    patterns.iter().filter(fits).map(Pattern::literals).max()
}
