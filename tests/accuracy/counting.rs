//! What BPF and a look into memory tell of contexts, simulated: contexts made and let go in; counters,
//! births of the survivors and holders out.
//!
//! It keeps to the rules of leaktrace-ebpf's context.rs: exact creations, a live map of bounded size
//! that is sampled by address, releases of older contexts without a site.

use std::collections::HashMap;

use leaktrace::{
    bpf::{ContextReadout, SiteReadout},
    memory::Holder,
    snapshot::{ContextKind, ContextNature, ContextParent, ContextSample, HoldingSample},
};
use leaktrace_common::{ContextTotals, SiteCounters, is_sampled, lifetime_bucket};

use super::{
    scenario::{Part, What},
    schedule::Event,
};

/// Tracked contexts from which the sampling widens: three quarters of the default live map.
const TRACKED_MAX: u64 = 98_304;
/// Contexts of a site that are looked up in memory (`session::holding`).
const LOOKED_UP_MAX: usize = 64;
/// Before this age, in seconds, memory tells nothing of a context (`session::holding`).
const SETTLED_S: f64 = 1.0;
/// Heap bytes of a context with its share of the holder's map (Go 1.26, amd64).
pub const CONTEXT_BYTES: u64 = 160;

/// The hash of the site of a part.
pub const fn site(part: usize) -> u64 {
    part as u64 + 1
}

/// Whether a part makes contexts.
pub const fn makes_contexts(what: What) -> bool {
    matches!(what, What::Context | What::Timeout | What::Unheld | What::Both)
}

/// What became of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unborn,
    Before,
    Tracked,
    SampledOut,
    Gone,
}

/// All contexts of a program.
pub struct Contexts<'e> {
    events: &'e [Event],
    parts: &'e [Part],
    fates: Vec<Fate>,
    counters: Vec<SiteCounters>,
    evicted: Vec<u64>,
    totals: ContextTotals,
    shift: u64,
    tracked: u64,
    /// By part, in the order of time; also some that are tracked no longer.
    live: Vec<Vec<usize>>,
    /// Of the one context that is the parent of all that are held.
    children: u64,
}

const fn address(index: usize) -> u64 {
    0xc0_0000_0000 + index as u64 * 112
}

impl<'e> Contexts<'e> {
    /// Before anything was made.
    pub fn new(events: &'e [Event], parts: &'e [Part]) -> Self {
        Self {
            events,
            parts,
            fates: vec![Fate::Unborn; events.len()],
            counters: vec![SiteCounters::ZERO; parts.len()],
            evicted: vec![0; parts.len()],
            totals: ContextTotals::default(),
            shift: 0,
            tracked: 0,
            live: vec![Vec::new(); parts.len()],
            children: 0,
        }
    }

    fn is_held(&self, index: usize) -> bool {
        self.parts[self.events[index].part].what != What::Unheld
    }

    /// One is made.
    pub fn made(&mut self, index: usize) {
        let event = self.events[index];
        self.children += u64::from(self.is_held(index));
        if event.at_s < 0.0 {
            self.fates[index] = Fate::Before;
            return;
        }
        let counters = &mut self.counters[event.part];
        counters.created += 1;
        if !is_sampled(address(index), self.shift) {
            counters.untracked += 1;
            self.fates[index] = Fate::SampledOut;
            return;
        }
        self.fates[index] = Fate::Tracked;
        self.live[event.part].push(index);
        self.tracked += 1;
        if self.tracked > TRACKED_MAX {
            self.widen();
        }
    }

    /// Samples half as many, and evicts the others.
    fn widen(&mut self) {
        self.shift += 1;
        for (part, live) in self.live.iter_mut().enumerate() {
            for index in live.iter().filter(|index| !is_sampled(address(**index), self.shift)) {
                if self.fates[*index] == Fate::Tracked {
                    self.fates[*index] = Fate::SampledOut;
                    self.evicted[part] += 1;
                    self.tracked -= 1;
                }
            }
            live.retain(|index| self.fates[*index] == Fate::Tracked);
        }
    }

    /// One is cancelled.
    pub fn let_go(&mut self, index: usize) {
        let event = self.events[index];
        self.children -= u64::from(self.is_held(index));
        let fate = std::mem::replace(&mut self.fates[index], Fate::Gone);
        match fate {
            Fate::Before if is_sampled(address(index), self.shift) => {
                self.totals.released_untracked += 1;
                self.totals.released_untracked_scaled += 1 << self.shift;
            }
            Fate::Before | Fate::SampledOut => self.totals.released_sampled_out += 1,
            Fate::Tracked => {
                let lived_s = event.until_s.map_or(0.0, |until_s| until_s - event.at_s);
                let counters = &mut self.counters[event.part];
                counters.released += 1;
                counters.lifetimes[lifetime_bucket((lived_s * 1e9) as u64)] += 1;
                self.tracked -= 1;
            }
            Fate::Unborn | Fate::Gone => {}
        }
    }

    /// A collection has ended at `at_s`: what nobody holds is gone.
    pub fn collect(&mut self, at_s: f64) {
        for (part, live) in self.live.iter().enumerate() {
            if self.parts[part].what != What::Unheld {
                continue;
            }
            for index in live {
                let event = self.events[*index];
                let is_garbage = event.is_forgotten && event.at_s + SETTLED_S < at_s;
                if is_garbage && self.fates[*index] == Fate::Tracked {
                    self.fates[*index] = Fate::Gone;
                    self.counters[part].collected += 1;
                    self.tracked -= 1;
                }
            }
        }
    }

    /// The counts; none where the program makes no contexts, since then nothing is probed.
    pub fn sample(&mut self) -> ContextSample {
        let fates = &self.fates;
        self.live.iter_mut().for_each(|live| live.retain(|index| fates[*index] == Fate::Tracked));
        let made = self.counters.iter().enumerate().filter(|(_, counters)| counters.created > 0);
        let read = |(part, counters): (usize, &SiteCounters)| SiteReadout {
            site: site(part),
            counters: *counters,
            evicted: self.evicted[part],
        };
        ContextSample::new(&ContextReadout {
            sites: made.map(read).collect(),
            totals: self.totals,
            shift: self.shift,
            lost: Vec::new(),
        })
    }

    /// Births of the tracked survivors by site.
    pub fn births_s(&self) -> HashMap<u64, Vec<f64>> {
        let sites = self.live.iter().enumerate().filter(|(_, live)| !live.is_empty());
        let births = |live: &[usize]| live.iter().map(|index| self.events[*index].at_s).collect();
        sites.map(|(part, live)| (site(part), births(live))).collect()
    }

    /// What keeps a sample of the survivors, those from before `old_before_s` first.
    pub fn holdings(&self) -> HashMap<u64, HoldingSample> {
        let sites = self.live.iter().enumerate().filter(|(_, live)| !live.is_empty());
        sites.map(|(part, live)| (site(part), self.holding(part, live.len()))).collect()
    }

    fn holding(&self, part: usize, live: usize) -> HoldingSample {
        let count = live.min(LOOKED_UP_MAX) as u64;
        let bytes = CONTEXT_BYTES + self.parts[part].payload_bytes;
        let sizes = HoldingSample {
            retained_bytes: Some(CONTEXT_BYTES),
            reached_bytes: Some(bytes),
            ..HoldingSample::default()
        };
        if self.parts[part].what == What::Unheld {
            return HoldingSample { unheld: count, ..sizes };
        }
        let type_name = "*context.cancelCtx";
        let holder = Holder { address: 0xc0_0000_0040, type_name, children: self.children };
        HoldingSample { held: count, holder: Some(holder), ..sizes }
    }

    /// What the contexts are by their making.
    pub fn natures(&self) -> HashMap<u64, ContextNature> {
        let parts = self.parts.iter().enumerate().filter(|(_, part)| makes_contexts(part.what));
        parts.map(|(index, part)| (site(index), nature(part.what))).collect()
    }
}

const fn nature(what: What) -> ContextNature {
    let kind = match what {
        What::Timeout => ContextKind::Timer,
        _ => ContextKind::Cancel,
    };
    let parent = match what {
        What::Unheld => ContextParent::Uncancellable,
        _ => ContextParent::Cancellable,
    };
    ContextNature { kind, parent, gives_cancel_func: false }
}

#[cfg(test)]
mod tests {
    use super::{Contexts, Event, Part, What, site};
    use crate::accuracy::scenario::{Arrivals, Life};

    fn part(what: What) -> Part {
        Part {
            what,
            arrivals: Arrivals::Steady { per_s: 1.0 },
            life: Life::Forever,
            forgotten_one_in: Some(1),
            capacity: None,
            payload_bytes: 0,
        }
    }

    fn event(at_s: f64, until_s: Option<f64>) -> Event {
        Event { at_s, part: 0, until_s, is_forgotten: until_s.is_none() }
    }

    #[test]
    fn what_was_there_before_has_no_site() {
        let events = [event(-2.0, Some(3.0)), event(1.0, Some(5.0)), event(2.0, None)];
        let parts = [part(What::Context)];
        let mut contexts = Contexts::new(&events, &parts);
        (0..3).for_each(|index| contexts.made(index));
        assert_eq!(contexts.holdings()[&site(0)].holder.as_ref().unwrap().children, 3);
        [0, 1].into_iter().for_each(|index| contexts.let_go(index));
        let sample = contexts.sample();
        let counts = &sample.sites[&site(0)];
        assert_eq!((counts.created, counts.released, counts.outstanding), (2, 1, 1));
        assert_eq!((sample.released_untracked, sample.probe_hits), (1, 4));
        assert_eq!(contexts.births_s()[&site(0)], [2.0]);
    }

    #[test]
    fn a_full_map_is_sampled_and_still_adds_up() {
        let events: Vec<_> = (0..200_000).map(|at| event(f64::from(at), None)).collect();
        let parts = [part(What::Context)];
        let mut contexts = Contexts::new(&events, &parts);
        (0..200_000).for_each(|index| contexts.made(index));
        let sample = contexts.sample();
        assert_eq!((sample.sites[&site(0)].created, sample.sample_divisor), (200_000, 4));
        let outstanding = sample.sites[&site(0)].outstanding as f64;
        assert!((outstanding / 200_000.0 - 1.0).abs() < 0.05, "{outstanding}");
        assert_eq!(contexts.births_s()[&site(0)].len() as u64, contexts.tracked);
    }

    #[test]
    fn only_what_nobody_holds_is_collected() {
        let events = [event(1.0, None), event(8.0, None)];
        for (what, collected) in [(What::Unheld, 1), (What::Context, 0)] {
            let parts = [part(what)];
            let mut contexts = Contexts::new(&events, &parts);
            (0..2).for_each(|index| contexts.made(index));
            contexts.collect(8.5);
            assert_eq!(contexts.sample().sites[&site(0)].collected, collected, "{what:?}");
        }
    }
}
