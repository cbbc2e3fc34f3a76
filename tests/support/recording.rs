//! Memory of real Go processes, recorded: all that the readers need to read it again, without the
//! process and without root.
//!
//! `NAME.json` says what lies where, what the process said of itself, and what was found;
//! `NAME.pages.gz` has the pages that were read: the address of each in 8 bytes, then its 4096.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    cell::Cell,
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use leaktrace::{
    binary::{
        Machine, RuntimeVariable, StackFrame,
        layout::{Layout, for_version},
    },
    memory::{
        Addresses, ArenaUse, ContextReader, HeapProfile, HeapReading, Holders, ReadMemory,
        ReadPages, RecordedMemory, Runtime, RuntimeCounters, Standing, Types, View, find_holders,
        goroutines::{Goroutines, Limits, Options, Unwind, by_labels, by_stack},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub const PAGE_BYTES: usize = 4096;

/// What is known of a recording beside its pages. Addresses are live ones.
#[derive(Serialize, Deserialize)]
pub struct Facts {
    /// `1.27.3`.
    pub go: String,
    /// Of the program `served`: the part and its arguments.
    pub arguments: Vec<String>,
    /// Where the runtime's variables lie, by name.
    pub variables: BTreeMap<String, u64>,
    /// Names of types by address; null where the executable has none.
    pub types: BTreeMap<u64, Option<String>>,
    /// Frames of the functions by what was asked: bytes, and whether it is the outermost.
    pub frames: BTreeMap<u64, Option<(u64, bool)>>,
    /// Addresses that are asked for as contexts.
    pub contexts: Vec<u64>,
    /// What the process says of itself.
    pub truth: Value,
    /// What the readers say.
    pub found: Value,
}

impl Facts {
    pub fn addresses(&self) -> Addresses {
        let located = RuntimeVariable::ALL.map(|variable| {
            let address = self.variables.get(variable.name()).copied();
            (variable, address.ok_or_else(|| "it was not recorded".to_owned()))
        });
        Addresses::new(located, 0)
    }

    pub fn layout(&self) -> Layout {
        for_version(&format!("go{}", self.go).as_str().into()).unwrap()
    }
}

impl Unwind for Facts {
    fn frame(&self, pc: u64) -> Option<StackFrame> {
        let (depth, outermost) = (*self.frames.get(&pc)?)?;
        Some(StackFrame { depth, outermost })
    }
}

/// A recording, opened.
pub struct Recording {
    pub name: String,
    pub facts: Facts,
    pub memory: RecordedMemory,
    pub addresses: Addresses,
    pub layout: Layout,
}

fn folder() -> PathBuf {
    let from = |folder: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    // From the fuzzer's own workspace it is another way.
    let folders = ["../tests/golden/memory", "../golden/memory"].map(from);
    folders.into_iter().find(|folder| folder.exists()).unwrap()
}

/// All recordings, by name.
pub fn all() -> Vec<Recording> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut facts: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    facts.sort();
    facts.iter().map(|path| Recording::load(path)).collect()
}

impl Recording {
    fn load(path: &Path) -> Self {
        let facts = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let mut bytes = Vec::new();
        let pages = File::open(path.with_extension("pages.gz")).unwrap();
        GzDecoder::new(pages).read_to_end(&mut bytes).unwrap();
        let mut memory = RecordedMemory::default();
        for record in bytes.chunks_exact(8 + PAGE_BYTES) {
            let (address, page) = record.split_first_chunk().unwrap();
            memory.put(u64::from_le_bytes(*address), page);
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Self::new(name, facts, memory)
    }

    pub fn new(name: String, facts: Facts, memory: RecordedMemory) -> Self {
        let (addresses, layout) = (facts.addresses(), facts.layout());
        Self { name, facts, memory, addresses, layout }
    }

    pub fn save(&self) {
        let file = |end| folder().join(format!("{}.{end}", self.name));
        let text = serde_json::to_string_pretty(&self.facts).unwrap();
        fs::write(file("json"), text + "\n").unwrap();
        let mut pages = GzEncoder::new(Vec::new(), Compression::best());
        for (address, page) in self.memory.pages() {
            pages.write_all(&address.to_le_bytes()).unwrap();
            pages.write_all(page).unwrap();
        }
        fs::write(file("pages.gz"), pages.finish().unwrap()).unwrap();
    }

    /// What the readers say of `memory`, which may be another than the recorded one.
    pub fn read<'a>(&'a self, memory: &'a dyn ReadMemory) -> Subject<'a> {
        Subject {
            memory,
            layout: self.layout,
            addresses: &self.addresses,
            unwind: &self.facts,
            contexts: &self.facts.contexts,
            limits: Limits::default(),
            times_on: u64::MAX,
        }
    }

    pub fn types(&self) -> Types<'_> {
        Types::new(|ty| self.facts.types.get(&ty).cloned().flatten())
    }
}

/// Memory, and what is asked of it.
pub struct Subject<'a> {
    pub memory: &'a dyn ReadMemory,
    pub layout: Layout,
    pub addresses: &'a Addresses,
    pub unwind: &'a dyn Unwind,
    pub contexts: &'a [u64],
    /// Of goroutines.
    pub limits: Limits,
    /// How often `find_holders` is told to go on.
    pub times_on: u64,
}

impl Subject<'_> {
    fn runtime(&self) -> Runtime<'_> {
        let (view, machine) = (View::new(self.memory), Machine::Amd64);
        Runtime { view, layout: self.layout, machine, addresses: self.addresses }
    }

    pub fn counters(&self) -> Result<RuntimeCounters, String> {
        RuntimeCounters::read(&self.runtime()).map_err(|why| why.to_string())
    }

    pub fn heap(&self) -> Result<HeapProfile, String> {
        HeapProfile::read(&self.runtime()).map_err(|why| why.to_string())
    }

    pub fn goroutines(&self, by_tables: bool) -> Result<Goroutines, String> {
        let unwind = by_tables.then_some(self.unwind);
        let options = Options { unwind, limits: self.limits };
        Goroutines::read(&self.runtime(), &options).map_err(|why| why.to_string())
    }

    pub fn holders(&self, types: &Types<'_>) -> Result<Holders, String> {
        let times = Cell::new(0);
        let go_on = || times.replace(times.get() + 1) < self.times_on;
        find_holders(&self.runtime(), types, &go_on).map_err(|why| why.to_string())
    }

    pub fn standings(&self, types: &Types<'_>) -> Result<Vec<Standing>, String> {
        let runtime = self.runtime();
        let reader = ContextReader::new(&runtime, types).map_err(|why| why.to_string())?;
        let asked: Vec<_> = self.contexts.iter().map(|address| (*address, None)).collect();
        reader.standings(&asked).map_err(|why| why.to_string())
    }

    /// Bytes that hang on each of the contexts; none where there is too much to follow.
    pub fn reached(&self, types: &Types<'_>) -> Result<Option<Vec<u64>>, String> {
        let runtime = self.runtime();
        let reader = ContextReader::new(&runtime, types).map_err(|why| why.to_string())?;
        let times = Cell::new(0);
        let go_on = || times.replace(times.get() + 1) < self.times_on;
        let holders = HashSet::new();
        reader.reached_bytes(self.contexts, &holders, &go_on).map_err(|why| why.to_string())
    }

    /// What the arenas are used for, if every page of the first few is resident.
    pub fn arenas(&self) -> Result<ArenaUse, String> {
        ArenaUse::read(&self.runtime(), &FewPages(Cell::new(0))).map_err(|why| why.to_string())
    }

    /// What all readers say.
    pub fn found(&self, types: &Types<'_>) -> Result<Value, String> {
        let by_tables = self.goroutines(true)?;
        Ok(json!({
            "counters": self.counters()?,
            "heap": heap_found(&self.heap()?),
            "goroutines": goroutines_found(&by_tables),
            "by_frame_pointers": stacks(&self.goroutines(false)?),
            "holders": self.holders(types)?,
            "standings": self.standings(types)?,
        }))
    }
}

/// A page map that is closed after a few readings.
struct FewPages(Cell<u32>);

impl ReadPages for FewPages {
    fn page_bytes(&self) -> u64 {
        PAGE_BYTES as u64
    }

    fn entries(&self, _address: u64, entries: &mut [u64]) -> std::io::Result<usize> {
        if self.0.replace(self.0.get() + 1) >= 16 {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        entries.fill(1 << 63);
        Ok(entries.len())
    }
}

/// `stack: objects in use, allocated, of bytes each` for each site.
fn heap_found(profile: &HeapProfile) -> Value {
    let site = |site: &leaktrace::memory::HeapSite| {
        let (counts, bytes) = (site.published, site.object_bytes);
        json!([hex(&site.stack), counts.in_use(), counts.alloc_objects, bytes])
    };
    let sites: Vec<_> = profile.sites.iter().map(site).collect();
    let groups = profile.groups(HeapReading::Current).len();
    json!({
        "rate_bytes": profile.rate_bytes,
        "settled": profile.settled,
        "dropped": profile.dropped,
        "groups": groups,
        "sites": sites,
    })
}

fn goroutines_found(read: &Goroutines) -> Value {
    let state = |one: &leaktrace::memory::goroutines::Goroutine| {
        let locked = if one.locked_to_thread { ", locked to thread" } else { "" };
        (one.id.to_string(), json!([format!("{}{locked}", one.state()), one.parent_id]))
    };
    let states: serde_json::Map<_, _> = read.list.iter().map(state).collect();
    let labels = by_labels(&read.list).into_iter();
    let labels: Vec<_> = labels.map(|g| json!([g.count, read.labels(g.key)])).collect();
    json!({ "states": states, "labels": labels, "lost": read.lost, "stacks": stacks(read) })
}

fn stacks(read: &Goroutines) -> Value {
    let groups = by_stack(&read.list).into_iter();
    groups.map(|group| json!([group.count, hex(read.stack_of(group.key))])).collect()
}

pub fn hex(stack: &[u64]) -> String {
    stack.iter().map(|pc| format!("{pc:#x}")).collect::<Vec<_>>().join(" ")
}

/// Counters as the process calls them, and as the readers do.
pub const COUNTERS: [(&str, &str); 4] = [
    ("NumGC", "gc_cycles"),
    ("NumForcedGC", "gc_cycles_forced"),
    ("NextGC", "next_gc_bytes"),
    ("LastGC", "last_gc_unix_ns"),
];

/// What the readers found otherwise than the process says.
pub fn disagreement(truth: &Value, found: &Value) -> Option<String> {
    let differs = |what: String, truth: &Value, found: &Value| {
        (truth != found).then(|| format!("{what}: {truth} in truth, {found} found"))
    };
    let counters = COUNTERS.into_iter().find_map(|(name, field)| {
        differs(name.to_owned(), &truth["heap"]["counters"][name], &found["counters"][field])
    });
    let sites = || differs("sites".to_owned(), &truth["heap"]["sites"], &published(found));
    let goroutines = || {
        let states = truth["goroutines"].as_object().unwrap();
        let found = &found["goroutines"]["states"];
        states.iter().find_map(|(id, state)| differs(format!("goroutine {id}"), state, &found[id]))
    };
    let contexts = || {
        let groups = truth["contexts"].as_object().into_iter().flatten();
        groups.into_iter().find_map(|(name, group)| context_disagreement(name, group, found))
    };
    counters.or_else(sites).or_else(goroutines).or_else(contexts)
}

/// The sites as the process publishes them.
fn published(found: &Value) -> Value {
    let site = |site: &Value| {
        let [in_use, allocated, bytes] = [1, 2, 3].map(|field| site[field].as_u64().unwrap());
        json!([site[0], [in_use, in_use * bytes, allocated, allocated * bytes]])
    };
    let mut sites: Vec<_> = found["heap"]["sites"].as_array().unwrap().iter().map(site).collect();
    sites.retain(|site| site[1] != json!([0, 0, 0, 0]));
    sites.sort_by_key(ToString::to_string);
    Value::Array(sites)
}

/// A context of a group (see `served/contexts.go`) that does not stand as the program made it.
fn context_disagreement(name: &str, group: &Value, found: &Value) -> Option<String> {
    let standings = found["standings"].as_array().unwrap();
    let addresses = group["Addresses"].as_array().unwrap().iter().enumerate();
    addresses.into_iter().find_map(|(index, address)| {
        let standing = standings.iter().find(|standing| standing["address"] == *address);
        let holding = &standing?["holding"];
        let stands = match name {
            "held" | "valued" | "done" | "nested" | "few" => {
                holding["held"]["holder"]["address"] == group["Holders"][index]
            }
            "timer" => holding["held_until"]["deadline_unix_ns"] == group["Deadlines"][index],
            "kept" => holding == "nobody",
            "cancelled" => holding == "cancelled",
            "dropped" => holding == "freed",
            _ => holding["unknown"]["why"].as_str().is_some_and(|why| why.contains("main.foreign")),
        };
        (!stands).then(|| format!("{name} context {address}: {holding}"))
    })
}
