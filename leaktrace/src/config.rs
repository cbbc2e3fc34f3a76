//! What a trace is to do, validated: typed values in, one plain struct out.
//!
//! Defaults and limits stand here and nowhere else. Non-goals: the command line's syntax.

use std::{path::PathBuf, time::Duration};

use crate::{forecast::EVICTION_THRESHOLD_BYTES, target::Selector, verdict::Goal};

/// More than this is no budget any more.
const BUDGET_MAX_CORES: f64 = 1024.0;
/// What probes of goroutines may cost the target, as it would be typed.
pub const BUDGET_DEFAULT: &str = "1%";
/// A kubelet's own default (kubernetes.io, "Node-pressure Eviction"), as it would be typed.
pub const EVICTION_THRESHOLD_DEFAULT: &str = "100Mi";
/// How long a trace lasts at most whose verdict is not settled earlier.
const AT_MOST_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// The same where it is said what it is to see, which may take long.
const AT_MOST_TO_SEE: Duration = Duration::from_secs(24 * 3600);
/// How often figures are read when nothing is said: every five seconds, or more often in a trace
/// that is too short for twenty such readings,
const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
/// and in one that ends as soon as possible.
const INTERVAL_UNTIL_SETTLED: Duration = Duration::from_secs(1);
const READINGS_DEFAULT: u32 = 20;
/// Reading more often would cost more than it tells.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Longer than any process is traced in one go, and short enough for every clock.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Live contexts tracked at most before sampling begins; 11.6 MB of kernel memory.
pub const LIVE_ENTRIES_DEFAULT: u32 = 131_072;
/// Below this, sampling would leave nothing to judge.
const LIVE_ENTRIES_MIN: u32 = 1024;
/// 1.5 GB of kernel memory.
const LIVE_ENTRIES_MAX: u32 = 1 << 24;

/// When a trace ends, unless it is stopped before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Until {
    /// After this time.
    Time(Duration),
    /// When its verdict is settled.
    Settled {
        /// After this time at the latest.
        at_most: Duration,
        /// What it must have been able to see by then.
        goal: Goal,
    },
}

impl Until {
    /// What was asked for: a time, or what is to be seen and how long that may take.
    pub fn new(time: Option<Duration>, see: Option<Goal>, at_most: Option<Duration>) -> Self {
        let default = if see.is_some() { AT_MOST_TO_SEE } else { AT_MOST_DEFAULT };
        let (goal, at_most) = (see.unwrap_or(Goal::DEFAULT), at_most.unwrap_or(default));
        time.map_or(Self::Settled { at_most, goal }, Self::Time)
    }

    /// How long the trace lasts at most.
    pub const fn at_most(&self) -> Duration {
        match self {
            Self::Time(time) => *time,
            Self::Settled { at_most, .. } => *at_most,
        }
    }

    /// What must have been seen to settle the verdict, where that ends the trace.
    pub const fn goal(&self) -> Option<Goal> {
        match self {
            Self::Time(_) => None,
            Self::Settled { goal, .. } => Some(*goal),
        }
    }

    /// How often figures are read when nothing is said.
    pub fn default_interval(&self) -> Duration {
        let interval = (self.at_most() / READINGS_DEFAULT).clamp(INTERVAL_MIN, INTERVAL_DEFAULT);
        match self {
            Self::Settled { at_most, .. } if *at_most <= AT_MOST_DEFAULT => {
                interval.min(INTERVAL_UNTIL_SETTLED)
            }
            _ => interval,
        }
    }
}

/// A rate that a trace is to see: `0.1/s`, `6/min`, `20/h` contexts or goroutines, or bytes as in
/// `4.5MiB/h`.
///
/// # Errors
/// It is none.
pub fn goal(text: &str) -> Result<Goal, String> {
    let wrong = || format!("`{text}` is no rate; use for example 0.1/s, 20/h or 4.5MiB/h");
    let (amount, unit) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let suffix =
        BYTE_UNITS.iter().find_map(|(name, size)| Some((amount.strip_suffix(name)?, *size)));
    let (number, size) = suffix.map_or((amount, None), |(number, size)| (number, Some(size)));
    let number = number.trim_end().parse::<f64>().ok();
    let number = number.filter(|number| number.is_finite() && *number > 0.0).ok_or_else(wrong)?;
    Ok(match size {
        None => Goal { objects_per_s: number / seconds, bytes_per_s: None, share_of_leak: 0.0 },
        Some(size) => {
            let bytes_per_s = Some(number * size as f64 / seconds);
            Goal { bytes_per_s, share_of_leak: 0.0, ..Goal::DEFAULT }
        }
    })
}

/// Units of bytes in a rate; the longer names first.
const BYTE_UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// A format that a report can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// Schema 1.
    Json,
}

/// A file to write the report to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Where.
    pub path: PathBuf,
    /// In what form.
    pub format: Format,
}

/// Why the settings make no trace. Each names the option and the way out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The interval is too short.
    #[error("--interval {0:?} is too short: 100ms is the shortest")]
    Interval(Duration),
    /// Fewer than five readings give no slope.
    #[error(
        "a trace of {duration:?} is too short for --interval {interval:?}: at least five readings are needed"
    )]
    Duration {
        /// As asked.
        duration: Duration,
        /// As asked.
        interval: Duration,
    },
    /// Clocks would overflow.
    #[error("--duration, --at-most and --interval can be 366 days at most")]
    TooLong,
    /// The map would be useless or huge.
    #[error("--live-entries {0} is out of range: {LIVE_ENTRIES_MIN} to {LIVE_ENTRIES_MAX}")]
    LiveEntries(u32),
    /// The extension says nothing.
    #[error("-o {}: the extension names no known format; use .txt or .json", .0.display())]
    Format(PathBuf),
    /// The same, for an inspection.
    #[error(
        "-o {}: the name tells no kind of file; use .json, .txt, or a name with heap or goroutine \
         in it that ends in .pb.gz",
        .0.display()
    )]
    LookFormat(PathBuf),
}

/// What a file of an inspection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookFormat {
    /// The page.
    Text,
    /// The page's figures, schema 1.
    Json,
    /// The heap profile, for `go tool pprof`.
    HeapProfile,
    /// All goroutines, for `go tool pprof`.
    GoroutineProfile,
    /// All goroutines, as `/debug/pprof/goroutine?debug=1` has them.
    GoroutineText,
}

/// A file to write of an inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookOutput {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub format: LookFormat,
}

impl LookOutput {
    /// The format comes from the name.
    ///
    /// # Errors
    /// It tells none.
    pub fn new(path: PathBuf) -> Result<Self, ConfigError> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let format = match name.split_once('.') {
            Some((stem, "pb.gz")) if stem.contains("goroutine") => LookFormat::GoroutineProfile,
            Some((stem, "pb.gz")) if stem.contains("heap") => LookFormat::HeapProfile,
            _ if name.ends_with(".json") => LookFormat::Json,
            _ if name.ends_with(".txt") && name.contains("goroutine") => LookFormat::GoroutineText,
            _ if name.ends_with(".txt") => LookFormat::Text,
            _ => return Err(ConfigError::LookFormat(path)),
        };
        Ok(Self { path, format })
    }
}

/// A validated trace.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceConfig {
    /// Whom.
    pub selector: Selector,
    /// When it ends; Ctrl-C ends it earlier, with its report.
    pub until: Until,
    /// How often figures are read.
    pub interval: Duration,
    /// Capacity of the live map.
    pub live_entries: u32,
    /// Let the BPF programs log.
    pub bpf_log: bool,
    /// What of the target's growth is traced by call chain.
    pub growth: Growth,
    /// When starts and ends of goroutines are counted by probes, with who starts them.
    pub goroutine_stacks: GoroutineStacks,
    /// What these may cost the target, in cores.
    pub budget_cores: f64,
    /// Below what is available on the node a kubelet evicts.
    pub eviction_threshold: EvictionThreshold,
    /// More families of known leaks, as docs/FAMILIES.md says.
    pub families: Option<PathBuf>,
    /// Files to write.
    pub outputs: Vec<Output>,
}

/// What of the target's growth is traced by call chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// Nothing.
    Off,
    /// Page faults: who touches memory first. Costs other processes nothing.
    Faults,
    /// Mapping calls too: while they are counted, every system call of the node takes longer.
    All,
}

/// When starts and ends of goroutines are counted by probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoroutineStacks {
    /// From the beginning.
    Always,
    /// Once the goroutines of some `go` statement grow.
    Growing,
    /// Never.
    Never,
}

/// A share of one core, `1%` or `0.01`, above 0.
///
/// # Errors
/// It is none.
pub fn budget_cores(text: &str) -> Result<f64, String> {
    let (number, divisor) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    let cores = number.parse::<f64>().ok().map(|number| number / divisor);
    let cores = cores.filter(|cores| *cores > 0.0 && *cores <= BUDGET_MAX_CORES);
    cores.ok_or_else(|| format!("`{text}` is no share of a core; use for example 1% or 0.01"))
}

/// The kubelet's `--eviction-hard=memory.available<…`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EvictionThreshold {
    /// Bytes.
    Bytes(u64),
    /// A share of the node's memory.
    Ratio(f64),
}

impl EvictionThreshold {
    /// In bytes on a node of `capacity_bytes`; without that, a share is taken for the default.
    pub fn bytes(self, capacity_bytes: Option<u64>) -> u64 {
        match (self, capacity_bytes) {
            (Self::Bytes(bytes), _) => bytes,
            (Self::Ratio(ratio), Some(capacity)) => (capacity as f64 * ratio) as u64,
            (Self::Ratio(_), None) => EVICTION_THRESHOLD_BYTES,
        }
    }
}

impl std::str::FromStr for EvictionThreshold {
    type Err = String;

    /// A whole number of bytes, or of k, M, G, Ki, Mi or Gi of them (`100Mi`), or a percentage (`5%`),
    /// as in a kubelet's configuration.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SUFFIXES: [(&str, u64); 6] = [
            ("Ki", 1 << 10),
            ("Mi", 1 << 20),
            ("Gi", 1 << 30),
            ("k", 1_000),
            ("M", 1_000_000),
            ("G", 1_000_000_000),
        ];
        let wrong = || format!("`{text}` is no amount of memory; use for example 100Mi or 5%");
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.parse().map_err(|_| wrong())?;
            let sound = (0.0..=100.0).contains(&percent);
            return if sound { Ok(Self::Ratio(percent / 100.0)) } else { Err(wrong()) };
        }
        let suffix = SUFFIXES.iter().find_map(|(s, unit)| Some((text.strip_suffix(s)?, *unit)));
        let (number, unit) = suffix.unwrap_or((text, 1));
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(unit).map(Self::Bytes).ok_or_else(wrong)
    }
}

impl TraceConfig {
    /// Checks what single options can't check.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn validated(self) -> Result<Self, ConfigError> {
        let Self { interval, live_entries, .. } = self;
        let duration = self.until.at_most();
        if interval < INTERVAL_MIN {
            return Err(ConfigError::Interval(interval));
        }
        if duration.max(interval) > DURATION_MAX {
            return Err(ConfigError::TooLong);
        }
        if duration < 5 * interval {
            return Err(ConfigError::Duration { duration, interval });
        }
        if !(LIVE_ENTRIES_MIN..=LIVE_ENTRIES_MAX).contains(&live_entries) {
            return Err(ConfigError::LiveEntries(live_entries));
        }
        Ok(self)
    }
}

impl Output {
    /// The format comes from the extension.
    ///
    /// # Errors
    /// It has none, or an unknown one.
    pub fn new(path: PathBuf) -> Result<Self, ConfigError> {
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Format::Json,
            Some("txt") => Format::Text,
            _ => return Err(ConfigError::Format(path)),
        };
        Ok(Self { path, format })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ConfigError, EvictionThreshold, Format, GoroutineStacks, Growth, LIVE_ENTRIES_DEFAULT,
        LookFormat, LookOutput, Output, TraceConfig, Until, budget_cores, goal,
    };
    use crate::{target::Selector, verdict::Goal};
    use std::{path::PathBuf, time::Duration};

    fn config(duration_ms: u64, interval_ms: u64) -> TraceConfig {
        TraceConfig {
            selector: Selector::Pid(1),
            until: Until::Time(Duration::from_millis(duration_ms)),
            interval: Duration::from_millis(interval_ms),
            live_entries: LIVE_ENTRIES_DEFAULT,
            bpf_log: false,
            growth: Growth::Faults,
            goroutine_stacks: GoroutineStacks::Growing,
            budget_cores: 0.01,
            eviction_threshold: EvictionThreshold::Bytes(1),
            families: None,
            outputs: Vec::new(),
        }
    }

    #[test]
    fn senseless_times_are_named() {
        assert!(config(60_000, 5_000).validated().is_ok());
        let zero = config(60_000, 0).validated().unwrap_err();
        assert_eq!(zero.to_string(), "--interval 0ns is too short: 100ms is the shortest");
        let short = config(10_000, 5_000).validated().unwrap_err();
        assert!(matches!(short, ConfigError::Duration { .. }));
        for (duration, interval) in [(u64::MAX, 1000), (u64::MAX, u64::MAX / 4)] {
            assert_eq!(config(duration, interval).validated(), Err(ConfigError::TooLong));
        }
    }

    #[test]
    fn rates_to_see_are_of_objects_or_of_bytes() {
        assert_eq!(
            goal("6/min"),
            Ok(Goal { objects_per_s: 0.1, bytes_per_s: None, share_of_leak: 0.0 })
        );
        let bytes = goal("4.5 MiB/h").unwrap().bytes_per_s.unwrap();
        assert!((bytes - 1310.72).abs() < 0.01, "{bytes}");
        assert_eq!(goal("10B/s").unwrap().bytes_per_s, Some(10.0));
        for wrong in ["", "5", "x/s", "-1/s", "0/s", "1/week", "NaN/s", "inf/s", "5 apples/s"] {
            assert!(goal(wrong).unwrap_err().contains("20/h"), "{wrong}");
        }
    }

    #[test]
    fn a_trace_that_is_to_see_something_may_take_its_time() {
        let minutes = |until: Until| until.at_most().as_secs() / 60;
        assert_eq!(minutes(Until::new(None, None, None)), 5);
        assert_eq!(minutes(Until::new(None, goal("20/h").ok(), None)), 24 * 60);
        let limited = Until::new(None, goal("20/h").ok(), Some(Duration::from_secs(3600)));
        assert_eq!(minutes(limited), 60);
        assert_eq!(Until::new(None, None, None).default_interval(), Duration::from_secs(1));
        let fixed = Until::new(Some(Duration::from_secs(300)), None, None);
        assert_eq!((fixed.goal(), fixed.default_interval()), (None, Duration::from_secs(5)));
    }

    #[test]
    fn a_budget_is_a_share_of_a_core() {
        assert_eq!(budget_cores("1%"), Ok(0.01));
        assert_eq!(budget_cores("0.5"), Ok(0.5));
        for wrong in ["", "0", "-1%", "NaN", "inf", "much", "1 %%"] {
            assert!(budget_cores(wrong).unwrap_err().contains("1%"), "{wrong}");
        }
    }

    #[test]
    fn thresholds_are_typed_as_for_a_kubelet() {
        let bytes = |text: &str| text.parse::<EvictionThreshold>().unwrap().bytes(Some(2000));
        assert_eq!(
            (bytes("100Mi"), bytes("5%"), bytes("7"), bytes("2k")),
            (100 << 20, 100, 7, 2000)
        );
        let unknown = "5%".parse::<EvictionThreshold>().unwrap().bytes(None);
        assert_eq!(unknown, 100 << 20);
        for wrong in
            ["", "Mi", "-1", "101%", "5 Mi", "99999999999999999999", "18446744073709551615Gi"]
        {
            let error = wrong.parse::<EvictionThreshold>().unwrap_err();
            assert!(error.contains("100Mi"), "{error}");
        }
    }

    #[test]
    fn the_extension_decides_the_format() {
        assert_eq!(Output::new("a/b.json".into()).unwrap().format, Format::Json);
        assert_eq!(Output::new("b.txt".into()).unwrap().format, Format::Text);
        for unknown in ["report", "report.doc", ".json"] {
            let error = Output::new(PathBuf::from(unknown)).unwrap_err();
            assert!(error.to_string().contains(unknown), "{error}");
        }
    }

    #[test]
    fn the_name_of_a_file_tells_what_it_holds() {
        for (name, format) in [
            ("/tmp/look.json", LookFormat::Json),
            ("look.txt", LookFormat::Text),
            ("node7-heap.pb.gz", LookFormat::HeapProfile),
            ("goroutines.pb.gz", LookFormat::GoroutineProfile),
            ("goroutines.txt", LookFormat::GoroutineText),
        ] {
            assert_eq!(LookOutput::new(name.into()).unwrap().format, format, "{name}");
        }
        for name in ["look", "look.pb.gz", "look.html", "heap.gz"] {
            assert!(LookOutput::new(name.into()).is_err(), "{name}");
        }
    }
}
