//! The heap goal that GOMEMLIMIT sets: the pacer's figures in, bytes out.
//!
//! Non-goals: the goal that GOGC sets, which the runtime keeps ready-made.

use super::Pacing;

/// `memoryLimitHeapGoalHeadroomPercent` and `memoryLimitMinHeapGoalHeadroom`
/// (runtime/mgcpacer.go, Go 1.21 on).
const HEADROOM_PERCENT: u64 = 3;
const HEADROOM_MIN_BYTES: u64 = 1 << 20;

/// `gcControllerState.memoryLimitHeapGoal`: the limit without what is mapped and not for heap
/// objects, without what is over the limit already, without 3 % and never below the live heap.
/// None where no limit is set.
pub fn limit_goal_bytes(pacing: &Pacing) -> Option<u64> {
    let limit = pacing.memory_limit_bytes?;
    let for_heap = pacing.heap_free_bytes.saturating_add(pacing.heap_live_bytes);
    let not_heap = pacing.mapped_ready_bytes.saturating_sub(for_heap);
    let over = pacing.mapped_ready_bytes.saturating_sub(limit);
    let goal = limit.saturating_sub(not_heap.saturating_add(over));
    if goal == 0 {
        return Some(pacing.heap_marked_bytes);
    }
    let headroom = (goal / 100 * HEADROOM_PERCENT).max(HEADROOM_MIN_BYTES);
    Some(goal.saturating_sub(headroom).max(headroom).max(pacing.heap_marked_bytes))
}

#[cfg(test)]
mod tests {
    use super::limit_goal_bytes;
    use crate::model::Pacing;

    const MIB: u64 = 1 << 20;

    fn goal(limit: u64, marked: u64) -> Option<u64> {
        limit_goal_bytes(&Pacing {
            gc_percent: 100,
            memory_limit_bytes: Some(limit),
            next_gc_bytes: 0,
            heap_marked_bytes: marked,
            heap_live_bytes: 80 * MIB,
            heap_free_bytes: 10 * MIB,
            mapped_ready_bytes: 100 * MIB,
            gc_cycles: 0,
            gc_cycles_forced: 0,
        })
    }

    /// Worked out by hand from `memoryLimitHeapGoal`.
    #[test]
    fn the_goal_is_the_runtimes() {
        // 510 - 10 = 500 MiB, less 3 % in whole hundredths.
        assert_eq!(goal(510 * MIB, 60 * MIB), Some(500 * MIB - 500 * MIB / 100 * 3));
        // 5 MiB over the limit: 95 - 10 - 5 = 80 MiB, less 3 %.
        assert_eq!(goal(95 * MIB, 60 * MIB), Some(80 * MIB - 80 * MIB / 100 * 3));
        assert_eq!(goal(95 * MIB, 79 * MIB), Some(79 * MIB), "never below the live heap");
        assert_eq!(goal(40 * MIB, 7 * MIB), Some(7 * MIB), "over the limit without any heap");
        // 56 - 10 - 44 = 2 MiB: the least headroom is 1 MiB.
        assert_eq!(goal(56 * MIB, 0), Some(MIB));
    }
}
