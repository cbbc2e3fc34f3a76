//! Findings in, report out.

use std::{
    collections::{BTreeMap, HashMap},
    time::SystemTime,
};

use super::{
    goroutine_sites::GoroutineSites,
    growth::GrowthSection,
    heap::HeapTraffic,
    memory::MemorySection,
    pods::PodsSection,
    resources::{node, rss},
    schema::{
        Contexts, Ending, HolderSection, Report, Rss, SCHEMA_VERSION, Site, SiteHolding, Target,
        TargetState, VerdictSection, Window,
    },
};
use crate::{
    binary::Frame,
    display,
    forecast::Forecast,
    history::{History, SiteSeries},
    memory::Holder,
    model::{Explained, retained_heap_bytes},
    overhead::Overhead,
    probe::Unavailable,
    signatures::Advice,
    snapshot::{
        ContextNature, ContextSample, HolderSample, HoldingSample, OomSample, RollupSample,
    },
    symbolize::creator,
    verdict::{SiteJudgement, SiteState, State, Verdict},
};

/// A site's name.
#[derive(Debug, Clone, Default)]
pub struct NamedSite {
    /// Its call chain, innermost first.
    pub frames: Vec<Frame>,
    /// What its contexts are by their making.
    pub nature: ContextNature,
    /// Type of the parent they hang under, where known.
    pub parent_type: Option<String>,
    /// What such a site is known for.
    pub advice: Vec<Advice>,
}

/// What a trace found.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Who was traced.
    pub target: Target,
    /// The series.
    pub history: &'a History,
    /// What ended the trace.
    pub ending: Ending,
    /// What they mean.
    pub verdict: Verdict,
    /// Names by site.
    pub names: HashMap<u64, NamedSite>,
    /// What keeps a sample of the outstanding contexts, by site.
    pub holdings: HashMap<u64, HoldingSample>,
    /// Contexts that hold others, also without a site.
    pub holders: Vec<HolderSample>,
    /// smaps_rollup at the start and the end.
    pub rollups: [Option<RollupSample>; 2],
    /// The Go heap by call chain.
    pub heap: Option<HeapTraffic>,
    /// The pods of the node, of a kubelet.
    pub pods: Option<PodsSection>,
    /// Growth by call chain.
    pub growth: Option<GrowthSection>,
    /// What the memory is used for.
    pub memory: Option<MemorySection>,
    /// What the heap profile's growth explains of the RSS's.
    pub explained_by_heap: Option<Explained>,
    /// Resident bytes for each live one.
    pub heap_headroom: Option<[f64; 2]>,
    /// When the memory runs out.
    pub forecast: Forecast,
    /// Who would be killed first.
    pub oom: OomSample,
    /// The goroutines by `go` statement.
    pub goroutines: Option<GoroutineSites>,
    /// What it cost.
    pub overhead: Overhead,
    /// What could not be had.
    pub unavailable: Vec<Unavailable>,
}

/// Puts the report together.
pub fn build(inputs: Inputs<'_>) -> Report {
    let Inputs {
        target,
        history,
        ending,
        verdict,
        mut names,
        holdings,
        holders,
        rollups,
        heap,
        pods,
        goroutines,
        growth,
        memory,
        explained_by_heap,
        heap_headroom,
        forecast,
        oom,
        overhead,
        unavailable,
    } = inputs;
    let contexts = history.contexts().map(|totals| {
        let judgements: HashMap<u64, SiteJudgement> = verdict.sites.iter().copied().collect();
        contexts(history, totals, &judgements, &mut names, (&holdings, &holders))
    });
    let mut lost: BTreeMap<String, u64> = BTreeMap::new();
    let of_growth = growth.iter().flat_map(|growth| &growth.lost);
    lost.extend(of_growth.map(|(why, count)| (format!("growth: {why}"), *count)));
    let rates = goroutines.as_ref().and_then(|goroutines| goroutines.rates.as_ref());
    let of_rates = rates.iter().flat_map(|rates| &rates.lost);
    lost.extend(of_rates.map(|(why, count)| (format!("goroutines: {why}"), *count)));
    let of_contexts = history.contexts().into_iter().flat_map(|totals| &totals.lost).copied();
    lost.extend(of_contexts.map(|(reason, count)| (reason.name().to_owned(), count)));
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        leaktrace_version: env!("CARGO_PKG_VERSION").to_owned(),
        window: window(history, ending),
        rss: Rss {
            explained_by_sites: verdict.explained,
            explained_by_heap,
            heap_headroom,
            ..rss(history, verdict.rss, rollups)
        },
        node: node(history, oom),
        forecast,
        verdict: VerdictSection {
            summary: summary(&target, &verdict, contexts.as_ref(), goroutines.as_ref()),
            state: verdict.state,
            confidence_ratio: verdict.confidence_ratio,
            floor_bytes_per_s: verdict.floor_bytes_per_s,
            floor_contexts_per_s: verdict.floor_contexts_per_s,
            floor_goroutines_per_s: verdict.floor_goroutines_per_s,
            reasons: reasons(target.state, unsettled(ending, verdict.state), verdict.reasons),
            ahead: verdict.ahead,
        },
        target,
        contexts,
        goroutines,
        pods: None,
        growth,
        memory,
        heap,
        overhead,
        lost,
        unavailable,
    };
    report.pods = pods.map(|mut pods| {
        pods.compare(&report);
        pods
    });
    report
}

/// What settles a trace is the answer that has stood; the last look is more thorough.
fn unsettled(ending: Ending, state: State) -> Option<String> {
    let changed = ending == Ending::Settled && !matches!(state, State::Leak | State::NoLeak);
    changed.then(|| "the last, thorough look changed the answer that had settled".to_owned())
}

fn reasons(state: TargetState, first: Option<String>, reasons: Vec<String>) -> Vec<String> {
    let mut reasons: Vec<_> = first.into_iter().chain(reasons).collect();
    let early = match state {
        TargetState::Running => return reasons,
        TargetState::Ended => "the target ended during the trace: this is what was seen until then",
        TargetState::Replaced => {
            "the target executed a file during the trace: this is what was seen until then"
        }
    };
    reasons.insert(0, early.to_owned());
    reasons
}

fn window(history: &History, ended_by: Ending) -> Window {
    let rfc3339 = |time: SystemTime| humantime::format_rfc3339_millis(time).to_string();
    Window {
        start: rfc3339(history.start().wall),
        end: rfc3339(history.end().wall),
        duration_s: history.duration_s(),
        samples: history.snapshots(),
        ended_by,
    }
}

fn contexts(
    history: &History,
    totals: &ContextSample,
    judgements: &HashMap<u64, SiteJudgement>,
    names: &mut HashMap<u64, NamedSite>,
    (holdings, seen): (&HashMap<u64, HoldingSample>, &[HolderSample]),
) -> Contexts {
    let mut sites: Vec<(Interest, Site)> = history
        .sites()
        .iter()
        .map(|(id, series)| {
            let judgement = judgements.get(id).copied();
            let name = names.remove(id).unwrap_or_default();
            (Interest::of(series, judgement), site(*id, series, judgement, name, holdings.get(id)))
        })
        .collect();
    sites.sort_by(|(a, _), (b, _)| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal));
    let sum = |value: fn(&SiteSeries) -> u64| history.sites().values().map(value).sum();
    Contexts {
        how: match totals.sample_divisor {
            1 => "counted".to_owned(),
            divisor => format!("created counted, the rest sampled 1 in {divisor} and scaled"),
        },
        created: sum(|series| series.latest.created),
        released: sum(|series| series.latest.released),
        collected: sum(|series| series.latest.collected),
        outstanding: sum(|series| series.latest.outstanding),
        released_untracked: totals.released_untracked,
        repeated_cancels: totals.repeated_cancels,
        sample_ratio: 1.0 / totals.sample_divisor as f64,
        sites: sites.into_iter().map(|(_, site)| site).collect(),
        holders: holders(holdings, seen),
    }
}

/// Children from which on a holder without a site is worth a line.
const CHILDREN_MIN: u64 = 16;

/// The holders of all sites and those that were found by looking, each once.
fn holders(holdings: &HashMap<u64, HoldingSample>, seen: &[HolderSample]) -> Vec<HolderSection> {
    let section = |holder: &Holder| HolderSection {
        address: format!("{:#x}", holder.address),
        type_name: holder.type_name,
        children: holder.children,
        growth_per_s: None,
        sites: Vec::new(),
    };
    let mut by_address: BTreeMap<u64, HolderSection> = BTreeMap::new();
    for sample in seen.iter().filter(|sample| sample.holder.children >= CHILDREN_MIN) {
        let growth_per_s = sample.growth_per_s;
        let section = HolderSection { growth_per_s, ..section(&sample.holder) };
        by_address.insert(sample.holder.address, section);
    }
    for (site, holding) in holdings {
        let Some(holder) = &holding.holder else { continue };
        let section = by_address.entry(holder.address).or_insert_with(|| section(holder));
        // Read later than the search, and named in the reasons.
        section.children = holder.children;
        section.sites.push(format!("{site:016x}"));
    }
    let mut holders: Vec<_> = by_address.into_values().collect();
    holders.iter_mut().for_each(|holder| holder.sites.sort_unstable());
    holders.sort_by_key(|holder| std::cmp::Reverse(holder.children));
    holders
}

fn site_holding(holding: &HoldingSample) -> SiteHolding {
    SiteHolding {
        sampled: holding.sampled(),
        held: holding.held,
        until_deadline: holding.until_deadline,
        kept: holding.kept,
        unheld: holding.unheld,
        freed: holding.freed,
        unknown: holding.unknown,
        cancel_func_lost: holding.func_lost,
        cancel_func_left: holding.func_left,
    }
}

/// The order of sites: verdict, growth, then sheer numbers.
#[derive(PartialEq, PartialOrd)]
struct Interest {
    severity: u8,
    growth_per_s: f64,
    outstanding: u64,
    created: u64,
}

impl Interest {
    fn of(series: &SiteSeries, judgement: Option<SiteJudgement>) -> Self {
        let severity = judgement.map_or(0, |judgement| match judgement.state {
            SiteState::Clean => 0,
            SiteState::Collectable => 1,
            SiteState::Unresolved
            | SiteState::Recent
            | SiteState::Stopped
            | SiteState::Balanced
            | SiteState::HeldByOthers => 2,
            SiteState::BoundedByDeadline | SiteState::ReleasedLate => 3,
            SiteState::NeverReleased | SiteState::KeptByOthers => 4,
            SiteState::Leak => 5,
        });
        Self {
            severity,
            growth_per_s: judgement.and_then(|j| j.grows()).map_or(0.0, |growth| growth.per_s),
            outstanding: series.latest.outstanding,
            created: series.latest.created,
        }
    }
}

fn site(
    id: u64,
    series: &SiteSeries,
    judgement: Option<SiteJudgement>,
    name: NamedSite,
    holding: Option<&HoldingSample>,
) -> Site {
    let growth = judgement.and_then(|judgement| judgement.grows());
    let read = holding.and_then(|holding| holding.retained_bytes);
    let reached = holding.and_then(|holding| holding.reached_bytes);
    let retained_bytes_each = read.unwrap_or_else(|| retained_heap_bytes(name.nature.kind));
    Site {
        id: format!("{id:016x}"),
        frames: name.frames,
        created: series.latest.created,
        released: series.latest.released,
        collected: series.latest.collected,
        outstanding: series.latest.outstanding,
        pinned: holding.and_then(HoldingSample::pinned),
        holding: holding.map(site_holding),
        advice: name.advice,
        parent_type: name.parent_type,
        growth_per_s: growth.map(|growth| growth.per_s),
        growth_interval: growth.map(|growth| [growth.low, growth.high]),
        retained_bytes_each,
        reached_bytes_each: reached,
        estimated_bytes_per_s: growth
            .map(|growth| growth.per_s * reached.unwrap_or(0).max(retained_bytes_each) as f64),
        retained_how: match read {
            Some(_) => "read from memory: the objects of the median context",
            None => "modelled: least heap bytes of a forgotten context of this kind",
        },
        usual_lifetime_s: judgement.and_then(|judgement| judgement.usual_lifetime_s),
        horizon_s: judgement.map_or(0.0, |judgement| judgement.horizon_s),
        old: judgement.map_or(0, |judgement| judgement.old),
        verdict: match judgement.map(|judgement| judgement.state) {
            _ if ContextSample::is_overflow(id) => "unknown_site",
            Some(state) => state.word(),
            None => "not_judged",
        },
    }
}

/// The answer in one sentence.
fn summary(
    target: &Target,
    verdict: &Verdict,
    contexts: Option<&Contexts>,
    goroutines: Option<&GoroutineSites>,
) -> String {
    let who = format!("{} (pid {})", target.comm, target.pid);
    let worst = contexts.and_then(|contexts| contexts.sites.first());
    let started = goroutines.and_then(GoroutineSites::leak_in_words);
    match (verdict.state, worst) {
        (State::Leak, _) if started.is_some() && !verdict.contexts_leak => {
            format!("{who} leaks {}", started.unwrap_or_default())
        }
        (State::Leak, Some(site)) => {
            let place = creator(&site.frames).map_or_else(
                || format!("site {}", site.id),
                |frame| format!("{} ({}:{})", frame.function, frame.file, frame.line),
            );
            let growth = display::rate(site.growth_per_s.unwrap_or(0.0));
            format!("{who} leaks contexts made in {place}: {growth} more every second")
        }
        (State::Suspect, _) => {
            format!("{who} may leak: something grows, but not all evidence agrees")
        }
        (State::NoLeak, worst) if verdict.floor_goroutines_per_s.is_some() => {
            let what = if worst.is_some() { "contexts and no goroutines" } else { "goroutines" };
            format!("{who} leaks no {what} faster than the floor")
        }
        (State::NoLeak, Some(_)) => format!("{who} leaks no contexts faster than the floor"),
        (State::NoLeak, None) => format!("{who} does not grow faster than the floor"),
        _ => format!("{who}: this trace can't tell whether it leaks"),
    }
}
