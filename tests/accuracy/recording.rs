//! The readings of a live trace as they can be kept: what a verdict is made from in, bytes out, and
//! back. Non-goals: judging them; what only a report shows.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
};

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use leaktrace::{
    history::{GoroutineSeries, History, SiteSeries},
    memory::{Holder, RuntimeCounters, goroutines::Creation},
    session::SoFar,
    snapshot::{
        ContextKind, ContextNature, ContextParent, ContextSample, GoroutineSample,
        GoroutineSiteSample, HoldingSample, Instant, NodeSample, ProcessSample, SiteSample,
        Snapshot,
    },
    verdict::{Circumstances, GoroutineMoment, Moment},
};
use leaktrace_common::LIFETIME_BUCKETS;
use serde::{Deserialize, Serialize};

/// A recording of a trace is some hundred kilobytes.
const BYTES_MAX: u64 = 64 << 20;

/// One trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    pub contexts_are_probed: bool,
    pub releases_complete: bool,
    pub garbage_collected: bool,
    pub uptime_at_start_s: Option<f64>,
    pub readings: Vec<Reading>,
}

/// One reading with all that was known at it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    at_s: f64,
    rss_anon_bytes: Option<u64>,
    threads: Option<u64>,
    vm_data_bytes: Option<u64>,
    cpu_ticks: Option<u64>,
    runtime: Option<RuntimeCounters>,
    contexts: Option<Contexts>,
    /// None where they were not read with this reading.
    goroutines: Option<Goroutines>,
    /// Survivors by site, in seconds since the start.
    births_s: Option<Vec<(u64, Vec<f64>)>>,
    goroutine_births_s: Option<Vec<([u64; 2], Vec<f64>)>>,
    natures: Vec<(u64, [u8; 2])>,
    holdings: Vec<(u64, Holding)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Contexts {
    sites: Vec<(u64, Site)>,
    released_untracked: u64,
    repeated_cancels: u64,
    probe_hits: u64,
    sample_divisor: u64,
}

/// Created, released, collected, outstanding; lifetimes by bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Site {
    counts: [u64; 4],
    lifetimes: Vec<(u8, u64)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Goroutines {
    at_s: f64,
    live: u64,
    newest_id: u64,
    sites: Vec<GoroutineSite>,
}

/// Which; live, stack bytes, started, ended, ended of those before; lifetimes by bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct GoroutineSite([u64; 2], [u64; 5], Vec<(u8, u64)>);

/// Held, until a deadline, kept, unheld, freed, unknown; the holder's address and children; bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Holding {
    counts: [u64; 6],
    holder: Option<[u64; 2]>,
    /// Cancel functions lost, left.
    #[serde(default)]
    funcs: [u64; 2],
    retained_bytes: Option<u64>,
    reached_bytes: Option<u64>,
}

impl Recording {
    /// Without readings yet.
    pub fn new(circumstances: &Circumstances) -> Self {
        Self {
            contexts_are_probed: circumstances.contexts_are_probed,
            releases_complete: circumstances.releases_complete,
            garbage_collected: circumstances.garbage_collected,
            uptime_at_start_s: circumstances.uptime_at_start_s,
            readings: Vec::new(),
        }
    }

    pub const fn circumstances(&self) -> Circumstances {
        Circumstances {
            contexts_are_probed: self.contexts_are_probed,
            releases_complete: self.releases_complete,
            garbage_collected: self.garbage_collected,
            uptime_at_start_s: self.uptime_at_start_s,
        }
    }

    /// Adds what is known now.
    pub fn add(&mut self, so_far: &SoFar<'_>) -> Result<()> {
        self.readings.push(Reading::of(so_far.history, so_far.moment)?);
        Ok(())
    }
}

/// Compressed JSON.
pub fn write(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    serde_json::to_writer(&mut encoder, value)?;
    encoder.flush()?;
    Ok(encoder.finish()?)
}

/// What [`write`] wrote.
pub fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut json = Vec::new();
    GzDecoder::new(bytes).take(BYTES_MAX).read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

impl Reading {
    fn of(history: &History, moment: &Moment) -> Result<Self> {
        let point = history.points().last().context("no reading")?;
        let process = &point.process;
        let goroutines = moment.goroutines.as_ref();
        Ok(Self {
            at_s: point.at_s,
            rss_anon_bytes: process.rss_anon_bytes,
            threads: process.threads,
            vm_data_bytes: process.vm_data_bytes,
            cpu_ticks: process.cpu_ticks,
            runtime: point.runtime,
            contexts: history.contexts().map(|totals| contexts(history, totals)).transpose()?,
            goroutines: goroutines.and_then(|_| last_goroutines(history)),
            births_s: moment.births_s.as_ref().map(|births| rounded(sorted(births))),
            goroutine_births_s: goroutines.map(|known| {
                let births = rounded(sorted(&known.births_s)).into_iter();
                births.map(|(site, births)| (pair(site), births)).collect()
            }),
            natures: sorted(&moment.natures)
                .into_iter()
                .map(|(site, nature)| (site, [nature.kind as u8, nature.parent as u8]))
                .collect(),
            holdings: sorted(&moment.holdings)
                .into_iter()
                .map(|(site, holding)| (site, Holding::of(&holding)))
                .collect(),
        })
    }

    /// Adds it to a series that began at `start`; gives what was known beside it.
    pub fn replay(&self, history: &mut History, start: Instant) -> Moment {
        let at = |at_s: f64| Instant {
            monotonic_ns: start.monotonic_ns + (at_s * 1e9).round() as u64,
            wall: start.wall,
        };
        history.push(Snapshot {
            at: at(self.at_s),
            process: ProcessSample {
                rss_anon_bytes: self.rss_anon_bytes,
                threads: self.threads,
                vm_data_bytes: self.vm_data_bytes,
                cpu_ticks: self.cpu_ticks,
                ..ProcessSample::default()
            },
            node: NodeSample::default(),
            cgroup: None,
            contexts: self.contexts.as_ref().map(Contexts::sample),
            runtime: self.runtime,
        });
        if let Some(goroutines) = &self.goroutines {
            let known = history.goroutines().times_s().last().copied();
            if known.is_none_or(|known_s| known_s < goroutines.at_s) {
                history.push_goroutines(at(goroutines.at_s), goroutines.sample());
            }
        }
        self.moment()
    }

    fn moment(&self) -> Moment {
        let births = self.goroutine_births_s.as_ref();
        Moment {
            births_s: self.births_s.clone().map(|sites| sites.into_iter().collect()),
            natures: self
                .natures
                .iter()
                .map(|(site, nature)| (*site, nature_of(*nature)))
                .collect(),
            holdings: self.holdings.iter().map(|(site, kept)| (*site, kept.sample())).collect(),
            goroutines: births.map(|births| GoroutineMoment {
                births_s: births.iter().map(|(site, s)| (creation(*site), s.clone())).collect(),
                surveys: HashMap::new(),
            }),
            pods: None,
        }
    }
}

fn sorted<K: Copy + Ord, V: Clone>(map: &HashMap<K, V>) -> Vec<(K, V)> {
    let mut all: Vec<_> = map.iter().map(|(key, value)| (*key, value.clone())).collect();
    all.sort_unstable_by_key(|(key, _)| *key);
    all
}

/// To milliseconds and in order, which is half the size.
fn rounded<K>(mut births_s: Vec<(K, Vec<f64>)>) -> Vec<(K, Vec<f64>)> {
    for (_, births_s) in &mut births_s {
        births_s.sort_by(f64::total_cmp);
        births_s.iter_mut().for_each(|birth_s| *birth_s = (*birth_s * 1e3).round() / 1e3);
    }
    births_s
}

const fn pair(site: Creation) -> [u64; 2] {
    [site.creator_pc, site.start_pc]
}

const fn creation([creator_pc, start_pc]: [u64; 2]) -> Creation {
    Creation { creator_pc, start_pc }
}

fn nature_of([kind, parent]: [u8; 2]) -> ContextNature {
    let kind = match kind {
        0 => ContextKind::Cancel,
        1 => ContextKind::Timer,
        _ => ContextKind::AfterFunc,
    };
    let parent = match parent {
        0 => ContextParent::Unknown,
        1 => ContextParent::Cancellable,
        _ => ContextParent::Uncancellable,
    };
    ContextNature { kind, parent, ..ContextNature::default() }
}

fn sparse(lifetimes: &[u64]) -> Vec<(u8, u64)> {
    let counted = (0u8..).zip(lifetimes).filter(|(_, count)| **count > 0);
    counted.map(|(bucket, count)| (bucket, *count)).collect()
}

fn dense(lifetimes: &[(u8, u64)]) -> [u64; LIFETIME_BUCKETS] {
    let mut all = [0; LIFETIME_BUCKETS];
    for (bucket, count) in lifetimes {
        all[usize::from(*bucket)] = *count;
    }
    all
}

fn contexts(history: &History, totals: &ContextSample) -> Result<Contexts> {
    ensure!(totals.lost.is_empty(), "events were lost: {:?}", totals.lost);
    let site = |(id, series): (&u64, &SiteSeries)| {
        let SiteSample { created, released, collected, outstanding, ref lifetimes } = series.latest;
        let counts = [created, released, collected, outstanding];
        (*id, Site { counts, lifetimes: sparse(lifetimes) })
    };
    let mut sites: Vec<_> = history.sites().iter().map(site).collect();
    sites.sort_unstable_by_key(|(id, _)| *id);
    Ok(Contexts {
        sites,
        released_untracked: totals.released_untracked,
        repeated_cancels: totals.repeated_cancels,
        probe_hits: totals.probe_hits,
        sample_divisor: totals.sample_divisor,
    })
}

impl Contexts {
    fn sample(&self) -> ContextSample {
        let site = |(id, site): &(u64, Site)| {
            let [created, released, collected, outstanding] = site.counts;
            let lifetimes = dense(&site.lifetimes);
            (*id, SiteSample { created, released, collected, outstanding, lifetimes })
        };
        ContextSample {
            sites: self.sites.iter().map(site).collect(),
            released_untracked: self.released_untracked,
            repeated_cancels: self.repeated_cancels,
            probe_hits: self.probe_hits,
            sample_divisor: self.sample_divisor,
            lost: Vec::new(),
        }
    }
}

/// The newest reading of the goroutines.
fn last_goroutines(history: &History) -> Option<Goroutines> {
    let known = history.goroutines();
    let site = |(site, series): (&Creation, &GoroutineSeries)| {
        let GoroutineSiteSample { live, stack_bytes, started, ended, ended_before, ref lifetimes } =
            series.latest;
        let counts = [live, stack_bytes, started, ended, ended_before];
        GoroutineSite(pair(*site), counts, sparse(lifetimes))
    };
    let mut sites: Vec<_> = known.sites().iter().map(site).collect();
    sites.sort_unstable();
    Some(Goroutines {
        at_s: *known.times_s().last()?,
        live: *known.live().last()?,
        newest_id: known.numbers_given(),
        sites,
    })
}

impl Goroutines {
    fn sample(&self) -> GoroutineSample {
        let site = |GoroutineSite(site, counts, lifetimes): &GoroutineSite| {
            let [live, stack_bytes, started, ended, ended_before] = *counts;
            let lifetimes = dense(lifetimes);
            let sample =
                GoroutineSiteSample { live, stack_bytes, started, ended, ended_before, lifetimes };
            (creation(*site), sample)
        };
        GoroutineSample {
            live: self.live,
            newest_id: self.newest_id,
            sites: self.sites.iter().map(site).collect(),
            labels: HashMap::new(),
            lost: Default::default(),
        }
    }
}

impl Holding {
    fn of(sample: &HoldingSample) -> Self {
        let HoldingSample { held, until_deadline, kept, unheld, freed, unknown, .. } = *sample;
        Self {
            counts: [held, until_deadline, kept, unheld, freed, unknown],
            holder: sample.holder.as_ref().map(|holder| [holder.address, holder.children]),
            funcs: [sample.func_lost, sample.func_left],
            retained_bytes: sample.retained_bytes,
            reached_bytes: sample.reached_bytes,
        }
    }

    fn sample(&self) -> HoldingSample {
        let [held, until_deadline, kept, unheld, freed, unknown] = self.counts;
        let [func_lost, func_left] = self.funcs;
        let holder = |[address, children]: [u64; 2]| Holder {
            address,
            type_name: "*context.cancelCtx",
            children,
        };
        HoldingSample {
            held,
            until_deadline,
            kept,
            unheld,
            freed,
            unknown,
            holder: self.holder.map(holder),
            func_lost,
            func_left,
            retained_bytes: self.retained_bytes,
            reached_bytes: self.reached_bytes,
        }
    }
}
