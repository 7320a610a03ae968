//! Call frame information: from an address in code to how its frame is left.
//!
//! ```text
//! .eh_frame_hdr  sorted table: first address ──► FDE      (written by the linker)
//! .eh_frame      FDE: what changes from instruction to instruction in one function
//!                CIE: what many FDEs start with
//! ```
//!
//! Only what leads from frame to frame is worked out: where the frame ends (the CFA), where
//! the return address is, and where the caller's rbp. Sources: LSB core specification (the
//! two sections), DWARF 5 section 6.4 (the instructions).

use super::bytes::{DATA_RELATIVE_4, OMITTED, Reader};
use super::expression::{self, RBP, RSP, Value};

/// Rows that instructions can put aside.
const MAX_REMEMBERED: usize = 8;

/// Where the caller's value of a register is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Still in the register.
    Same,
    /// It has none: of the return address, that nobody called.
    Nowhere,
    /// In memory, so many bytes from the CFA.
    At(i64),
    /// In memory, so many bytes from this frame's rbp.
    AtBp(i64),
    /// By a rule that nothing here can follow.
    Unknown,
}

/// How a frame is left, at one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// The frame's end: the stack pointer in the caller, after its call.
    pub(super) cfa: Option<Value>,
    pub(super) bp: Place,
    pub(super) return_address: Place,
    /// The frame was made by the kernel, to call a signal handler.
    pub(super) signal: bool,
}

/// The CFA while instructions are followed.
#[derive(Clone, Copy)]
enum Cfa<'a> {
    Register(u64, i64),
    Expression(Reader<'a>),
}

#[derive(Clone, Copy)]
struct Rules<'a> {
    cfa: Cfa<'a>,
    bp: Place,
    return_address: Place,
}

/// What a CIE says.
struct Common<'a> {
    code_factor: u64,
    data_factor: i64,
    return_register: u64,
    pointer_encoding: u8,
    has_length: bool,
    signal: bool,
    instructions: Reader<'a>,
}

/// How the frame of the function at `pc` is left there. `segment`: the mapped bytes that hold
/// both sections; `header`: the address of .eh_frame_hdr.
pub(super) fn row(segment: Reader<'_>, header: u64, pc: u64) -> Option<Row> {
    let entry = find(segment, header, pc)?;
    let mut fde = segment.from(entry)?;
    let mut fde = body(&mut fde)?;
    let back_from = fde.address();
    let cie = back_from.checked_sub(fde.u32()?.into())?;
    let common = common(segment.from(cie)?)?;
    let first = fde.pointer(common.pointer_encoding, header)?;
    let len = fde.value(common.pointer_encoding)?;
    if pc.wrapping_sub(first) >= len {
        return None;
    }
    if common.has_length {
        let len = fde.unsigned()?;
        fde.take(len)?;
    }
    let mut run = Run {
        common: &common,
        pc,
        location: first,
        rules: Rules { cfa: Cfa::Register(RSP, 8), bp: Place::Same, return_address: Place::Same },
        initial: None,
        remembered: [None; MAX_REMEMBERED],
        count: 0,
    };
    run.follow(common.instructions)?;
    run.initial = Some(run.rules);
    run.location = first;
    run.follow(fde)?;
    let cfa = match run.rules.cfa {
        Cfa::Register(RSP, offset) => Some(Value::Sp(offset)),
        Cfa::Register(RBP, offset) => Some(Value::Bp(offset)),
        Cfa::Register(..) => None,
        Cfa::Expression(code) => expression::value(code, pc),
    };
    let Rules { bp, return_address, .. } = run.rules;
    Some(Row { cfa, bp, return_address, signal: common.signal })
}

/// The address of the FDE that may cover `pc`, from the sorted table.
fn find(segment: Reader<'_>, header: u64, pc: u64) -> Option<u64> {
    let mut at = segment.from(header)?;
    let version = at.u8()?;
    let (frames, count, table) = (at.u8()?, at.u8()?, at.u8()?);
    if version != 1 || table != DATA_RELATIVE_4 || count == OMITTED {
        return None;
    }
    at.pointer(frames, header)?;
    let count = at.pointer(count, header)?.min(at.left() as u64 / 8);
    let start = at.address();
    let entry = |index: u64| segment.from(start.wrapping_add(8 * index));
    let wanted = i32::try_from(pc.wrapping_sub(header) as i64).ok()?;
    // The last entry that begins at or before the address.
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if entry(middle)?.u32()? as i32 <= wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let mut found = entry(low.checked_sub(1)?)?;
    found.u32()?;
    let offset = found.u32()? as i32;
    Some(header.wrapping_add_signed(offset.into()))
}

/// What stands behind the length of a CIE or FDE. Those of 4 GiB and more do not exist.
fn body<'a>(at: &mut Reader<'a>) -> Option<Reader<'a>> {
    let len = at.u32()?;
    if len == u32::MAX { None } else { at.take(len.into()) }
}

fn common(mut at: Reader<'_>) -> Option<Common<'_>> {
    let mut cie = body(&mut at)?;
    if cie.u32()? != 0 {
        return None;
    }
    let version = cie.u8()?;
    let augmentation = cie.text()?;
    let code_factor = cie.unsigned()?;
    let data_factor = cie.signed()?;
    let return_register = if version == 1 { cie.u8()?.into() } else { cie.unsigned()? };
    let mut common = Common {
        code_factor,
        data_factor,
        return_register,
        pointer_encoding: 0,
        has_length: false,
        signal: false,
        instructions: cie,
    };
    let Some(letters) = augmentation.strip_prefix(b"z") else {
        return augmentation.is_empty().then_some(common);
    };
    common.has_length = true;
    let len = cie.unsigned()?;
    let mut data = cie.take(len)?;
    for letter in letters {
        match letter {
            b'R' => common.pointer_encoding = data.u8()?,
            // The personality, as a pointer.
            b'P' => {
                let encoding = data.u8()?;
                data.value(encoding)?;
            }
            b'L' => {
                data.u8()?;
            }
            b'S' => common.signal = true,
            _ => return None,
        }
    }
    common.instructions = cie;
    Some(common)
}

/// Instructions being followed up to an address.
struct Run<'a, 'b> {
    common: &'b Common<'a>,
    pc: u64,
    location: u64,
    rules: Rules<'a>,
    /// As the CIE leaves them.
    initial: Option<Rules<'a>>,
    remembered: [Option<Rules<'a>>; MAX_REMEMBERED],
    count: usize,
}

impl<'a> Run<'a, '_> {
    /// Follows instructions, until the next is for a later address.
    fn follow(&mut self, mut code: Reader<'a>) -> Option<()> {
        while !code.is_empty() && self.location <= self.pc {
            let op = code.u8()?;
            let low = u64::from(op & 0x3f);
            match op >> 6 {
                // DW_CFA_advance_loc, offset, restore
                1 => self.advance(low),
                2 => {
                    let offset = code.unsigned()? as i64;
                    self.set(low, self.at(offset));
                }
                3 => self.restore(low),
                _ => self.extended(op, &mut code)?,
            }
        }
        Some(())
    }

    fn extended(&mut self, op: u8, code: &mut Reader<'a>) -> Option<()> {
        match op {
            // DW_CFA_nop
            0x00 => {}
            // DW_CFA_set_loc
            0x01 => self.location = code.pointer(self.common.pointer_encoding, 0)?,
            // DW_CFA_advance_loc1, 2, 4
            0x02 => self.advance(code.u8()?.into()),
            0x03 => self.advance(code.u16()?.into()),
            0x04 => self.advance(code.u32()?.into()),
            // DW_CFA_offset_extended, and its signed form
            0x05 | 0x11 => {
                let register = code.unsigned()?;
                let offset = if op == 0x05 { code.unsigned()? as i64 } else { code.signed()? };
                self.set(register, self.at(offset));
            }
            // DW_CFA_restore_extended
            0x06 => self.restore(code.unsigned()?),
            // DW_CFA_undefined
            0x07 => self.set(code.unsigned()?, Place::Nowhere),
            // DW_CFA_same_value
            0x08 => self.set(code.unsigned()?, Place::Same),
            // DW_CFA_register
            0x09 => {
                let register = code.unsigned()?;
                code.unsigned()?;
                self.set(register, Place::Unknown);
            }
            // DW_CFA_remember_state, restore_state
            0x0a => {
                *self.remembered.get_mut(self.count)? = Some(self.rules);
                self.count += 1;
            }
            0x0b => {
                self.count = self.count.checked_sub(1)?;
                self.rules = self.remembered[self.count]?;
            }
            // DW_CFA_def_cfa, and its form with factors
            0x0c => self.rules.cfa = Cfa::Register(code.unsigned()?, code.unsigned()? as i64),
            0x12 => {
                let register = code.unsigned()?;
                self.rules.cfa = Cfa::Register(register, self.factored(code.signed()?));
            }
            // DW_CFA_def_cfa_register
            0x0d => {
                let Cfa::Register(_, offset) = self.rules.cfa else { return None };
                self.rules.cfa = Cfa::Register(code.unsigned()?, offset);
            }
            // DW_CFA_def_cfa_offset, and its form with factors
            0x0e | 0x13 => {
                let Cfa::Register(register, _) = self.rules.cfa else { return None };
                let offset = match op {
                    0x0e => code.unsigned()? as i64,
                    _ => self.factored(code.signed()?),
                };
                self.rules.cfa = Cfa::Register(register, offset);
            }
            // DW_CFA_def_cfa_expression
            0x0f => {
                let len = code.unsigned()?;
                self.rules.cfa = Cfa::Expression(code.take(len)?);
            }
            // DW_CFA_expression
            0x10 => {
                let register = code.unsigned()?;
                let len = code.unsigned()?;
                let place = match expression::value(code.take(len)?, self.pc) {
                    Some(Value::Bp(offset)) => Place::AtBp(offset),
                    _ => Place::Unknown,
                };
                self.set(register, place);
            }
            // DW_CFA_val_offset, its signed form, val_expression
            0x14 | 0x15 => {
                let register = code.unsigned()?;
                code.unsigned()?;
                self.set(register, Place::Unknown);
            }
            0x16 => {
                let register = code.unsigned()?;
                let len = code.unsigned()?;
                code.take(len)?;
                self.set(register, Place::Unknown);
            }
            // DW_CFA_GNU_args_size
            0x2e => {
                code.unsigned()?;
            }
            _ => return None,
        }
        Some(())
    }

    fn advance(&mut self, units: u64) {
        let bytes = units.wrapping_mul(self.common.code_factor);
        self.location = self.location.saturating_add(bytes);
    }

    fn factored(&self, offset: i64) -> i64 {
        offset.wrapping_mul(self.common.data_factor)
    }

    fn at(&self, offset: i64) -> Place {
        Place::At(self.factored(offset))
    }

    fn set(&mut self, register: u64, place: Place) {
        if register == RBP {
            self.rules.bp = place;
        } else if register == self.common.return_register {
            self.rules.return_address = place;
        }
    }

    fn restore(&mut self, register: u64) {
        let Some(initial) = self.initial else { return };
        if register == RBP {
            self.rules.bp = initial.bp;
        } else if register == self.common.return_register {
            self.rules.return_address = initial.return_address;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::{HEADERS_BYTES, Image};
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The unwind data of this very program: its segment, and where .eh_frame_hdr is.
    fn own() -> (Image, &'static [u8]) {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("readable");
        let exe = std::env::current_exe().expect("a path");
        let exe = exe.to_str().expect("a path in UTF-8");
        // Other tests map memory at low addresses.
        let line = maps.lines().find(|line| line.ends_with(exe)).expect("the program's mapping");
        let first = line.split('-').next().expect("an address");
        let start = u64::from_str_radix(first, 16).expect("an address");
        // SAFETY: the program's first page is mapped, and more than this long with its headers.
        let headers = unsafe { core::slice::from_raw_parts(start as *const u8, HEADERS_BYTES) };
        let image = Image::read(headers, start).expect("a program");
        let segment = image.frames_segment;
        let len = (segment.end - segment.start) as usize;
        // SAFETY: a loaded segment of this program.
        (image, unsafe { core::slice::from_raw_parts(segment.start as *const u8, len) })
    }

    #[inline(never)]
    fn a_function(room: &mut [u64; 20]) -> u64 {
        room.iter().sum()
    }

    #[test]
    fn a_function_of_this_program_has_a_frame() {
        let (image, bytes) = own();
        let segment = Reader::new(bytes, image.frames_segment.start);
        let entry = a_function as *const () as u64;
        let row = row(segment, image.frames, entry).expect("a row");
        assert_eq!(row.cfa, Some(Value::Sp(8)), "before its first instruction");
        assert_eq!((row.bp, row.return_address), (Place::Same, Place::At(-8)));
        assert_eq!(super::row(segment, image.frames, 0x1000), None);
        assert_eq!(a_function(&mut [1; 20]), 20);
    }

    #[test]
    fn every_entry_of_this_programs_table_is_understood() {
        let (image, bytes) = own();
        let segment = Reader::new(bytes, image.frames_segment.start);
        let mut table = segment.from(image.frames + 8).expect("a table");
        let count = table.u32().expect("a count");
        assert!(count > 1000);
        for _ in 0..count {
            let pc =
                image.frames.wrapping_add_signed((table.u32().expect("an entry") as i32).into());
            table.u32().expect("an entry");
            let row = row(segment, image.frames, pc);
            assert!(row.is_some_and(|row| row.cfa.is_some()), "{pc:#x}: {row:?}");
        }
    }

    proptest! {
        /// Any change to unwind data, and any bytes in their place, end in a row or in none.
        #[test]
        fn damaged_data_do_no_harm(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..200),
            cut in any::<prop::sample::Index>(),
            pcs in prop::collection::vec(any::<prop::sample::Index>(), 50),
        ) {
            let (image, bytes) = own();
            let at = (image.frames - image.frames_segment.start) as usize;
            // A piece that begins with the table and holds most of the entries.
            let mut damaged: Vec<u8> = bytes[at..].to_vec();
            let len = damaged.len();
            for (index, byte) in changes {
                // Half of them near the table's head, where most depends on them.
                let place = index.index(len);
                damaged[if byte & 1 == 0 { place } else { place % 64 }] = byte;
            }
            if cut.index(4) == 0 {
                damaged.truncate(cut.index(len) + 1);
            }
            let segment = Reader::new(&damaged, image.frames);
            for pc in pcs {
                let text = image.all.start + pc.index((image.all.end - image.all.start) as usize) as u64;
                let _ = row(segment, image.frames, text);
            }
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), pc: u64) {
            let mut bytes = bytes;
            // Enough of a head to be taken for a table.
            for (byte, head) in bytes.iter_mut().zip([1, 0x1b, 0x03, 0x3b]) {
                *byte = head;
            }
            let _ = row(Reader::new(&bytes, 0x1000), 0x1000, pc % 0x3000);
            let _ = row(Reader::new(&bytes, u64::MAX - 0x3000), u64::MAX - 0x3000, pc);
            let _ = expression::value(Reader::new(&bytes, 0), pc);
        }
    }
}
