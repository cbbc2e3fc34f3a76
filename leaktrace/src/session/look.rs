//! Everything that a look into a live Go process needs, opened once.

use anyhow::{Context as _, Result, ensure};
use procfs::process::Process;

use super::executable::Executable;
use crate::{
    binary::{Machine, RuntimeVariable, Witnesses, layout::Layout},
    display::printable,
    memory::{Addresses, ProcessMemory, Runtime, View},
};

/// A Go process whose memory can be read.
pub struct Look {
    memory: ProcessMemory,
    addresses: Addresses,
    layout: Layout,
    machine: Machine,
}

impl Look {
    /// Opens the memory of `process`, which runs `executable`. Stops nothing.
    ///
    /// # Errors
    /// It is no Go program of a known version, or was built with experiments; it is not mapped as
    /// its headers say; or its memory is closed to us.
    pub fn open(process: &Process, executable: &Executable) -> Result<Self> {
        let (file, elf, go) = executable.go().context("no Go program of a known version")?;
        let experiments = executable.memory_experiments().join(",");
        ensure!(
            experiments.is_empty(),
            "built with GOEXPERIMENT={}: how its memory is laid out is not known",
            printable(experiments.as_bytes())
        );
        let bias = executable.bias().context("the executable is not mapped where it says")?;
        let witnesses = Witnesses::read(file, elf, go)?;
        let located = RuntimeVariable::ALL.map(|variable| {
            let located = witnesses.locate(variable);
            (variable, located.map(|at| at.vaddr).map_err(|why| why.to_string()))
        });
        Ok(Self {
            memory: ProcessMemory::open(process)?,
            addresses: Addresses::new(located, bias),
            layout: go.table.layout(),
            machine: elf.machine,
        })
    }

    /// The runtime as it is from now on: nothing is read yet.
    pub fn runtime(&self) -> Runtime<'_> {
        let view = View::new(&self.memory);
        Runtime { view, layout: self.layout, machine: self.machine, addresses: &self.addresses }
    }
}
