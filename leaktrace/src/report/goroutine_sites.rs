//! What the goroutines say of a trace: series, judgements and the survivors in, sites with names and
//! growth out.
//!
//! Non-goals: judging; one look at all goroutines (`inspection` has it).

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

use serde::Serialize;

use super::{
    goroutine_rates::{RatesSection, SiteRatesSection},
    inspection::incomplete,
};
use crate::{
    binary::Frame,
    display::rate,
    history::{GoroutineHistory, GoroutineSeries},
    memory::goroutines::{Creation, Label, Lost},
    model::{Slope, theil_sen},
    signatures::Advice,
    snapshot::{AGES_S, GoroutinePlace, GoroutineSurvey, OTHER_SITES},
    symbolize::Symbolizer,
    verdict::{SiteJudgement, SiteState},
};

/// Sites in the report: those that grow, then the largest.
const ROWS_MAX: usize = 100;
/// Places shown of a site.
const PLACES_MAX: usize = 4;

/// The goroutines over the trace, without the runtime's own.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GoroutineSites {
    /// Where the figures come from.
    pub how: &'static str,
    /// Readings taken.
    pub readings: u64,
    /// Alive at the last reading, exactly.
    pub live: u64,
    /// Alive at the first.
    pub live_first: u64,
    /// Theil-Sen slope of what is alive.
    pub growth_per_s: Option<f64>,
    /// Its 95 % interval.
    pub growth_interval: Option<[f64; 2]>,
    /// Seen to be new since the first reading: at least so many began.
    pub started: u64,
    /// By how much the numbers given out have grown: so many began, but for 16 per processor; the
    /// runtime's own are among them.
    pub numbers_given: u64,
    /// How many `go` statements were seen.
    pub sites_total: u64,
    /// Those that leak or grow, then the largest; last such as only the probes saw.
    pub sites: Vec<GoroutineSite>,
    /// Those that a reading saw, also such as have no row.
    #[serde(skip)]
    pub seen: BTreeSet<Creation>,
    /// Profiler labels, those that grow first.
    pub labels: Vec<LabelGrowth>,
    /// Goroutines with labels that have no row; who has two counts twice.
    pub labels_other: Ends,
    /// What the worst reading could not read.
    pub lost: Lost,
    /// What the probes counted; null without them.
    pub rates: Option<RatesSection>,
}

/// A figure at the first reading and at the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// At the first.
    pub first: u64,
    /// At the last.
    pub last: u64,
}

/// Goroutines of one `go` statement with the same first function.
#[derive(Debug, Clone, Serialize)]
pub struct GoroutineSite {
    /// By the addresses of both.
    pub id: String,
    /// The addresses themselves; none for sites beyond the limit.
    #[serde(skip)]
    pub creation: Option<Creation>,
    /// The `go` statement; null for the runtime's first goroutine, and for sites beyond the limit.
    pub creator: Option<Frame>,
    /// The function they begin with.
    pub start: Option<Frame>,
    /// Alive at the last reading, exactly.
    pub live: u64,
    /// Alive at the first.
    pub live_first: u64,
    /// Theil-Sen slope of what is alive.
    pub growth_per_s: Option<f64>,
    /// Its 95 % interval.
    pub growth_interval: Option<[f64; 2]>,
    /// Seen to be new since the first reading: at least so many began.
    pub started: u64,
    /// Of these, ended.
    pub ended: u64,
    /// Of those that were there at the first reading, ended.
    pub ended_before: u64,
    /// Survivors by age.
    pub ages: Ages,
    /// Bytes of all their stacks.
    pub stack_bytes: u64,
    /// Bytes of the average stack.
    pub stack_bytes_each: u64,
    /// growth_per_s x stack_bytes_each.
    pub growth_bytes_per_s: Option<f64>,
    /// How many do or wait for what; most first.
    pub states: Vec<GoroutineState>,
    /// Where most of them stand.
    pub stacks: Vec<GoroutineStack>,
    /// How many different stacks there are.
    pub stacks_total: u64,
    /// 99 % of the ended ones lived at most this long.
    pub usual_lifetime_s: Option<f64>,
    /// Age from which one of them counts as old.
    pub horizon_s: f64,
    /// Older than that, of those that began in the window.
    pub old: u64,
    /// What the probes counted; null without them.
    pub rates: Option<SiteRatesSection>,
    /// What such goroutines are known for, the most specific first: advice, not evidence.
    pub advice: Vec<Advice>,
    /// clean, recent, stopped, unresolved, released_late, balanced, never_released, leak, not_judged;
    /// brief: no reading saw one, so started and ended are by the probes.
    pub verdict: &'static str,
}

/// Survivors by age.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ages {
    /// Those that were there at the first reading.
    pub before: u64,
    /// The others.
    pub by_age: Vec<AgeClass>,
    /// Age of the oldest of the others.
    pub oldest_s: Option<f64>,
}

/// How many have an age below a bound, and above that of the class before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgeClass {
    /// Null: older than all bounds.
    pub below_s: Option<u64>,
    /// How many.
    pub count: u64,
}

/// Goroutines that do the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GoroutineState {
    /// In the words of a goroutine dump.
    pub state: &'static str,
    /// How many.
    pub count: u64,
}

/// Goroutines that do the same at the same place.
#[derive(Debug, Clone, Serialize)]
pub struct GoroutineStack {
    /// How many.
    pub count: u64,
    /// In the words of a goroutine dump.
    pub state: &'static str,
    /// The longest that one of them is known to wait; the collector notes it.
    pub longest_wait_s: Option<f64>,
    /// Innermost first.
    pub frames: Vec<Frame>,
    /// Why the stack is missing or ends early.
    pub incomplete: Option<&'static str>,
}

/// How many goroutines have a label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelGrowth {
    /// The label's key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// At the first reading.
    pub first: u64,
    /// At the last.
    pub last: u64,
    /// Theil-Sen slope.
    pub growth_per_s: Option<f64>,
    /// Its 95 % interval.
    pub growth_interval: Option<[f64; 2]>,
}

/// What a trace found of goroutines.
#[derive(Debug, Clone, Copy)]
pub struct GoroutineFindings<'a> {
    /// The series.
    pub history: &'a GoroutineHistory,
    /// The judgements.
    pub judgements: &'a [(Creation, SiteJudgement)],
    /// What the survivors do.
    pub surveys: &'a HashMap<Creation, GoroutineSurvey>,
}

/// The section of the report.
pub fn goroutine_sites(
    found: &GoroutineFindings<'_>,
    symbolizer: &mut Symbolizer<'_>,
) -> GoroutineSites {
    let history = found.history;
    let judgements: HashMap<_, _> = found.judgements.iter().copied().collect();
    let mut sites: Vec<_> = history.sites().iter().collect();
    sites.sort_by_cached_key(|(site, series)| order(**site, series, judgements.get(site)));
    let live = Ends::of(history.live());
    let growth = growth(history.times_s(), history.live());
    GoroutineSites {
        how: "read from memory: all goroutines at each reading; who began and ended between two \
              readings was not seen, so started and ended are at least so many",
        readings: history.readings(),
        live: live.last,
        live_first: live.first,
        growth_per_s: growth.map(|growth| growth.per_s),
        growth_interval: growth.map(|growth| [growth.low, growth.high]),
        started: history.sites().values().map(|series| series.latest.started).sum(),
        numbers_given: history.numbers_given(),
        sites_total: sites.len() as u64,
        seen: history.sites().keys().copied().collect(),
        sites: sites
            .into_iter()
            .take(ROWS_MAX)
            .map(|(site, series)| {
                let row = row(*site, series, judgements.get(site).copied());
                named(row, *site, found.surveys.get(site), symbolizer)
            })
            .collect(),
        labels: labels(history),
        labels_other: Ends::of(history.other_labels()),
        lost: *history.lost(),
        rates: None,
    }
}

impl GoroutineSites {
    /// The worst leak in a few words; none if none of them leaks.
    pub(super) fn leak_in_words(&self) -> Option<String> {
        let site = self.sites.first().filter(|site| site.verdict == SiteState::Leak.word())?;
        let place = site.creator.as_ref().map_or_else(
            || format!("site {}", site.id),
            |by| format!("{} ({}:{})", by.function, by.file, by.line),
        );
        let growth = rate(site.growth_per_s.unwrap_or(0.0));
        Some(format!("goroutines started in {place}: {growth} more every second"))
    }
}

impl Ends {
    fn of(series: &[u64]) -> Self {
        let end = |value: Option<&u64>| value.copied().unwrap_or(0);
        Self { first: end(series.first()), last: end(series.last()) }
    }
}

fn growth(times_s: &[f64], values: &[u64]) -> Option<Slope> {
    let points: Vec<_> = times_s.iter().zip(values).map(|(time, n)| (*time, *n as f64)).collect();
    theil_sen(&points)
}

/// By verdict, then what surely grows, then by size.
fn order(
    site: Creation,
    series: &GoroutineSeries,
    judgement: Option<&SiteJudgement>,
) -> (Reverse<u8>, Reverse<u64>, Reverse<u64>, Creation) {
    let severity = judgement.map_or(0, |judgement| match judgement.state {
        SiteState::Leak => 3,
        SiteState::NeverReleased | SiteState::ReleasedLate => 2,
        SiteState::Unresolved | SiteState::Recent | SiteState::Stopped => 1,
        _ => 0,
    });
    let surely = judgement.and_then(|judgement| judgement.grows()).map_or(0.0, |growth| growth.low);
    let thousandths = (surely.max(0.0) * 1000.0) as u64;
    (Reverse(severity), Reverse(thousandths), Reverse(series.latest.live), site)
}

fn row(
    site: Creation,
    series: &GoroutineSeries,
    judgement: Option<SiteJudgement>,
) -> GoroutineSite {
    let latest = &series.latest;
    let growth = judgement.and_then(|judgement| judgement.grows());
    let stack_bytes_each = latest.stack_bytes.checked_div(latest.live).unwrap_or(0);
    GoroutineSite {
        id: format!("{:x}-{:x}", site.creator_pc, site.start_pc),
        creation: Some(site).filter(|site| *site != OTHER_SITES),
        creator: None,
        start: None,
        live: latest.live,
        live_first: series.live.first().copied().unwrap_or(0),
        growth_per_s: growth.map(|growth| growth.per_s),
        growth_interval: growth.map(|growth| [growth.low, growth.high]),
        started: latest.started,
        ended: latest.ended,
        ended_before: latest.ended_before,
        ages: Ages::default(),
        stack_bytes: latest.stack_bytes,
        stack_bytes_each,
        growth_bytes_per_s: growth.map(|growth| growth.per_s * stack_bytes_each as f64),
        states: Vec::new(),
        stacks: Vec::new(),
        stacks_total: 0,
        usual_lifetime_s: judgement.and_then(|judgement| judgement.usual_lifetime_s),
        horizon_s: judgement.map_or(0.0, |judgement| judgement.horizon_s),
        old: judgement.map_or(0, |judgement| judgement.old),
        rates: None,
        advice: Vec::new(),
        verdict: judgement.map_or("not_judged", |judgement| judgement.state.word()),
    }
}

fn named(
    row: GoroutineSite,
    site: Creation,
    survey: Option<&GoroutineSurvey>,
    symbolizer: &mut Symbolizer<'_>,
) -> GoroutineSite {
    let is_one = site != OTHER_SITES;
    let row = GoroutineSite {
        creator: symbolizer.creator(site.creator_pc).filter(|_| is_one),
        start: Some(symbolizer.start_function(site.start_pc)).filter(|_| is_one),
        ..row
    };
    let Some(survey) = survey else { return row };
    let bounds = AGES_S.into_iter().map(Some).chain([None]);
    let class = |(below_s, count): (Option<u64>, &u64)| AgeClass { below_s, count: *count };
    let places = survey.places.iter().take(PLACES_MAX);
    let stacks: Vec<_> = places.map(|place| stack(place, symbolizer)).collect();
    let named = |start: &Frame| &*start.file != "?";
    GoroutineSite {
        // `go f(x)` with a variable f begins in a wrapper, which has no name.
        start: row.start.filter(named).or_else(|| outermost(&stacks)),
        ages: Ages {
            before: survey.before,
            by_age: bounds.zip(&survey.by_age).map(class).collect(),
            oldest_s: survey.oldest_s,
        },
        states: survey
            .states
            .iter()
            .map(|(state, count)| GoroutineState { state, count: *count })
            .collect(),
        stacks,
        stacks_total: survey.places_total,
        ..row
    }
}

/// The first function of most of them, by their stack.
fn outermost(stacks: &[GoroutineStack]) -> Option<Frame> {
    let whole = stacks.iter().find(|stack| stack.incomplete.is_none())?;
    whole.frames.iter().rev().find(|frame| &*frame.function != "runtime.goexit").cloned()
}

fn stack(place: &GoroutinePlace, symbolizer: &mut Symbolizer<'_>) -> GoroutineStack {
    let lines = symbolizer.stack_lines(&place.pcs);
    GoroutineStack {
        count: place.count,
        state: place.state,
        longest_wait_s: place.longest_wait_s,
        frames: lines.into_iter().map(|line| line.frame).collect(),
        incomplete: incomplete(place.stack),
    }
}

/// All kept labels: those that surely grow first, then the most common.
fn labels(history: &GoroutineHistory) -> Vec<LabelGrowth> {
    let row = |(label, series): (&Label, &Vec<u64>)| {
        let growth = growth(history.times_s(), series);
        let Ends { first, last } = Ends::of(series);
        LabelGrowth {
            key: label.key.clone(),
            value: label.value.clone(),
            first,
            last,
            growth_per_s: growth.map(|growth| growth.per_s),
            growth_interval: growth.map(|growth| [growth.low, growth.high]),
        }
    };
    let mut rows: Vec<_> = history.labels().iter().map(row).collect();
    let surely = |row: &LabelGrowth| row.growth_interval.map_or(0.0, |[low, _]| low.max(0.0));
    rows.sort_by(|one, other| {
        let by_growth = surely(other).total_cmp(&surely(one));
        let by_name = || (&one.key, &one.value).cmp(&(&other.key, &other.value));
        by_growth.then_with(|| other.last.cmp(&one.last)).then_with(by_name)
    });
    rows
}
