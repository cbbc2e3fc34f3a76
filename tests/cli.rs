//! The command line: choosing a target, and what is said when something is wrong.
//! Needs root and BPF.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use leaktrace::binary::{Blocks, BuildInfo, Elf};
use serde_json::Value;
use support::{GO, GO_VERSIONS, Trace, Workload, growing_python, leaktrace, workload_path};

/// Runs `leaktrace trace`, which must fail with exit 2, one message and no backtrace.
fn error_of(arguments: &[&str]) -> String {
    error_text(&leaktrace().arg("trace").args(arguments).output().unwrap())
}

fn error_text(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    assert_eq!(output.stdout, b"", "no data on stdout");
    stderr
}

#[test]
fn a_missing_process_is_named() {
    let error = error_of(&["--pid", "1073741000"]);
    assert_eq!(
        error,
        "leaktrace: no process matches --pid 1073741000: it does not exist, or has ended\n"
    );
    assert!(error_of(&["--comm", "no-such-name"]).contains("ps -e -o pid,comm"));
    assert!(error_of(&["--unit", "no-such.service"]).contains("systemctl status"));
}

#[test]
fn a_kernel_thread_is_refused() {
    assert!(error_of(&["--pid", "2"]).contains("kernel thread"));
}

#[test]
fn senseless_times_and_files_are_refused_before_anything_is_attached() {
    assert!(error_of(&["--pid", "1", "--interval", "0"]).contains("100ms is the shortest"));
    assert!(
        error_of(&["--pid", "1", "--duration", "2s", "--interval", "1s"])
            .contains("at least five readings")
    );
    assert!(error_of(&["--pid", "1", "--duration", "soon"]).contains("30s, 5m or 1h30m"));
    assert!(error_of(&["--pid", "1", "-o", "report.doc"]).contains("use .txt or .json"));
    let error = error_of(&["--pid", "1", "-o", "/no/such/folder/report.json"]);
    assert!(error.contains("/no/such/folder/report.json: can't write there"), "{error}");
    assert!(error_of(&[]).contains("--pid"));
}

#[test]
fn a_wrong_threshold_or_file_of_families_is_named() {
    let error = error_of(&["--pid", "1", "--eviction-threshold", "lots"]);
    assert!(error.contains("`lots` is no amount of memory") && error.contains("100Mi"), "{error}");
    assert!(error_of(&["--pid", "1", "--growth", "some"]).contains("faults"));
    let missing = error_of(&["--pid", "1", "--families", "/no/such/families.toml"]);
    assert!(missing.contains("/no/such/families.toml"), "{missing}");
    let folder = Folder::new("families");
    let file = folder.0.join("mine.toml");
    fs::write(&file, "[[family]]\nname = \"mine\"\nstak = [\"main.*\"]\n").unwrap();
    let error = error_of(&["--pid", "1", "--families", file.to_str().unwrap()]);
    assert!(error.contains("mine.toml") && error.contains("stak"), "{error}");
}

/// What a user knows of a leak stands beside it, and changes nothing else.
#[test]
fn a_site_is_known_by_the_users_own_file() {
    let folder = Folder::new("known");
    let file = folder.0.join("mine.toml");
    let family = "[[family]]\nname = \"ours: forgotten podsync\"\nkind = \"context\"\n\
                  stack = [\"main.(*podWorkers).startPodSync\"]\n\
                  meaning = \"It forgets.\"\ncheck = \"Look at podsync.go.\"\n";
    fs::write(&file, family).unwrap();
    let workload = Workload::start(GO, &["podsync", "-mode", "leaky"]);
    let arguments = ["--duration", "3s", "--families", file.to_str().unwrap()];
    let report = Trace::of(workload.pid(), &arguments).report();
    let sites = report["contexts"]["sites"].as_array().unwrap();
    let known: Vec<_> = sites
        .iter()
        .filter(|site| site["advice"][0]["family"] == "ours: forgotten podsync")
        .flat_map(|site| site["frames"].as_array().unwrap())
        .filter(|frame| frame["function"] == "main.(*podWorkers).startPodSync")
        .collect();
    assert!(!known.is_empty(), "{:#}", report["contexts"]);
    let other = sites.iter().filter(|site| site["advice"].as_array().unwrap().is_empty());
    assert!(other.count() >= 2, "the honest sites are known for nothing");
}

#[test]
fn missing_rights_are_named_with_the_way_out() {
    let workload = Workload::start(GO, &["hold"]);
    let folder = Folder::new("rights");
    // A copy that nobody may read and run, wherever this tree lies.
    let program = folder.copy(Path::new(env!("CARGO_BIN_EXE_leaktrace")), "leaktrace");
    let mut command = Command::new(program);
    command.args(["trace", "--pid", &workload.pid().to_string()]).uid(65534).gid(65534);
    let error = error_text(&command.output().unwrap());
    assert!(error.contains("missing CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE"), "{error}");
    assert!(error.contains("sudo"), "{error}");
}

#[test]
fn several_matches_are_refused_with_a_list() {
    let twins = [0; 2].map(|_| Workload::start(GO, &["hold"]));
    let error = error_of(&["--comm", "workload"]);
    assert!(error.contains("choose one with --pid"), "{error}");
    for twin in &twins {
        let listed = format!("{}  ", twin.pid());
        assert!(error.contains(&listed), "{error}");
    }
}

#[test]
fn an_executable_names_its_process_even_after_it_was_deleted() {
    let folder = Folder::new("deleted");
    let program = folder.copy(&workload_path(GO), "daemon-of-its-own");
    let workload = Workload::start_at(&program, &["podsync", "-mode", "fixed"]);
    fs::remove_file(&program).unwrap();
    let path = program.to_str().unwrap();
    let report = Trace::start(&["--exe", path, "--duration", "2s", "--interval", "200ms"]).report();
    assert_eq!(report["target"]["pid"], workload.pid());
    assert!(report["contexts"]["created"].as_u64().unwrap() > 100);
    let chain = &report["contexts"]["sites"][0]["frames"];
    assert!(chain[0]["function"].as_str().unwrap().starts_with("context."), "{chain}");
}

#[test]
fn a_unit_names_its_process() {
    let workload = Workload::start(GO, &["podsync", "-mode", "fixed"]);
    let cgroup = Cgroup::new("leaktrace-test.service");
    cgroup.take_in(workload.pid());
    let arguments = ["--unit", "leaktrace-test.service", "--duration", "2s", "--interval", "200ms"];
    let report = Trace::start(&arguments).report();
    assert_eq!(report["target"]["pid"], workload.pid());
    // Out again, or the group could not be removed.
    drop(workload);
}

#[test]
fn an_unknown_go_version_is_reported_and_never_guessed() {
    let folder = Folder::new("version");
    let program = folder.copy(&workload_path(GO), "from-the-future");
    patch_go_version(&program, "go1.26.3", "go1.99.3");
    let workload = Workload::start_at(&program, &["podsync", "-mode", "leaky"]);
    let report = Trace::of(workload.pid(), &["--duration", "2s", "--interval", "200ms"]).report();
    assert_eq!(report["target"]["go_version"], "go1.99.3");
    let unavailable = &report["unavailable"][0];
    assert_eq!(unavailable["what"], "contexts");
    assert!(unavailable["why"].as_str().unwrap().contains("go1.99.3"), "{unavailable}");
    assert!(report["rss"]["last_bytes"].as_u64().unwrap() > 0);
}

/// Replaces the version in the build information, and nowhere else.
fn patch_go_version(program: &Path, from: &str, to: &str) {
    let mut bytes = fs::read(program).unwrap();
    let blob = bytes.windows(14).position(|w| w == b"\xff Go buildinf:").unwrap();
    let at = blob + bytes[blob..].windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    fs::write(program, &bytes).unwrap();
    let file = Blocks::new(bytes);
    let build = BuildInfo::read(&file, &Elf::read(&file).unwrap()).unwrap();
    assert_eq!(build.version.to_string(), to);
}

#[test]
fn reports_go_to_files_by_extension_and_to_stdout() {
    let workload = Workload::start(GO, &["podsync", "-mode", "fixed"]);
    let folder = Folder::new("outputs");
    let [json, text] = ["report.json", "report.txt"].map(|name| folder.0.join(name));
    let pid = workload.pid().to_string();
    let output = leaktrace()
        .args(["-q", "--color", "always", "trace", "--duration", "2s", "--interval", "200ms"])
        .args(["--pid", &pid, "-o"])
        .arg(&json)
        .arg("-o")
        .arg(&text)
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(output.stderr, b"", "-q is quiet");
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["target"]["pid"].to_string(), pid);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let file = fs::read_to_string(&text).unwrap();
    assert!(stdout.contains("\x1b[") && !file.contains('\x1b'));
    assert_eq!(anstream::adapter::strip_str(&stdout).to_string(), file);
    assert!(file.lines().all(|line| line.chars().count() <= 100), "{file}");
}

/// A disk that fills during the trace: the report is on stdout, the failure is said.
#[test]
fn a_full_disk_does_not_cost_the_report() {
    let workload = Workload::start(GO, &["podsync", "-mode", "fixed"]);
    let folder = Folder::new("full");
    let full = folder.0.join("full.json");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let output = leaktrace()
        .args(["trace", "--json", "--duration", "2s", "--interval", "200ms", "--pid"])
        .arg(workload.pid().to_string())
        .arg("-o")
        .arg(&full)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("full.json") && stderr.contains("No space left"), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["contexts"]["created"].as_u64().unwrap() > 0);
}

#[test]
fn fail_on_turns_a_suspicion_into_an_exit_code() {
    let python = growing_python();
    let code = |fail_on: &str| {
        let mut trace = leaktrace();
        trace.args(["-q", "trace", "--duration", "12s", "--interval", "500ms", "--pid"]);
        trace.arg(python.pid().to_string()).args(["--fail-on", fail_on]);
        trace.output().unwrap().status.code()
    };
    std::thread::scope(|scope| {
        let on_leak = scope.spawn(|| code("leak"));
        assert_eq!(code("suspect"), Some(1));
        assert_eq!(on_leak.join().unwrap(), Some(0));
    });
}

/// What the doctor says of a file and of a process that runs it; it attaches nothing.
#[test]
fn the_doctor_names_the_probe_points() {
    let workload = Workload::start(GO, &["podsync", "-mode", "fixed"]);
    let path = workload_path(GO);
    let pid = workload.pid().to_string();
    for subject in [["--exe", path.to_str().unwrap()], ["--pid", &pid]] {
        let output = leaktrace().args(["doctor", "--json"]).args(subject).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["go_version"], GO);
        assert_eq!(found["kind"], "amd64, fixed address");
        let probes: Vec<_> = found["probes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|probe| {
                (probe["function"].as_str().unwrap(), probe["execution"].as_str().unwrap())
            })
            .collect();
        let [create, cancel] =
            ["propagateCancel", "cancel"].map(|f| format!("context.(*cancelCtx).{f}"));
        assert_eq!(probes, [(create.as_str(), "emulated"), (cancel.as_str(), "emulated")]);
        let checks = found["checks"].as_array().unwrap();
        assert!(checks.iter().all(|check| check["ok"] == true), "{checks:?}");
    }
}

/// The doctor's findings about an executable.
fn examined(program: &Path, arguments: &[&str]) -> Value {
    let mut doctor = leaktrace();
    doctor.args(["doctor", "--json", "--exe"]).arg(program).args(arguments);
    serde_json::from_slice(&doctor.output().unwrap().stdout).unwrap()
}

#[test]
fn the_doctor_knows_the_version_that_the_linker_stamped() {
    for version in GO_VERSIONS {
        let of = |kind: &str| {
            let folder = workload_path(&format!("go{version}"));
            let folder =
                folder.parent().unwrap().with_file_name(format!("go{version}-kubelet{kind}"));
            let found = examined(&folder.join("kubelet"), &[]);
            (found["version"].clone(), found["version_from"].to_string())
        };
        for kind in ["", "-pie"] {
            let (stamped, proof) = of(kind);
            assert_eq!(stamped, "v1.36.2", "{version}{kind}");
            assert!(proof.contains("version.init.0"), "{version}{kind}: {proof}");
        }
        let (stamped, proof) = of("-flags");
        assert_eq!(stamped, "v1.36.3", "{version}");
        assert!(proof.contains("linker flags"), "{version}: {proof}");
        assert_eq!(of("-unstamped").0, Value::Null, "{version}");
    }
}

#[test]
fn the_doctor_reads_an_executable_for_arm64_and_would_not_trace_it() {
    for version in GO_VERSIONS {
        let found = examined(&workload_path(&format!("go{version}-arm64-pie")), &[]);
        assert_eq!(found["kind"], "arm64, position independent");
        let probes = found["probes"].as_array().unwrap();
        assert_eq!(probes.len(), 2, "{version}: {found:#}");
        assert!(probes.iter().all(|probe| probe["execution"] == "single_stepped"), "{probes:?}");
        let checks = found["checks"].as_array().unwrap();
        let contexts = checks.iter().find(|check| check["what"] == "contexts").unwrap();
        assert_eq!(contexts["ok"], false, "{version}");
        assert!(contexts["why"].as_str().unwrap().contains("arm64"), "{contexts}");
    }
}

#[test]
fn the_doctor_looks_functions_up() {
    let cancel = "context.(*cancelCtx).cancel";
    let names = [cancel, "context.withCancel", "no.such.function"];
    let arguments: Vec<_> = names.iter().flat_map(|name| ["--function", name]).collect();
    let found = examined(&workload_path(GO), &arguments);
    let lookups = found["lookups"].as_array().unwrap();
    let [cancel, inlined, missing] = &lookups[..] else { panic!("{lookups:?}") };
    assert_eq!(cancel["probe"]["execution"], "emulated");
    assert!(cancel["source"].as_str().unwrap().starts_with("context/context.go:"), "{cancel}");
    assert!(!cancel["returns"].as_array().unwrap().is_empty(), "{cancel}");
    assert_eq!(inlined["entry"], Value::Null);
    assert!(inlined["inlined_into"].to_string().contains("context.WithCancel"), "{inlined}");
    assert_eq!(missing["probe"]["unknown"], "no such function");
    let output = leaktrace().args(["doctor", "--exe", "/bin/sh", "--function", "x"]).output();
    assert!(error_text(&output.unwrap()).contains("Go functions are not known"));
}

#[test]
fn the_doctor_says_what_is_missing_and_why() {
    let text = |arguments: &[&str]| {
        let output = leaktrace().arg("doctor").args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let native = text(&["--exe", "/bin/sh"]);
    assert!(native.contains("NO   contexts           no Go build information"), "{native}");
    let folder = Folder::new("doctor");
    let program = folder.copy(&workload_path(GO), "from-the-future");
    patch_go_version(&program, "go1.26.3", "go1.99.3");
    let unknown = text(&["--exe", program.to_str().unwrap()]);
    assert!(unknown.contains("go1.99.3 is not known"), "{unknown}");
    let output = leaktrace().args(["doctor", "--exe", "/no/such/file"]).output().unwrap();
    assert!(error_text(&output).contains("can't open /no/such/file"));
}

#[test]
fn verbose_lets_the_bpf_programs_speak() {
    let workload = Workload::start(GO, &["podsync", "-mode", "fixed"]);
    let output = leaktrace()
        .args(["-v", "trace", "--json", "--duration", "2s", "--interval", "200ms", "--pid"])
        .arg(workload.pid().to_string())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("new site"), "{stderr}");
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leaktrace-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn copy(&self, from: &Path, name: &str) -> PathBuf {
        let to = self.0.join(name);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
        to
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A cgroup named like a systemd unit, in whichever hierarchy this machine has.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(unit: &str) -> Self {
        let root = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup"]
            .into_iter()
            .find(|root| Path::new(root).join("cgroup.procs").exists())
            .expect("a cgroup hierarchy is mounted");
        let path = Path::new(root).join(unit);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn take_in(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
