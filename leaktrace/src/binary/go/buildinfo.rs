//! Go build information: the `.go.buildinfo` blob in, version and module out.
//! Source: debug/buildinfo/buildinfo.go (inline format, Go 1.18 on).

use std::fmt;

use super::version::is_version;
use crate::{
    binary::{BinaryError, Blocks, Elf},
    display::printable,
};

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The blob is aligned to this.
const ALIGN: usize = 16;
/// Flag bit in byte 15: strings follow inline (Go 1.18 on) instead of as pointers.
const INLINE_STRINGS: u8 = 2;
/// Module information is wrapped in 16 random-looking bytes on either side.
const MODINFO_SENTINEL_BYTES: usize = 16;
/// Versions have tens of characters, a kubelet's module list is about 20 KB.
const VERSION_BYTES_MAX: u32 = 256;
const MODINFO_BYTES_MAX: u32 = 1 << 20;
/// Longer lines of the module list are not shown.
const LINE_BYTES_MAX: usize = 1024;
/// A kubelet's linker flags are about 2 KB.
const FLAGS_BYTES_MAX: usize = 64 * 1024;

/// Experiments of cryptography, coverage, language and library (internal/goexperiment/flags.go, and
/// vendors' own for FIPS).
const HARMLESS_EXPERIMENTS: [&str; 10] = [
    "aliastypeparams",
    "boringcrypto",
    "coverageredesign",
    "jsonv2",
    "loopvar",
    "nocoverageredesign",
    "opensslcrypto",
    "rangefunc",
    "strictfipsruntime",
    "systemcrypto",
];

/// A Go version as the toolchain wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoVersion(String);

impl GoVersion {
    /// N of a release Go 1.N; none for development and vendor versions that are not releases.
    pub fn minor(&self) -> Option<u32> {
        let rest = self.0.strip_prefix("go1.")?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        // "go1.28-devel_…" and "go1.27rc1" are no releases; "go1.26.3-vendor" and
        // "go1.26.3 X:experiment" keep the runtime's layout.
        let released = matches!(rest[digits..].bytes().next(), None | Some(b'.' | b' '));
        if released { rest[..digits].parse().ok() } else { None }
    }
}

impl GoVersion {
    /// The experiments (`GOEXPERIMENT`) that may change how live memory is laid out: all but those
    /// that are known to leave the runtime alone. The tables in the executable stay as they are.
    pub fn memory_experiments(&self) -> Vec<&str> {
        let experiments = self.0.split_once(" X:").map_or("", |(_, experiments)| experiments);
        let known = |name: &&str| !name.is_empty() && !HARMLESS_EXPERIMENTS.contains(name);
        experiments.split(',').filter(known).collect()
    }
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for GoVersion {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What a Go executable says about its own build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildInfo {
    /// The toolchain.
    pub version: GoVersion,
    /// Import path of the main package.
    pub path: Option<String>,
    /// Main module and its version, as `module@version`.
    pub module: Option<String>,
    /// What the linker was told, unless the build hid it (`-trimpath`).
    linker_flags: Option<String>,
}

impl BuildInfo {
    /// Reads the build information of `elf`.
    ///
    /// # Errors
    /// [`BinaryError::NotGo`] when there is none.
    pub fn read(file: &Blocks, elf: &Elf) -> Result<Self, BinaryError> {
        let offset = locate(file, elf)?.ok_or(BinaryError::NotGo)?;
        if file.vec(offset, 16, "the build information")?[15] & INLINE_STRINGS == 0 {
            return Err(BinaryError::UnknownGoVersion("before 1.18".to_owned()));
        }
        let mut cursor = file.cursor(offset + 32);
        let mut string = |length_max| -> Result<Vec<u8>, BinaryError> {
            let length = cursor.varint("the build information")?;
            if length > length_max {
                return Err(BinaryError::NotRecognised("the length of the build information"));
            }
            (0..length).map(|_| cursor.byte("the build information")).collect()
        };
        let version = printable(&string(VERSION_BYTES_MAX)?);
        let wrapped = string(MODINFO_BYTES_MAX)?;
        let end = wrapped.len().saturating_sub(MODINFO_SENTINEL_BYTES);
        let modinfo = wrapped.get(MODINFO_SENTINEL_BYTES..end).unwrap_or_default();
        Ok(Self::from_strings(version, &String::from_utf8_lossy(modinfo)))
    }

    fn from_strings(version: String, modinfo: &str) -> Self {
        let shown_lines = || modinfo.lines().filter(|line| line.len() <= LINE_BYTES_MAX);
        let line =
            |key: &str| shown_lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'));
        let shown = |text: &str| printable(text.as_bytes());
        let module = line("mod").map(|rest| {
            let mut fields = rest.split('\t');
            let name = fields.next().unwrap_or_default();
            match fields.next() {
                Some(version) if !version.is_empty() => shown(&format!("{name}@{version}")),
                _ => shown(name),
            }
        });
        let linker_flags = modinfo
            .lines()
            .find_map(|line| line.strip_prefix("build\t-ldflags="))
            .filter(|flags| flags.len() <= FLAGS_BYTES_MAX);
        Self {
            version: GoVersion(version),
            path: line("path").map(shown),
            module,
            linker_flags: linker_flags.map(str::to_owned),
        }
    }

    /// The version of the main module, unless it is that of a checkout.
    pub fn module_version(&self) -> Option<&str> {
        let (_, version) = self.module.as_deref()?.rsplit_once('@')?;
        (version != "(devel)").then_some(version)
    }

    /// The value of the last `-X …gitVersion=` among the recorded linker flags.
    pub(super) fn stamped_version(&self) -> Option<String> {
        let words = self.linker_flags.as_deref()?.split(|c: char| c.is_whitespace() || c == '"');
        let values = words.filter_map(|word| word.trim_matches('\'').split_once(".gitVersion="));
        values.map(|(_, value)| value.to_owned()).rfind(|value| is_version(value))
    }
}

/// The section if there is one, else an aligned search through the writable segments, where
/// every linker puts it.
fn locate(file: &Blocks, elf: &Elf) -> Result<Option<u64>, BinaryError> {
    if let Some(section) = elf.section(".go.buildinfo") {
        let start = file.vec(section.file_offset, MAGIC.len(), "the build information")?;
        if start == MAGIC {
            return Ok(Some(section.file_offset));
        }
    }
    let mut found = None;
    for segment in elf.segments.iter().filter(|segment| segment.writable) {
        let range = (segment.file_offset, segment.file_bytes);
        file.scan(range, MAGIC.len(), "a data segment", |at, piece| {
            let mut hits = memchr::memmem::find_iter(piece, MAGIC);
            let aligned = |hit: &usize| (at as usize + hit).is_multiple_of(ALIGN);
            found = found.or(hits.find(aligned).map(|hit| at + hit as u64));
            found.is_none()
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{BuildInfo, GoVersion, MAGIC};
    use crate::binary::{BinaryError, Blocks, Elf, Machine, Segment};

    fn read(strings: &[u8]) -> Result<BuildInfo, BinaryError> {
        let bytes = [MAGIC, &[8, 2], &[0; 16], strings].concat();
        let (vaddr, file_offset, file_bytes) = (0, 0, bytes.len() as u64);
        let (executable, writable) = (false, true);
        let segment = Segment { vaddr, file_offset, file_bytes, executable, writable };
        let elf = Elf::for_test(Machine::Amd64, false, vec![segment]);
        BuildInfo::read(&Blocks::new(bytes), &elf)
    }

    #[test]
    fn a_version_of_many_bytes_is_no_version() {
        let strings = [&[0x80, 0x08][..], &[b'1'; 1024], &[0]].concat();
        assert!(matches!(read(&strings), Err(BinaryError::NotRecognised(_))));
    }

    #[test]
    fn what_a_terminal_would_obey_is_replaced() {
        assert_eq!(read(b"\x07go1.26\x1b\0").unwrap().version, "go1.26\u{fffd}".into());
        let modinfo = "path\tx\x1b[2Jy\nmod\tx\x07\tv1\t\n";
        let info = BuildInfo::from_strings(String::new(), modinfo);
        assert_eq!(info.path.as_deref(), Some("x\u{fffd}[2Jy"));
        assert_eq!(info.module.as_deref(), Some("x\u{fffd}@v1"));
    }

    #[test]
    fn a_line_too_long_to_show_is_left_out() {
        let modinfo = format!("path\t{}\nmod\tx\tv1\n", "x".repeat(4096));
        let info = BuildInfo::from_strings(String::new(), &modinfo);
        assert_eq!((info.path, info.module.as_deref()), (None, Some("x@v1")));
    }

    #[test]
    fn only_releases_have_a_minor_version() {
        for (text, minor) in [
            ("go1.21", Some(21)),
            ("go1.26.3", Some(26)),
            ("go1.24.11-custom", Some(24)),
            ("go1.25.5 X:nocoverageredesign", Some(25)),
            ("go1.27rc1", None),
            ("go1.28-devel_8f1d2ab", None),
            ("devel go1.28-8f1d2ab", None),
            ("go2.0", None),
            ("", None),
        ] {
            assert_eq!(GoVersion::from(text).minor(), minor, "{text}");
        }
    }

    #[test]
    fn only_experiments_with_the_runtime_matter() {
        let of = |text: &'static str| GoVersion(text.to_owned()).memory_experiments().join(" ");
        assert_eq!(of("go1.25.5 X:boringcrypto,noswissmap,jsonv2"), "noswissmap");
        assert_eq!(of("go1.25.5 X:boringcrypto"), "");
        assert_eq!(of("go1.25.5"), "");
    }

    #[test]
    fn module_and_path_come_from_their_lines() {
        let modinfo = "path\tk8s.io/kubernetes/cmd/kubelet\n\
                       mod\tk8s.io/kubernetes\tv1.36.2\t\ndep\tx\tv1\n";
        let info = BuildInfo::from_strings("go1.26.3".to_owned(), modinfo);
        assert_eq!(info.path.as_deref(), Some("k8s.io/kubernetes/cmd/kubelet"));
        assert_eq!(info.module.as_deref(), Some("k8s.io/kubernetes@v1.36.2"));
        assert_eq!(info.module_version(), Some("v1.36.2"));
        let bare = BuildInfo::from_strings("go1.26.3".to_owned(), "path\tcommand-line-arguments\n");
        assert_eq!(bare.module, None);
        let checkout =
            BuildInfo::from_strings(String::new(), "mod\tk8s.io/kubernetes\t(devel)\t\n");
        assert_eq!(checkout.module_version(), None);
    }

    #[test]
    fn the_linker_flags_carry_the_version() {
        let stamped = |flags: &str| {
            let modinfo = format!("path\tx\nbuild\t-ldflags={flags}\n");
            BuildInfo::from_strings(String::new(), &modinfo).stamped_version()
        };
        let flags = "\"-s -w -X 'k8s.io/component-base/version.gitVersion=v1.36.2' -X a.b=c\"";
        assert_eq!(stamped(flags).as_deref(), Some("v1.36.2"));
        assert_eq!(
            stamped("-X=k8s.io/client-go/pkg/version.gitVersion=v1.2.3+k3s1").as_deref(),
            Some("v1.2.3+k3s1")
        );
        assert_eq!(stamped("-X main.version=v1.2.3"), None);
        assert_eq!(stamped("-X a.gitVersion=\u{1b}[2J"), None);
    }
}
