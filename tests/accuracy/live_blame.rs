//! A report of `leaktrace trace` in, the parts of the player that it calls leaks out, by the source
//! lines of their sites. Non-goals: truth.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use serde_json::Value;

/// The file with a line for each part.
const SITES_FILE: &str = "sites.go";

/// Who is called a leak.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Blame {
    /// Growth per second of parts whose contexts are; none: it was not said how fast.
    pub contexts: BTreeMap<usize, Option<f64>>,
    /// The same of goroutines.
    pub goroutines: BTreeMap<usize, Option<f64>>,
    /// Sites that are no part's.
    pub strangers: usize,
}

impl Blame {
    /// Whom the report blames.
    pub fn of(report: &Value) -> Self {
        let marks = marks();
        let mut blame = Self::default();
        for site in leaking(&report["contexts"]["sites"]) {
            let line = made_at(site).and_then(sites_line);
            blame.strangers += usize::from(!add(&mut blame.contexts, &marks, line, site));
        }
        for site in leaking(&report["goroutines"]["sites"]) {
            let line = sites_line(&site["creator"]);
            blame.strangers += usize::from(!add(&mut blame.goroutines, &marks, line, site));
        }
        blame
    }

    /// Whether it blames a part.
    pub fn names(&self, part: usize) -> bool {
        self.contexts.contains_key(&part) || self.goroutines.contains_key(&part)
    }

    /// Whether it blames nothing that can be counted.
    pub fn names_nobody(&self) -> bool {
        self.contexts.is_empty() && self.goroutines.is_empty() && self.strangers == 0
    }

    /// How fast it says that a part leaks: of one that leaks both, by the contexts, which are counted.
    pub fn growth_per_s(&self, part: usize) -> Option<f64> {
        let of = |sites: &BTreeMap<usize, Option<f64>>| sites.get(&part).copied().flatten();
        of(&self.contexts).or_else(|| of(&self.goroutines))
    }
}

/// Adds a site's growth to its part's; whether it has one.
fn add(
    parts: &mut BTreeMap<usize, Option<f64>>,
    marks: &HashMap<u64, usize>,
    line: Option<u64>,
    site: &Value,
) -> bool {
    let Some(part) = line.and_then(|line| marks.get(&line)) else { return false };
    let growth = parts.entry(*part).or_insert(Some(0.0));
    *growth = growth.zip(site["growth_per_s"].as_f64()).map(|(sum, more)| sum + more);
    true
}

fn leaking(sites: &Value) -> impl Iterator<Item = &Value> {
    sites.as_array().into_iter().flatten().filter(|site| site["verdict"] == "leak")
}

/// The innermost frame outside package context.
fn made_at(site: &Value) -> Option<&Value> {
    let is_context = |frame: &&Value| {
        frame["function"].as_str().is_some_and(|function| function.starts_with("context."))
    };
    site["frames"].as_array()?.iter().find(|frame| !is_context(frame))
}

fn sites_line(frame: &Value) -> Option<u64> {
    let is_sites = Path::new(frame["file"].as_str()?).ends_with(SITES_FILE);
    is_sites.then(|| frame["line"].as_u64())?
}

/// The part of each line that ends in `site: KIND PART`.
fn marks() -> HashMap<u64, usize> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/workloads/player");
    let text = std::fs::read_to_string(folder.join(SITES_FILE)).unwrap_or_default();
    let part = |line: &str| line.split_once("// site: ")?.1.rsplit_once(' ')?.1.parse().ok();
    let lines = (1..).zip(text.lines());
    lines.filter_map(|(number, line)| Some((number, part(line)?))).collect()
}
