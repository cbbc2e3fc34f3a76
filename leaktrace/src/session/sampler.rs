//! Takes readings of target, node and maps, and keeps the kernel's live map in bounds.
//!
//! A reading that fails in part is a reading with a part missing, said once under `unavailable`.

use std::{collections::HashMap, num::NonZeroU32, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{executable::Executable, holding::Holdings, look::Look};
use crate::{
    bpf::{BpfError, Limits, SiteOrigin, Target, Tracer},
    config::TraceConfig,
    history::History,
    probe::Unavailable,
    snapshot::{
        ContextSample, HolderSample, HoldingSample, HostSample, Instant, ProcessSample, Snapshot,
    },
    target::Watch,
};

/// What memory tells of contexts, where it can be read.
const HOLDERS: &str = "holders of contexts";

/// Sampling state and readings of one trace.
pub struct Sampler {
    tracer: Option<Tracer>,
    history: History,
    /// None where no contexts are counted, or memory is closed.
    holdings: Option<Holdings>,
    unavailable: Vec<Unavailable>,
}

/// What the readings found.
pub struct Found {
    pub history: History,
    /// Births of the tracked survivors by site, in seconds since the start.
    pub births_s: Option<HashMap<u64, Vec<f64>>>,
    /// What keeps a sample of the outstanding contexts, by site; empty when it could not be read.
    pub holdings: HashMap<u64, HoldingSample>,
    /// Contexts that hold others, most children first.
    pub holders: Vec<HolderSample>,
    /// By site.
    pub origins: HashMap<u64, SiteOrigin>,
    pub unavailable: Vec<Unavailable>,
}

impl Sampler {
    /// Loads and attaches what the plan asks for.
    pub fn attach(config: &TraceConfig, watch: &Watch, executable: &Executable) -> Result<Self> {
        let points = &executable.plan().points;
        let tracer = if points.is_empty() {
            None
        } else {
            let pid = u32::try_from(watch.identity().pid).ok().and_then(NonZeroU32::new);
            let pid = pid.context("the target has no valid pid")?;
            let exe = PathBuf::from(format!("/proc/{pid}/exe"));
            let limits = Limits { live_entries: config.live_entries, log: config.bpf_log };
            let mut tracer = Tracer::load(Target { pid, exe, code: executable.go_code() }, limits)?;
            tracer.attach(points)?;
            Some(tracer)
        };
        let history = History::new(Instant::now());
        let mut this = Self { tracer, history, holdings: None, unavailable: Vec::new() };
        if this.tracer.is_some() {
            match Look::open(watch.process(), executable) {
                Ok(look) => {
                    let holdings = this.holdings.insert(Holdings::new(look));
                    if let Err(error) = holdings.search(executable) {
                        this.give_up_on(HOLDERS, format!("{error:#}"));
                    }
                }
                Err(error) => this.give_up_on(HOLDERS, format!("{error:#}")),
            }
        }
        Ok(this)
    }

    /// The readings so far.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Kernel memory in bytes and probe hits so far.
    pub fn costs(&self) -> (u64, u64) {
        let hits = self.history.contexts().map_or(0, |contexts| contexts.probe_hits);
        (self.tracer.as_ref().map_or(0, Tracer::map_bytes), hits)
    }

    /// Between readings: makes room in the live map if the kernel widened the sampling.
    pub fn heartbeat(&mut self) {
        let Some(tracer) = &mut self.tracer else { return };
        tracer.flush_log();
        if let Err(error) = tracer.evict() {
            self.give_up_on("sampled context counts", &error);
        }
    }

    /// Takes a reading.
    pub fn sample(&mut self, watch: &Watch) {
        let readout = self.tracer.as_mut().map(Tracer::read).transpose();
        let contexts = match readout {
            Ok(readout) => readout.map(|readout| ContextSample::new(&readout)),
            Err(error) => {
                self.give_up_on("context counts", &error);
                None
            }
        };
        let at = Instant::now();
        if let Some(holdings) = &mut self.holdings {
            holdings.note_collections(at.monotonic_ns);
        }
        self.history.push(Snapshot {
            at,
            process: ProcessSample::read(watch.process()),
            host: HostSample::read(),
            contexts,
        });
    }

    /// Reads the survivors and the call chains, and detaches.
    pub fn finish(mut self, executable: &Executable) -> Found {
        let tracer = self.tracer.take();
        let counts_have_a_gap = self.unavailable.iter().any(|missing| missing.what != HOLDERS);
        let births_s = tracer.as_ref().map(|tracer| self.births_s(tracer)).transpose();
        let holders = self.holders(executable);
        let holdings = tracer.as_ref().map(|tracer| self.holdings(tracer, executable));
        let origins = tracer.as_ref().map(Tracer::origins).transpose();
        let births_s = births_s.unwrap_or_else(|error| {
            self.give_up_on("the ages of outstanding contexts", &error);
            None
        });
        let origins = origins.unwrap_or_else(|error| {
            self.give_up_on("call chains", &error);
            None
        });
        // Counts with a gap are no ground for a judgement of sites.
        let births_s = births_s.filter(|_| !counts_have_a_gap);
        Found {
            history: self.history,
            births_s,
            holdings: holdings.unwrap_or_default(),
            holders,
            origins: origins.unwrap_or_default(),
            unavailable: self.unavailable,
        }
    }

    /// Contexts that hold others, and what became of them since the beginning.
    fn holders(&mut self, executable: &Executable) -> Vec<HolderSample> {
        let found = self.holdings.as_mut().map(|holdings| holdings.search(executable));
        found.transpose().map(Option::unwrap_or_default).unwrap_or_else(|error| {
            self.give_up_on(HOLDERS, format!("{error:#}"));
            Vec::new()
        })
    }

    /// What keeps the outstanding contexts. What they are found to be is not older than they.
    fn holdings(
        &mut self,
        tracer: &Tracer,
        executable: &Executable,
    ) -> HashMap<u64, HoldingSample> {
        let Some(holdings) = self.holdings.take() else { return HashMap::new() };
        let mut outstanding = holdings.outstanding();
        let listed = tracer.for_each_live(|address, context| {
            outstanding.add(context.site, address, context.created_ns);
        });
        let read =
            listed.map_err(Into::into).and_then(|()| holdings.read(executable, &outstanding));
        read.unwrap_or_else(|error| {
            self.give_up_on(HOLDERS, format!("{error:#}"));
            HashMap::new()
        })
    }

    /// Births of the survivors by site. What the collector has freed is none, though no event told
    /// it: it is noted as collected.
    fn births_s(&mut self, tracer: &Tracer) -> Result<HashMap<u64, Vec<f64>>, BpfError> {
        let start_ns = self.history.start().monotonic_ns;
        let (mut births_s, mut freed) = (HashMap::<u64, Vec<f64>>::new(), HashMap::new());
        let mut list = |is_freed: &dyn Fn(u64) -> bool| {
            tracer.for_each_live(|address, context| {
                if is_freed(address) {
                    *freed.entry(context.site).or_default() += 1;
                    return;
                }
                let birth_ns = context.created_ns.saturating_sub(start_ns);
                births_s.entry(context.site).or_default().push(birth_ns as f64 / 1e9);
            })
        };
        match &self.holdings {
            Some(holdings) => holdings.with_freed(list)?,
            None => list(&|_| false)?,
        }
        let divisor = self.history.contexts().map_or(1, |contexts| contexts.sample_divisor);
        freed.values_mut().for_each(|count: &mut u64| *count = count.saturating_mul(divisor));
        self.history.note_collected(&freed);
        Ok(births_s)
    }

    fn give_up_on(&mut self, what: &str, error: impl std::fmt::Display) {
        if self.unavailable.iter().all(|missing| missing.what != what) {
            self.unavailable.push(Unavailable::new(what, error));
        }
    }
}
