//! What keeps a sample of a site's outstanding contexts: standings in, counts by holder out.

use std::collections::HashMap;

use crate::memory::{Holder, Holding, Standing};

/// From this share of the sample on, nothing holds a site's contexts: a few may just be on their
/// way from their creator to whoever is to hold them.
const UNHELD_RATIO: f64 = 0.95;
/// From this share on, the collector is seen to free them; the rest may just be too young.
const FREED_RATIO: f64 = 0.05;
/// At least this share of the sample is most.
const MAJORITY_RATIO: f64 = 0.5;
/// The cancel functions of fewer contexts say nothing of those of the others.
const CANCEL_FUNCS_MIN: u64 = 8;

/// A context of a site that was looked at.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'s> {
    /// What it is.
    pub standing: &'s Standing,
    /// Two collections have passed since it was made.
    pub is_old: bool,
    /// Whether the program can still cancel it; none where that was not told.
    pub has_func: Option<bool>,
}

/// The contexts that one holder holds.
struct OfHolder<'s> {
    held: u64,
    func_lost: u64,
    holder: &'s Holder,
}

/// What keeps a sample of a site's contexts that were neither cancelled nor seen to be collected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HoldingSample {
    /// In the children map of an ancestor.
    pub held: u64,
    /// By their timers, until their deadlines.
    pub until_deadline: u64,
    /// By the program's own data: nothing in package context holds them, but two collections have
    /// not freed them.
    pub kept: u64,
    /// By nothing in package context; too few collections have passed to say more.
    pub unheld: u64,
    /// Freed already.
    pub freed: u64,
    /// It can't be told.
    pub unknown: u64,
    /// The ancestor that holds most of them.
    pub holder: Option<Holder>,
    /// Held by that one, and the program has no cancel function of them any more: only the end of the
    /// holder can end them.
    pub func_lost: u64,
    /// Held by anyone, and their cancel functions are still somewhere.
    pub func_left: u64,
    /// Heap bytes that the median context keeps, of those that are not freed.
    pub retained_bytes: Option<u64>,
    /// Heap bytes of the average context with all that hangs on it and on no other of the sample.
    pub reached_bytes: Option<u64>,
}

impl HoldingSample {
    /// Sums up what was seen. Those that were cancelled meanwhile are no part of it.
    pub fn new(seen: &[Seen<'_>]) -> Self {
        let mut sample = Self::default();
        let mut by_holder: HashMap<u64, OfHolder<'_>> = HashMap::new();
        let mut retained = Vec::new();
        for Seen { standing, is_old, has_func } in seen {
            match &standing.holding {
                Holding::Held { holder } => {
                    sample.held += 1;
                    sample.func_left += u64::from(*has_func == Some(true));
                    let new = OfHolder { held: 0, func_lost: 0, holder };
                    let known = by_holder.entry(holder.address).or_insert(new);
                    known.held += 1;
                    known.func_lost += u64::from(*has_func == Some(false));
                }
                Holding::HeldUntil { .. } => sample.until_deadline += 1,
                Holding::Nobody if *is_old && standing.swept => sample.kept += 1,
                Holding::Nobody => sample.unheld += 1,
                Holding::Freed => sample.freed += 1,
                Holding::Unknown { .. } => sample.unknown += 1,
                Holding::Cancelled => continue,
            }
            retained.extend(Some(standing.retained_bytes).filter(|bytes| *bytes > 0));
        }
        let most = by_holder.into_values().max_by_key(|known| (known.held, known.holder.children));
        sample.func_lost = most.as_ref().map_or(0, |most| most.func_lost);
        sample.holder = most.map(|most| most.holder.clone());
        retained.sort_unstable();
        sample.retained_bytes = retained.get(retained.len() / 2).copied();
        sample
    }

    /// Whether only the end of their holder can still end most of those of which that was told; or of
    /// as good as none. None if it was told of too few.
    pub const fn funcs_are_lost(&self) -> Option<bool> {
        match (self.func_lost >= CANCEL_FUNCS_MIN, self.func_left >= CANCEL_FUNCS_MIN) {
            (true, _) if self.func_lost > self.func_left => Some(true),
            (_, true) if self.func_lost < CANCEL_FUNCS_MIN => Some(false),
            _ => None,
        }
    }

    /// What one more context costs in heap bytes, as well as that is known.
    pub fn bytes_each(&self) -> Option<u64> {
        self.reached_bytes.max(self.retained_bytes)
    }

    /// How many contexts were looked at.
    pub const fn sampled(&self) -> u64 {
        self.held + self.until_deadline + self.kept + self.unheld + self.freed + self.unknown
    }

    /// Whether package context holds them, by an ancestor's map or a timer: most, or as good as none.
    /// None if that can't be told.
    pub fn pinned(&self) -> Option<bool> {
        if self.is_share(self.held + self.until_deadline, MAJORITY_RATIO) {
            return Some(true);
        }
        self.is_share(self.kept + self.unheld + self.freed, UNHELD_RATIO).then_some(false)
    }

    /// Whether as good as none are held by anything, and the collector is seen to free them. Until it
    /// is, the program's own data may keep them.
    pub fn is_collectable(&self) -> bool {
        self.is_share(self.unheld + self.freed, UNHELD_RATIO)
            && self.is_share(self.freed, FREED_RATIO)
    }

    fn is_share(&self, count: u64, ratio: f64) -> bool {
        count > 0 && count as f64 >= ratio * self.sampled() as f64
    }
}

/// A context that holds others, and how fast it comes to hold more.
#[derive(Debug, Clone, PartialEq)]
pub struct HolderSample {
    /// As it was at the end.
    pub holder: Holder,
    /// Children per second since the beginning; none where it was not found then.
    pub growth_per_s: Option<f64>,
}

impl HolderSample {
    /// What became of the holders `before` (address and children) in `elapsed_s` seconds.
    pub fn compare(before: &HashMap<u64, u64>, now: Vec<Holder>, elapsed_s: f64) -> Vec<Self> {
        let grown = |holder: Holder| {
            let before = before.get(&holder.address).filter(|_| elapsed_s > 0.0);
            let growth = before.map(|before| holder.children as f64 - *before as f64);
            Self { holder, growth_per_s: growth.map(|growth| growth / elapsed_s) }
        };
        now.into_iter().map(grown).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{HolderSample, HoldingSample, Seen};
    use crate::memory::{Holder, Holding, Standing};

    #[test]
    fn a_holder_that_was_there_before_has_a_growth() {
        let holder =
            |address, children| Holder { address, type_name: "*context.cancelCtx", children };
        let before = HashMap::from([(0x1000, 100_000), (0x2000, 50)]);
        let now = vec![holder(0x1000, 100_500), holder(0x2000, 40), holder(0x3000, 7)];
        let growth = HolderSample::compare(&before, now.clone(), 10.0);
        let growth: Vec<_> = growth.iter().map(|sample| sample.growth_per_s).collect();
        assert_eq!(growth, [Some(50.0), Some(-1.0), None]);
        assert!(HolderSample::compare(&before, now, 0.0).iter().all(|s| s.growth_per_s.is_none()));
    }

    fn held(address: u64, children: u64) -> Holding {
        Holding::Held { holder: Holder { address, type_name: "*context.cancelCtx", children } }
    }

    fn sample(holdings: &[(Holding, usize)], is_old: bool) -> HoldingSample {
        let standing = |holding: &Holding| Standing {
            address: 1,
            holding: holding.clone(),
            swept: true,
            retained_bytes: 120,
            share_bytes: 20,
        };
        let all = holdings.iter().flat_map(|(holding, count)| vec![standing(holding); *count]);
        let standings: Vec<_> = all.collect();
        let seen = |standing| Seen { standing, is_old, has_func: None };
        HoldingSample::new(&standings.iter().map(seen).collect::<Vec<_>>())
    }

    #[test]
    fn the_holder_of_most_is_named() {
        let sample = sample(&[(held(1, 9), 3), (held(2, 5), 4), (Holding::Cancelled, 50)], true);
        assert_eq!((sample.sampled(), sample.pinned()), (7, Some(true)));
        assert_eq!(sample.holder.as_ref().unwrap().address, 2);
        assert!(!sample.is_collectable());
        assert_eq!(sample.retained_bytes, Some(120));
    }

    #[test]
    fn what_nobody_holds_is_collectable_until_collections_leave_it() {
        let loose = [(Holding::Nobody, 30), (Holding::Freed, 30)];
        let fresh = sample(&loose, false);
        assert_eq!((fresh.pinned(), fresh.is_collectable()), (Some(false), true));
        let old = sample(&[(Holding::Nobody, 40), (Holding::Freed, 20)], true);
        assert!(!old.is_collectable());
        assert_eq!(old.pinned(), Some(false));
        let mixed = sample(&[(Holding::Freed, 50), (held(1, 3), 5)], true);
        assert!(!mixed.is_collectable() && mixed.pinned().is_none());
        let uncollected = sample(&[(Holding::Nobody, 60)], false);
        assert_eq!((uncollected.pinned(), uncollected.is_collectable()), (Some(false), false));
    }

    #[test]
    fn what_can_not_be_told_is_neither() {
        let unknown = Holding::Unknown { why: String::new() };
        let sample = sample(&[(unknown, 10), (Holding::Freed, 4)], true);
        assert!(sample.pinned().is_none() && !sample.is_collectable());
        let empty = HoldingSample::default();
        assert!(empty.pinned().is_none() && !empty.is_collectable());
    }

    /// Lost functions count where one holder has them all, left ones anywhere.
    fn funcs(has: &[(u64, Option<bool>, usize)]) -> (u64, u64, Option<bool>) {
        let standing = |holder| Standing {
            address: 1,
            holding: held(holder, 9),
            swept: true,
            retained_bytes: 0,
            share_bytes: 0,
        };
        let all =
            has.iter().flat_map(|(holder, has, count)| vec![(standing(*holder), *has); *count]);
        let all: Vec<_> = all.collect();
        let seen = |(standing, has_func)| Seen { standing, is_old: true, has_func };
        let seen: Vec<_> = all.iter().map(|(standing, has)| seen((standing, *has))).collect();
        let sample = HoldingSample::new(&seen);
        (sample.func_lost, sample.func_left, sample.funcs_are_lost())
    }

    #[test]
    fn cancel_functions_are_lost_where_one_holder_has_contexts_without() {
        assert_eq!(funcs(&[(1, Some(false), 60), (1, Some(true), 4)]), (60, 4, Some(true)));
        assert_eq!(funcs(&[(1, Some(true), 60), (1, Some(false), 4)]), (4, 60, Some(false)));
        assert_eq!(funcs(&[(1, Some(false), 32), (1, Some(true), 32)]).2, None);
        assert_eq!(funcs(&[(1, None, 64)]), (0, 0, None));
        assert_eq!(funcs(&[(1, Some(false), 7)]).2, None);
        // Each of a holder of its own: then that one lives long.
        let many: Vec<_> = (1..=64).map(|holder| (holder, Some(false), 1)).collect();
        assert_eq!(funcs(&many), (1, 0, None));
    }
}
