//! Opens and closes the gate in time: a thread that looks at what the target pays.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use aya::maps::{Array, MapData, PerCpuArray};
use leaktrace_common::{GoroutineGate, GoroutineTotals, WEIGHT_ONE};
use rustix::time::{ClockId, clock_gettime};

use super::{
    pacing::{Pace, Pacing},
    probes::Probes,
    sampling::{GoroutineSampling, WindowSums},
};
use crate::bpf::BpfError;

/// How often the cost is looked at while everything is counted.
const LOOK_NS: f64 = 20e6;

/// The maps that a pacer reads and writes.
pub struct PacerMaps {
    /// Whether events are counted.
    pub gate: Array<MapData, GoroutineGate>,
    /// What was counted.
    pub sums: PerCpuArray<MapData, GoroutineTotals>,
}

/// What the pacer knows, for whoever reads the counts.
#[derive(Debug, Clone, Default)]
pub struct PacerState {
    /// None while everything is counted, as it was from the start.
    pub sampling: Option<GoroutineSampling>,
    /// What the target has lost to the probes, by hits and their measured cost.
    pub cost_ns: u64,
    /// What keeps the pacer from going on: nothing is counted any more.
    pub failure: Option<String>,
}

/// The running thread; dropping it takes the probes out.
pub struct Pacer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<Mutex<PacerState>>,
    in_window: Arc<Mutex<()>>,
}

impl Pacer {
    /// Puts the probes in and counts everything, until the budget says otherwise.
    ///
    /// # Errors
    /// A probe is refused, or the maps can't be written.
    pub fn start(
        mut probes: Probes,
        mut maps: PacerMaps,
        budget_cores: f64,
        hit_cost_ns: f64,
    ) -> Result<Self, BpfError> {
        // Open before any probe is in, so that the first event of each is counted.
        set_gate(&mut maps, GATE_ALWAYS)?;
        probes.put_in()?;
        let (stop, stopped) = mpsc::channel();
        let state = Arc::new(Mutex::new(PacerState::default()));
        let in_window = Arc::new(Mutex::new(()));
        let mut run = Run {
            probes,
            maps,
            pacing: Pacing::new(budget_cores),
            hit_cost_ns,
            stopped,
            state: Arc::clone(&state),
            in_window: Arc::clone(&in_window),
            sums: WindowSums::default(),
            since_ns: None,
            hits: 0.0,
            charged: 0.0,
            hits_per_ns: 0.0,
            always: true,
            closed_ns: 0.0,
        };
        let thread = std::thread::Builder::new()
            .name("goroutine-pacer".to_owned())
            .spawn(move || run.until_stopped())
            .map_err(|error| BpfError::Unsupported(format!("can't start a thread: {error}")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread), state, in_window })
    }

    /// Waits for the end of a window, a fraction of a second, and lets none begin while the guard is
    /// held: in the middle of one, the counts tell of a time that the state does not.
    pub fn between_windows(&self) -> MutexGuard<'_, ()> {
        self.in_window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it knows by now.
    pub fn state(&self) -> PacerState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works on.
struct Run {
    probes: Probes,
    maps: PacerMaps,
    pacing: Pacing,
    hit_cost_ns: f64,
    stopped: Receiver<()>,
    state: Arc<Mutex<PacerState>>,
    /// Held while the counts and the state don't agree.
    in_window: Arc<Mutex<()>>,
    sums: WindowSums,
    /// When sampling began.
    since_ns: Option<u64>,
    /// Hits so far: those that programs counted, and what probes are taken to have cost while they
    /// were taken out.
    hits: f64,
    /// Hits whose cost is accounted for.
    charged: f64,
    /// How often probes were hit when that was last looked at.
    hits_per_ns: f64,
    /// Whether everything is counted at the moment.
    always: bool,
    /// When the last window ended.
    closed_ns: f64,
}

/// Why the thread ends.
enum End {
    /// It was asked to.
    Stopped,
    /// It can't go on.
    Failed(BpfError),
}

impl From<BpfError> for End {
    fn from(error: BpfError) -> Self {
        Self::Failed(error)
    }
}

/// What follows a window.
#[derive(Clone, Copy)]
enum Then {
    /// Another gap.
    TakeOut,
    /// Everything is counted, but for the microseconds that it takes to say so.
    CountAll,
}

/// Everything is counted.
const GATE_ALWAYS: GoroutineGate = GoroutineGate { weight: WEIGHT_ONE, until_ns: 0 };

impl Run {
    fn until_stopped(&mut self) {
        let end = loop {
            if let Err(end) = self.step() {
                break end;
            }
        };
        if let End::Failed(error) = end {
            self.update(|state| state.failure = Some(error.to_string()));
        }
        self.probes.take_out();
    }

    fn step(&mut self) -> Result<(), End> {
        match self.pacing.next() {
            Pace::Always if self.always => {
                let (begin_ns, before) = (now_ns(), self.totals()?);
                self.sleep(LOOK_NS)?;
                let elapsed_ns = now_ns() - begin_ns;
                self.note_hits(&before, &self.totals()?, elapsed_ns);
                self.account(elapsed_ns, elapsed_ns);
            }
            Pace::Always => {
                let begin_ns = now_ns();
                self.window(LOOK_NS, Then::CountAll)?;
                self.account(now_ns() - begin_ns, LOOK_NS);
            }
            Pace::Window { gap_ns, window_ns } => {
                let begin_ns = now_ns();
                self.close()?;
                self.sleep(gap_ns)?;
                self.window(window_ns, Then::TakeOut)?;
                self.account(now_ns() - begin_ns, window_ns);
            }
        }
        Ok(())
    }

    /// Ends counting everything, before the first gap.
    fn close(&mut self) -> Result<(), BpfError> {
        if !self.always {
            return Ok(());
        }
        set_gate(&mut self.maps, GoroutineGate::default())?;
        self.closed_ns = now_ns();
        self.since_ns.get_or_insert(self.closed_ns as u64);
        self.always = false;
        self.publish();
        self.take_out();
        Ok(())
    }

    /// Takes out the probes. Nobody counts the hits meanwhile: they are taken to go on as before, for
    /// as long as it takes, which is the most that it can be.
    fn take_out(&mut self) {
        let took_ns = self.probes.take_out().as_nanos() as f64;
        self.hits += self.hits_per_ns * took_ns;
    }

    /// One window, which tells of the gap before it too: its end is kept by the kernel, to the
    /// nanosecond.
    fn window(&mut self, window_ns: f64, then: Then) -> Result<(), End> {
        self.probes.put_in()?;
        let in_window = Arc::clone(&self.in_window);
        let held = in_window.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.totals()?;
        let until_ns = (now_ns() + window_ns) as u64;
        let span_ns = until_ns as f64 - self.closed_ns;
        let weight = (span_ns / window_ns * WEIGHT_ONE as f64).round() as u64;
        set_gate(&mut self.maps, GoroutineGate { weight, until_ns })?;
        self.sleep(window_ns)?;
        let after = self.totals()?;
        self.note_hits(&before, &after, window_ns);
        if matches!(then, Then::CountAll) {
            set_gate(&mut self.maps, GATE_ALWAYS)?;
            self.always = true;
        }
        let events = |totals: &GoroutineTotals| totals.started + totals.ended;
        self.sums.add(window_ns, span_ns, events(&after).saturating_sub(events(&before)));
        self.closed_ns = until_ns as f64;
        self.publish();
        drop(held);
        if matches!(then, Then::TakeOut) {
            self.take_out();
        }
        Ok(())
    }

    /// Takes note of the hits in `elapsed_ns`.
    fn note_hits(&mut self, before: &GoroutineTotals, after: &GoroutineTotals, elapsed_ns: f64) {
        let hits = after.hits().saturating_sub(before.hits()) as f64;
        self.hits_per_ns = hits / elapsed_ns.max(1.0);
        self.hits += hits;
    }

    /// Charges the hits since the last time.
    fn account(&mut self, elapsed_ns: f64, counted_ns: f64) {
        let cost_ns = (self.hits - self.charged) * self.hit_cost_ns;
        self.charged = self.hits;
        self.pacing.spent(elapsed_ns, counted_ns, cost_ns);
        let cost_ns = (self.hits * self.hit_cost_ns) as u64;
        self.update(|state| state.cost_ns = cost_ns);
    }

    fn publish(&self) {
        let told_until_ns = (!self.always).then_some(self.closed_ns as u64);
        let sampling = self.since_ns.map(|since_ns| self.sums.sampling(since_ns, told_until_ns));
        self.update(|state| state.sampling = sampling);
    }

    fn update(&self, change: impl FnOnce(&mut PacerState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn sleep(&self, ns: f64) -> Result<(), End> {
        match self.stopped.recv_timeout(Duration::from_nanos(ns as u64)) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(End::Stopped),
        }
    }

    fn totals(&self) -> Result<GoroutineTotals, BpfError> {
        let rows = self.maps.sums.get(&0, 0).map_err(|why| BpfError::map("GOROUTINE_SUMS", why))?;
        Ok(rows.iter().fold(GoroutineTotals::default(), |sum, cpu| sum + *cpu))
    }
}

fn set_gate(maps: &mut PacerMaps, gate: GoroutineGate) -> Result<(), BpfError> {
    maps.gate.set(0, gate, 0).map_err(|error| BpfError::map("GATE", error))
}

/// `CLOCK_MONOTONIC`, as `bpf_ktime_get_ns` has it.
fn now_ns() -> f64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
