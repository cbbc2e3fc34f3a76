//! Goroutines whose stacks are all, or a part, of what grows.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use leaktrace_common::LIFETIME_BUCKETS;

use super::explain_with_stacks;
use crate::{
    history::History,
    memory::goroutines::{Creation, Lost},
    snapshot::{
        GoroutineSample, GoroutineSiteSample, Instant, NodeSample, ProcessSample, Snapshot,
    },
    verdict::{Evidence, SiteJudgement, SiteState, State, Verdict, assess},
};

const LEAKY: Creation = Creation { creator_pc: 1, start_pc: 2 };
const HONEST: Creation = Creation { creator_pc: 3, start_pc: 4 };
/// Goroutines per second at each of both sites, and bytes of the RSS per second.
const PER_S: u64 = 10;
const RSS_PER_S: u64 = 400_000;

fn site(live: u64, each_bytes: u64) -> GoroutineSiteSample {
    GoroutineSiteSample {
        live,
        stack_bytes: live * each_bytes,
        started: live,
        ended: 0,
        ended_before: 0,
        lifetimes: [0; LIFETIME_BUCKETS],
    }
}

fn sample(live: u64, each_bytes: u64) -> GoroutineSample {
    GoroutineSample {
        live: 2 * live,
        newest_id: 2 * live,
        sites: [LEAKY, HONEST].map(|creation| (creation, site(live, each_bytes))).into(),
        labels: HashMap::new(),
        lost: Lost::default(),
    }
}

fn history(each_bytes: u64) -> History {
    let at = |s| Instant {
        monotonic_ns: s * 1_000_000_000,
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(s),
    };
    let mut history = History::new(at(0));
    for s in 0..30 {
        let rss_anon_bytes = Some(1_000_000 + s * RSS_PER_S);
        history.push_goroutines(at(s), sample(s * PER_S, each_bytes));
        history.push(Snapshot {
            at: at(s),
            process: ProcessSample { rss_anon_bytes, ..ProcessSample::default() },
            node: NodeSample::default(),
            cgroup: None,
            contexts: None,
            runtime: None,
        });
    }
    history
}

/// What is said of stacks of so many bytes, if the verdict was `state`.
fn explained(each_bytes: u64, state: State) -> Verdict {
    let (history, natures, holdings) = (history(each_bytes), HashMap::new(), HashMap::new());
    let evidence = Evidence {
        history: &history,
        births_s: None,
        natures: &natures,
        holdings: &holdings,
        releases_complete: true,
        garbage_collected: false,
        uptime_at_start_s: None,
    };
    let judgement = |state| SiteJudgement {
        state,
        growth: None,
        leaked: None,
        usual_lifetime_s: None,
        horizon_is_told: false,
        is_new: false,
        horizon_s: 5.0,
        old: 100,
        never_released_ratio: 0.9,
        leak_probability: 0.9,
    };
    let goroutines =
        vec![(LEAKY, judgement(SiteState::Leak)), (HONEST, judgement(SiteState::Clean))];
    explain_with_stacks(&evidence, Verdict { state, goroutines, ..assess(&evidence) })
}

#[test]
fn stacks_of_leaking_goroutines_explain_what_they_take_up() {
    // Ten of 4 KiB each second, in 400,000 bytes.
    let verdict = explained(4096, State::Leak);
    let share = verdict.explained.unwrap();
    assert!((share.ratio - 0.1024).abs() < 0.01, "{share:?}");
    assert!(share.high - share.low < 0.02, "{share:?}");
    let why = verdict.reasons.last().unwrap();
    assert!(
        why.ends_with("the stacks of the leaking goroutines explain 10 % (10-10) of it"),
        "{why}"
    );
}

/// Of a long stack, half may never have been touched.
#[test]
fn long_stacks_may_be_resident_in_part() {
    let share = explained(32 << 10, State::Leak).explained.unwrap();
    let whole = f64::from(32 << 10) * PER_S as f64 / RSS_PER_S as f64;
    assert!(
        (share.low - whole / 2.0).abs() < 0.02 && (share.high - whole).abs() < 0.02,
        "{share:?}"
    );
}

#[test]
fn what_is_no_leak_explains_nothing() {
    let verdict = explained(4096, State::Suspect);
    assert_eq!(verdict.explained, None);
    assert!(verdict.reasons.iter().all(|why| !why.contains("stacks")), "{:?}", verdict.reasons);
}
