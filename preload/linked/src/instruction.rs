//! How long an instruction of x86-64 is, and what in it depends on where it stands.
//!
//! No more is asked here: a decoder of all that processors know would make half of the tracer.
//! The tables follow the opcode maps of Intel's manual, volume 2, appendix A, and AMD's, volume
//! 3, appendix A. What is not in them is refused. Tests compare with iced-x86, on this
//! program's own code and on random bytes.
//!
//! ```text
//! prefixes │ REX │ opcode: 1, 0F xx, 0F 38 xx, 0F 3A xx │ ModRM │ SIB │ displacement │ immediate
//!          │ VEX (C4, C5) or EVEX (62) and one byte     │
//! ```

/// An instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// Its bytes.
    pub(crate) bytes: usize,
    /// What it does to the flow of control.
    pub(crate) flow: Flow,
    /// Where in it the distance of an operand from the instruction's end stands, in four bytes.
    pub(crate) relative_at: Option<usize>,
}

/// Where control goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// To the next instruction.
    On,
    /// So far from the instruction's end.
    Jump(i32),
    /// The same, if a condition holds: the low four bits of the opcode.
    JumpIf(u8, i32),
    /// The same, by a counter: such jumps have no long form.
    Loop(i32),
    /// To a function so far from the instruction's end, and back.
    Call(i32),
    /// To a function that a register or memory names, and back.
    CallAway,
    /// Where a register or memory says, or back, or nowhere.
    Away,
}

/// What an opcode brings with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Nothing.
    Alone,
    /// So many bytes of an immediate operand.
    Immediate(usize),
    /// An immediate of the operand's size: 2 bytes, or 4.
    Sized,
    /// ModRM, and so many bytes of an immediate operand.
    Operands(usize),
    /// ModRM, and an immediate of the operand's size.
    OperandsSized,
    /// No such instruction, or one that is not looked into.
    Unknown,
}

const OPERAND_SIZE: u8 = 0x66;
const ADDRESS_SIZE: u8 = 0x67;

/// The instruction that `code` begins with. `None`: not known, or not whole.
pub(crate) fn decode(code: &[u8]) -> Option<Instruction> {
    let mut at = 0;
    let (mut short_operand, mut short_address, mut other_meaning) = (false, false, false);
    while let Some(prefix) = code.get(at) {
        match *prefix {
            OPERAND_SIZE => short_operand = true,
            ADDRESS_SIZE => short_address = true,
            0xf2 => other_meaning = true,
            0xf0 | 0xf3 | 0x2e | 0x36 | 0x3e | 0x26 | 0x64 | 0x65 => {}
            _ => break,
        }
        at += 1;
    }
    let mut wide = false;
    if let Some(rex @ 0x40..=0x4f) = code.get(at) {
        wide = rex & 8 != 0;
        at += 1;
    }
    let first = *code.get(at)?;
    at += 1;
    let sized = if short_operand && !wide { 2 } else { 4 };
    let form = match first {
        0x0f => {
            let second = *code.get(at)?;
            at += 1;
            match second {
                0x38 | 0x3a => {
                    at += 1;
                    Form::Operands((second == 0x3a).into())
                }
                0x80..=0x8f if short_operand => Form::Unknown,
                0x80..=0x8f => {
                    let bytes = at + 4;
                    let flow = Flow::JumpIf(second & 15, i32_at(code, at)?);
                    return Some(Instruction { bytes, flow, relative_at: None });
                }
                // Of AMD's, with two operands more.
                0x78 if short_operand || other_meaning => Form::Unknown,
                _ => second_map(second),
            }
        }
        0xc5 => {
            at += 2;
            vector_map(1, *code.get(at - 1)?)
        }
        0xc4 => {
            at += 3;
            vector_map(code.get(at - 3)? & 31, *code.get(at - 1)?)
        }
        0x62 => {
            at += 4;
            vector_map(code.get(at - 4)? & 7, *code.get(at - 1)?)
        }
        _ => {
            if let Some(flow) = flow(first, code.get(at..)?, short_operand)? {
                let distance = if matches!(first, 0xe8 | 0xe9) { 4 } else { 1 };
                return Some(Instruction { bytes: at + distance, flow, relative_at: None });
            }
            first_map(first, code.get(at).copied(), wide, short_address)
        }
    };
    let (operands, immediate) = match form {
        Form::Unknown => return None,
        Form::Alone => (false, 0),
        Form::Immediate(bytes) => (false, bytes),
        Form::Sized => (false, sized),
        Form::Operands(bytes) => (true, bytes),
        Form::OperandsSized => (true, sized),
    };
    let (operand_bytes, relative) = if operands { operand(code.get(at..)?)? } else { (0, false) };
    let bytes = at + operand_bytes + immediate;
    if bytes > code.len() || relative && short_address {
        return None;
    }
    let flow = match first {
        // Through a register or memory; the middle bits of ModRM tell.
        0xff => match code.get(at)? >> 3 & 7 {
            2 | 3 => Flow::CallAway,
            4 | 5 => Flow::Away,
            _ => Flow::On,
        },
        0xc2 | 0xc3 | 0xca | 0xcb | 0xcf | 0xf4 => Flow::Away,
        0x0f if code[at - 1] == 0x0b => Flow::Away,
        _ => Flow::On,
    };
    Some(Instruction { bytes, flow, relative_at: relative.then_some(at + 1) })
}

/// Jumps and calls by a distance. `None`: a form that processors disagree on.
#[expect(clippy::option_option, reason = "no jump, or one that is not understood")]
fn flow(opcode: u8, distance: &[u8], short_operand: bool) -> Option<Option<Flow>> {
    let near = || distance.first().map(|byte| i32::from(byte.cast_signed()));
    Some(Some(match opcode {
        0xe8 | 0xe9 if short_operand => return None,
        0xe8 => Flow::Call(i32_at(distance, 0)?),
        0xe9 => Flow::Jump(i32_at(distance, 0)?),
        0xeb => Flow::Jump(near()?),
        0x70..=0x7f => Flow::JumpIf(opcode & 15, near()?),
        0xe0..=0xe3 => Flow::Loop(near()?),
        _ => return Some(None),
    }))
}

/// One-byte opcodes, but for jumps by a distance.
fn first_map(opcode: u8, modrm: Option<u8>, wide: bool, short_address: bool) -> Form {
    match opcode {
        0x00..=0x3f => match opcode & 7 {
            0..=3 => Form::Operands(0),
            4 => Form::Immediate(1),
            5 => Form::Sized,
            _ => Form::Unknown,
        },
        0x50..=0x5f | 0x6c..=0x6f | 0x90..=0x99 | 0x9b..=0x9f | 0xa4..=0xa7 | 0xaa..=0xaf => {
            Form::Alone
        }
        0x63 | 0x84..=0x8e | 0xd0..=0xd3 | 0xd8..=0xdf | 0xfe | 0xff => Form::Operands(0),
        // With other bits in the middle of ModRM it is another prefix.
        0x8f if modrm.is_some_and(|modrm| modrm >> 3 & 7 == 0) => Form::Operands(0),
        0x68 | 0xa9 => Form::Sized,
        0x69 | 0x81 => Form::OperandsSized,
        0x6a | 0xa8 | 0xb0..=0xb7 | 0xcd | 0xe4..=0xe7 => Form::Immediate(1),
        0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => Form::Operands(1),
        // With this ModRM a transaction begins: a jump by a distance.
        0xc7 if modrm == Some(0xf8) => Form::Unknown,
        0xc7 => Form::OperandsSized,
        0xa0..=0xa3 => Form::Immediate(if short_address { 4 } else { 8 }),
        0xb8..=0xbf if wide => Form::Immediate(8),
        0xb8..=0xbf => Form::Sized,
        0xc2 | 0xca => Form::Immediate(2),
        0xc8 => Form::Immediate(3),
        0xc3 | 0xc9 | 0xcb | 0xcc | 0xcf | 0xd7 | 0xec..=0xef | 0xf1 | 0xf4 | 0xf5 => Form::Alone,
        0xf8..=0xfd => Form::Alone,
        // test has an immediate operand, not and neg have none.
        0xf6 | 0xf7 => match modrm.map(|modrm| modrm >> 3 & 7) {
            Some(0 | 1) if opcode == 0xf6 => Form::Operands(1),
            Some(0 | 1) => Form::OperandsSized,
            _ => Form::Operands(0),
        },
        _ => Form::Unknown,
    }
}

/// Opcodes behind 0F, but for jumps.
fn second_map(opcode: u8) -> Form {
    match opcode {
        0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x35 | 0x37 | 0x77 => Form::Alone,
        0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf => Form::Alone,
        0x0f | 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => Form::Operands(1),
        0x04 | 0x0a | 0x0c | 0x20..=0x27 | 0x36 | 0x39 | 0x3b..=0x3f => Form::Unknown,
        0x7a | 0x7b | 0xa6 | 0xa7 => Form::Unknown,
        _ => Form::Operands(0),
    }
}

/// Opcodes behind VEX and EVEX, by the map that these name.
fn vector_map(map: u8, opcode: u8) -> Form {
    match (map, opcode) {
        (1, 0x77) => Form::Alone,
        (1, 0x70..=0x73 | 0xc2 | 0xc4..=0xc6) | (3, _) => Form::Operands(1),
        (1 | 2 | 5 | 6, _) => Form::Operands(0),
        _ => Form::Unknown,
    }
}

/// Bytes of ModRM and what belongs to it, and whether it is a distance from the instruction's
/// end.
fn operand(code: &[u8]) -> Option<(usize, bool)> {
    let modrm = *code.first()?;
    let (mode, register) = (modrm >> 6, modrm & 7);
    if mode == 3 {
        return Some((1, false));
    }
    let scaled = register == 4;
    let base = if scaled { code.get(1)? & 7 } else { register };
    let displacement = match mode {
        1 => 1,
        2 => 4,
        _ if base == 5 => 4,
        _ => 0,
    };
    Some((1 + usize::from(scaled) + displacement, mode == 0 && register == 5))
}

fn i32_at(code: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(code.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Elf;
    use iced_x86::{Decoder, DecoderOptions, FlowControl, OpKind};
    use proptest::prelude::*;

    /// What iced-x86 says, if it is an instruction.
    fn judge(code: &[u8]) -> Option<(iced_x86::Instruction, Option<usize>)> {
        let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let offsets = decoder.get_constant_offsets(&instruction);
        let relative = instruction.is_ip_rel_memory_operand();
        let at = relative.then(|| offsets.displacement_offset());
        (!instruction.is_invalid()).then_some((instruction, at))
    }

    /// Compares one instruction; its length, if both know it.
    fn compare(code: &[u8]) -> Result<Option<usize>, std::string::String> {
        let Some((judged, relative_at)) = judge(code) else { return Ok(None) };
        let Some(ours) = decode(code) else { return Ok(None) };
        let same = ours.bytes == judged.len() && ours.relative_at == relative_at;
        let near = |kind: OpKind| kind == OpKind::NearBranch64;
        let branches = judged.op_count() > 0 && near(judged.op_kind(0));
        let to = judged.near_branch_target();
        let step =
            |step: i32| branches && to == (judged.len() as u64).wrapping_add(step as i64 as u64);
        let flow = match (ours.flow, judged.flow_control()) {
            (Flow::Jump(by), FlowControl::UnconditionalBranch) => step(by),
            (Flow::JumpIf(_, by) | Flow::Loop(by), FlowControl::ConditionalBranch) => step(by),
            (Flow::Call(by), FlowControl::Call) => step(by),
            (Flow::CallAway, FlowControl::IndirectCall) => !branches,
            (Flow::Away | Flow::On, _) => !branches,
            _ => false,
        };
        if same && flow {
            return Ok(Some(ours.bytes));
        }
        Err(std::format!("{:02x?}: {judged}, {ours:?}", &code[..judged.len()]))
    }

    #[test]
    fn all_of_this_programs_code_is_read_as_iced_x86_reads_it() {
        let bytes = std::fs::read(std::env::current_exe().expect("known")).expect("read");
        let elf = Elf::read(&bytes).expect("an ELF file");
        let mut seen = 0;
        for function in elf.functions().filter(|function| function.bytes > 0) {
            let Some(code) = elf.code(function.address) else { continue };
            let body = &code[..code.len().min(function.bytes as usize)];
            let mut at = 0;
            while at < body.len() {
                let (judged, _) = judge(&body[at..]).expect("compilers write instructions");
                let read = compare(&body[at..]).expect("the same");
                assert_eq!(read, Some(judged.len()), "{judged} is not known");
                at += judged.len();
                seen += 1;
            }
        }
        assert!(seen > 100_000, "{seen} instructions");
    }

    /// Ways into the maps that random bytes seldom find.
    const BEGINNINGS: &[&[u8]] = &[
        &[],
        &[0x0f],
        &[0x66],
        &[0xf3, 0x0f],
        &[0x48],
        &[0xc5],
        &[0xc4, 0xe2],
        &[0x62, 0xf1],
        &[0x66, 0x0f, 0x3a],
        &[0xf2],
        &[0x67],
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200_000))]

        #[test]
        fn what_is_read_of_any_bytes_is_what_iced_x86_reads(
            prefix in prop::sample::select(BEGINNINGS),
            bytes in prop::array::uniform16(any::<u8>()),
        ) {
            let code: std::vec::Vec<u8> = prefix.iter().copied().chain(bytes).collect();
            if let Err(difference) = compare(&code) {
                prop_assert!(false, "{difference}");
            }
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Some(read) = decode(&bytes) {
                prop_assert!(read.bytes <= bytes.len() && read.bytes > 0);
            }
        }
    }
}
