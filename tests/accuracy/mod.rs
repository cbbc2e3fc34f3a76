//! The accuracy benchmark: programs whose truth is known in, how often the verdict is right out.
//!
//! One description of a program ([`scenario`]) becomes one schedule of events ([`schedule`]), which a
//! live Go program carries out ([`live`]) or a simulation in fast time ([`fast`]); readings of live
//! programs are kept and judged again ([`recorded`]). All give [`outcome::Outcome`]s, which [`score`]
//! turns into tables.

#![allow(dead_code, reason = "the benchmark uses all of it, the test a part")]

pub mod catalogue;
mod counting;
pub mod fast;
mod heap;
pub mod live;
pub mod live_blame;
pub mod live_catalogue;
pub mod outcome;
pub mod page;
pub mod player;
pub mod recorded;
pub mod recording;
pub mod scenario;
pub mod schedule;
pub mod score;
#[allow(clippy::unwrap_used, reason = "made for tests: what can't go on has failed")]
#[path = "../support/mod.rs"]
pub mod support;
pub mod sweep;
mod timeline;
pub mod truth;
