//! Where to probe: facts about a binary in, probe points and what is unavailable out.
//!
//! Planning is pure; `facts` reads the binary. A function that was not found, or whose prologue
//! was not recognised, makes its evidence unavailable by name; nothing is guessed.
//! Non-goals: attaching.

mod facts;
mod goroutines;
mod plan;

pub use facts::{CodeFacts, ContextFacts};
pub use goroutines::{
    GoroutineFacts, GoroutineLayout, GoroutinePlan, GoroutinePoint, GoroutineProgram,
    plan_goroutines,
};
pub use plan::{Plan, ProbePoint, Program, Unavailable, plan};
