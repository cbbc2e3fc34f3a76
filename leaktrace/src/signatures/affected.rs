//! Whether a version has a bug: ranges of releases and a version as its makers wrote it in; yes,
//! no, or unknown out.
//!
//! Non-goals: knowing what a vendor changed besides; a suffix such as `-gke.100` is left away.

use semver::{Version, VersionReq};

/// Room for some ten ranges.
const BYTES_MAX: usize = 200;
/// How versions before a release are marked.
const BEFORE: [&str; 5] = ["alpha", "beta", "rc", "pre", "dev"];
/// Digits of the time in a version that Go made up of a commit (`v0.0.0-20260102150405-0123456789ab`).
const TIME_DIGITS: usize = 14;

/// Releases that have a bug: `>=1.36.0, <1.36.3`, several such ranges joined with `||`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected(Vec<VersionReq>);

impl Affected {
    /// Reads the ranges.
    ///
    /// # Errors
    /// What is wrong with them, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("longer than {BYTES_MAX} bytes"));
        }
        text.split("||").map(range).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `version` has the bug. A build between two releases has it when both have it, and
    /// has it not when neither has; otherwise the change may or may not be in it.
    pub fn covers(&self, version: &str) -> Option<bool> {
        let [earlier, later] = between(version)?;
        let has = |release: &Version| self.0.iter().any(|range| range.matches(release));
        let has_it = has(&earlier);
        (has_it == has(&later)).then_some(has_it)
    }
}

fn range(text: &str) -> Result<VersionReq, String> {
    let text = text.trim();
    // Without one, semver takes all compatible versions, which surprises.
    if text.split(',').any(|bound| !bound.trim().starts_with(['<', '>', '='])) {
        return Err(format!("{text:?}: each bound begins with >=, >, <=, < or ="));
    }
    let range = VersionReq::parse(text).map_err(|problem| format!("{text:?}: {problem}"))?;
    if range.comparators.iter().any(|bound| !bound.pre.is_empty()) {
        return Err(format!("{text:?}: bounds are releases, without a suffix"));
    }
    Ok(range)
}

/// The releases between which a build lies; twice the same for a release, also for one that a
/// vendor built (`v1.36.2-gke.100`, `v1.36.2+k3s1`).
fn between(version: &str) -> Option<[Version; 2]> {
    let version = version.trim();
    let version = version.strip_prefix('v').unwrap_or(version);
    let end = version.find(['-', '+', '~']).unwrap_or(version.len());
    let release = release(&version[..end])?;
    let Some(suffix) = version[end..].strip_prefix(['-', '~']) else {
        return Some([release.clone(), release]);
    };
    if leading_digits(suffix) == TIME_DIGITS {
        // A commit from anywhere.
        return None;
    }
    if BEFORE.iter().any(|word| suffix.starts_with(word)) || is_commit_before(suffix) {
        return Some([before(&release)?, release]);
    }
    if is_commit_after(suffix) {
        return Some([
            release.clone(),
            Version { patch: release.patch.checked_add(1)?, ..release },
        ]);
    }
    Some([release.clone(), release])
}

fn release(text: &str) -> Option<Version> {
    let mut numbers = text.split('.').map(|number| number.parse::<u64>().ok());
    let version = Version::new(numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(version)
}

/// A later release than all others before `release`.
fn before(release: &Version) -> Option<Version> {
    let Version { major, minor, patch, .. } = *release;
    if let Some(patch) = patch.checked_sub(1) {
        return Some(Version::new(major, minor, patch));
    }
    if let Some(minor) = minor.checked_sub(1) {
        return Some(Version::new(major, minor, u64::MAX));
    }
    Some(Version::new(major.checked_sub(1)?, u64::MAX, u64::MAX))
}

/// As Go names a commit before a release: `0.20260102150405-0123456789ab`.
fn is_commit_before(suffix: &str) -> bool {
    suffix.strip_prefix("0.").is_some_and(|rest| leading_digits(rest) == TIME_DIGITS)
}

/// As git names a commit after a release: `12-g0123456`.
fn is_commit_after(suffix: &str) -> bool {
    let commit = |(count, hash): (&str, &str)| {
        let hash = hash.strip_prefix('g')?;
        let all_digits = !count.is_empty() && leading_digits(count) == count.len();
        let hex = hash.chars().take_while(char::is_ascii_hexdigit).count();
        Some(all_digits && hex >= 7)
    };
    suffix.split_once('-').and_then(commit).unwrap_or(false)
}

fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::Affected;

    fn covers(ranges: &str, version: &str) -> Option<bool> {
        Affected::parse(ranges).unwrap().covers(version)
    }

    #[test]
    fn releases_and_those_of_vendors_are_told() {
        let told = |version| covers(">=1.36.0, <1.36.3", version);
        for version in ["v1.36.0", "1.36.2", "v1.36.2-gke.100", "v1.36.2+k3s1", "1.36.0-do.1"] {
            assert_eq!(told(version), Some(true), "{version}");
        }
        for version in ["v1.36.2-eks-3abbec1", "v1.36.1-dirty", "1.36.1~ds1", " v1.36.2+0a1b\n"] {
            assert_eq!(told(version), Some(true), "{version}");
        }
        for version in
            ["v1.36.3", "1.35.9", "v1.36.3-gke.100", "v1.36.10", "v2.36.1", "v1.37.0-rc.1"]
        {
            assert_eq!(told(version), Some(false), "{version}");
        }
    }

    #[test]
    fn a_build_between_two_releases_is_told_when_they_agree() {
        let told = |version| covers(">=1.36.0, <1.36.3", version);
        assert_eq!(told("v1.36.2-rc.0"), Some(true));
        assert_eq!(told("1.36.3~rc.0"), None);
        assert_eq!(told("v1.36.1-12-g0123456"), Some(true));
        assert_eq!(told("v1.36.4-beta.0.5+0123456789abcdef"), Some(false));
        assert_eq!(told("v1.36.2-0.20260102150405-0123456789ab"), Some(true));
        for undecided in
            ["v1.36.3-beta.0.12+0123456", "v1.36.0-alpha.1", "v1.36.2-12-g0123456-dirty"]
        {
            assert_eq!(told(undecided), None, "{undecided}");
        }
    }

    #[test]
    fn what_is_no_version_is_unknown() {
        let odd =
            ["", "(devel)", "v1.36", "v1.36.2.1", "v0.0.0-20260102150405-0123456789ab", "v1.x.2"];
        for version in
            odd.into_iter().chain(["v99999999999999999999.1.1", "v0.0.0-rc.1", "-", "vv1.2.3"])
        {
            assert_eq!(covers(">=1.36.0, <1.36.3", version), None, "{version}");
        }
        assert_eq!(covers("<1.0.0", &format!("v0.1.{}-1-g0123456", u64::MAX)), None);
    }

    #[test]
    fn one_of_several_ranges_is_enough() {
        let told = |version| covers(">=1.35.0, <1.35.7 || >=1.36.0, <1.36.3", version);
        assert_eq!(told("v1.35.6"), Some(true));
        assert_eq!(told("v1.36.2"), Some(true));
        assert_eq!(told("v1.35.7"), Some(false));
        assert_eq!(covers("=1.36", "v1.36.9"), Some(true));
    }

    #[test]
    fn ranges_that_mean_something_else_are_refused() {
        for ranges in
            ["", "1.36.2", "^1.36", ">=1.36.0,", ">=x", ">=1.36.0-rc.1", ">=1.0.0 ||", "*"]
        {
            assert!(Affected::parse(ranges).is_err(), "{ranges:?}");
        }
    }
}
