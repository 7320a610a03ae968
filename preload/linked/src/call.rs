//! What a function of an allocator does with blocks, as its arguments tell.
//!
//! Arguments are counted from 0; all of them are in registers. The tables in
//! [`names`](crate::names) are made of these, so a new allocator needs no code.

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Returns a new block, or null.
    Acquire,
    /// Writes a new block to where the argument points, and returns 0.
    AcquireInto(u8),
    /// Ends the block in the argument; null is none.
    Release(u8),
    /// Moves or resizes the block in the argument, which may be null: returns the new place.
    /// Null: refused, and the block is as before, unless it was to have no bytes.
    Move(u8),
    /// The same, but null always means that the block is as before.
    MoveOrKeep(u8),
    /// The same, but null always means that the block is gone.
    MoveOrRelease(u8),
    /// Nothing to blocks of the program's; what it does to the allocator's own is that one's business.
    Inside,
    /// Resizes the block in the argument where it stands: returns the bytes that it has then,
    /// fewer than asked for if it was not to be done.
    Resize(u8),
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// An argument.
    Bytes(u8),
    /// The product of two.
    Product(u8, u8),
    /// The length of the text in the block that was returned, with its end.
    Text,
    /// None: the call ends a block.
    None,
}

/// The alignment asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// The allocator's own.
    Usual,
    /// An argument.
    Bytes(u8),
    /// A page.
    Page,
    /// jemalloc's flags: its binary logarithm in the low six bits, zeroed if bit 6 is set.
    Flags(u8),
}

/// A function's name, in place: of a text elsewhere the loader would have to be told where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name([u8; Name::MOST_BYTES]);

impl Name {
    const MOST_BYTES: usize = 36;

    const fn new(name: &str) -> Name {
        let mut bytes = [0; Name::MOST_BYTES];
        // Fails where it is too long, when it is compiled.
        bytes.split_at_mut(name.len()).0.copy_from_slice(name.as_bytes());
        Name(bytes)
    }

    /// Whether it is this.
    pub fn is(&self, name: &[u8]) -> bool {
        self.0.get(..name.len()) == Some(name) && self.0.get(name.len()).is_none_or(|end| *end == 0)
    }
}

/// A function of an allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its name, less the prefix of its allocator.
    pub name: Name,
    /// What it does.
    pub operation: Operation,
    /// What is asked of it.
    pub length: Length,
    /// And how.
    pub alignment: Alignment,
    /// Whether the memory is zeroed.
    pub zeroed: bool,
    /// Whether it may throw: what happens inside it is not all the allocator's business then.
    pub throws: bool,
}

/// The short words of the tables.
impl Call {
    const fn new(name: &str, operation: Operation, length: Length) -> Call {
        let (name, alignment) = (Name::new(name), Alignment::Usual);
        Call { name, operation, length, alignment, zeroed: false, throws: false }
    }

    /// Returns a block of as many bytes as the argument says.
    pub(crate) const fn acquire(name: &str, bytes: u8) -> Call {
        Call::new(name, Operation::Acquire, Length::Bytes(bytes))
    }

    /// Returns a block for so many things of so many bytes.
    pub(crate) const fn acquire_array(name: &str, count: u8, bytes: u8) -> Call {
        Call::new(name, Operation::Acquire, Length::Product(count, bytes))
    }

    /// Returns a copy of a text.
    pub(crate) const fn acquire_text(name: &'static str) -> Call {
        Call::new(name, Operation::Acquire, Length::Text)
    }

    /// posix_memalign, whatever it is called.
    pub(crate) const fn acquire_into(name: &str, into: u8, align: u8, bytes: u8) -> Call {
        Call::new(name, Operation::AcquireInto(into), Length::Bytes(bytes)).aligned(align)
    }

    /// Ends a block.
    pub(crate) const fn release(name: &str, block: u8) -> Call {
        Call::new(name, Operation::Release(block), Length::None)
    }

    /// Makes or ends something of the allocator's that is no block.
    pub(crate) const fn inside(name: &str) -> Call {
        Call::new(name, Operation::Inside, Length::None)
    }

    /// realloc, whatever it is called.
    pub(crate) const fn resize(name: &str, block: u8, bytes: u8) -> Call {
        Call::new(name, Operation::Move(block), Length::Bytes(bytes))
    }

    /// reallocarray, whatever it is called.
    pub(crate) const fn resize_array(name: &str, block: u8, count: u8, bytes: u8) -> Call {
        Call::new(name, Operation::Move(block), Length::Product(count, bytes))
    }

    /// Resizes in place.
    pub(crate) const fn expand(name: &str, block: u8, bytes: u8) -> Call {
        Call::new(name, Operation::Resize(block), Length::Bytes(bytes))
    }

    pub(crate) const fn aligned(self, argument: u8) -> Call {
        Call { alignment: Alignment::Bytes(argument), ..self }
    }

    pub(crate) const fn page_aligned(self) -> Call {
        Call { alignment: Alignment::Page, ..self }
    }

    pub(crate) const fn flags(self, argument: u8) -> Call {
        Call { alignment: Alignment::Flags(argument), ..self }
    }

    /// operator new, whatever it is called.
    pub(crate) const fn acquire_or_throw(name: &str, bytes: u8) -> Call {
        Call { throws: true, ..Call::acquire(name, bytes) }
    }

    pub(crate) const fn zeroed(self) -> Call {
        Call { zeroed: true, ..self }
    }

    /// Of a call that moves a block: with another meaning of null.
    pub(crate) const fn null_means(self, operation: Operation) -> Call {
        Call { operation, ..self }
    }
}
