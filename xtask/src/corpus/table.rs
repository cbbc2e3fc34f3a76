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
- **Circular tables.** In a function without a frame no instruction comes before the first inlined call, and the
  compiler then gives that call as its own caller. leaktrace refuses frames there by name. No call returns into such a
  function, so that no trace meets one; they are counted below the table.
- **Plan.** Contexts can be counted: a probe point at creation and at each release, prologues decoded; or the program has
  no such function, and the reason says so.
- **Unknown versions** are refused by name.
- **Runtime variables.** Those that the readers of live memory need are located, each by at least two functions
  that agree on it. No oracle knows them in a stripped program; `tests/variables.rs` compares them with symbol tables.

Verdict *agrees*: no difference at all. *refused*: an unknown Go version, named.

";

const COLUMNS: [&str; 11] = [
    "package",
    "suite",
    "version",
    "program",
    "Go",
    "build",
    "MB",
    "functions",
    "probe points",
    "variables",
    "verdict",
];

/// Enough of a difference to know its kind; the tests print it whole.
const SHOWN_CHARS: usize = 100;

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

fn without_program(manifest: &Value) -> [String; 11] {
    let mut cells = COLUMNS.map(|_| String::new());
    cells[0] = text(manifest, "package").to_owned();
    cells[1] = suite(manifest);
    cells[2] = text(manifest, "version").to_owned();
    let why = if manifest["version"].is_null() { "not in this suite" } else { "no Go program" };
    cells[10] = why.to_owned();
    cells
}

fn cells(row: &Value) -> [String; 11] {
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
        number("variables").to_string(),
        verdict(row),
    ]
}

fn verdict(row: &Value) -> String {
    let differences = row["differences"].as_array().map_or(0, Vec::len);
    let reason = row["unavailable"][0].as_str();
    match (row["index_ms"].as_f64(), reason) {
        _ if differences > 0 => {
            let first = row["differences"][0].as_str().unwrap_or_default();
            let shown: String = first.chars().take(SHOWN_CHARS).collect();
            format!("**differs** ({differences}): {}", shown.replace('|', "/"))
        }
        (None, _) => "refused".to_owned(),
        (Some(_), None) => "agrees".to_owned(),
        (Some(_), Some(reason)) => format!("agrees; {reason}"),
    }
}

fn summary(rows: &[Value]) -> String {
    let read = rows.iter().filter(|row| !row["index_ms"].is_null());
    let sum = |field: &str| read.clone().filter_map(|row| row[field].as_u64()).sum::<u64>();
    let (functions, circular) = (sum("functions"), sum("circular"));
    let differing = rows.iter().filter(|row| verdict(row).starts_with("**")).count();
    format!(
        "{} executables, {} of them of a known Go version with {functions} functions, \
         {circular} of these with circular tables; {differing} differ.",
        rows.len(),
        read.count()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{render, verdict};

    fn row() -> Value {
        json!({
            "package": "etcd-server", "suite": "sid", "arch": "amd64", "version": "3.5",
            "file": "usr/bin/etcd", "go": "go1.26.4", "build_mode": "exe", "bytes": 26_000_000,
            "functions": 35_588, "points": 2, "variables": 9, "index_ms": 20.4, "differences": [],
        })
    }

    #[test]
    fn a_difference_is_never_hidden_by_another_verdict() {
        let mut row = row();
        assert_eq!(verdict(&row), "agrees");
        row["unavailable"] = json!(["it is not there"]);
        assert_eq!(verdict(&row), "agrees; it is not there");
        row["differences"] = json!(["main.f: a|b"]);
        assert_eq!(verdict(&row), "**differs** (1): main.f: a/b");
        row["index_ms"] = Value::Null;
        assert_eq!(verdict(&row), "**differs** (1): main.f: a/b");
        row["differences"] = json!([]);
        assert_eq!(verdict(&row), "refused");
    }

    #[test]
    fn a_package_that_a_suite_does_not_have_has_its_line() {
        let of = |package: &str| json!({ "suite": "sid", "arch": "amd64", "package": package });
        let table = render(&[of("etcd-server"), of("consul")], &[row()]);
        assert!(
            table.contains("| etcd | go1.26.4 | exe | 26.0 | 35588 | 2 | 9 | agrees"),
            "{table}"
        );
        let missing = table.lines().find(|line| line.starts_with("| consul |"));
        assert!(missing.is_some_and(|line| line.ends_with("| not in this suite |")), "{table}");
        assert!(table.ends_with("0 of these with circular tables; 0 differ.\n"), "{table}");
    }
}
