//! Events: what happened to a block, in two to eight bytes.
//!
//! Every event is one little-endian word of 1 to 8 bytes, written with a single 8-byte
//! store. Its lowest byte is never zero, the bytes behind it always are, so a zero byte
//! ends a chunk and a writer that dies leaves either the whole event or none of it.
//!
//! ```text
//! bit  0   2 3  4  5   6        15 16      25|35
//!     ┌─────┬────┬────┬────────────┬────────────┬──────────────────────┐
//!     │len−1│kind│half│ time step  │ size       │ address step, zigzag │  acquire
//!     ├─────┼────┼────┼────────────┼────────────┴──────────────────────┤
//!     │len−1│ 01 │half│ time step  │ address step, zigzag              │  release
//!     └─────┴────┴────┴────────────┴───────────────────────────────────┘
//! kind  01 release   10 acquire, 10-bit size   11 acquire, 20-bit size   00 prefix
//! ```
//!
//! The address step is on top, so that its leading zeros need not be stored: the length
//! follows from one bit scan, without a branch. Steps are taken from the last address in
//! the same half of the address space (bit 45 tells the brk heap from the mmap area),
//! in units of 16 bytes. Whatever does not fit goes before the event as a prefix:
//!
//! ```text
//!     ┌─────┬────┬───────┐
//!     │ 000 │ 00 │ flags │                     zeroed, realloc, again
//!     ├─────┼────┼───────┼────────────────┐
//!     │len−1│ 00 │ which │ value, 1–7 byte│    time, address, size, stack, usable, detail
//!     ├─────┼────┼───────┼────────────────┼─────────────────┐
//!     │ 010 │ 00 │  111  │ length, 2 byte │ a cold event    │
//!     └─────┴────┴───────┴────────────────┴─────────────────┘
//! ```
//!
//! Example: `free` of the block just acquired, 30 units of time later, is
//! `0b0000011110_1_01_001`: length 2, kind 01, half 1, time step 30, address step 0.

use crate::Stamp;

/// Addresses are stored in units of 2⁴ bytes, the alignment of malloc on 64 bit.
pub const ADDRESS_SHIFT: u32 = 4;
/// The bit of an address that chooses the base its step is taken from.
pub const HALF_BIT: u32 = 45;
/// Time steps below 2¹⁰ need no prefix.
pub const TIME_STEP_BITS: u32 = 10;
/// Sizes below 2¹⁰ take the short form.
pub const SMALL_SIZE_BITS: u32 = 10;
/// Sizes below 2²⁰ need no prefix.
pub const MEDIUM_SIZE_BITS: u32 = 20;
/// The longest word, and the room a writer needs behind its cursor.
pub const MAX_WORD_BYTES: usize = 8;
/// The longest payload of a cold event.
pub const MAX_COLD_BYTES: usize = 1024;
/// The head of a cold event: its tag and its length.
pub const COLD_HEAD_BYTES: usize = 3;

const KIND_RELEASE: u64 = 1;
const KIND_ACQUIRE_SMALL: u64 = 2;
const KIND_ACQUIRE_MEDIUM: u64 = 3;
const VALUE_BITS: u32 = 16;

/// One packed word: `len` bytes of `bits`, the rest of `bits` zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// The word, to be stored whole.
    pub bits: u64,
    /// By how much the cursor moves, 1 to 8.
    pub len: u64,
    /// False: something does not fit, and `bits` means nothing; write prefixes first.
    pub fits: bool,
}

/// Maps small steps of either sign to small numbers: 0, −1, 1, −2 … become 0, 1, 2, 3 …
#[inline(always)]
pub const fn zigzag(step: i64) -> u64 {
    ((step << 1) ^ (step >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline(always)]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Which base an address is stored against.
#[inline(always)]
pub const fn half(address: u64) -> usize {
    (address >> HALF_BIT) as usize & 1
}

/// Bits that `value` needs, below 2⁶³; 0 for 0. One bit scan. Packing is told this, as who packs may
/// know of a faster one.
#[inline(always)]
pub const fn bit_length(value: u64) -> u32 {
    63 - (value << 1 | 1).leading_zeros()
}

/// Steps are below 2⁶³, as addresses have at most 60 bits in units of 16 bytes; one whose bits
/// do not all survive the shift makes a word of more than 64 bits, which does not fit.
#[inline(always)]
const fn finish(low: u64, step: u64, step_bits: u32, shift: u32, fits: bool) -> Word {
    let last_bit = shift - 1 + step_bits;
    // One less than the bytes. Above 7 it spoils the word, which then does not fit anyway.
    let less = (last_bit >> 3) as u64;
    Word { bits: low | (step << shift) | less, len: less + 1, fits: fits && last_bit < 64 }
}

/// Packs the acquisition of a block. `step` is the zigzagged address step, `step_bits` its
/// [`bit_length`].
#[inline(always)]
pub const fn pack_acquire(
    half: usize,
    time_step: u64,
    size: u64,
    step: u64,
    step_bits: u32,
) -> Word {
    let small = size < 1 << SMALL_SIZE_BITS;
    let kind = if small { KIND_ACQUIRE_SMALL } else { KIND_ACQUIRE_MEDIUM };
    let size_bits = if small { SMALL_SIZE_BITS } else { MEDIUM_SIZE_BITS };
    let low = kind << 3 | (half as u64) << 5 | time_step << 6 | size << VALUE_BITS;
    let fits = (time_step >> TIME_STEP_BITS) | (size >> MEDIUM_SIZE_BITS) == 0;
    finish(low, step, step_bits, VALUE_BITS + size_bits, fits)
}

/// Packs the release of a block. `step` is the zigzagged address step, `step_bits` its
/// [`bit_length`].
#[inline(always)]
pub const fn pack_release(half: usize, time_step: u64, step: u64, step_bits: u32) -> Word {
    let low = KIND_RELEASE << 3 | (half as u64) << 5 | time_step << 6;
    finish(low, step, step_bits, VALUE_BITS, time_step >> TIME_STEP_BITS == 0)
}

/// What a prefix carries for the event behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Prefix {
    /// Time that passed, added to the step of the event: for gaps of 2¹⁰ units or more.
    Time = 0,
    /// The base of the next address, absolute, in units of 16 bytes.
    Address = 1,
    /// Size bits from bit 10 on; the event holds the ten below.
    Size = 2,
    /// The stack of this event and of all that follow in the chunk; 0 = none.
    Stack = 3,
    /// Usable size of the block, where the allocator's rule does not give it.
    Usable = 4,
    /// One more byte says what: see [`Detail`].
    Detail = 5,
}

/// Rare facts about one block: the lowest byte of a [`Prefix::Detail`] value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Detail {
    /// The alignment asked for, as a power of two.
    Align = 1,
    /// The lowest four bits of the address, where they are not zero.
    Fine = 2,
    /// The pool that the block came from.
    Pool = 3,
    /// Bytes between the start of the block's own mapping and the block.
    Mapped = 4,
}

const PREFIX_COLD: u64 = 7;
/// The upper five bits of the lowest byte of [`Prefix::Stack`].
const PREFIX_STACK: u64 = (Prefix::Stack as u64) << 5;

/// Packs a prefix; `value` must be below 2⁵⁶.
pub const fn pack_prefix(prefix: Prefix, value: u64) -> Word {
    pack_prefix_of(prefix, value, bit_length(value))
}

/// Packs a prefix; `value` must be below 2⁵⁶, and `bits` its [`bit_length`].
#[inline(always)]
pub const fn pack_prefix_of(prefix: Prefix, value: u64, bits: u32) -> Word {
    let bytes = bits.div_ceil(8) as u64;
    let bytes = if bytes == 0 { 1 } else { bytes };
    Word { bits: bytes | (prefix as u64) << 5 | value << 8, len: bytes + 1, fits: value >> 56 == 0 }
}

/// Packs a detail; `value` must be below 2⁴⁸.
pub const fn pack_detail(detail: Detail, value: u64) -> Word {
    let word = pack_prefix(Prefix::Detail, value << 8 | detail as u64);
    Word { fits: word.fits && value >> 48 == 0, ..word }
}

/// Packs flags, which must not be empty.
pub const fn pack_flags(flags: Flags) -> Word {
    Word { bits: (flags.0 as u64) << 5, len: 1, fits: flags.0 != 0 && flags.0 < 8 }
}

/// The three bytes in front of a cold event's payload.
pub const fn pack_cold_head(payload_len: usize) -> Word {
    Word {
        bits: 2 | PREFIX_COLD << 5 | (payload_len as u64) << 8,
        len: COLD_HEAD_BYTES as u64,
        fits: payload_len != 0 && payload_len <= MAX_COLD_BYTES,
    }
}

/// How a block came or went, where it is not plain malloc and free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// Plain malloc or free.
    pub const NONE: Flags = Flags(0);
    /// The allocator was asked for zeroed memory.
    pub const ZEROED: Flags = Flags(1);
    /// One half of a realloc of a block.
    pub const REALLOC: Flags = Flags(2);
    /// The allocator refused a realloc: the block released before lives on.
    pub const AGAIN: Flags = Flags(4);

    /// The flags of these bits, as a wrapper tells them too.
    pub const fn from_bits(bits: u32) -> Flags {
        Flags(bits as u8 & (Flags::ZEROED.0 | Flags::REALLOC.0 | Flags::AGAIN.0))
    }

    /// The same bits.
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }

    /// Both sets of flags.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A block acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Acquire {
    /// What the program got.
    pub address: u64,
    /// What it asked for, in bytes.
    pub size: u64,
    /// How.
    pub flags: Flags,
    /// Alignment asked for as a power of two; 0 = the allocator's own.
    pub align_log2: u8,
    /// Usable bytes, where the writer had to say; else the allocator's rule holds.
    pub usable: Option<u64>,
    /// For a block with a mapping of its own: bytes from the mapping's start to the block.
    pub mapped_offset: Option<u64>,
    /// Call stack, 0 = not known.
    pub stack: u32,
    /// Pool, 0 = the allocator itself, [`WRAPPED`].
    pub pool: u32,
}

/// The pool of blocks that a wrapper of an allocator told of: they are not those of the allocator
/// whose rule for usable sizes the description has.
pub const WRAPPED: u32 = 1;

/// The first pool that the program itself told of: see [`crate::record::PoolEvent`].
pub const FIRST_POOL: u32 = 2;

/// Set in the address of a block in a pool that the program told of. It lies within memory that a
/// block of the allocator, or a mapping, has at the same address; user space ends below this bit,
/// with five levels of page tables too.
pub const IN_POOL: u64 = 1 << 56;

/// One decoded event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A block came.
    Acquire(Acquire),
    /// A block goes.
    Release {
        /// Its address.
        address: u64,
        /// How.
        flags: Flags,
    },
    /// Something rarer: the bytes of a [`crate::record::Cold`].
    Cold(&'a [u8]),
}

/// What is remembered from event to event; starts afresh in each chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// Stamp of the last event.
    pub stamp: Stamp,
    /// Last address in each half, in units of 16 bytes.
    pub base: [u64; 2],
}

/// Why bytes are no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The word reaches beyond the chunk.
    Truncated,
    /// A prefix, detail or form that this version does not know.
    Unknown,
}

/// An event without anything rare about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// When.
    pub stamp: Stamp,
    /// The block.
    pub address: u64,
    /// What was asked for, of a block that came.
    pub size: u64,
    /// Whether the block came, rather than goes.
    pub acquires: bool,
}

impl Plain {
    /// The event, with the call stack that holds for it.
    #[inline]
    pub fn event(self, stack: u32) -> Event<'static> {
        let Plain { address, size, acquires, .. } = self;
        if acquires {
            Event::Acquire(Acquire { address, size, stack, ..Acquire::default() })
        } else {
            Event::Release { address, flags: Flags::NONE }
        }
    }
}

/// What comes next in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upcoming<'a> {
    /// An event, and its stamp.
    Event(Stamp, Event<'a>),
    /// One that is later than asked for: its stamp.
    Later(Stamp),
    /// Nothing: the end of what was written.
    End,
}

/// How a word is read that has these five bits lowest: its length and its kind.
#[derive(Clone, Copy)]
struct Form {
    /// The bytes that are the word's.
    mask: u64,
    /// Those of its bits, from [`VALUE_BITS`] on, that are the size (its low bits, if a prefix holds
    /// others).
    size: u64,
    /// Where the address step begins.
    step_shift: u32,
}

/// All forms: without branches, and without computing what a word of each length has.
const FORMS: [Form; 32] = {
    let mut forms = [Form { mask: 0, size: 0, step_shift: 0 }; 32];
    let mut low = 0;
    while low < forms.len() {
        let size_bits = match low as u64 >> 3 {
            KIND_ACQUIRE_SMALL => SMALL_SIZE_BITS,
            KIND_ACQUIRE_MEDIUM => MEDIUM_SIZE_BITS,
            _ => 0,
        };
        forms[low] = Form {
            mask: u64::MAX >> (64 - 8 * ((low as u32 & 7) + 1)),
            size: (1 << size_bits) - 1,
            step_shift: VALUE_BITS + size_bits,
        };
        low += 1;
    }
    forms
};

impl Form {
    #[inline(always)]
    fn of(word: u64) -> &'static Form {
        &FORMS[(word & 31) as usize]
    }

    /// Size and address step of a word whose other bytes are zero.
    #[inline(always)]
    fn size_and_step(&self, word: u64) -> (u64, u64) {
        (word >> VALUE_BITS & self.size, unzigzag(word >> self.step_shift) as u64)
    }
}

/// Decodes the events of one chunk. Allocates nothing and never panics.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    state: State,
    stack: u32,
}

impl<'a> Decoder<'a> {
    /// `bytes` from the first event to the end of the chunk.
    pub fn new(bytes: &'a [u8], state: State) -> Self {
        Decoder { bytes, at: 0, state, stack: 0 }
    }

    /// Goes on where another decoder of the same bytes stopped: its offset, state and stack.
    pub fn resume(bytes: &'a [u8], offset: usize, state: State, stack: u32) -> Self {
        Decoder { bytes, at: offset, state, stack }
    }

    /// The call stack that holds for the next acquisition.
    pub fn stack(&self) -> u32 {
        self.stack
    }

    /// Offset of the next event, of the end, or of the damage.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The state behind the last event.
    pub fn state(&self) -> State {
        self.state
    }

    #[inline]
    fn word_at(&self, at: usize) -> u64 {
        match self.bytes.get(at..at + 8) {
            Some(eight) => u64::from_le_bytes(eight.try_into().unwrap_or([0; 8])),
            None => {
                let mut padded = [0u8; 8];
                let rest = self.bytes.get(at..).unwrap_or(&[]);
                padded[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(padded)
            }
        }
    }

    /// The next event and its stamp; `None` at the end of what was written.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none of ours: the rest of the chunk is lost.
    #[inline]
    pub fn next_event(&mut self) -> Result<Option<(Stamp, Event<'a>)>, Malformed> {
        match self.next_until(Stamp::MAX)? {
            Upcoming::Event(stamp, event) => Ok(Some((stamp, event))),
            Upcoming::Later(_) | Upcoming::End => Ok(None),
        }
    }

    /// The next event if its stamp is not above `limit`; a later one is not taken.
    ///
    /// # Errors
    /// [`Malformed`], as in [`Decoder::next_event`].
    #[inline]
    pub fn next_until(&mut self, limit: Stamp) -> Result<Upcoming<'a>, Malformed> {
        let Some(plain) = self.next_plain(limit) else { return self.next_with_prefixes(limit) };
        Ok(Upcoming::Event(plain.stamp, plain.event(self.stack)))
    }

    /// The next event if it is one word, as most are, and its stamp is not above `limit`;
    /// otherwise nothing is taken, and [`Decoder::next_until`] knows more.
    #[inline(always)]
    pub fn next_plain(&mut self, limit: Stamp) -> Option<Plain> {
        let word = self.word_at(self.at);
        let (kind, len) = (word >> 3 & 3, (word & 7) as usize + 1);
        let form = Form::of(word);
        let word = word & form.mask;
        let stamp = self.state.stamp.wrapping_add(word >> 6 & ((1 << TIME_STEP_BITS) - 1));
        if kind == 0 || self.at + len > self.bytes.len() || stamp > limit {
            return None;
        }
        let (size, step) = form.size_and_step(word);
        // In place, field by field: a copy of the state would wait for the stores before it.
        let base = &mut self.state.base[(word >> 5 & 1) as usize];
        *base = base.wrapping_add(step);
        let address = *base << ADDRESS_SHIFT;
        self.state.stamp = stamp;
        self.at += len;
        Some(Plain { stamp, address, size, acquires: kind != KIND_RELEASE })
    }

    /// As [`Decoder::next_plain`], also for an event with another call stack than the one
    /// before: what is most in a trace with stacks.
    #[inline(always)]
    pub fn next_usual(&mut self, limit: Stamp) -> Option<Plain> {
        match self.next_plain(limit) {
            Some(plain) => Some(plain),
            None => self.next_with_stack(limit),
        }
    }

    #[inline]
    fn next_with_stack(&mut self, limit: Stamp) -> Option<Plain> {
        let word = self.word_at(self.at);
        let len = (word & 7) as usize + 1;
        if word & 0xf8 != PREFIX_STACK || len == 1 {
            return None;
        }
        let before = (self.at, self.stack);
        self.at += len;
        self.stack = ((word & Form::of(word).mask) >> 8) as u32;
        let plain = self.next_plain(limit);
        if plain.is_none() {
            (self.at, self.stack) = before;
        }
        plain
    }

    #[inline(never)]
    fn next_with_prefixes(&mut self, limit: Stamp) -> Result<Upcoming<'a>, Malformed> {
        let mut at = self.at;
        let mut state = self.state;
        let mut acquire = Acquire { stack: self.stack, ..Acquire::default() };
        let mut size_high = 0;
        let mut fine = 0;
        loop {
            let word = self.word_at(at);
            if word & 0xff == 0 {
                // Prefixes without their event: the writer died in between.
                return Ok(Upcoming::End);
            }
            let len = (word & 7) as usize + 1;
            if at + len > self.bytes.len() {
                return Err(Malformed::Truncated);
            }
            let word = if len == 8 { word } else { word & ((1 << (len * 8)) - 1) };
            let kind = word >> 3 & 3;
            at += len;
            if kind == 0 {
                let value = word >> 8;
                match (len, word >> 5 & 7) {
                    (1, flags) => acquire.flags = acquire.flags.with(Flags(flags as u8)),
                    (_, 0) => state.stamp = state.stamp.wrapping_add(value),
                    (_, 1) => state.base[half(value << ADDRESS_SHIFT)] = value,
                    (_, 2) => size_high = value << SMALL_SIZE_BITS,
                    (_, 3) => acquire.stack = value as u32,
                    (_, 4) => acquire.usable = Some(value),
                    (_, 5) => match (word >> 8 & 0xff, word >> 16) {
                        (1, value) => acquire.align_log2 = value as u8,
                        (2, value) => fine = value & 15,
                        (3, value) => acquire.pool = value as u32,
                        (4, value) => acquire.mapped_offset = Some(value),
                        _ => return Err(Malformed::Unknown),
                    },
                    (3, PREFIX_COLD) => {
                        let end = at + (value as usize & 0xffff);
                        let payload = self.bytes.get(at..end).ok_or(Malformed::Truncated)?;
                        if state.stamp > limit {
                            return Ok(Upcoming::Later(state.stamp));
                        }
                        self.commit(end, state, acquire.stack);
                        return Ok(Upcoming::Event(state.stamp, Event::Cold(payload)));
                    }
                    _ => return Err(Malformed::Unknown),
                }
                continue;
            }
            state.stamp = state.stamp.wrapping_add(word >> 6 & ((1 << TIME_STEP_BITS) - 1));
            if state.stamp > limit {
                return Ok(Upcoming::Later(state.stamp));
            }
            let (size, step) = Form::of(word).size_and_step(word);
            let side = (word >> 5 & 1) as usize;
            state.base[side] = state.base[side].wrapping_add(step);
            let address = (state.base[side] << ADDRESS_SHIFT) | fine;
            self.commit(at, state, acquire.stack);
            let event = if kind == KIND_RELEASE {
                Event::Release { address, flags: acquire.flags }
            } else {
                Event::Acquire(Acquire { address, size: size_high | size, ..acquire })
            };
            return Ok(Upcoming::Event(state.stamp, event));
        }
    }

    fn commit(&mut self, at: usize, state: State, stack: u32) {
        self.at = at;
        self.state = state;
        self.stack = stack;
    }
}

/// The words that say one event, in order, for a writer that does not look at each bit:
/// prefixes as needed, then the event. The event path packs by itself and comes here when
/// its word does not fit.
#[derive(Debug, Clone, Copy)]
pub struct Encoded {
    words: [Word; Encoded::MAX],
    count: usize,
}

impl Encoded {
    /// Flags, time, address, size, stack, usable, four details, and the event.
    pub const MAX: usize = 11;

    const fn empty() -> Self {
        Encoded { words: [Word { bits: 0, len: 0, fits: true }; Self::MAX], count: 0 }
    }

    fn push(&mut self, word: Word) {
        self.words[self.count] = word;
        self.count += 1;
    }

    /// The words in the order in which they are to be stored.
    pub fn words(&self) -> &[Word] {
        &self.words[..self.count]
    }

    /// Bytes of all words.
    pub fn bytes(&self) -> usize {
        self.words().iter().map(|word| word.len as usize).sum()
    }

    /// Moves the state's time to `stamp` and returns the step left for the event.
    /// A stamp before the last one counts as the last one.
    fn time(&mut self, state: &mut State, stamp: Stamp) -> u64 {
        let step = stamp.saturating_sub(state.stamp);
        state.stamp = state.stamp.max(stamp);
        if step >> TIME_STEP_BITS == 0 {
            return step;
        }
        // A gap of more than 2⁵⁶ units is centuries.
        self.push(pack_prefix(Prefix::Time, step & ((1 << 56) - 1)));
        0
    }

    /// Sets the base when the step is too long for `room` bits; returns the zigzag step.
    fn address(&mut self, state: &mut State, address: u64, room: u32) -> u64 {
        if address & 15 != 0 {
            self.push(pack_detail(Detail::Fine, address & 15));
        }
        let units = address >> ADDRESS_SHIFT;
        let base = &mut state.base[half(address)];
        let step = zigzag(units.wrapping_sub(*base) as i64);
        *base = units;
        if bit_length(step) <= room {
            return step;
        }
        self.push(pack_prefix(Prefix::Address, units & ((1 << 56) - 1)));
        0
    }

    /// An acquisition; `stack_known` says that the chunk's current stack is already right.
    pub fn acquire(state: &mut State, stamp: Stamp, block: &Acquire, stack_known: bool) -> Self {
        let mut out = Self::empty();
        let time_step = out.time(state, stamp);
        if !block.flags.is_empty() {
            out.push(pack_flags(block.flags));
        }
        if !stack_known {
            out.push(pack_prefix(Prefix::Stack, block.stack as u64));
        }
        if block.align_log2 != 0 {
            out.push(pack_detail(Detail::Align, block.align_log2 as u64));
        }
        if let Some(usable) = block.usable {
            // No address space has as much.
            out.push(pack_prefix(Prefix::Usable, usable.min((1 << 56) - 1)));
        }
        if let Some(offset) = block.mapped_offset {
            out.push(pack_detail(Detail::Mapped, offset));
        }
        if block.pool != 0 {
            out.push(pack_detail(Detail::Pool, block.pool as u64));
        }
        let mut size = block.size;
        if size >> MEDIUM_SIZE_BITS != 0 {
            out.push(pack_prefix(Prefix::Size, size >> SMALL_SIZE_BITS));
            size &= (1 << SMALL_SIZE_BITS) - 1;
        }
        let step = out.address(state, block.address, 64 - VALUE_BITS - MEDIUM_SIZE_BITS);
        out.push(pack_acquire(half(block.address), time_step, size, step, bit_length(step)));
        out
    }

    /// A release.
    pub fn release(state: &mut State, stamp: Stamp, address: u64, flags: Flags) -> Self {
        let mut out = Self::empty();
        let time_step = out.time(state, stamp);
        if !flags.is_empty() {
            out.push(pack_flags(flags));
        }
        let step = out.address(state, address, 64 - VALUE_BITS);
        out.push(pack_release(half(address), time_step, step, bit_length(step)));
        out
    }

    /// The words in front of a cold event's payload.
    pub fn cold(state: &mut State, stamp: Stamp, payload_len: usize) -> Self {
        let mut out = Self::empty();
        let step = out.time(state, stamp);
        if step != 0 {
            out.push(pack_prefix(Prefix::Time, step));
        }
        out.push(pack_cold_head(payload_len));
        out
    }
}
