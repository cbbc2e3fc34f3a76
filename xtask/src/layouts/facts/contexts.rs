//! Facts on contexts, and the maps that hold their children. Each is a documented field in
//! `leaktrace/src/binary/go/layout/contexts.rs`.

use super::{Group, offset, size, width};

pub const GROUPS: [Group; 12] = [
    Group::new(
        "CancelCtx",
        &["context.cancelCtx"],
        &[
            size(),
            offset(&["Context"]),
            offset(&["mu"]),
            offset(&["done"]),
            offset(&["children"]),
            offset(&["err"]),
            offset(&["cause"]),
        ],
    ),
    Group::new(
        "TimerCtx",
        &["context.timerCtx"],
        &[
            size(),
            offset(&["cancelCtx"]),
            offset(&["timer"]),
            offset(&["deadline.wall"]),
            offset(&["deadline.ext"]),
            offset(&["deadline.loc"]),
        ],
    ),
    Group::new(
        "AfterFuncCtx",
        &["context.afterFuncCtx"],
        &[size(), offset(&["cancelCtx"]), offset(&["once"]), offset(&["f"])],
    ),
    Group::new(
        "ValueCtx",
        &["context.valueCtx"],
        &[size(), offset(&["Context"]), offset(&["key"]), offset(&["val"])],
    ),
    Group::new("WithoutCancelCtx", &["context.withoutCancelCtx"], &[size(), offset(&["c"])]),
    Group::new("StopCtx", &["context.stopCtx"], &[size(), offset(&["Context"]), offset(&["stop"])]),
    Group::new(
        "Timer",
        &["runtime.timeTimer", "time.Timer"],
        &[offset(&["timer.when", "r.when"]).named("when")],
    ),
    Group::new(
        "Hmap",
        &["runtime.hmap"],
        &[
            size(),
            offset(&["count"]),
            offset(&["flags"]),
            offset(&["B"]),
            offset(&["buckets"]),
            offset(&["oldbuckets"]),
        ],
    )
    .optional(),
    Group::new(
        "HmapBucket",
        &["bucket<context.canceler,struct {}>"],
        &[size(), offset(&["keys"]), offset(&["overflow"])],
    )
    .optional(),
    Group::new(
        "SwissMap",
        &["internal/runtime/maps.Map"],
        &[size(), offset(&["used"]), offset(&["dirPtr"]), offset(&["dirLen"])],
    )
    .optional(),
    Group::new(
        "SwissTable",
        &["internal/runtime/maps.table"],
        &[size(), offset(&["used"]), offset(&["groups.data"]), offset(&["groups.lengthMask"])],
    )
    .optional(),
    Group::new(
        "SwissGroup",
        &["noalg.map.group[context.canceler]struct {}", "map.group[context.canceler]struct {}"],
        &[size(), offset(&["ctrl"]), offset(&["slots"]), width(&["slots.[]"]).named("slot_bytes")],
    )
    .optional(),
];
