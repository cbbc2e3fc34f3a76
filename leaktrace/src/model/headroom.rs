//! How much the resident heap grows for each byte that stays live: the collector's pacing in, an
//! interval of factors out.
//!
//! Non-goals: what the heap does within one collection cycle; fragmentation of spans.

use super::limit_goal::limit_goal_bytes;
use crate::memory::RuntimeCounters;

/// GOGC at which `defaultHeapMinimum` (runtime/mgcpacer.go) is what it is.
const GC_PERCENT_DEFAULT: u64 = 100;
/// `defaultHeapMinimum`: no collection begins below this, times GOGC/100.
const HEAP_MINIMUM_BYTES: u64 = 4 << 20;
/// `minTriggerRatioNum` / `triggerRatioDen` (`trigger`, runtime/mgcpacer.go): a collection begins
/// when at least this share of the way from the live heap to the goal is behind, and one that is
/// quick ends hardly later.
const TRIGGER_RATIO_MIN: f64 = 45.0 / 64.0;
/// `forcegcperiod` (runtime/proc.go): a heap that is not collected so long is collected anyway.
/// Somewhat less, because windows do not begin and end with a collection.
const PERIODIC_COLLECTION_S: f64 = 0.75 * 120.0;

/// What the pacer knows at one look; see `memory::RuntimeCounters` for the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// GOGC in percent; negative for off.
    pub gc_percent: i32,
    /// GOMEMLIMIT; none for off.
    pub memory_limit_bytes: Option<u64>,
    /// `gcPercentHeapGoal`: where GOGC alone would have the next collection end.
    pub next_gc_bytes: u64,
    /// Live objects that the last collection found.
    pub heap_marked_bytes: u64,
    /// Bytes of heap objects by now (`totalAlloc - totalFree`).
    pub heap_live_bytes: u64,
    /// Free spans that were not given back.
    pub heap_free_bytes: u64,
    /// All that the runtime holds of the system (`mappedReady`).
    pub mapped_ready_bytes: u64,
    /// Collections so far.
    pub gc_cycles: u32,
    /// Of these, those that the program asked for.
    pub gc_cycles_forced: u32,
}

impl From<&RuntimeCounters> for Pacing {
    fn from(counters: &RuntimeCounters) -> Self {
        Self {
            gc_percent: counters.gc_percent,
            memory_limit_bytes: counters.memory_limit_bytes,
            next_gc_bytes: counters.next_gc_bytes,
            heap_marked_bytes: counters.heap_marked_bytes,
            heap_live_bytes: counters.heap_live_bytes,
            heap_free_bytes: counters.heap_free_bytes,
            mapped_ready_bytes: counters.mapped_ready_bytes,
            gc_cycles: counters.gc_cycles,
            gc_cycles_forced: counters.gc_cycles_forced,
        }
    }
}

/// Resident bytes for each live byte more, (lowest, highest), from two looks `seconds` apart.
///
/// `gcControllerState.commit` (runtime/mgcpacer.go) sets the goal to
/// `heapMarked + (heapMarked + lastStackScan + globalsScan) * GOGC / 100`. From M live bytes the
/// heap grows to M (1 + p GOGC/100) before it is collected, p from 0.7 (where the collection may
/// begin) to 1; then r M of it are live. The resident heap is at its peak when the live heap is r M
/// already: each live byte makes (1 + p GOGC/100) / r bytes, never less than itself. r is how the
/// live heap grew from one collection to the next, (M last / M first)^(1 / collections): next to 1
/// where a leak is a small part of what is allocated, and 1 + GOGC/100 where nothing is garbage
/// and nothing but the leak is resident.
///
/// Stacks and globals count in the goal since Go 1.18; they raise it, but the same for every
/// leaked heap byte, so they are not in the factor. (A leaked *stack* byte has the same factor.)
///
/// - GOGC off: nothing is collected below GOMEMLIMIT, and at the limit a leak takes the place of
///   garbage. What else grows there is not the leak's: the factor is 1.
/// - GOMEMLIMIT's goal is the lower one: the heap can't outgrow it, and the room above the live
///   heap shrinks until the factor is 1. Between 1 and goal / live.
/// - The heap was at its minimum at first and has outgrown it since: GOGC/100 is only by how much the
///   goal rose beyond what the live heap grew.
/// - No collection in between, or forced or periodic ones, or a heap at its minimum all the time: the
///   heap does not follow its goal. Between 1 and 1 + GOGC/100.
pub fn heap_headroom(first: &Pacing, last: &Pacing, seconds: f64) -> [f64; 2] {
    let Ok(gc_percent) = u64::try_from(last.gc_percent) else { return [1.0, 1.0] };
    let garbage = gc_percent as f64 / 100.0;
    let limit_goal = limit_goal_bytes(last);
    if let Some(goal) = limit_goal.filter(|goal| *goal < last.next_gc_bytes) {
        let over_live = goal as f64 / last.heap_marked_bytes.max(1) as f64;
        return [1.0, over_live.clamp(1.0, 1.0 + garbage)];
    }
    let minimum_bytes = HEAP_MINIMUM_BYTES.saturating_mul(gc_percent) / GC_PERCENT_DEFAULT;
    let growth =
        growth_per_collection(first, last, seconds).filter(|_| first.gc_percent == last.gc_percent);
    let between = |garbage: f64, growth: f64| {
        let factor = |ratio: f64| ((1.0 + ratio * garbage) / growth).max(1.0);
        [factor(TRIGGER_RATIO_MIN), factor(1.0)]
    };
    match growth {
        Some(growth) if first.next_gc_bytes > minimum_bytes => between(garbage, growth),
        Some(_) if last.next_gc_bytes > minimum_bytes => {
            between(goal_beyond_live(first, last).unwrap_or(garbage).min(garbage), 1.0)
        }
        _ => [1.0, 1.0 + garbage],
    }
}

/// By how much the goal rose beyond each byte that the live heap grew; none if that did not grow.
fn goal_beyond_live(first: &Pacing, last: &Pacing) -> Option<f64> {
    let grown = last.heap_marked_bytes.checked_sub(first.heap_marked_bytes)?;
    let risen = last.next_gc_bytes.saturating_sub(first.next_gc_bytes);
    (grown > 0).then(|| (risen as f64 / grown as f64 - 1.0).max(0.0))
}

/// By what factor the live heap grew from one collection to the next, at least 1; none when the
/// collections in between were not all of the pacer's making, or there was none.
fn growth_per_collection(first: &Pacing, last: &Pacing, seconds: f64) -> Option<f64> {
    let collections = f64::from(last.gc_cycles.checked_sub(first.gc_cycles)?);
    let paced = collections > 0.0
        && last.gc_cycles_forced == first.gc_cycles_forced
        && seconds / collections < PERIODIC_COLLECTION_S;
    if !paced || first.heap_marked_bytes == 0 {
        return None;
    }
    let growth = last.heap_marked_bytes as f64 / first.heap_marked_bytes as f64;
    Some(growth.powf(1.0 / collections).max(1.0))
}

#[cfg(test)]
mod tests {
    use super::{Pacing, heap_headroom};

    const MIB: u64 = 1 << 20;
    const SECONDS: f64 = 60.0;
    /// Where the earliest collection leaves a heap that may double.
    const MOST_OF_TWO: f64 = 1.0 + 45.0 / 64.0;

    /// 60 MiB live of 100 mapped, GOGC=100, no limit, 20 collections since the process began.
    const PLAIN: Pacing = Pacing {
        gc_percent: 100,
        memory_limit_bytes: None,
        next_gc_bytes: 122 * MIB,
        heap_marked_bytes: 60 * MIB,
        heap_live_bytes: 80 * MIB,
        heap_free_bytes: 10 * MIB,
        mapped_ready_bytes: 100 * MIB,
        gc_cycles: 20,
        gc_cycles_forced: 0,
    };

    /// Ten collections later, so much more live.
    fn later(pacing: &Pacing, growth: f64) -> Pacing {
        let heap_marked_bytes = (pacing.heap_marked_bytes as f64 * growth) as u64;
        Pacing { heap_marked_bytes, gc_cycles: pacing.gc_cycles + 10, ..*pacing }
    }

    /// With a last look like this and an earlier one of the same settings.
    fn headroom(last: &Pacing) -> [f64; 2] {
        heap_headroom(last, &later(last, 1.0), SECONDS)
    }

    fn near(found: [f64; 2], expected: [f64; 2]) -> bool {
        found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-3)
    }

    #[test]
    fn a_slow_leak_among_much_garbage_has_all_the_headroom() {
        assert!(near(headroom(&PLAIN), [MOST_OF_TWO, 2.0]));
        assert!(near(
            headroom(&Pacing { gc_percent: 75, ..PLAIN }),
            [1.0 + 0.75 * 45.0 / 64.0, 1.75]
        ));
        assert!(near(headroom(&Pacing { gc_percent: 0, ..PLAIN }), [1.0, 1.0]));
        let far = Pacing { memory_limit_bytes: Some(4096 * MIB), ..PLAIN };
        assert!(near(headroom(&far), [MOST_OF_TWO, 2.0]));
    }

    /// Worked out: each collection finds 10 % more, then what was allocated had a tenth of leak.
    #[test]
    fn a_leak_that_is_much_of_what_is_allocated_has_less() {
        let found = heap_headroom(&PLAIN, &later(&PLAIN, 1.1f64.powi(10)), SECONDS);
        assert!(near(found, [MOST_OF_TWO / 1.1, 2.0 / 1.1]), "{found:?}");
        let nothing_else = heap_headroom(&PLAIN, &later(&PLAIN, 2f64.powi(10)), SECONDS);
        assert!(near(nothing_else, [1.0, 1.0]), "{nothing_else:?}");
        let shrinking = heap_headroom(&PLAIN, &later(&PLAIN, 0.5), SECONDS);
        assert!(near(shrinking, [MOST_OF_TWO, 2.0]), "{shrinking:?}");
    }

    #[test]
    fn collections_that_the_pacer_did_not_begin_say_nothing() {
        let last = later(&PLAIN, 1.0);
        let forced = Pacing { gc_cycles_forced: 1, ..last };
        assert!(near(heap_headroom(&PLAIN, &forced, SECONDS), [1.0, 2.0]));
        let none = Pacing { gc_cycles: PLAIN.gc_cycles, ..last };
        assert!(near(heap_headroom(&PLAIN, &none, SECONDS), [1.0, 2.0]));
        assert!(near(heap_headroom(&PLAIN, &last, 1200.0), [1.0, 2.0]), "every two minutes");
        let older = Pacing { gc_cycles: 1, ..last };
        assert!(near(heap_headroom(&PLAIN, &older, SECONDS), [1.0, 2.0]));
    }

    #[test]
    fn without_gogc_garbage_is_not_the_leaks() {
        assert!(near(headroom(&Pacing { gc_percent: -1, ..PLAIN }), [1.0, 1.0]));
        let limited = Pacing { memory_limit_bytes: Some(200 * MIB), ..PLAIN };
        assert!(near(headroom(&Pacing { gc_percent: -1, ..limited }), [1.0, 1.0]));
    }

    #[test]
    fn near_the_limit_the_headroom_shrinks_to_one() {
        // Not of the heap: 100 - 10 - 80 = 10 MiB; 110 - 10 - 3 % = 97 MiB for 60 live.
        let near_it = Pacing { memory_limit_bytes: Some(110 * MIB), ..PLAIN };
        assert!(near(headroom(&near_it), [1.0, 97.0 / 60.0]));
        let full = Pacing { heap_marked_bytes: 96 * MIB, ..near_it };
        assert!(headroom(&full)[1] < 1.02);
        let over = Pacing { memory_limit_bytes: Some(9 * MIB), ..PLAIN };
        assert!(near(headroom(&over), [1.0, 1.0]));
    }

    #[test]
    fn a_heap_below_its_minimum_has_a_goal_that_does_not_move() {
        let small = Pacing { heap_marked_bytes: MIB, next_gc_bytes: 4 * MIB, ..PLAIN };
        assert!(near(headroom(&small), [1.0, 2.0]));
    }

    /// From 1 of 4 MiB to 11 of 22: the goal rose by 0.8 beyond each live byte.
    #[test]
    fn a_heap_that_outgrows_its_minimum_catches_up_first() {
        let at = |marked: u64, goal: u64, gc_cycles| Pacing {
            heap_marked_bytes: marked * MIB,
            next_gc_bytes: goal * MIB,
            gc_cycles,
            ..PLAIN
        };
        let found = heap_headroom(&at(1, 4, 20), &at(11, 22, 40), SECONDS);
        assert!(near(found, [1.0 + 0.8 * 45.0 / 64.0, 1.8]), "{found:?}");
        let shrunk = heap_headroom(&at(3, 4, 20), &at(2, 5, 40), SECONDS);
        assert!(near(shrunk, [MOST_OF_TWO, 2.0]), "{shrunk:?}");
    }

    #[test]
    fn figures_that_make_no_sense_are_no_panic() {
        let absurd = Pacing {
            gc_percent: i32::MAX,
            memory_limit_bytes: Some(u64::MAX),
            next_gc_bytes: 0,
            heap_marked_bytes: u64::MAX,
            heap_live_bytes: u64::MAX,
            heap_free_bytes: u64::MAX,
            mapped_ready_bytes: 0,
            gc_cycles: u32::MAX,
            gc_cycles_forced: 0,
        };
        let zero = Pacing { memory_limit_bytes: Some(0), heap_marked_bytes: 0, ..PLAIN };
        for first in [&absurd, &zero, &PLAIN] {
            for last in [&absurd, &zero, &PLAIN] {
                let [low, high] = heap_headroom(first, last, f64::NAN);
                assert!(low.is_finite() && high.is_finite() && 1.0 <= low && low <= high);
            }
        }
    }
}
