//! What leaktrace reads out of a live Go process's memory, against what the process says about
//! itself. As root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use leaktrace::{memory::RuntimeCounters, session::Look};
use serde_json::Value;
use support::{
    GO_VERSIONS,
    served::{KINDS, Served},
};

/// The counters, and what the process says before and after they were read: the scavenger goes on
/// in between, so that it takes some tries until nothing changed.
fn between_equal_truths(served: &mut Served, look: &Look) -> (Value, RuntimeCounters) {
    for _ in 0..1000 {
        let before = served.command("stats");
        let found = RuntimeCounters::read(&look.runtime()).unwrap();
        let after = served.command("stats");
        let same = |field| before[field] == after[field];
        if ["HeapReleased", "NumGC"].into_iter().all(same) {
            return (after, found);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the process is never quiet");
}

#[test]
fn the_counters_are_those_of_read_mem_stats() {
    for version in GO_VERSIONS {
        for kind in KINDS {
            let mut served = Served::start(version, kind, &["counters"]);
            served.command("gc");
            let (_watch, _executable, look) = served.look();
            let (truth, found) = between_equal_truths(&mut served, &look);
            let name = format!("go{version}{kind}: {found:?} {truth:#}");
            let exact = [
                ("HeapReleased", found.heap_released_bytes),
                ("NumForcedGC", found.gc_cycles_forced.into()),
                ("NumGC", found.gc_cycles.into()),
                ("LastGC", found.last_gc_unix_ns),
                ("PauseTotalNs", found.gc_pause_total_ns),
                ("NextGC", found.next_gc_bytes),
                ("Procs", found.processors.into()),
            ];
            for (field, value) in exact {
                assert_eq!(truth[field].as_u64().unwrap(), value, "{field} of {name}");
            }
            // Asking takes stacks and spans of its own, and what is live counts whole spans that a
            // processor allocates from, before and not after `ReadMemStats` has flushed them.
            let near = [
                ("HeapInuse", found.heap_in_use_bytes, 512),
                ("HeapAlloc", found.heap_live_bytes, 2048),
                ("StackInuse", found.stacks_bytes, 512),
            ];
            for (field, value, within_kib) in near {
                let difference = truth[field].as_u64().unwrap().abs_diff(value);
                assert!(difference < within_kib << 10, "{field} differs by {difference}: {name}");
            }
            let sys = truth["Sys"].as_u64().unwrap() - truth["HeapReleased"].as_u64().unwrap();
            // Chunks of 256 KiB are counted as mapped whole, and as used by and by.
            let chunks = found.mapped_ready_bytes.abs_diff(sys);
            assert!(chunks < 1 << 20, "Sys differs by {chunks}: {name}");
            assert_eq!((found.gc_percent, found.memory_limit_bytes), (75, Some(3 << 30)), "{name}");
            assert!(found.heap_marked_bytes > 16 << 20, "{name}");
        }
    }
}
