//! Takes readings of target, node and maps, and keeps the kernel's live map in bounds.
//!
//! A reading that fails in part is a reading with a part missing, said once under `unavailable`.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use anyhow::Result;

use super::{
    attach::{pid, tracer},
    executable::Executable,
    goroutine_rates::{FoundRates, RateWatch},
    goroutines::GoroutineWatch,
    growth::{GrowthFound, GrowthWatch},
    heap::{HeapMoments, HeapWatch},
    holding::Holdings,
    look::Look,
    natures::Natures,
    pods::PodWatch,
    resident::{ResidentMoments, ResidentWatch},
    shortfalls::{
        AGES, COUNTERS, GOROUTINES, GROWTH, HEAP, HOLDERS, MAPPINGS, MEMORY, RATES, Shortfalls,
    },
};
use crate::{
    bpf::{BpfError, LiveEntry, SiteOrigin, Tracer},
    config::{GoroutineStacks, TraceConfig},
    history::History,
    memory::RuntimeCounters,
    overhead::ProbeCost,
    probe::Unavailable,
    report::PodsSection,
    snapshot::{
        CgroupSample, ContextSample, GoroutineSample, Hierarchies, HolderSample, Instant,
        NodeSample, ProcessSample, Snapshot,
    },
    target::{State, Watch},
    verdict::Moment,
};

/// Sampling state and readings of one trace.
pub struct Sampler<'e> {
    executable: &'e Executable,
    tracer: Option<Tracer>,
    history: History,
    hierarchies: Hierarchies,
    /// None where it is no Go program, or its memory is closed.
    look: Option<Rc<Look>>,
    heap: Option<HeapWatch>,
    goroutines: Option<GoroutineWatch<'e>>,
    resident: ResidentWatch,
    /// None where the target is no kubelet.
    pods: Option<PodWatch>,
    /// None when it is not asked for, or the kernel refuses.
    growth: Option<GrowthWatch>,
    /// None when it is not asked for, or can't be had.
    rates: Option<RateWatch>,
    /// When they are still to be attached.
    rates_when: GoroutineStacks,
    budget_cores: f64,
    /// None also where no contexts are counted.
    holdings: Option<Holdings>,
    /// The outstanding contexts, as they were listed last.
    live: Option<Vec<LiveEntry>>,
    /// What the contexts of the sites are, of those that were looked up.
    natures: Natures,
    shortfalls: Shortfalls,
}

/// What the readings found.
pub struct Found {
    pub history: History,
    /// What is known beside the series, but for the natures of the sites.
    pub moment: Moment,
    /// Contexts that hold others, most children first.
    pub holders: Vec<HolderSample>,
    /// By site.
    pub origins: HashMap<u64, SiteOrigin>,
    /// The heap profile at both ends.
    pub heap: Option<HeapMoments>,
    /// Starts and ends of goroutines.
    pub rates: Option<FoundRates>,
    /// What grew, by call chain.
    pub growth: Option<GrowthFound>,
    /// The pods at both ends, of a kubelet.
    pub pods: Option<PodsSection>,
    /// What was in memory at both ends.
    pub resident: Option<ResidentMoments>,
    pub unavailable: Vec<Unavailable>,
}

impl<'e> Sampler<'e> {
    /// Loads and attaches what the plan asks for.
    pub fn attach(config: &TraceConfig, watch: &Watch, executable: &'e Executable) -> Result<Self> {
        let tracer = tracer(config, watch, executable)?;
        let mut this = Self {
            executable,
            tracer,
            history: History::new(Instant::now()),
            hierarchies: Hierarchies::find(),
            look: None,
            heap: None,
            goroutines: None,
            resident: ResidentWatch::new(None),
            pods: PodWatch::of(watch, executable),
            growth: None,
            rates: None,
            rates_when: config.goroutine_stacks,
            budget_cores: config.budget_cores,
            holdings: None,
            live: None,
            natures: Natures::default(),
            shortfalls: Shortfalls::default(),
        };
        if executable.go().is_some() {
            match Look::open(watch.process(), executable) {
                Ok(look) => this.look_through(Rc::new(look)),
                Err(error) => this.shortfalls.note(MEMORY, format!("{error:#}")),
            }
        }
        this.attach_growth(config, watch)?;
        if config.goroutine_stacks == GoroutineStacks::Always {
            this.attach_rates(watch);
        }
        Ok(this)
    }

    fn attach_growth(&mut self, config: &TraceConfig, watch: &Watch) -> Result<()> {
        let shortfalls = &mut self.shortfalls;
        let mut note = |what: &str, error: BpfError| shortfalls.note(what, error);
        match GrowthWatch::attach(pid(watch)?, config.growth, &mut note) {
            Ok(growth) => self.growth = growth,
            Err(error) => self.shortfalls.note(GROWTH, error),
        }
        Ok(())
    }

    /// Counts starts and ends of goroutines from now on, as far as that can be had.
    fn attach_rates(&mut self, watch: &Watch) {
        self.rates_when = GoroutineStacks::Never;
        let attached =
            pid(watch).and_then(|pid| RateWatch::attach(pid, self.executable, self.budget_cores));
        match attached {
            Ok(rates) => self.rates = Some(rates),
            Err(error) => self.shortfalls.note(RATES, format!("{error:#}")),
        }
    }

    fn observe_rates(&mut self, watch: &Watch, thorough: bool) {
        let grows = self.rates_when == GoroutineStacks::Growing
            && self.history.goroutines().some_site_grows();
        if grows && !thorough {
            self.attach_rates(watch);
        }
        if let Some(Err(error)) = self.rates.as_mut().map(|rates| rates.observe(thorough)) {
            self.shortfalls.note(RATES, format!("{error:#}"));
        }
    }

    /// Compares starts and ends with the goroutines that were read right after them.
    fn compare_rates(&mut self, watch: &Watch, sample: &GoroutineSample) {
        let (Some(rates), Some(known)) = (&mut self.rates, &mut self.goroutines) else { return };
        if let Err(error) = rates.compare(sample, &mut |site| known.is_own(watch, site)) {
            self.shortfalls.note(RATES, format!("{error:#}"));
        }
    }

    fn observe_growth(&mut self, watch: &Watch, thorough: bool) {
        let observed = self.growth.as_mut().map(|growth| growth.observe(watch.process(), thorough));
        if let Some(Err(error)) = observed {
            self.shortfalls.note(GROWTH, error);
        }
    }

    fn look_through(&mut self, look: Rc<Look>) {
        self.resident = ResidentWatch::new(Some(Rc::clone(&look)));
        self.heap = Some(HeapWatch::new(Rc::clone(&look)));
        self.goroutines = Some(GoroutineWatch::new(Rc::clone(&look), self.executable));
        if self.tracer.is_some() {
            self.holdings = Some(Holdings::new(Rc::clone(&look)));
            self.search();
        }
        self.look = Some(look);
    }

    /// The readings so far.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Kernel memory in bytes, and what the probes have cost the target so far.
    pub fn costs(&self) -> (u64, Vec<ProbeCost>) {
        let contexts = self.history.contexts();
        let mut probes: Vec<_> =
            contexts.map(|found| ProbeCost::contexts(found.probe_hits)).into_iter().collect();
        probes.extend(self.rates.as_ref().and_then(RateWatch::cost));
        probes.extend(self.growth.as_ref().into_iter().flat_map(GrowthWatch::costs));
        let growth = self.growth.as_ref().map_or(0, GrowthWatch::map_bytes);
        let rates = self.rates.as_ref().map_or(0, RateWatch::map_bytes);
        (self.tracer.as_ref().map_or(0, Tracer::map_bytes) + growth + rates, probes)
    }

    /// Between readings: makes room in the live map if the kernel widened the sampling.
    pub fn heartbeat(&mut self) {
        let Some(tracer) = &mut self.tracer else { return };
        tracer.flush_log();
        if let Err(error) = tracer.evict() {
            self.shortfalls.note("sampled context counts", &error);
        }
    }

    /// Takes a reading.
    pub fn sample(&mut self, watch: &Watch) {
        let readout = self.tracer.as_mut().map(Tracer::read).transpose();
        let mut contexts = match readout {
            Ok(readout) => readout.map(|readout| ContextSample::new(&readout)),
            Err(error) => {
                self.shortfalls.note("context counts", &error);
                None
            }
        };
        let at = Instant::now();
        // Behind an execve this is another program, behind its end none.
        let is_alive = watch.state() == State::Running;
        let process =
            if is_alive { ProcessSample::read(watch.process()) } else { ProcessSample::default() };
        let node = NodeSample::read(&self.hierarchies);
        let cgroup = is_alive.then(|| CgroupSample::read(watch.process(), &self.hierarchies));
        let cgroup = cgroup.flatten();
        let runtime = if is_alive { self.counters() } else { None };
        self.observe(at, watch, is_alive, false);
        if let (Some(contexts), Some(live)) = (&mut contexts, &self.live) {
            contexts.note_collected(&self.gone(live));
        }
        self.observe_growth(watch, false);
        // Last, since they are compared with the goroutines, which are read next.
        self.observe_rates(watch, false);
        if is_alive {
            self.look_around(watch, cgroup.as_ref(), false);
        }
        self.history.push(Snapshot { at, process, node, cgroup, contexts, runtime });
    }

    /// Looks at everything that the target's memory and its files tell.
    fn look_around(&mut self, watch: &Watch, cgroup: Option<&CgroupSample>, thorough: bool) {
        self.observe_goroutines(watch, thorough);
        self.observe_heap(thorough);
        self.observe_resident(watch, cgroup, thorough);
        if let Some(pods) = &mut self.pods {
            pods.observe();
        }
    }

    /// Of the outstanding contexts, by site, those that are no more.
    fn gone(&self, live: &[LiveEntry]) -> HashMap<u64, u64> {
        let mut gone: HashMap<u64, u64> = HashMap::new();
        let Some(holdings) = &self.holdings else { return gone };
        for entry in live.iter().filter(|entry| holdings.is_gone(entry)) {
            *gone.entry(entry.context.site).or_default() += 1;
        }
        gone
    }

    fn counters(&mut self) -> Option<RuntimeCounters> {
        let read = RuntimeCounters::read(&self.look.as_ref()?.runtime());
        read.inspect_err(|error| self.shortfalls.note(COUNTERS, error)).ok()
    }

    fn observe_heap(&mut self, thorough: bool) {
        if let Some(Err(error)) = self.heap.as_mut().map(|heap| heap.observe(thorough)) {
            self.shortfalls.note(HEAP, error);
        }
    }

    fn observe_resident(&mut self, watch: &Watch, cgroup: Option<&CgroupSample>, thorough: bool) {
        if let Err(error) = self.resident.observe(watch.process(), cgroup, thorough) {
            self.shortfalls.note(MAPPINGS, error);
        }
    }

    fn observe_goroutines(&mut self, watch: &Watch, thorough: bool) {
        let at = Instant::now();
        let observed = self.goroutines.as_mut().map(|known| known.observe(watch, at, thorough));
        match observed {
            Some(Ok(Some(sample))) => {
                self.compare_rates(watch, &sample);
                self.history.push_goroutines(at, sample);
            }
            Some(Err(error)) => self.shortfalls.note(GOROUTINES, error),
            Some(Ok(None)) | None => {}
        }
    }

    /// Lists the outstanding contexts and, as long as there is a memory, looks at them there.
    fn observe(&mut self, at: Instant, watch: &Watch, is_alive: bool, thorough: bool) {
        let Some(tracer) = &self.tracer else { return };
        let live = match tracer.live() {
            Ok(live) => live,
            Err(error) => {
                self.live = None;
                return self.shortfalls.note(AGES, &error);
            }
        };
        let mut sites: HashSet<u64> = live.iter().map(|entry| entry.context.site).collect();
        sites.extend(self.history.sites().keys());
        self.natures.look_up(sites.iter(), tracer, self.executable, watch);
        let (executable, natures) = (self.executable, self.natures.known());
        let observed = self.holdings.as_mut().filter(|_| is_alive).map(|holdings| {
            holdings.observe(executable, (&live, natures), at.monotonic_ns, thorough)
        });
        if let Some(Err(error)) = observed {
            self.shortfalls.note(HOLDERS, format!("{error:#}"));
        }
        self.live = Some(live);
    }

    /// What is known now beside the series.
    pub fn moment(&self) -> Moment {
        let start_ns = self.history.start().monotonic_ns;
        let holdings = self.holdings.as_ref();
        Moment {
            births_s: self.births_s(),
            natures: self.natures.known().clone(),
            holdings: holdings.map(|holdings| holdings.sites().clone()).unwrap_or_default(),
            goroutines: self.goroutines.as_ref().and_then(|known| known.so_far(start_ns)),
            pods: self.pods.as_ref().and_then(PodWatch::counts),
        }
    }

    /// Searches the heap for contexts that hold others.
    fn search(&mut self) {
        let executable = self.executable;
        if let Some(Err(error)) = self.holdings.as_mut().map(|known| known.search(executable)) {
            self.shortfalls.note(HOLDERS, format!("{error:#}"));
        }
    }

    /// Reads the survivors and the call chains, and detaches.
    pub fn finish(mut self, watch: &Watch) -> Found {
        let is_alive = watch.state() == State::Running;
        self.observe(Instant::now(), watch, is_alive, true);
        self.observe_growth(watch, true);
        self.observe_rates(watch, true);
        if is_alive {
            let cgroup = CgroupSample::read(watch.process(), &self.hierarchies);
            self.look_around(watch, cgroup.as_ref(), true);
            self.search();
        }
        let births_s = self.births_s();
        let origins = self.tracer.take().as_ref().map(Tracer::origins).transpose();
        let origins = origins.unwrap_or_else(|error| {
            self.shortfalls.note("call chains", &error);
            None
        });
        let holdings = self.holdings.as_ref();
        let start_ns = self.history.start().monotonic_ns;
        Found {
            moment: Moment {
                births_s,
                natures: self.natures.known().clone(),
                holdings: holdings.map(|holdings| holdings.sites().clone()).unwrap_or_default(),
                goroutines: self.goroutines.and_then(|known| known.finish(start_ns)),
                pods: self.pods.as_ref().and_then(PodWatch::counts),
            },
            holders: holdings.map(Holdings::holders).unwrap_or_default(),
            origins: origins.unwrap_or_default(),
            heap: self.heap.and_then(HeapWatch::finish),
            resident: self.resident.finish(),
            pods: self.pods.and_then(PodWatch::finish),
            growth: self.growth.and_then(GrowthWatch::finish),
            rates: self.rates.and_then(|rates| rates.finish(&self.history)),
            history: self.history,
            unavailable: self.shortfalls.into_list(),
        }
    }

    /// Births of the survivors by site.
    fn births_s(&self) -> Option<HashMap<u64, Vec<f64>>> {
        let live = self.live.as_ref().filter(|_| self.shortfalls.spare_counts())?;
        let start_ns = self.history.start().monotonic_ns;
        let is_gone =
            |entry: &&LiveEntry| self.holdings.as_ref().is_some_and(|known| known.is_gone(entry));
        let mut births_s = HashMap::<u64, Vec<f64>>::new();
        for LiveEntry { context, .. } in live.iter().filter(|entry| !is_gone(entry)) {
            let birth_ns = context.created_ns.saturating_sub(start_ns);
            births_s.entry(context.site).or_default().push(birth_ns as f64 / 1e9);
        }
        Some(births_s)
    }
}
