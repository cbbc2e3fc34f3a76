//! leaktrace's readers on Go programs from Debian packages, which nobody here wrote, against what
//! Go's own library reads from the same files. Needs no root; `cargo xtask corpus` downloads the
//! files, builds the oracle, and runs this.
//!
//! Every file is looked at once; each test asserts one aspect of all of them.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "corpus/truth.rs"]
mod truth;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Instant,
};

use leaktrace::{
    binary::{
        BinaryError, Blocks, BuildInfo, Elf, Frame, GoBinary, Machine, RuntimeVariable, Witnesses,
    },
    probe::{ContextFacts, Plan, Program, plan},
};
use serde_json::{Value, json};
use truth::{Function, Place, Truth};

/// More disagreements than this in one aspect of one file say nothing new.
const SHOWN_MAX: usize = 10;
/// Functions looked up with one cache, whose work has a limit made for a single report.
const FUNCTIONS_PER_CACHE: usize = 1000;

/// What was found out about one file. An aspect without disagreements is fine.
#[derive(Default)]
struct Findings {
    /// For the table.
    row: Value,
    build: Vec<String>,
    refusal: Vec<String>,
    functions: Vec<String>,
    plan: Vec<String>,
    variables: Vec<String>,
}

/// Looks at the whole corpus, once, and writes the results down.
fn corpus() -> &'static [Findings] {
    static FINDINGS: OnceLock<Vec<Findings>> = OnceLock::new();
    FINDINGS.get_or_init(|| {
        let folder = folder("LEAKTRACE_CORPUS", "corpus");
        let text = fs::read_to_string(folder.join("manifest.json")).unwrap();
        let packages: Vec<Value> = serde_json::from_str(&text).unwrap();
        let findings: Vec<_> = packages.iter().flat_map(|p| of_package(&folder, p)).collect();
        assert!(findings.len() > 20, "only {} Go executables", findings.len());
        let rows: Vec<_> = findings.iter().map(Findings::result).collect();
        let results = folder_made("LEAKTRACE_RESULTS", "results");
        fs::write(results.join("corpus.json"), format!("{:#}\n", Value::from(rows))).unwrap();
        findings
    })
}

fn folder(variable: &str, default: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os(variable).map_or(target.join(default), PathBuf::from)
}

fn folder_made(variable: &str, default: &str) -> PathBuf {
    let folder = folder(variable, default);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn of_package(folder: &Path, package: &Value) -> Vec<Findings> {
    let text = |field: &str| package[field].as_str().unwrap();
    let place = format!("{}-{}/{}", text("suite"), text("arch"), text("package"));
    let files = package["files"].as_array().into_iter().flatten();
    let of_file = |file: &Value| {
        let file = file.as_str().unwrap();
        let mut findings = Findings::of(&folder.join("oracle"), &folder.join(&place).join(file));
        for field in ["suite", "arch", "package", "version"] {
            findings.row[field] = package[field].clone();
        }
        findings.row["file"] = file.into();
        findings
    };
    files.map(of_file).collect()
}

impl Findings {
    fn of(oracle: &Path, path: &Path) -> Self {
        let truth = Truth::of(oracle, path);
        let started = Instant::now();
        let file = open(path);
        let elf = Elf::read(&file).unwrap();
        let build = BuildInfo::read(&file, &elf).unwrap();
        let go = GoBinary::read(&file, &elf, &build);
        let mut this = Self { build: build_differences(&build, &truth), ..Self::default() };
        this.row = json!({
            "go": truth.version,
            "module": if truth.module.is_empty() { &truth.path } else { &truth.module },
            "bytes": fs::metadata(path).unwrap().len(),
            "build_mode": build_mode(&elf),
            "functions": truth.functions.len(),
            "points": 0,
        });
        match (truth.known_minor(), go) {
            (Some(_), Ok(go)) => {
                let plan = ContextFacts::read(&file, &elf, &go).map(|facts| plan(&facts));
                this.row["index_ms"] = (started.elapsed().as_secs_f64() * 1e3).into();
                this.plan = this.judge_plan(plan.map_err(|why| why.to_string()), &truth);
                this.variables = this.judge_variables(Witnesses::read(&file, &elf, &go));
                let reader = Reader { path, elf: &elf, go: &go };
                let (differences, circular) = reader.differences(&truth);
                this.functions = differences;
                this.row["circular"] = circular.into();
            }
            (Some(_), Err(why)) => this.functions = vec![why.to_string()],
            (None, go) => this.refusal = refusal_differences(go, &truth),
        }
        this
    }

    /// What is wrong with the plan: its points are there, unless the program has no such function.
    fn judge_plan(&mut self, plan: Result<Plan, String>, truth: &Truth) -> Vec<String> {
        let plan = match plan {
            Ok(plan) => plan,
            Err(why) => return vec![why],
        };
        self.row["points"] = plan.points.len().into();
        let missing = ["propagateCancel", "cancel"]
            .map(|method| format!("context.(*cancelCtx).{method}"))
            .into_iter()
            .find(|name| !truth.has(name));
        let reasons: Vec<_> = plan.unavailable.iter().map(|u| u.why.clone()).collect();
        self.row["unavailable"] = reasons.clone().into();
        if let Some(name) = missing {
            let expected = [format!("{name} is not in the executable")];
            let fine = plan.points.is_empty() && reasons == expected;
            return if fine { Vec::new() } else { vec![format!("{reasons:?}, not {expected:?}")] };
        }
        let has = |program| plan.points.iter().any(|point| point.program == program);
        let both = has(Program::ContextCreate) && has(Program::ContextRelease);
        // Without all releases the report says why.
        let complete = plan.releases_complete == reasons.is_empty();
        if both && complete { Vec::new() } else { vec![format!("{plan:?}")] }
    }

    /// Variables that could not be located. No oracle knows where they lie in a stripped program;
    /// that functions which have nothing else in common agree on each of them is what is checked.
    fn judge_variables(&mut self, witnesses: Result<Witnesses, BinaryError>) -> Vec<String> {
        let witnesses = match witnesses {
            Ok(witnesses) => witnesses,
            Err(why) => return vec![why.to_string()],
        };
        let missing: Vec<_> = RuntimeVariable::ALL
            .iter()
            .filter_map(|variable| {
                let why = witnesses.locate(*variable).err()?;
                Some(format!("{}: {why}", variable.name()))
            })
            .collect();
        self.row["variables"] = (RuntimeVariable::ALL.len() - missing.len()).into();
        missing
    }

    /// The row with its verdict.
    fn result(&self) -> Value {
        let mut row = self.row.clone();
        let all = [&self.build, &self.refusal, &self.functions, &self.plan, &self.variables];
        let differences: Vec<_> = all.into_iter().flatten().cloned().collect();
        row["differences"] = differences.into();
        row
    }

    fn name(&self) -> String {
        let text = |field: &str| self.row[field].as_str().unwrap();
        let of_package = [text("suite"), text("arch"), text("package")].join(" ");
        format!("{of_package} {} {}", text("file"), text("go"))
    }
}

fn open(path: &Path) -> Blocks {
    Blocks::new(File::open(path).unwrap())
}

fn build_mode(elf: &Elf) -> String {
    let address = if elf.position_independent { "pie" } else { "exe" };
    let tables = [".gopclntab", ".data.rel.ro.gopclntab"];
    let table = tables.into_iter().find(|name| elf.section(name).is_some());
    let symbols = if elf.section(".symtab").is_some() { ", .symtab" } else { "" };
    let libc = if elf.section(".interp").is_some() { ", dynamic" } else { "" };
    format!("{address}{libc}, {}{symbols}", table.unwrap_or("no pclntab section"))
}

fn build_differences(build: &BuildInfo, truth: &Truth) -> Vec<String> {
    let found = [
        build.version.to_string(),
        build.path.clone().unwrap_or_default(),
        build.module.clone().unwrap_or_default(),
    ];
    let expected = [&truth.version, &truth.path, &truth.module].map(Clone::clone);
    if found == expected { Vec::new() } else { vec![format!("{found:?}, Go says {expected:?}")] }
}

fn refusal_differences(go: Result<GoBinary, BinaryError>, truth: &Truth) -> Vec<String> {
    match go {
        Err(BinaryError::UnknownGoVersion(version)) if version == truth.version => Vec::new(),
        Err(why) => vec![format!("refused, but so: {why}")],
        Ok(_) => vec!["an unknown version was accepted".to_owned()],
    }
}

/// leaktrace's view of one executable.
struct Reader<'a> {
    path: &'a Path,
    elf: &'a Elf,
    go: &'a GoBinary,
}

impl Reader<'_> {
    /// Everything in which the function table differs from the truth, up to a few; and how many
    /// functions were refused rightly.
    fn differences(&self, truth: &Truth) -> (Vec<String>, u64) {
        let (mut found, mut circular) = (Vec::new(), 0);
        let (count, expected) = (self.go.table.function_count(), truth.functions.len() as u64);
        if count != expected {
            found.push(format!("{count} functions, Go says {expected}"));
        }
        let ascending = truth.functions.windows(2).all(|pair| pair[0].end == pair[1].entry);
        assert!(ascending, "the oracle's functions do not follow each other");
        let text = match self.text(truth) {
            Ok(text) => text,
            Err(why) => return (vec![why], 0),
        };
        let wrapper_id = truth.wrapper_id();
        for functions in truth.functions.chunks(FUNCTIONS_PER_CACHE) {
            let file = open(self.path);
            let ask = |pc: u64| self.go.table.frames(&file, text + pc + 1);
            for function in functions {
                match difference(function, wrapper_id, ask) {
                    Err(why) if self.is_circular(text, function, &why) => circular += 1,
                    other => found.extend(other.err()),
                }
            }
            if found.len() > SHOWN_MAX {
                break;
            }
        }
        found.extend(self.code_difference(text, truth));
        found.truncate(SHOWN_MAX);
        (found, circular)
    }

    /// The address that the oracle's are relative to, by a function that every program has.
    fn text(&self, truth: &Truth) -> Result<u64, String> {
        const ANCHOR: &str = "runtime.main";
        let known = truth.functions.iter().find(|function| function.name == ANCHOR).unwrap();
        let found = self.go.table.find(&open(self.path), &[ANCHOR]).map_err(|e| e.to_string())?;
        match &found[..] {
            [one] if one.end - one.entry == known.end - known.entry => Ok(one.entry - known.entry),
            other => Err(format!("{ANCHOR} is found as {other:?}")),
        }
    }

    /// Whether the table itself goes in circles: in a function without a frame, no instruction
    /// comes before the first inlined call, which then gives itself as its caller. The runtime's
    /// `inlineUnwinder` has no end there, leaktrace refuses. No call returns into such a function.
    fn is_circular(&self, text: u64, function: &Function, difference: &str) -> bool {
        let code = self.code(&open(self.path), text, function);
        difference.ends_with("an inline tree without a root")
            && !is_stack_check(self.elf.machine, code)
            && !is_frame(self.elf.machine, code)
    }

    /// The first four bytes of a function.
    fn code(&self, file: &Blocks, text: u64, function: &Function) -> u32 {
        let offset = self.elf.file_offset(text + function.entry);
        offset.map_or(0, |offset| file.u32(offset, "code").unwrap())
    }

    /// The oracle doesn't know where the first function lies, but the code does: most functions
    /// begin with a look at the stack's limit, and at a wrong address next to none would.
    fn code_difference(&self, text: u64, truth: &Truth) -> Option<String> {
        let file = open(self.path);
        let starts = |function: &&Function| {
            is_stack_check(self.elf.machine, self.code(&file, text, function))
        };
        let checks = truth.functions.iter().step_by(16).filter(starts).count();
        let all = truth.functions.len().div_ceil(16);
        let wrong = checks * 2 < all;
        wrong.then(|| format!("only {checks} of {all} functions begin with a stack check"))
    }
}

/// `cmp 0x10(%r14),%rsp` and `lea -N(%rsp),%r12` on amd64, `ldr x16,[x28,#16]` on arm64: the
/// starts of what `stacksplit` in cmd/internal/obj emits.
fn is_stack_check(machine: Machine, code: u32) -> bool {
    match machine {
        Machine::Amd64 => {
            code == 0x1066_3b49 || matches!(code & 0x00ff_ffff, 0x0064_8d4c | 0x00a4_8d4c)
        }
        Machine::Arm64 => code == 0xf940_0b90,
        Machine::Other(_) => false,
    }
}

/// `push %rbp` on amd64, `str x30,[sp,#-N]!` on arm64: the start of a function that has a frame,
/// and needs no stack check.
fn is_frame(machine: Machine, code: u32) -> bool {
    match machine {
        Machine::Amd64 => code & 0xff == 0x55,
        Machine::Arm64 => code & 0xffe0_0fff == 0xf800_0ffe,
        Machine::Other(_) => false,
    }
}

/// Compares one function with the frames that `ask` gives for an address: its name by its entry,
/// and the name and place of an instruction within.
fn difference(
    truth: &Function,
    wrapper_id: u8,
    ask: impl Fn(u64) -> Result<Vec<Frame>, BinaryError>,
) -> Result<(), String> {
    for (pc, place) in [(truth.entry, &truth.start), (truth.pc, &truth.place)] {
        let frames = ask(pc).map_err(|why| format!("{} at {pc:#x}: {why}", truth.name))?;
        let failed = || format!("{} at {pc:#x}, {place:?}: {frames:?}", truth.name);
        let named = match frames.last() {
            Some(outermost) if !outermost.inlined => {
                *outermost.function == *truth.printed() && truth.id != wrapper_id
            }
            _ => truth.id == wrapper_id,
        };
        let placed = frames.first().is_none_or(|innermost| is_at(innermost, place));
        if !named || !placed {
            return Err(failed());
        }
    }
    Ok(())
}

fn is_at(frame: &Frame, place: &Place) -> bool {
    (&*frame.file, frame.line) == (place.file.as_str(), place.line)
}

/// Fails with everything that `aspect` has to say about the files that `concerned` selects.
fn assert_fine(concerned: impl Fn(&Value) -> bool, aspect: impl Fn(&Findings) -> &[String]) {
    let findings: Vec<_> = corpus().iter().filter(|findings| concerned(&findings.row)).collect();
    assert!(!findings.is_empty(), "no file of the corpus is of this kind");
    let lines = findings.iter().flat_map(|findings| {
        aspect(findings).iter().map(|difference| format!("{}: {difference}", findings.name()))
    });
    let lines: Vec<_> = lines.collect();
    assert!(lines.is_empty(), "{} of {}:\n{}", lines.len(), findings.len(), lines.join("\n"));
}

#[test]
#[ignore = "needs the downloaded corpus: cargo xtask corpus"]
fn the_build_information_is_what_go_says() {
    assert_fine(|_| true, |findings| &findings.build);
}

#[test]
#[ignore = "needs the downloaded corpus: cargo xtask corpus"]
fn an_unknown_go_version_is_refused_by_name() {
    assert_fine(|row| row.get("index_ms").is_none(), |findings| &findings.refusal);
}

#[test]
#[ignore = "needs the downloaded corpus: cargo xtask corpus"]
fn every_function_and_its_lines_are_what_go_says() {
    assert_fine(|_| true, |findings| &findings.functions);
}

#[test]
#[ignore = "needs the downloaded corpus: cargo xtask corpus"]
fn contexts_can_be_counted_on_amd64() {
    assert_fine(|row| row["arch"] == "amd64", |findings| &findings.plan);
}

#[test]
#[ignore = "needs the downloaded corpus: cargo xtask corpus"]
fn contexts_can_be_counted_on_arm64() {
    assert_fine(|row| row["arch"] == "arm64", |findings| &findings.plan);
}

#[test]
#[ignore = "needs the downloaded corpus: cargo xtask corpus"]
fn the_runtime_variables_are_located() {
    assert_fine(|row| row.get("index_ms").is_some(), |findings| &findings.variables);
}
