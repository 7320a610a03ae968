//! Finding the next definitions, and beginning to record.

use crate::elf::{self, Object};
use crate::next::NEXT;
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use fragtrace_recorder::{Facilities, Facts, UsableRule};

/// Whether malloc is glibc's, so that each block has its size word before it.
static IS_GLIBC: AtomicBool = AtomicBool::new(false);

/// See [`IS_GLIBC`].
#[inline(always)]
pub(crate) fn malloc_is_glibc() -> bool {
    IS_GLIBC.load(Ordering::Relaxed)
}

/// Enough for the libraries of any program; further ones are searched for nothing.
const MAX_OBJECTS: usize = 256;

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
    fragtrace_recorder::end(fragtrace_recorder::End::Exit);
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
    let mut objects = Objects::collect();
    NEXT.resolve(|name| objects.next(name));
    let version = objects.any(c"gnu_get_libc_version").map(|at| {
        // SAFETY: glibc's function of this name takes nothing and returns a static string.
        unsafe {
            let version: extern "C" fn() -> *const c_char = core::mem::transmute(at);
            CStr::from_ptr(version())
        }
    });
    let provider = objects.provider(c"malloc");
    let glibc = provider.is_some_and(|object| object.find(c"gnu_get_libc_version").is_some())
        && version.is_some_and(is_known_glibc);
    IS_GLIBC.store(glibc, Ordering::Relaxed);
    let mut libc_name = [0; 32];
    let facts = Facts {
        libc: name_libc(version, &mut libc_name),
        allocator: provider.map_or("", |object| object.path().to_str().unwrap_or("")),
        usable_rule: if glibc { UsableRule::Glibc } else { UsableRule::Unknown },
        // musl's calloc calls malloc, its posix_memalign calls aligned_alloc, by name.
        may_nest: version.is_none(),
        image_bytes: objects.own_bytes,
    };
    // SAFETY: each symbol is of the type that libc gives it.
    let facilities = unsafe {
        Facilities {
            environ: objects
                .any(c"environ")
                .map_or(core::ptr::null(), |at| *(at as *const *const *const c_char)),
            pthread_key_create: objects
                .any(c"pthread_key_create")
                .map(|at| core::mem::transmute(at)),
            pthread_setspecific: objects
                .any(c"pthread_setspecific")
                .map(|at| core::mem::transmute(at)),
            pthread_atfork: objects.any(c"pthread_atfork").map(|at| core::mem::transmute(at)),
            current_brk: version.and(objects.any(c"__curbrk")).map(|at| at as *const usize),
        }
    };
    STATE.store(RESOLVED, Ordering::Release);
    // SAFETY: as above.
    unsafe { fragtrace_recorder::start(&facilities, &facts) };
}

/// Versions whose layout of a block's header is known: unchanged since 2.17 at least.
fn is_known_glibc(version: &CStr) -> bool {
    let Some(minor) = version.to_bytes().strip_prefix(b"2.") else { return false };
    let minor = minor
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0u32, |value, digit| value * 10 + (digit - b'0') as u32);
    (17..=43).contains(&minor)
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

/// The objects of the process, in the order of symbol look-up.
struct Objects {
    list: [Option<Object>; MAX_OBJECTS],
    /// Index of the first object behind our own.
    after_us: usize,
    own_bytes: usize,
}

impl Objects {
    fn collect() -> Objects {
        let mut objects =
            Objects { list: [None; MAX_OBJECTS], after_us: MAX_OBJECTS, own_bytes: 0 };
        let mut count = 0;
        let here = collect_marker as *const () as usize;
        elf::each_object(|object| {
            let Some(slot) = objects.list.get_mut(count) else { return };
            *slot = Some(*object);
            count += 1;
            if object.contains(here) {
                objects.after_us = count;
                objects.own_bytes = object.bytes();
            }
        });
        objects
    }

    /// The next definition after ours.
    fn next(&mut self, name: &CStr) -> Option<usize> {
        self.list.iter().skip(self.after_us).flatten().find_map(|object| object.find(name))
    }

    /// The object that has the next definition.
    fn provider(&self, name: &CStr) -> Option<&Object> {
        self.list.iter().skip(self.after_us).flatten().find(|object| object.find(name).is_some())
    }

    /// The first definition that the program sees.
    fn any(&self, name: &CStr) -> Option<usize> {
        self.list.iter().flatten().find_map(|object| object.find(name))
    }
}

/// An address inside our own object.
fn collect_marker() {}
