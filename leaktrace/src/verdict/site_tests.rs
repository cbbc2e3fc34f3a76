//! Sites as they are seen in the field, simulated: a list of (birth, lifetime) becomes what the
//! kernel would have counted.

use leaktrace_common::{LIFETIME_BUCKETS, lifetime_bucket};

use super::{SiteEvidence, SiteJudgement, SiteState, judge};
use crate::snapshot::{ContextKind, ContextNature, ContextParent, HoldingSample, SiteSample};

/// Never released.
const FOREVER: f64 = f64::INFINITY;

struct Site {
    contexts: Vec<(f64, f64)>,
    window_s: f64,
    nature: ContextNature,
    collected: u64,
    holding: Option<HoldingSample>,
    /// Uptime when tracing began, in seconds, and releases per second of what was made before.
    past: Option<(f64, f64)>,
}

impl Site {
    fn new(window_s: f64, contexts: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let contexts = contexts.into_iter().filter(|(birth, _)| *birth < window_s).collect();
        let (nature, collected) = (ContextNature::default(), 0);
        Self {
            contexts,
            window_s,
            nature,
            collected,
            holding: None,
            past: Some((30.0 * 86_400.0, 0.0)),
        }
    }

    fn judge(&self) -> SiteJudgement {
        let alive_at = |time: f64| {
            let alive = move |(birth, life): &&(f64, f64)| *birth <= time && birth + life > time;
            self.contexts.iter().filter(alive)
        };
        let times_s: Vec<f64> = (0..=20).map(|i| f64::from(i) * self.window_s / 20.0).collect();
        let created: Vec<u64> = times_s
            .iter()
            .map(|time| self.contexts.iter().filter(|(birth, _)| birth <= time).count() as u64)
            .collect();
        let outstanding: Vec<u64> =
            times_s.iter().map(|time| alive_at(*time).count() as u64).collect();
        let births_s: Vec<f64> = alive_at(self.window_s).map(|(birth, _)| *birth).collect();
        let mut lifetimes = [0; LIFETIME_BUCKETS];
        for (birth, life) in &self.contexts {
            if birth + life <= self.window_s {
                lifetimes[lifetime_bucket((life * 1e9) as u64)] += 1;
            }
        }
        let per_s = self.past.map_or(0.0, |(_, per_s)| per_s);
        let released_before: Vec<u64> = times_s.iter().map(|time| (time * per_s) as u64).collect();
        let latest = SiteSample {
            created: created[20],
            released: lifetimes.iter().sum(),
            collected: self.collected,
            outstanding: outstanding[20],
            lifetimes,
        };
        judge(&SiteEvidence {
            times_s: &times_s,
            created: &created,
            outstanding: &outstanding,
            latest: &latest,
            births_s: &births_s,
            sample_divisor: 1,
            nature: self.nature,
            holding: self.holding.as_ref(),
            uptime_s: self.past.map(|(uptime_s, _)| uptime_s),
            held_before: None,
            released_before: &released_before,
            window_s: self.window_s,
        })
    }

    fn state(&self) -> SiteState {
        self.judge().state
    }
}

/// `rate` contexts per second from the start on, each living `life`.
fn steady(rate: f64, life: impl Fn(usize) -> f64) -> impl Iterator<Item = (f64, f64)> {
    (0..).map(move |i| (i as f64 / rate, life(i))).take_while(|(birth, _)| *birth < 600.0)
}

#[test]
fn the_kubelet_pattern_is_a_leak_with_its_rate() {
    let judgement = Site::new(60.0, steady(50.0, |_| FOREVER)).judge();
    assert_eq!(judgement.state, SiteState::Leak);
    assert!((judgement.growth.unwrap().per_s - 50.0).abs() < 1.0, "{judgement:?}");
    assert!(judgement.never_released_ratio > 0.99);
}

fn young(site: Site) -> Site {
    Site { past: Some((5.0, 0.0)), ..site }
}

/// Connections that stay look like this while they fill up.
#[test]
fn a_young_process_that_never_releases_is_a_leak_only_if_it_goes_on_and_on() {
    let judgement = young(Site::new(60.0, steady(50.0, |_| FOREVER))).judge();
    assert_eq!(judgement.state, SiteState::Leak);
    let sure = judgement.leak_probability;
    assert!((0.6..0.8).contains(&sure), "{sure}: lives that are longer than the window so far");
    assert_eq!(young(Site::new(25.0, steady(50.0, |_| FOREVER))).state(), SiteState::NeverReleased);
    // Nobody can call any more what would release them; or somebody still may.
    for (lost, left, expected) in [(64, 0, 0.95..1.0), (0, 64, 0.55..sure)] {
        let funcs = HoldingSample {
            held: 64,
            func_lost: lost,
            func_left: left,
            ..HoldingSample::default()
        };
        let site = Site { holding: Some(funcs), ..Site::new(60.0, steady(50.0, |_| FOREVER)) };
        let judgement = young(site).judge();
        assert_eq!(judgement.state, SiteState::Leak);
        let probability = judgement.leak_probability;
        assert!(expected.contains(&probability), "{probability}: {lost} lost, {left} left");
    }
    for filled_by_s in [30.0, 40.0, 51.0] {
        let filling = steady(50.0, |_| FOREVER).take_while(|(birth, _)| *birth < filled_by_s);
        let state = young(Site::new(60.0, filling)).state();
        assert_ne!(state, SiteState::Leak, "filled by {filled_by_s} s");
    }
}

#[test]
fn a_young_process_that_releases_others_is_judged_by_them() {
    // Short lives beside the kept ones say what is usual there.
    let mixed = |i| if i % 10 == 0 { FOREVER } else { 0.002 };
    assert_eq!(young(Site::new(60.0, steady(50.0, mixed))).state(), SiteState::Leak);
}

#[test]
fn a_leak_that_began_lately_is_not_called_clean() {
    for window_s in [30.0, 60.0, 300.0] {
        let late = |i: usize| {
            let forgotten = i as f64 / 20.0 >= window_s / 2.0;
            if forgotten { FOREVER } else { 0.001 }
        };
        let state = Site::new(window_s, steady(20.0, late)).state();
        assert_eq!(state, SiteState::Recent, "{window_s}");
    }
}

#[test]
fn a_site_that_filled_and_stopped_is_no_leak() {
    for window_s in [20.0, 30.0, 45.0, 60.0, 120.0, 300.0] {
        for rate in [1.0, 20.0] {
            let filling =
                steady(rate, |_| FOREVER).take_while(|(birth, _)| *birth < window_s / 2.0);
            let state = Site::new(window_s, filling).state();
            assert_ne!(state, SiteState::Leak, "{window_s} s, {rate}/s");
        }
    }
}

#[test]
fn a_new_site_that_keeps_all_it_makes_is_not_called_clean() {
    for window_s in [30.0, 60.0, 300.0] {
        let late = steady(5.0, |_| FOREVER).filter(|(birth, _)| *birth >= 0.7 * window_s);
        assert_eq!(Site::new(window_s, late).state(), SiteState::Recent, "{window_s}");
    }
}

#[test]
fn a_leak_behind_a_long_warm_up_of_the_same_line_is_found() {
    for window_s in [40.0, 60.0, 120.0] {
        let warm_up = (0..2000).map(|i| (f64::from(i) / 2000.0 * 0.35 * window_s, FOREVER));
        let leaking: Vec<_> = warm_up.chain(steady(5.0, |_| FOREVER)).collect();
        let state = Site::new(window_s, leaking).state();
        assert!(matches!(state, SiteState::Leak | SiteState::Stopped), "{window_s}: {state:?}");
    }
}

#[test]
fn a_leak_behind_contexts_held_from_the_start_is_found() {
    let held = (0..2000).map(|i| (f64::from(i) / 700.0, FOREVER));
    let leaking: Vec<_> = held.chain(steady(5.0, |_| FOREVER)).collect();
    for window_s in [40.0, 60.0, 300.0] {
        let state = Site::new(window_s, leaking.clone()).state();
        assert_eq!(state, SiteState::Leak, "{window_s}");
    }
}

#[test]
fn a_leak_beside_bursts_at_the_same_site_is_found() {
    let bursts = (0..200).flat_map(|burst| (0..400).map(move |_| (f64::from(burst) * 3.0, 2.0)));
    let leaking: Vec<_> = bursts.chain(steady(1.0, |_| FOREVER)).collect();
    for window_s in [40.0, 45.0, 60.0, 120.0] {
        let state = Site::new(window_s, leaking.clone()).state();
        assert_eq!(state, SiteState::Leak, "{window_s}");
    }
}

#[test]
fn one_in_ten_forgotten_among_short_lives_is_a_leak() {
    let mixed = |i| if i % 10 == 0 { FOREVER } else { 0.002 };
    assert_eq!(Site::new(60.0, steady(50.0, mixed)).state(), SiteState::Leak);
}

#[test]
fn the_slow_leak_of_the_first_report_is_found_in_a_minute() {
    let judgement = Site::new(60.0, steady(0.55, |_| FOREVER)).judge();
    assert_eq!(judgement.state, SiteState::Leak);
    assert!(judgement.never_released_ratio < 0.95, "few contexts, less confidence");
}

#[test]
fn leaks_in_lockstep_bursts_are_leaks() {
    let bursts = (0..30).flat_map(|burst| (0..100).map(move |_| (f64::from(burst) * 2.0, FOREVER)));
    assert_eq!(Site::new(60.0, bursts).state(), SiteState::Leak);
}

#[test]
fn honest_work_is_clean() {
    assert_eq!(Site::new(60.0, steady(100.0, |_| 0.005)).state(), SiteState::Clean);
    assert_eq!(Site::new(60.0, steady(50.0, |_| 4.0)).state(), SiteState::Clean);
}

#[test]
fn a_window_that_ends_in_a_burst_is_clean() {
    let bursts = (0..20).flat_map(|burst| {
        (0..400).map(move |i| (f64::from(burst) * 3.0 + f64::from(i) / 1000.0, 2.0))
    });
    for window_s in [40.0, 40.5, 41.0, 41.9, 42.2] {
        assert_eq!(Site::new(window_s, bursts.clone()).state(), SiteState::Clean, "{window_s}");
    }
}

#[test]
fn contexts_held_since_the_warm_up_are_clean() {
    for window_s in [15.0, 40.0, 300.0] {
        let held = (0..2000).map(|i| (f64::from(i) / 700.0, FOREVER));
        assert_eq!(Site::new(window_s, held).state(), SiteState::Clean, "{window_s}");
    }
}

#[test]
fn growth_within_the_usual_lifetime_needs_a_longer_window() {
    // Lives of 20 s that began with the trace: up to 20 s this looks like a leak.
    let lives = |i: usize| 15.0 + (i % 10) as f64;
    let state = Site::new(30.0, steady(50.0, lives)).state();
    assert!(matches!(state, SiteState::Unresolved | SiteState::Clean), "{state:?}");
    assert_eq!(Site::new(300.0, steady(50.0, lives)).state(), SiteState::Clean);
}

#[test]
fn what_the_collector_frees_is_no_leak() {
    let mut site = Site::new(60.0, steady(200.0, |_| FOREVER));
    site.collected = 3000;
    assert_eq!(site.state(), SiteState::Collectable);
}

/// `WithCancel(Background())`: garbage if it was forgotten, a leak if a goroutine waits for it.
#[test]
fn what_hangs_under_background_is_doubted_until_the_collector_has_run() {
    let mut site = Site::new(60.0, steady(20.0, |_| FOREVER));
    site.nature.parent = ContextParent::Uncancellable;
    assert_eq!(site.state(), SiteState::HeldByOthers);
    let long = Site { nature: site.nature, ..Site::new(300.0, steady(20.0, |_| FOREVER)) };
    assert_eq!(long.state(), SiteState::KeptByOthers);
    site.collected = 300;
    assert_eq!(site.state(), SiteState::Collectable);
    site.collected = 0;
    // Its timer holds it all the same.
    site.nature.kind = ContextKind::Timer;
    assert_eq!(site.state(), SiteState::BoundedByDeadline);
    site.nature = ContextNature { parent: ContextParent::Cancellable, ..ContextNature::default() };
    assert_eq!(site.state(), SiteState::Leak);
}

#[test]
fn a_deadline_bounds_the_growth() {
    let mut site = Site::new(60.0, steady(50.0, |_| FOREVER));
    site.nature.kind = ContextKind::Timer;
    assert_eq!(site.state(), SiteState::BoundedByDeadline);
}

#[test]
fn contexts_that_are_released_late_after_all_are_no_leak() {
    // Most live 1 ms; one in 100 waits for a peer for 30 to 110 s.
    let lives =
        |i: usize| if i.is_multiple_of(100) { 30.0 + (i % 8000) as f64 / 100.0 } else { 0.001 };
    let state = Site::new(120.0, steady(100.0, lives)).state();
    assert_ne!(state, SiteState::Leak);
}

#[test]
fn a_handful_proves_nothing() {
    assert_eq!(Site::new(60.0, steady(0.1, |_| FOREVER)).state(), SiteState::Clean);
}

#[test]
fn sampled_survivors_stand_for_many() {
    let births_s: Vec<f64> = (0..100).map(|i| f64::from(i) * 0.5).collect();
    let times_s: Vec<f64> = (0..=20).map(|i| f64::from(i) * 3.0).collect();
    let growing: Vec<u64> = times_s.iter().map(|t| (*t * 32.0) as u64).collect();
    let latest = SiteSample {
        created: 1920,
        released: 0,
        collected: 0,
        outstanding: 1920,
        lifetimes: [0; LIFETIME_BUCKETS],
    };
    let judgement = judge(&SiteEvidence {
        times_s: &times_s,
        created: &growing,
        outstanding: &growing,
        latest: &latest,
        births_s: &births_s,
        sample_divisor: 16,
        nature: ContextNature::default(),
        holding: None,
        uptime_s: Some(86_400.0),
        held_before: None,
        released_before: &[0; 21],
        window_s: 60.0,
    });
    assert_eq!((judgement.state, judgement.old), (SiteState::Leak, 1280));
}

/// A site that looks like a leak from outside: one in four contexts is never released.
fn leaky(holding: HoldingSample) -> Site {
    let contexts = steady(10.0, |index| if index % 4 == 0 { FOREVER } else { 0.01 });
    Site { holding: Some(holding), ..Site::new(60.0, contexts) }
}

#[test]
fn what_holds_the_sample_decides() {
    let held = HoldingSample { held: 60, unknown: 4, ..HoldingSample::default() };
    assert_eq!(leaky(held).state(), SiteState::Leak);
    let unknown = HoldingSample { unknown: 64, ..HoldingSample::default() };
    assert_eq!(leaky(unknown).state(), SiteState::Leak);
    let loose = HoldingSample { unheld: 40, freed: 24, ..HoldingSample::default() };
    assert_eq!(leaky(loose).state(), SiteState::Collectable);
    let young = HoldingSample { unheld: 64, ..HoldingSample::default() };
    assert_eq!(leaky(young).state(), SiteState::HeldByOthers);
    let kept = HoldingSample { kept: 60, freed: 4, ..HoldingSample::default() };
    assert_eq!(leaky(kept).state(), SiteState::HeldByOthers);
}

#[test]
fn a_pin_alone_proves_no_leak() {
    let holding = Some(HoldingSample { held: 64, ..HoldingSample::default() });
    let honest = Site { holding, ..Site::new(60.0, steady(10.0, |_| 0.01)) };
    assert_eq!(honest.state(), SiteState::Clean);
}

/// Requests that are running just now are not kept: as many long lives end as begin.
#[test]
fn lives_in_flight_do_not_hide_that_older_ones_end() {
    for window_s in [45.0, 60.0, 90.0, 120.0] {
        let requests = (0..).map(|i| (f64::from(i) / 200.0, 0.2 + f64::from(i % 8) * 0.1));
        let requests = requests.take_while(|(birth, _)| *birth < window_s);
        let long = (0..).map(|i| (f64::from(i) * 2.0, 300.0));
        let both: Vec<_> =
            requests.chain(long.take_while(|(birth, _)| *birth < window_s)).collect();
        let site = Site { past: Some((30.0 * 86_400.0, 0.5)), ..Site::new(window_s, both) };
        assert_ne!(site.state(), SiteState::Leak, "{window_s} s");
    }
}

/// One in 160 lives for 30 to 60 s: however long it is watched, that is no leak and nothing new.
#[test]
fn a_rare_long_tail_that_ends_is_clean_in_a_long_window() {
    let lives = |i: usize| if i.is_multiple_of(160) { 30.0 + (i / 160 % 31) as f64 } else { 0.01 };
    assert_eq!(Site::new(600.0, steady(50.0, lives)).state(), SiteState::Clean);
}

/// The mean at the floor against what a leak must leave: 8 in all, and 4 of the later half.
#[test]
fn a_leak_at_the_floor_is_seen_in_19_cases_of_20() {
    let half = super::OLD_NEEDED / 2.0;
    let mut weights = vec![(-half).exp()];
    for count in 1..60 {
        weights.push(weights[count - 1] * half / count as f64);
    }
    let seen: f64 = (0..60)
        .flat_map(|early| (4..60).map(move |late| (early, late)))
        .filter(|(early, late)| early + late >= 8)
        .map(|(early, late)| weights[early] * weights[late])
        .sum();
    assert!((0.95..0.96).contains(&seen), "{seen}");
}
