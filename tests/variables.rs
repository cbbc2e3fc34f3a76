//! The addresses of the Go runtime's variables in stripped executables, against the symbol tables
//! of their unstripped twins. Needs no root.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{collections::HashMap, fs::File};

use leaktrace::binary::{Blocks, BuildInfo, Elf, GoBinary, RuntimeVariable, Witnesses};
use support::{GO_VERSIONS, truth::data_symbols, workload_path};

/// All of them, by name.
fn located(build: &str) -> HashMap<String, u64> {
    let file = Blocks::new(File::open(workload_path(build)).unwrap());
    let elf = Elf::read(&file).unwrap();
    let info = BuildInfo::read(&file, &elf).unwrap();
    let go = GoBinary::read(&file, &elf, &info).unwrap();
    let witnesses = Witnesses::read(&file, &elf, &go).unwrap();
    let locate = |variable: RuntimeVariable| {
        let found = witnesses.locate(variable);
        let found = found.unwrap_or_else(|why| panic!("{build}: {}: {why}", variable.name()));
        (variable.name().to_owned(), found.vaddr)
    };
    RuntimeVariable::ALL.map(locate).into()
}

#[test]
fn each_variable_is_where_the_symbol_table_has_it() {
    for version in GO_VERSIONS {
        // What binutils stripped has the addresses of what it was made from.
        for (stripped, twin) in [("-stripped", "-symbols"), ("-arm64-symbols", "-arm64-symbols")] {
            let symbols = data_symbols(version, &format!("go{version}{twin}"));
            for (name, vaddr) in located(&format!("go{version}{stripped}")) {
                let expected = symbols.get(&name).copied();
                assert_eq!(Some(vaddr), expected, "go{version}{stripped}: {name}");
            }
        }
    }
}

/// Where no symbol table says it, that several functions agree on each is all there is.
#[test]
fn each_variable_is_located_in_every_kind_of_build() {
    for version in GO_VERSIONS {
        for kind in ["", "-pie", "-cgo", "-cgo-pie", "-bare", "-arm64", "-arm64-pie"] {
            let found = located(&format!("go{version}{kind}"));
            let mut addresses: Vec<_> = found.values().collect();
            addresses.sort_unstable();
            addresses.dedup();
            assert_eq!(addresses.len(), RuntimeVariable::ALL.len(), "go{version}{kind}: {found:?}");
        }
    }
    assert_eq!(located("go1.22.10-pgo").len(), RuntimeVariable::ALL.len());
}
