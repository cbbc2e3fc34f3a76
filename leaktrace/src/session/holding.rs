//! Who holds the outstanding contexts: a bounded sample of their addresses by site in, what keeps
//! them out.
//!
//! The sample is the same for the same addresses. Contexts that have outlived two collections come
//! first: of these it can be told whether something that is not a context keeps them. Non-goals:
//! what that is.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{executable::Executable, look::Look};
use crate::{
    memory::{Allocation, ContextReader, Spans, Standing, find_holders, gc_cycles},
    snapshot::{HolderSample, HoldingSample},
};

/// Contexts of a site that are looked at: half of them tells a majority.
const PER_SITE: usize = 64;
/// Collections after which nothing is left that was garbage before: one may have been under way.
const COLLECTIONS: u32 = 2;
/// How long the heap is searched: with more than that the first reading would be late.
const SEARCH_TIME: Duration = Duration::from_millis(500);
/// Spreads addresses: the golden ratio in 64 bits, as in Knuth's multiplicative hash.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Watches collections during a trace, and looks at contexts at its end.
pub struct Holdings {
    look: Look,
    /// When a number of collections was seen last, oldest first: `CLOCK_MONOTONIC`, the number.
    collections: VecDeque<(u64, u32)>,
    /// When the heap was searched first, and what held others then: address, children.
    before: Option<(Instant, HashMap<u64, u64>)>,
}

/// Addresses of a site: those not old, then by their hash.
type Candidates = BTreeSet<(bool, u64, u64)>;

/// The sample under construction.
#[derive(Debug, Default)]
pub struct Outstanding {
    sites: HashMap<u64, Candidates>,
    /// What was made before this has outlived the collections.
    old_before_ns: u64,
}

impl Outstanding {
    /// Adds a context to those that may be looked at.
    pub fn add(&mut self, site: u64, address: u64, created_ns: u64) {
        let candidates = self.sites.entry(site).or_default();
        let is_new = created_ns >= self.old_before_ns;
        candidates.insert((is_new, address.wrapping_mul(SPREAD), address));
        if candidates.len() > PER_SITE {
            candidates.pop_last();
        }
    }
}

impl Holdings {
    /// Gets ready to look through `look`.
    pub const fn new(look: Look) -> Self {
        Self { look, collections: VecDeque::new(), before: None }
    }

    /// Searches the heap for contexts that hold others, from before the trace too. The first time
    /// gives what later ones are compared with.
    pub fn search(&mut self, executable: &Executable) -> Result<Vec<HolderSample>> {
        let types = executable.types().context("the types are not known")?;
        let began = Instant::now();
        let go_on = || began.elapsed() < SEARCH_TIME;
        let found = find_holders(&self.look.runtime(), &types, &go_on)?.top;
        let known = || found.iter().map(|holder| (holder.address, holder.children)).collect();
        let (at, before) = self.before.get_or_insert_with(|| (began, known()));
        let elapsed_s = began.duration_since(*at).as_secs_f64();
        Ok(HolderSample::compare(before, found, elapsed_s))
    }

    /// Notes how many collections there were by `now_ns` (`CLOCK_MONOTONIC`).
    pub fn note_collections(&mut self, now_ns: u64) {
        let Ok(cycles) = gc_cycles(&self.look.runtime()) else { return };
        if self.collections.back().is_some_and(|(_, known)| *known == cycles) {
            self.collections.pop_back();
        }
        self.collections.push_back((now_ns, cycles));
        let passed = |(_, known): &(u64, u32)| cycles.wrapping_sub(*known) >= COLLECTIONS;
        while self.collections.get(1).is_some_and(passed) {
            self.collections.pop_front();
        }
    }

    /// An empty sample, to which contexts made by now are added.
    pub fn outstanding(&self) -> Outstanding {
        let newest = self.collections.back().map_or(0, |(_, cycles)| *cycles);
        let first = self.collections.front();
        let old_before_ns = first
            .filter(|(_, cycles)| newest.wrapping_sub(*cycles) >= COLLECTIONS)
            .map_or(0, |(at_ns, _)| *at_ns);
        Outstanding { sites: HashMap::new(), old_before_ns }
    }

    /// Lets `ask` find out of addresses whether they are free by now. Where the heap can't be read,
    /// and what can't be told, counts as alive.
    pub fn with_freed<T>(&self, ask: impl FnOnce(&dyn Fn(u64) -> bool) -> T) -> T {
        let runtime = self.look.runtime();
        match Spans::read(&runtime) {
            Ok(spans) => ask(&|address| matches!(spans.object(address), Ok(Allocation::Free))),
            Err(_) => ask(&|_| false),
        }
    }

    /// What keeps the contexts of the sample, by site.
    pub fn read(
        &self,
        executable: &Executable,
        outstanding: &Outstanding,
    ) -> Result<HashMap<u64, HoldingSample>> {
        let types = executable.types().context("the types are not known")?;
        let runtime = self.look.runtime();
        let reader = ContextReader::new(&runtime, &types)?;
        let asked: Vec<_> = outstanding
            .sites
            .iter()
            .flat_map(|(site, found)| found.iter().map(|candidate| (*site, *candidate)))
            .collect();
        let addresses: Vec<_> = asked.iter().map(|(_, (.., address))| (*address, None)).collect();
        let standings = reader.standings(&addresses)?;
        let mut by_site: HashMap<u64, Vec<(&Standing, bool)>> = HashMap::new();
        for ((site, (is_new, ..)), standing) in asked.iter().zip(&standings) {
            by_site.entry(*site).or_default().push((standing, !is_new));
        }
        let sampled = |(site, standings)| (site, HoldingSample::new(standings));
        Ok(by_site.into_iter().map(sampled).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Outstanding, PER_SITE};

    #[test]
    fn the_sample_is_bounded_and_prefers_what_is_old() {
        let mut outstanding = Outstanding { old_before_ns: 1000, ..Outstanding::default() };
        for index in 0..10_000 {
            outstanding.add(1, 0xc0_0000_0000 + index * 80, 1000 + index);
        }
        outstanding.add(1, 7, 999);
        let site = &outstanding.sites[&1];
        assert_eq!(site.len(), PER_SITE);
        assert_eq!(site.first().map(|(is_new, _, address)| (*is_new, *address)), Some((false, 7)));
    }
}
