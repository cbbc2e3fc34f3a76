//! A file of families: TOML in, families out, or where it is wrong.

use serde::Deserialize;

use super::{
    SignatureError,
    affected::Affected,
    conditions::Conditions,
    family::{Family, Issue, Kind},
    pattern::Pattern,
};

/// The largest file; the one that comes with leaktrace has about 20 KiB.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Families of a file. Each is tried on each stack.
const FAMILIES_MAX: usize = 500;
/// Patterns of a file, all families together: what matching a stack costs grows with them.
const PATTERNS_MAX: usize = 2000;
/// Entries of a list.
const LIST_MAX: usize = 32;
/// A name that fits a line of a page.
const NAME_BYTES_MAX: usize = 80;
/// A few sentences.
const TEXT_BYTES_MAX: usize = 1000;

/// What is wrong with a field: its name, and the problem.
type Wrong = (String, String);

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    family: Vec<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFamily {
    name: String,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    usual: bool,
    meaning: String,
    check: String,
    #[serde(default)]
    anywhere: Vec<String>,
    #[serde(default)]
    stack: Vec<String>,
    #[serde(default)]
    stack_all: Vec<String>,
    #[serde(default)]
    top: Vec<String>,
    #[serde(default)]
    start: Vec<String>,
    #[serde(default)]
    creator: Vec<String>,
    #[serde(default)]
    sources: Vec<String>,
    #[serde(default)]
    issue: Vec<WrittenIssue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenIssue {
    id: String,
    url: String,
    what: Option<String>,
    #[serde(default)]
    modules: Vec<String>,
    affected: Option<String>,
    fixed_in: Option<String>,
}

/// The families of a file; `file` is its name, for errors.
pub fn parse(file: &str, text: &str) -> Result<Vec<Family>, SignatureError> {
    let whole = |message: String| SignatureError::File { file: file.to_owned(), message };
    if text.len() > FILE_BYTES_MAX {
        return Err(whole(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    let written: Written =
        toml::from_str(text).map_err(|problem| whole(problem.to_string().trim().to_owned()))?;
    if written.family.len() > FAMILIES_MAX {
        return Err(whole(format!("more than {FAMILIES_MAX} families")));
    }
    let (mut families, mut patterns) = (Vec::<Family>::new(), 0);
    for (index, table) in written.family.into_iter().enumerate() {
        let entry = entry(index, &table);
        let wrong = |message| SignatureError::Entry { file: file.to_owned(), entry, message };
        let family = family(table).map_err(wrong.clone())?;
        if families.iter().any(|other| other.name == family.name) {
            return Err(wrong("`name`: another family of this file has it".to_owned()));
        }
        patterns += family.conditions.patterns();
        if patterns > PATTERNS_MAX {
            return Err(wrong(format!("with it the file has more than {PATTERNS_MAX} patterns")));
        }
        families.push(family);
    }
    Ok(families)
}

/// Which one: its number in the file, counted from 1, and its name if it has one.
fn entry(index: usize, table: &toml::Table) -> String {
    let name = table.get("name").and_then(toml::Value::as_str);
    let name = name.map(|name| format!(" ({:.NAME_BYTES_MAX$})", format!("{name:?}")));
    format!("family {}{}", index + 1, name.unwrap_or_default())
}

fn family(table: toml::Table) -> Result<Family, String> {
    let written = WrittenFamily::deserialize(table).map_err(|problem| {
        // It names the field on a line of its own.
        problem.to_string().trim().replace('\n', ", ")
    })?;
    checked(written).map_err(|(field, problem)| format!("`{field}`: {problem}"))
}

fn checked(written: WrittenFamily) -> Result<Family, Wrong> {
    let conditions = Conditions {
        anywhere: patterns("anywhere", &written.anywhere)?,
        stack: patterns("stack", &written.stack)?,
        stack_all: patterns("stack_all", &written.stack_all)?,
        top: patterns("top", &written.top)?,
        start: patterns("start", &written.start)?,
        creator: patterns("creator", &written.creator)?,
    };
    if conditions.patterns() == 0 {
        let problem = "no pattern is given, nor in anywhere, stack_all, top, start or creator";
        return Err(("stack".to_owned(), problem.to_owned()));
    }
    if written.kind == Kind::Context {
        only_chain(&conditions)?;
    }
    short("issue", written.issue.len())?;
    let issues = written.issue.into_iter().enumerate().map(|(index, issue)| {
        checked_issue(issue).map_err(|(field, p)| (format!("issue {}, {field}", index + 1), p))
    });
    Ok(Family {
        name: text("name", written.name, NAME_BYTES_MAX)?,
        kind: written.kind,
        usual: written.usual,
        meaning: text("meaning", written.meaning, TEXT_BYTES_MAX)?,
        check: text("check", written.check, TEXT_BYTES_MAX)?,
        issues: issues.collect::<Result<_, _>>()?,
        sources: texts("sources", written.sources)?,
        conditions,
    })
}

/// A context has a call chain and nothing else.
fn only_chain(conditions: &Conditions) -> Result<(), Wrong> {
    let others =
        [("top", &conditions.top), ("start", &conditions.start), ("creator", &conditions.creator)];
    match others.iter().find(|(_, patterns)| !patterns.is_empty()) {
        Some((field, _)) => {
            let problem = "a context has none; only stack, stack_all and anywhere do here";
            Err(((*field).to_owned(), problem.to_owned()))
        }
        None => Ok(()),
    }
}

fn checked_issue(written: WrittenIssue) -> Result<Issue, Wrong> {
    let line = |field: &str, line: Option<String>| {
        line.map(|line| text(field, line, TEXT_BYTES_MAX)).transpose()
    };
    let url = text("url", written.url, TEXT_BYTES_MAX)?;
    if !url.starts_with("https://") || url.contains(char::is_whitespace) {
        return Err(("url".to_owned(), "not an https:// address".to_owned()));
    }
    let parse = |ranges: &String| {
        Affected::parse(ranges).map_err(|problem| ("affected".to_owned(), problem))
    };
    let ranges = written.affected.as_ref().map(parse).transpose()?;
    let modules = texts("modules", written.modules)?;
    if ranges.is_some() && modules.is_empty() {
        let problem = "missing: whose version is it that `affected` speaks of?";
        return Err(("modules".to_owned(), problem.to_owned()));
    }
    Ok(Issue {
        id: text("id", written.id, NAME_BYTES_MAX)?,
        url,
        what: line("what", written.what)?,
        modules,
        affected: line("affected", written.affected)?,
        fixed_in: line("fixed_in", written.fixed_in)?,
        ranges,
    })
}

fn patterns(field: &str, written: &[String]) -> Result<Vec<Pattern>, Wrong> {
    short(field, written.len())?;
    let pattern =
        |text: &String| Pattern::parse(text).map_err(|problem| (field.to_owned(), problem));
    written.iter().map(pattern).collect()
}

fn texts(field: &str, written: Vec<String>) -> Result<Vec<String>, Wrong> {
    short(field, written.len())?;
    written.into_iter().map(|one| text(field, one, TEXT_BYTES_MAX)).collect()
}

/// Text that can be printed on a line.
fn text(field: &str, text: String, bytes_max: usize) -> Result<String, Wrong> {
    let problem = if text.trim().is_empty() {
        "empty".to_owned()
    } else if text.len() > bytes_max {
        format!("longer than {bytes_max} bytes")
    } else if text.contains(char::is_control) {
        "has a control character or a line break".to_owned()
    } else {
        return Ok(text);
    };
    Err((field.to_owned(), problem))
}

fn short(field: &str, length: usize) -> Result<(), Wrong> {
    if length <= LIST_MAX {
        return Ok(());
    }
    Err((field.to_owned(), format!("more than {LIST_MAX} entries")))
}
