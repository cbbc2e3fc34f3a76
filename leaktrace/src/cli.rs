//! The command line as typed; `config` has what it means.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::{
    config::{
        BUDGET_DEFAULT, ConfigError, EVICTION_THRESHOLD_DEFAULT, EvictionThreshold,
        GoroutineStacks, Growth, LIVE_ENTRIES_DEFAULT, LookOutput, Output, TraceConfig, Until,
        budget_cores, goal,
    },
    session::Subject,
    target::Selector,
    verdict::Goal,
};

/// Says whether a running process leaks, where in its code, how fast, and what that costs.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// More messages on stderr; twice also those of the libraries
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// No progress on stderr
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Colour on stdout; NO_COLOR is honoured too
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// When stdout is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attach to a live process, count its contexts, watch its memory, and judge
    Trace(TraceArgs),
    /// Look into a live Go process once: heap profile, goroutines, contexts and counters, read from
    /// its memory; attaches nothing, stops nothing
    Inspect(InspectArgs),
    /// Say what would work on a target and what not, and why; attaches nothing
    Doctor(DoctorArgs),
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("process").required(true))]
pub struct InspectArgs {
    /// The process with this id
    #[arg(long, group = "process", value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
    /// The process with this command name (as in /proc/PID/comm)
    #[arg(long, group = "process", value_name = "NAME")]
    comm: Option<String>,
    /// The process that runs this executable
    #[arg(long, group = "process", value_name = "PATH")]
    exe: Option<PathBuf>,
    /// The process of this systemd unit (kubelet.service)
    #[arg(long, group = "process", value_name = "UNIT")]
    unit: Option<String>,
    /// Also write FILE: heap.pb.gz and goroutines.pb.gz for `go tool pprof`, goroutines.txt as its
    /// debug=1, any other .txt or .json for the page; may be repeated
    #[arg(short, long = "output", value_name = "FILE")]
    output: Vec<PathBuf>,
    /// Say what changed since FILE, an earlier inspection as .json
    #[arg(long, value_name = "FILE")]
    pub diff: Option<PathBuf>,
    /// Also know the families of goroutines in FILE (see docs/FAMILIES.md)
    #[arg(long, value_name = "FILE")]
    pub families: Option<PathBuf>,
    /// Print the inspection (or with --diff, the changes) as JSON
    #[arg(long)]
    pub json: bool,
}

impl InspectArgs {
    /// Whom to look at. clap's group guarantees exactly one.
    pub fn selector(&self) -> Selector {
        selector(self.pid, self.comm.as_ref(), self.exe.as_ref(), self.unit.as_ref())
    }

    /// The files to write.
    ///
    /// # Errors
    /// A name tells no kind of file.
    pub fn outputs(&self) -> Result<Vec<LookOutput>, ConfigError> {
        self.output.iter().cloned().map(LookOutput::new).collect()
    }
}

fn selector(
    pid: Option<i32>,
    comm: Option<&String>,
    exe: Option<&PathBuf>,
    unit: Option<&String>,
) -> Selector {
    match (pid, comm, exe, unit) {
        (Some(pid), ..) => Selector::Pid(pid),
        (_, Some(comm), ..) => Selector::Comm(comm.clone()),
        (_, _, Some(exe), _) => Selector::Exe(exe.clone()),
        (.., unit) => Selector::Unit(unit.cloned().unwrap_or_default()),
    }
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("subject").required(true))]
pub struct DoctorArgs {
    /// The process with this id
    #[arg(long, group = "subject", value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
    /// The process with this command name (as in /proc/PID/comm)
    #[arg(long, group = "subject", value_name = "NAME")]
    comm: Option<String>,
    /// The process of this systemd unit (kubelet.service)
    #[arg(long, group = "subject", value_name = "UNIT")]
    unit: Option<String>,
    /// This executable, running or not
    #[arg(long, group = "subject", value_name = "PATH")]
    exe: Option<PathBuf>,
    /// Also look up this function: entry, probe point, returns, where it is inlined; may be repeated
    #[arg(long = "function", value_name = "NAME")]
    pub functions: Vec<String>,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

impl DoctorArgs {
    /// What to examine. clap's group guarantees exactly one.
    pub fn subject(&self) -> Subject {
        match (&self.pid, &self.comm, &self.unit, &self.exe) {
            (Some(pid), ..) => Subject::Process(Selector::Pid(*pid)),
            (_, Some(comm), ..) => Subject::Process(Selector::Comm(comm.clone())),
            (_, _, Some(unit), _) => Subject::Process(Selector::Unit(unit.clone())),
            (.., exe) => Subject::File(exe.clone().unwrap_or_default()),
        }
    }
}

/// A verdict that makes `trace` exit with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// On a leak.
    Leak,
    /// On a leak or a suspicion.
    Suspect,
}

/// When goroutines are counted by probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StacksWhen {
    /// Once those of some go statement grow.
    Growing,
    /// From the beginning.
    Always,
    /// Never.
    Never,
}

/// What growth is traced by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GrowthBy {
    /// It is not traced.
    Off,
    /// Page faults.
    Faults,
    /// Page faults and mapping calls.
    All,
}

/// Arguments of `trace`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").required(true))]
pub struct TraceArgs {
    /// The process with this id
    #[arg(long, group = "target", value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
    /// The process with this command name (as in /proc/PID/comm)
    #[arg(long, group = "target", value_name = "NAME")]
    comm: Option<String>,
    /// The process that runs this executable
    #[arg(long, group = "target", value_name = "PATH")]
    exe: Option<PathBuf>,
    /// The process of this systemd unit (kubelet.service)
    #[arg(long, group = "target", value_name = "UNIT")]
    unit: Option<String>,
    /// Trace for so long (30s, 5m, 1h30m, or seconds) [default: until the verdict is settled]; Ctrl-C
    /// ends earlier, with the report
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Go on until a leak of this rate would have been seen: contexts or goroutines (0.1/s, 20/h), or
    /// bytes of the heap or of memory beside it (4.5MiB/h) [default: 0.5/s]
    #[arg(long, value_name = "RATE", value_parser = goal, conflicts_with = "duration")]
    see: Option<Goal>,
    /// End after so long also when the verdict is not settled [default: 5m; with --see 24h]
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "duration")]
    at_most: Option<Duration>,
    /// How often to read figures [default: 1s until settled in at most 5m; else 5s, more often in a
    /// trace below 100 s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    interval: Option<Duration>,
    /// Also write the report to FILE, as .txt or .json; may be repeated
    #[arg(short, long = "output", value_name = "FILE")]
    output: Vec<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 on this verdict (or a worse one)
    #[arg(long, value_enum, value_name = "VERDICT")]
    pub fail_on: Option<FailOn>,
    /// Contexts tracked one by one before address sampling begins; 89 bytes of kernel memory each
    #[arg(long, value_name = "N", default_value_t = LIVE_ENTRIES_DEFAULT)]
    live_entries: u32,
    /// Say which code makes memory grow: by page faults, also by mapping calls (mmap, brk and the
    /// like: these make every system call of the node some nanoseconds slower), or not
    #[arg(long, value_enum, value_name = "BY", default_value_t = GrowthBy::Faults)]
    growth: GrowthBy,
    /// Count starts and ends of goroutines by probes, with the call chains that start them: once they
    /// grow, always, or never
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = StacksWhen::Growing,
          default_missing_value = "always", num_args = 0..=1, require_equals = true)]
    goroutine_stacks: StacksWhen,
    /// What counting goroutines may cost the process, of one core; beyond it, time is sampled
    #[arg(long, value_name = "SHARE", value_parser = budget_cores, default_value = BUDGET_DEFAULT)]
    budget: f64,
    /// Forecast when less than this is available on the node: a kubelet evicts then; an amount or a
    /// percentage
    #[arg(long, value_name = "SIZE", default_value = EVICTION_THRESHOLD_DEFAULT)]
    eviction_threshold: EvictionThreshold,
    /// Also know the families of leaks in FILE (see docs/FAMILIES.md)
    #[arg(long, value_name = "FILE")]
    families: Option<PathBuf>,
}

impl TraceArgs {
    /// What the arguments mean.
    ///
    /// # Errors
    /// They make no trace.
    pub fn config(&self, verbose: bool) -> Result<TraceConfig, ConfigError> {
        let outputs = self.output.iter().cloned().map(Output::new).collect::<Result<_, _>>()?;
        let until = Until::new(self.duration, self.see, self.at_most);
        TraceConfig {
            selector: self.selector(),
            until,
            interval: self.interval.unwrap_or_else(|| until.default_interval()),
            live_entries: self.live_entries,
            bpf_log: verbose,
            growth: match self.growth {
                GrowthBy::Off => Growth::Off,
                GrowthBy::Faults => Growth::Faults,
                GrowthBy::All => Growth::All,
            },
            goroutine_stacks: match self.goroutine_stacks {
                StacksWhen::Growing => GoroutineStacks::Growing,
                StacksWhen::Always => GoroutineStacks::Always,
                StacksWhen::Never => GoroutineStacks::Never,
            },
            budget_cores: self.budget,
            eviction_threshold: self.eviction_threshold,
            families: self.families.clone(),
            outputs,
        }
        .validated()
    }

    /// clap's group guarantees exactly one.
    fn selector(&self) -> Selector {
        selector(self.pid, self.comm.as_ref(), self.exe.as_ref(), self.unit.as_ref())
    }
}

/// Go's and Prometheus's duration syntax, or bare seconds.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds)
            .map_err(|error| format!("{error}; use for example 30s, 5m or 1h30m"));
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; use for example 30s, 5m or 1h30m"))
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, duration};
    use crate::{config::TraceConfig, target::Selector};
    use clap::{CommandFactory as _, Parser as _};
    use std::time::Duration;

    fn parse(arguments: &[&str]) -> Result<TraceConfig, String> {
        let all = ["leaktrace", "trace"].iter().chain(arguments);
        let cli = Cli::try_parse_from(all).map_err(|error| error.to_string())?;
        let Command::Trace(trace) = cli.command else { return Err("not a trace".to_owned()) };
        trace.config(false).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exactly_one_target_is_required() {
        assert!(parse(&[]).unwrap_err().contains("--pid"));
        assert!(parse(&["--pid", "3", "--comm", "x"]).is_err());
        assert!(parse(&["--pid", "0"]).is_err());
        assert_eq!(parse(&["--pid", "3"]).unwrap().selector, Selector::Pid(3));
        let unit = parse(&["--unit", "kubelet.service"]).unwrap().selector;
        assert_eq!(unit, Selector::Unit("kubelet.service".to_owned()));
    }

    #[test]
    fn a_short_trace_is_read_more_often() {
        for (duration, interval_ms) in [("5m", 5000), ("20s", 1000), ("1s", 100)] {
            let config = parse(&["--pid", "3", "--duration", duration]).unwrap();
            assert_eq!(config.interval, Duration::from_millis(interval_ms), "{duration}");
        }
        let asked = parse(&["--pid", "3", "--duration", "20s", "--interval", "3s"]).unwrap();
        assert_eq!(asked.interval, Duration::from_secs(3));
        assert!(parse(&["--pid", "3", "--duration", "0.3"]).unwrap_err().contains("five readings"));
    }

    #[test]
    fn a_trace_has_a_duration_or_something_to_see() {
        let minutes = |arguments: &[&str]| {
            let config = parse(&[&["--pid", "3"], arguments].concat())?;
            Ok::<_, String>((config.until.goal().is_some(), config.until.at_most().as_secs() / 60))
        };
        assert_eq!(minutes(&[]), Ok((true, 5)));
        assert_eq!(minutes(&["--duration", "10m"]), Ok((false, 10)));
        assert_eq!(minutes(&["--see", "20/h"]), Ok((true, 24 * 60)));
        assert_eq!(minutes(&["--see", "20/h", "--at-most", "1h"]), Ok((true, 60)));
        for wrong in [["--see", "20/h"], ["--at-most", "1h"]] {
            let error = minutes(&[&wrong[..], &["--duration", "5m"]].concat()).unwrap_err();
            assert!(error.contains("--duration"), "{error}");
        }
        assert!(minutes(&["--see", "much"]).unwrap_err().contains("4.5MiB/h"));
    }

    #[test]
    fn durations_are_go_syntax_or_seconds() {
        for (text, seconds) in [("90", 90.0), ("1.5", 1.5), ("1h30m", 5400.0), ("500ms", 0.5)] {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "-5", "soon", "5 parsecs", "1e30"] {
            let error = duration(text).unwrap_err();
            assert!(error.contains("30s"), "{text}: {error}");
        }
    }
}
