//! Series as real processes make them, whose shape is known.

use super::{SeriesShape, Shaped, how_long_s, shape_of, testing::uniform};

const MIB: f64 = 1048576.0;

/// 100 readings every 3 s with noise of `noise` from lowest to highest; all of ten seeds must agree.
#[track_caller]
fn assert_shape(noise: f64, value: impl Fn(f64) -> f64, is: impl Fn(&SeriesShape) -> bool) {
    for seed in 0..10 {
        let times = (0..100).map(|index| f64::from(index) * 3.0);
        let points: Vec<_> =
            times.zip(uniform(seed)).map(|(t, r)| (t, value(t) + noise * (r - 0.5))).collect();
        let found = shape_of(&points, 0.0).unwrap();
        assert!(is(&found.shape), "seed {seed}: {found:?}");
    }
}

const fn is_growing(shape: &SeriesShape) -> bool {
    shape.is_growing()
}

fn is_warm_up(shape: &SeriesShape) -> bool {
    *shape == SeriesShape::WarmUp
}

#[test]
fn what_grows_to_the_end_is_growing() {
    let line = |t: f64| 100.0 * MIB + 0.05 * MIB * t;
    assert_shape(0.0, line, is_growing);
    assert_shape(5.0 * MIB, line, is_growing);
    // Teeth of 8 MiB in 24 s on what grows.
    assert_shape(0.5 * MIB, |t| line(t) + 8.0 * MIB * (t / 24.0).fract(), is_growing);
    // Teeth of 40 MiB, so that only the floor tells 15 MiB in all.
    assert_shape(0.5 * MIB, |t| line(t) + 40.0 * MIB * (t / 24.0).fract(), is_growing);
    // Large pieces, as often as ever.
    assert_shape(0.1 * MIB, |t| 100.0 * MIB + 2.0 * MIB * (t / 25.0).floor(), is_growing);
    // After a warm-up of half a minute.
    assert_shape(
        0.3 * MIB,
        |t| line(t) + 20.0 * MIB * (1.0 - (-t / 30.0).exp()),
        |shape| matches!(shape, SeriesShape::Growing { since_s } if *since_s > 100.0),
    );
    // As the square root: it never ends.
    assert_shape(0.0, |t| 100.0 * MIB + MIB * t.sqrt(), is_growing);
}

#[test]
fn what_slows_down_is_a_warm_up() {
    for constant_s in [10.0, 30.0, 60.0, 100.0] {
        let warm = |t: f64| 100.0 * MIB + 30.0 * MIB * (1.0 - (-t / constant_s).exp());
        assert_shape(0.0, warm, is_warm_up);
        assert_shape(0.5 * MIB, warm, is_warm_up);
    }
    // A cache that fills and evicts from then on.
    assert_shape(0.5 * MIB, |t| 100.0 * MIB + (0.3 * MIB * t).min(40.0 * MIB), is_warm_up);
}

#[test]
fn jumps_with_rest_between_are_steps() {
    let steps = |count| move |shape: &SeriesShape| *shape == SeriesShape::Steps { count };
    let at = |t: f64, from_s: f64| if t >= from_s { 1.0 } else { 0.0 };
    assert_shape(0.5 * MIB, |t| 100.0 * MIB + 64.0 * MIB * at(t, 150.0), steps(1));
    assert_shape(0.5 * MIB, |t| 100.0 * MIB + 4.0 * MIB * (at(t, 60.0) + at(t, 200.0)), steps(2));
    // A map that doubles: at 15, 30, 60, 120 and 240 s.
    let doubling =
        |t: f64| 100.0 * MIB + 8.0 * MIB * f64::from((t / 15.0).max(1.0) as u32).log2().floor();
    assert_shape(0.1 * MIB, doubling, steps(4));
}

#[test]
fn teeth_on_a_flat_floor_are_a_saw_tooth_whatever_their_height_and_period() {
    for (height, period_s) in [(5.0, 24.0), (40.0, 24.0), (40.0, 70.0), (200.0, 45.0)] {
        assert_shape(
            0.5 * MIB,
            |t| 60.0 * MIB + height * MIB * (t / period_s).fract(),
            |shape| matches!(shape, SeriesShape::SawTooth { teeth } if *teeth >= 3),
        );
    }
}

#[test]
fn noise_alone_is_flat() {
    assert_shape(0.0, |_| 50.0 * MIB, |shape| *shape == SeriesShape::Flat);
    assert_shape(3.0 * MIB, |_| 50.0 * MIB, |shape| *shape == SeriesShape::Flat);
    let points: Vec<_> = (0..60).map(|t| (f64::from(t), 5e6 + 3e4 * f64::from(t))).collect();
    assert_eq!(shape_of(&points, 1e7).unwrap().shape, SeriesShape::Flat, "within what is known");
}

#[test]
fn what_shrinks_is_falling_and_what_begins_anew_has_restarted() {
    assert_shape(0.5 * MIB, |t| 100.0 * MIB - 0.1 * MIB * t, |s| *s == SeriesShape::Falling);
    let drained = |t: f64| 50.0 * MIB + 50.0 * MIB * (-t / 40.0).exp();
    assert_shape(0.5 * MIB, drained, |s| *s == SeriesShape::Falling);
    assert_shape(
        0.5 * MIB,
        |t| 30.0 * MIB + 0.2 * MIB * if t < 200.0 { t } else { t - 200.0 },
        |shape| matches!(shape, SeriesShape::Restarted { at_s } if (at_s - 201.0).abs() < 4.0),
    );
}

#[test]
fn what_is_too_short_or_stands_still_in_time_has_no_shape() {
    assert_eq!(shape_of(&[(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)], 0.0), None);
    assert_eq!(shape_of(&[(1.0, 1.0); 9], 0.0), None);
    let strange = [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MAX, f64::MIN, 1e-300];
    let points: Vec<_> = strange.iter().enumerate().map(|(i, v)| (i as f64, *v)).collect();
    assert_eq!(shape_of(&points, 0.0), None);
}

/// 100 readings in `span_s` of what grows by `per_s` under even or peaked noise of height `swing`.
fn noisy(seed: u64, per_s: f64, span_s: f64, swing: f64, peaked: bool) -> Shaped {
    let mut random = uniform(seed);
    let mut draw = || random.next().unwrap();
    let times = (0..100).map(|index| f64::from(index) * span_s / 99.0);
    let points: Vec<_> = times
        .map(|t| {
            let noise = if peaked { (draw() + draw() + draw()) / 3.0 } else { draw() };
            (t, 1e8 + per_s * t + swing * noise)
        })
        .collect();
    shape_of(&points, 0.0).unwrap()
}

/// Of 100 seeds, how often such a series is seen to grow.
fn seen_growing(per_s: f64, span_s: f64, swing: f64, peaked: bool) -> usize {
    let grows = |seed: &u64| noisy(*seed, per_s, span_s, swing, peaked).shape.is_growing();
    (0..100).filter(grows).count()
}

#[test]
fn a_trace_as_long_as_said_sees_the_growth_and_a_much_shorter_one_does_not() {
    for (per_s, swing) in [(1280.0, 1e6), (50.0, 4096.0)] {
        let span_s = how_long_s(per_s, swing).unwrap();
        for peaked in [false, true] {
            let seen = |span_s: f64| seen_growing(per_s, span_s, swing, peaked);
            let (long, short) = (seen(span_s), seen(span_s / 20.0));
            println!("{per_s} B/s in {swing} B: {span_s:.0} s, seen {long}, a twentieth {short}");
            assert!(long >= 95, "{long} of 100 in {span_s} s");
            assert!(short <= 10, "{short} of 100");
        }
    }
    assert_eq!(how_long_s(0.0, 1e6), None);
    assert_eq!(how_long_s(f64::NAN, 1e6), None);
    assert_eq!(how_long_s(1.0, f64::INFINITY), None);
}

#[test]
fn noise_is_hardly_ever_seen_to_grow() {
    for peaked in [false, true] {
        let found = seen_growing(0.0, 300.0, 1e6, peaked);
        println!("{found} of 100 series of noise seem to grow");
        assert!(found <= 2, "{found} of 100");
    }
}

/// What is said could have been seen, and was not, must not be there.
#[test]
fn hardly_any_growth_above_the_stated_floor_is_missed() {
    for peaked in [false, true] {
        for per_s in [500.0, 1500.0, 2000.0, 3000.0] {
            let missed = |seed: &u64| {
                let found = noisy(*seed, per_s, 300.0, 1e6, peaked);
                !found.shape.is_growing() && found.detectable_per_s() < per_s
            };
            let missed = (0..100).filter(missed).count();
            println!("{per_s} B/s: missed above the stated floor {missed} of 100");
            assert!(missed <= 5, "{per_s} B/s: {missed} of 100");
        }
    }
}

/// 5 s apart, noise 10 MiB: a restart after a minute, and then 144 MB more.
#[test]
fn growth_after_a_restart_is_growth() {
    let again = |i: usize| if i < 12 { i as f64 } else { (i - 12) as f64 } * 1.25e6;
    let points: Vec<_> = (0..127).map(|i| (i as f64 * 5.0, 1e8 + again(i))).collect();
    let shape = shape_of(&points, 1e7).unwrap().shape;
    assert!(matches!(shape, SeriesShape::Growing { since_s } if since_s >= 60.0), "{shape:?}");
    let short = shape_of(&points[..20], 1e6).unwrap().shape;
    assert!(matches!(short, SeriesShape::Restarted { .. }), "{short:?}");
}

#[test]
fn growth_that_began_in_the_last_fifth_is_not_called_flat() {
    let value = |t: f64| 1e8 + (t - 480.0).max(0.0) * 2.5e6;
    let points: Vec<_> = (0..121).map(|i| f64::from(i) * 5.0).map(|t| (t, value(t))).collect();
    let shape = shape_of(&points, 1e7).unwrap().shape;
    assert!(matches!(shape, SeriesShape::Lately { .. }), "{shape:?}");
}
