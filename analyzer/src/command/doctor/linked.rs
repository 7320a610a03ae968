//! Allocators that are linked into a program: what the tracer will do with them at its start.

use super::Finding;
use fragtrace_linked::elf::Elf;
use fragtrace_linked::{Allocator, Found, detour, find};
use std::fs;
use std::path::{Path, PathBuf};

/// About as far as the tracer's own code will be from what it hooks.
const DISTANCE_BYTES: u64 = 1 << 30;

const WRAP: &str = "wrap it, and it tells the tracer itself: #[global_allocator] static A: \
                    fragtrace_alloc::Traced<…> (docs/allocators.md); or build without it, and \
                    preload it beside the tracer: LD_PRELOAD=libjemalloc.so.2 fragtrace record ...";

/// What is found in a program's file; nothing where no allocator's functions are.
pub fn check(program: &Path) -> Vec<Finding> {
    let Ok(bytes) = fs::read(program) else { return Vec::new() };
    let Some(file) = Elf::read(&bytes) else { return Vec::new() };
    let apart = match file.build_id() {
        Some(id) if !file.has_own_symbols() => fs::read(debug_file(id)).unwrap_or_default(),
        _ => Vec::new(),
    };
    let found = find(Elf::read(&apart).unwrap_or(file), false);
    let allocators = found.allocators().enumerate();
    allocators.filter_map(|(number, allocator)| judge(file, &found, number, allocator)).collect()
}

/// An allocator without symbols: known by its messages only.
pub fn nameless(allocators: &str) -> Finding {
    Finding::warning(
        format!(
            "{allocators} is linked into it, but no symbols tell where its functions are: its \
             blocks are not seen, only its mappings"
        ),
        format!(
            "keep the symbols (Rust: strip = \"debuginfo\" at most; C: no strip, or strip -g), or \
             install them under /usr/lib/debug/.build-id; or {WRAP}"
        ),
    )
}

fn judge(
    file: Elf<'_>,
    found: &Found<'_>,
    number: usize,
    allocator: &Allocator<'_>,
) -> Option<Finding> {
    let entries: Vec<_> = found.entries().filter(|entry| entry.allocator == number).collect();
    if entries.is_empty() {
        return None;
    }
    let name = format!(
        "{}, linked in as {}{}",
        allocator.names.allocator,
        String::from_utf8_lossy(allocator.prefix),
        allocator.names.shown
    );
    if cfg!(not(target_arch = "x86_64")) {
        return Some(Finding::warning(
            format!("{name}: not seen, functions are only hooked on x86-64"),
            WRAP,
        ));
    }
    let refused = entries.iter().find_map(|entry| {
        let code = file.code(entry.address).ok_or(detour::Refusal::Short);
        let plan = code.and_then(|code| {
            let near = entry.address.saturating_add(DISTANCE_BYTES);
            detour::plan(code, entry.bytes as usize, entry.address, near)
        });
        plan.err().map(|why| (String::from_utf8_lossy(entry.name), why))
    });
    Some(match refused {
        Some((function, why)) => Finding::warning(
            format!("{name}: not seen, as {function} cannot be hooked: {why}"),
            WRAP,
        ),
        None => Finding::ok(format!(
            "{name}: the tracer hooks its {} functions at start",
            entries.len()
        )),
    })
}

/// Where distributions put the symbols that they have stripped off.
fn debug_file(build_id: &[u8]) -> PathBuf {
    let digits: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (folder, name) = digits.split_at_checked(2).unwrap_or((&digits, ""));
    PathBuf::from(format!("/usr/lib/debug/.build-id/{folder}/{name}.debug"))
}
