//! Facts and what programs say in, one row of values per Go version out.

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    dwarf::Description,
    facts::{Fact, Group, Kind},
};

/// Larger numbers are addresses, which are better read in hexadecimal.
const DECIMAL_MAX: u64 = u32::MAX as u64;

/// What one Go version says of the groups of one table, in their order.
#[derive(Debug)]
pub struct Row {
    /// N of Go 1.N.
    pub minor: u32,
    /// The values of each group's facts, as they are written in Rust; none where the version lacks
    /// the type.
    pub groups: Vec<Option<Vec<String>>>,
}

/// The programs of one Go version.
pub struct Machines<'a> {
    pub amd64: &'a Description,
    pub arm64: &'a Description,
}

impl Row {
    /// Derives every value.
    pub fn derive(minor: u32, machines: &Machines<'_>, groups: &[Group]) -> Result<Self> {
        let values = groups.iter().map(|group| {
            group_values(group, machines)
                .with_context(|| format!("can't derive {} of Go 1.{minor}", group.name))
        });
        Ok(Self { minor, groups: values.collect::<Result<_>>()? })
    }
}

fn group_values(group: &Group, machines: &Machines<'_>) -> Result<Option<Vec<String>>> {
    let known = |name: &&str| machines.amd64.size(name).is_some();
    if group.optional && !group.types.iter().any(known) {
        return Ok(None);
    }
    let value = |fact: &Fact| {
        let on = |description| number(description, group, fact);
        value(fact, on(machines.amd64), on(machines.arm64)).with_context(|| go_name(group, fact))
    };
    group.facts.iter().map(value).collect::<Result<_>>().map(Some)
}

/// The first of the types that is known, and the first path in it.
fn number(description: &Description, group: &Group, fact: &Fact) -> Option<u64> {
    let ty = group.types.iter().find(|name| description.size(name).is_some());
    let place = || {
        let ty = ty?;
        fact.paths.iter().find_map(|path| description.place(ty, path))
    };
    match fact.kind {
        Kind::Offset => Some(place()?.offset),
        Kind::Width => Some(place()?.bytes),
        Kind::Size => description.size(ty?),
        Kind::Constant => fact.paths.iter().find_map(|name| description.constant(name)),
    }
}

/// The value as it is written in Rust.
fn value(fact: &Fact, amd64: Option<u64>, arm64: Option<u64>) -> Result<String> {
    if fact.by_machine {
        let (Some(amd64), Some(arm64)) = (amd64, arm64) else { bail!("it is missing") };
        let (amd64, arm64) = (literal(amd64), literal(arm64));
        return Ok(format!("ByMachine {{ amd64: {amd64}, arm64: {arm64} }}"));
    }
    ensure!(amd64 == arm64, "amd64 has {amd64:?}, arm64 has {arm64:?}; mark it `by_machine`");
    match (amd64, fact.optional) {
        (Some(number), false) => Ok(literal(number)),
        (Some(number), true) => Ok(format!("Some({})", literal(number))),
        (None, true) => Ok("None".to_owned()),
        (None, false) => bail!("it is missing; if that is right, mark it `optional`"),
    }
}

fn literal(number: u64) -> String {
    if number <= DECIMAL_MAX { number.to_string() } else { format!("{number:#x}") }
}

/// What a fact is called in messages.
pub fn go_name(group: &Group, fact: &Fact) -> String {
    let ty = group.types.first().copied().unwrap_or_default();
    match fact.kind {
        Kind::Offset => format!("{ty}.{}", fact.paths[0]),
        Kind::Width => format!("the width of {ty}.{}", fact.paths[0]),
        Kind::Size => format!("the size of {ty}"),
        Kind::Constant => fact.paths[0].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::value;
    use crate::layouts::facts::{Fact, offset};

    const PLAIN: Fact = offset(&["x"]);

    fn written(fact: &Fact, amd64: Option<u64>, arm64: Option<u64>) -> Option<String> {
        value(fact, amd64, arm64).ok()
    }

    #[test]
    fn a_missing_member_is_an_error_unless_it_may_be_missing() {
        assert_eq!(written(&PLAIN, Some(8), Some(8)).as_deref(), Some("8"));
        assert_eq!(written(&PLAIN, None, None), None);
        let optional = PLAIN.optional();
        assert_eq!(written(&optional, Some(8), Some(8)).as_deref(), Some("Some(8)"));
        assert_eq!(written(&optional, None, None).as_deref(), Some("None"));
        assert_eq!(written(&optional, Some(8), None), None);
    }

    #[test]
    fn machines_may_differ_only_where_that_is_said() {
        assert_eq!(written(&PLAIN, Some(8), Some(16)), None);
        let expected = "ByMachine { amd64: 0xffff800000000000, arm64: 0 }";
        let by_machine = PLAIN.by_machine();
        let found = written(&by_machine, Some(0xffff_8000_0000_0000), Some(0));
        assert_eq!(found.as_deref(), Some(expected));
        assert_eq!(written(&by_machine, Some(8), None), None);
    }
}
