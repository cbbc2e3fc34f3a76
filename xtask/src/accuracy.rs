//! `cargo xtask accuracy`: how often the verdict is right, over scenarios whose truth is known.
//!
//! Builds what is needed and runs leaktrace's benchmark of that name; a run of all of it is written
//! into `docs/accuracy.md`. Non-goals: what the tables mean (tests/accuracy has it).

use anyhow::Result;

use crate::{
    command::{cargo, run as run_command},
    go, paths, player, setup, tools, workloads,
};

/// Arguments of `accuracy`.
#[derive(clap::Args)]
pub struct Args {
    /// Passed on: --seed N, --only fast|live|recorded, --quick, --list, --sweep N, --why,
    /// --out FILE, words of names
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds and runs the benchmark.
///
/// # Errors
/// An honest program was called leaky, or a leak above the stated floor was missed.
pub fn run(args: &Args) -> Result<()> {
    setup::rust()?;
    tools::require_cc()?;
    for toolchain in go::all_toolchains()? {
        player::build(&toolchain)?;
    }
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "-p", "leaktrace", "--bench", "accuracy", "--"]);
    bench.args(&args.arguments).env("LEAKTRACE_WORKLOADS", workloads::folder());
    if is_whole(&args.arguments) {
        bench.arg("--out").arg(paths::root().join("docs/accuracy.md"));
    }
    run_command(&mut bench)
}

/// What shows a part only is no page for the documents.
fn is_whole(arguments: &[String]) -> bool {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => drop(arguments.next()),
            "--why" => {}
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn a_part_never_replaces_the_page() {
        let whole = |words: &str| {
            is_whole(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        assert!(whole("") && whole("--seed 7") && whole("--seed 7 --why"));
        assert!(
            !whole("--only fast")
                && !whole("--quick")
                && !whole("--sweep 5")
                && !whole("--seed 7 cache")
        );
    }
}
