//! What Go's own library says about an executable: `oracle.go` run on it.

use std::{path::Path, process::Command};

/// A source line as Go's library has it; unknown is `?` and 0.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: u32,
}

/// One function. Addresses are relative to the first function.
pub struct Function {
    pub entry: u64,
    pub end: u64,
    /// Its full name, with type arguments.
    pub name: String,
    /// What kind of function it is for the runtime, by a number that differs between versions.
    pub id: u8,
    /// Where its first instruction comes from.
    pub start: Place,
    /// An address somewhere in it.
    pub pc: u64,
    /// Where that instruction comes from.
    pub place: Place,
}

/// Everything the oracle says.
pub struct Truth {
    pub version: String,
    /// Import path of the main package; empty without one.
    pub path: String,
    /// Main module as `module@version`; empty without one.
    pub module: String,
    pub functions: Vec<Function>,
}

impl Truth {
    pub fn of(oracle: &Path, file: &Path) -> Self {
        let output = Command::new(oracle).arg(file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} on {}: {said}", oracle.display(), file.display());
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines();
        let build: Vec<_> = lines.next().unwrap().split('\t').collect();
        let [_, version, path, module, module_version] = build[..] else { panic!("{build:?}") };
        let module = match (module, module_version) {
            (module, "") => module.to_owned(),
            (module, version) => format!("{module}@{version}"),
        };
        let functions = lines.map(function).collect();
        Self { version: version.to_owned(), path: path.to_owned(), module, functions }
    }

    /// N of Go 1.N, if it is one of those that leaktrace says it knows.
    pub fn known_minor(&self) -> Option<u32> {
        let rest = self.version.strip_prefix("go1.")?;
        let minor = rest.split(['.', ' ', '-']).next()?.parse().ok()?;
        (21..=27).contains(&minor).then_some(minor)
    }

    /// The id of wrappers, which the runtime leaves out of stacks: this function is always one
    /// (cmd/internal/objabi/funcid.go).
    pub fn wrapper_id(&self) -> u8 {
        let wrapper = self.functions.iter().find(|f| f.name == "runtime.deferreturn");
        wrapper.expect("every program has it").id
    }

    pub fn has(&self, name: &str) -> bool {
        self.functions.iter().any(|function| function.name == name)
    }
}

impl Function {
    /// Its name as the runtime prints it (`funcNameForPrint` in runtime/symtab.go).
    pub fn printed(&self) -> String {
        match (self.name.find('['), self.name.rfind(']')) {
            (Some(open), Some(close)) if open < close => {
                format!("{}[...]{}", &self.name[..open], &self.name[close + 1..])
            }
            _ => self.name.clone(),
        }
    }
}

fn function(line: &str) -> Function {
    let fields: Vec<_> = line.split('\t').collect();
    let ["func", entry, end, name, id, file, first, pc, other_file, other] = fields[..] else {
        panic!("the oracle said: {line}")
    };
    let hex = |text| u64::from_str_radix(text, 16).unwrap();
    let place =
        |file: &str, line: &str| Place { file: file.to_owned(), line: line.parse().unwrap() };
    Function {
        entry: hex(entry),
        end: hex(end),
        name: name.to_owned(),
        id: id.parse().unwrap(),
        start: place(file, first),
        pc: hex(pc),
        place: place(other_file, other),
    }
}
