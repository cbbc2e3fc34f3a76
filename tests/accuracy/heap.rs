//! The memory of a Go program, simulated: objects that come and go in; its RSS and the collector's
//! counters out.
//!
//! The collector goes by its pacing rule (runtime/mgcpacer.go, `commit`): the next collection ends at
//! (1 + GOGC/100) times the live bytes, and not below 4 MiB * GOGC/100. Resident is what was ever in
//! use, less what the scavenger has given back. Non-goals: fragmentation, assists.

use leaktrace::{memory::RuntimeCounters, snapshot::ProcessSample};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use super::{
    counting::{CONTEXT_BYTES, makes_contexts},
    scenario::{Part, Scenario, What},
};

const MIB: f64 = 1024.0 * 1024.0;
/// A goroutine's first stack.
pub const STACK_BYTES: u64 = 2048;
/// `runtime.g` and what a goroutine's closure keeps.
const GOROUTINE_BYTES: u64 = 480;
/// Even an idle program is collected so often (runtime/proc.go, `forcegcperiod`), in seconds.
const FORCED_EVERY_S: f64 = 120.0;
/// GOGC counts from this heap on (runtime/mgcpacer.go, `defaultHeapMinimum`).
const HEAP_MIN_BYTES: f64 = 4.0 * MIB;
/// The scavenger keeps so much more than the goal (runtime/mgcscavenge.go, `retainExtraPercent`).
const RETAINED_RATIO: f64 = 1.1;
/// And gives back this share of the rest in a second: it may have 1 % of a processor.
const SCAVENGED_PER_S: f64 = 0.02;
/// What the kernel's per-thread counters and short buffers make the RSS differ by.
const NOISE_BYTES: f64 = 64.0 * 1024.0;
/// Text, data and the runtime's own.
const RUNTIME_BYTES: u64 = 12 << 20;
const FILE_BYTES: u64 = 24 << 20;

/// What one object of a part takes: bytes of heap, of stack and of C.
fn sizes(part: &Part) -> [u64; 3] {
    let contexts = if makes_contexts(part.what) { CONTEXT_BYTES } else { 0 };
    match part.what {
        What::Native => [0, 0, part.payload_bytes + 16],
        What::Goroutine | What::Both => {
            [contexts + GOROUTINE_BYTES + part.payload_bytes, STACK_BYTES, 0]
        }
        What::Context | What::Timeout | What::Unheld | What::Heap => {
            [contexts + part.payload_bytes, 0, 0]
        }
    }
}

/// The memory.
pub struct Memory {
    gogc: f64,
    sizes: Vec<[u64; 3]>,
    random: ChaCha8Rng,
    /// What lives as long as the program, and what it makes and drops in a second.
    base_bytes: f64,
    churn_per_s: f64,
    live_bytes: u64,
    stack_bytes: u64,
    native_bytes: u64,
    native_peak_bytes: u64,
    /// Unheld objects that wait for the collector.
    garbage_bytes: u64,
    allocated_bytes: u64,
    heap_live: f64,
    marked: f64,
    resident: f64,
    cycles: u32,
    last_cycle_s: f64,
    now_s: f64,
}

impl Memory {
    /// Of `scenario`, before it has made anything.
    pub fn new(scenario: &Scenario) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x6d65_6d6f);
        let base_bytes = MIB * 10f64.powf(random.random_range(0.3..1.8));
        let churn_per_s = MIB * 10f64.powf(random.random_range(-1.5..1.3));
        Self {
            gogc: f64::from(scenario.gogc) / 100.0,
            sizes: scenario.parts.iter().map(sizes).collect(),
            random,
            base_bytes,
            churn_per_s,
            live_bytes: 0,
            stack_bytes: 0,
            native_bytes: 0,
            native_peak_bytes: 0,
            garbage_bytes: 0,
            allocated_bytes: 0,
            heap_live: base_bytes,
            marked: base_bytes,
            resident: base_bytes,
            cycles: 1,
            last_cycle_s: 0.0,
            now_s: 0.0,
        }
    }

    /// An object of `part` is made.
    pub fn made(&mut self, part: usize) {
        let [heap, stack, native] = self.sizes[part];
        self.live_bytes += heap;
        self.allocated_bytes += heap;
        self.stack_bytes += stack;
        self.native_bytes += native;
        self.native_peak_bytes = self.native_peak_bytes.max(self.native_bytes);
    }

    /// One is let go.
    pub fn let_go(&mut self, part: usize) {
        let [heap, stack, native] = self.sizes[part];
        self.live_bytes -= heap;
        self.stack_bytes -= stack;
        self.native_bytes -= native;
    }

    /// One that was made is held by nobody.
    pub fn dropped(&mut self, part: usize) {
        self.garbage_bytes += self.sizes[part][0];
    }

    /// Tracing begins: what was made before has been collected as often as it takes.
    pub fn begin(&mut self) {
        self.allocated_bytes = 0;
        self.collect(0.0);
        // Somewhere between two collections.
        let goal = self.goal();
        self.heap_live += self.random.random_range(0.0..1.0) * (goal - self.heap_live);
        self.resident = goal.min(self.heap_live * RETAINED_RATIO);
        if self.churn_per_s > 0.5 * MIB {
            self.resident = goal;
        }
    }

    fn goal(&self) -> f64 {
        (self.marked * (1.0 + self.gogc)).max(HEAP_MIN_BYTES * self.gogc)
    }

    fn collect(&mut self, at_s: f64) {
        self.live_bytes -= self.garbage_bytes;
        self.garbage_bytes = 0;
        self.marked = self.base_bytes + self.live_bytes as f64;
        self.heap_live = self.marked;
        self.cycles += 1;
        self.last_cycle_s = at_s;
    }

    /// Goes on to `now_s`; gives whether there was a collection.
    pub fn advance(&mut self, now_s: f64) -> bool {
        let elapsed_s = now_s - self.now_s;
        let churn = self.churn_per_s * elapsed_s * self.random.random_range(0.6..1.4);
        self.heap_live += std::mem::take(&mut self.allocated_bytes) as f64 + churn;
        self.now_s = now_s;
        let goal = self.goal();
        let is_full = self.heap_live >= goal;
        self.resident = self.resident.max(self.heap_live.min(goal * 1.05));
        if is_full || now_s - self.last_cycle_s >= FORCED_EVERY_S {
            let beyond = (self.heap_live - goal).max(0.0);
            self.collect(now_s);
            self.heap_live += beyond.min(0.9 * (self.goal() - self.heap_live));
        }
        let retained = self.goal().max(self.heap_live) * RETAINED_RATIO;
        self.resident -= (self.resident - retained).max(0.0) * SCAVENGED_PER_S * elapsed_s;
        self.last_cycle_s == now_s
    }

    /// What procfs says.
    pub fn process(&mut self) -> ProcessSample {
        let deviations: f64 = StandardNormal.sample(&mut self.random);
        let own = (self.stack_bytes + self.native_peak_bytes + RUNTIME_BYTES) as f64;
        let anon = (own + self.resident + deviations * NOISE_BYTES).max(0.0) as u64 & !4095;
        ProcessSample {
            rss_bytes: Some(anon + FILE_BYTES),
            rss_anon_bytes: Some(anon),
            rss_file_bytes: Some(FILE_BYTES),
            rss_shmem_bytes: Some(0),
            threads: Some(8),
            ..ProcessSample::default()
        }
    }

    /// What the runtime's counters say.
    pub fn counters(&self) -> RuntimeCounters {
        let bytes = |bytes: f64| bytes as u64;
        RuntimeCounters {
            gc_percent: (self.gogc * 100.0) as i32,
            memory_limit_bytes: None,
            next_gc_bytes: bytes(self.goal()),
            heap_marked_bytes: bytes(self.marked),
            heap_live_bytes: bytes(self.heap_live),
            heap_in_use_bytes: bytes(self.heap_live),
            heap_free_bytes: bytes((self.resident - self.heap_live).max(0.0)),
            heap_released_bytes: 0,
            stacks_bytes: self.stack_bytes,
            mapped_ready_bytes: bytes(self.resident) + self.stack_bytes + RUNTIME_BYTES,
            runtime_bytes: RUNTIME_BYTES,
            processors: 4,
            gc_cycles: self.cycles,
            gc_cycles_forced: 0,
            last_gc_unix_ns: 1 + bytes(self.last_cycle_s.max(0.0) * 1e9),
            gc_pause_total_ns: 0,
        }
    }
}

#[cfg(test)]
#[path = "heap_tests.rs"]
mod tests;
