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

/// What the pacer knows; see `memory::RuntimeCounters` for the names.
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
        }
    }
}

/// Resident bytes for each live byte more, (lowest, highest).
///
/// `gcControllerState.commit` (runtime/mgcpacer.go) sets the goal to
/// `heapMarked + (heapMarked + lastStackScan + globalsScan) * GOGC / 100`, and the heap grows to
/// it before it is collected: one live byte more makes 1 + GOGC/100 bytes. Stacks and globals
/// count in the goal since Go 1.18; they raise it, but the same for every leaked heap byte, so
/// they are not in the factor. (A leaked *stack* byte has the same factor: itself and GOGC/100.)
///
/// - GOGC off: nothing is collected below GOMEMLIMIT, and at the limit a leak takes the place of
///   garbage. What else grows there is not the leak's: the factor is 1.
/// - GOMEMLIMIT's goal is the lower one: the heap can't outgrow it, and the room above the live
///   heap shrinks until the factor is 1. Between 1 and goal / live.
/// - The heap is below its minimum: the goal does not move. Between 1 and 1 + GOGC/100.
pub fn heap_headroom(pacing: &Pacing) -> [f64; 2] {
    let Ok(gc_percent) = u64::try_from(pacing.gc_percent) else { return [1.0, 1.0] };
    let by_percent = 1.0 + gc_percent as f64 / 100.0;
    let minimum_bytes = HEAP_MINIMUM_BYTES.saturating_mul(gc_percent) / GC_PERCENT_DEFAULT;
    let limit_goal = limit_goal_bytes(pacing);
    if limit_goal.is_some_and(|goal| goal < pacing.next_gc_bytes) {
        let goal = limit_goal.unwrap_or(pacing.next_gc_bytes) as f64;
        let over_live = goal / pacing.heap_marked_bytes.max(1) as f64;
        return [1.0, over_live.clamp(1.0, by_percent)];
    }
    let at_minimum = pacing.next_gc_bytes <= minimum_bytes;
    [if at_minimum { 1.0 } else { by_percent }, by_percent]
}

#[cfg(test)]
mod tests {
    use super::{Pacing, heap_headroom};

    const MIB: u64 = 1 << 20;

    /// 60 MiB live of 100 mapped, GOGC=100, no limit.
    const PLAIN: Pacing = Pacing {
        gc_percent: 100,
        memory_limit_bytes: None,
        next_gc_bytes: 122 * MIB,
        heap_marked_bytes: 60 * MIB,
        heap_live_bytes: 80 * MIB,
        heap_free_bytes: 10 * MIB,
        mapped_ready_bytes: 100 * MIB,
    };

    #[test]
    fn gogc_is_the_headroom_where_nothing_limits() {
        assert_eq!(heap_headroom(&PLAIN), [2.0, 2.0]);
        assert_eq!(heap_headroom(&Pacing { gc_percent: 75, ..PLAIN }), [1.75, 1.75]);
        assert_eq!(heap_headroom(&Pacing { gc_percent: 0, ..PLAIN }), [1.0, 1.0]);
        let far = Pacing { memory_limit_bytes: Some(4096 * MIB), ..PLAIN };
        assert_eq!(heap_headroom(&far), [2.0, 2.0]);
    }

    #[test]
    fn without_gogc_garbage_is_not_the_leaks() {
        assert_eq!(heap_headroom(&Pacing { gc_percent: -1, ..PLAIN }), [1.0, 1.0]);
        let limited = Pacing { memory_limit_bytes: Some(200 * MIB), ..PLAIN };
        assert_eq!(heap_headroom(&Pacing { gc_percent: -1, ..limited }), [1.0, 1.0]);
    }

    #[test]
    fn near_the_limit_the_headroom_shrinks_to_one() {
        // Not of the heap: 100 - 10 - 80 = 10 MiB; 110 - 10 - 3 % = 97 MiB for 60 live.
        let near = Pacing { memory_limit_bytes: Some(110 * MIB), ..PLAIN };
        let [low, high] = heap_headroom(&near);
        assert!(low == 1.0 && (high - 97.0 / 60.0).abs() < 0.001, "{high}");
        let full = Pacing { heap_marked_bytes: 96 * MIB, ..near };
        assert!(heap_headroom(&full)[1] < 1.02);
        let over = Pacing { memory_limit_bytes: Some(9 * MIB), ..PLAIN };
        assert_eq!(heap_headroom(&over), [1.0, 1.0]);
    }

    #[test]
    fn a_heap_below_its_minimum_has_a_goal_that_does_not_move() {
        let small = Pacing { heap_marked_bytes: MIB, next_gc_bytes: 4 * MIB, ..PLAIN };
        assert_eq!(heap_headroom(&small), [1.0, 2.0]);
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
        };
        assert!(heap_headroom(&absurd).iter().all(|factor| factor.is_finite()));
        let zero = Pacing { memory_limit_bytes: Some(0), heap_marked_bytes: 0, ..PLAIN };
        assert_eq!(heap_headroom(&zero), [1.0, 1.0]);
    }
}
