//! Who is traced: what the user typed in, one identified process out.
//!
//! A pid alone is never a target: it is reused. Non-goals: reading the process's figures.

mod identity;
mod select;

pub use identity::{Identity, State, Watch};
pub use select::{Candidate, SelectError, Selector, select};
