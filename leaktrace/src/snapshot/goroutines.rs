//! Goroutines from reading to reading: the list of all that are alive in, counts by site and the
//! births of the survivors out.
//!
//! A number (goid) is never given out twice, so who is new and who has ended is known exactly. Who
//! began and ended between two readings was never seen: what is counted as started is a lower bound.
//! Non-goals: names; what goroutines do (`survey` has it).

use std::collections::HashMap;

use leaktrace_common::{LIFETIME_BUCKETS, lifetime_bucket};

use super::SiteSample;
use crate::memory::goroutines::{Creation, Goroutine, Goroutines, Label, LabelsId, Lost};

/// Sites that are told apart; a real program has some hundred `go` statements.
const SITES_MAX: usize = 4096;

/// All sites beyond [`SITES_MAX`].
pub const OTHER_SITES: Creation = Creation { creator_pc: u64::MAX, start_pc: u64::MAX };

/// What the goroutines of one site have done so far.
#[derive(Debug, Clone, PartialEq)]
pub struct GoroutineSiteSample {
    /// Alive now.
    pub live: u64,
    /// Bytes of their stacks.
    pub stack_bytes: u64,
    /// Seen to be new since the first reading.
    pub started: u64,
    /// Of these, ended.
    pub ended: u64,
    /// Of those that were there at the first reading, ended.
    pub ended_before: u64,
    /// Ended ones that were not there at the first reading by lifetime
    /// (`leaktrace_common::lifetime_bucket`), up to the reading that saw them last.
    pub lifetimes: [u64; LIFETIME_BUCKETS],
}

impl GoroutineSiteSample {
    const NOTHING: Self = Self {
        live: 0,
        stack_bytes: 0,
        started: 0,
        ended: 0,
        ended_before: 0,
        lifetimes: [0; LIFETIME_BUCKETS],
    };

    /// In the terms that sites are judged in: what was there before counts as far as it has ended.
    pub fn as_site(&self) -> SiteSample {
        SiteSample {
            created: self.started,
            released: self.ended.saturating_add(self.ended_before),
            collected: 0,
            outstanding: self.live,
            lifetimes: self.lifetimes,
        }
    }
}

/// All goroutines of the program at one reading.
#[derive(Debug, Clone, PartialEq)]
pub struct GoroutineSample {
    /// Alive.
    pub live: u64,
    /// The highest number given out so far, as far as seen.
    pub newest_id: u64,
    /// By site; also those of which none is alive any more.
    pub sites: HashMap<Creation, GoroutineSiteSample>,
    /// How many have which label.
    pub labels: HashMap<Label, u64>,
    /// What could not be read.
    pub lost: Lost,
}

/// A goroutine that is alive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tracked {
    pub(super) id: u64,
    pub(super) slot: u32,
    /// When it began, `CLOCK_MONOTONIC`; 0: before the first reading.
    pub(super) born_ns: u64,
    /// Index of its site.
    site: u32,
    /// The last reading had losses, and it was not in it.
    missed: bool,
}

/// Follows the goroutines of one process.
#[derive(Debug, Default)]
pub struct GoroutineTracker {
    /// By their slots.
    alive: Vec<Tracked>,
    indices: HashMap<Creation, u32>,
    sites: Vec<(Creation, GoroutineSiteSample)>,
    /// When the last reading began.
    last_ns: Option<u64>,
    newest_id: u64,
}

impl GoroutineTracker {
    /// Takes in all that were alive at `now_ns` (`CLOCK_MONOTONIC`), by their slots; `is_own` tells the program's
    /// goroutines from the runtime's.
    pub fn observe(
        &mut self,
        now_ns: u64,
        goroutines: &Goroutines,
        is_own: &mut dyn FnMut(&Goroutine) -> bool,
    ) -> GoroutineSample {
        let before = std::mem::take(&mut self.alive);
        self.alive.reserve(goroutines.list.len());
        for (_, site) in &mut self.sites {
            (site.live, site.stack_bytes) = (0, 0);
        }
        let may_miss = has_gaps(&goroutines.lost);
        let mut before = before.into_iter().peekable();
        let (mut labelled, mut born) = (HashMap::new(), Vec::new());
        for one in &goroutines.list {
            let is_gone = |known: &Tracked| {
                known.slot < one.slot || (known.slot == one.slot && known.id != one.id)
            };
            while let Some(gone) = before.next_if(is_gone) {
                // Who has lost the slot to another has ended for sure.
                self.miss(gone, may_miss && gone.slot < one.slot, now_ns);
            }
            let site = match before.next_if(|known| known.slot == one.slot) {
                Some(known) => {
                    self.alive.push(Tracked { missed: false, ..known });
                    known.site
                }
                None if is_own(one) => {
                    born.push(self.alive.len());
                    self.begin(one)
                }
                None => continue,
            };
            self.count(site, one);
            if let Some(labels) = one.labels {
                *labelled.entry(labels).or_insert(0) += 1;
            }
        }
        before.for_each(|gone| self.miss(gone, may_miss, now_ns));
        self.date(born, now_ns);
        self.last_ns = Some(now_ns);
        self.sample(goroutines, &labelled)
    }

    /// Notes one that was not there before; gives its site.
    fn begin(&mut self, one: &Goroutine) -> u32 {
        let creation = Creation { creator_pc: one.creator_pc, start_pc: one.start_pc };
        let site = self.site(creation);
        self.alive.push(Tracked { id: one.id, slot: one.slot, born_ns: 0, site, missed: false });
        self.newest_id = self.newest_id.max(one.id);
        if self.last_ns.is_some() {
            self.sites[site as usize].1.started += 1;
        }
        site
    }

    fn site(&mut self, creation: Creation) -> u32 {
        if let Some(index) = self.indices.get(&creation) {
            return *index;
        }
        if creation != OTHER_SITES && self.sites.len() >= SITES_MAX {
            return self.site(OTHER_SITES);
        }
        let index = self.sites.len() as u32;
        self.indices.insert(creation, index);
        self.sites.push((creation, GoroutineSiteSample::NOTHING));
        index
    }

    fn count(&mut self, site: u32, one: &Goroutine) {
        let site = &mut self.sites[site as usize].1;
        site.live += 1;
        site.stack_bytes = site.stack_bytes.saturating_add(one.stack_bytes);
    }

    /// One that was there is not: it has ended, unless this reading has gaps. Then the next tells.
    fn miss(&mut self, gone: Tracked, may_miss: bool, now_ns: u64) {
        let site = &mut self.sites[gone.site as usize].1;
        if may_miss && !gone.missed {
            site.live += 1;
            self.alive.push(Tracked { missed: true, ..gone });
        } else if gone.born_ns == 0 {
            site.ended_before += 1;
        } else {
            // Until it was seen last: who is seen once may have lived for a moment only, and to add
            // half the time between two readings would make all lives look long where these are rare.
            let lived_ns = self.last_ns.unwrap_or(now_ns).saturating_sub(gone.born_ns);
            site.ended += 1;
            site.lifetimes[lifetime_bucket(lived_ns)] += 1;
        }
    }

    /// Dates those at `born` back: they began since the last reading, in the order of their numbers.
    fn date(&mut self, mut born: Vec<usize>, now_ns: u64) {
        let Some(last_ns) = self.last_ns else { return };
        born.sort_unstable_by_key(|index| self.alive[*index].id);
        let between_ns = now_ns.saturating_sub(last_ns) as f64;
        for (nth, index) in born.iter().enumerate() {
            let share = (nth as f64 + 0.5) / born.len() as f64;
            self.alive[*index].born_ns = last_ns + (between_ns * share) as u64;
        }
    }

    fn sample(
        &self,
        goroutines: &Goroutines,
        labelled: &HashMap<LabelsId, u64>,
    ) -> GoroutineSample {
        let mut labels = HashMap::new();
        for (set, count) in labelled {
            for label in goroutines.labels(Some(*set)) {
                *labels.entry(label.clone()).or_insert(0) += count;
            }
        }
        GoroutineSample {
            live: self.alive.len() as u64,
            newest_id: self.newest_id,
            sites: self.sites.iter().cloned().collect(),
            labels,
            lost: goroutines.lost,
        }
    }

    /// When the survivors began that were not there at the first reading, by site, in seconds since
    /// `start_ns`.
    pub fn births_s(&self, start_ns: u64) -> HashMap<Creation, Vec<f64>> {
        let mut births_s: HashMap<Creation, Vec<f64>> = HashMap::new();
        for (tracked, site) in self.alive() {
            if tracked.born_ns > 0 {
                let birth_ns = tracked.born_ns.saturating_sub(start_ns);
                births_s.entry(site).or_default().push(birth_ns as f64 / 1e9);
            }
        }
        births_s
    }

    /// All that are alive with their sites, by their slots.
    pub(super) fn alive(&self) -> impl Iterator<Item = (&Tracked, Creation)> {
        self.alive.iter().map(|tracked| (tracked, self.sites[tracked.site as usize].0))
    }
}

/// Whether a goroutine may be missing that is alive.
const fn has_gaps(lost: &Lost) -> bool {
    lost.slots_unreadable > 0 || lost.invalid > 0 || lost.torn > 0
}

#[cfg(test)]
#[path = "goroutines_tests.rs"]
mod tests;
