//! The heap profile out of a live Go process's memory, against the profile that the process
//! serves itself. As root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    collections::BTreeMap,
    io::Read as _,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use leaktrace::{
    memory::{HeapDropped, HeapProfile, HeapReading},
    report::pprof::{
        PprofProcess, heap,
        messages::{Location, Profile, Sample},
    },
    session::{Executable, Look},
    target::{Identity, Selector, Watch, select},
};
use prost::Message as _;
use support::{
    GO_VERSIONS, Trace, Workload,
    served::{KINDS, Served},
};

/// A bucket: stack, objects in use and their bytes, objects allocated and their bytes.
type Bucket = (Vec<u64>, [u64; 4]);

/// Every program that is inspected, with the rate of its profile.
fn each_served(arguments: &[&str], test: impl Fn(&str, &mut Served)) {
    for version in GO_VERSIONS {
        for kind in KINDS {
            let arguments = [&["heap"], arguments].concat();
            test(&format!("go{version}{kind}"), &mut Served::start(version, kind, &arguments));
        }
    }
}

/// The buckets that a profile shows; those that count nothing may come and go.
fn buckets(profile: &HeapProfile) -> Vec<Bucket> {
    let bucket = |site: &leaktrace::memory::HeapSite| {
        let (in_use, allocated) = (site.published.in_use(), site.published.alloc_objects);
        let bytes = |objects| objects * site.object_bytes;
        (site.stack.clone(), [in_use, bytes(in_use), allocated, bytes(allocated)])
    };
    sorted(profile.sites.iter().map(bucket))
}

fn sorted(buckets: impl Iterator<Item = Bucket>) -> Vec<Bucket> {
    let mut buckets: Vec<_> = buckets.filter(|(_, counts)| *counts != [0; 4]).collect();
    buckets.sort_unstable();
    buckets
}

/// `1: 1024 [2: 2048] @ 0x1 0x2`, once for each bucket.
fn served_buckets(text: &str) -> Vec<Bucket> {
    let lines = text.lines().skip(1).filter(|line| line.contains("] @"));
    sorted(lines.map(|line| {
        let (counts, stack) = line.split_once('@').unwrap();
        let counts: Vec<_> = counts
            .split(|c: char| !c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .map(|number| number.parse().unwrap())
            .collect();
        let pc = |pc: &str| u64::from_str_radix(pc.strip_prefix("0x").unwrap(), 16).unwrap();
        (stack.split_whitespace().map(pc).collect(), counts.try_into().unwrap())
    }))
}

/// A sample: its calls with address and frames (function, file, line, start line), and the bytes
/// of an object.
type Key = (Vec<(u64, Vec<(String, String, i64, i64)>)>, i64);

/// What a pprof file says, wherever it says it.
struct Parsed {
    samples: BTreeMap<Key, Vec<i64>>,
    /// Names of the sample types, and of the period.
    types: Vec<String>,
    period: i64,
    mappings: Vec<(u64, u64, u64, String)>,
}

impl Parsed {
    fn of(bytes: &[u8]) -> Self {
        let mut plain = Vec::new();
        GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
        let profile = Profile::decode(&*plain).unwrap();
        let text = |index: i64| profile.string_table[index as usize].clone();
        let types = profile.sample_type.iter().chain(&profile.period_type);
        let types = types.flat_map(|t| [text(t.r#type), text(t.unit)]).collect();
        let mapping = |m: &leaktrace::report::pprof::messages::Mapping| {
            (m.memory_start, m.memory_limit, m.file_offset, text(m.filename))
        };
        let mappings = profile.mapping.iter().map(mapping).collect();
        let mut samples: BTreeMap<Key, Vec<i64>> = BTreeMap::new();
        for sample in profile.sample.iter().filter(|sample| sample.value[0] != 0) {
            let sum = samples.entry(key(&profile, sample)).or_insert_with(|| vec![0; 4]);
            sum.iter_mut().zip(&sample.value).for_each(|(sum, value)| *sum += value);
        }
        Self { samples, types, period: profile.period, mappings }
    }
}

fn key(profile: &Profile, sample: &Sample) -> Key {
    let text = |index: i64| profile.string_table[index as usize].clone();
    let frames = |location: &Location| {
        let frame = |line: &leaktrace::report::pprof::messages::Line| {
            let function = &profile.function[line.function_id as usize - 1];
            assert_eq!(function.id, line.function_id);
            let (name, file) = (shown(&text(function.name)), text(function.filename));
            (name, file, line.line, function.start_line)
        };
        (location.address, location.line.iter().map(frame).collect())
    };
    let location = |id: &u64| {
        let location = &profile.location[*id as usize - 1];
        assert_eq!(location.id, *id);
        frames(location)
    };
    let [size] = &*sample.label else { panic!("{:?}", sample.label) };
    assert_eq!((text(size.key), size.str), ("bytes".to_owned(), 0));
    (sample.location_id.iter().map(location).collect(), size.num)
}

/// A function's name without type arguments: the process writes them, leaktrace does not.
fn shown(name: &str) -> String {
    match (name.find('['), name.rfind(']')) {
        (Some(open), Some(close)) => format!("{}[...{}", &name[..open], &name[close..]),
        _ => name.to_owned(),
    }
}

/// Reads the profile and what the process serves at `path`, both of one moment.
fn at_once(name: &str, served: &mut Served, look: &Look, path: &str) -> (HeapProfile, Vec<u8>) {
    for _ in 0..50 {
        served.command("gc");
        let before = HeapProfile::read(&look.runtime()).unwrap();
        let truth = served.get(path);
        let after = HeapProfile::read(&look.runtime()).unwrap();
        assert_eq!(before.dropped, HeapDropped::default(), "{name}");
        assert!(before.settled, "{name}");
        if buckets(&before) == buckets(&after) {
            return (before, truth);
        }
    }
    panic!("{name} collects garbage all the time");
}

fn written(profile: &HeapProfile, watch: &Watch, executable: &Executable) -> Vec<u8> {
    let process = PprofProcess { mappings: &executable.mapped_files(), time_unix_ns: 1 };
    let mut symbolizer = executable.symbolizer(watch).unwrap();
    heap(profile, HeapReading::Published, &process, &mut symbolizer).unwrap()
}

/// The differences, a few of them, as text.
fn differences(ours: &Parsed, theirs: &Parsed) -> Vec<String> {
    let keys = ours.samples.keys().chain(theirs.samples.keys());
    let differ = |key: &&Key| ours.samples.get(*key) != theirs.samples.get(*key);
    let tell = |key: &Key| {
        format!("{:?} {:?} at {key:#x?}", ours.samples.get(key), theirs.samples.get(key))
    };
    keys.filter(differ).take(4).map(tell).collect()
}

#[test]
fn the_buckets_are_those_that_the_process_serves() {
    for rate in ["524288", "512", "1"] {
        each_served(&["-rate", rate], |name, served| {
            let (_watch, _executable, look) = served.look();
            let path = "/debug/pprof/heap?debug=1";
            let (profile, truth) = at_once(name, served, &look, path);
            let text = String::from_utf8(truth).unwrap();
            assert!(
                text.lines()
                    .next()
                    .unwrap()
                    .ends_with(&format!("@ heap/{}", 2 * rate.parse::<u64>().unwrap()))
            );
            assert_eq!(profile.rate_bytes.to_string(), rate, "{name}");
            let (found, truth) = (buckets(&profile), served_buckets(&text));
            assert!(found.len() >= if rate == "524288" { 3 } else { 20 }, "{name}: {found:?}");
            assert_eq!(found, truth, "{name} at {rate}");
        });
    }
}

#[test]
fn the_file_is_the_one_that_the_process_serves() {
    for rate in ["4096", "1"] {
        each_served(&["-rate", rate], |name, served| {
            let (watch, executable, look) = served.look();
            let (profile, truth) = at_once(name, served, &look, "/debug/pprof/heap");
            let bytes = written(&profile, &watch, &executable);
            assert_eq!(bytes, written(&profile, &watch, &executable), "{name}");
            let (ours, theirs) = (Parsed::of(&bytes), Parsed::of(&truth));
            assert_eq!(differences(&ours, &theirs), [""; 0], "{name} at {rate}");
            assert_eq!((ours.types, ours.period), (theirs.types, theirs.period), "{name}");
            let own = |parsed: &[(u64, u64, u64, String)]| {
                parsed.iter().find(|mapping| mapping.3.ends_with("/served")).cloned()
            };
            assert_eq!(own(&ours.mappings).unwrap(), own(&theirs.mappings).unwrap(), "{name}");
        });
    }
}

#[test]
fn what_was_kept_is_in_use() {
    each_served(&["-rate", "1"], |name, served| {
        served.command("gc");
        let (watch, executable, look) = served.look();
        let profile = HeapProfile::read(&look.runtime()).unwrap();
        let mut symbolizer = executable.symbolizer(&watch).unwrap();
        // By size: the runtime's own objects, such as the collector's, may be allocated below.
        let mut in_use: BTreeMap<(String, u64), u64> = BTreeMap::new();
        for site in &profile.sites {
            let calls = symbolizer.allocation_calls(&site.stack);
            let function = calls[0].frames[0].function.to_string();
            let objects = site.in_use(HeapReading::Current, profile.rate_bytes).objects;
            *in_use.entry((function, site.object_bytes)).or_default() += objects;
        }
        for site in served.command("truth").as_array().unwrap() {
            let function = site["Function"].as_str().unwrap().to_owned();
            let found = in_use.get(&(function, site["ObjectBytes"].as_u64().unwrap()));
            assert_eq!(found.copied(), site["Objects"].as_u64(), "{name}: {site}");
        }
    });
}

#[test]
fn a_process_that_allocates_meanwhile_is_read_whole() {
    each_served(&["-rate", "64", "-churn", "2"], |name, served| {
        let (watch, executable, look) = served.look();
        let begin = Instant::now();
        let (mut reads, mut unsettled, mut torn) = (0, 0, 0);
        while begin.elapsed() < Duration::from_millis(600) {
            let profile = HeapProfile::read(&look.runtime()).unwrap();
            assert!(!profile.dropped.cut_short, "{name}: {:?}", profile.dropped);
            torn += profile.dropped.torn;
            unsettled += u64::from(!profile.settled);
            reads += 1;
            for site in &profile.sites {
                assert!(!site.stack.is_empty() && site.object_bytes > 0, "{name}: {site:?}");
                for counts in [site.published, site.current] {
                    assert!(counts.free_objects <= counts.alloc_objects, "{name}: {site:?}");
                    assert!(counts.alloc_objects < 1 << 32, "{name}: {site:?}");
                }
            }
        }
        println!("{name}: {reads} reads while it allocates, {unsettled} unsettled, {torn} torn");
        served.command("stop");
        let (profile, truth) = at_once(name, served, &look, "/debug/pprof/heap");
        let (ours, theirs) =
            (Parsed::of(&written(&profile, &watch, &executable)), Parsed::of(&truth));
        assert_eq!(differences(&ours, &theirs), [""; 0], "{name}");
    });
}

/// The linker leaves profiling out of a program that can't write a profile.
#[test]
fn a_program_without_profiles_says_that_profiling_is_off() {
    for version in GO_VERSIONS {
        for kind in ["", "-pie", "-cgo"] {
            let build = format!("go{version}{kind}");
            let workload = Workload::start(&build, &["hold"]);
            let process = select(&Selector::Pid(workload.pid() as i32)).unwrap();
            let identity = Identity::of(&process).unwrap();
            let watch = Watch::new(process, identity);
            let executable = Executable::of(&watch).unwrap();
            let look = Look::open(watch.process(), &executable).unwrap();
            let profile = HeapProfile::read(&look.runtime()).unwrap();
            assert_eq!((profile.rate_bytes, profile.sites.len()), (0, 0), "{build}");
            assert!(profile.settled, "{build}");
        }
    }
}

/// The most memory that this process ever had, as the kernel tells it.
fn own_peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().to_owned()
}

/// Prints what it takes; nothing depends on it.
#[test]
fn ten_thousand_buckets_are_soon_read() {
    for version in GO_VERSIONS {
        let mut served = Served::start(version, "", &["heap", "-rate", "1", "-many", "10000"]);
        served.command("gc");
        let (watch, executable, look) = served.look();
        let begin = Instant::now();
        let profile = HeapProfile::read(&look.runtime()).unwrap();
        let (read, count) = (begin.elapsed(), profile.sites.len());
        assert!(count >= 10_000, "{count}");
        let groups = profile.groups(HeapReading::Current).len();
        let grouped = begin.elapsed();
        let bytes = written(&profile, &watch, &executable).len();
        println!(
            "go{version}: {count} buckets in {read:?} ({:.0} per second), {groups} stacks in {:?}, \
             {bytes} bytes of pprof in {:?}, own peak {}",
            count as f64 / read.as_secs_f64(),
            grouped - read,
            begin.elapsed() - grouped,
            own_peak()
        );
    }
}

/// The row of a function.
fn traffic_at<'r>(report: &'r serde_json::Value, function: &str) -> &'r serde_json::Value {
    let sites = report["heap"]["sites"].as_array().unwrap();
    let at = |site: &&serde_json::Value| site["frames"][0]["function"] == function;
    sites.iter().find(at).unwrap_or_else(|| panic!("{function}: {:#}", report["heap"]))
}

/// Both places allocate; one of them keeps nothing. Rates within 4 deviations of the sample, of
/// which some 5 % and 15 % are one.
fn a_trace_tells_churn_from_growth(build: (&str, &str)) {
    let mut served = Served::start(build.0, build.1, &["traffic"]);
    let trace = Trace::of(served.pid(), &["--duration", "15s", "--interval", "1s"]);
    let (before, began) = (served.command("truth"), Instant::now());
    std::thread::sleep(Duration::from_secs(13));
    let (after, seconds) = (served.command("truth"), began.elapsed().as_secs_f64());
    let report = trace.report();
    let rate =
        |what: &str| (after[what].as_f64().unwrap() - before[what].as_f64().unwrap()) / seconds;
    let near = |found: &serde_json::Value, truth: f64, tolerance: f64| {
        let ratio = found.as_f64().unwrap() / truth;
        assert!((ratio - 1.0).abs() < tolerance, "{build:?}: {found} of {truth}: {ratio}");
    };
    let (churn, growth) = (
        traffic_at(&report, "main.(*traffic).churnOne"),
        traffic_at(&report, "main.(*traffic).growOne"),
    );
    near(&churn["alloc_bytes_per_s"], rate("Churned"), 0.25);
    near(&churn["alloc_objects_per_s"], rate("Churned") / f64::from(32 << 10), 0.25);
    near(&growth["alloc_bytes_per_s"], rate("Grown"), 0.5);
    near(&growth["growth_bytes_per_s"], rate("Grown"), 0.5);
    let interval =
        |row: &serde_json::Value, end: usize| row["growth_interval"][end].as_f64().unwrap();
    assert!(interval(growth, 0) > 0.0, "{build:?}: {growth:#}");
    let still = churn["growth_bytes_per_s"].as_f64().unwrap().abs();
    assert!(still < 0.1 * rate("Churned"), "{build:?}: {churn:#}");
    let first = &report["heap"]["sites"][0]["frames"][0]["function"];
    assert_eq!(first, "main.(*traffic).growOne", "{build:?}: what grows comes first");
}

#[test]
fn traces_tell_churn_from_growth() {
    let builds = [("1.21.13", ""), ("1.24.11", "-cgo"), ("1.27.3", "-pie")];
    let running =
        builds.map(|build| std::thread::spawn(move || a_trace_tells_churn_from_growth(build)));
    running.into_iter().for_each(|check| check.join().unwrap());
}
