//! Growth and the number of pods: two counts of pods and a growth in, a statement out.
//!
//! Only the ends of a window are compared. Non-goals: pods that came and went within it.

use std::fmt;

use crate::display;

/// Pods that may be more or fewer at the end than at the beginning for a flat count, as a share
/// of the first count: two of the 110 that a node has by default (`maxPods`). One that is being
/// replaced counts twice or not at all for a moment.
const FLAT_SHARE: f64 = 0.02;

/// What the number of pods says about growth.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum PodGrowth {
    /// It grew while the number of pods did not: pods do not explain it.
    WhileFlat {
        /// Pods at the beginning.
        first_pods: u64,
        /// Pods at the end.
        last_pods: u64,
    },
    /// It grew while the number of pods fell: even less so.
    WhileFewer {
        /// Pods at the beginning.
        first_pods: u64,
        /// Pods at the end.
        last_pods: u64,
    },
    /// It grew with the number of pods.
    PerPod {
        /// Pods at the beginning.
        first_pods: u64,
        /// Pods at the end.
        last_pods: u64,
        /// Growth for each pod that was added, in the unit of the growth.
        per_added_pod: f64,
    },
}

/// What the number of pods at both ends of a window says about a growth in it; none when nothing
/// grew. `growth` is in any unit.
pub fn growth_per_pod(first_pods: u64, last_pods: u64, growth: f64) -> Option<PodGrowth> {
    // Not a number is no growth either.
    if growth.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater) {
        return None;
    }
    let flat = first_pods.abs_diff(last_pods) as f64 <= first_pods as f64 * FLAT_SHARE;
    Some(if flat {
        PodGrowth::WhileFlat { first_pods, last_pods }
    } else if last_pods < first_pods {
        PodGrowth::WhileFewer { first_pods, last_pods }
    } else {
        let per_added_pod = growth / (last_pods - first_pods) as f64;
        PodGrowth::PerPod { first_pods, last_pods, per_added_pod }
    })
}

impl PodGrowth {
    /// As a part of a sentence, with `unit` after a figure: `goroutines`.
    pub fn statement(&self, unit: &str) -> String {
        match self {
            Self::PerPod { per_added_pod, .. } => {
                format!("grew by {} {unit} per added pod ({self})", display::rate(*per_added_pod))
            }
            Self::WhileFlat { .. } => format!("grew while the pod count was flat ({self})"),
            Self::WhileFewer { .. } => format!("grew while the pod count fell ({self})"),
        }
    }
}

/// The pods: `100 -> 130 pods`.
impl fmt::Display for PodGrowth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::WhileFlat { first_pods, last_pods }
        | Self::WhileFewer { first_pods, last_pods }
        | Self::PerPod { first_pods, last_pods, .. }) = self;
        if first_pods == last_pods {
            return write!(f, "{last_pods} pods");
        }
        write!(f, "{first_pods} -> {last_pods} pods")
    }
}

#[cfg(test)]
mod tests {
    use super::growth_per_pod;

    fn says(first: u64, last: u64, growth: f64) -> Option<String> {
        growth_per_pod(first, last, growth).map(|growth| growth.statement("goroutines"))
    }

    #[test]
    fn growth_at_a_flat_count_is_said_to_be_that() {
        let flat = says(100, 100, 2000.0).unwrap();
        assert_eq!(flat, "grew while the pod count was flat (100 pods)");
        let nearly = says(100, 102, 2000.0).unwrap();
        assert_eq!(nearly, "grew while the pod count was flat (100 -> 102 pods)");
        assert_eq!(says(0, 0, 5.0).unwrap(), "grew while the pod count was flat (0 pods)");
        let fell = says(100, 50, 1.0).unwrap();
        assert_eq!(fell, "grew while the pod count fell (100 -> 50 pods)");
    }

    #[test]
    fn growth_with_pods_is_divided_by_those_that_were_added() {
        let text = "grew by 20.0 goroutines per added pod (100 -> 130 pods)";
        assert_eq!(says(100, 130, 600.0).unwrap(), text);
        // One of ten is no longer within what counting explains.
        let one = says(10, 11, 7.0).unwrap();
        assert_eq!(one, "grew by 7.0 goroutines per added pod (10 -> 11 pods)");
        assert!(says(0, 3, 6.0).unwrap().starts_with("grew by 2.0 goroutines per added pod"));
    }

    #[test]
    fn what_did_not_grow_has_no_statement() {
        for growth in [0.0, -5.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(says(10, 20, growth), None);
        }
        assert!(says(u64::MAX, 0, 1.0).is_some());
        assert!(says(0, u64::MAX, f64::INFINITY).is_some());
    }
}
