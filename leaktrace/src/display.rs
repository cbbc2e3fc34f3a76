//! Numbers for people (binary units for bytes, short rates and times), and text of others made
//! fit for a terminal.

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// Bytes with one decimal from KiB on: `1.5 MiB`.
pub fn bytes(bytes: f64) -> String {
    let mut value = bytes;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A count per second: one decimal, two for small ones, two digits for the smallest.
pub fn rate(per_s: f64) -> String {
    match per_s.abs() {
        0.0 => "0.0".to_owned(),
        size if size >= 1.0 => format!("{per_s:.1}"),
        size if size >= 0.1 => format!("{per_s:.2}"),
        size if size >= 1e-6 => {
            let digits = (1.0 - size.log10().floor()) as usize;
            format!("{per_s:.digits$}")
        }
        _ => format!("{per_s:.1e}"),
    }
}

/// Seconds in the largest fitting units: `70 µs`, `340 ms`, `12 s`, `3h 5m`, `8d 3h`.
pub fn seconds(seconds: f64) -> String {
    if seconds < 1e-3 {
        return format!("{:.0} µs", seconds * 1e6);
    }
    if seconds < 1.0 {
        return format!("{:.0} ms", seconds * 1e3);
    }
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..120 => format!("{whole} s"),
        120..7200 => format!("{}m {}s", whole / 60, whole % 60),
        7200..172_800 => format!("{}h {}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d {}h", whole / 86400, whole % 86400 / 3600),
    }
}

/// `bytes` as text that can be shown: what a terminal would obey is replaced.
pub fn printable(bytes: &[u8]) -> String {
    // Nearly all text is plain.
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    String::from_utf8_lossy(bytes).chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::{bytes, rate, seconds};

    #[test]
    fn numbers_keep_two_or_three_digits() {
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(bytes(-3.0 * 1024.0 * 1024.0), "-3.0 MiB");
        assert_eq!(
            (rate(0.0), rate(0.55), rate(50.0)),
            ("0.0".into(), "0.55".into(), "50.0".into())
        );
        let texts = [0.000_07, 0.0021, 4.3, 59.6, 150.0, 11_100.0, 703_000.0].map(seconds);
        assert_eq!(texts, ["70 µs", "2 ms", "4.3 s", "60 s", "2m 30s", "3h 5m", "8d 3h"]);
    }
}
