//! The readers of live memory on memory of real Go processes that was recorded, without root.
//!
//! `tests/record.rs` makes the recordings; each has what the process said of itself.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/recording.rs"]
mod recording;

use recording::{all, disagreement};
use serde_json::Value;

#[test]
fn recorded_memory_reads_as_it_did() {
    let recordings = all();
    assert_eq!(recordings.len(), 9);
    for recording in recordings {
        let found = recording.read(&recording.memory).found(&recording.types()).unwrap();
        for (part, expected) in recording.facts.found.as_object().unwrap() {
            assert_eq!(&found[part], expected, "{part} of {}", recording.name);
        }
        assert_eq!(found, recording.facts.found, "{}", recording.name);
    }
}

#[test]
fn what_is_read_is_what_the_process_said() {
    for recording in all() {
        let (truth, name) = (&recording.facts.truth, &recording.name);
        let found = recording.read(&recording.memory).found(&recording.types()).unwrap();
        assert_eq!(disagreement(truth, &found), None, "{name}");
        let count = |value: &Value| value.as_object().map_or(0, serde_json::Map::len);
        assert!(count(&truth["goroutines"]) >= 2, "{name}");
        match name.split_once('-').unwrap().1 {
            "goroutines" => assert!(count(&truth["goroutines"]) > 30, "{name}"),
            "heap" => assert!(truth["heap"]["sites"].as_array().unwrap().len() > 20, "{name}"),
            _ => {
                assert_eq!(count(&truth["contexts"]), 10, "{name}");
                let root = &truth["contexts"]["held"]["Holders"][0];
                let top = &found["holders"]["top"][0];
                // See `served/contexts.go` for those besides the first kind.
                assert_eq!((&top["address"], &top["children"]), (root, &(1200 + 51).into()));
            }
        }
    }
}
