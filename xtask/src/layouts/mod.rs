//! `cargo xtask layouts`: the layout of Go's runtime, as every pinned toolchain describes it in
//! its own DWARF, in; the tables of `leaktrace/src/binary/go/layout` out.
//!
//! One small program is built per toolchain and platform and never run. What is asked of it is in
//! `facts`. Non-goal: versions that are not pinned; a layout is never guessed.

mod compare;
mod derive;
mod dwarf;
mod facts;
mod program;
mod write;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use derive::{Machines, Row};
use program::{Program, WaitReason};
use write::Table;

use crate::{
    go::{self, Toolchain},
    paths,
};

/// The generated tables; each has a file of its own.
const TABLES: [Table; 4] = [
    Table { name: "Tables", groups: &facts::tables::GROUPS },
    Table { name: "Contexts", groups: &facts::contexts::GROUPS },
    Table { name: "Goroutines", groups: &facts::goroutines::GROUPS },
    Table { name: "Heap", groups: &facts::heap::GROUPS },
];

/// Arguments of `layouts`.
#[derive(clap::Args)]
pub struct Args {
    /// Change nothing, and fail if a table is not what the toolchains say
    #[arg(long)]
    check: bool,
}

/// Writes the tables, or compares them.
pub fn run(args: &Args) -> Result<()> {
    let derived = Derived::from_toolchains(&go::all_toolchains()?)?;
    if args.check { derived.check() } else { derived.write() }
}

/// Fails unless the tables are what the toolchains say.
pub fn check() -> Result<()> {
    run(&Args { check: true })
}

/// What the toolchains say, a row per version in each list.
#[derive(Default)]
struct Derived {
    versions: Vec<String>,
    /// In the order of [`TABLES`].
    rows: [Vec<Row>; TABLES.len()],
    wait_reasons: Vec<(u32, Vec<WaitReason>)>,
}

/// A generated file.
struct Generated {
    path: PathBuf,
    text: String,
    /// Its number in [`TABLES`]; none for the wait reasons.
    table: Option<usize>,
}

impl Derived {
    fn from_toolchains(toolchains: &[Toolchain]) -> Result<Self> {
        let mut derived = Self::default();
        for toolchain in toolchains {
            derived.add(toolchain).with_context(|| format!("Go {}", toolchain.version))?;
        }
        Ok(derived)
    }

    fn add(&mut self, toolchain: &Toolchain) -> Result<()> {
        let minor = minor(&toolchain.version)?;
        let amd64 = Program::read(toolchain, "amd64")?;
        let arm64 = Program::read(toolchain, "arm64")?;
        let machines = Machines { amd64: &amd64.description, arm64: &arm64.description };
        for (table, rows) in TABLES.iter().zip(&mut self.rows) {
            rows.push(Row::derive(minor, &machines, table.groups)?);
        }
        ensure!(amd64.wait_reasons == arm64.wait_reasons, "amd64 and arm64 wait for other reasons");
        self.wait_reasons.push((minor, amd64.wait_reasons));
        self.versions.push(toolchain.version.clone());
        Ok(())
    }

    fn files(&self) -> Result<Vec<Generated>> {
        let folder = paths::root().join("leaktrace/src/binary/go/layout");
        let versions = self.versions.join(", ");
        let mut files = Vec::new();
        for (index, (table, rows)) in TABLES.iter().zip(&self.rows).enumerate() {
            let path = folder.join(format!("rows_{}.rs", facts::snake_case(table.name)));
            let text = write::table(table, rows, &versions)?;
            files.push(Generated { path, text, table: Some(index) });
        }
        let text = write::wait_reasons(&self.wait_reasons, &versions)?;
        files.push(Generated { path: folder.join("rows_wait_reasons.rs"), text, table: None });
        Ok(files)
    }

    fn write(&self) -> Result<()> {
        for Generated { path, text, .. } in self.files()? {
            fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let mut count = 0;
        for file in self.files()? {
            let found = self.differences(&file)?;
            found.iter().for_each(|difference| println!("{difference}"));
            count += found.len();
        }
        ensure!(count == 0, "{count} differ; `cargo xtask layouts` writes the tables anew");
        println!("the layouts are what Go {} say", self.versions.join(", "));
        Ok(())
    }

    /// A fact that differs is told by its name; text that differs otherwise, by its line.
    fn differences(&self, file: &Generated) -> Result<Vec<String>> {
        let Generated { path, text, table } = file;
        let committed =
            fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
        let facts = table.map_or_else(Vec::new, |index| {
            compare::differences(&TABLES[index], &self.rows[index], &committed)
        });
        if !facts.is_empty() {
            return Ok(facts);
        }
        let shown = path.strip_prefix(paths::root()).unwrap_or(path).display();
        let line = compare::line_difference(text, &committed).into_iter();
        Ok(line.map(|line| format!("{shown}: {line}")).collect())
    }
}

/// `1.26.3` -> 26
fn minor(version: &str) -> Result<u32> {
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse().ok());
    minor.with_context(|| format!("{version} is no version 1.N"))
}
