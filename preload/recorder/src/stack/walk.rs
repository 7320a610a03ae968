//! Walking a stack, and numbering its frames.

use super::bounds::Words;
use super::last::{FRAMES, Known, Last, flag};
use super::rules::{self, CODE_END, Rule};
use super::{modules, table};
use fragtrace_format::stack::{Frame, Root};

/// Frames that a walk goes at most.
const MAX_FRAMES: usize = 256;
/// Frames that are dropped at the root when a stack has more.
const DROPPED: usize = 64;
/// Frames that a stack keeps when the table is nearly full.
const KEPT_WHEN_SCARCE: usize = 4;

/// Where the kernel saves registers, from the stack pointer at a handler's return on
/// (`struct rt_sigframe` without its first word; x86-64 ABI of Linux, asm/sigcontext.h).
const SAVED_RBP: u64 = 120;
const SAVED_RSP: u64 = 160;
const SAVED_RIP: u64 = 168;

enum Step {
    Caller(Known),
    End(Root),
}

/// Goes from a frame to its caller's.
#[inline(always)]
fn step(from: &mut Known, words: &mut Words, generation: u32) -> Step {
    const UNKNOWN: Step = Step::End(Root::Unknown);
    let interrupted = from.flags & flag::INTERRUPTED != 0;
    // A return address may be that of the next function: the call is in front of it.
    let pc = if interrupted { from.ip } else { from.ip.wrapping_sub(1) };
    let mut flags = 0;
    let mut sp_slot = 0;
    let (cfa, bp_slot) = match rules::at(pc, generation) {
        Rule::Sp { cfa, bp } => {
            let cfa = from.sp.wrapping_add(cfa);
            (cfa, if bp == 0 { 0 } else { cfa.wrapping_sub(bp) })
        }
        Rule::Bp { cfa, bp } => {
            from.flags |= flag::USES_BP;
            let cfa = from.bp.wrapping_add(cfa);
            (cfa, if bp == 0 { 0 } else { cfa.wrapping_sub(bp) })
        }
        Rule::Realigned { below } => {
            from.flags |= flag::USES_BP;
            flags |= flag::SP_READ;
            sp_slot = from.bp.wrapping_sub(below);
            let Some(cfa) = words.at(sp_slot) else { return UNKNOWN };
            (cfa, from.bp)
        }
        Rule::Signal => {
            flags |= flag::SP_READ | flag::BY_KERNEL | flag::INTERRUPTED;
            sp_slot = from.sp.wrapping_add(SAVED_RSP);
            let Some(cfa) = words.at(sp_slot) else { return UNKNOWN };
            (cfa, from.sp.wrapping_add(SAVED_RBP))
        }
        Rule::Begin => return Step::End(Root::Begin),
        Rule::Unknown => return UNKNOWN,
    };
    let by_kernel = flags & flag::BY_KERNEL != 0;
    // Frames lie above those that they called; only a handler may run on a stack of its own.
    if cfa <= from.sp && !by_kernel {
        return UNKNOWN;
    }
    let ip_slot = if by_kernel { from.sp.wrapping_add(SAVED_RIP) } else { cfa.wrapping_sub(8) };
    let Some(ip) = words.at(ip_slot) else { return UNKNOWN };
    if ip == 0 {
        // What starts threads without unwind data puts a zero there.
        return Step::End(Root::Begin);
    }
    let mut bp = from.bp;
    if bp_slot != 0 {
        flags |= flag::BP_READ;
        let Some(saved) = words.at(bp_slot) else { return UNKNOWN };
        bp = saved;
    }
    let mut from_cfa = |slot: u64| {
        let offset = slot.wrapping_sub(cfa) as i64;
        i32::try_from(offset).unwrap_or_else(|_| {
            flags |= flag::OPAQUE;
            0
        })
    };
    let bp_at = if bp_slot == 0 { 0 } else { from_cfa(bp_slot) };
    let sp_at = if sp_slot == 0 { 0 } else { from_cfa(sp_slot) };
    Step::Caller(Known { ip, sp: cfa, bp, number: 0, flags, bp_at, sp_at })
}

/// The number of the stack of a call made at `sp`, where its return address is.
#[inline]
pub(super) fn number(last: &mut Last, sp: u64, bp: u64, depth: u32) -> u32 {
    let generation = modules::generation();
    if last.generation != generation {
        last.clear();
        last.generation = generation;
    }
    let mut words = Words::new(&mut last.own, sp);
    // SAFETY: a live stack pointer, and the caller's return address is there.
    let ip = unsafe { (sp as *const u64).read_volatile() };
    let first = Known { ip, sp: sp + 8, bp, ..Known::default() };
    walk(last, &mut words, first, generation);
    trim(last);
    last.id = number_frames(last, depth);
    let id = last.id;
    if !words.all_own {
        // Another stack may be unmapped any time: nothing of it is looked at again.
        last.clear();
    }
    id
}

#[inline(always)]
fn walk(last: &mut Last, words: &mut Words, first: Known, generation: u32) {
    let count = last.count as usize;
    // Known frames that the walk may still come to; new ones stand behind all known ones.
    let mut left = if words.all_own { count } else { 0 };
    let mut new = 0;
    let mut base = count;
    let mut at = first;
    let (kept, root) = loop {
        while left > 0 && last.frames[left - 1].sp < at.sp {
            left -= 1;
        }
        if left > 0 && last.frames[left - 1].is_at(&at) {
            match last.holding(left) {
                Ok(()) => break (left, last.root),
                Err(fewer) => left = fewer,
            }
        }
        if new == MAX_FRAMES {
            break (0, Root::Depth);
        }
        if base + new == FRAMES {
            last.frames.copy_within(base..base + new, 0);
            (left, base, last.count) = (0, 0, 0);
        }
        let stepped = step(&mut at, words, generation);
        last.frames[base + new] = at;
        new += 1;
        match stepped {
            Step::Caller(caller) => at = caller,
            Step::End(root) => break (0, root),
        }
    };
    last.replace(kept, new, &at);
    last.root = root;
}

/// Keeps room for the next walk.
#[inline(always)]
fn trim(last: &mut Last) {
    let count = last.count as usize;
    if count > MAX_FRAMES {
        last.drop_outer(count - MAX_FRAMES + DROPPED);
    }
}

/// How many of `count` frames are left out at the root, so that at most `depth` remain. By
/// steps, so that stacks a few frames apart have the same root, and share their frames.
fn cut(count: u32, depth: u32) -> u32 {
    count.saturating_sub(depth).next_multiple_of((depth / 4).max(1))
}

/// Gives numbers to the frames that have none; the number of the innermost one.
#[inline(always)]
fn number_frames(last: &mut Last, depth: u32) -> u32 {
    let cut = cut(last.count, depth);
    if last.cut != cut {
        (last.cut, last.numbered) = (cut, 0);
    }
    let count = last.count as usize;
    let first = cut as usize;
    let may_grow = !table::is_scarce();
    let root = if cut > 0 { Root::Depth } else { last.root };
    let from = first.max(last.numbered as usize);
    for index in from..count {
        let caller = if index == first { 0 } else { last.frames[index - 1].number };
        let known = &mut last.frames[index];
        known.number = table::number(&frame(known, caller, root), may_grow);
        if known.number == 0 {
            last.numbered = index as u32;
            return number_few(last, first);
        }
    }
    last.numbered = last.count;
    last.frames[count - 1].number
}

/// The frame as the table has it. Only one without a caller says why.
#[inline(always)]
fn frame(known: &Known, caller: u32, root: Root) -> Frame {
    let root = if caller == 0 { root } else { Root::Begin };
    let interrupted = known.flags & flag::INTERRUPTED != 0;
    let address = known.ip & (CODE_END - 1);
    Frame { address: address.max(1), caller, root, interrupted }
}

/// The number of the stack that has only the innermost frames, for want of room.
#[cold]
fn number_few(last: &Last, first: usize) -> u32 {
    let count = last.count as usize;
    let mut number = 0;
    for known in &last.frames[count.saturating_sub(KEPT_WHEN_SCARCE).max(first)..count] {
        number = table::number(&frame(known, number, Root::Full), true);
        if number == 0 {
            return 0;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_cut_by_steps() {
        assert_eq!(cut(64, 64), 0);
        assert_eq!(cut(65, 64), 16);
        assert_eq!(cut(80, 64), 16);
        assert_eq!(cut(81, 64), 32);
        assert_eq!(cut(3, 1), 2);
        assert_eq!(cut(0, 64), 0);
        for count in 0..300 {
            for depth in 1..=256 {
                assert!(count - cut(count, depth) <= depth);
                assert!(count <= depth || count - cut(count, depth) > depth - (depth / 4).max(1));
            }
        }
    }
}
