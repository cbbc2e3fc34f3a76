//! Go processes simulated in steps of a tenth of a second: what they hold is known exactly.

use std::time::SystemTime;

use super::{Finding, LoadEffect, SeriesEvidence, SeriesShape, weigh_series};
use crate::{
    history::History,
    memory::RuntimeCounters,
    model::testing::uniform,
    snapshot::{Instant, NodeSample, ProcessSample, Snapshot},
    verdict::{RssGrowth, State, Verdict},
};

const MIB: f64 = 1_048_576.0;
const STEP_S: f64 = 0.1;
/// Of the RSS of a collected heap, as `combine` has it.
const RSS_NOISE_BYTES: f64 = 10.0 * MIB;
/// So many the history keeps as they come; of more it keeps the late ones.
const READINGS_MAX: u32 = 120;
/// `forcegcperiod`.
const FORCED_S: f64 = 120.0;

const COUNTERS: RuntimeCounters = RuntimeCounters {
    gc_percent: 100,
    memory_limit_bytes: None,
    next_gc_bytes: 0,
    heap_marked_bytes: 0,
    heap_live_bytes: 0,
    heap_in_use_bytes: 0,
    heap_free_bytes: 0,
    heap_released_bytes: 0,
    stacks_bytes: 0,
    mapped_ready_bytes: 0,
    runtime_bytes: 0,
    processors: 4,
    gc_cycles: 0,
    gc_cycles_forced: 0,
    last_gc_unix_ns: 0,
    gc_pause_total_ns: 0,
};

/// A process. Live bytes and busy CPUs are functions of the seconds since tracing began.
#[derive(Clone, Copy)]
struct Go {
    window_s: f64,
    /// Negative for off.
    gc_percent: i32,
    /// What is allocated and dropped, in MiB per second.
    garbage: f64,
    live: fn(f64) -> f64,
    /// By how many MiB what is in flight makes a collection's result swing.
    in_flight: f64,
    /// MiB beside the heap.
    native: fn(f64) -> f64,
    cpus: fn(f64) -> f64,
    pods: Option<[u64; 2]>,
    seed: u64,
}

const HONEST: Go = Go {
    window_s: 300.0,
    gc_percent: 100,
    garbage: 12.0,
    live: |_| 60.0,
    in_flight: 0.5,
    native: |_| 20.0,
    cpus: |_| 0.3,
    pods: None,
    seed: 0,
};

const LEAKY: Go = Go { live: |t| 60.0 + 0.05 * t, ..HONEST };

/// The heap at one time.
struct Heap {
    marked: f64,
    garbage: f64,
    resident: f64,
    cycles: u32,
    collected_s: f64,
}

fn at(s: f64) -> Instant {
    Instant { monotonic_ns: (s * 1e9) as u64 + 1, wall: SystemTime::UNIX_EPOCH }
}

impl Go {
    fn goal(&self, heap: &Heap) -> f64 {
        if self.gc_percent < 0 {
            return f64::INFINITY;
        }
        (heap.marked * (1.0 + f64::from(self.gc_percent) / 100.0)).max(4.0)
    }

    fn step(&self, heap: &mut Heap, at_s: f64, random: f64) {
        heap.garbage += self.garbage * STEP_S;
        let live = (self.live)(at_s);
        let all = live + heap.garbage;
        heap.resident = heap.resident.max(all);
        let forced = self.gc_percent >= 0 && at_s - heap.collected_s >= FORCED_S;
        if all >= self.goal(heap) || forced {
            heap.marked = live + self.in_flight * random;
            (heap.garbage, heap.collected_s) = (0.0, at_s);
            heap.cycles += 1;
        }
        // The scavenger gives back what lies above the goal, a hundredth a second.
        let above = (heap.resident - 1.1 * self.goal(heap)).max(0.0);
        heap.resident -= above * 0.01 * STEP_S;
    }

    fn counters(&self, heap: &Heap, at_s: f64) -> RuntimeCounters {
        let bytes = |mib: f64| (mib * MIB) as u64;
        RuntimeCounters {
            gc_percent: self.gc_percent,
            next_gc_bytes: bytes(self.goal(heap)),
            heap_marked_bytes: bytes(heap.marked),
            heap_live_bytes: bytes((self.live)(at_s) + heap.garbage),
            mapped_ready_bytes: bytes(heap.resident),
            gc_cycles: heap.cycles,
            ..COUNTERS
        }
    }

    fn snapshot(&self, heap: &Heap, at_s: f64, ticks: f64, random: f64) -> Snapshot {
        let rss = heap.resident + (self.native)(at_s) + 0.2 * random;
        Snapshot {
            at: at(at_s),
            process: ProcessSample {
                rss_anon_bytes: Some((rss * MIB) as u64 & !4095),
                cpu_ticks: Some(ticks as u64),
                threads: Some(12),
                ..ProcessSample::default()
            },
            node: NodeSample::default(),
            cgroup: None,
            contexts: None,
            runtime: Some(self.counters(heap, at_s)),
        }
    }

    /// Ten minutes have passed before the trace. It reads every 3 s, or `READINGS_MAX` times.
    fn history(&self) -> History {
        let mut random = uniform(self.seed);
        let mut draw = move || random.next().unwrap();
        let live = (self.live)(0.0);
        let mut heap =
            Heap { marked: live, garbage: 0.0, resident: live, cycles: 7, collected_s: -700.0 };
        for step in 0..6000 {
            self.step(&mut heap, -0.001 * f64::from(6000 - step), draw());
        }
        heap.collected_s = -FORCED_S * draw();
        let mut history = History::new(at(0.0));
        let mut ticks = 5000.0;
        let steps = (self.window_s / STEP_S) as u32;
        let every = (steps / READINGS_MAX).max(30);
        for step in 0..=steps {
            let at_s = f64::from(step) * STEP_S;
            self.step(&mut heap, at_s, draw());
            ticks += (self.cpus)(at_s) * 100.0 * STEP_S * (0.8 + 0.4 * draw());
            if step % every == 0 {
                history.push(self.snapshot(&heap, at_s, ticks, draw()));
            }
        }
        history
    }

    fn evidence(&self) -> SeriesEvidence {
        SeriesEvidence::of(&self.history(), RSS_NOISE_BYTES, self.pods)
    }

    /// On top of a verdict that sites alone would give.
    #[track_caller]
    fn weigh(&self, state: State) -> Verdict {
        let history = self.history();
        let series = history.series(|process| process.rss_anon_bytes);
        let verdict = Verdict {
            state,
            confidence_ratio: 0.95,
            reasons: vec!["sites".to_owned()],
            rss: RssGrowth::of(&series, RSS_NOISE_BYTES),
            rss_noise_bytes: RSS_NOISE_BYTES,
            ..Verdict::default()
        };
        weigh_series(verdict, &self.evidence())
    }

    /// For ten seeds, which differ in all that is random and in the phase of the collector.
    #[track_caller]
    fn assert_states(&self, before: State, after: State) -> Verdict {
        let verdicts = (0..10).map(|seed| Self { seed, ..*self }.weigh(before));
        let verdicts: Vec<_> = verdicts.collect();
        for (seed, verdict) in verdicts.iter().enumerate() {
            assert_eq!(verdict.state, after, "seed {seed}: {:#?}", verdict.reasons);
        }
        verdicts.into_iter().next().unwrap()
    }
}

#[track_caller]
fn assert_says(verdict: &Verdict, what: &str) {
    let said = verdict.reasons.iter().any(|why| why.contains(what));
    assert!(said, "{what}: {:#?}", verdict.reasons);
}

fn grows(finding: Option<&Finding>) -> bool {
    finding.is_some_and(Finding::is_growing_to_the_end)
}

#[test]
fn an_honest_heap_is_none_at_any_setting_of_the_collector() {
    for gc_percent in [50, 100, 400] {
        let verdict = Go { gc_percent, ..HONEST }.assert_states(State::NoLeak, State::NoLeak);
        assert_eq!(verdict.confidence_ratio, 0.95);
    }
    let verdict = HONEST.assert_states(State::NoLeak, State::NoLeak);
    assert_says(&verdict, "the live heap after each collection");
    assert_says(&verdict, "which this window could tell");
}

#[test]
fn a_leaking_heap_is_suspect_at_any_setting_of_the_collector_and_its_rate_is_right() {
    for gc_percent in [50, 100, 400] {
        // At 400 % a collection comes every 20 s.
        let leaky = Go { gc_percent, window_s: 600.0, ..LEAKY };
        for seed in 0..10 {
            let evidence = Go { seed, ..leaky }.evidence();
            let heap = evidence.live_heap.unwrap().shaped;
            assert!(heap.shape.is_growing(), "GOGC={gc_percent} seed {seed}: {heap:?}");
            let truth = 0.05 * MIB;
            assert!((heap.slope.per_s / truth - 1.0).abs() < 0.05, "{heap:?}");
            assert!(heap.slope.low <= truth && truth <= heap.slope.high, "{heap:?}");
        }
        leaky.assert_states(State::NoLeak, State::Suspect);
    }
    let verdict = LEAKY.assert_states(State::NoLeak, State::Suspect);
    assert_eq!(verdict.confidence_ratio, 0.0);
    assert!(verdict.reasons[0].contains("the live heap after each collection grows by 5"));
    assert!(verdict.reasons[0].contains("the load did not rise"), "{:?}", verdict.reasons);
}

#[test]
fn bytes_alone_never_make_a_leak_and_never_unmake_one() {
    LEAKY.assert_states(State::Inconclusive, State::Suspect);
    LEAKY.assert_states(State::Leak, State::Leak);
    HONEST.assert_states(State::Leak, State::Leak);
}

#[test]
fn a_cache_that_fills_and_then_evicts_is_warm_up() {
    let evicting =
        Go { window_s: 600.0, live: |t| 50.0 + 40.0 * (1.0 - (-t / 80.0).exp()), ..HONEST };
    let verdict = evicting.assert_states(State::NoLeak, State::NoLeak);
    assert_says(&verdict, "warm-up");
    let full = Go { live: |t| 50.0 + (0.3 * t).min(40.0), ..evicting };
    full.assert_states(State::NoLeak, State::NoLeak);
}

#[test]
fn a_leak_that_goes_on_after_the_warm_up_is_suspect() {
    let both = Go {
        window_s: 600.0,
        live: |t| 50.0 + 30.0 * (1.0 - (-t / 40.0).exp()) + 0.05 * t,
        ..HONEST
    };
    let verdict = both.assert_states(State::NoLeak, State::Suspect);
    assert_says(&verdict, "steadily to the end, since about");
}

#[test]
fn a_map_that_doubled_is_a_step() {
    let doubled = Go { live: |t| if t < 130.0 { 50.0 } else { 66.0 }, ..HONEST };
    doubled.assert_states(State::NoLeak, State::NoLeak);
    let heap = doubled.evidence().live_heap.unwrap().shaped;
    assert_eq!(heap.shape, SeriesShape::Steps { count: 1 });
    assert!((heap.changes_s[0] - 130.0).abs() < 12.0, "{heap:?}");
    assert_says(&doubled.weigh(State::NoLeak), "jumped once, at");
}

#[test]
fn what_grows_with_the_load_is_inconclusive() {
    let ramp = Go { live: |t| 40.0 + 0.1 * t, garbage: 20.0, cpus: |t| 0.2 + t / 300.0, ..HONEST };
    let verdict = ramp.assert_states(State::NoLeak, State::Inconclusive);
    assert_says(&verdict, "the load rose with it");
    ramp.assert_states(State::Suspect, State::Inconclusive);
    ramp.assert_states(State::Leak, State::Leak);
    let pods = Go { pods: Some([20, 60]), ..LEAKY };
    assert_says(&pods.assert_states(State::NoLeak, State::Inconclusive), "from 20 to 60");
}

#[test]
fn growth_that_goes_on_after_the_load_has_settled_is_suspect() {
    let stepped = Go { cpus: |t| if t < 60.0 { 0.2 } else { 0.6 }, ..LEAKY };
    let verdict = stepped.assert_states(State::NoLeak, State::Suspect);
    assert_says(&verdict, "but the growth went on after that");
    let heap = stepped.evidence().live_heap.unwrap();
    assert_eq!(heap.load, Some(LoadEffect::AtFlatLoad));
}

/// 4.5 MiB an hour in five minutes are a tenth of what is in flight.
#[test]
fn a_leak_below_the_floor_is_not_claimed_but_the_floor_is_said() {
    let slow = Go { live: |t| 60.0 + 4.5 / 3600.0 * t, in_flight: 4.0, ..HONEST };
    let verdict = slow.assert_states(State::NoLeak, State::NoLeak);
    assert_says(&verdict, "which this window could tell");
    let (evidence, per_s) = (slow.evidence(), 4.5 / 3600.0 * MIB);
    assert!(evidence.floor_bytes_per_s().unwrap() > per_s);
    let long_s = evidence.how_long_s(per_s).unwrap();
    assert!(long_s > 300.0 && long_s < 10_000.0, "{long_s}");
    Go { window_s: long_s, ..slow }.assert_states(State::NoLeak, State::Suspect);
}

#[test]
fn native_growth_beside_a_flat_heap_is_suspect() {
    let native = Go { native: |t| 20.0 + 0.1 * t, ..HONEST };
    let verdict = native.assert_states(State::NoLeak, State::Suspect);
    assert!(
        verdict.reasons[0].contains("beside the Go runtime's grows by 10"),
        "{:?}",
        verdict.reasons
    );
    assert!(!grows(native.evidence().live_heap.as_ref()));
    let ended = Go { native: |t| 20.0 + (0.4 * t).min(30.0), ..HONEST };
    ended.assert_states(State::NoLeak, State::NoLeak);
}

#[test]
fn garbage_that_nobody_has_collected_yet_is_no_suspicion() {
    // 240 MiB to go at 0.3 MiB a second: no collection but those that are forced.
    let rare = Go { gc_percent: 400, garbage: 0.3, window_s: 100.0, ..HONEST };
    let verdict = rare.assert_states(State::Suspect, State::Inconclusive);
    assert_says(&verdict, "could grow by");
    let off = Go { gc_percent: -1, garbage: 1.0, ..HONEST };
    let verdict = off.assert_states(State::NoLeak, State::Suspect);
    assert_says(&verdict, "the garbage collector is switched off");
}

#[test]
fn a_restart_is_no_growth() {
    let restarted = Go {
        native: |t| if t < 200.0 { 20.0 + 0.5 * t } else { 20.0 + 0.5 * (t - 200.0) },
        ..HONEST
    };
    let verdict = restarted.assert_states(State::NoLeak, State::NoLeak);
    assert_says(&verdict, "to near where it began");
}

#[test]
fn without_readings_nothing_is_said() {
    let evidence = SeriesEvidence::of(&History::new(at(0.0)), 0.0, None);
    assert_eq!((evidence.anon_rss, evidence.live_heap, evidence.load), (None, None, None));
    assert_eq!((evidence.threads, evidence.goroutines), (None, None));
}
