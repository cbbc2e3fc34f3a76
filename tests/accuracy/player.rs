//! The Go program that carries out schedules (`tests/workloads/player`): a schedule in, a running
//! process that knows what it did out. Non-goals: judging.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{
    scenario::{Part, Scenario, What},
    schedule::Event,
    support::{Guard, program_path},
};

/// At most so many parts have lines of their own; `partsMax` in `schedule.go`.
pub const PARTS_MAX: usize = 8;
/// The player lives through so much of the time before tracing begins.
const WARM_MAX_S: f64 = 8.0;
/// The dispatcher's longest sleep, in seconds, with some room: `sleepMax` in `player.go`.
const SLEEP_MAX_S: f64 = 0.1;

/// How much of the time before tracing begins the player lives through, in seconds.
pub fn lived_warm_s(scenario: &Scenario) -> f64 {
    scenario.warm_s.min(WARM_MAX_S)
}

/// What the player says that it did, and when.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Truth {
    /// Since the schedule's time 0.
    pub at_s: f64,
    /// How late it was at most, since then.
    pub late_max_s: f64,
    /// CPU time used so far.
    pub cpu_s: f64,
    /// By part.
    pub parts: Vec<Made>,
}

/// What was done for one part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Made {
    /// Made so far, but for what ended before the player began to live through its time.
    pub created: u64,
    /// Of these, let go.
    pub released: u64,
    /// Of these, forgotten.
    pub forgotten: u64,
}

/// A running player.
pub struct Player {
    process: Guard,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    warm_s: f64,
}

impl Player {
    /// Starts the player of a build (`go1.26.3-player`) and waits until it is ready.
    pub fn start(build: &str, scenario: &Scenario, events: &[Event]) -> Result<Self> {
        ensure!(scenario.parts.len() <= PARTS_MAX, "{} has too many parts", scenario.name);
        let file = schedule_file();
        write_schedule(&file, &scenario.parts, events)
            .with_context(|| format!("can't write {}", file.display()))?;
        let warm_s = lived_warm_s(scenario);
        let mut command = Command::new(program_path(build, "player"));
        command.env("GOGC", scenario.gogc.to_string()).arg("-warm").arg(format!("{warm_s}s"));
        if let Some(ends_s) = scenario.ends_s {
            command.arg("-ends").arg(format!("{ends_s}s"));
        }
        let mut child = command.arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut this = Self { process: Guard(child), stdin, stdout, warm_s };
        let ready = this.line();
        // Whatever it said, it has opened the file or never will.
        std::fs::remove_file(&file)?;
        let ready = ready?;
        ensure!(ready == format!("ready pid={}", this.pid()), "`{ready}` is not ready");
        Ok(this)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Lets it begin, and waits for the schedule's time 0.
    pub fn begin(&mut self) -> Result<Truth> {
        self.stdin.write_all(b"begin\n")?;
        self.answer()
    }

    /// What it did so far; its last words if it ended in the middle of its work.
    pub fn truth(&mut self) -> Result<Truth> {
        // Of one that ended, its last words are to be read all the same.
        let _ = self.stdin.write_all(b"truth\n");
        self.answer()
    }

    /// Its last words, of one that ends by itself.
    pub fn last_words(&mut self) -> Result<Truth> {
        self.answer()
    }

    /// Whether it did what `events` say, no more and no less.
    pub fn ensure_done(&self, truth: &Truth, events: &[Event]) -> Result<()> {
        let since_s = -self.warm_s;
        let [early, late] = [truth.at_s - truth.late_max_s - SLEEP_MAX_S, truth.at_s]
            .map(|until_s| done_by(events, truth.parts.len(), since_s, until_s));
        for (number, made) in truth.parts.iter().enumerate() {
            let [early, late] = [early[number], late[number]];
            ensure!(
                (early.created..=late.created).contains(&made.created)
                    && (early.released..=late.released).contains(&made.released)
                    && (early.forgotten..=late.forgotten).contains(&made.forgotten),
                "part {number} is at {made:?}, not at {early:?} to {late:?}, at {:.3} s",
                truth.at_s
            );
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<Truth> {
        let line = self.line()?;
        let json = line.strip_prefix("ok ").or_else(|| line.strip_prefix("end "));
        let json = json.with_context(|| format!("`{line}` is no truth"))?;
        Ok(serde_json::from_str(json)?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

/// What is done for each part by a time. What is gone when the player begins to live through its time
/// is never made.
fn done_by(events: &[Event], parts: usize, since_s: f64, until_s: f64) -> Vec<Made> {
    let mut done = vec![Made::default(); parts];
    let is_made = |event: &&Event| {
        let is_gone = event.until_s.is_some_and(|end_s| end_s <= since_s);
        event.at_s <= until_s && !(event.at_s < since_s && is_gone)
    };
    for event in events.iter().filter(is_made) {
        let made = &mut done[event.part];
        made.created += 1;
        made.released += u64::from(event.until_s.is_some_and(|end_s| end_s <= until_s));
        made.forgotten += u64::from(event.is_forgotten);
    }
    done
}

/// Another file for each player of this process.
fn schedule_file() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("schedule-{}-{number}", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// As `schedule.go` reads it.
fn write_schedule(path: &Path, parts: &[Part], events: &[Event]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(b"ltplay1\n")?;
    file.write_all(&(parts.len() as u64).to_le_bytes())?;
    for part in parts {
        file.write_all(&kind_number(part.what).to_le_bytes())?;
        file.write_all(&part.payload_bytes.to_le_bytes())?;
    }
    for event in events {
        file.write_all(&micros(event.at_s).to_le_bytes())?;
        file.write_all(&event.until_s.map_or(i64::MAX, micros).to_le_bytes())?;
        file.write_all(&[event.part as u8, u8::from(event.is_forgotten)])?;
    }
    file.flush()
}

fn micros(s: f64) -> i64 {
    (s * 1e6).round() as i64
}

/// `kind` in `schedule.go`.
const fn kind_number(what: What) -> u64 {
    match what {
        What::Context => 0,
        What::Timeout => 1,
        What::Unheld => 2,
        What::Goroutine => 3,
        What::Both => 4,
        What::Heap => 5,
        What::Native => 6,
    }
}
