//! A generated table as it was committed and the rows as they are now in, a sentence for each
//! difference out.
//!
//! Reads only what `write` writes. What it does not find differs.

use std::collections::HashMap;

use super::{
    derive::{Row, go_name},
    facts::{Fact, Group, snake_case},
    write::Table,
};

/// Fields of a struct literal, as text.
type Fields<'a> = HashMap<&'a str, &'a str>;

/// Compares every fact of every version.
pub fn differences(table: &Table, rows: &[Row], committed: &str) -> Vec<String> {
    let text = one_line(committed);
    let constants = constants(&text);
    let committed = committed_rows(&text, table.name);
    let mut found = Vec::new();
    for row in rows {
        let version = format!("Go 1.{}", row.minor);
        let Some(fields) = committed.get(row.minor.to_string().as_str()) else {
            found.push(format!("{version}: the table has no row"));
            continue;
        };
        for (group, values) in table.groups.iter().zip(&row.groups) {
            let stated = fields.get(snake_case(group.name).as_str()).copied().unwrap_or("None");
            let stated = constants.get(unwrapped(stated));
            let differences = group_differences(group, values.as_deref(), stated);
            found.extend(differences.into_iter().map(|what| format!("{version}: {what}")));
        }
    }
    found
}

fn group_differences(
    group: &Group,
    values: Option<&[String]>,
    stated: Option<&Fields<'_>>,
) -> Vec<String> {
    match (values, stated) {
        (None, None) => Vec::new(),
        (None, Some(_)) => {
            vec![format!("there is no {}, the table has it", group.types.join(", "))]
        }
        (Some(_), None) => vec![format!("the table has no {}", group.name)],
        (Some(values), Some(stated)) => {
            let pairs = group.facts.iter().zip(values);
            pairs.filter_map(|(fact, value)| difference(group, fact, value, stated)).collect()
        }
    }
}

fn difference(group: &Group, fact: &Fact, value: &str, stated: &Fields<'_>) -> Option<String> {
    let name = go_name(group, fact);
    match stated.get(fact.field().as_str()) {
        Some(&table) if table == value => None,
        Some(table) => {
            Some(format!("{name} is {}, the table says {}", unwrapped(value), unwrapped(table)))
        }
        None => Some(format!("{name} is {}, the table does not say it", unwrapped(value))),
    }
}

fn unwrapped(value: &str) -> &str {
    value.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(value)
}

/// Without line comments and what else rustfmt does to long lines: line ends and last commas.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let text = lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
    text.replace(", }", " }").replace(", )", ")").replace(", ]", "]")
}

/// `const NAME: Type = Type { fields };` by name.
fn constants(text: &str) -> HashMap<&str, Fields<'_>> {
    let pieces = text.split("const ").skip(1);
    let constant = pieces.filter_map(|piece| {
        let (name, rest) = piece.split_once(':')?;
        let (_, body) = rest.split_once('{')?;
        let (body, _) = body.split_once("};")?;
        Some((name, fields(body)))
    });
    constant.collect()
}

/// `(21, Name { fields })` by minor version.
fn committed_rows<'a>(text: &'a str, name: &str) -> HashMap<&'a str, Fields<'a>> {
    let Some((_, rows)) = text.split_once("ROWS: ") else { return HashMap::new() };
    let opening = format!(", {name} {{");
    let mut found = HashMap::new();
    for piece in rows.split("})") {
        if let Some((before, body)) = piece.split_once(&opening)
            && let Some((_, minor)) = before.rsplit_once('(')
        {
            found.insert(minor.trim(), fields(body));
        }
    }
    found
}

/// `name: value, name: value`, where a value may be a struct literal.
fn fields(body: &str) -> Fields<'_> {
    let mut depth = 0;
    let separates = |letter: char| {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        letter == ',' && depth == 0
    };
    let fields = body.split(separates).filter_map(|field| field.split_once(':'));
    fields.map(|(name, value)| (name.trim(), value.trim())).collect()
}

/// The first line that differs, for what no fact explains.
pub fn line_difference(expected: &str, committed: &str) -> Option<String> {
    let (mut expected, mut committed) = (expected.lines(), committed.lines());
    for number in 1.. {
        match (expected.next(), committed.next()) {
            (None, None) => break,
            (new, old) if new == old => {}
            (new, old) => {
                let [new, old] = [new, old].map(|line| line.unwrap_or("missing").trim());
                return Some(format!("line {number} should be `{new}`, is `{old}`"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{differences, line_difference};
    use crate::layouts::{
        derive::Row,
        facts::{Group, offset, size},
        write::{self, Table},
    };

    const GROUPS: [Group; 2] = [
        Group::new(
            "ModuleData",
            &["runtime.moduledata"],
            &[size(), offset(&["gofunc"]), offset(&["epclntab"]).optional()],
        ),
        Group::new("Heap", &["runtime.mheap"], &[offset(&["arenas"]).by_machine()]).optional(),
    ];
    const TABLE: Table = Table { name: "Tables", groups: &GROUPS };

    fn row(minor: u32, module_data: [&str; 3], heap: Option<&str>) -> Row {
        let module_data = Some(module_data.map(str::to_owned).to_vec());
        Row { minor, groups: vec![module_data, heap.map(|heap| vec![heap.to_owned()])] }
    }

    fn rows() -> Vec<Row> {
        let arenas = Some("ByMachine { amd64: 8, arm64: 16 }");
        vec![
            row(21, ["592", "320", "None"], arenas),
            row(26, ["592", "320", "Some(328)"], arenas),
            row(27, ["568", "344", "Some(352)"], None),
        ]
    }

    fn committed() -> String {
        write::table(&TABLE, &rows(), "1.27").unwrap()
    }

    #[test]
    fn what_was_written_is_what_is_read() {
        assert_eq!(differences(&TABLE, &rows(), &committed()), [""; 0]);
    }

    #[test]
    fn line_ends_and_last_commas_say_nothing() {
        let broken = committed().replace(" }", ",\n}").replace("})", "},\n)").replace("{ ", "{\n");
        assert_ne!(broken, committed());
        assert_eq!(differences(&TABLE, &rows(), &broken), [""; 0]);
    }

    #[test]
    fn a_wrong_number_is_told_with_its_name() {
        let wrong = committed().replacen("gofunc: 344", "gofunc: 320", 1);
        let expected = ["Go 1.27: runtime.moduledata.gofunc is 344, the table says 320"];
        assert_eq!(differences(&TABLE, &rows(), &wrong), expected);
        let wrong = committed().replacen("arm64: 16", "arm64: 24", 1);
        let found = differences(&TABLE, &rows(), &wrong);
        assert_eq!(found.len(), 2, "both versions that share the constant: {found:?}");
        assert!(found[0].starts_with("Go 1.21: runtime.mheap.arenas is"), "{found:?}");
    }

    #[test]
    fn a_missing_member_and_a_present_one_differ() {
        let wrong = committed().replacen("epclntab: None", "epclntab: Some(8)", 1);
        let expected = ["Go 1.21: runtime.moduledata.epclntab is None, the table says 8"];
        assert_eq!(differences(&TABLE, &rows(), &wrong), expected);
    }

    #[test]
    fn a_row_that_takes_the_wrong_constant_is_told() {
        let wrong =
            committed().replacen("module_data: MODULE_DATA_27", "module_data: MODULE_DATA_26", 1);
        let found = differences(&TABLE, &rows(), &wrong);
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn missing_rows_facts_and_types_are_told() {
        let mut more = rows();
        more.push(row(28, ["568", "344", "None"], None));
        assert_eq!(differences(&TABLE, &more, &committed()), ["Go 1.28: the table has no row"]);
        let wrong = committed().replacen("heap: None", "heap: Some(HEAP_21)", 1);
        let expected = ["Go 1.27: there is no runtime.mheap, the table has it"];
        assert_eq!(differences(&TABLE, &rows(), &wrong), expected);
        let wrong = committed().replacen("bytes: 568", "size: 568", 1);
        let expected =
            ["Go 1.27: the size of runtime.moduledata is 568, the table does not say it"];
        assert_eq!(differences(&TABLE, &rows(), &wrong), expected);
    }

    #[test]
    fn text_that_differs_is_told_by_its_first_line() {
        assert_eq!(line_difference("a\nb\nc", "a\nb\nc"), None);
        let told = line_difference("a\nb\nc", "a\nx\nb\nc");
        assert_eq!(told.as_deref(), Some("line 2 should be `b`, is `x`"));
        let told = line_difference("a", "a\nb");
        assert_eq!(told.as_deref(), Some("line 2 should be `missing`, is `b`"));
    }
}
