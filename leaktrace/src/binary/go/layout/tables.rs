//! What is read of the executable: function tables, module data, types.

/// All of it, for one Go version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables {
    /// Start of the function table.
    pub pc_header: PcHeader,
    /// Where everything else lies.
    pub module_data: ModuleData,
    /// A function.
    pub func: Func,
    /// A node of an inline tree.
    pub inlined_call: InlinedCall,
    /// What an interface value points to first.
    pub itab: Itab,
    /// A type.
    pub abi_type: AbiType,
    /// Numbers that the tables use.
    pub symtab: Symtab,
}

/// `runtime.pcHeader` (runtime/symtab.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcHeader {
    /// Size in bytes.
    pub bytes: u64,
    /// `abi.CurrentPCLnTabMagic`, 4 bytes.
    pub magic: u64,
    /// Smallest instruction in bytes, 1 byte.
    pub min_lc: u64,
    /// Bytes of a pointer, 1 byte.
    pub ptr_size: u64,
    /// Number of functions.
    pub nfunc: u64,
    /// Number of entries in the file table.
    pub nfiles: u64,
    /// Address of the text, up to Go 1.25.
    pub text_start: Option<u64>,
    /// Function names, from the header's start; so are the following.
    pub funcname_offset: u64,
    /// Compilation units.
    pub cu_offset: u64,
    /// File names.
    pub filetab_offset: u64,
    /// Pc-value tables.
    pub pctab_offset: u64,
    /// Functions.
    pub pcln_offset: u64,
}

/// `runtime.moduledata` (runtime/symtab.go). Slices are address, length, capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModuleData {
    /// Size in bytes.
    pub bytes: u64,
    /// Address of the [`PcHeader`].
    pub pc_header: u64,
    /// Slice of the function names.
    pub funcnametab: u64,
    /// Slice of the compilation units.
    pub cutab: u64,
    /// Slice of the file names.
    pub filetab: u64,
    /// Slice of the pc-value tables.
    pub pctab: u64,
    /// Slice of the functions, with the index in front.
    pub pclntable: u64,
    /// Slice of the index of the functions.
    pub ftab: u64,
    /// Address of the buckets that speed up the search for a function.
    pub findfunctab: u64,
    /// Lowest address of code.
    pub minpc: u64,
    /// End of the code.
    pub maxpc: u64,
    /// Address that entries of functions are relative to.
    pub text: u64,
    /// End of the text.
    pub etext: u64,
    /// Initialised data without pointers: address; the end follows under `e…`, as below.
    pub noptrdata: u64,
    /// End of `noptrdata`.
    pub enoptrdata: u64,
    /// Initialised data with pointers.
    pub data: u64,
    /// End of `data`.
    pub edata: u64,
    /// Zeroed data with pointers.
    pub bss: u64,
    /// End of `bss`.
    pub ebss: u64,
    /// Zeroed data without pointers.
    pub noptrbss: u64,
    /// End of `noptrbss`.
    pub enoptrbss: u64,
    /// End of all data.
    pub end: u64,
    /// Address that offsets of types and their names are relative to.
    pub types: u64,
    /// Bytes of type descriptions behind `types`, from Go 1.27.
    pub typedesclen: Option<u64>,
    /// End of the types.
    pub etypes: u64,
    /// Read-only data.
    pub rodata: u64,
    /// Address of `go:func.*`, the function data.
    pub gofunc: u64,
    /// End of the function table, from Go 1.26.
    pub epclntab: Option<u64>,
    /// Slice of the parts of a text that is in parts.
    pub textsectmap: u64,
    /// Address of the next module's data, 0 for none.
    pub next: u64,
}

/// `runtime._func` (runtime/runtime2.go). Words of 4 bytes unless said otherwise; `npcdata`
/// words, then `nfuncdata` words follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Func {
    /// Size in bytes, without what follows.
    pub bytes: u64,
    /// Entry, from the module's text.
    pub entry_off: u64,
    /// Name, from the start of the names.
    pub name_off: u64,
    /// Offset of the call of `deferreturn`, from the entry.
    pub deferreturn: u64,
    /// Pc-value table of the stack depth.
    pub pcsp: u64,
    /// Pc-value table of the file.
    pub pcfile: u64,
    /// Pc-value table of the line.
    pub pcln: u64,
    /// Number of further pc-value tables.
    pub npcdata: u64,
    /// The compilation unit's first entry in `cutab`.
    pub cu_offset: u64,
    /// Line of the `func` keyword.
    pub start_line: u64,
    /// `abi.FuncID`, 1 byte.
    pub func_id: u64,
    /// `abi.FuncFlag`, 1 byte.
    pub flag: u64,
    /// Number of function data, 1 byte.
    pub nfuncdata: u64,
}

/// `runtime.inlinedCall` (runtime/symtabinl.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InlinedCall {
    /// Size in bytes.
    pub bytes: u64,
    /// `abi.FuncID`, 1 byte.
    pub func_id: u64,
    /// Name, 4 bytes, from the start of the names.
    pub name_off: u64,
    /// The call that was inlined, 4 bytes, from the outer function's entry.
    pub parent_pc: u64,
    /// Line of the `func` keyword, 4 bytes.
    pub start_line: u64,
}

/// `internal/abi.ITab` (internal/abi/iface.go); `runtime.itab` in Go 1.21.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Itab {
    /// Size in bytes, with one method.
    pub bytes: u64,
    /// Address of the interface's type.
    pub inter: u64,
    /// Address of the value's type (`Type` in Go).
    pub ty: u64,
    /// Addresses of the methods.
    pub fun: u64,
}

/// `internal/abi.Type` (internal/abi/type.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbiType {
    /// Size in bytes, of the description.
    pub bytes: u64,
    /// Size of a value of the type (`Size_` in Go).
    pub size: u64,
    /// Length of the part of a value that can hold pointers.
    pub ptr_bytes: u64,
    /// Hash of the type, 4 bytes.
    pub hash: u64,
    /// `abi.TFlag`, 1 byte.
    pub t_flag: u64,
    /// `abi.Kind`, 1 byte (`Kind_` in Go).
    pub kind: u64,
    /// Name, 4 bytes, from the module's `types`.
    pub str: u64,
}

/// Values of constants of `internal/abi` (symtab.go, type.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symtab {
    /// `FuncID` of a wrapper made by the compiler.
    pub func_id_wrapper: u64,
    /// Bit of a `FuncFlag`: the outermost function of a stack.
    pub func_flag_top_frame: u64,
    /// Number of the function data that is the inline tree.
    pub funcdata_inl_tree: u64,
    /// Number of the function data that says what a wrapper of a `go` statement calls.
    pub funcdata_wrap_info: u64,
    /// Number of the pc-value table that leads into the inline tree.
    pub pcdata_inl_tree_index: u64,
    /// Bit of a `TFlag`: the name has a `*` in front that is not part of it.
    pub t_flag_extra_star: u64,
}
