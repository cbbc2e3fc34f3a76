//! Who the kernel would kill first: oom scores of all processes in, the first victim and the
//! target's rank out.
//!
//! A victim is chosen by `oom_badness` (mm/oom_kill.c); `/proc/PID/oom_score` shows it scaled and
//! rounded (`proc_oom_score`, fs/proc/base.c). Non-goals: the choice within one cgroup, and among
//! cgroups with `memory.oom.group`.

use std::cmp::Reverse;

use procfs::process::{Process, all_processes};
use serde::{Deserialize, Serialize};

use crate::display::printable;

/// Processes looked at, at most: two small files each. The usual pid_max is 32,768 or 4,194,304.
const PROCESSES_MAX: usize = 32_768;
/// OOM_SCORE_ADJ_MIN (include/uapi/linux/oom.h): never killed.
const ADJ_NEVER: i16 = -1000;
/// Never killed either (`is_global_init`).
const INIT: i32 = 1;

/// Of the target, and of the process before all others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomSample {
    /// The target's `oom_score`.
    pub score: Option<u16>,
    /// The target's `oom_score_adj`.
    pub score_adj: Option<i16>,
    /// How many would be killed up to and including the target; 1 is the first. None when it is
    /// never killed, or its score could not be read.
    pub rank: Option<u64>,
    /// Who would be killed first.
    pub first: Option<OomCandidate>,
    /// Processes that can be killed, as far as looked at.
    pub candidates: u64,
    /// Processes that were not looked at, because there are too many or they had just ended.
    pub unread: u64,
}

/// A process that can be killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomCandidate {
    /// Process id.
    pub pid: i32,
    /// Command name.
    pub comm: String,
    /// `oom_score`.
    pub score: u16,
    /// `oom_score_adj`.
    pub score_adj: i16,
    /// Resident size; among equal scores the larger is taken to go first.
    pub rss_bytes: u64,
}

impl OomSample {
    /// Looks at all processes of our pid namespace, once.
    pub fn read(target: &Process) -> Self {
        let mut sample = Self {
            score: target.oom_score().ok(),
            score_adj: target.oom_score_adj().ok(),
            ..Self::default()
        };
        let Ok(processes) = all_processes() else { return sample };
        let mut candidates = Vec::new();
        for (index, process) in processes.enumerate() {
            let looked_at = process.ok().filter(|_| index < PROCESSES_MAX);
            match looked_at.and_then(|process| candidate(&process)) {
                Some(candidate) => candidates.extend(candidate),
                None => sample.unread += 1,
            }
        }
        sample.settle(target.pid, candidates);
        sample
    }

    fn settle(&mut self, target: i32, mut candidates: Vec<OomCandidate>) {
        candidates.sort_by_key(|each| (Reverse((each.score, each.rss_bytes)), each.pid));
        let rank = candidates.iter().position(|candidate| candidate.pid == target);
        self.rank = rank.map(|index| index as u64 + 1);
        self.candidates = candidates.len() as u64;
        self.first = candidates.into_iter().next();
    }
}

/// `Some(None)` for what is never killed, none for what could not be read.
fn candidate(process: &Process) -> Option<Option<OomCandidate>> {
    let stat = process.stat().ok()?;
    let score_adj = process.oom_score_adj().ok()?;
    // Without pages there is no memory to free: kernel threads, and what is about to end.
    let killable = stat.pid != INIT && stat.rss > 0 && score_adj != ADJ_NEVER;
    if !killable {
        return Some(None);
    }
    let rss_bytes = stat.rss.saturating_mul(procfs::page_size());
    let score = process.oom_score().ok()?;
    // Any process may name itself as it likes.
    let comm = printable(stat.comm.as_bytes());
    Some(Some(OomCandidate { pid: stat.pid, comm, score, score_adj, rss_bytes }))
}

#[cfg(test)]
mod tests {
    use procfs::process::Process;

    use super::{OomCandidate, OomSample};

    fn candidate(pid: i32, score: u16, rss_bytes: u64) -> OomCandidate {
        OomCandidate { pid, comm: format!("p{pid}"), score, score_adj: 0, rss_bytes }
    }

    #[test]
    fn the_highest_score_goes_first_then_the_larger() {
        let mut sample = OomSample::default();
        let all = vec![candidate(7, 670, 10), candidate(8, 800, 5), candidate(9, 670, 20)];
        sample.settle(7, all);
        assert_eq!(sample.first.map(|first| first.pid), Some(8));
        assert_eq!((sample.rank, sample.candidates), (Some(3), 3));
    }

    #[test]
    fn what_is_never_killed_has_no_rank() {
        let mut sample = OomSample::default();
        sample.settle(1, vec![candidate(7, 670, 10)]);
        assert_eq!((sample.rank, sample.candidates), (None, 1));
        let mut nobody = OomSample::default();
        nobody.settle(1, Vec::new());
        assert_eq!(nobody, OomSample::default());
    }

    #[test]
    fn this_process_has_a_rank_among_all() {
        let myself = Process::myself().unwrap();
        let sample = OomSample::read(&myself);
        let text = std::fs::read_to_string("/proc/self/oom_score").unwrap();
        // Other tests allocate meanwhile: a thousandth of all memory is a step of one.
        let score: i32 = text.trim().parse().unwrap();
        assert!((i32::from(sample.score.unwrap()) - score).abs() <= 2, "{sample:?}");
        let first = sample.first.unwrap();
        assert!(first.score >= sample.score.unwrap().saturating_sub(2));
        assert!((1..=sample.candidates).contains(&sample.rank.unwrap()));
    }
}
