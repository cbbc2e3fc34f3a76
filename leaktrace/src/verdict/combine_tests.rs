//! Whole windows, simulated second by second.

use std::{collections::HashMap, time::SystemTime};

use leaktrace_common::{LIFETIME_BUCKETS, Lost, lifetime_bucket};

use super::{Evidence, assess};
use crate::{
    history::History,
    memory::Holder,
    snapshot::{
        ContextSample, HoldingSample, Instant, NodeSample, ProcessSample, SiteSample, Snapshot,
    },
    verdict::{State, Verdict},
};

/// One site that creates `rate` contexts a second, of which every `keep`th is never released
/// (0: all are released after 10 ms), beside an anonymous RSS.
struct Window {
    seconds: u64,
    rate: u64,
    keep: u64,
    rss: fn(u64) -> u64,
    lost: u64,
    released_untracked: u64,
    contexts: bool,
    releases_complete: bool,
    holding: Option<fn() -> HoldingSample>,
}

const LEAKY: Window = Window {
    seconds: 60,
    rate: 20,
    keep: 4,
    rss: |s| 100_000_000 + s * 20_000,
    lost: 0,
    released_untracked: 0,
    contexts: true,
    releases_complete: true,
    holding: None,
};

const HONEST: Window = Window { keep: 0, rss: |s| 100_000_000 + s % 7 * 100_000, ..LEAKY };

impl Window {
    fn kept(&self, created: u64) -> u64 {
        created.checked_div(self.keep).unwrap_or(0)
    }

    fn contexts(&self, s: u64) -> ContextSample {
        let created = s * self.rate;
        let outstanding = self.kept(created);
        let mut lifetimes = [0; LIFETIME_BUCKETS];
        lifetimes[lifetime_bucket(10_000_000)] = created - outstanding;
        let released = created - outstanding;
        let site = SiteSample { created, released, collected: 0, outstanding, lifetimes };
        ContextSample {
            sites: HashMap::from([(1, site)]),
            released_untracked: self.released_untracked * s / self.seconds,
            repeated_cancels: 0,
            probe_hits: created + released,
            sample_divisor: 1,
            lost: if self.lost > 0 { vec![(Lost::LiveFull, self.lost)] } else { Vec::new() },
        }
    }

    fn holdings(&self) -> HashMap<u64, HoldingSample> {
        self.holding.map(|holding| (1, holding())).into_iter().collect()
    }

    fn assess(&self) -> Verdict {
        let at = |s: u64| Instant { monotonic_ns: s * 1_000_000_000, wall: SystemTime::UNIX_EPOCH };
        let mut history = History::new(at(0));
        for s in 0..=self.seconds {
            let rss_anon_bytes = Some((self.rss)(s));
            let process = ProcessSample { rss_anon_bytes, ..ProcessSample::default() };
            let contexts = self.contexts.then(|| self.contexts(s));
            history.push(Snapshot {
                at: at(s),
                process,
                node: NodeSample::default(),
                cgroup: None,
                contexts,
                runtime: None,
            });
        }
        let kept = self.kept(self.seconds * self.rate);
        let births = (0..kept).map(|i| (i * self.keep) as f64 / self.rate as f64).collect();
        let births_s = HashMap::from([(1, births)]);
        assess(&Evidence {
            history: &history,
            births_s: self.contexts.then_some(&births_s),
            natures: &HashMap::new(),
            holdings: &self.holdings(),
            releases_complete: self.releases_complete,
            garbage_collected: false,
            uptime_at_start_s: Some(7200.0),
        })
    }
}

#[track_caller]
fn assert_state(window: &Window, state: State) -> Verdict {
    let verdict = window.assess();
    assert_eq!(verdict.state, state, "{:#?}", verdict.reasons);
    verdict
}

#[test]
fn a_leak_is_named_with_confidence() {
    let verdict = assert_state(&LEAKY, State::Leak);
    assert!(verdict.confidence_ratio > 0.9, "{}", verdict.confidence_ratio);
    assert!(verdict.reasons.iter().any(|why| why.contains("anonymous RSS grows by 19.5 KiB/s")));
}

#[test]
fn an_honest_process_has_none_above_the_floor() {
    let verdict = assert_state(&HONEST, State::NoLeak);
    assert_eq!(verdict.confidence_ratio, 0.95);
    // 13.1 contexts in the 55 s before the horizon of 5 s.
    assert!((verdict.floor_contexts_per_s.unwrap() - 0.287).abs() < 0.01);
}

#[test]
fn a_short_window_claims_nothing() {
    assert_state(&Window { seconds: 8, ..LEAKY }, State::Inconclusive);
    assert_state(&Window { seconds: 8, ..HONEST }, State::Inconclusive);
    assert_state(&Window { seconds: 15, ..HONEST }, State::Inconclusive);
}

#[test]
fn a_lossy_trace_claims_nothing_with_confidence() {
    let verdict = assert_state(&Window { lost: 500, ..LEAKY }, State::Suspect);
    assert!(verdict.reasons[0].contains("lost"));
    assert_eq!(verdict.confidence_ratio, 0.0);
    assert_state(&Window { lost: 500, ..HONEST }, State::Inconclusive);
    // One event in two thousand only costs confidence.
    assert_state(&Window { lost: 1, ..LEAKY }, State::Leak);
}

#[test]
fn unseen_releases_forbid_the_claim() {
    assert_state(&Window { releases_complete: false, ..LEAKY }, State::Suspect);
    let flat = Window { rss: |_| 100_000_000, releases_complete: false, ..LEAKY };
    assert_state(&flat, State::Inconclusive);
}

#[test]
fn releases_of_older_contexts_that_balance_the_new_ones_forbid_the_claim() {
    assert_state(&Window { released_untracked: 280, ..LEAKY }, State::Suspect);
    assert_state(&Window { released_untracked: 20, ..LEAKY }, State::Leak);
}

#[test]
fn growth_that_no_context_explains_is_a_suspicion() {
    let growing = Window { rss: |s| 100_000_000 + s * 50_000, ..HONEST };
    let verdict = assert_state(&growing, State::Suspect);
    assert!(verdict.reasons[0].contains("no context site explains it"));
}

#[test]
fn warm_up_is_no_suspicion() {
    let warming = Window { rss: |s| 100_000_000 + s.min(30) * 2_000_000, ..HONEST };
    let verdict = assert_state(&warming, State::NoLeak);
    assert!(verdict.reasons.iter().any(|why| why.contains("warm-up")));
}

#[test]
fn rss_alone_raises_suspicion_but_never_names_a_leak() {
    let native = Window { contexts: false, ..LEAKY };
    assert_state(&native, State::Suspect);
    let flat = Window { contexts: false, ..HONEST };
    assert_state(&flat, State::Inconclusive);
    assert_state(&Window { seconds: 400, ..flat }, State::NoLeak);
}

#[test]
fn an_idle_process_proves_nothing() {
    assert_state(&Window { rate: 0, ..HONEST }, State::Inconclusive);
}

fn held() -> HoldingSample {
    HoldingSample {
        held: 64,
        holder: Some(Holder {
            address: 0xc0_0001_2340,
            type_name: "*context.cancelCtx",
            children: 100_007,
        }),
        retained_bytes: Some(500),
        ..HoldingSample::default()
    }
}

#[test]
fn a_leak_names_its_holder() {
    let verdict = assert_state(&Window { holding: Some(held), ..LEAKY }, State::Leak);
    let lost = || HoldingSample { func_lost: 60, ..held() };
    let lost = assert_state(&Window { holding: Some(lost), ..LEAKY }, State::Leak);
    let left = || HoldingSample { func_left: 60, ..held() };
    let left = assert_state(&Window { holding: Some(left), ..LEAKY }, State::Leak);
    let modelled = assert_state(&LEAKY, State::Leak);
    let says = |verdict: &Verdict, how| verdict.reasons.iter().any(|why| why.contains(how));
    assert!(says(&verdict, "(at least)"), "{:#?}", verdict.reasons);
    assert!(says(&modelled, "(at least)"), "{:#?}", modelled.reasons);
    let held = "64 of 64 looked at are held, most by the *context.cancelCtx at 0xc000012340, which \
                has 100007 children";
    assert!(verdict.reasons[0].contains(held), "{:#?}", verdict.reasons);
    assert!(verdict.reasons.iter().all(|why| !why.contains("pinned: unknown")));
    assert!(says(&lost, "; 60 of 60 checked have no cancel function left in the program"));
    assert!(says(&left, "; of 60 of 60 checked the program still has the cancel function"));
    assert!(!says(&verdict, "cancel function"), "{:#?}", verdict.reasons);
}

#[test]
fn what_nothing_holds_is_no_leak() {
    let holding = || HoldingSample { freed: 64, ..HoldingSample::default() };
    let rss = HONEST.rss;
    let verdict = assert_state(&Window { holding: Some(holding), rss, ..LEAKY }, State::NoLeak);
    assert!(verdict.reasons.iter().any(|why| why.contains("nothing holds its contexts")));
}
