//! The simulated memory against what the collector's rule and the objects' sizes say.

use super::{CONTEXT_BYTES, Memory, STACK_BYTES};
use crate::accuracy::scenario::{Arrivals, Life, Part, Scenario, What};

fn memory(what: What, gogc: i32) -> Memory {
    let part = Part {
        what,
        arrivals: Arrivals::Steady { per_s: 1.0 },
        life: Life::Forever,
        forgotten_one_in: None,
        capacity: None,
        payload_bytes: 10_000,
    };
    let mut memory = Memory::new(&Scenario {
        name: String::new(),
        seed: 3,
        parts: vec![part],
        warm_s: 0.0,
        duration_max_s: 1.0,
        gogc,
        ends_s: None,
    });
    memory.begin();
    memory
}

/// After `seconds` with `per_s` objects made in each, which stay.
fn leaking(what: What, gogc: i32, (per_s, seconds): (u32, u32)) -> Memory {
    let mut memory = memory(what, gogc);
    for now_s in 1..=seconds {
        (0..per_s).for_each(|_| memory.made(0));
        memory.advance(f64::from(now_s));
        assert!(memory.heap_live <= memory.goal() * 1.05, "at {now_s} s");
    }
    memory
}

#[test]
fn the_live_heap_grows_by_what_is_kept_and_by_nothing_else() {
    for gogc in [25, 100, 400] {
        let (idle, leaky) = (memory(What::Context, gogc), leaking(What::Context, gogc, (100, 60)));
        assert!(leaky.cycles > idle.cycles, "GOGC={gogc}");
        let mut collected = leaky;
        collected.collect(60.0);
        let grown = collected.counters().heap_marked_bytes - idle.counters().heap_marked_bytes;
        assert_eq!(grown, 6000 * (10_000 + CONTEXT_BYTES), "GOGC={gogc}");
    }
}

#[test]
fn a_leak_shows_in_the_rss_by_more_than_its_bytes() {
    let rss = |mut memory: Memory| memory.process().rss_anon_bytes.unwrap();
    let grown = rss(leaking(What::Heap, 100, (100, 60))) - rss(memory(What::Heap, 100));
    // 60 MB live, of which GOGC=100 makes up to twice as many resident.
    assert!((60_000_000..190_000_000).contains(&grown), "{grown}");
}

#[test]
fn c_keeps_what_it_had_and_stacks_are_given_back() {
    let mut native = leaking(What::Native, 100, (100, 10));
    let peak = native.native_peak_bytes;
    (0..1000).for_each(|_| native.let_go(0));
    assert_eq!((native.native_bytes, native.native_peak_bytes, peak), (0, peak, 10_016_000));
    let mut goroutines = leaking(What::Goroutine, 100, (10, 10));
    assert_eq!(goroutines.counters().stacks_bytes, 100 * STACK_BYTES);
    (0..100).for_each(|_| goroutines.let_go(0));
    assert_eq!(goroutines.counters().stacks_bytes, 0);
}

#[test]
fn garbage_goes_with_the_next_collection() {
    let mut memory = memory(What::Unheld, 100);
    let before = memory.live_bytes;
    memory.made(0);
    memory.dropped(0);
    assert!(memory.live_bytes > before);
    memory.collect(1.0);
    assert_eq!(memory.live_bytes, before);
}
