//! Simulated readings in fast time: schedules in, verdicts out.
//!
//! A program is read once a second as `leaktrace trace` reads it, and judged at every reading by the
//! same functions. What BPF would count is simulated by [`super::counting`], memory by
//! [`super::heap`]; goroutines pass leaktrace's own tracker.

use std::{collections::HashMap, time::SystemTime};

use leaktrace::{
    history::History,
    memory::goroutines::{Creation, Goroutine, Goroutines, NoStack, Stack, Status},
    snapshot::{GoroutineTracker, Instant, NodeSample, ProcessSample, Snapshot},
    verdict::{
        Circumstances, Goal, GoroutineMoment, Moment, Settling, SiteJudgement, SiteState, State,
        Verdict, judge,
    },
};

use super::{
    counting::{Contexts, makes_contexts, site},
    heap::{Memory, STACK_BYTES},
    outcome::{How, Outcome},
    scenario::{Scenario, What},
    schedule::{Event, schedule},
    timeline::{Happening, Timeline},
    truth::{Called, Judged},
};

/// How often a trace without `--duration` reads.
const INTERVAL_S: f64 = 1.0;
/// The machine had been up for so long when tracing began.
const UP_S: f64 = 1e6;
/// What every goroutine of the programs runs first.
const START_PC: u64 = 0x40_0000;

/// A run with what its verdict said.
#[derive(Debug, Clone)]
pub struct Run {
    /// The result.
    pub outcome: Outcome,
    /// The reasons of the verdict, for people.
    pub reasons: Vec<String>,
}

/// Traces `scenario` until its verdict is settled, its time is up or it ends.
pub fn run(scenario: &Scenario) -> Run {
    let events = schedule(scenario);
    let end_s = scenario.ends_s.unwrap_or(f64::INFINITY).min(scenario.duration_max_s);
    let mut program = Program::new(scenario, &events);
    let (mut now_s, mut settling) = (0.0, Settling::new(Goal::DEFAULT));
    loop {
        let is_dead = scenario.ends_s.is_some_and(|ends_s| now_s >= ends_s);
        program.read(now_s, is_dead);
        let verdict = program.judge();
        let is_settled = settling.observe(now_s, &verdict);
        if is_settled || now_s >= end_s {
            let (called, ended) = (called(&verdict), (now_s, is_settled));
            let judged = Judged {
                scenario,
                events: &events,
                verdict: &verdict,
                called: (&called, 0),
                ended,
            };
            let outcome = judged.outcome(How::Simulated);
            return Run { outcome, reasons: verdict.reasons };
        }
        now_s = (now_s + INTERVAL_S).min(end_s);
    }
}

/// A program as it is traced.
struct Program<'e> {
    scenario: &'e Scenario,
    events: &'e [Event],
    timeline: Timeline<'e>,
    contexts: Contexts<'e>,
    memory: Memory,
    goroutines: Vec<usize>,
    is_over: Vec<bool>,
    tracker: GoroutineTracker,
    history: History,
}

fn instant(at_s: f64) -> Instant {
    Instant { monotonic_ns: ((UP_S + at_s) * 1e9) as u64, wall: SystemTime::UNIX_EPOCH }
}

impl<'e> Program<'e> {
    fn new(scenario: &'e Scenario, events: &'e [Event]) -> Self {
        let mut program = Self {
            scenario,
            events,
            timeline: Timeline::new(events),
            contexts: Contexts::new(events, &scenario.parts),
            memory: Memory::new(scenario),
            goroutines: Vec::new(),
            is_over: vec![false; events.len()],
            tracker: GoroutineTracker::default(),
            history: History::new(instant(0.0)),
        };
        program.carry_out(0.0);
        program.memory.begin();
        program
    }

    fn carry_out(&mut self, to_s: f64) {
        while let Some(happening) = self.timeline.next_until(to_s) {
            let (Happening::Made(index) | Happening::LetGo(index)) = happening;
            let event = self.events[index];
            let what = self.scenario.parts[event.part].what;
            if matches!(happening, Happening::LetGo(_)) {
                self.let_go(index, event.part, what);
                continue;
            }
            self.memory.made(event.part);
            if what == What::Unheld && event.is_forgotten {
                self.memory.dropped(event.part);
            }
            if makes_contexts(what) {
                self.contexts.made(index);
            }
            if matches!(what, What::Goroutine | What::Both) {
                self.goroutines.push(index);
            }
        }
    }

    fn let_go(&mut self, index: usize, part: usize, what: What) {
        self.is_over[index] = true;
        self.memory.let_go(part);
        if makes_contexts(what) {
            self.contexts.let_go(index);
        }
    }

    /// Takes a reading at `now_s`; of a program that has ended the counts of contexts are left.
    fn read(&mut self, now_s: f64, is_dead: bool) {
        self.carry_out(now_s);
        if self.memory.advance(now_s) {
            self.contexts.collect(now_s);
        }
        let process = if is_dead { ProcessSample::default() } else { self.memory.process() };
        self.history.push(Snapshot {
            at: instant(now_s),
            process,
            node: NodeSample::default(),
            cgroup: None,
            contexts: Some(self.contexts.sample()),
            runtime: (!is_dead).then(|| self.memory.counters()),
        });
        if !is_dead {
            self.read_goroutines(now_s);
        }
    }

    fn read_goroutines(&mut self, now_s: f64) {
        let is_over = &self.is_over;
        self.goroutines.retain(|index| !is_over[*index]);
        let goroutine = |index: &usize| Goroutine {
            id: *index as u64 + 1,
            slot: *index as u32,
            status: Status::Waiting,
            wait_reason: None,
            waiting_since_ns: 0,
            parent_id: 1,
            creator_pc: site(self.events[*index].part),
            start_pc: START_PC,
            locked_to_thread: false,
            stack_bytes: STACK_BYTES,
            labels: None,
            stack: Stack::Unknown(NoStack::Running),
        };
        let mut goroutines = Goroutines::default();
        goroutines.list = self.goroutines.iter().map(goroutine).collect();
        let at = instant(now_s);
        let sample = self.tracker.observe(at.monotonic_ns, &goroutines, &mut |_| true);
        self.history.push_goroutines(at, sample);
    }

    fn judge(&self) -> Verdict {
        let births_s = self.tracker.births_s(instant(0.0).monotonic_ns);
        let moment = Moment {
            births_s: Some(self.contexts.births_s()),
            natures: self.contexts.natures(),
            holdings: self.contexts.holdings(),
            goroutines: Some(GoroutineMoment { births_s, surveys: HashMap::new() }),
            pods: None,
        };
        let circumstances = Circumstances {
            contexts_are_probed: true,
            releases_complete: true,
            garbage_collected: true,
            uptime_at_start_s: Some(self.scenario.warm_s),
        };
        judge(&self.history, &moment, &circumstances)
    }
}

/// The parts that a verdict calls leaks; only a verdict that says leak calls any so.
fn called(verdict: &Verdict) -> Vec<Called> {
    if verdict.state != State::Leak {
        return Vec::new();
    }
    let call = |hash: u64, judgement: &SiteJudgement| {
        let is_leak = judgement.state == SiteState::Leak;
        let per_s = judgement.grows().map(|growth| growth.per_s);
        is_leak.then_some(Called { part: hash as usize - 1, per_s })
    };
    let contexts = verdict.sites.iter().filter(|_| verdict.contexts_leak);
    let contexts = contexts.filter_map(|(hash, judgement)| call(*hash, judgement));
    let goroutines = verdict.goroutines.iter();
    let goroutines = goroutines
        .filter_map(|(Creation { creator_pc, .. }, judgement)| call(*creator_pc, judgement));
    contexts.chain(goroutines).collect()
}

#[cfg(test)]
#[path = "fast_tests.rs"]
mod tests;
