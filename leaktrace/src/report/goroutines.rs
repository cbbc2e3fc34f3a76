//! The goroutine profile: named groups, and the text that users of `/debug/pprof/goroutine?debug=1`
//! know.

use std::fmt::Write as _;

use super::inspection::incomplete;
use crate::{
    display::printable,
    memory::goroutines::{Goroutines, Label, Lost, by_profile},
    symbolize::{StackLine, Symbolizer},
};

/// Goroutines of equal stack and labels.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GoroutineGroup {
    /// How many they are.
    pub count: u64,
    /// Their labels, by key.
    pub labels: Vec<Label>,
    /// Live addresses of the stack, innermost first.
    pub pcs: Vec<u64>,
    /// The same with names.
    pub lines: Vec<StackLine>,
    /// Why the stack is not there, or ends early; none when it is whole.
    pub incomplete: Option<String>,
    /// Since when the first of them is known to wait, in nanoseconds of the monotonic clock.
    pub oldest_since_ns: Option<u64>,
    /// The numbers of a few of them, lowest first.
    pub sample_ids: Vec<u64>,
}

/// All goroutines but the runtime's own, in groups, largest first.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GoroutineProfile {
    /// How many there are.
    pub total: u64,
    /// The groups.
    pub groups: Vec<GoroutineGroup>,
    /// What could not be had.
    pub lost: Lost,
}

impl GoroutineProfile {
    /// Groups and names what was read.
    pub fn new(goroutines: &Goroutines, symbolizer: &mut Symbolizer<'_>) -> Self {
        let groups = by_profile(symbolizer.own_goroutines(goroutines)).into_iter().map(|group| {
            let (stack, labels) = group.key;
            let pcs = goroutines.stack_of(stack).to_vec();
            GoroutineGroup {
                count: group.count,
                labels: goroutines.labels(labels).to_vec(),
                lines: symbolizer.stack_lines(&pcs),
                pcs,
                incomplete: incomplete(stack).map(str::to_owned),
                oldest_since_ns: group.oldest_since_ns,
                sample_ids: group.sample_ids,
            }
        });
        let groups: Vec<_> = groups.collect();
        let total = groups.iter().map(|group| group.count).sum();
        Self { total, groups, lost: goroutines.lost }
    }
}

/// The profile as text.
pub fn render_goroutines(profile: &GoroutineProfile) -> String {
    let mut text = format!("goroutine profile: total {}\n", profile.total);
    for group in &profile.groups {
        let _ = write!(text, "{} @", group.count);
        for line in &group.lines {
            // As Go prints it: the address behind the call.
            let _ = write!(text, " {:#x}", line.pc.wrapping_add(1));
        }
        text.push('\n');
        if !group.labels.is_empty() {
            let label = |label: &Label| format!("{:?}:{:?}", label.key, label.value);
            let labels: Vec<_> = group.labels.iter().map(label).collect();
            let _ = writeln!(text, "# labels: {{{}}}", labels.join(", "));
        }
        if let Some(why) = &group.incomplete {
            let _ = writeln!(text, "# no whole stack: {why}");
        }
        render_lines(&group.lines, &mut text);
        text.push('\n');
    }
    text
}

/// Without the frames of the runtime at the inner end, where goroutines wait
/// (`printStackRecord`, runtime/pprof/pprof.go).
fn render_lines(lines: &[StackLine], text: &mut String) {
    let own = |line: &&StackLine| {
        let name = &line.frame.function;
        name.starts_with("runtime.") || name.starts_with("internal/runtime/")
    };
    let waiting = lines.iter().take_while(own).count();
    let shown = if waiting == lines.len() { lines } else { &lines[waiting..] };
    for line in shown.iter().filter(|line| &*line.frame.function != "runtime.goexit") {
        let StackLine { pc, offset, frame } = line;
        let function = printable(frame.function.as_bytes());
        let offset = offset.map_or_else(String::new, |offset| format!("+{offset:#x}"));
        let file = printable(frame.file.as_bytes());
        let _ = writeln!(text, "#\t{pc:#x}\t{function}{offset}\t{file}:{}", frame.line);
    }
}

#[cfg(test)]
mod tests {
    use super::{GoroutineGroup, GoroutineProfile, render_goroutines};
    use crate::{
        binary::Frame,
        memory::goroutines::{Label, Lost},
        symbolize::StackLine,
    };

    fn line(function: &str, pc: u64) -> StackLine {
        let frame = Frame {
            function: function.into(),
            file: "main.go".into(),
            line: 7,
            start_line: 5,
            inlined: false,
        };
        StackLine { pc, offset: Some(0x10), frame }
    }

    fn profile() -> GoroutineProfile {
        let lines = [("runtime.gopark", 0x10), ("main.f", 0x20), ("runtime.goexit", 0x30)];
        let lines: Vec<_> = lines.into_iter().map(|(name, pc)| line(name, pc)).collect();
        let group = GoroutineGroup {
            count: 3,
            labels: vec![Label { key: "a".to_owned(), value: "\"\n".to_owned() }],
            pcs: vec![0x11, 0x21, 0x31],
            lines,
            incomplete: None,
            oldest_since_ns: Some(5),
            sample_ids: vec![1, 2, 3],
        };
        let running = GoroutineGroup {
            count: 1,
            labels: Vec::new(),
            pcs: Vec::new(),
            lines: Vec::new(),
            incomplete: Some("it runs".to_owned()),
            ..group.clone()
        };
        GoroutineProfile { total: 4, groups: vec![group, running], lost: Lost::default() }
    }

    #[test]
    fn the_text_is_as_go_writes_it() {
        let expected = "goroutine profile: total 4\n3 @ 0x11 0x21 0x31\n\
                        # labels: {\"a\":\"\\\"\\n\"}\n#\t0x20\tmain.f+0x10\tmain.go:7\n\n\
                        1 @\n# no whole stack: it runs\n\n";
        assert_eq!(render_goroutines(&profile()), expected);
    }

    #[test]
    fn json_gives_the_same_profile_back() {
        let json = serde_json::to_string(&profile()).unwrap();
        assert_eq!(serde_json::from_str::<GoroutineProfile>(&json).unwrap(), profile());
    }
}
