//! Goroutines as they are seen in the field, simulated: a list of (birth, lifetime) is read at
//! intervals, followed and judged as in a trace.

use std::{collections::HashMap, time::SystemTime};

use super::{GoroutineEvidence, weigh_goroutines};
use crate::{
    history::History,
    memory::goroutines::{Creation, Goroutine, Goroutines, NoStack, Stack, Status},
    snapshot::{GoroutineSurvey, GoroutineTracker, Instant, survey},
    verdict::{SiteState, State, Verdict},
};

/// Never ends.
const FOREVER: f64 = f64::INFINITY;
/// Tracing begins so long after the process.
const START_S: f64 = 1000.0;

struct Program {
    /// Birth in seconds since tracing began, lifetime, line of the `go` statement.
    goroutines: Vec<(f64, f64, u64)>,
    window_s: f64,
    interval_s: f64,
    young: bool,
    contexts_are_idle: bool,
    lost: u64,
    /// The trace went on for so many times the window without a reading.
    unread: f64,
    /// What the contexts said.
    contexts: (State, f64),
}

impl Program {
    fn new(window_s: f64, goroutines: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let at_line = |(birth, life)| (birth, life, 7);
        let mut goroutines: Vec<_> = goroutines.into_iter().map(at_line).collect();
        goroutines.sort_by(|(one, ..), (other, ..)| one.total_cmp(other));
        Self {
            goroutines,
            window_s,
            interval_s: window_s / 20.0,
            young: false,
            contexts_are_idle: true,
            lost: 0,
            unread: 1.0,
            contexts: (State::Inconclusive, 0.0),
        }
    }

    fn young(self) -> Self {
        Self { young: true, ..self }
    }

    fn with(mut self, line: u64, goroutines: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.goroutines.extend(goroutines.into_iter().map(|(birth, life)| (birth, life, line)));
        self.goroutines.sort_by(|(one, ..), (other, ..)| one.total_cmp(other));
        self
    }

    /// All that are alive at `time_s`, numbered by birth.
    fn alive(&self, time_s: f64) -> Goroutines {
        let alive = self.goroutines.iter().enumerate();
        let alive = alive.filter(|(_, (birth, life, _))| *birth <= time_s && birth + life > time_s);
        let goroutine = |(index, (_, _, line)): (usize, &(f64, f64, u64))| Goroutine {
            id: index as u64 + 1,
            slot: index as u32,
            status: Status::Waiting,
            wait_reason: None,
            waiting_since_ns: 0,
            parent_id: 1,
            creator_pc: *line,
            start_pc: 0x200,
            locked_to_thread: false,
            stack_bytes: 2048,
            labels: None,
            stack: Stack::Unknown(NoStack::Running),
        };
        let mut goroutines = Goroutines::default();
        goroutines.list = alive.map(goroutine).collect();
        goroutines.lost.slots_beyond_limit = self.lost;
        goroutines
    }

    fn assess(&self) -> Verdict {
        let at = |s: f64| Instant {
            monotonic_ns: ((START_S + s) * 1e9) as u64,
            wall: SystemTime::UNIX_EPOCH,
        };
        let (mut history, mut tracker) = (History::new(at(0.0)), GoroutineTracker::default());
        let mut surveys: HashMap<Creation, GoroutineSurvey> = HashMap::new();
        for reading in 0..=(self.window_s / self.interval_s) as u64 {
            let now = at(reading as f64 * self.interval_s);
            let alive = self.alive(reading as f64 * self.interval_s);
            let sample = tracker.observe(now.monotonic_ns, &alive, &mut |_| true);
            history.push_goroutines(now, sample);
            surveys = survey(&tracker, &alive, now.monotonic_ns);
        }
        let evidence = GoroutineEvidence {
            history: history.goroutines(),
            births_s: &tracker.births_s(at(0.0).monotonic_ns),
            surveys: &surveys,
            process_is_young: self.young,
            uptime_s: Some(if self.young { 5.0 } else { 30.0 * 86_400.0 }),
            contexts_are_idle: self.contexts_are_idle,
            window_s: self.window_s,
            trace_s: self.window_s * self.unread,
        };
        weigh_goroutines(before(self.contexts), &evidence)
    }

    fn site(&self) -> SiteState {
        let verdict = self.assess();
        let seven = verdict.goroutines.iter().find(|(site, _)| site.creator_pc == 7);
        seven.map(|(_, judgement)| judgement.state).unwrap()
    }
}

fn before((state, confidence_ratio): (State, f64)) -> Verdict {
    Verdict { state, confidence_ratio, ..Verdict::default() }
}

/// Readings with losses, or that end early, are no ground for a leak, a floor, or a clean answer.
#[test]
fn nothing_is_claimed_from_what_was_hardly_read() {
    let leaky = || Program::new(60.0, steady(20.0, |i| if i % 4 == 0 { FOREVER } else { 0.5 }));
    let calm = || Program::new(60.0, steady(20.0, |_| 0.5));
    assert_eq!(leaky().assess().state, State::Leak);
    for program in [Program { unread: 3.0, ..leaky() }, Program { lost: 10_000, ..leaky() }] {
        let verdict = program.assess();
        assert_eq!((verdict.state, verdict.confidence_ratio), (State::Suspect, 0.0));
        assert_eq!(verdict.floor_goroutines_per_s, None);
        assert!(verdict.goroutines.iter().all(|(_, site)| site.state != SiteState::Leak));
    }
    for program in [Program { unread: 3.0, ..calm() }, Program { lost: 10_000, ..calm() }] {
        let verdict = program.assess();
        assert_eq!((verdict.state, verdict.floor_goroutines_per_s), (State::Inconclusive, None));
    }
}

/// `rate` goroutines per second from the start on, each living `life`.
fn steady(rate: f64, life: impl Fn(usize) -> f64) -> impl Iterator<Item = (f64, f64)> {
    (0..).map(move |i| (i as f64 / rate, life(i))).take_while(|(birth, _)| *birth < 300.0)
}

/// There from before, for good.
fn standing(count: usize) -> impl Iterator<Item = (f64, f64)> {
    (0..count).map(|_| (-1.0, FOREVER))
}

#[track_caller]
fn assert_state(program: &Program, state: State) -> Verdict {
    let verdict = program.assess();
    assert_eq!(verdict.state, state, "{:#?}", verdict.reasons);
    verdict
}

#[test]
fn one_in_four_forgotten_is_a_leak_with_its_rate() {
    let lives = |i| if i % 4 == 0 { FOREVER } else { 0.6 };
    for window_s in [24.0, 60.0, 200.0] {
        let program = Program::new(window_s, steady(20.0, lives)).young();
        let verdict = assert_state(&program, State::Leak);
        assert!(verdict.confidence_ratio > 0.9, "{window_s}: {}", verdict.confidence_ratio);
        let growth = verdict.goroutines[0].1.grows().unwrap();
        assert!((growth.per_s - 5.0).abs() < 0.2, "{window_s}: {growth:?}");
        assert!(verdict.reasons.iter().any(|why| why.contains("add 10.")), "{verdict:#?}");
    }
}

/// Three seconds between readings of lives of 5 ms: those who are seen must not look long-lived.
#[test]
fn a_leak_among_lives_shorter_than_the_readings_lie_apart_is_found() {
    for window_s in [24.0, 60.0, 200.0] {
        let lives = |i| if i % 100 == 0 { FOREVER } else { 0.005 };
        let program = Program::new(window_s, steady(500.0, lives)).young();
        assert_eq!(program.site(), SiteState::Leak, "{window_s}");
    }
}

#[test]
fn all_forgotten_is_a_leak_in_an_old_process_and_in_a_young_one_if_it_goes_on() {
    let forgotten = || steady(5.0, |_| FOREVER);
    let since_long = (-5000..0).map(|i| (f64::from(i) / 5.0, FOREVER));
    let old = Program::new(24.0, since_long.chain(forgotten()));
    let old = assert_state(&old, State::Leak);
    assert!(old.confidence_ratio > 0.9, "{}", old.confidence_ratio);
    assert!(old.reasons.iter().any(|why| why.contains("like this for long: were they")));
    let young = assert_state(&Program::new(40.0, forgotten()).young(), State::Leak);
    let sure = young.confidence_ratio;
    assert!((0.55..0.8).contains(&sure), "{sure}");
    assert_state(&Program::new(24.0, forgotten()).young(), State::Suspect);
}

#[test]
fn what_was_there_before_is_no_leak() {
    let verdict = assert_state(&Program::new(40.0, standing(50_000)), State::NoLeak);
    assert_eq!(verdict.confidence_ratio, 0.95);
    assert!(verdict.floor_goroutines_per_s.unwrap() < 1.0);
}

#[test]
fn honest_work_is_clean() {
    let workers = (0..8).flat_map(|worker| {
        (0..600).map(move |turn| (f64::from(turn) * 1.6 - f64::from(worker) * 0.2 - 5.0, 1.6))
    });
    let bursts = (0..100).flat_map(|burst| (0..300).map(move |_| (f64::from(burst) * 4.0, 1.5)));
    let programs: [(&str, Vec<(f64, f64)>); 4] = [
        ("a pool of workers that are replaced", workers.collect()),
        ("bursts that drain", bursts.collect()),
        ("a churn", steady(2000.0, |_| 0.001).collect()),
        ("lives of three seconds", steady(50.0, |_| 3.0).collect()),
    ];
    for (name, goroutines) in programs {
        for window_s in [40.0, 60.0, 61.3, 120.0] {
            for young in [false, true] {
                let program = Program { young, ..Program::new(window_s, goroutines.clone()) };
                let verdict = program.assess();
                assert_eq!(verdict.state, State::NoLeak, "{name}, {window_s} s: {verdict:#?}");
            }
        }
    }
}

#[test]
fn long_lives_that_come_and_go_steadily_are_no_leak() {
    for (life, window_s) in [(40.0, 24.0), (40.0, 60.0), (300.0, 60.0)] {
        let rate = 200.0 / life;
        let lives = (0..4000).map(|i| (f64::from(i) / rate - life, life));
        for young in [false, true] {
            let program = Program { young, ..Program::new(window_s, lives.clone()) };
            assert_eq!(program.site(), SiteState::Clean, "{life} s in {window_s} s");
            assert_state(&program, State::NoLeak);
        }
    }
}

#[test]
fn a_warm_up_is_no_leak() {
    for (until_s, window_s) in [(8.0, 24.0), (8.0, 40.0), (20.0, 60.0)] {
        let filling = steady(20.0, |_| FOREVER).take_while(|(birth, _)| *birth < until_s);
        let filling: Vec<_> = filling.collect();
        assert_state(&Program::new(window_s, filling.clone()).young(), State::NoLeak);
        assert_ne!(Program::new(window_s, filling).assess().state, State::Leak);
    }
    let filling = steady(20.0, |_| FOREVER).take_while(|(birth, _)| *birth < 8.0);
    let verdict = Program::new(24.0, filling).young().assess();
    assert!(verdict.reasons.iter().any(|why| why.contains("a warm-up")), "{verdict:#?}");
}

#[test]
fn the_graver_answer_counts() {
    let leaky = || Program::new(40.0, steady(20.0, |i| if i % 4 == 0 { FOREVER } else { 0.6 }));
    let beside = |contexts| Program { contexts, contexts_are_idle: false, ..leaky() };
    for state in [State::NoLeak, State::Inconclusive, State::Suspect] {
        assert_state(&beside((state, 0.9)), State::Leak);
    }
    let both = assert_state(&beside((State::Leak, 0.99)), State::Leak);
    assert!(both.confidence_ratio >= 0.99);
    assert!(both.reasons.iter().any(|why| why.contains("one leak seen twice")), "{both:#?}");
    let clean = || Program::new(40.0, standing(10));
    let beside = |contexts| Program { contexts, contexts_are_idle: false, ..clean() };
    assert_eq!(beside((State::Leak, 0.99)).assess().confidence_ratio, 0.99);
    assert_state(&beside((State::Inconclusive, 0.0)), State::Inconclusive);
    assert_state(&beside((State::NoLeak, 0.95)), State::NoLeak);
}

#[test]
fn a_short_or_lossy_look_claims_nothing() {
    let leaky = || Program::new(40.0, steady(20.0, |i| if i % 4 == 0 { FOREVER } else { 0.6 }));
    assert_state(&Program { lost: 1000, ..leaky() }, State::Suspect);
    let few = Program { interval_s: 15.0, ..leaky() };
    let verdict = assert_state(&few, State::Inconclusive);
    assert!(verdict.reasons[0].contains("too few"), "{verdict:#?}");
    let idle = Program { lost: 1000, ..Program::new(40.0, standing(10)) };
    assert_state(&idle, State::Inconclusive);
}

#[test]
fn many_leaks_have_few_sentences() {
    let lives = |i| if i % 4 == 0 { FOREVER } else { 0.6 };
    let program = (8..20).fold(Program::new(24.0, steady(20.0, lives)), |program, line| {
        program.with(line, steady(20.0, lives))
    });
    let verdict = assert_state(&program, State::Leak);
    assert_eq!(verdict.reasons.iter().filter(|why| why.contains("of one go statement")).count(), 3);
    assert!(verdict.reasons.iter().any(|why| why.contains("10 more go statements")));
}
