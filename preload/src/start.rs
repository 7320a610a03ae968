//! Finding the next definitions, and beginning to record.

use crate::elf::{self, Object};
use crate::next::NEXT;
use crate::{glibc, linked, statistics, timed};
use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use fragtrace_linked::names::Statistics;
use fragtrace_recorder::{
    self as recorder, Acquire, AskAllocator, Facilities, Facts, UsableRule, UsableSize,
};

/// What [`MALLOC`] is when malloc is glibc's, so that each block has its size word before it.
pub(crate) const GLIBC: u8 = 1;
/// What it is when malloc is that of another allocator, the main one: what may be used of a block goes
/// by its size, as far as that is known.
pub(crate) const BY_CLASS: u8 = 2;

/// Whose malloc is behind the hooks; 0: it is not known yet, or the executable has an allocator of its own.
pub(crate) static MALLOC: AtomicU8 = AtomicU8::new(0);

/// Where the code of the main allocator lies: the object whose malloc is called, or a part of the
/// executable.
static ALLOCATOR: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Whether the malloc behind the hooks is glibc's, be it the main allocator or the second one.
pub(crate) fn libc_is_glibc() -> bool {
    malloc_is_glibc() || SECOND.load(Ordering::Relaxed) == SECOND_GLIBC
}

const SECOND_GLIBC: u8 = 1;
const SECOND_OTHER: u8 = 2;

/// Not 0: the executable has another allocator, and malloc is only the second one.
static SECOND: AtomicU8 = AtomicU8::new(0);
/// What tells the usable bytes of malloc's blocks then; 0 = nothing.
static SECOND_USABLE: AtomicUsize = AtomicUsize::new(0);

/// A block from malloc, with what is known of it. `None`: malloc's is the main allocator, and
/// the recorder knows.
#[inline]
pub(crate) fn block_of_second(block: usize, size: usize) -> Option<Acquire> {
    match SECOND.load(Ordering::Relaxed) {
        0 => None,
        // SAFETY: glibc's malloc has just returned it.
        SECOND_GLIBC => Some(unsafe { recorder::glibc_block(block, size) }),
        _ => {
            let ask = SECOND_USABLE.load(Ordering::Relaxed);
            // SAFETY: 0, or malloc_usable_size.
            let ask: Option<UsableSize> = unsafe { core::mem::transmute(ask) };
            // SAFETY: the block is live, and of the allocator that is asked.
            let usable = ask.map_or(size, |ask| unsafe { ask(block as *mut c_void) });
            Some(Acquire {
                usable: Some(usable.max(size) as u64),
                ..recorder::bare_block(block, size)
            })
        }
    }
}

/// A `free` that the loader prefers to ours; 0 = there is none.
static FREE_IN_FRONT: AtomicUsize = AtomicUsize::new(0);

/// The `free` of an allocator that stands before us, in the executable or preloaded: where it lacks
/// a function that we offer, its blocks come to us, and must go back to it.
pub(crate) fn free_in_front() -> Option<unsafe extern "C" fn(*mut c_void)> {
    let at = FREE_IN_FRONT.load(Ordering::Relaxed);
    // SAFETY: 0, or a function of this name, which is of this type.
    unsafe { core::mem::transmute(at) }
}

/// Whether the executable has a realloc of its own, which the loader prefers to ours.
static OWN_REALLOC: AtomicBool = AtomicBool::new(false);

/// See [`OWN_REALLOC`].
pub(crate) fn realloc_is_the_programs() -> bool {
    OWN_REALLOC.load(Ordering::Relaxed)
}

/// Whether malloc is musl's own.
static IS_MUSL: AtomicBool = AtomicBool::new(false);

/// See [`IS_MUSL`].
pub(crate) fn malloc_is_musl() -> bool {
    IS_MUSL.load(Ordering::Relaxed)
}

/// Whether code at an address is the allocator's.
pub(crate) fn is_allocators(address: usize) -> bool {
    let [start, end] = &ALLOCATOR;
    (start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed)).contains(&address)
}

/// See [`MALLOC`].
#[inline(always)]
pub(crate) fn malloc_is_glibc() -> bool {
    MALLOC.load(Ordering::Relaxed) == GLIBC
}

const FRESH: u8 = 0;
const RESOLVING: u8 = 1;
const RESOLVED: u8 = 2;
static STATE: AtomicU8 = AtomicU8::new(FRESH);

// The loader runs these at start and at exit, whatever else the program calls.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;

extern "C" fn at_start() {
    start();
}

extern "C" fn at_exit() {
    recorder::end(recorder::End::Exit);
}

/// Sets everything up, once: at the first call of any hook, or when we are loaded.
#[cold]
pub(crate) fn start() {
    match STATE.compare_exchange(FRESH, RESOLVING, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {}
        Err(RESOLVED) => return,
        Err(_) => {
            // Another thread is at it: only possible where threads start before malloc.
            while STATE.load(Ordering::Acquire) != RESOLVED {
                core::hint::spin_loop();
            }
            return;
        }
    }
    recorder::find_filters();
    NEXT.resolve(|name| next(name).map(|(_, at)| at));
    let version = any(c"gnu_get_libc_version").map(|at| {
        // SAFETY: glibc's function of this name takes nothing and returns a static string.
        unsafe {
            let version: extern "C" fn() -> *const c_char = core::mem::transmute(at);
            CStr::from_ptr(version())
        }
    });
    let provider = next(c"malloc").map(|(object, _)| object);
    let is_glibc = provider.is_some_and(|object| object.find(c"gnu_get_libc_version").is_some())
        && version.is_some_and(glibc::is_known);
    let mut ours = false;
    elf::each_object(|object| {
        ours = is_ours(object);
        ours || object.find(c"realloc").is_some()
    });
    OWN_REALLOC.store(!ours, Ordering::Relaxed);
    let mut free = None;
    elf::each_object(|object| {
        free = if is_ours(object) { Some(0) } else { object.find(c"free") };
        free.is_some()
    });
    FREE_IN_FRONT.store(free.unwrap_or(0), Ordering::Relaxed);
    let linked = linked::hook(is_ours);
    let whose = match (linked.main, is_glibc) {
        (true, _) => 0,
        (false, true) => GLIBC,
        (false, false) => BY_CLASS,
    };
    MALLOC.store(whose, Ordering::Relaxed);
    // What a C library maps is its own business: its malloc calls past the hooks.
    let is_libc = |object: &Object| object.find(c"__libc_start_main").is_some();
    let object = provider.filter(|object| !is_libc(object)).map(|object| object.range());
    let musl = provider.is_some_and(|object| is_libc(&object)) && version.is_none();
    IS_MUSL.store(musl && !linked.main, Ordering::Relaxed);
    let code = if linked.main { linked.code.clone() } else { object };
    if let Some(code) = &code {
        ALLOCATOR[0].store(code.start, Ordering::Relaxed);
        ALLOCATOR[1].store(code.end, Ordering::Relaxed);
    }
    // The size that a block says must be that of the allocator it is from.
    let of_provider = next(c"malloc_usable_size")
        .filter(|(object, at)| {
            let provider = provider.filter(|provider| provider.contains(*at));
            provider.is_some_and(|provider| provider.path() == object.path())
        })
        // SAFETY: the allocator's function of this name is of this type.
        .map(|(_, at)| unsafe { core::mem::transmute::<usize, UsableSize>(at) });
    // Where the executable has an allocator of its own, that one's blocks go by size class, and
    // each of the C library's says what may be used of it.
    let usable_size = if linked.main { linked.usable_size } else { of_provider };
    if linked.main {
        SECOND.store(if is_glibc { SECOND_GLIBC } else { SECOND_OTHER }, Ordering::Relaxed);
        SECOND_USABLE.store(of_provider.map_or(0, |at| at as usize), Ordering::Relaxed);
    }
    let statistics = match provider {
        _ if linked.main => linked.statistics,
        Some(object) if !is_libc(&object) => statistics_of(&object),
        _ => None,
    };
    let mut libc = None;
    elf::each_object(|object| {
        libc = is_libc(object).then_some(*object);
        libc.is_some()
    });
    let mut libc_name = [0; 32];
    let provider_path = provider.map_or("", |object| object.path().to_str().unwrap_or(""));
    let facts = Facts {
        libc: name_libc(version, &mut libc_name),
        allocator: if linked.main { linked.allocator.as_str() } else { provider_path },
        unseen: linked.refusals.as_str(),
        usable_rule: match usable_size {
            _ if malloc_is_glibc() => UsableRule::Glibc,
            Some(_) => UsableRule::ByClass,
            None => UsableRule::Unknown,
        },
        // glibc's own calls go past the hooks. musl's calloc calls malloc by name, its
        // posix_memalign calls aligned_alloc, and of others nothing is known.
        may_nest: !is_glibc,
        image_bytes: own_bytes(),
    };
    // SAFETY: each symbol is of the type that libc gives it.
    let facilities = unsafe {
        Facilities {
            ask_allocator: statistics.map(|(which, at)| AskAllocator {
                ask: statistics::asking(which, at),
                code: code.unwrap_or_default(),
                libc: libc.map_or(0..0, |libc| libc.range()),
            }),
            environ: any(c"environ")
                .map_or(core::ptr::null(), |at| *(at as *const *const *const c_char)),
            pthread_key_create: any(c"pthread_key_create").map(|at| core::mem::transmute(at)),
            pthread_setspecific: any(c"pthread_setspecific").map(|at| core::mem::transmute(at)),
            pthread_atfork: any(c"pthread_atfork").map(|at| core::mem::transmute(at)),
            usable_size: usable_size.filter(|_| !malloc_is_glibc()),
            current_brk: version.and(any(c"__curbrk")).map(|at| at as *const usize),
            time_next_call: Some(timed::time_next_call),
        }
    };
    timed::remember();
    STATE.store(RESOLVED, Ordering::Release);
    // SAFETY: as above.
    unsafe { recorder::start(&facilities, &facts) };
}

/// What tells of the allocator in a library what it knows of itself.
fn statistics_of(library: &Object) -> Option<(Statistics, usize)> {
    let at = |which: Statistics| library.find(which.name()).map(|at| (which, at));
    Statistics::ALL.into_iter().find_map(at)
}

fn name_libc<'a>(version: Option<&CStr>, into: &'a mut [u8; 32]) -> &'a str {
    let Some(version) = version else { return "musl" };
    let mut len = 0;
    for byte in b"glibc ".iter().chain(version.to_bytes()).take(into.len()) {
        into[len] = *byte;
        len += 1;
    }
    core::str::from_utf8(&into[..len]).unwrap_or("glibc")
}

/// The next definition after ours, and the object that has it.
fn next(name: &CStr) -> Option<(Object, usize)> {
    let mut behind_us = false;
    let mut found = None;
    elf::each_object(|object| {
        if behind_us {
            found = object.find(name).map(|at| (*object, at));
        }
        behind_us |= is_ours(object);
        found.is_some()
    });
    found
}

/// The first definition that the program sees.
fn any(name: &CStr) -> Option<usize> {
    let mut found = None;
    elf::each_object(|object| {
        found = object.find(name);
        found.is_some()
    });
    found
}

/// Bytes of our own object, as mapped.
fn own_bytes() -> usize {
    let mut bytes = 0;
    elf::each_object(|object| {
        bytes = object.bytes();
        is_ours(object)
    });
    bytes
}

fn is_ours(object: &Object) -> bool {
    object.contains(is_ours as *const () as usize)
}
