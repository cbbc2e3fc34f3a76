//! Shows what the tests found: manifests and results in, Markdown out.

use serde_json::Value;

const HEAD: &str = "\
# Corpus

leaktrace's readers on Go programs that nobody here wrote: the executables of Debian packages, stripped and linked as
Debian does it. `cargo xtask corpus` downloads them with apt, from the mirror that the machine uses, signatures checked;
runs `tests/corpus.rs` on each; and writes this file. What is in a suite changes: the table is what one run found.

For every executable:

- **Build information.** Go version, main package and main module are those that `debug/buildinfo` reads, which is behind
  `go version -m`.
- **Functions.** All functions are compared with `debug/gosym`, each at its entry and at one more instruction: the
  name by address, and file and line of the innermost frame. That library is of the newest pinned Go. It knows no address
  of the first function (`go tool addr2line` takes the start of `.text`, which is wrong where C start-up code comes
  first), so a further check is that the code at the entries begins with stack checks.
- **Plan.** Contexts can be counted: a probe point at creation and at each release, prologues decoded; or the program has
  no such function, and the reason says so.
- **Unknown versions** are refused by name.

Verdict *agrees*: no difference at all. *refused*: an unknown Go version, named. Time is from opening the file to the
finished plan, once, with the file in the page cache.

";

const COLUMNS: [&str; 10] = [
    "package",
    "suite",
    "version",
    "program",
    "Go",
    "build",
    "MB",
    "functions",
    "probe points",
    "verdict",
];

/// The whole document around the table.
pub fn document(table: &str) -> String {
    format!("{HEAD}{table}")
}

/// One line per executable, or per package that a suite does not have.
pub fn render(manifests: &[Value], rows: &[Value]) -> String {
    let mut lines =
        vec![line(&COLUMNS.map(str::to_owned)), line(&COLUMNS.map(|_| "---".to_owned()))];
    for manifest in manifests {
        let fields = ["suite", "arch", "package"];
        let of_it: Vec<_> =
            rows.iter().filter(|row| fields.iter().all(|f| row[f] == manifest[f])).collect();
        if of_it.is_empty() {
            lines.push(line(&without_program(manifest)));
        }
        lines.extend(of_it.into_iter().map(|row| line(&cells(row))));
    }
    format!("{}\n\n{}\n", lines.join("\n"), summary(rows))
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

fn suite(row: &Value) -> String {
    format!("{} {}", text(row, "suite"), text(row, "arch"))
}

fn without_program(manifest: &Value) -> [String; 10] {
    let mut cells = COLUMNS.map(|_| String::new());
    cells[0] = text(manifest, "package").to_owned();
    cells[1] = suite(manifest);
    cells[2] = text(manifest, "version").to_owned();
    let why = if manifest["version"].is_null() { "not in this suite" } else { "no Go program" };
    cells[9] = why.to_owned();
    cells
}

fn cells(row: &Value) -> [String; 10] {
    let number = |field: &str| row[field].as_u64().unwrap_or(0);
    [
        text(row, "package").to_owned(),
        suite(row),
        text(row, "version").to_owned(),
        text(row, "file").rsplit('/').next().unwrap_or_default().to_owned(),
        text(row, "go").to_owned(),
        text(row, "build_mode").to_owned(),
        format!("{:.1}", number("bytes") as f64 / 1e6),
        number("functions").to_string(),
        number("points").to_string(),
        verdict(row),
    ]
}

fn verdict(row: &Value) -> String {
    let differences = row["differences"].as_array().map_or(0, Vec::len);
    let reason = row["unavailable"][0].as_str();
    match (row["index_ms"].as_f64(), reason) {
        _ if differences > 0 => format!("**{differences} differences**"),
        (None, _) => "refused".to_owned(),
        (Some(ms), None) => format!("agrees, {ms:.0} ms"),
        (Some(ms), Some(reason)) => format!("agrees, {ms:.0} ms; {reason}"),
    }
}

fn summary(rows: &[Value]) -> String {
    let read = rows.iter().filter(|row| !row["index_ms"].is_null());
    let functions: u64 = read.clone().filter_map(|row| row["functions"].as_u64()).sum();
    let differing = rows.iter().filter(|row| verdict(row).starts_with("**")).count();
    format!(
        "{} executables, {} of them of a known Go version with {functions} functions; {differing} \
         with differences.",
        rows.len(),
        read.count()
    )
}
