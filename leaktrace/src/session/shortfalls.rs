//! What a trace could not have: failures in, each said once, out.

use crate::probe::Unavailable;

/// What memory tells of contexts, where it can be read.
pub const HOLDERS: &str = "holders of contexts";
pub const HEAP: &str = "heap profile";
pub const COUNTERS: &str = "counters of the Go runtime";
pub const RATES: &str = "starts and ends of goroutines";
pub const GROWTH: &str = "growth by call chain";
pub const MAPPINGS: &str = "what the memory is used for";
pub const MEMORY: &str = "the Go runtime's memory";
pub const GOROUTINES: &str = "goroutines";
/// Without these, what is counted is as good.
const OF_MEMORY: [&str; 11] = [
    AGES,
    RATES,
    HOLDERS,
    HEAP,
    COUNTERS,
    MEMORY,
    MAPPINGS,
    GROWTH,
    GOROUTINES,
    "page faults by call chain",
    "mapping calls by call chain",
];
/// What the live map tells.
pub const AGES: &str = "the ages of outstanding contexts";

/// In the order in which they came up.
#[derive(Debug, Default)]
pub struct Shortfalls {
    list: Vec<Unavailable>,
}

impl Shortfalls {
    /// Notes that `what` can't be had; only its first reason is kept.
    pub fn note(&mut self, what: &str, why: impl std::fmt::Display) {
        if self.list.iter().all(|missing| missing.what != what) {
            self.list.push(Unavailable::new(what, why));
        }
    }

    /// Whether what was counted is whole: without that, no site can be judged.
    pub fn spare_counts(&self) -> bool {
        self.list.iter().all(|missing| OF_MEMORY.contains(&&*missing.what))
    }

    /// All of them.
    pub fn into_list(self) -> Vec<Unavailable> {
        self.list
    }
}
