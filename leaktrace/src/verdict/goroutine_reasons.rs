//! The sentences about goroutines: judgements in, words out.

use super::{SiteJudgement, SiteState, State};
use crate::{
    display::{bytes, rate, seconds},
    memory::goroutines::Creation,
    snapshot::GoroutineSurvey,
};

/// States that are named in a sentence.
const STATES: usize = 2;

/// Why a site is called a leak.
pub fn leak(site: &SiteJudgement, survey: Option<&GoroutineSurvey>) -> String {
    let (old, horizon) = (site.old, seconds(site.horizon_s));
    let usual = site.usual_lifetime_s.map_or_else(
        || "and not one was ever seen to end".to_owned(),
        |usual| format!("where the usual one ends within {}", seconds(usual)),
    );
    let what = survey.and_then(waiting).map_or_else(String::new, |what| format!("; {what}"));
    format!(
        "{old} goroutines of one go statement are older than {horizon}, {usual}; more stay behind in \
         nearly every part of the window{what}"
    )
}

/// What they wait for, and since when.
fn waiting(survey: &GoroutineSurvey) -> Option<String> {
    let states = survey.states.iter().take(STATES);
    let states: Vec<_> = states.map(|(state, count)| format!("{count} in \"{state}\"")).collect();
    let oldest = survey.oldest_s?;
    let before = match survey.before {
        0 => String::new(),
        before => format!("; {before} were there before"),
    };
    Some(format!("{}; the oldest new one began {} ago{before}", states.join(", "), seconds(oldest)))
}

/// Leaks beside those that were named.
pub fn more(count: usize) -> Option<String> {
    (count > 0).then(|| format!("the same holds for {count} more go statements"))
}

/// Sites that grow without being called leaks: the verdict each allows at best, and why.
pub fn doubts(sites: &[(Creation, SiteJudgement)], process_is_young: bool) -> Vec<(State, String)> {
    let mut found: Vec<(State, &str, usize)> = Vec::new();
    for (state, why) in sites.iter().filter_map(|(_, site)| doubt(site.state, process_is_young)) {
        match found.iter_mut().find(|(_, known, _)| *known == why) {
            Some((_, _, count)) => *count += 1,
            None => found.push((state, why, 1)),
        }
    }
    let sentence = |(state, why, count)| (state, format!("{count} go statement(s): {why}"));
    found.into_iter().map(sentence).collect()
}

const fn doubt(state: SiteState, process_is_young: bool) -> Option<(State, &'static str)> {
    match state {
        SiteState::ReleasedLate => Some((
            State::Suspect,
            "has more and more goroutines, but many of the old ones end after all",
        )),
        SiteState::NeverReleased => Some((
            State::Suspect,
            "has started goroutines of which no old one has ended, but for too short a time or not steadily \
             enough: workers that are meant to stay look the same; trace for longer",
        )),
        SiteState::Balanced => Some((
            State::Inconclusive,
            "keeps new goroutines, but as many older ones end: it may be a steady coming and going of long \
             lives",
        )),
        SiteState::Recent => Some((
            State::Inconclusive,
            "has begun to leave goroutines behind only lately; trace for longer",
        )),
        SiteState::Unresolved => Some((
            State::Inconclusive,
            "has more and more goroutines, but they usually live too long for this window; trace for \
             longer",
        )),
        SiteState::Stopped if process_is_young => Some((
            State::NoLeak,
            "has filled up, and grows no more: a warm-up, or a pool of workers",
        )),
        SiteState::Stopped => Some((
            State::Inconclusive,
            "has left goroutines behind, but leaves no more of late; trace for longer",
        )),
        SiteState::Clean
        | SiteState::Leak
        | SiteState::Collectable
        | SiteState::HeldByOthers
        | SiteState::KeptByOthers
        | SiteState::BoundedByDeadline => None,
    }
}

/// Goroutines without any end mean different things at new statements and at old ones.
pub fn none_ended(is_new: bool) -> String {
    if is_new {
        "no goroutine of such a statement was seen to end, and it has not been like this for long: workers that are \
         meant to live as long as the process look the same while they are started; a longer trace \
         tells them apart"
    } else {
        "no goroutine of such a statement was seen to end, though it has been like this for long: were they only \
         meant to live long, as many older ones would have ended meanwhile"
    }
    .to_owned()
}

/// What the leak costs by itself.
pub fn stacks(bytes_per_s: f64) -> String {
    format!(
        "the stacks of the leaking goroutines add {}/s (read from memory); what they hold comes on top",
        bytes(bytes_per_s)
    )
}

/// Contexts leak too.
pub fn both() -> String {
    "contexts and goroutines leak: where a leaked goroutine keeps its context, or waits for one that \
     nobody cancels, that is one leak seen twice; its bytes are not counted twice, since contexts are \
     heap and goroutines are stacks"
        .to_owned()
}

/// Nothing leaks above the floor.
pub fn none_leaks(floor: f64) -> String {
    format!(
        "no go statement leaves goroutines behind; a steady leak of {} goroutines/s at one would have \
         been seen with 95 % probability",
        rate(floor)
    )
}

/// There is no slope.
pub fn too_few(readings: u64) -> String {
    format!("the goroutines were read {readings} times: too few to tell growth")
}

/// They could not be read to the end.
pub fn too_early(read_until_s: f64) -> String {
    format!(
        "the goroutines could be read until {} after the beginning only: nothing is claimed from them",
        seconds(read_until_s)
    )
}

/// Too many are not known.
pub fn lossy(lost: u64, live: u64) -> String {
    format!(
        "{lost} goroutines could not be read beside {live} that were: nothing is claimed from them"
    )
}
