//! A verdict at any moment of a trace: the series and what is known beside them in, the verdict out.

use std::collections::HashMap;

use super::{
    Evidence, GoroutineEvidence, SeriesEvidence, Verdict, WINDOW_MIN_S, assess,
    explain_with_stacks, forethought::look_ahead, weigh_goroutines, weigh_series,
};
use crate::{
    history::History,
    memory::goroutines::Creation,
    snapshot::{ContextNature, GoroutineSurvey, HoldingSample},
};

/// What is known at one moment beside the series.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// Births of the tracked survivors among the contexts by site, in seconds since the start; none
    /// where they could not be counted.
    pub births_s: Option<HashMap<u64, Vec<f64>>>,
    /// What the contexts of the sites are by their making, where known.
    pub natures: HashMap<u64, ContextNature>,
    /// What keeps a sample of the outstanding contexts, by site; empty when it could not be read.
    pub holdings: HashMap<u64, HoldingSample>,
    /// None where goroutines could not be read.
    pub goroutines: Option<GoroutineMoment>,
    /// Pods at the beginning and now, on the node of a kubelet.
    pub pods: Option<[u64; 2]>,
}

/// What is known of the goroutines at one moment.
#[derive(Debug, Clone, Default)]
pub struct GoroutineMoment {
    /// When the survivors began that were not there at first, in seconds since the start.
    pub births_s: HashMap<Creation, Vec<f64>>,
    /// What they do, where that was looked up.
    pub surveys: HashMap<Creation, GoroutineSurvey>,
}

/// What holds for the whole of a trace.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Contexts are made and cancelled at points that are probed.
    pub contexts_are_probed: bool,
    /// Every way to release a context is probed.
    pub releases_complete: bool,
    /// The heap is garbage-collected: it grows for a while without leaking.
    pub garbage_collected: bool,
    /// Age of the process when tracing began, in seconds, where known.
    pub uptime_at_start_s: Option<f64>,
}

/// What all of it means.
pub fn judge(history: &History, moment: &Moment, circumstances: &Circumstances) -> Verdict {
    let evidence = evidence(history, moment, circumstances);
    let mut verdict = assess(&evidence);
    if let Some(goroutines) = &moment.goroutines {
        let goroutine_evidence = GoroutineEvidence {
            history: history.goroutines(),
            births_s: &goroutines.births_s,
            surveys: &goroutines.surveys,
            process_is_young: evidence.is_young(),
            uptime_s: circumstances.uptime_at_start_s,
            contexts_are_idle: contexts_are_idle(&evidence, circumstances),
            window_s: history.goroutines().times_s().last().copied().unwrap_or(0.0),
            trace_s: history.duration_s(),
        };
        verdict = weigh_goroutines(verdict, &goroutine_evidence);
        verdict = explain_with_stacks(&evidence, verdict);
    }
    if history.duration_s() >= WINDOW_MIN_S {
        let series = SeriesEvidence::of(history, verdict.rss_noise_bytes, moment.pods);
        verdict.floor_bytes_per_s = series.floor_bytes_per_s().or(verdict.floor_bytes_per_s);
        verdict = weigh_series(verdict, &series);
        look_ahead(&mut verdict, history, &series);
    }
    verdict
}

/// The part of it that is about contexts and the RSS.
pub fn evidence<'a>(
    history: &'a History,
    moment: &'a Moment,
    circumstances: &Circumstances,
) -> Evidence<'a> {
    Evidence {
        history,
        births_s: moment.births_s.as_ref(),
        natures: &moment.natures,
        holdings: &moment.holdings,
        releases_complete: circumstances.releases_complete,
        garbage_collected: circumstances.garbage_collected,
        uptime_at_start_s: circumstances.uptime_at_start_s,
    }
}

/// Whether it is known that no context was made or cancelled, or there is nothing that could.
fn contexts_are_idle(evidence: &Evidence<'_>, circumstances: &Circumstances) -> bool {
    let counted = evidence.history.contexts().filter(|_| evidence.births_s.is_some());
    let idle = counted.map(|contexts| contexts.probe_hits == 0 && contexts.lost.is_empty());
    idle.unwrap_or(!circumstances.contexts_are_probed)
}
