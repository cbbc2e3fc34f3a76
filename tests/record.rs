//! Records the memory of real Go processes, for tests that need neither them nor root. As root:
//! `cargo test --test record -- --ignored` writes `tests/golden/memory` anew.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/recording.rs"]
mod recording;
mod support;

use std::{cell::RefCell, collections::BTreeMap};

use leaktrace::{
    binary::{RuntimeVariable, StackFrame, Witnesses},
    memory::{
        ProcessMemory, Recorder, Types,
        goroutines::{CodeFrames, Limits, Unwind},
    },
    session::Executable,
    target::Watch,
};
use recording::{Facts, Recording, Subject};
use serde_json::{Map, Value, json};
use support::served::Served;

/// Old maps; maps of Swiss tables; the profile's records of Go 1.27.
const VERSIONS: [&str; 3] = ["1.21.13", "1.24.11", "1.27.3"];
const PARTS: [&[&str]; 3] =
    [&["goroutines", "8"], &["heap", "-rate", "16384"], &["contexts", "1200"]];
/// Contexts of each group that are asked for.
const ASKED: usize = 12;
/// The process is never quite at rest.
const ATTEMPTS: usize = 20;

/// What is asked of the executable, as it is asked.
struct Frames<'a> {
    code: CodeFrames<'a>,
    asked: RefCell<BTreeMap<u64, Option<(u64, bool)>>>,
}

impl Unwind for Frames<'_> {
    fn frame(&self, pc: u64) -> Option<StackFrame> {
        let frame = self.code.frame(pc);
        self.asked.borrow_mut().insert(pc, frame.map(|frame| (frame.depth, frame.outermost)));
        frame
    }
}

#[test]
#[ignore = "writes golden files"]
fn record() {
    for version in VERSIONS {
        for arguments in PARTS {
            let mut served = Served::start(version, "", arguments);
            served.command("gc");
            let name = format!("go{}-{}", &version[..4], arguments[0]);
            let recorded = (0..ATTEMPTS).find_map(|_| attempt(&mut served, version, arguments));
            let (facts, memory) = recorded.unwrap_or_else(|| panic!("{name} is never quiet"));
            Recording::new(name, facts, memory).save();
        }
    }
}

/// Addresses of the runtime's variables by name.
fn variables(executable: &Executable) -> BTreeMap<String, u64> {
    let (file, elf, go) = executable.go().unwrap();
    let (bias, witnesses) = (executable.bias().unwrap(), Witnesses::read(file, elf, go).unwrap());
    let address = |variable: RuntimeVariable| {
        let live = witnesses.locate(variable).unwrap().vaddr.wrapping_add(bias);
        (variable.name().to_owned(), live)
    };
    RuntimeVariable::ALL.into_iter().map(address).collect()
}

/// A recording from which the same is read again, and that agrees with what the process says.
fn attempt(
    served: &mut Served,
    version: &str,
    arguments: &[&str],
) -> Option<(Facts, leaktrace::memory::RecordedMemory)> {
    let (watch, executable, _) = served.look();
    let groups = if arguments[0] == "contexts" { served.command("truth") } else { Value::Null };
    let mut facts = Facts {
        go: version.to_owned(),
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        variables: variables(&executable),
        types: BTreeMap::new(),
        frames: BTreeMap::new(),
        contexts: contexts(&groups),
        truth: Value::Null,
        found: Value::Null,
    };
    let memory = look(&watch, &executable, &mut facts)?;
    facts.truth = json!({
        "contexts": asked_of(&groups),
        "goroutines": goroutines(&served.get("/debug/pprof/goroutine?debug=2")),
        "heap": heap(&served.get("/debug/pprof/heap?debug=1")),
    });
    let recording = Recording::new(String::new(), facts, memory);
    let again = recording.read(&recording.memory).found(&recording.types()).ok()?;
    let same = again == recording.facts.found;
    let agrees = recording::disagreement(&recording.facts.truth, &again);
    if !same || agrees.is_some() {
        eprintln!("go{version} {arguments:?}: once more: {same} {agrees:?}");
        return None;
    }
    Some((recording.facts, recording.memory))
}

/// Runs all readers on the live process, and keeps what they asked for.
fn look(
    watch: &Watch,
    executable: &Executable,
    facts: &mut Facts,
) -> Option<leaktrace::memory::RecordedMemory> {
    let (file, elf, go) = executable.go().unwrap();
    let bias = executable.bias().unwrap();
    let code = CodeFrames::new(file, &go.table, bias);
    let frames = Frames { code, asked: RefCell::default() };
    let names = RefCell::new(BTreeMap::new());
    let types = Types::new(|ty| {
        let name = go.table.type_name(file, elf, ty.wrapping_sub(bias)).ok().flatten();
        names.borrow_mut().insert(ty, name.clone());
        name
    });
    let memory = ProcessMemory::open(watch.process()).unwrap();
    let recorder = Recorder::new(&memory);
    let subject = Subject {
        memory: &recorder,
        layout: facts.layout(),
        addresses: &facts.addresses(),
        unwind: &frames,
        contexts: &facts.contexts,
        limits: Limits::default(),
        times_on: u64::MAX,
    };
    let found = subject.found(&types).ok()?;
    drop(types);
    facts.found = found;
    facts.types = names.into_inner();
    facts.frames = frames.asked.into_inner();
    Some(recorder.into_recorded())
}

/// The groups that the process tells, as far as they are asked for, with addresses as numbers.
fn asked_of(groups: &Value) -> Value {
    let number = |value: &Value| match value.as_str() {
        Some(text) => json!(u64::from_str_radix(&text[2..], 16).unwrap()),
        None => value.clone(),
    };
    let list = |list: &Value| -> Value {
        list.as_array().into_iter().flatten().take(ASKED).map(number).collect()
    };
    let group = |(name, group): (&String, &Value)| {
        let lists =
            ["Addresses", "Holders", "Deadlines"].map(|of| (of.to_owned(), list(&group[of])));
        (name.clone(), Value::Object(lists.into_iter().collect()))
    };
    groups.as_object().map_or(Value::Null, |groups| groups.iter().map(group).collect())
}

fn contexts(groups: &Value) -> Vec<u64> {
    let asked = asked_of(groups);
    let groups = asked.as_object().into_iter().flat_map(Map::values);
    let addresses = groups.flat_map(|group| group["Addresses"].as_array().unwrap());
    addresses.map(|address| address.as_u64().unwrap()).collect()
}

/// State and creator by number, of a dump. Those that serve the dump come and go.
fn goroutines(dump: &[u8]) -> Value {
    let dump = std::str::from_utf8(dump).unwrap();
    let restless = ["net/http.(*conn", "runtime/pprof.writeGoroutine"];
    let stay = dump.trim().split("\n\n").filter(|one| !restless.iter().any(|on| one.contains(on)));
    let one = |text: &str| {
        let (id, rest) = text.strip_prefix("goroutine ").unwrap().split_once(" [").unwrap();
        let parts = rest.split_once(']').unwrap().0.split(", ");
        let state: Vec<_> = parts.filter(|part| !part.ends_with(" minutes")).collect();
        let parent = text.rsplit_once(" in goroutine ").map_or("0", |(_, parent)| parent);
        let parent = parent.lines().next().unwrap().parse::<u64>().unwrap();
        (id.to_owned(), json!([state.join(", "), parent]))
    };
    Value::Object(stay.map(one).collect())
}

/// Counters, and stack, objects in use and allocated with the bytes of both, of each site.
fn heap(profile: &[u8]) -> Value {
    let profile = std::str::from_utf8(profile).unwrap();
    let number = |name: &str| {
        let start = format!("# {name} = ");
        let line = profile.lines().find_map(|line| line.strip_prefix(&start));
        (name.to_owned(), json!(line.unwrap().parse::<u64>().unwrap()))
    };
    let counters = recording::COUNTERS.map(|(name, _)| number(name));
    let site = |(counts, stack): (&str, &str)| {
        let counts = counts.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
        let counts: Vec<u64> = counts.map(|count| count.parse().unwrap()).collect();
        json!([stack.trim(), counts])
    };
    let sites = profile.lines().skip(1).filter(|line| line.contains("] @"));
    let mut sites: Vec<_> = sites.filter_map(|line| line.split_once('@')).map(site).collect();
    sites.retain(|site| site[1] != json!([0, 0, 0, 0]));
    sites.sort_by_key(ToString::to_string);
    json!({ "counters": Value::Object(counters.into_iter().collect()), "sites": sites })
}
