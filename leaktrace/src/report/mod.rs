//! The report: plain values in a versioned schema, and renderers that return text.
//!
//! All outputs are made from one [`Report`], so they agree. Non-goals: judging; writing files.

mod build;
mod diagnosis;
mod goroutine_advice;
mod goroutine_brief;
mod goroutine_rates;
mod goroutine_sites;
mod goroutine_text;
mod goroutines;
mod growth;
mod heap;
mod inspection;
mod memory;
mod pods;
pub mod pprof;
mod resources;
mod schema;
mod text;

pub use build::{Inputs, NamedSite, build};
pub use diagnosis::{Answer, Check, Diagnosis, Lookup, Place, Probe, Variable};
pub use goroutine_rates::{
    ChangeSection, Creator, RatesFindings, RatesSection, ReconciledSection, SiteRatesSection,
};
pub use goroutine_sites::{
    AgeClass, Ages, Ends, GoroutineFindings, GoroutineSite, GoroutineSites, GoroutineStack,
    GoroutineState, LabelGrowth, goroutine_sites,
};
pub use goroutines::{GoroutineGroup, GoroutineProfile, render_goroutines};
pub use growth::{FaultRow, GrowthInputs, GrowthSection, MappingRow, growth_section};
pub use heap::{HeapLooks, HeapTraffic, HeapTrafficSite, heap_traffic};
pub use inspection::{
    Change, Changes, GoroutineRow, GoroutineSection, HeapRow, HeapSection, HolderRow,
    HoldersSection, Inspected, Inspection, changes, goroutine_section, heap_section,
    render_changes, render_inspection,
};
pub use memory::{MemorySection, ThreadStacks, memory_section};
pub use pods::PodsSection;
pub use schema::{
    Contexts, Ending, Node, Report, Rss, SCHEMA_VERSION, Site, Target, TargetState, VerdictSection,
    Window,
};
pub use text::render as render_text;

/// A report or a diagnosis as JSON, ending in a newline.
///
/// # Errors
/// A value has no JSON form; no field of the schemas is of that kind.
pub fn render_json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}
