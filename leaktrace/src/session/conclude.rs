//! From what a trace found to its report: judged, named, forecast.
//!
//! Non-goals: reading anything of the target but the names of its code.

use std::{os::unix::ffi::OsStrExt as _, time::SystemTime};

use super::{Executable, goroutines, sampler::Found, uptime_s};
use crate::{
    config::TraceConfig,
    display::printable,
    forecast::{Forecast, Observations, forecast},
    history::History,
    overhead::Overhead,
    probe::Unavailable,
    report::{
        Ending, GoroutineSites, GrowthInputs, GrowthSection, HeapTraffic, Inputs, NamedSite,
        Report, Target, TargetState, build, growth_section, heap_traffic, memory_section,
    },
    signatures::Families,
    snapshot::{OomSample, RollupSample},
    target::Watch,
    verdict::{Circumstances, Verdict, WINDOW_MIN_S, evidence, explained_by_heap, headroom, judge},
};

/// A trace that has ended.
pub struct Conclusion<'a> {
    pub config: &'a TraceConfig,
    pub watch: &'a Watch,
    pub executable: &'a Executable,
    pub families: &'a Families,
    pub circumstances: &'a Circumstances,
    pub ending: Ending,
    /// smaps_rollup at the start and the end.
    pub rollups: [Option<RollupSample>; 2],
    pub overhead: Overhead,
}

impl Conclusion<'_> {
    /// What the trace found, as a report.
    pub fn report(self, mut found: Found) -> Report {
        let names = self.executable.name_sites(self.watch, &found.origins, self.families);
        let nature = |(site, name): (&u64, &NamedSite)| (*site, name.nature);
        found.moment.natures.extend(names.iter().map(nature));
        let verdict = judge(&found.history, &found.moment, self.circumstances);
        let evidence = evidence(&found.history, &found.moment, self.circumstances);
        let heap_growth = found.heap.as_ref().and_then(|moments| moments.compared().growth());
        let explained_by_heap = heap_growth.and_then(|growth| explained_by_heap(&evidence, growth));
        let heap_headroom = headroom(&evidence);
        let goroutines = self.goroutines(&found, &verdict);
        let mut unavailable = self.executable.plan().unavailable.clone();
        if goroutines.is_none() && found.rates.is_some() {
            let why = "the goroutines could not be read, so there is nothing to add them to";
            unavailable.push(Unavailable::new("starts and ends of goroutines", why));
        }
        let resident = found.resident.as_ref();
        let memory = resident.map(|at| memory_section(&at.first, &at.last, at.seconds));
        let (heap, growth) = (self.heap(&found), self.growth(&found));
        unavailable.extend(found.unavailable);
        build(Inputs {
            target: self.target(),
            history: &found.history,
            ending: self.ending,
            forecast: self.foresee(&found.history, &verdict),
            oom: self.oom(),
            verdict,
            names,
            holdings: found.moment.holdings,
            holders: found.holders,
            rollups: self.rollups,
            heap,
            pods: found.pods,
            goroutines,
            growth,
            memory,
            explained_by_heap,
            heap_headroom,
            overhead: self.overhead,
            unavailable,
        })
    }

    fn goroutines(&self, found: &Found, verdict: &Verdict) -> Option<GoroutineSites> {
        let known = found.moment.goroutines.as_ref()?;
        let mut symbolizer = self.executable.symbolizer(self.watch)?;
        let mut section = goroutines::section(known, verdict, &found.history, &mut symbolizer);
        section.advise(self.families, self.executable.program());
        if let Some(rates) = &found.rates {
            section.add_rates(&rates.findings(), &mut symbolizer);
        }
        Some(section)
    }

    fn heap(&self, found: &Found) -> Option<HeapTraffic> {
        let looks = found.heap.as_ref()?;
        Some(heap_traffic(&looks.compared(), &mut self.executable.symbolizer(self.watch)?))
    }

    fn growth(&self, found: &Found) -> Option<GrowthSection> {
        let growth = found.growth.as_ref()?;
        let inputs = GrowthInputs {
            sample: &growth.sample,
            origins: &growth.origins,
            kinds: &growth.kinds,
            mappings_counted: growth.mappings_counted,
        };
        Some(growth_section(&inputs, &mut self.executable.symbolizer(self.watch)?))
    }

    /// What runs there by now may be another program.
    fn oom(&self) -> OomSample {
        match self.ending.target_state() {
            TargetState::Running => OomSample::read(self.watch.process()),
            TargetState::Ended | TargetState::Replaced => OomSample::default(),
        }
    }

    /// When the memory runs out, as the window went.
    fn foresee(&self, history: &History, verdict: &Verdict) -> Forecast {
        let nothing = |why: &str| Forecast {
            assumptions: vec![format!("nothing is forecast: {why}")],
            ..Forecast::default()
        };
        if self.ending.target_state() != TargetState::Running {
            return nothing("the target has ended, or is another program");
        }
        if history.duration_s() < WINDOW_MIN_S {
            return nothing("the window is too short");
        }
        // Growth that leaking contexts explain is no swing of the heap.
        let is_sure =
            verdict.contexts_leak && verdict.explained.is_some_and(|share| share.low > 0.0);
        let points = history.points();
        let nodes: Vec<_> = points.iter().map(|point| (point.at_s, point.node.clone())).collect();
        let cgroups: Vec<_> =
            points.iter().filter_map(|point| Some((point.at_s, point.cgroup.clone()?))).collect();
        let capacity = nodes.last().and_then(|(_, node)| node.capacity_bytes);
        forecast(&Observations {
            rss_anon: &history.series(|process| process.rss_anon_bytes),
            noise_bytes: if is_sure { 0.0 } else { verdict.rss_noise_bytes },
            nodes: &nodes,
            cgroups: &cgroups,
            eviction_threshold_bytes: self.config.eviction_threshold.bytes(capacity),
        })
    }

    fn target(&self) -> Target {
        let (watch, executable) = (self.watch, self.executable);
        let (identity, now) = (watch.identity(), SystemTime::now());
        let (start_time, uptime_s) = watch.start_time().map_or((None, None), |start| {
            (Some(humantime::format_rfc3339_seconds(start).to_string()), uptime_s(watch, now))
        });
        Target {
            pid: identity.pid,
            start_time,
            uptime_s,
            comm: printable(identity.comm.as_bytes()),
            exe: printable(identity.exe.as_os_str().as_bytes()),
            build_id: executable.build_id(),
            go_version: executable.go_version(),
            module: executable.module(),
            version: executable.program_version().map(|found| found.version.clone()),
            version_from: executable.program_version().map(|found| found.proof.clone()),
            unit: identity.unit.as_ref().map(|unit| printable(unit.as_bytes())),
            cgroup: identity.cgroup.as_ref().map(|cgroup| printable(cgroup.as_bytes())),
            state: self.ending.target_state(),
        }
    }
}
