//! SAFE-1, read off the BPF object itself: what its programs can do at all.

use object::{LittleEndian, elf, read::elf::FileHeader as _, read::elf::SectionHeader as _};

/// `BPF_JMP | BPF_CALL` (include/uapi/linux/bpf_common.h).
const OPCODE_CALL: u8 = 0x85;
const INSTRUCTION_BYTES: usize = 8;
/// `BPF_PSEUDO_CALL`: not a helper but another function of the object.
const SOURCE_PSEUDO_CALL: u8 = 1;

/// Helpers that look at the target and keep our own books (numbers of include/uapi/linux/bpf.h).
const HARMLESS: [(u32, &str); 12] = [
    (1, "map_lookup_elem"),
    (2, "map_update_elem"),
    (3, "map_delete_elem"),
    (5, "ktime_get_ns"),
    (14, "get_current_pid_tgid"),
    (112, "probe_read_user"),
    (113, "probe_read_kernel"),
    (158, "get_current_task_btf"),
    (175, "task_pt_regs"),
    (131, "ringbuf_reserve"),
    (132, "ringbuf_submit"),
    (133, "ringbuf_discard"),
];

const PROBES: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/leaktrace-ebpf"));
const GROWTH: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/leaktrace-growth"));
const GOROUTINES: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/leaktrace-goroutines"));

/// (section name, instructions) of everything executable in an object.
fn code(data: &[u8]) -> Vec<(String, Vec<u8>)> {
    let header = elf::FileHeader64::<LittleEndian>::parse(data).unwrap();
    let sections = header.sections(LittleEndian, data).unwrap();
    let executable = sections
        .iter()
        .filter(|section| section.sh_flags(LittleEndian) & u64::from(elf::SHF_EXECINSTR) != 0);
    executable
        .map(|section| {
            let name = sections.section_name(LittleEndian, section).unwrap();
            let code = section.data(LittleEndian, data).unwrap();
            (String::from_utf8(name.to_vec()).unwrap(), code.to_vec())
        })
        .filter(|(_, code)| !code.is_empty())
        .collect()
}

#[test]
fn programs_call_no_helper_that_could_touch_the_target() {
    let mut calls = 0;
    for (section, code) in [PROBES, GROWTH, GOROUTINES].into_iter().flat_map(code) {
        for instruction in code.chunks_exact(INSTRUCTION_BYTES) {
            let helper = u32::from_le_bytes(instruction[4..].try_into().unwrap());
            if instruction[0] == OPCODE_CALL && instruction[1] >> 4 != SOURCE_PSEUDO_CALL {
                calls += 1;
                let known = HARMLESS.iter().any(|(number, _)| *number == helper);
                assert!(known, "{section} calls helper {helper}");
            }
        }
    }
    assert!(calls > 20, "only {calls} calls: was the object read at all?");
}

#[test]
fn programs_are_uprobes_and_never_return_probes() {
    for object in [PROBES, GOROUTINES] {
        let sections: Vec<_> = code(object).into_iter().map(|(section, _)| section).collect();
        assert!(sections.iter().any(|section| section == "uprobe"), "{sections:?}");
        for section in sections {
            assert!(section == "uprobe" || section == ".text", "{section}");
        }
    }
}

/// Neither kind can change what it looks at: their return value is at most dropped.
#[test]
fn growth_is_traced_by_events_and_tracepoints_only() {
    let mut sections: Vec<_> = code(GROWTH).into_iter().map(|(section, _)| section).collect();
    sections.sort_unstable();
    assert_eq!(sections, [".text", "perf_event", "tracepoint"]);
}
