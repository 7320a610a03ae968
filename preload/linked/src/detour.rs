//! Hooking a function where it begins: a jump over its first instructions, and these elsewhere.
//!
//! ```text
//! before   f: push r15; push r14; mov r15, rdi; …          f: endbr64; …
//! after    f: jmp ───────► hook ──► trampoline:            the landing pad stays
//!          f+5: …  ◄───────────────  push r15; push r14; mov r15, rdi; jmp f+7
//! ```
//!
//! The instructions that give way to the jump run in the trampoline, made to mean the same
//! there. It is refused where that cannot be shown to be right: where a jump in the function's
//! body leads into the bytes that are replaced, where a call would have its return address in
//! the trampoline, where no unwinder knows it, and where an instruction is not understood. Not
//! looked for are jumps from other functions into the middle of this one, and such by a table:
//! compilers make them only into the far parts of one and the same function.

use core::fmt;
use yaxpeax_arch::LengthedInstruction;
use yaxpeax_x86::long_mode::{InstDecoder, Instruction, Opcode, Operand, RegSpec};

/// Bytes of the jump.
pub const JUMP_BYTES: usize = 5;
/// The landing pad for indirect jumps of processors that check them.
pub const LANDING_PAD: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
/// The longest code of a trampoline.
pub const MAX_TRAMPOLINE_BYTES: usize = 64;

/// Why a function is not hooked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is shorter than a jump, and other code follows.
    Short,
    /// An instruction is not known.
    Unknown,
    /// A call stands where the jump would.
    Call,
    /// A jump that cannot be moved stands where the jump would.
    Jump,
    /// A jump leads into what would be replaced.
    Entered,
    /// What it refers to is too far from the trampoline.
    Far,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Refusal::Short => "it is too short for a jump",
            Refusal::Unknown => "it has an instruction that the tracer does not know",
            Refusal::Call => "it begins with a call",
            Refusal::Jump => "it begins with a jump that cannot be moved",
            Refusal::Entered => "it jumps back to its first instructions",
            Refusal::Far => "no room was found near it",
        })
    }
}

/// How to hook a function.
#[derive(Debug, Clone, Copy)]
pub struct Detour {
    /// Where the jump goes: behind the landing pad, if there is one.
    pub at: u64,
    /// The bytes that the jump replaces.
    pub replaced: [u8; JUMP_BYTES],
    code: [u8; MAX_TRAMPOLINE_BYTES],
    len: usize,
}

impl Detour {
    /// What to put at the trampoline's address.
    pub fn trampoline(&self) -> &[u8] {
        &self.code[..self.len]
    }

    /// The jump to a hook. `None`: it is too far.
    pub fn jump_to(&self, hook: u64) -> Option<[u8; JUMP_BYTES]> {
        let mut jump = [0xe9, 0, 0, 0, 0];
        jump[1..].copy_from_slice(&distance(self.at + JUMP_BYTES as u64, hook).ok()?.to_le_bytes());
        Some(jump)
    }
}

/// Plans how to hook the function at `address` whose trampoline is to be at `trampoline`.
///
/// `code` is what stands in memory from the function's first byte on, `bytes` its length.
pub fn plan(code: &[u8], bytes: usize, address: u64, trampoline: u64) -> Result<Detour, Refusal> {
    let body = code.get(..bytes).ok_or(Refusal::Short)?;
    let pad = if body.starts_with(&LANDING_PAD) { LANDING_PAD.len() } else { 0 };
    let mut writer = Writer { code: [0; MAX_TRAMPOLINE_BYTES], len: 0, at: trampoline };
    writer.put(&LANDING_PAD)?;
    let start = address + pad as u64;
    let mut moved = 0;
    let mut ended = false;
    while moved < JUMP_BYTES {
        let rest = &body[pad + moved..];
        if ended || rest.is_empty() {
            // What lies behind the function's last instruction is nobody's.
            let room = code.get(pad + moved..pad + JUMP_BYTES).ok_or(Refusal::Short)?;
            if !ended || !room.iter().all(|byte| matches!(byte, 0xcc | 0x90 | 0)) {
                return Err(Refusal::Short);
            }
            break;
        }
        let step = Step::decode(rest, start + moved as u64)?;
        ended = writer.move_here(&step)?;
        moved += step.bytes.len();
    }
    if !ended {
        writer.jump(start + moved as u64)?;
    }
    let replaced = start..start + moved.max(JUMP_BYTES) as u64;
    is_not_entered(body, address, pad + moved, &replaced)?;
    let mut bytes = [0; JUMP_BYTES];
    bytes.copy_from_slice(&code[pad..pad + JUMP_BYTES]);
    Ok(Detour { at: start, replaced: bytes, code: writer.code, len: writer.len })
}

/// No jump in the body leads to what is replaced, nor to the function's first byte.
fn is_not_entered(
    body: &[u8],
    address: u64,
    mut offset: usize,
    replaced: &core::ops::Range<u64>,
) -> Result<(), Refusal> {
    while offset < body.len() {
        let step = Step::decode(&body[offset..], address + offset as u64)?;
        let jumps = !matches!(step.opcode(), Opcode::CALL);
        if jumps && step.target().is_some_and(|to| (address..replaced.end).contains(&to)) {
            return Err(Refusal::Entered);
        }
        offset += step.bytes.len();
    }
    Ok(())
}

/// From the end of an instruction to what it refers to.
fn distance(from: u64, to: u64) -> Result<i32, Refusal> {
    i32::try_from(to.wrapping_sub(from) as i64).map_err(|_| Refusal::Far)
}

/// An instruction where it stands.
struct Step<'a> {
    instruction: Instruction,
    bytes: &'a [u8],
    address: u64,
}

impl<'a> Step<'a> {
    fn decode(code: &'a [u8], address: u64) -> Result<Step<'a>, Refusal> {
        let instruction =
            InstDecoder::default().decode_slice(code).map_err(|_| Refusal::Unknown)?;
        let len = instruction.len().to_const() as usize;
        let bytes = code.get(..len).ok_or(Refusal::Unknown)?;
        Ok(Step { instruction, bytes, address })
    }

    fn opcode(&self) -> Opcode {
        self.instruction.opcode()
    }

    fn end(&self) -> u64 {
        self.address + self.bytes.len() as u64
    }

    /// Where a jump or call leads, as far as it says so itself.
    fn target(&self) -> Option<u64> {
        if !is_branch(self.opcode()) {
            return None;
        }
        let step = match self.instruction.operand(0) {
            Operand::ImmediateI8 { imm } => i64::from(imm),
            Operand::ImmediateI32 { imm } => i64::from(imm),
            _ => return None,
        };
        Some(self.end().wrapping_add(step as u64))
    }

    /// The distance that an operand in memory has from the instruction's end.
    fn relative(&self) -> Option<i32> {
        (0..self.instruction.operand_count()).find_map(|index| {
            match self.instruction.operand(index) {
                Operand::Disp { base: RegSpec::RIP, disp } => Some(disp),
                Operand::MemDeref { base: RegSpec::RIP } => Some(0),
                Operand::DispMasked { base: RegSpec::RIP, disp, .. } => Some(disp),
                Operand::MemDerefMasked { base: RegSpec::RIP, .. } => Some(0),
                _ => None,
            }
        })
    }

    /// Where in the bytes that distance stands: at the end, before an immediate operand.
    fn relative_at(&self, relative: i32) -> Result<usize, Refusal> {
        let places = [0, 1, 2, 4].into_iter().filter_map(|behind| {
            let at = self.bytes.len().checked_sub(4 + behind)?;
            (self.bytes[at..at + 4] == relative.to_le_bytes()).then_some(at)
        });
        // Another distance there must be another distance, and nothing else.
        let tells = |at: &usize| {
            let mut other = [0; 16];
            other[..self.bytes.len()].copy_from_slice(self.bytes);
            let probe = relative ^ 0x0155_5500;
            other[*at..*at + 4].copy_from_slice(&probe.to_le_bytes());
            Step::decode(&other[..self.bytes.len()], self.address).is_ok_and(|step| {
                step.relative() == Some(probe)
                    && step.bytes.len() == self.bytes.len()
                    && step.opcode() == self.opcode()
            })
        };
        places.into_iter().find(tells).ok_or(Refusal::Unknown)
    }
}

fn is_branch(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::JMP | Opcode::CALL | Opcode::XBEGIN | Opcode::JRCXZ)
        || matches!(opcode, Opcode::LOOP | Opcode::LOOPZ | Opcode::LOOPNZ)
        || condition(opcode).is_some()
}

/// The low four bits that a conditional jump's opcode ends with.
fn condition(opcode: Opcode) -> Option<u8> {
    Some(match opcode {
        Opcode::JO => 0,
        Opcode::JNO => 1,
        Opcode::JB => 2,
        Opcode::JNB => 3,
        Opcode::JZ => 4,
        Opcode::JNZ => 5,
        Opcode::JNA => 6,
        Opcode::JA => 7,
        Opcode::JS => 8,
        Opcode::JNS => 9,
        Opcode::JP => 10,
        Opcode::JNP => 11,
        Opcode::JL => 12,
        Opcode::JGE => 13,
        Opcode::JLE => 14,
        Opcode::JG => 15,
        _ => return None,
    })
}

/// A trampoline under construction.
struct Writer {
    code: [u8; MAX_TRAMPOLINE_BYTES],
    len: usize,
    at: u64,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let to = self.len + bytes.len();
        self.code.get_mut(self.len..to).ok_or(Refusal::Unknown)?.copy_from_slice(bytes);
        self.len = to;
        Ok(())
    }

    /// Where an instruction of so many bytes would end.
    fn end_of(&self, bytes: usize) -> u64 {
        self.at + (self.len + bytes) as u64
    }

    fn jump(&mut self, to: u64) -> Result<(), Refusal> {
        let step = distance(self.end_of(5), to)?;
        self.put(&[0xe9])?;
        self.put(&step.to_le_bytes())
    }

    /// Makes an instruction do here what it does where it stands. True: control does not go on
    /// behind it.
    fn move_here(&mut self, step: &Step<'_>) -> Result<bool, Refusal> {
        if let Some(to) = step.target() {
            return self.move_branch(step, to);
        }
        match step.opcode() {
            Opcode::CALL | Opcode::CALLF => return Err(Refusal::Call),
            Opcode::JMPF | Opcode::INT | Opcode::SYSCALL => return Err(Refusal::Jump),
            _ => {}
        }
        if let Some(relative) = step.relative() {
            let at = self.len + step.relative_at(relative)?;
            let to = step.end().wrapping_add(relative as i64 as u64);
            let moved = distance(self.end_of(step.bytes.len()), to)?;
            self.put(step.bytes)?;
            self.code[at..at + 4].copy_from_slice(&moved.to_le_bytes());
        } else {
            self.put(step.bytes)?;
        }
        Ok(matches!(step.opcode(), Opcode::JMP | Opcode::RETURN | Opcode::UD2))
    }

    fn move_branch(&mut self, step: &Step<'_>, to: u64) -> Result<bool, Refusal> {
        match step.opcode() {
            Opcode::JMP => self.jump(to).map(|()| true),
            Opcode::CALL => Err(Refusal::Call),
            opcode => {
                let condition = condition(opcode).ok_or(Refusal::Jump)?;
                let step = distance(self.end_of(6), to)?;
                self.put(&[0x0f, 0x80 | condition])?;
                self.put(&step.to_le_bytes())?;
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests;
