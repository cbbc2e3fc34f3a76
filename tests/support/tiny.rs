//! The smallest executables that are read as whole Go programs: what a fuzzer starts from.
//!
//! Made by hand from the same sources as the readers; they never run. One lies at fixed addresses
//! and has sections, one is position-independent and has none. Four functions of 32 bytes, and
//! `(*cancelCtx).cancel` is inlined into the last.

#![allow(dead_code, reason = "each test file uses a part of it")]

/// Where the fixed one is loaded.
const BASE: u64 = 0x40_0000;
// File offsets; an address is one of them plus the base.
const CODE: u64 = 0x200;
const BUILD_INFO: u64 = 0x280;
const PCLNTAB: u64 = 0x300;
const NAMES: u64 = 0x350;
const UNITS: u64 = 0x3c0;
const FILES: u64 = 0x3c8;
const PC_TABLES: u64 = 0x3e0;
const FUNCTIONS: u64 = 0x400;
const FUNCTION_DATA: u64 = 0x550;
const TYPE: u64 = 0x560;
const TYPE_NAME: u64 = 0x590;
const ITAB: u64 = 0x5a8;
const MODULE_DATA: u64 = 0x600;
const RELOCATIONS: u64 = 0x780;
const DYNAMIC: u64 = 0x8c0;
const NOTE: u64 = 0x8f0;
const SECTIONS: u64 = 0x910;
const SECTION_NAMES: u64 = 0xa10;
const END: u64 = 0xa40;

const FUNCTION_BYTES: u64 = 32;
const FUNCTION_NAMES: [&str; 4] = [
    "main.f",
    "context.(*cancelCtx).propagateCancel",
    "context.(*cancelCtx).cancel",
    "context.(*timerCtx).cancel",
];
/// `cmp 0x10(%r14),%rsp; jbe; push %rbp; mov %rsp,%rbp; pop %rbp; ret`
const FUNCTION_CODE: [u8; 12] =
    [0x49, 0x3b, 0x66, 0x10, 0x76, 0x18, 0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3];

/// Addresses to ask for, of either executable.
pub fn pcs() -> Vec<u64> {
    let within = (0..16).map(|index| CODE + index * 8 + 1);
    within.flat_map(|offset| [offset, offset + BASE]).collect()
}

/// The itab's address, in either executable.
pub const ITABS: [u64; 2] = [ITAB, BASE + ITAB];

struct Image {
    bytes: Vec<u8>,
    /// Added to an offset it gives an address.
    base: u64,
    /// Where pointers stand, with what they point to.
    pointers: Vec<(u64, u64)>,
}

impl Image {
    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.bytes[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    fn words(&mut self, at: u64, words: &[u64]) {
        self.put(at, &words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>());
    }

    fn halves(&mut self, at: u64, halves: &[u32]) {
        self.put(at, &halves.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<_>>());
    }

    fn pointer(&mut self, at: u64, to: u64) {
        self.pointers.push((at + self.base, to + self.base));
        if self.base > 0 {
            self.words(at, &[to + self.base]);
        }
    }

    /// Loaded parts: all of it, the code, and the data; then a note and the dynamic section.
    fn headers(&mut self) {
        let (kind, headers) = if self.base > 0 { (2, 4) } else { (3, 5) };
        self.put(0, b"\x7fELF\x02\x01\x01");
        self.halves(16, &[0x3e_0000 | kind, 1]);
        self.words(32, &[64]);
        self.halves(52, &[56 << 16 | 64, 64 << 16 | headers]);
        let parts = [
            (1, 4, 0, END),
            (1, 5, CODE, 4 * FUNCTION_BYTES),
            (1, 6, BUILD_INFO, END - BUILD_INFO),
            (4, 4, NOTE, 0x18),
            (2, 6, DYNAMIC, 0x30),
        ];
        for (index, (kind, flags, at, bytes)) in (0..).zip(parts).take(headers as usize) {
            let vaddr = at + self.base;
            let words = [flags << 32 | kind, at, vaddr, vaddr, bytes, bytes, 8];
            self.words(64 + index * 56, &words);
        }
    }

    fn sections(&mut self) {
        self.put(SECTION_NAMES, b"\0.gopclntab\0.go.buildinfo\0.shstrtab\0");
        self.words(40, &[SECTIONS]);
        self.halves(60, &[3 << 16 | 4]);
        let parts = [
            (1, PCLNTAB, FUNCTION_DATA - PCLNTAB),
            (12, BUILD_INFO, PCLNTAB - BUILD_INFO),
            (26, SECTION_NAMES, END - SECTION_NAMES),
        ];
        for (index, (name, at, bytes)) in (1..).zip(parts) {
            self.words(SECTIONS + index * 64, &[1 << 32 | name, 0, at + self.base, at, bytes]);
        }
    }

    fn build_info(&mut self) {
        let modinfo = b"0123456789abcdefpath\tmain\nmod\tm\tv1\t\n0123456789abcdef";
        let strings = [b"\x08go1.26.3", &[modinfo.len() as u8][..], modinfo].concat();
        self.put(BUILD_INFO, b"\xff Go buildinf:\x08\x02");
        self.put(BUILD_INFO + 32, &strings);
        self.halves(NOTE, &[4, 8, 4]);
        self.put(NOTE + 12, b"Go\0\0tiny/one");
    }

    fn code(&mut self) {
        for function in 0..4 {
            self.put(CODE + function * FUNCTION_BYTES, &FUNCTION_CODE);
        }
    }

    fn function_table(&mut self) {
        self.words(PCLNTAB, &[0x0801_0000_ffff_fff1, 4, 1, 0]);
        let parts = [NAMES, UNITS, FILES, PC_TABLES, FUNCTIONS];
        self.words(PCLNTAB + 32, &parts.map(|part| part - PCLNTAB));
        self.put(FILES, b"context/context.go\0");
        // At 1: line 10. At 4: file 0. At 7: call 0 is inlined into the first half.
        let tables = [0, 22, 32, 0, 2, 32, 0, 2, 16, 1, 16, 0];
        self.put(PC_TABLES, &tables);
        let mut name_offset = 0;
        for (index, name) in (0..).zip(FUNCTION_NAMES) {
            self.put(NAMES + u64::from(name_offset), name.as_bytes());
            self.function(index, name_offset);
            name_offset += name.len() as u32 + 1;
        }
        self.halves(FUNCTIONS + 32, &[4 * FUNCTION_BYTES as u32, 0]);
        let cancel = FUNCTION_NAMES[..2].iter().map(|name| name.len() as u32 + 1).sum();
        self.halves(FUNCTION_DATA, &[0, cancel, FUNCTION_BYTES as u32 - 8, 0]);
    }

    /// The entry of one function, and its record of 11 words, 3 pc tables and 4 function data.
    fn function(&mut self, index: u32, name_offset: u32) {
        let (entry, record) = (index * FUNCTION_BYTES as u32, 40 + index * 72);
        self.halves(FUNCTIONS + u64::from(index) * 8, &[entry, record]);
        let (inline_table, tree) = if index == 3 { (7, 0) } else { (0, u32::MAX) };
        let fixed = [entry, name_offset, 0, 0, 0, 4, 1, 3, 0, 0, 4 << 24];
        let data = [0, 0, inline_table, u32::MAX, u32::MAX, u32::MAX, tree];
        self.halves(FUNCTIONS + u64::from(record), &[&fixed[..], &data].concat());
    }

    fn types(&mut self) {
        self.put(TYPE + 16, &[0x11, 0x22, 0x33, 0x44, 2]);
        self.halves(TYPE + 40, &[(TYPE_NAME - TYPE) as u32]);
        self.put(TYPE_NAME, b"\x01\x09*main.ctx");
        self.pointer(ITAB, TYPE);
        self.pointer(ITAB + 8, TYPE);
        self.put(ITAB + 16, &[0x11, 0x22, 0x33, 0x44]);
    }

    fn module_data(&mut self) {
        let (text, end) = (CODE, CODE + 4 * FUNCTION_BYTES);
        let words = [
            (0, PCLNTAB),
            (8, NAMES),
            (32, UNITS),
            (56, FILES),
            (80, PC_TABLES),
            (104, FUNCTIONS),
            (176, text),
            (184, end),
            (296, TYPE),
            (304, ITAB),
            (320, FUNCTION_DATA),
        ];
        words.into_iter().for_each(|(within, to)| self.pointer(MODULE_DATA + within, to));
    }

    /// `R_X86_64_RELATIVE` for each pointer; `DT_RELA`, `DT_RELASZ` and the end.
    fn relocations(&mut self) {
        let relas: Vec<u64> = self.pointers.iter().flat_map(|(at, to)| [*at, 8, *to]).collect();
        self.words(RELOCATIONS, &relas);
        self.words(DYNAMIC, &[7, RELOCATIONS, 8, relas.len() as u64 * 8, 0, 0]);
    }
}

/// The fixed one with sections, or the position-independent one without.
pub fn executable(position_independent: bool) -> Vec<u8> {
    let base = if position_independent { 0 } else { BASE };
    let mut image = Image { bytes: vec![0; END as usize], base, pointers: Vec::new() };
    image.headers();
    image.code();
    image.build_info();
    image.function_table();
    image.types();
    image.module_data();
    if position_independent {
        image.relocations()
    } else {
        image.sections()
    }
    image.bytes
}
