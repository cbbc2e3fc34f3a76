//! What the contexts of sites are by their making, during a trace: new sites in, natures out.
//!
//! Each site is named once, so that a verdict can be made at every reading. Non-goals: its frames,
//! which are named at the end.

use std::collections::HashMap;

use super::executable::Executable;
use crate::{
    bpf::Tracer,
    signatures::Families,
    snapshot::{ContextNature, ContextSample},
    target::Watch,
};

/// Those that are known.
#[derive(Debug, Default)]
pub struct Natures {
    known: HashMap<u64, ContextNature>,
}

impl Natures {
    /// By site.
    pub const fn known(&self) -> &HashMap<u64, ContextNature> {
        &self.known
    }

    /// Finds out what is not known yet of `sites`. If nothing can be read now, it is tried again.
    pub fn look_up<'s>(
        &mut self,
        sites: impl Iterator<Item = &'s u64>,
        tracer: &Tracer,
        executable: &Executable,
        watch: &Watch,
    ) {
        let is_known =
            |site: &u64| self.known.contains_key(site) || ContextSample::is_overflow(*site);
        let new: Vec<u64> = sites.filter(|site| !is_known(site)).copied().collect();
        if new.is_empty() {
            return;
        }
        let Ok(mut origins) = tracer.origins() else { return };
        origins.retain(|site, _| !self.known.contains_key(site));
        let named = executable.name_sites(watch, &origins, &Families::default());
        self.known.extend(named.into_iter().map(|(site, name)| (site, name.nature)));
        // What has no call chain by now will have none.
        for site in new {
            self.known.entry(site).or_default();
        }
    }
}
