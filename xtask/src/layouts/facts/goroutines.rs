//! Facts on goroutines and their labels. Each is a documented field in
//! `leaktrace/src/binary/go/layout/goroutines.rs`.

use super::{Group, constant, offset, size};

pub const GROUPS: [Group; 5] = [
    Group::new(
        "G",
        &["runtime.g"],
        &[
            size(),
            offset(&["stack.lo"]),
            offset(&["stack.hi"]),
            offset(&["stackguard0"]),
            offset(&["m"]),
            offset(&["sched.sp"]),
            offset(&["sched.pc"]),
            offset(&["sched.lr"]),
            offset(&["sched.bp"]),
            offset(&["syscallsp"]),
            offset(&["syscallpc"]),
            offset(&["syscallbp"]).optional(),
            offset(&["param"]),
            offset(&["atomicstatus"]),
            offset(&["goid"]),
            offset(&["waitsince"]),
            offset(&["waitreason"]),
            offset(&["trackingSeq"]),
            offset(&["lockedm"]),
            offset(&["parentGoid"]),
            offset(&["gopc"]),
            offset(&["ancestors"]),
            offset(&["startpc"]),
            offset(&["waiting"]),
            offset(&["labels"]),
            offset(&["timer"]),
            offset(&["bubble"]).optional(),
        ],
    ),
    Group::new(
        "M",
        &["runtime.m"],
        &[
            offset(&["g0"]),
            offset(&["procid"]),
            offset(&["gsignal"]),
            offset(&["curg"]),
            offset(&["p"]),
            offset(&["id"]),
            offset(&["alllink"]),
        ],
    ),
    Group::new(
        "Status",
        &[],
        &[
            constant(&["runtime._Gidle"]),
            constant(&["runtime._Grunnable"]),
            constant(&["runtime._Grunning"]),
            constant(&["runtime._Gsyscall"]),
            constant(&["runtime._Gwaiting"]),
            constant(&["runtime._Gdead"]),
            constant(&["runtime._Gcopystack"]),
            constant(&["runtime._Gpreempted"]),
            constant(&["runtime._Gleaked"]).optional(),
            constant(&["runtime._Gdeadextra"]).optional(),
            constant(&["runtime._Gscan"]),
        ],
    ),
    Group::new(
        "Label",
        &["internal/runtime/pprof/label.Label", "runtime/pprof.label"],
        &[size(), offset(&["Key", "key"]), offset(&["Value", "value"])],
    ),
    Group::new(
        "LabelBucket",
        &["bucket<string,string>"],
        &[size(), offset(&["keys"]), offset(&["values"]), offset(&["overflow"])],
    )
    .optional(),
];
