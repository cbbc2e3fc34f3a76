//! What goroutines are known for: sites with names in, advice beside them out.
//!
//! Non-goals: evidence.

use super::goroutine_sites::GoroutineSites;
use crate::signatures::{Families, Program};

impl GoroutineSites {
    /// Says what the sites are known for in `program`.
    pub fn advise(&mut self, families: &Families, program: Program<'_>) {
        for site in &mut self.sites {
            let frames = site.stacks.first().map_or(&[][..], |stack| &stack.frames);
            let found = families.match_stack(frames, site.creator.as_ref(), site.start.as_ref());
            site.advice = found.into_iter().map(|family| family.advice(program)).collect();
        }
    }
}
