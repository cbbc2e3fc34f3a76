use super::{Comparison, Living, reconcile};
use crate::{
    bpf::GoroutineSampling,
    memory::goroutines::Creation,
    snapshot::{GoroutineRates, OTHER_SITES, Rate, SiteRates},
};

const A: Creation = Creation { creator_pc: 0x10, start_pc: 0x100 };
const B: Creation = Creation { creator_pc: 0x20, start_pc: 0x200 };

fn seen([started, ended]: [u64; 2]) -> SiteRates {
    let rate = |seen| Rate { seen, estimate: seen as f64, error: 0.0 };
    SiteRates { started: rate(started), ended: rate(ended) }
}

fn rates(sites: &[(Creation, [u64; 2])]) -> GoroutineRates {
    let sites = sites.iter().map(|(site, counts)| (*site, seen(*counts)));
    GoroutineRates { sites: sites.collect(), ..GoroutineRates::default() }
}

/// Of a target that stands still while it is read.
fn still(sites: &[(Creation, [u64; 2])], live: &[(Creation, u64)]) -> Comparison {
    moving([sites, sites], live)
}

fn moving(seen: [&[(Creation, [u64; 2])]; 2], live: &[(Creation, u64)]) -> Comparison {
    let [before, after] = seen.map(rates);
    Comparison::new([&before, &after], &living(live), &mut |_| true).unwrap()
}

fn living(live: &[(Creation, u64)]) -> Living {
    Living { by_site: live.iter().copied().collect(), unread: 0 }
}

#[test]
fn starts_less_ends_are_the_change_of_the_living() {
    let first = still(&[], &[(A, 1), (B, 5)]);
    let last = still(&[(A, [10, 4]), (B, [0, 2])], &[(A, 7), (B, 3)]);
    let found = reconcile([&first, &last], 0);
    assert_eq!((found.lost, found.total.unexplained, found.total.in_between), (0, 0, 0));
    assert_eq!((found.total.of_living, found.total.of_probes), (4, 4));
    assert_eq!((found.sites[&A].of_living, found.sites[&B].of_probes), (6, -2));
}

#[test]
fn every_difference_of_a_still_target_is_a_loss_by_site() {
    let first = still(&[], &[(A, 1), (B, 5)]);
    let last = still(&[(A, [10, 4])], &[(A, 9), (B, 4)]);
    let found = reconcile([&first, &last], 0);
    assert_eq!((found.sites[&A].unexplained, found.sites[&B].unexplained), (2, -1));
    assert_eq!((found.lost, found.total.unexplained), (3, 3));
    assert_eq!(reconcile([&first, &last], 2).lost, 1);
    assert_eq!(reconcile([&first, &last], 7).lost, 0);
}

/// Memory was read somewhere between the two readings of the probes, goroutine by goroutine.
#[test]
fn what_happened_while_memory_was_read_is_no_loss() {
    let first = still(&[], &[(A, 100)]);
    let last = |live| moving([&[(A, [50, 20])], &[(A, [57, 24])]], &[(A, live)]);
    for live in [126, 130, 137] {
        let found = reconcile([&first, &last(live)], 0);
        assert_eq!((found.lost, found.sites[&A].in_between), (0, 11), "{live}");
    }
    assert_eq!(reconcile([&first, &last(125)], 0).sites[&A].unexplained, -1);
    assert_eq!(reconcile([&first, &last(138)], 0).lost, 1);
}

/// The same at the first end: who started meanwhile and was not seen yet is alive later.
#[test]
fn it_may_have_happened_at_either_end() {
    let first = moving([&[], &[(A, [7, 4])]], &[(A, 100)]);
    let last = |live| still(&[(A, [50, 20])], &[(A, live)]);
    // Starts that were seen alive at the first reading already, or ends that were not yet.
    for (live, unexplained) in [(122, -1), (123, 0), (134, 0), (135, 1)] {
        let found = reconcile([&first, &last(live)], 0);
        assert_eq!(found.sites[&A].unexplained, unexplained, "{live}");
    }
}

#[test]
fn what_is_the_runtimes_own_is_left_out() {
    let before = rates(&[]);
    let now = rates(&[(A, [3, 0]), (B, [5, 0])]);
    let mut own = |site| site == A;
    let none = living(&[]);
    let first = Comparison::new([&before, &before], &none, &mut own).unwrap();
    let live = living(&[(A, 3)]);
    let last = Comparison::new([&now, &now], &live, &mut own).unwrap();
    let found = reconcile([&first, &last], 0);
    assert_eq!((found.lost, found.sites.len()), (0, 1));
}

#[test]
fn sites_that_memory_does_not_tell_apart_are_compared_together() {
    let first = still(&[], &[(A, 0), (OTHER_SITES, 0)]);
    let c = Creation { creator_pc: 0x30, start_pc: 0x300 };
    let last = still(&[(A, [1, 0]), (B, [4, 1]), (c, [2, 0])], &[(A, 1), (OTHER_SITES, 5)]);
    let found = reconcile([&first, &last], 0);
    assert_eq!((found.lost, found.sites.len()), (0, 2));
    assert_eq!(found.sites[&OTHER_SITES].of_probes, 5);
}

/// They are lost by another reason already.
#[test]
fn events_whose_site_is_not_known_are_not_lost_twice() {
    let live = |count| living(&[(A, count)]);
    let before = rates(&[]);
    let now = GoroutineRates { unplaced: seen([3, 1]), ..rates(&[(A, [2, 0])]) };
    let first = Comparison::new([&before, &before], &live(0), &mut |_| true).unwrap();
    let last = Comparison::new([&now, &now], &live(5), &mut |_| true).unwrap();
    let found = reconcile([&first, &last], 0);
    assert_eq!((found.sites[&A].unexplained, found.lost), (3, 0));
}

#[test]
fn goroutines_that_could_not_be_read_are_not_lost_twice() {
    let first = still(&[], &[(A, 0)]);
    let now = rates(&[(A, [9, 0])]);
    let torn = Living { unread: 2, ..living(&[(A, 6)]) };
    let last = Comparison::new([&now, &now], &torn, &mut |_| true).unwrap();
    let found = reconcile([&first, &last], 0);
    assert_eq!((found.sites[&A].unexplained, found.lost), (-3, 1));
}

#[test]
fn estimates_are_not_reconciled() {
    let sampling = GoroutineSampling {
        since_ns: 0,
        told_until_ns: None,
        observed_ns: 1,
        span_ns: 10,
        windows: 1,
        relative_error: None,
    };
    let sampled = GoroutineRates { sampling: Some(sampling), ..GoroutineRates::default() };
    let failed = GoroutineRates { failure: Some("gone".to_owned()), ..GoroutineRates::default() };
    let whole = GoroutineRates::default();
    for half in [&sampled, &failed] {
        let found = Comparison::new([&whole, half], &Living::default(), &mut |_| true);
        assert_eq!(found, None);
    }
}
