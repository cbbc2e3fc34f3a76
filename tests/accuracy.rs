//! The quick part of the accuracy benchmark: simulated programs in, no wrong verdict out.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "accuracy/mod.rs"]
mod accuracy;
