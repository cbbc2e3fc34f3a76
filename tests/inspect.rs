//! `leaktrace inspect` on live processes, by its output and its files. As root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    fs,
    io::Read as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread::sleep,
    time::Duration,
};

use leaktrace::report::pprof::messages::Profile;
use prost::Message as _;
use serde_json::Value;
use support::{GO_VERSIONS, growing_python, leaktrace, served::Served};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leaktrace-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn inspect(pid: u32, arguments: &[&str]) -> Output {
    let mut command = leaktrace();
    command.args(["inspect", "--pid", &pid.to_string()]).args(arguments).output().unwrap()
}

fn json(pid: u32) -> Value {
    let output = inspect(pid, &["--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The issue's own case: everything leaked before leaktrace came, and nothing is traced.
#[test]
fn a_leak_from_before_is_found_by_looking() {
    for version in GO_VERSIONS {
        let mut served = Served::start(version, "-pie", &["contexts", "100000"]);
        served.command("gc");
        let found = json(served.pid());
        let top = &found["holders"]["top"][0];
        let children = top["children"].as_u64().unwrap();
        assert!((100_000..100_200).contains(&children), "{version}: {top}");
        assert_eq!(top["type"], "*context.cancelCtx", "{version}");
        assert_eq!(found["holders"]["seen_ratio"], 1.0, "{version}");
        // The program has forgotten all of the root's children; some few are timers.
        let looked_at = top["looked_at"].as_u64().unwrap();
        assert!(looked_at > 56 && top["cancel_func_lost"] == looked_at, "{version}: {top:#}");
        let page = inspect(served.pid(), &[]);
        let page = String::from_utf8(page.stdout).unwrap();
        let says = format!("has lost the cancel functions of {looked_at} of {looked_at} that");
        assert!(page.contains(&says), "{version}: {page}");
        assert_eq!(found["unavailable"], serde_json::json!([]), "{version}");
        assert!(found["goroutines"]["total"].as_u64().unwrap() > 1, "{version}");
        assert!(found["runtime"]["gc_cycles_forced"].as_u64().unwrap() >= 2, "{version}");
        let lines = found["ledger"]["lines"].as_array().unwrap();
        let sum: i64 = lines.iter().map(|line| line["bytes"].as_i64().unwrap()).sum();
        let resident = found["rss_bytes"].as_i64().unwrap();
        assert!(sum.abs_diff(resident) < 1 << 20, "{version}: {sum} of {resident}: {lines:#?}");
        let live = lines.iter().find(|line| line["what"] == "go_live").unwrap();
        assert!(live["bytes"].as_i64().unwrap() > 100_000 * 80, "{version}: {lines:#?}");
        let own = found["own_rss_peak_bytes"].as_u64().unwrap();
        assert!(own < 60 << 20, "{version}: {own} bytes of own memory");
    }
}

#[test]
fn what_changed_since_an_earlier_look_is_said() {
    let folder = Folder::new("inspect-diff");
    let mut served = Served::start("1.26.3", "", &["contexts", "1000"]);
    let earlier = folder.file("earlier.json");
    assert!(inspect(served.pid(), &["-o", &earlier]).status.success());
    served.command("leak");
    sleep(Duration::from_secs(1));
    let output = inspect(served.pid(), &["--json", "--diff", &earlier]);
    let changes: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(changes["same_process"], true);
    // One child every 10 ms, or later where others want the processor; the looks take a while too.
    let grown = changes["holders"][0]["change"].as_i64().unwrap() as f64;
    let at = |end: &str| humantime::parse_rfc3339(changes[end].as_str().unwrap()).unwrap();
    let elapsed_s = at("to").duration_since(at("from")).unwrap().as_secs_f64();
    assert!(grown > 10.0 && grown < 100.0 * (elapsed_s + 0.5), "{elapsed_s} s: {changes:#}");
    let text = String::from_utf8(inspect(served.pid(), &["--diff", &earlier]).stdout).unwrap();
    assert!(text.contains("the same process") && text.contains("*context.cancelCtx"), "{text}");
    // Another start of the same program has other addresses, and other holders.
    let other = Served::start("1.26.3", "", &["contexts", "1000"]);
    let output = inspect(other.pid(), &["--json", "--diff", &earlier]);
    let changes: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&changes["same_process"], &changes["holders"]),
        (&false.into(), &serde_json::json!([]))
    );
}

fn profile(path: &str) -> Profile {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    Profile::decode(&bytes[..]).unwrap()
}

fn text_of(profile: &Profile, index: i64) -> &str {
    &profile.string_table[index as usize]
}

#[test]
fn the_files_hold_what_their_names_say() {
    let folder = Folder::new("inspect-files");
    let names = ["heap.pb.gz", "goroutines.pb.gz", "goroutines.txt", "page.txt", "page.json"];
    let paths = names.map(|name| folder.file(name));
    let served = Served::start("1.27.3", "-cgo", &["goroutines"]);
    let arguments: Vec<_> = paths.iter().flat_map(|path| ["-o", path]).collect();
    let output = inspect(served.pid(), &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let [heap, goroutines, text, page, figures] = paths;
    let heap = profile(&heap);
    let types = heap.sample_type.iter().map(|unit| text_of(&heap, unit.r#type));
    assert_eq!(
        types.collect::<Vec<_>>(),
        ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]
    );
    let figures: Value = serde_json::from_slice(&fs::read(figures).unwrap()).unwrap();
    let total = figures["goroutines"]["total"].as_i64().unwrap();
    let sum = |field: &str| -> i64 {
        let rows = figures["goroutines"][field].as_array().unwrap();
        rows.iter().map(|row| row["count"].as_i64().unwrap()).sum()
    };
    assert_eq!((sum("groups"), sum("states")), (total, total));
    assert!((1..total).contains(&sum("labels")), "{:#}", figures["goroutines"]["labels"]);
    let goroutines = profile(&goroutines);
    assert_eq!(goroutines.sample.iter().map(|sample| sample.value[0]).sum::<i64>(), total);
    let leak = goroutines.function.iter().any(|f| text_of(&goroutines, f.name).ends_with(".leak"));
    assert!(leak, "{:?}", goroutines.string_table);
    let text = fs::read_to_string(text).unwrap();
    assert!(text.starts_with(&format!("goroutine profile: total {total}\n")), "{text}");
    let page = fs::read_to_string(page).unwrap();
    assert_eq!(page, String::from_utf8(output.stdout).unwrap());
    for part in ["MEMORY", "HEAP", "GOROUTINES", "CONTEXTS THAT HOLD OTHERS", "chan receive"] {
        assert!(page.contains(part), "no {part}: {page}");
    }
}

#[test]
fn a_process_that_is_not_go_has_its_reason() {
    let python = growing_python();
    let found = json(python.pid());
    assert!(found["rss_bytes"].as_u64().unwrap() > 1 << 20, "{found:#}");
    assert_eq!(found["heap"], Value::Null);
    let why = found["unavailable"].to_string();
    assert!(why.contains("no Go program of a known version"), "{why}");
}

#[test]
fn bad_input_is_one_sentence() {
    let folder = Folder::new("inspect-bad");
    let served = Served::start("1.26.3", "", &["counters"]);
    let error = |arguments: &[&str]| {
        let output = inspect(served.pid(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    assert!(error(&["-o", "look.pdf"]).contains("look.pdf"));
    assert!(error(&["-o", "/no/such/folder/look.json"]).contains("/no/such/folder"));
    assert!(error(&["--diff", "/no/such/file"]).contains("/no/such/file"));
    let rubbish = folder.file("rubbish.json");
    fs::write(&rubbish, "{\"schema_version\": 1}").unwrap();
    assert!(error(&["--diff", &rubbish]).contains("not an inspection"));
    let heap = folder.file("heap.pb.gz");
    let none = support::Workload::start("go1.26.3", &["podsync", "-mode", "fixed"]);
    let output = inspect(none.pid(), &["-o", &heap]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no heap profile"), "{output:?}");
    assert!(!Path::new(&heap).exists());
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains("keeps no heap profile"), "{page}");
}

#[test]
fn missing_rights_are_named_with_the_way_out() {
    let folder = Folder::new("inspect-rights");
    let served = Served::start("1.26.3", "", &["counters"]);
    let copy = folder.0.join("leaktrace");
    fs::copy(env!("CARGO_BIN_EXE_leaktrace"), &copy).unwrap();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&copy);
    command.args(["inspect", "--pid", &served.pid().to_string()]).uid(65534).gid(65534);
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.contains("run leaktrace as root"), "{error}");
}
