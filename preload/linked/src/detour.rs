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
//! body leads into the bytes that are replaced, and where an instruction is not understood. Not
//! looked for are jumps from other functions into the middle of this one, and such by a table:
//! compilers make them only into the far parts of one and the same function.

use crate::instruction::{Flow, Instruction, decode};
use core::fmt;

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
    /// A call by a register or memory stands where the jump would.
    Call,
    /// A jump that cannot be moved stands where the jump would.
    Jump,
    /// A jump leads into what would be replaced.
    Entered,
    /// What it refers to is too far from the trampoline.
    Far,
    /// In memory it is not what its file says.
    Changed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Refusal::Short => "it is too short for a jump",
            Refusal::Unknown => "it has an instruction that the tracer does not know",
            Refusal::Call => "it begins with a call by a pointer",
            Refusal::Jump => "it begins with a jump that cannot be moved",
            Refusal::Entered => "it jumps back to its first instructions",
            Refusal::Far => "no room was found near it",
            Refusal::Changed => "somebody else has changed it",
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
        if step.target().is_some_and(|to| (address..replaced.end).contains(&to)) {
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
        let instruction = decode(code).ok_or(Refusal::Unknown)?;
        Ok(Step { instruction, bytes: &code[..instruction.bytes], address })
    }

    /// What stands so far from its end.
    fn behind(&self, distance: i32) -> u64 {
        let end = self.address + self.bytes.len() as u64;
        end.wrapping_add_signed(distance.into())
    }

    /// Where a jump leads, as far as it says so itself.
    fn target(&self) -> Option<u64> {
        match self.instruction.flow {
            Flow::Jump(step) | Flow::JumpIf(_, step) | Flow::Loop(step) => Some(self.behind(step)),
            Flow::On | Flow::Call(_) | Flow::CallAway | Flow::Away => None,
        }
    }
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

    /// A call that comes back to where it would have come back to: unwinders know that place.
    fn call(&mut self, step: &Step<'_>, to: u64) -> Result<(), Refusal> {
        // push qword ptr [rip + 5], which lies behind the jump.
        self.put(&[0xff, 0x35, 5, 0, 0, 0])?;
        self.jump(to)?;
        self.put(&step.behind(0).to_le_bytes())
    }

    /// Makes an instruction do here what it does where it stands. True: control does not go on
    /// behind it.
    fn move_here(&mut self, step: &Step<'_>) -> Result<bool, Refusal> {
        match step.instruction.flow {
            Flow::Call(by) => return self.call(step, step.behind(by)).map(|()| true),
            Flow::CallAway => return Err(Refusal::Call),
            Flow::Loop(_) => return Err(Refusal::Jump),
            Flow::Jump(by) => return self.jump(step.behind(by)).map(|()| true),
            Flow::JumpIf(condition, by) => {
                let moved = distance(self.end_of(6), step.behind(by))?;
                self.put(&[0x0f, 0x80 | condition])?;
                self.put(&moved.to_le_bytes())?;
                return Ok(false);
            }
            Flow::On | Flow::Away => {}
        }
        let start = self.len;
        self.put(step.bytes)?;
        if let Some(at) = step.instruction.relative_at {
            let mut relative = [0; 4];
            relative.copy_from_slice(&step.bytes[at..at + 4]);
            let to = step.behind(i32::from_le_bytes(relative));
            let moved = distance(self.end_of(0), to)?;
            self.code[start + at..start + at + 4].copy_from_slice(&moved.to_le_bytes());
        }
        Ok(step.instruction.flow == Flow::Away)
    }
}

#[cfg(test)]
mod tests;
