//! A report of `leaktrace trace` in, the parts of the player that it calls leaks out, by the source
//! lines of their sites. Non-goals: truth.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use anyhow::{Context as _, Result};
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
    pub fn of(report: &Value) -> Result<Self> {
        let marks = marks()?;
        let mut blame = Self::default();
        for site in leaking(&report["contexts"]["sites"]) {
            let line = made_at(site).and_then(sites_line);
            blame.strangers += usize::from(!add(&mut blame.contexts, &marks, line, site));
        }
        for site in leaking(&report["goroutines"]["sites"]) {
            let line = sites_line(&site["creator"]);
            blame.strangers += usize::from(!add(&mut blame.goroutines, &marks, line, site));
        }
        Ok(blame)
    }

    /// The part of each site of the report that has one: contexts by `id`, goroutines by theirs.
    pub fn parts(report: &Value) -> Result<HashMap<String, usize>> {
        let marks = marks()?;
        let all = |sites: &Value| sites.as_array().cloned().unwrap_or_default();
        let contexts = all(&report["contexts"]["sites"]);
        let contexts = contexts.iter().map(|site| (site, made_at(site).and_then(sites_line)));
        let goroutines = all(&report["goroutines"]["sites"]);
        let goroutines = goroutines.iter().map(|site| (site, sites_line(&site["creator"])));
        let known = contexts.chain(goroutines).filter_map(|(site, line)| {
            Some((site["id"].as_str()?.to_owned(), *marks.get(&line?)?))
        });
        Ok(known.collect())
    }

    /// Whether it blames a part.
    pub fn names(&self, part: usize) -> bool {
        self.contexts.contains_key(&part) || self.goroutines.contains_key(&part)
    }

    /// Whether it blames no site.
    pub fn is_empty(&self) -> bool {
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
fn marks() -> Result<HashMap<u64, usize>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/workloads/player");
    let path = folder.join(SITES_FILE);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let part = |line: &str| line.split_once("// site: ")?.1.rsplit_once(' ')?.1.parse().ok();
    let lines = (1..).zip(text.lines());
    Ok(lines.filter_map(|(number, line)| Some((number, part(line)?))).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Blame, marks};

    /// The line of the n-th mark of a part: 0 is that of `context`, 3 of `goroutine`.
    fn line(part: usize, kind: usize) -> u64 {
        let mut lines: Vec<_> =
            marks().unwrap().into_iter().filter(|(_, marked)| *marked == part).collect();
        lines.sort_unstable();
        lines[kind].0
    }

    fn context_site(file: &str, line: u64, verdict: &str, growth: Value) -> Value {
        let inner =
            json!({ "function": "context.WithCancel", "file": "context/context.go", "line": 236 });
        let maker = json!({ "function": "main.init.func1", "file": file, "line": line });
        let frames =
            [inner, maker, json!({ "function": "main.main", "file": "main.go", "line": 1 })];
        json!({ "frames": frames, "verdict": verdict, "growth_per_s": growth })
    }

    #[test]
    fn every_part_has_a_line_of_each_kind() {
        let marks = marks().unwrap();
        for part in 0..super::super::player::PARTS_MAX {
            // What goroutines wait for has a line beside theirs; native memory has another file.
            assert_eq!(marks.values().filter(|marked| **marked == part).count(), 7, "{part}");
        }
    }

    #[test]
    fn a_leak_is_its_parts_by_the_innermost_line_outside_of_package_context() {
        let sites = [
            context_site("x/player/sites.go", line(2, 0), "leak", json!(1.5)),
            context_site("x/player/sites.go", line(2, 0), "leak", json!(0.5)),
            context_site("x/player/sites.go", line(3, 0), "collectable", json!(9.0)),
            context_site("x/player/sites.go", 1, "leak", json!(9.0)),
            context_site("x/player/other.go", line(2, 0), "leak", json!(9.0)),
        ];
        let creator =
            json!({ "function": "main.init.func4", "file": "sites.go", "line": line(5, 3) });
        let goroutines = [json!({ "creator": creator, "verdict": "leak", "growth_per_s": 3.0 })];
        let report = json!({
            "contexts": { "sites": sites }, "goroutines": { "sites": goroutines }
        });
        let blame = Blame::of(&report).unwrap();
        assert_eq!((blame.growth_per_s(2), blame.growth_per_s(5)), (Some(2.0), Some(3.0)));
        assert_eq!((blame.names(3), blame.strangers), (false, 2));
    }

    #[test]
    fn a_rate_that_was_not_given_is_none() {
        let sites = [
            context_site("sites.go", line(0, 0), "leak", json!(1.5)),
            context_site("sites.go", line(0, 0), "leak", Value::Null),
        ];
        let blame = Blame::of(&json!({ "contexts": { "sites": sites } })).unwrap();
        assert_eq!((blame.names(0), blame.growth_per_s(0)), (true, None));
    }
}
