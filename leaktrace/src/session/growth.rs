//! Growth by call chain, over a trace: readings of the growth programs in, the last of them with what
//! lies where out.
//!
//! Non-goals: names; what of the growth stays resident.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use leaktrace_common::GrowthKind;
use procfs::process::Process;

use crate::{
    bpf::{BpfError, FaultPeriod, GrowthLimits, GrowthOrigin, GrowthTracer},
    config::Growth,
    overhead::ProbeCost,
    snapshot::{GrowthSample, kind_at},
};

/// Mappings are listed at most during one part in this many of the time.
const LISTING_PART: u32 = 50;
/// What is known of a listing's cost before the first.
const REST_MIN: Duration = Duration::from_secs(1);

/// Where only page faults are sampled: 1 MiB.
const FAULT_LIMITS: GrowthLimits = GrowthLimits { sites: 2048, ranges: 1 };

/// What grew by call chain.
#[derive(Debug, Clone)]
pub struct GrowthFound {
    /// Figures by site.
    pub sample: GrowthSample,
    /// Where the sites are.
    pub origins: HashMap<u64, GrowthOrigin>,
    /// What lay where the faults of a site touched last.
    pub kinds: HashMap<u64, GrowthKind>,
    /// Mapping calls were counted.
    pub mappings_counted: bool,
}

/// The attached programs.
pub struct GrowthWatch {
    tracer: GrowthTracer,
    last_heartbeat: Instant,
    found: Option<GrowthFound>,
    kinds: HashMap<u64, GrowthKind>,
    mappings_counted: bool,
    rest_until: Instant,
}

impl GrowthWatch {
    /// Attaches what is asked for of `pid`; none if nothing is. What could not be attached is told
    /// to `missing`, and the rest goes on without it.
    ///
    /// # Errors
    /// The kernel refuses the object.
    pub fn attach(
        pid: NonZeroU32,
        growth: Growth,
        missing: &mut dyn FnMut(&str, BpfError),
    ) -> Result<Option<Self>, BpfError> {
        if growth == Growth::Off {
            return Ok(None);
        }
        let limits = if growth == Growth::All { GrowthLimits::default() } else { FAULT_LIMITS };
        let mut tracer = GrowthTracer::load(pid, limits)?;
        if let Err(error) = tracer.attach_faults(FaultPeriod::Adaptive) {
            missing("page faults by call chain", error);
        }
        let mut mappings_counted = growth == Growth::All;
        if mappings_counted && let Err(error) = tracer.attach_mappings() {
            mappings_counted = false;
            missing("mapping calls by call chain", error);
        }
        let now = Instant::now();
        Ok(Some(Self {
            tracer,
            last_heartbeat: now,
            found: None,
            kinds: HashMap::new(),
            mappings_counted,
            rest_until: now,
        }))
    }

    /// What the last reading knows of the cost: of sampled faults, and of mapping calls if these are
    /// counted.
    pub fn costs(&self) -> impl Iterator<Item = ProbeCost> {
        let of = |found: &GrowthFound| {
            let GrowthSample { fault_sites, mapping_totals, .. } = &found.sample;
            let samples = fault_sites.values().map(|site| site.samples).sum();
            let calls = mapping_totals.iter().map(|total| total.calls).sum();
            let mappings = found.mappings_counted.then(|| ProbeCost::mappings(calls));
            [Some(ProbeCost::faults(samples)), mappings]
        };
        self.found.as_ref().map(of).into_iter().flatten().flatten()
    }

    /// Kernel memory of the maps in bytes.
    pub fn map_bytes(&self) -> u64 {
        self.tracer.map_bytes()
    }

    /// Reads what was counted so far.
    ///
    /// # Errors
    /// A map or an event can't be read; what was read before is kept.
    pub fn observe(&mut self, process: &Process, thorough: bool) -> Result<(), BpfError> {
        let at = Instant::now();
        let origins = self.tracer.origins()?;
        let sample = GrowthSample::new(&self.tracer.read()?, &origins);
        if thorough || at >= self.rest_until {
            // A process that has ended has none: what is known stays.
            if let Ok(maps) = process.maps() {
                let lies = |(site, faults): (&u64, &crate::snapshot::FaultSite)| {
                    Some((*site, kind_at(&maps.0, faults.last_address)?))
                };
                self.kinds.extend(sample.fault_sites.iter().filter_map(lies));
            }
            self.rest_until = at + (at.elapsed() * LISTING_PART).max(REST_MIN);
        }
        let (kinds, mappings_counted) = (self.kinds.clone(), self.mappings_counted);
        self.found = Some(GrowthFound { sample, origins, kinds, mappings_counted });
        // What was counted stands, also where the sampling can't be adapted.
        let seconds = at.duration_since(self.last_heartbeat).as_secs_f64();
        self.last_heartbeat = at;
        self.tracer.heartbeat(seconds)
    }

    /// The last reading. Detaches.
    pub fn finish(self) -> Option<GrowthFound> {
        self.found
    }
}
