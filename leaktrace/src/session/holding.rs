//! What became of the outstanding contexts, and who holds them: their addresses in; which are no
//! more, and what keeps a bounded sample of the others, out.
//!
//! Looked at with every reading, since a target that runs out of memory takes all evidence with it.
//! The sample is the same for the same addresses. Contexts that have outlived two collections come
//! first: of these it can be told whether something that is not a context keeps them. Non-goals:
//! what that is.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{executable::Executable, look::Look};
use crate::{
    bpf::LiveEntry,
    memory::{CancelFuncs, ContextReader, Holder, Holding, Standing, find_holders, gc_cycles},
    snapshot::{ContextNature, HolderSample, HoldingSample, Seen},
};

/// Contexts of a site that are looked at: half of them tells a majority.
const PER_SITE: usize = 64;
/// Collections after which nothing is left that was garbage before: one may have been under way.
const COLLECTIONS: u32 = 2;
/// How long the heap is searched: with more than that the first reading would be late.
const SEARCH_TIME: Duration = Duration::from_millis(500);
/// Who holds contexts is asked at most during one part in this many of the time.
const ASKING_PART: u32 = 50;
/// Sites of which it is asked what hangs on their contexts: those with the most outstanding ones.
const SITES_REACHED: usize = 8;
/// Contexts whose belongings are compared at least: with fewer, what all share would look like
/// one's own.
const HELD_MIN: usize = 8;
/// How long the belongings of one site's contexts are followed.
const REACH_TIME: Duration = Duration::from_millis(50);
/// How long the heap is searched for cancel functions.
const FUNCS_TIME: Duration = Duration::from_millis(250);
/// Before this age a context may not be filled in yet: the probe fires before it is.
const SETTLED_NS: u64 = 1_000_000_000;
/// Spreads addresses: the golden ratio in 64 bits, as in Knuth's multiplicative hash.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Watches collections and contexts during a trace.
pub struct Holdings {
    look: Rc<Look>,
    /// When a number of collections was seen last, oldest first: `CLOCK_MONOTONIC`, the number.
    collections: VecDeque<(u64, u32)>,
    /// When the heap was searched first, and what held others then: address, children.
    before: Option<(Instant, HashMap<u64, u64>)>,
    /// Contexts that no event ended but that are no more: address, when it was made.
    gone: HashSet<(u64, u64)>,
    /// Contexts whose cancel functions are lost, which stays so: address, when it was made.
    lost: HashSet<(u64, u64)>,
    /// What keeps the outstanding contexts, by site, and the holders known, at `asked`.
    sites: HashMap<u64, HoldingSample>,
    holders: Vec<Holder>,
    asked: Instant,
    /// Before this it is not asked again.
    rest_until: Instant,
}

impl Holdings {
    /// Gets ready to look through `look`.
    pub fn new(look: Rc<Look>) -> Self {
        let now = Instant::now();
        Self {
            look,
            collections: VecDeque::new(),
            before: None,
            gone: HashSet::new(),
            lost: HashSet::new(),
            sites: HashMap::new(),
            holders: Vec::new(),
            asked: now,
            rest_until: now,
        }
    }

    /// Searches the heap for contexts that hold others, from before the trace too. The first time
    /// gives what later ones are compared with.
    ///
    /// # Errors
    /// The memory can't be read; what was known of holders is kept.
    pub fn search(&mut self, executable: &Executable) -> Result<()> {
        let types = executable.types().context("the types are not known")?;
        let began = Instant::now();
        let go_on = || began.elapsed() < SEARCH_TIME;
        self.holders = find_holders(&self.look.runtime(), &types, &go_on)?.top;
        self.asked = began;
        let known = || self.holders.iter().map(|holder| (holder.address, holder.children));
        self.before.get_or_insert_with(|| (began, known().collect()));
        Ok(())
    }

    /// Looks at the outstanding contexts `live`, sorted by address, at `now_ns`
    /// (`CLOCK_MONOTONIC`), of sites of these `natures`: which are no more and, unless that takes too
    /// much of the time, who holds the others, and whether they can still be cancelled. With
    /// `thorough` it is worth the time.
    ///
    /// # Errors
    /// The memory can't be read; what was found before is kept.
    pub fn observe(
        &mut self,
        executable: &Executable,
        (live, natures): (&[LiveEntry], &HashMap<u64, ContextNature>),
        now_ns: u64,
        thorough: bool,
    ) -> Result<()> {
        let look = Rc::clone(&self.look);
        let runtime = look.runtime();
        let types = executable.types().context("the types are not known")?;
        let reader = ContextReader::new(&runtime, &types)?;
        self.gone = gone(&reader, live, now_ns);
        note_collections(&mut self.collections, now_ns, gc_cycles(&runtime)?);
        let began = Instant::now();
        if thorough || began >= self.rest_until {
            let old_before_ns = old_before_ns(&self.collections);
            let left = live.iter().filter(|entry| !self.gone.contains(&key(entry)));
            let sites = outstanding(left, old_before_ns);
            let mut chosen = chosen(&reader, &sites)?;
            self.look_for_funcs(&reader, &mut chosen, executable, natures);
            self.sites = sampled(&reader, &sites, &chosen)?;
            self.holders = recount(&reader, &self.holders)?;
            self.asked = began;
            self.rest_until = began + began.elapsed() * ASKING_PART;
        }
        Ok(())
    }

    /// Finds out which of the `chosen` contexts the program can still cancel, where that can be told:
    /// they are old, are held by a map, and had a function. Those that it can't are remembered.
    fn look_for_funcs(
        &mut self,
        reader: &ContextReader<'_, '_>,
        chosen: &mut [Chosen],
        executable: &Executable,
        natures: &HashMap<u64, ContextNature>,
    ) {
        let had_one = |site: &u64| natures.get(site).is_some_and(|nature| nature.gives_cancel_func);
        let may_have = |chosen: &&mut Chosen| {
            let is_held = matches!(chosen.standing.holding, Holding::Held { .. });
            chosen.is_old && is_held && had_one(&chosen.site)
        };
        let mut asked: Vec<_> = chosen.iter_mut().filter(may_have).collect();
        let is_lost = |chosen: &Chosen| self.lost.contains(&chosen.key());
        let unknown = asked.iter().filter(|chosen| !is_lost(chosen));
        let unknown = unknown.map(|chosen| chosen.standing.address).collect();
        let began = Instant::now();
        let go_on = || began.elapsed() < FUNCS_TIME;
        // What it can't tell now it may tell at the next reading.
        let found = CancelFuncs::search(reader, executable.cancel_funcs(), &unknown, &go_on);
        let found = found.ok().flatten();
        for chosen in &mut asked {
            let address = chosen.standing.address;
            let told = || found.as_ref().and_then(|found| found.has(address));
            chosen.has_func = if is_lost(chosen) { Some(false) } else { told() };
        }
        let lost = asked.iter().filter(|chosen| chosen.has_func == Some(false));
        self.lost = lost.map(|chosen| chosen.key()).collect();
    }

    /// Whether `entry` was found to be no more.
    pub fn is_gone(&self, entry: &LiveEntry) -> bool {
        self.gone.contains(&key(entry))
    }

    /// What keeps the outstanding contexts, by site.
    pub const fn sites(&self) -> &HashMap<u64, HoldingSample> {
        &self.sites
    }

    /// Contexts that hold others, with what became of them since the beginning.
    pub fn holders(&self) -> Vec<HolderSample> {
        let Some((began, before)) = &self.before else { return Vec::new() };
        let elapsed_s = self.asked.saturating_duration_since(*began).as_secs_f64();
        HolderSample::compare(before, self.holders.clone(), elapsed_s)
    }
}

const fn key(entry: &LiveEntry) -> (u64, u64) {
    (entry.address, entry.context.created_ns)
}

/// Which of `live` are gone by `now_ns`: their slot is free, or another object has it. What can't
/// be told counts as alive.
fn gone(reader: &ContextReader<'_, '_>, live: &[LiveEntry], now_ns: u64) -> HashSet<(u64, u64)> {
    let is_gone = |entry: &&LiveEntry| {
        let settled = now_ns.saturating_sub(entry.context.created_ns) >= SETTLED_NS;
        settled && matches!(reader.is_context(entry.address), Ok(false))
    };
    live.iter().filter(is_gone).map(key).collect()
}

/// Notes that there had been `cycles` collections by `now_ns`.
fn note_collections(collections: &mut VecDeque<(u64, u32)>, now_ns: u64, cycles: u32) {
    if collections.back().is_some_and(|(_, known)| *known == cycles) {
        collections.pop_back();
    }
    collections.push_back((now_ns, cycles));
    let passed = |(_, known): &(u64, u32)| cycles.wrapping_sub(*known) >= COLLECTIONS;
    while collections.get(1).is_some_and(passed) {
        collections.pop_front();
    }
}

/// What was made before this has outlived [`COLLECTIONS`].
fn old_before_ns(collections: &VecDeque<(u64, u32)>) -> u64 {
    let newest = collections.back().map_or(0, |(_, cycles)| *cycles);
    let first = collections.front();
    first
        .filter(|(_, cycles)| newest.wrapping_sub(*cycles) >= COLLECTIONS)
        .map_or(0, |(at_ns, _)| *at_ns)
}

/// The outstanding contexts of one site.
#[derive(Default)]
struct Outstanding {
    count: u64,
    /// Those to be looked at.
    chosen: BTreeSet<Choice>,
}

/// A context, in the order in which they are looked at: the old ones first, then by the hashes of their
/// addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Choice {
    is_new: bool,
    spread: u64,
    address: u64,
    created_ns: u64,
}

/// The outstanding contexts by site.
fn outstanding<'l>(
    live: impl Iterator<Item = &'l LiveEntry>,
    old_before_ns: u64,
) -> HashMap<u64, Outstanding> {
    let mut sites: HashMap<u64, Outstanding> = HashMap::new();
    for LiveEntry { address, context } in live {
        let site = sites.entry(context.site).or_default();
        site.count += 1;
        let (address, created_ns) = (*address, context.created_ns);
        let (is_new, spread) = (created_ns >= old_before_ns, address.wrapping_mul(SPREAD));
        site.chosen.insert(Choice { is_new, spread, address, created_ns });
        if site.chosen.len() > PER_SITE {
            site.chosen.pop_last();
        }
    }
    sites
}

/// A context that was chosen to be looked at.
struct Chosen {
    site: u64,
    created_ns: u64,
    standing: Standing,
    /// Two collections have passed since it was made.
    is_old: bool,
    /// Whether the program can still cancel it, where that was told.
    has_func: Option<bool>,
}

impl Chosen {
    const fn key(&self) -> (u64, u64) {
        (self.standing.address, self.created_ns)
    }
}

/// What the chosen contexts of all sites are.
fn chosen(
    reader: &ContextReader<'_, '_>,
    sites: &HashMap<u64, Outstanding>,
) -> Result<Vec<Chosen>> {
    let of_site = |(site, found): (&u64, &Outstanding)| {
        let site = *site;
        found.chosen.iter().map(move |choice| (site, *choice)).collect::<Vec<_>>()
    };
    let asked: Vec<_> = sites.iter().flat_map(of_site).collect();
    let addresses: Vec<_> = asked.iter().map(|(_, choice)| (choice.address, None)).collect();
    let standings = reader.standings(&addresses)?;
    let chosen = |((site, choice), standing): (&(u64, Choice), Standing)| Chosen {
        site: *site,
        created_ns: choice.created_ns,
        standing,
        is_old: !choice.is_new,
        has_func: None,
    };
    Ok(asked.iter().zip(standings).map(chosen).collect())
}

/// What keeps the contexts of each site, and for the largest what hangs on them.
fn sampled(
    reader: &ContextReader<'_, '_>,
    sites: &HashMap<u64, Outstanding>,
    chosen: &[Chosen],
) -> Result<HashMap<u64, HoldingSample>> {
    let mut by_site: HashMap<u64, Vec<Seen<'_>>> = HashMap::new();
    for Chosen { site, standing, is_old, has_func, .. } in chosen {
        let seen = Seen { standing, is_old: *is_old, has_func: *has_func };
        by_site.entry(*site).or_default().push(seen);
    }
    let mut largest: Vec<_> = sites.iter().map(|(site, found)| (found.count, *site)).collect();
    largest.sort_unstable_by(|one, other| other.cmp(one));
    let mut reached = HashMap::new();
    for (_, site) in largest.into_iter().take(SITES_REACHED) {
        let held = by_site.get(&site).map_or_else(Vec::new, |found| held(found));
        reached.insert(site, reached_bytes(reader, &held)?);
    }
    let sampled = |(site, seen): (u64, Vec<Seen<'_>>)| {
        let reached_bytes = reached.get(&site).copied().flatten();
        (site, HoldingSample { reached_bytes, ..HoldingSample::new(&seen) })
    };
    Ok(by_site.into_iter().map(sampled).collect())
}

/// Of `found` those that a holder holds.
fn held<'s>(found: &[Seen<'s>]) -> Vec<(&'s Standing, u64)> {
    let held = |seen: &Seen<'s>| match &seen.standing.holding {
        Holding::Held { holder } => Some((seen.standing, holder.address)),
        _ => None,
    };
    found.iter().filter_map(held).collect()
}

/// Heap bytes that hang on the average context of `held`, which have their holders' addresses.
fn reached_bytes(reader: &ContextReader<'_, '_>, held: &[(&Standing, u64)]) -> Result<Option<u64>> {
    if held.len() < HELD_MIN {
        return Ok(None);
    }
    let contexts: Vec<u64> = held.iter().map(|(standing, _)| standing.address).collect();
    let holders = held.iter().map(|(_, holder)| *holder).collect();
    let began = Instant::now();
    let go_on = || began.elapsed() < REACH_TIME;
    let reached = reader.reached_bytes(&contexts, &holders, &go_on)?;
    let shares = held.iter().map(|(standing, _)| standing.share_bytes);
    Ok(reached.map(|reached| {
        let sum = reached.into_iter().chain(shares).fold(0, u64::saturating_add);
        sum / contexts.len() as u64
    }))
}

/// Counts the children of known holders again; those that are no more are left out.
fn recount(reader: &ContextReader<'_, '_>, holders: &[Holder]) -> Result<Vec<Holder>> {
    let mut left = Vec::with_capacity(holders.len());
    for holder in holders {
        let now = reader.object(holder.address, None)?.filter(|now| !now.cancelled);
        left.extend(now.map(|now| Holder { children: now.children, ..holder.clone() }));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use leaktrace_common::LiveContext;

    use super::{LiveEntry, PER_SITE, note_collections, old_before_ns, outstanding};

    fn entry(address: u64, created_ns: u64) -> LiveEntry {
        LiveEntry { address, context: LiveContext { site: 1, created_ns } }
    }

    #[test]
    fn the_sample_is_bounded_and_prefers_what_is_old() {
        let new = (0..10_000).map(|index| entry(0xc0_0000_0000 + index * 80, 1000 + index));
        let live: Vec<_> = new.chain([entry(7, 999)]).collect();
        let sites = outstanding(live.iter(), 1000);
        let site = &sites[&1];
        assert_eq!((site.count, site.chosen.len()), (10_001, PER_SITE));
        let first = site.chosen.first().map(|choice| (choice.is_new, choice.address));
        assert_eq!(first, Some((false, 7)));
    }

    #[test]
    fn old_is_what_was_made_two_collections_ago() {
        let mut collections = VecDeque::new();
        for (now_ns, cycles) in [(10, 5), (20, 5), (30, 6), (40, 7), (50, 7), (60, 9)] {
            note_collections(&mut collections, now_ns, cycles);
            let expected = match now_ns {
                40 | 50 => 20,
                60 => 50,
                _ => 0,
            };
            assert_eq!(old_before_ns(&collections), expected, "at {now_ns}");
        }
    }
}
