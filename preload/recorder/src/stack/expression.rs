//! DWARF expressions in unwind data, worked out for registers that are not known yet.
//!
//! Compilers and linkers write few of them: the frame of a function that realigned its stack
//! (`*(rbp - 8)`), and the stubs of a procedure linkage table, whose frame depends on the
//! instruction. All come to one of the forms of [`Value`], so that rules stay small and no
//! expression is worked out while a stack is walked.

use super::bytes::Reader;

/// Registers by their DWARF numbers on x86-64 (System V ABI, table 3.36).
pub(super) const RBP: u64 = 6;
pub(super) const RSP: u64 = 7;
pub(super) const RIP: u64 = 16;

/// What an expression comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// A number.
    Number(i64),
    /// The stack pointer and so many bytes.
    Sp(i64),
    /// The frame pointer and so many bytes.
    Bp(i64),
    /// The word at so many bytes from the frame pointer.
    AtBp(i64),
}

impl Value {
    fn plus(self, other: Value) -> Option<Value> {
        Some(match (self, other) {
            (Value::Number(a), Value::Number(b)) => Value::Number(a.wrapping_add(b)),
            (Value::Sp(a), Value::Number(b)) | (Value::Number(b), Value::Sp(a)) => {
                Value::Sp(a.wrapping_add(b))
            }
            (Value::Bp(a), Value::Number(b)) | (Value::Number(b), Value::Bp(a)) => {
                Value::Bp(a.wrapping_add(b))
            }
            _ => return None,
        })
    }

    fn number(self) -> Option<i64> {
        if let Value::Number(number) = self { Some(number) } else { None }
    }
}

struct Stack {
    values: [Value; 8],
    count: usize,
}

impl Stack {
    fn push(&mut self, value: Value) -> Option<()> {
        *self.values.get_mut(self.count)? = value;
        self.count += 1;
        Some(())
    }

    fn pop(&mut self) -> Option<Value> {
        self.count = self.count.checked_sub(1)?;
        Some(self.values[self.count])
    }

    fn pop_two(&mut self) -> Option<(i64, i64)> {
        let second = self.pop()?.number()?;
        Some((self.pop()?.number()?, second))
    }
}

/// What `code` comes to at the instruction `pc`; `None` where that is none of the known forms.
pub(super) fn value(mut code: Reader<'_>, pc: u64) -> Option<Value> {
    let mut stack = Stack { values: [Value::Number(0); 8], count: 0 };
    while !code.is_empty() {
        let op = code.u8()?;
        let value = match op {
            // DW_OP_deref
            0x06 => match stack.pop()? {
                Value::Bp(offset) => Value::AtBp(offset),
                _ => return None,
            },
            // DW_OP_const1u … const8s
            0x08 => Value::Number(code.u8()?.into()),
            0x09 => Value::Number(code.u8()? as i8 as i64),
            0x0a => Value::Number(code.u16()?.into()),
            0x0b => Value::Number(code.u16()? as i16 as i64),
            0x0c => Value::Number(code.u32()?.into()),
            0x0d => Value::Number(code.u32()? as i32 as i64),
            0x0e | 0x0f => Value::Number(code.u64()? as i64),
            0x10 => Value::Number(code.unsigned()? as i64),
            0x11 => Value::Number(code.signed()?),
            // DW_OP_and, minus, or, shl, ge
            0x1a | 0x1c | 0x21 | 0x24 | 0x2a => {
                let (a, b) = stack.pop_two()?;
                Value::Number(match op {
                    0x1a => a & b,
                    0x1c => a.wrapping_sub(b),
                    0x21 => a | b,
                    0x24 => a.checked_shl(u32::try_from(b).ok()?)?,
                    _ => (a >= b) as i64,
                })
            }
            // DW_OP_plus
            0x22 => {
                let second = stack.pop()?;
                stack.pop()?.plus(second)?
            }
            // DW_OP_plus_uconst
            0x23 => {
                let number = Value::Number(code.unsigned()? as i64);
                stack.pop()?.plus(number)?
            }
            // DW_OP_lit0 … lit31
            0x30..=0x4f => Value::Number((op - 0x30).into()),
            // DW_OP_breg0 … breg31
            0x70..=0x8f => {
                let offset = code.signed()?;
                match u64::from(op - 0x70) {
                    RSP => Value::Sp(offset),
                    RBP => Value::Bp(offset),
                    RIP => Value::Number((pc as i64).wrapping_add(offset)),
                    _ => return None,
                }
            }
            _ => return None,
        };
        stack.push(value)?;
    }
    stack.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realigned_frame() {
        // breg6 (rbp) -8; deref: gcc, in a function with locals aligned to 32 bytes.
        assert_eq!(value(Reader::new(&[0x76, 0x78, 0x06], 0), 0), Some(Value::AtBp(-8)));
    }

    #[test]
    fn a_stub_of_the_linkage_table() {
        // What ld writes for .plt: 8 more once the index is pushed, from byte 11 of 16 on.
        let code = [0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
        assert_eq!(value(Reader::new(&code, 0), 0x40_100a), Some(Value::Sp(8)));
        assert_eq!(value(Reader::new(&code, 0), 0x40_100b), Some(Value::Sp(16)));
    }

    #[test]
    fn what_is_not_known_is_nothing() {
        assert_eq!(value(Reader::new(&[], 0), 0), None);
        assert_eq!(value(Reader::new(&[0x22], 0), 0), None);
        assert_eq!(value(Reader::new(&[0x73, 0], 0), 0), None, "rbx");
        assert_eq!(value(Reader::new(&[0x30; 20], 0), 0), None, "too deep");
    }
}
