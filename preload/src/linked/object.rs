//! One object: its allocators found, their functions' jumps planned and made.

use super::{BY_CLASS, HOOKS, Hook, MAX_HOOKS, NOBODY, Outcome, entry, may_hold};
use crate::elf::Object;
use crate::next::NEXT;
use core::fmt::Write;
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_linked::detour::{self, Detour, JUMP_BYTES, LANDING_PAD};
use fragtrace_linked::elf::Elf;
use fragtrace_linked::{Allocator, Entry, Found, find};
use fragtrace_recorder::{Text, own};

/// Bytes of a stub and its trampoline.
const CELL_BYTES: usize = 128;
/// Where in them the trampoline begins.
const TRAMPOLINE_AT: usize = 32;
const PAGE: usize = 4096;

/// Hooks the allocators of an object.
pub(super) fn hook(object: &Object, outcome: &mut Outcome) {
    let main = object.path().is_empty();
    if !main && !may_hold(object) {
        return;
    }
    let path = if main { c"/proc/self/exe" } else { object.path() };
    own::with_file(path.to_bytes_with_nul(), |bytes| {
        let Some(file) = Elf::read(bytes) else { return };
        let apart = file.build_id().filter(|_| !file.has_own_symbols()).map(debug_file);
        let read = apart.and_then(|path| {
            own::with_file(path.c_str(), |bytes| {
                Elf::read(bytes).map(|symbols| hook_all(object, file, symbols, outcome))
            })
        });
        if read.flatten().is_none() {
            hook_all(object, file, file, outcome);
        }
    });
}

/// `symbols`: the file that names the functions, maybe apart from the one that holds them.
#[inline(never)]
fn hook_all(object: &Object, file: Elf<'_>, symbols: Elf<'_>, outcome: &mut Outcome) {
    let found = find(symbols, !object.path().is_empty());
    for (number, allocator) in found.allocators().enumerate() {
        hook_allocator(object, file, &found, (number, allocator), outcome);
    }
}

/// Where distributions put the symbols that they have stripped off.
fn debug_file(build_id: &[u8]) -> Text<160> {
    let mut path = Text::new();
    path.push(b"/usr/lib/debug/.build-id/");
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
    for (index, byte) in build_id.iter().enumerate() {
        path.push(&[digit(byte >> 4), digit(*byte)]);
        if index == 0 {
            path.push(b"/");
        }
    }
    path.push(b".debug");
    path
}

#[inline(never)]
fn hook_allocator(
    object: &Object,
    file: Elf<'_>,
    found: &Found<'_>,
    (number, allocator): (usize, &Allocator<'_>),
    outcome: &mut Outcome,
) {
    let entries = || found.entries().filter(|entry| entry.allocator == number);
    let count = entries().count();
    if count == 0 {
        return;
    }
    let library = text(object.path().to_bytes());
    let known = super::Found {
        names: allocator.names,
        prefix: text(allocator.prefix),
        library: library.rsplit('/').next().filter(|_| !library.is_empty()),
    };
    if outcome.hooks + count > MAX_HOOKS {
        return outcome.refuse(&known, format_args!("too many functions"));
    }
    if !own::is_alone() {
        let why = format_args!("it already has threads, and hooks are only made before");
        return outcome.refuse(&known, why);
    }
    let island_bytes = (count * CELL_BYTES).next_multiple_of(PAGE);
    let Some(island) = own::map_near(&object.range(), island_bytes) else {
        return outcome.refuse(&known, format_args!("no room was found near it"));
    };
    let hooks = &HOOKS[outcome.hooks..outcome.hooks + count];
    let asked = allocator.usable_size.map(|at| object.base() + at as usize);
    let primary = object.path().is_empty() && !outcome.main;
    // The library that malloc is from has the same allocator behind its other names.
    let is_mallocs = !primary && object.contains(NEXT.malloc.load(Relaxed) as usize);
    let by_class = primary || is_mallocs;
    let ask = if by_class { BY_CLASS } else { asked.unwrap_or(NOBODY) };
    for ((entry, hook), cell) in entries().zip(hooks).zip((island..).step_by(CELL_BYTES)) {
        hook.usable_size.store(ask, Relaxed);
        hook.is_mallocs.store(is_mallocs, Relaxed);
        let is_it = |alone: &&str| entry.call.name.is(alone.as_bytes());
        hook.is_alone.store(allocator.names.alone.iter().any(is_it), Relaxed);
        match plan(object, file, entry, (cell + TRAMPOLINE_AT) as u64) {
            Ok(detour) if prepare(hook, cell, entry, &detour) => {}
            result => {
                own::release(island, island_bytes);
                let why = result.err().unwrap_or(detour::Refusal::Far);
                let function = text(entry.name);
                let why = format_args!("{function} cannot be hooked, as {why}");
                return outcome.refuse(&known, why);
            }
        }
    }
    if own::seal(island, island_bytes).is_err() {
        let why = format_args!("this system allows no new code in a process");
        return outcome.refuse(&known, why);
    }
    if let Err(error) = make_jumps(hooks) {
        own::release(island, island_bytes);
        let why = format_args!("its code cannot be changed (/proc/self/mem: error {error})");
        return outcome.refuse(&known, why);
    }
    for (entry, hook) in entries().zip(hooks) {
        // Who calls it by the loader's way has been heard already.
        NEXT.rebind(object.base() + entry.address as usize, hook.trampoline.load(Relaxed));
    }
    outcome.hooks += count;
    if primary {
        outcome.main = true;
        outcome.code = allocator
            .code
            .map(|(start, end)| object.base() + start as usize..object.base() + end as usize);
        // SAFETY: a function of that name and allocator is of this type.
        outcome.usable_size = asked.map(|at| unsafe { core::mem::transmute(at) });
        let statistics = allocator.names.statistics.zip(allocator.statistics);
        outcome.statistics = statistics.map(|(which, at)| (which, object.base() + at as usize));
        let _ = write!(outcome.allocator, "{known}");
    }
}

fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or("?")
}

/// Plans the jump of a function that is in memory as its file says.
fn plan(
    object: &Object,
    file: Elf<'_>,
    entry: &Entry<'_>,
    trampoline: u64,
) -> Result<Detour, detour::Refusal> {
    let code = file.code(entry.address).ok_or(detour::Refusal::Short)?;
    let address = object.base() + entry.address as usize;
    let planned = detour::plan(code, entry.bytes as usize, address as u64, trampoline)?;
    // SAFETY: the loader mapped what the file says is loaded there, for reading.
    let loaded = unsafe { core::slice::from_raw_parts(planned.at as *const u8, JUMP_BYTES) };
    if loaded == planned.replaced { Ok(planned) } else { Err(detour::Refusal::Changed) }
}

/// Writes stub and trampoline, and keeps what the jump will be. False: it is too far.
fn prepare(hook: &Hook, cell: usize, entry: &Entry<'_>, detour: &Detour) -> bool {
    let Some(jump) = detour.jump_to(cell as u64) else { return false };
    let mut stub = [0u8; 28];
    stub[..4].copy_from_slice(&LANDING_PAD);
    // mov r11, imm64; jmp [rip + 0]; and where to.
    stub[4..6].copy_from_slice(&[0x49, 0xbb]);
    stub[6..14].copy_from_slice(&(&raw const *hook as u64).to_le_bytes());
    stub[14..20].copy_from_slice(&[0xff, 0x25, 0, 0, 0, 0]);
    let way_in = entry::way_in(hook, entry.call) as *const () as u64;
    stub[20..].copy_from_slice(&way_in.to_le_bytes());
    // SAFETY: the island was mapped for writing with room for this cell, and is ours alone.
    let memory = unsafe { core::slice::from_raw_parts_mut(cell as *mut u8, CELL_BYTES) };
    memory[..stub.len()].copy_from_slice(&stub);
    let trampoline = detour.trampoline();
    memory[TRAMPOLINE_AT..TRAMPOLINE_AT + trampoline.len()].copy_from_slice(trampoline);
    hook.trampoline.store(cell + TRAMPOLINE_AT, Relaxed);
    hook.call.store((&raw const *entry.call).cast_mut(), Relaxed);
    hook.site.store(detour.at as usize, Relaxed);
    hook.jump.store(word(jump), Relaxed);
    hook.replaced.store(word(detour.replaced), Relaxed);
    true
}

fn word(bytes: [u8; JUMP_BYTES]) -> u64 {
    let mut word = [0; 8];
    word[..JUMP_BYTES].copy_from_slice(&bytes);
    u64::from_le_bytes(word)
}

/// Makes the jumps of all these functions, or of none.
fn make_jumps(hooks: &[Hook]) -> Result<(), i32> {
    let memory = own::Memory::open()?;
    let write = |hook: &Hook, bytes: u64| {
        let bytes = bytes.to_le_bytes();
        // SAFETY: this is the only thread, and it is not amid the bytes that the jump replaces: a
        // call among them returns behind them. Whole instructions give way to a jump to their copy.
        unsafe { memory.write(hook.site.load(Relaxed), &bytes[..JUMP_BYTES]) }
    };
    for (done, hook) in hooks.iter().enumerate() {
        if let Err(error) = write(hook, hook.jump.load(Relaxed)) {
            for hook in &hooks[..done] {
                let _ = write(hook, hook.replaced.load(Relaxed));
            }
            return Err(error);
        }
    }
    Ok(())
}
