//! The rules: one source file in, its violations out.

use std::path::Path;

use super::{
    imports::{self, Import},
    tokens::{Token, tokens},
};

/// The modules of leaktrace in pipeline order: each may import those before it.
const ORDER: [&str; 19] = [
    "display",
    "target",
    "binary",
    "probe",
    "bpf",
    "memory",
    "snapshot",
    "history",
    "model",
    "forecast",
    "ledger",
    "verdict",
    "symbolize",
    "signatures",
    "overhead",
    "report",
    "session",
    "config",
    "cli",
];

/// `config` is plain values; it may import these, which are plain values too.
const PLAIN: [&str; 5] = ["target", "snapshot", "forecast", "verdict", "report"];

/// Who may see `config`, besides main.rs and lib.rs.
const SEES_CONFIG: [&str; 2] = ["session", "cli"];

/// Where `unsafe` may be: modules of leaktrace, and folders as a whole.
const UNSAFE_MODULES: [&str; 1] = ["bpf"];
const UNSAFE_FOLDERS: [&str; 2] = ["leaktrace-common/src", "leaktrace-ebpf/src"];

/// The only module that knows how programs get into the kernel.
const AYA_MODULE: &str = "bpf";

/// The longest a file may be, without its tests.
const MAX_LINES: usize = 400;

/// One file to check.
pub struct Source<'a> {
    /// The crate's source folder, from the root of the workspace.
    pub folder: &'a str,
    /// The file's path in that folder.
    pub within: &'a Path,
    /// What it says.
    pub text: &'a str,
    /// Whether the order of modules and the place of aya are checked.
    pub ordered: bool,
}

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and why.
    pub message: String,
}

/// Checks one file against all rules.
pub fn check(source: &Source<'_>) -> Vec<Violation> {
    let tokens = tokens(source.text);
    let module = module(source.within);
    let mut found = Vec::new();
    if source.ordered {
        check_imports(source, module, &tokens, &mut found);
        check_aya(module, &tokens, &mut found);
    }
    check_unsafe(source, module, &tokens, &mut found);
    check_length(source.text, &mut found);
    found.sort_by_key(|violation| violation.line);
    found
}

/// The top-level module of a file; none for main.rs and lib.rs.
fn module(within: &Path) -> Option<&str> {
    let first = within.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "main" && name != "lib").then_some(name)
}

fn check_imports(
    source: &Source<'_>,
    module: Option<&str>,
    tokens: &[Token<'_>],
    found: &mut Vec<Violation>,
) {
    let Some(module) = module else { return };
    if position(module).is_none() {
        let message =
            format!("{module} has no place in the pipeline; add it to ORDER in the layer rules");
        found.push(Violation { line: 1, message });
        return;
    }
    for Import { name, line } in imports::imports(tokens, imports::depth(source.within)) {
        if let Some(why) = forbidden(module, name) {
            found.push(Violation {
                line,
                message: format!("{module} may not import {name}: {why}"),
            });
        }
    }
}

/// Why a module may not import another; none if it may, or if the name is no module.
fn forbidden(module: &str, name: &str) -> Option<String> {
    let (from, to) = (position(module)?, position(name)?);
    if module == name {
        return None;
    }
    match (module, name) {
        (_, "config") if SEES_CONFIG.contains(&module) => None,
        (_, "config") => Some(format!("only {} know the configuration", SEES_CONFIG.join(" and "))),
        (_, "cli") => Some("only main.rs and lib.rs know the command line".to_owned()),
        ("config", _) if PLAIN.contains(&name) => None,
        ("config", _) => Some(format!("it is plain values, and sees only {}", PLAIN.join(", "))),
        _ if to > from => Some("it comes later in the pipeline".to_owned()),
        _ => None,
    }
}

fn position(module: &str) -> Option<usize> {
    ORDER.iter().position(|&known| known == module)
}

fn check_aya(module: Option<&str>, tokens: &[Token<'_>], found: &mut Vec<Violation>) {
    if module == Some(AYA_MODULE) {
        return;
    }
    for pair in tokens.windows(2) {
        let [name, next] = pair else { continue };
        let is_aya = name.text == "aya" || name.text.starts_with("aya_");
        if is_aya && matches!(next.text, "::" | ";" | "as") {
            let message = format!("{} may be used in {AYA_MODULE}/ only", name.text);
            found.push(Violation { line: name.line, message });
        }
    }
}

fn check_unsafe(
    source: &Source<'_>,
    module: Option<&str>,
    tokens: &[Token<'_>],
    found: &mut Vec<Violation>,
) {
    let in_module = source.ordered && module.is_some_and(|name| UNSAFE_MODULES.contains(&name));
    if in_module || UNSAFE_FOLDERS.contains(&source.folder) {
        return;
    }
    let allowed = UNSAFE_MODULES.join("/ and ");
    for token in tokens.iter().filter(|token| token.text == "unsafe") {
        let message = format!("no `unsafe` here: only {allowed}/ and the BPF crates may");
        found.push(Violation { line: token.line, message });
    }
}

fn check_length(text: &str, found: &mut Vec<Violation>) {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
    if lines > MAX_LINES {
        let message = format!("{lines} lines without tests, over {MAX_LINES}; split the file");
        found.push(Violation { line: MAX_LINES + 1, message });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Source, check};

    /// The violations of a file of leaktrace, as `line: message`.
    fn violations(within: &str, text: &str) -> Vec<String> {
        let source =
            Source { folder: "leaktrace/src", within: Path::new(within), text, ordered: true };
        check(&source).into_iter().map(|v| format!("{}: {}", v.line, v.message)).collect()
    }

    fn is_fine(within: &str, text: &str) -> bool {
        violations(within, text).is_empty()
    }

    #[test]
    fn a_module_imports_only_earlier_ones() {
        assert!(is_fine("probe/plan.rs", "use crate::{binary::Elf, probe::x, target::Target};"));
        assert_eq!(
            violations("probe/plan.rs", "\nuse crate::{binary, report::Report};"),
            ["2: probe may not import report: it comes later in the pipeline"]
        );
        assert!(!is_fine("binary/mod.rs", "fn f() { super::probe::g() }"));
        assert!(is_fine("binary/elf.rs", "use super::probe; // binary's own"));
        let in_tests = "#[cfg(test)]\nmod tests { use crate::session::Session; }";
        assert!(!is_fine("binary/elf.rs", in_tests));
        assert!(is_fine("binary/elf.rs", "//! See [`crate::session`].\n/* crate::cli */"));
    }

    #[test]
    fn exceptions_of_config_and_cli() {
        assert!(is_fine("session.rs", "use crate::config::Config;"));
        assert!(is_fine("cli.rs", "use crate::{config, session};"));
        assert!(is_fine("config.rs", "use crate::target::Selector;"));
        assert!(!is_fine("config.rs", "use crate::bpf::Loader;"));
        assert!(!is_fine("report/mod.rs", "use crate::config::Config;"));
        assert!(!is_fine("config.rs", "use crate::cli::Cli;"));
        assert!(!is_fine("session.rs", "use crate::cli::Cli;"));
        assert!(is_fine("main.rs", "use leaktrace::{cli, config, session};"));
    }

    #[test]
    fn unknown_modules_are_told() {
        assert!(!is_fine("extra/mod.rs", ""));
        assert!(is_fine("target/mod.rs", "use crate::SomeType;"));
    }

    #[test]
    fn aya_only_in_bpf() {
        assert!(is_fine("bpf/load.rs", "use aya::Ebpf;"));
        assert!(!is_fine("session.rs", "use aya::Ebpf;"));
        assert!(!is_fine("session.rs", "fn f(e: aya_log::EbpfLogger) {}"));
        assert!(is_fine("session.rs", "let aya = 1; // aya::Ebpf"));
    }

    #[test]
    fn unsafe_only_where_it_must_be() {
        assert!(is_fine("target/mod.rs", "#![forbid(unsafe_code)] // unsafe"));
        assert!(!is_fine("target/mod.rs", "unsafe { f() }"));
        let source = |folder| {
            let within = Path::new("memory.rs");
            check(&Source { folder, within, text: "unsafe { f() }", ordered: false })
        };
        assert!(source("leaktrace-ebpf/src").is_empty());
        assert_eq!(source("xtask/src").len(), 1);
    }

    #[test]
    fn long_files_are_told_without_their_tests() {
        let code = "fn f() {}\n".repeat(400);
        assert!(is_fine("target/mod.rs", &format!("{code}#[cfg(test)]\nmod tests {{\n\n}}")));
        assert!(!is_fine("target/mod.rs", &format!("{code}fn g() {{}}\n")));
    }
}
