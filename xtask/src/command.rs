//! Runs other programs: a command line in, success or a sentence that names it out.

use std::{
    env,
    ffi::OsStr,
    io::ErrorKind,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::paths;

/// The cargo that runs us, in the root of the workspace.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(paths::root());
    cargo
}

/// Runs a command to its end with our own output.
pub fn run(command: &mut Command) -> Result<()> {
    let line = describe(command);
    let status = command.status().with_context(|| format!("can't run `{line}`"))?;
    ensure!(status.success(), "`{line}` failed ({status}); see above");
    Ok(())
}

/// Runs a command to its end and returns what it wrote to stdout.
pub fn capture(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("can't run `{line}`"))?;
    ensure!(output.status.success(), "`{line}` failed ({}); see above", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` wrote no UTF-8"))
}

/// What a program says to a question such as `--version`; nothing when it is missing or fails.
pub fn ask(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Fails with the way out unless a program is there and answers.
pub fn require(command: &mut Command, way_out: &str) -> Result<()> {
    let line = describe(command);
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(_) => bail!("`{line}` does not work; {way_out}"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{} is missing; {way_out}", command.get_program().display())
        }
        Err(error) => Err(error).with_context(|| format!("can't run `{line}`; {way_out}")),
    }
}

/// A child process that does not outlive its owner.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only when the child is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
