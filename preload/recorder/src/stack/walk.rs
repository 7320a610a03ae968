//! Walking a stack, and numbering its frames.

use super::bounds::Words;
use super::last::{FRAMES, Known, Last, Way};
use super::modules;
use super::rules::{self, CODE_END, Plain, Rule};
use super::table::{self, Path};
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

/// Why a walk ends: no code says how to go on.
const UNKNOWN: Result<Known, Root> = Err(Root::Unknown);
/// What starts threads without unwind data leaves a zero for a return address.
const BEGIN: Result<Known, Root> = Err(Root::Begin);

/// Goes from a frame to its caller's. Also says whether that went by rbp.
#[inline(always)]
fn step(from: &Known, words: &mut Words, generation: u32) -> (bool, Result<Known, Root>) {
    let interrupted = from.way.has(Way::INTERRUPTED);
    // A return address may be that of the next function: the call is in front of it.
    let pc = from.ip.wrapping_sub(u64::from(!interrupted));
    let rule = rules::at(pc, generation);
    let Some(Plain { by_bp, cfa, bp }) = rule.plain() else {
        let rule = rule.rule();
        let by_bp = matches!(rule, Rule::Realigned { .. });
        return (by_bp, step_unusual(from.sp, from.bp, words, rule));
    };
    let cfa = (if by_bp { from.bp } else { from.sp }).wrapping_add(cfa);
    // Frames lie above those that they called.
    if cfa <= from.sp {
        return (by_bp, UNKNOWN);
    }
    let Some(ip) = words.at(cfa - 8) else { return (by_bp, UNKNOWN) };
    if ip == 0 {
        return (by_bp, BEGIN);
    }
    let mut caller = Known { ip, sp: cfa, bp: from.bp, way: Way::PLAIN, number: 0 };
    if bp != 0 {
        let Some(saved) = words.at(cfa.wrapping_sub(bp)) else { return (by_bp, UNKNOWN) };
        (caller.bp, caller.way) = (saved, Way::PLAIN.bp_read(bp));
    }
    (by_bp, Ok(caller))
}

/// The forms that few frames have.
#[inline(never)]
fn step_unusual(sp: u64, bp: u64, words: &mut Words, rule: Rule) -> Result<Known, Root> {
    let (sp_slot, bp_slot, by_kernel) = match rule {
        Rule::Sp { cfa, bp: saved } => {
            let cfa = sp.wrapping_add(cfa);
            let Some(ip) = words.at(cfa.wrapping_sub(8)) else { return UNKNOWN };
            let known = Known { ip, sp: cfa, bp, way: Way::PLAIN, number: 0 };
            if saved == 0 {
                return Ok(known);
            }
            let Some(bp) = words.at(cfa.wrapping_sub(saved)) else { return UNKNOWN };
            return Ok(Known { bp, way: Way::PLAIN.bp_read(saved), ..known });
        }
        Rule::Realigned { below } => (bp.wrapping_sub(below), bp, false),
        Rule::Signal => (sp.wrapping_add(SAVED_RSP), sp.wrapping_add(SAVED_RBP), true),
        Rule::Begin => return BEGIN,
        Rule::Bp { .. } | Rule::Unknown => return UNKNOWN,
    };
    let (Some(cfa), Some(saved)) = (words.at(sp_slot), words.at(bp_slot)) else { return UNKNOWN };
    // Only a handler may run on a stack of its own.
    if cfa <= sp && !by_kernel {
        return UNKNOWN;
    }
    let ip_slot = if by_kernel { sp_slot + (SAVED_RIP - SAVED_RSP) } else { cfa.wrapping_sub(8) };
    let Some(ip) = words.at(ip_slot) else { return UNKNOWN };
    let way = if by_kernel { Way::INTERRUPTED } else { Way::PLAIN };
    let way = way.sp_read(cfa.wrapping_sub(sp_slot)).bp_read(cfa.wrapping_sub(bp_slot));
    Ok(Known { ip, sp: cfa, bp: saved, way, number: 0 })
}

/// The number of the stack of a call made at `sp`, where its return address `ip` is.
#[inline]
pub(super) fn number(last: &mut Last, ip: u64, sp: u64, bp: u64, depth: u32) -> u32 {
    let generation = modules::generation();
    if last.generation != generation {
        last.clear();
        last.generation = generation;
    }
    let mut words = Words::new(&mut last.own, sp);
    let first = Known { ip, sp: sp + 8, bp, ..Known::default() };
    walk(last, &mut words, first, generation);
    trim(last);
    let id = number_frames(last, depth);
    last.id = id;
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
        let (by_bp, caller) = step(&at, words, generation);
        at.way = at.way.with(if by_bp { Way::USES_BP } else { Way::PLAIN });
        last.frames[base + new] = at;
        new += 1;
        match caller {
            Ok(caller) => at = caller,
            Err(root) => break (0, root),
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
    if count <= depth {
        return 0;
    }
    (count - depth).next_multiple_of((depth / 4).max(1))
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
    let mut path = path_to(&last.frames[first..from], Path::ROOT, |_| {});
    path_to(&last.frames[from..count], path, Path::fetch);
    let mut caller_is_new = false;
    for index in from..count {
        let caller = if index == first { 0 } else { last.frames[index - 1].number };
        let Known { ip, way, .. } = last.frames[index];
        let interrupted = way.has(Way::INTERRUPTED);
        path = path.to(code_address(ip));
        let mut is_new = false;
        let mut ask = || {
            let frame = frame(ip, interrupted, caller, root);
            let given = table::number(&frame, path, caller_is_new, may_grow);
            is_new = given.is_new;
            given.number
        };
        let number = if caller == 0 || interrupted { ask() } else { last.number(ip, caller, ask) };
        caller_is_new = is_new;
        last.frames[index].number = number;
        if number == 0 {
            last.numbered = index as u32;
            return number_few(last, first);
        }
    }
    last.numbered = last.count;
    last.frames[count - 1].number
}

/// The path on which frames follow another one, each step of which is handed to `visit`.
#[inline(always)]
fn path_to(frames: &[Known], from: Path, visit: impl Fn(Path)) -> Path {
    frames.iter().fold(from, |path, known| {
        let path = path.to(code_address(known.ip));
        visit(path);
        path
    })
}

/// The address of code as the table has it.
#[inline(always)]
fn code_address(ip: u64) -> u64 {
    (ip & (CODE_END - 1)).max(1)
}

/// The frame as the table has it. Only one without a caller says why.
#[inline(always)]
fn frame(ip: u64, interrupted: bool, caller: u32, root: Root) -> Frame {
    let root = if caller == 0 { root } else { Root::Begin };
    Frame { address: code_address(ip), caller, root, interrupted }
}

/// The number of the stack that has only the innermost frames, for want of room.
#[cold]
fn number_few(last: &Last, first: usize) -> u32 {
    let count = last.count as usize;
    let (mut number, mut path) = (0, Path::ROOT);
    for known in &last.frames[count.saturating_sub(KEPT_WHEN_SCARCE).max(first)..count] {
        let interrupted = known.way.has(Way::INTERRUPTED);
        path = path.to(code_address(known.ip));
        let frame = frame(known.ip, interrupted, number, Root::Full);
        number = table::number(&frame, path, false, true).number;
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
