//! `cargo xtask support`: what the tests proved in, docs/SYMBOLS.md and README's table out.
//!
//! Only a full `cargo xtask test` leaves results, and it fails when the documents say anything
//! else, so that they can't promise what is no longer tested.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{go::PINS, paths, workloads::Link};

const BEGIN: &str = "<!-- support:begin -->\n";
const END: &str = "<!-- support:end -->";

/// The columns of README's table. Twins that only serve as truth have none.
const COLUMNS: [(Link, &str); 8] = [
    (Link::Fixed, "fixed address"),
    (Link::Pie, "PIE"),
    (Link::Cgo, "cgo"),
    (Link::CgoPie, "cgo, PIE"),
    (Link::Stripped, "`strip`ped"),
    (Link::Bare, "PIE, no section headers"),
    (Link::Arm64, "arm64"),
    (Link::Arm64Pie, "arm64, PIE"),
];

const SYMBOLS_HEAD: &str = "\
# Functions, lines and inlined calls, compared

Made by `cargo xtask support` from what `tests/symbols.rs` found; `cargo xtask test` fails when it finds anything else.

The test workload is built by each Go version in each way. Every function of its table is asked about at up to eight
return addresses, spread over its code and the padding behind it. leaktrace reads the file and knows nothing else.

- **The program itself**: a build that runs here is asked what its own runtime says, inlined calls expanded as for its
  CPU profiles: function, file, line, first line of the function, and whether it was inlined there. The whole chain has to
  be the same. So do whole stacks, found by frame pointers here and by the runtime there.
- **go tool addr2line**, of the same Go version, where the program can't run: the function that has the code, and file
  and line of the innermost call. It knows no names of inlined calls.
- Names and addresses of all functions equal `go tool nm` on a twin that is not stripped, in both directions, for amd64
  and arm64 at a fixed address. The linker's marks `runtime.text` and `runtime.etext` are no functions.

Known and excepted: the runtime does not print the very first name of its table; it hides wrappers in stacks, and so does
leaktrace; addr2line has nonsense for the mark `go:textfipsstart`, which has no lines. Behind a callback from C the frame
pointers do not lead on, so a stack through C is compared up to the callback.

| Go | build | asked | functions | addresses | inlined frames | stacks | mismatches |
|---|---|---|---:|---:|---:|---:|---:|
";

const SUPPORT_HEAD: &str = "\
*traced*: contexts made and released by a live process are counted exactly, and every function, line and inlined call
equals what the program says about itself. *read*: functions and lines equal those of Go's own tools; contexts can't be
traced. How the comparison is made: [docs/SYMBOLS.md](docs/SYMBOLS.md).

";

/// One line of symbols.json: a build whose functions were compared.
#[derive(Deserialize)]
struct Compared {
    go: String,
    build: String,
    oracle: String,
    functions: u64,
    addresses: u64,
    inlined_frames: u64,
    stacks: u64,
    mismatches: u64,
}

/// One line of e2e.json: a build that was traced, with exact counts.
#[derive(Deserialize)]
struct Traced {
    go: String,
    build: String,
}

struct Results {
    compared: Vec<Compared>,
    traced: Vec<Traced>,
}

/// Where the tests leave their results.
pub fn results_folder() -> PathBuf {
    paths::target().join("results")
}

/// Writes what the last full test run proved into the documents.
pub fn run() -> Result<()> {
    for (path, text) in documents()? {
        fs::create_dir_all(path.parent().unwrap_or(&path))
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// Fails unless the documents say what the last full test run proved.
pub fn check() -> Result<()> {
    for (path, text) in documents()? {
        let found = fs::read_to_string(&path).unwrap_or_default();
        ensure!(
            found == text,
            "{} does not say what the tests found; run `cargo xtask support`",
            path.display()
        );
    }
    Ok(())
}

fn documents() -> Result<[(PathBuf, String); 2]> {
    let results = Results::read(&results_folder())?;
    let readme = paths::root().join("README.md");
    let text =
        fs::read_to_string(&readme).with_context(|| format!("can't read {}", readme.display()))?;
    let text = with_table(&text, &results.support_table())?;
    Ok([(paths::root().join("docs/SYMBOLS.md"), results.symbols_page()?), (readme, text)])
}

/// `readme` with `table` between its two marks.
fn with_table(readme: &str, table: &str) -> Result<String> {
    let missing = "README.md has no place for the support table";
    let (before, rest) = readme.split_once(BEGIN).context(missing)?;
    let (_, after) = rest.split_once(END).context(missing)?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

impl Results {
    fn read(folder: &Path) -> Result<Self> {
        let (compared, traced) = (folder.join("symbols.json"), folder.join("e2e.json"));
        Ok(Self { compared: read_json(&compared)?, traced: read_json(&traced)? })
    }

    /// All that was compared, by version and kind; fails where a build is missing.
    fn symbols_page(&self) -> Result<String> {
        let mut page = SYMBOLS_HEAD.to_owned();
        for version in PINS.iter().map(|pin| pin.version) {
            for link in Link::TESTED {
                let row = self
                    .compared(version, link)
                    .with_context(|| format!("go{version}{} was not compared", link.suffix()))?;
                let Compared { oracle, functions, addresses, .. } = row;
                let Compared { inlined_frames, stacks, mismatches, .. } = row;
                let build = if row.build.is_empty() { "fixed" } else { &row.build[1..] };
                writeln!(
                    page,
                    "| {version} | {build} | {oracle} | {functions} | {addresses} | \
                     {inlined_frames} | {stacks} | {mismatches} |"
                )?;
            }
        }
        Ok(page)
    }

    fn support_table(&self) -> String {
        let titles: Vec<_> = COLUMNS.iter().map(|(_, title)| *title).collect();
        let lines = "|---".repeat(COLUMNS.len());
        let mut table = format!("{SUPPORT_HEAD}| Go | {} |\n|---{lines}|\n", titles.join(" | "));
        for version in PINS.iter().map(|pin| pin.version) {
            let cells = COLUMNS.iter().map(|(link, _)| self.proven(version, *link));
            table += &format!("| {version} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
        }
        table
    }

    /// What was proven for one kind of build by one Go version.
    fn proven(&self, version: &str, link: Link) -> &'static str {
        let is_this = |row: &Traced| row.go == version && row.build == link.suffix();
        match self.compared(version, link) {
            Some(row) if row.mismatches > 0 => "no",
            Some(_) if self.traced.iter().any(is_this) => "traced",
            Some(_) => "read",
            None => "no",
        }
    }

    fn compared(&self, version: &str, link: Link) -> Option<&Compared> {
        self.compared.iter().find(|row| row.go == version && row.build == link.suffix())
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| {
        format!("can't read {}, which a full `cargo xtask test` leaves", path.display())
    })?;
    serde_json::from_str(&text).with_context(|| format!("{} is not understood", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Results, with_table};
    use crate::workloads::Link;

    fn results() -> Results {
        let compared = |build: &str, mismatches: u64| {
            json!({
                "go": "1.26.3", "build": build, "oracle": "o", "functions": 1, "addresses": 2,
                "inlined_frames": 3, "stacks": 4, "mismatches": mismatches
            })
        };
        let compared = json!([compared("", 0), compared("-pie", 1), compared("-arm64", 0)]);
        let traced = ["", "-pie", "-cgo"].map(|build| json!({ "go": "1.26.3", "build": build }));
        Results {
            compared: serde_json::from_value(compared).unwrap(),
            traced: serde_json::from_value(json!(traced)).unwrap(),
        }
    }

    #[test]
    fn a_cell_says_what_was_proven() {
        let proven = |link| results().proven("1.26.3", link);
        assert_eq!(proven(Link::Fixed), "traced");
        assert_eq!(proven(Link::Arm64), "read");
        assert_eq!(proven(Link::Pie), "no", "traced, but with wrong names");
        assert_eq!(proven(Link::Cgo), "no", "traced, but never compared");
        assert_eq!(results().proven("1.27.3", Link::Fixed), "no");
    }

    #[test]
    fn a_missing_build_leaves_no_page() {
        assert!(results().symbols_page().is_err());
    }

    #[test]
    fn the_table_replaces_only_what_stands_between_the_marks() {
        let readme = "a\n<!-- support:begin -->\nold\n<!-- support:end -->\nb\n";
        let expected = "a\n<!-- support:begin -->\nnew\n<!-- support:end -->\nb\n";
        assert_eq!(with_table(readme, "new\n").unwrap(), expected);
        assert!(with_table("a\n", "new\n").is_err());
    }
}
