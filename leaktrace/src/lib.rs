//! Says whether a running process leaks, where in its code, how fast, and what that costs.
//!
//! In: a process id. Out: a report with a verdict and its evidence. The modules are the stages of
//! the pipeline in ARCHITECTURE.md; a module imports only modules above it there, and `session`
//! alone knows them all.

pub mod binary;
pub mod bpf;
pub mod cli;
pub mod config;
pub mod display;
pub mod forecast;
pub mod history;
pub mod ledger;
pub mod memory;
pub mod model;
pub mod overhead;
pub mod probe;
pub mod report;
pub mod session;
pub mod signatures;
pub mod snapshot;
pub mod symbolize;
pub mod target;
pub mod verdict;
