//! The sentences of a verdict: judgements in, words out, and for a doubt the verdict that it still
//! allows.

use std::collections::HashMap;

use super::{
    Evidence, RssGrowth, RssShape, SiteJudgement, SiteState, State, Verdict,
    explained::LeakingBytes,
};
use crate::{
    display::{bytes, seconds},
    model::{Explained, Slope},
    snapshot::HoldingSample,
};

/// Sites that grow without being called leaks: the verdict each allows at best, and why.
pub fn doubts(sites: &[(u64, SiteJudgement)]) -> Vec<(State, String)> {
    let doubt = |state| match state {
        SiteState::Clean | SiteState::Leak => None,
        SiteState::BoundedByDeadline => {
            Some((State::Suspect, "grows, but its contexts end at their deadline"))
        }
        SiteState::ReleasedLate => {
            Some((State::Suspect, "grows, but many of its old contexts are released in the end"))
        }
        SiteState::NeverReleased => Some((
            State::Suspect,
            "has released no old context, but for too short a time or not steadily enough: contexts that \
             are meant to live long look the same; trace for longer",
        )),
        SiteState::Balanced => Some((
            State::Inconclusive,
            "keeps new contexts, but as many that were made before tracing are released: it may be a \
             steady coming and going of long lives",
        )),
        SiteState::Recent => {
            Some((State::Inconclusive, "has begun to keep contexts only lately; trace for longer"))
        }
        SiteState::Unresolved => Some((
            State::Inconclusive,
            "grows, but its contexts usually live too long for this window; trace for longer",
        )),
        SiteState::Stopped => Some((
            State::Inconclusive,
            "has kept old contexts, but keeps no more of late; trace for longer",
        )),
        SiteState::Collectable => Some((
            State::NoLeak,
            "grows, but nothing holds its contexts: the garbage collector frees them",
        )),
        SiteState::HeldByOthers => Some((
            State::Inconclusive,
            "grows, but no parent holds its contexts: garbage, unless a goroutine or a map holds them; \
             a trace of 4 minutes or more tells",
        )),
        SiteState::KeptByOthers => Some((
            State::Suspect,
            "grows, no parent holds its contexts, and the garbage collector was not seen to free them \
             in all this time: a goroutine or a map may hold them",
        )),
    };
    let mut found: Vec<(State, &str, usize)> = Vec::new();
    for (state, why) in sites.iter().filter_map(|(_, site)| doubt(site.state)) {
        match found.iter_mut().find(|(_, known, _)| *known == why) {
            Some((_, _, count)) => *count += 1,
            None => found.push((state, why, 1)),
        }
    }
    found
        .into_iter()
        .map(|(state, why, count)| (state, format!("{count} site(s): {why}")))
        .collect()
}

/// Why a site is called a leak.
pub fn leak(site: &SiteJudgement, holding: Option<&HoldingSample>) -> String {
    let held = holding.and_then(held).map_or_else(String::new, |held| format!("; {held}"));
    let (old, horizon) = (site.old, seconds(site.horizon_s));
    match site.usual_lifetime_s {
        Some(usual) => format!(
            "{old} contexts are older than {horizon}, where the usual one is released within {}; \
             more stay behind in nearly every part of the window{held}",
            seconds(usual)
        ),
        None => format!(
            "{old} contexts are older than {horizon}, and not one was ever seen released; more stay \
             behind in nearly every part of the window{held}"
        ),
    }
}

/// Who holds a site's contexts, and how many that one holds by now: also from before the trace.
fn held(holding: &HoldingSample) -> Option<String> {
    let holder = holding.holder.as_ref().filter(|_| holding.pinned() == Some(true))?;
    let told = holding.func_lost + holding.func_left;
    let funcs = match holding.funcs_are_lost() {
        Some(true) => format!(
            "; {} of {told} checked have no cancel function left in the program: only the end of that \
             holder can still end them",
            holding.func_lost
        ),
        Some(false) => format!(
            "; of {} of {told} checked the program still has the cancel function, and does not call it",
            holding.func_left
        ),
        None => String::new(),
    };
    Some(format!(
        "{} of {} looked at are held, most by the {} at {:#x}, which has {} children{funcs}",
        holding.held + holding.until_deadline,
        holding.sampled(),
        holder.type_name,
        holder.address,
        holder.children
    ))
}

/// Who holds the contexts of a site that grows without being called a leak: of that whose holder has
/// most children.
pub fn doubtful_holder(
    sites: &[(u64, SiteJudgement)],
    holdings: &HashMap<u64, HoldingSample>,
) -> Option<String> {
    let is_doubtful = |state| !matches!(state, SiteState::Clean | SiteState::Leak);
    let doubtful = sites.iter().filter(|(_, site)| is_doubtful(site.state));
    let known = doubtful.filter_map(|(id, _)| holdings.get(id)).filter(|holding| holding.held > 0);
    let most = known.max_by_key(|holding| holding.holder.as_ref().map(|holder| holder.children))?;
    Some(format!("of the contexts of such a site, {}", held(most)?))
}

/// What a site without releases means depends on the age of the process.
pub fn without_releases(
    evidence: &Evidence<'_>,
    leaking: &[(u64, SiteJudgement)],
) -> Option<String> {
    let funcs_are_lost = |id: &u64| evidence.holdings.get(id)?.funcs_are_lost();
    let is_unreleased = |(id, site): &&(u64, SiteJudgement)| {
        site.usual_lifetime_s.is_none() && funcs_are_lost(id) != Some(true)
    };
    let unreleased: Vec<_> = leaking.iter().filter(is_unreleased).collect();
    let uptime = evidence.uptime_at_start_s.map_or_else(
        || "of unknown age".to_owned(),
        |s| format!("{} old when tracing began", seconds(s)),
    );
    let is_new = unreleased.iter().any(|(_, site)| site.is_new);
    (!unreleased.is_empty()).then(|| match is_new {
        true => format!(
            "nothing was released there, and it was not like this for long (the process was \
             {uptime}): contexts that are meant to live as long as the process look the same while \
             they are made; a longer trace tells them apart"
        ),
        false => format!(
            "nothing was released there, though the process was {uptime}: were these contexts only \
             meant to live long, as many older ones would have been released meanwhile"
        ),
    })
}

/// How the RSS fits to the leaking contexts.
pub fn rss_beside_leak(verdict: &Verdict, leaking: &LeakingBytes) -> String {
    let LeakingBytes { per_s, all_read, .. } = *leaking;
    let how = if all_read { "sizes read from memory" } else { "at least" };
    match (verdict.rss, verdict.explained) {
        (None, _) => "the RSS could not be read often enough for a slope".to_owned(),
        (Some(rss), None) if rss.floor_bytes_per_s > per_s && rss.shape == RssShape::Flat => {
            format!(
                "the RSS can't confirm it: growth below {}/s is lost in its noise in this window",
                bytes(rss.floor_bytes_per_s)
            )
        }
        (Some(rss), None) if rss.shape == RssShape::Flat => {
            "the RSS does not grow yet: the heap still has room".to_owned()
        }
        (Some(rss), None) => format!(
            "{}; the leaking contexts add {}/s of live heap ({how}), room for garbage comes on top",
            grows_by(&rss),
            bytes(per_s)
        ),
        (Some(rss), Some(explained)) => format!(
            "{}; the leaking contexts add {}/s of live heap ({how}): with the room that the \
             collector leaves for garbage this explains {explained} of it",
            grows_by(&rss),
            bytes(per_s)
        ),
    }
}

/// How the RSS fits to the stacks of leaking goroutines; `with_heap`: contexts leak too.
pub fn explained_by_stacks(rss: &RssGrowth, explained: Explained, with_heap: bool) -> String {
    match with_heap {
        true => format!(
            "together with the stacks of the leaking goroutines this explains {explained} of it"
        ),
        false => format!(
            "{}; the stacks of the leaking goroutines explain {explained} of it",
            grows_by(rss)
        ),
    }
}

/// The slope of the RSS with its interval.
pub fn grows_by(rss: &RssGrowth) -> String {
    let Slope { per_s, low, high } = rss.slope;
    format!("anonymous RSS grows by {}/s ({} to {})", bytes(per_s), bytes(low), bytes(high))
}
