//! What the heap profile says of a trace: two looks into it in, allocation rates and growth by call
//! chain out.
//!
//! A place that allocates much but does not grow is churn; a place that grows is where a leak is
//! allocated. Non-goals: reading the profile; blaming anybody.

use std::collections::HashMap;

use serde::Serialize;

use crate::{
    binary::Frame,
    memory::{HeapChange, HeapEstimate, HeapProfile, HeapReading},
    model::{SampledChange, Slope, sampled_growth},
    symbolize::Symbolizer,
};

/// Call chains in the report: those that grow or allocate most.
const ROWS_MAX: usize = 50;
/// Collections within the window from which on published counts tell its growth: they are those of
/// the collection before the last, at both ends.
const CYCLES_MIN: u32 = 3;

/// The heap profile over the trace.
#[derive(Debug, Clone, Serialize)]
pub struct HeapTraffic {
    /// Where the figures come from.
    pub how: String,
    /// One byte in so many is sampled; 0: the program keeps no profile.
    pub rate_bytes: u64,
    /// In use at the end.
    pub in_use_bytes: u64,
    /// Allocated per second.
    pub alloc_bytes_per_s: f64,
    /// Objects allocated per second.
    pub alloc_objects_per_s: f64,
    /// Growth of what is in use; null when too few collections have passed.
    pub growth_bytes_per_s: Option<f64>,
    /// Its 95 % interval: the error of the sample.
    pub growth_interval: Option<[f64; 2]>,
    /// How many call chains there are.
    pub sites_total: u64,
    /// Those that grow most, then those that allocate most.
    pub sites: Vec<HeapTrafficSite>,
}

/// One call chain.
#[derive(Debug, Clone, Serialize)]
pub struct HeapTrafficSite {
    /// Innermost first, without the runtime's own.
    pub frames: Vec<Frame>,
    /// In use at the end.
    pub in_use_bytes: u64,
    /// Objects in use at the end.
    pub in_use_objects: u64,
    /// Allocated per second.
    pub alloc_bytes_per_s: f64,
    /// Objects allocated per second.
    pub alloc_objects_per_s: f64,
    /// Growth of what is in use; null when too few collections have passed.
    pub growth_bytes_per_s: Option<f64>,
    /// Its 95 % interval.
    pub growth_interval: Option<[f64; 2]>,
}

/// Two looks into the profile of one process.
#[derive(Debug, Clone, Copy)]
pub struct HeapLooks<'a> {
    /// The earlier.
    pub first: &'a HeapProfile,
    /// The later.
    pub last: &'a HeapProfile,
    /// Seconds between them.
    pub seconds: f64,
    /// Collections between them.
    pub gc_cycles: u32,
}

/// A call chain's changes, all sizes together.
#[derive(Default)]
struct Traffic {
    in_use: HeapEstimate,
    allocated: HeapEstimate,
    changes: Vec<SampledChange>,
    growth: Option<Slope>,
}

impl HeapLooks<'_> {
    /// Growth of all that is in use, in bytes per second; none when too few collections have passed,
    /// or the program keeps no profile.
    pub fn growth(&self) -> Option<Slope> {
        let changes: Vec<_> =
            self.last.changes_since(self.first).iter().map(sampled_change).collect();
        self.growth_of(&changes)
    }

    fn growth_of(&self, changes: &[SampledChange]) -> Option<Slope> {
        let tells = self.last.rate_bytes > 0 && self.gc_cycles >= CYCLES_MIN;
        tells.then(|| sampled_growth(changes, self.last.rate_bytes, self.seconds))?
    }

    /// By call chain, those that surely grow first, by what they grow at least; then those that
    /// allocate most.
    fn by_stack<'s>(&'s self, changes: &[HeapChange<'s>]) -> Vec<(&'s [u64], Traffic)> {
        let rate = self.last.rate_bytes;
        let mut stacks: HashMap<&[u64], Traffic> = HashMap::new();
        for change in changes {
            let traffic = stacks.entry(&change.site.stack).or_default();
            let in_use = change.site.in_use(HeapReading::Current, rate);
            let size = change.site.object_bytes;
            let allocated = HeapEstimate::of(change.allocated(), size, rate);
            traffic.in_use = traffic.in_use.plus(in_use);
            traffic.allocated = traffic.allocated.plus(allocated);
            traffic.changes.push(sampled_change(change));
        }
        for traffic in stacks.values_mut() {
            traffic.growth = self.growth_of(&traffic.changes);
        }
        let surely = |traffic: &Traffic| traffic.growth.map_or(0.0, |growth| growth.low.max(0.0));
        let mut stacks: Vec<_> = stacks.into_iter().collect();
        stacks.sort_unstable_by(|(stack, one), (other_stack, other)| {
            let by_growth = surely(other).total_cmp(&surely(one));
            by_growth
                .then_with(|| other.allocated.bytes.cmp(&one.allocated.bytes))
                .then_with(|| other.in_use.bytes.cmp(&one.in_use.bytes))
                .then_with(|| stack.cmp(other_stack))
        });
        stacks
    }
}

fn sampled_change(change: &HeapChange<'_>) -> SampledChange {
    SampledChange {
        object_bytes: change.site.object_bytes,
        first_in_use: change.published_before.in_use(),
        last_in_use: change.site.published.in_use(),
        allocated: change.published_allocated(),
    }
}

/// The section of the report.
pub fn heap_traffic(looks: &HeapLooks<'_>, symbolizer: &mut Symbolizer<'_>) -> HeapTraffic {
    let changes = looks.last.changes_since(looks.first);
    let stacks = looks.by_stack(&changes);
    let sum = |pick: fn(&Traffic) -> HeapEstimate| {
        stacks
            .iter()
            .map(|(_, traffic)| pick(traffic))
            .fold(HeapEstimate::default(), HeapEstimate::plus)
    };
    let (in_use, allocated) = (sum(|traffic| traffic.in_use), sum(|traffic| traffic.allocated));
    let growth = looks.growth();
    let rate_bytes = looks.last.rate_bytes;
    let shown = &stacks[..stacks.len().min(ROWS_MAX)];
    symbolizer.read_ahead(shown.iter().flat_map(|(stack, _)| stack.iter().copied()).collect());
    HeapTraffic {
        how: match rate_bytes {
            0 => "the program keeps no heap profile".to_owned(),
            _ => format!("read from memory: the runtime's own sample, one byte in {rate_bytes}"),
        },
        rate_bytes,
        in_use_bytes: in_use.bytes,
        alloc_bytes_per_s: per_s(allocated.bytes, looks.seconds),
        alloc_objects_per_s: per_s(allocated.objects, looks.seconds),
        growth_bytes_per_s: growth.map(|growth| growth.per_s),
        growth_interval: growth.map(|growth| [growth.low, growth.high]),
        sites_total: stacks.len() as u64,
        sites: shown
            .iter()
            .map(|(stack, traffic)| row(stack, traffic, looks.seconds, symbolizer))
            .collect(),
    }
}

fn row(
    stack: &[u64],
    traffic: &Traffic,
    seconds: f64,
    symbolizer: &mut Symbolizer<'_>,
) -> HeapTrafficSite {
    let calls = symbolizer.allocation_calls(stack);
    HeapTrafficSite {
        frames: calls.into_iter().flat_map(|call| call.frames).collect(),
        in_use_bytes: traffic.in_use.bytes,
        in_use_objects: traffic.in_use.objects,
        alloc_bytes_per_s: per_s(traffic.allocated.bytes, seconds),
        alloc_objects_per_s: per_s(traffic.allocated.objects, seconds),
        growth_bytes_per_s: traffic.growth.map(|growth| growth.per_s),
        growth_interval: traffic.growth.map(|growth| [growth.low, growth.high]),
    }
}

fn per_s(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::HeapLooks;
    use crate::memory::{HeapCounts, HeapProfile, HeapSite};

    fn profile(sites: &[(u64, [u64; 2])]) -> HeapProfile {
        let site = |(pc, [alloc_objects, free_objects]): &(u64, [u64; 2])| {
            let counts = HeapCounts { alloc_objects: *alloc_objects, free_objects: *free_objects };
            // Large objects are always sampled.
            HeapSite { stack: vec![*pc], object_bytes: 1 << 24, published: counts, current: counts }
        };
        let sites = sites.iter().map(site).collect();
        HeapProfile { rate_bytes: 512 << 10, sites, ..HeapProfile::default() }
    }

    /// One place churns, one grows a little, one stands still.
    #[test]
    fn growth_comes_before_churn() {
        let first = profile(&[(1, [1000, 990]), (2, [5, 0]), (3, [40, 0])]);
        let last = profile(&[(1, [3000, 2990]), (2, [9, 0]), (3, [40, 0])]);
        let looks = HeapLooks { first: &first, last: &last, seconds: 4.0, gc_cycles: 5 };
        let changes = last.changes_since(&first);
        let stacks = looks.by_stack(&changes);
        let order: Vec<_> = stacks.iter().map(|(stack, _)| stack[0]).collect();
        assert_eq!(order, [2, 1, 3]);
        let growth = stacks[0].1.growth.unwrap();
        assert!((growth.per_s - f64::from(1 << 24)).abs() < 1.0, "{growth:?}");
        assert_eq!(stacks[1].1.allocated.objects, 2000);
        let total = looks.growth().unwrap();
        assert!((total.per_s - f64::from(1 << 24)).abs() < 1.0, "{total:?}");
    }

    #[test]
    fn without_collections_no_growth_is_claimed() {
        let (first, last) = (profile(&[(1, [10, 0])]), profile(&[(1, [90, 0])]));
        let looks = HeapLooks { first: &first, last: &last, seconds: 4.0, gc_cycles: 2 };
        assert!(looks.growth().is_none());
        let off = HeapProfile::default();
        assert!(HeapLooks { first: &off, last: &off, gc_cycles: 9, ..looks }.growth().is_none());
    }
}
