//! The command line: parse, run, print, and say what went wrong in one sentence.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use leaktrace::{
    cli::{Cli, Color, Command, FailOn, InspectArgs, TraceArgs},
    config::{Format, LookFormat, LookOutput, Output, TraceConfig},
    display::{bytes, printable, seconds},
    history::History,
    report::{
        Inspection, Report, changes, render_changes, render_goroutines, render_inspection,
        render_json, render_text,
    },
    session::{Findings, Inspector, Progress, SoFar, examine, trace},
    target::Identity,
    verdict::State,
};

/// Anything that kept the command from its work.
const EXIT_ERROR: u8 = 2;
/// The largest inspections have some megabytes.
const INSPECTION_BYTES_MAX: u64 = 256 << 20;
/// `--fail-on` applies.
const EXIT_VERDICT: u8 = 1;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "leaktrace: {error:#}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    start_log(cli.verbose);
    match &cli.command {
        Command::Trace(arguments) => run_trace(cli, arguments),
        Command::Inspect(arguments) => run_inspect(cli, arguments),
        Command::Doctor(arguments) => {
            let diagnosis = examine(&arguments.subject(), &arguments.functions)?;
            let text = if arguments.json { render_json(&diagnosis)? } else { diagnosis.text() };
            print(cli.color, &text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run_trace(cli: &Cli, arguments: &TraceArgs) -> Result<ExitCode> {
    let config = arguments.config(cli.verbose > 0)?;
    config.outputs.iter().try_for_each(|output| check_writable(&output.path))?;
    let mut progress = StderrProgress::new(cli.quiet);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let stop = stop_signal()?;
        trace(&config, stop, &mut progress).await
    })?;
    progress.clear();
    deliver(cli, arguments, &config, &report)
}

fn run_inspect(cli: &Cli, arguments: &InspectArgs) -> Result<ExitCode> {
    let outputs = arguments.outputs()?;
    outputs.iter().try_for_each(|output| check_writable(&output.path))?;
    let earlier = arguments.diff.as_deref().map(read_inspection).transpose()?;
    let inspector = Inspector::open(&arguments.selector(), arguments.families.as_deref())?;
    let findings = inspector.inspect();
    let now = &findings.inspection;
    let changed = earlier.as_ref().map(|earlier| changes(earlier, now));
    let text = match (&changed, arguments.json) {
        (None, true) => render_json(now)?,
        (None, false) => render_inspection(now),
        (Some(changed), true) => render_json(changed)?,
        (Some(changed), false) => render_inspection(now) + "\n" + &render_changes(changed),
    };
    let written: Vec<_> =
        outputs.iter().map(|output| write_look(output, &inspector, &findings)).collect();
    print(cli.color, &text)?;
    written.into_iter().collect::<Result<()>>()?;
    Ok(ExitCode::SUCCESS)
}

fn write_look(output: &LookOutput, inspector: &Inspector, findings: &Findings) -> Result<()> {
    let page =
        || anstream::adapter::strip_str(&render_inspection(&findings.inspection)).to_string();
    let contents = match output.format {
        LookFormat::Text => Ok(page().into_bytes()),
        LookFormat::Json => Ok(render_json(&findings.inspection)?.into_bytes()),
        LookFormat::HeapProfile => inspector.heap_file(findings),
        LookFormat::GoroutineProfile => inspector.goroutine_file(findings),
        LookFormat::GoroutineText => {
            inspector.goroutine_profile(findings).map(|all| render_goroutines(&all).into_bytes())
        }
    };
    let path = output.path.display();
    let contents = contents.with_context(|| format!("nothing to write to {path}"))?;
    std::fs::write(&output.path, contents).with_context(|| format!("can't write to {path}"))
}

/// An earlier inspection: a file that anybody may have written.
fn read_inspection(path: &Path) -> Result<Inspection> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("--diff {shown}: can't open it"))?;
    let mut text = String::new();
    file.take(INSPECTION_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("--diff {shown}: can't read it"))?;
    serde_json::from_str(&text).with_context(|| {
        format!("--diff {shown}: not an inspection; make one with `leaktrace inspect -o FILE.json`")
    })
}

/// Writes the report everywhere it should go; one place that fails does not cost the others.
fn deliver(
    cli: &Cli,
    arguments: &TraceArgs,
    config: &TraceConfig,
    report: &Report,
) -> Result<ExitCode> {
    let written: Vec<_> = config.outputs.iter().map(|output| write_file(output, report)).collect();
    let text = if arguments.json { render_json(report)? } else { render_text(report) };
    print(cli.color, &text)?;
    written.into_iter().collect::<Result<()>>()?;
    let failed = match arguments.fail_on {
        Some(FailOn::Leak) => report.verdict.state == State::Leak,
        Some(FailOn::Suspect) => report.verdict.state >= State::Suspect,
        None => false,
    };
    Ok(if failed { ExitCode::from(EXIT_VERDICT) } else { ExitCode::SUCCESS })
}

fn print(color: Color, text: &str) -> Result<()> {
    let choice = match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    };
    let mut stdout = anstream::AutoStream::new(io::stdout(), choice);
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that closed the pipe wanted no more; files and exit code still count.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("can't write the report to stdout"),
    }
}

fn render(format: Format, report: &Report) -> Result<String> {
    Ok(match format {
        Format::Json => render_json(report)?,
        Format::Text => anstream::adapter::strip_str(&render_text(report)).to_string(),
    })
}

fn write_file(output: &Output, report: &Report) -> Result<()> {
    let text = render(output.format, report)?;
    std::fs::write(&output.path, text)
        .with_context(|| format!("can't write the report to {}", output.path.display()))
}

/// Finds out before a long trace whether its report can be written, without touching what is
/// in the file now.
fn check_writable(path: &Path) -> Result<()> {
    let existed = path.exists();
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .with_context(|| format!("-o {}: can't write there", path.display()))?;
    if !existed {
        // Only our own empty file; if this fails the trace can still write it.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Ready at the first SIGINT or SIGTERM. Both are caught from this call on, not only once the
/// future is polled: a Ctrl-C while the probes are being attached must not cost the report.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("can't catch SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("can't catch SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn start_log(verbose: u8) {
    let filter = match verbose {
        0 => "off",
        1 => "warn,leaktrace=debug,leaktrace_ebpf=debug",
        _ => "debug",
    };
    env_logger::Builder::new().parse_filters(filter).init();
}

/// Progress on stderr: one line that is rewritten on a terminal, a line every ten seconds
/// elsewhere.
struct StderrProgress {
    quiet: bool,
    terminal: bool,
    last_line: Option<Instant>,
    /// What the readings mean so far, where the trace ends with that.
    so_far: Option<State>,
}

impl StderrProgress {
    const LINE_EVERY: Duration = Duration::from_secs(10);

    fn new(quiet: bool) -> Self {
        Self { quiet, terminal: io::stderr().is_terminal(), last_line: None, so_far: None }
    }

    fn clear(&self) {
        if self.terminal && !self.quiet {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Progress for StderrProgress {
    fn attached(&mut self, identity: &Identity, plan: &str) {
        if !self.quiet {
            let Identity { comm, pid, .. } = identity;
            let comm = printable(comm.as_bytes());
            let _ = writeln!(
                io::stderr(),
                "tracing {comm} (pid {pid}): {plan}; Ctrl-C ends it with the report"
            );
        }
    }

    fn judged(&mut self, so_far: &SoFar<'_>) {
        self.so_far = Some(so_far.verdict.state);
    }

    fn reading(&mut self, history: &History, remaining: Duration) {
        let due = self.last_line.is_none_or(|last| last.elapsed() >= Self::LINE_EVERY);
        if self.quiet || !(self.terminal || due) {
            return;
        }
        self.last_line = Some(Instant::now());
        let left = seconds(remaining.as_secs_f64().max(1.0));
        let rss = history.points().last().and_then(|point| point.process.rss_bytes);
        let rss = rss.map_or_else(|| "?".to_owned(), |rss| bytes(rss as f64));
        let contexts = history.contexts().map(|_| {
            let outstanding: u64 = history.sites().values().map(|s| s.latest.outstanding).sum();
            let created: u64 = history.sites().values().map(|s| s.latest.created).sum();
            format!(", {created} contexts created, {outstanding} outstanding")
        });
        let so_far = self.so_far.map(|state| {
            let word = match state {
                State::Leak => "a leak",
                State::Suspect => "suspect",
                State::NoLeak => "no leak",
                State::Inconclusive => "no answer",
            };
            format!("; {word} so far, not settled")
        });
        let so_far = so_far.unwrap_or_default();
        let at_most = if so_far.is_empty() { "" } else { "at most " };
        let contexts = contexts.unwrap_or_default();
        let line = format!("{at_most}{left} left: RSS {rss}{contexts}{so_far}");
        let _ = if self.terminal {
            write!(io::stderr(), "\r\x1b[K{line}").and_then(|()| io::stderr().flush())
        } else {
            writeln!(io::stderr(), "{line}")
        };
    }
}
