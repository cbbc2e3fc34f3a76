//! A workload whose goroutines are traced as they start and end.

use std::{collections::BTreeMap, fs::File, num::NonZeroU32};

use leaktrace::{
    binary::{Blocks, BuildInfo, Elf, GoBinary, Machine},
    bpf::{GoroutineLimits, GoroutineTracer, Target},
    memory::goroutines::{Creation, Goroutines, Options, by_creation},
    probe::{GoroutineFacts, GoroutinePlan, GoroutineProgram, plan_goroutines},
    session::{Executable, Look},
    target::{Identity, Selector, Watch, select},
};
use serde_json::Value;

use super::Workload;

/// The plan for the executable at `path`.
pub fn plan_of(path: &str) -> GoroutinePlan {
    let file = Blocks::new(File::open(path).unwrap());
    let elf = Elf::read(&file).unwrap();
    let build = BuildInfo::read(&file, &elf).unwrap();
    let go = GoBinary::read(&file, &elf, &build).unwrap();
    let facts = GoroutineFacts::read(&file, &elf, &go, &build).unwrap();
    plan_goroutines(&facts).on(elf.machine, Machine::HOST)
}

/// A running workload with its tracer.
pub struct Traced {
    pub workload: Workload,
    pub tracer: GoroutineTracer,
    pub plan: GoroutinePlan,
    /// How far its code lies above where its file says.
    pub bias: u64,
    pub watch: Watch,
    pub executable: Executable,
    look: Look,
}

impl Traced {
    /// Starts `build`'s workload, waiting, with the probes in it.
    pub fn start(build: &str, arguments: &[&str], limits: GoroutineLimits) -> Self {
        Self::start_with(build, arguments, limits, &|_| true)
    }

    /// The same with such probes alone as are `wanted`.
    pub fn start_with(
        build: &str,
        arguments: &[&str],
        limits: GoroutineLimits,
        wanted: &dyn Fn(GoroutineProgram) -> bool,
    ) -> Self {
        let workload =
            Workload::start(build, &[&arguments[..1], &["-wait"], &arguments[1..]].concat());
        let exe = format!("/proc/{}/exe", workload.pid());
        let plan = plan_of(&exe);
        let process = select(&Selector::Pid(workload.pid() as i32)).unwrap();
        let identity = Identity::of(&process).unwrap();
        let watch = Watch::new(process, identity);
        let executable = Executable::of(&watch).unwrap();
        let (bias, look) =
            (executable.bias().unwrap(), Look::open(watch.process(), &executable).unwrap());
        let pid = NonZeroU32::new(workload.pid()).unwrap();
        let target = Target { pid, exe: exe.into(), code: executable.go_code() };
        let layout = plan.layout.unwrap();
        let mut tracer = GoroutineTracer::load(target, layout, bias, limits).unwrap();
        let points = plan.points.iter().filter(|point| wanted(point.program)).cloned();
        tracer.attach(&points.collect::<Vec<_>>()).unwrap();
        Self { workload, tracer, plan, bias, watch, executable, look }
    }

    /// Lets it work; gives what it says it did.
    pub fn truth(&mut self) -> Value {
        self.workload.begin();
        self.workload.truth()
    }

    /// The living goroutines by where they were started, out of its memory.
    pub fn live(&self) -> BTreeMap<Creation, u64> {
        let read = Goroutines::read(&self.look.runtime(), &Options::default()).unwrap();
        by_creation(&read.list).into_iter().map(|group| (group.key, group.count)).collect()
    }
}
