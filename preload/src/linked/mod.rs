//! Allocators linked into the program or a library of its, hooked where their functions begin.
//!
//! `fragtrace-linked` finds them and plans the jumps; here they are made, before there are
//! threads:
//!
//! ```text
//! caller ──► _rjem_malloc: jmp ──► stub: r11 = &HOOKS[n] ──► entered (entry.rs)
//!                                  trampoline ◄── calls ──────┘  └─► recorder
//!            _rjem_malloc+5: … ◄──┘
//! ```
//!
//! Of an allocator all functions that are there are hooked, or none: with a part of them blocks
//! would come that never go. Libraries that are loaded later are not looked at.

mod entry;
mod object;

use crate::elf::{self, Object};
use core::ffi::CStr;
use core::fmt::{self, Write};
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};
use fragtrace_linked::Call;
use fragtrace_linked::names::{Names, Statistics};
use fragtrace_recorder::{Text, UsableSize};

/// Functions that are hooked at most, in all objects.
const MAX_HOOKS: usize = 320;
static HOOKS: [Hook; MAX_HOOKS] = [const { Hook::none() }; MAX_HOOKS];

/// The recorder knows usable bytes by size class: of the allocator that counts as the main one.
const BY_CLASS: usize = 0;
/// Usable bytes cannot be had: what was asked for counts.
const NOBODY: usize = 1;

/// A hooked function. Written once, before the first call can come.
#[repr(C)]
struct Hook {
    /// What does as the function did.
    trampoline: AtomicUsize,
    /// What the function does with blocks.
    call: AtomicPtr<Call>,
    /// What is asked for the usable bytes of each block, or [`BY_CLASS`], or [`NOBODY`].
    usable_size: AtomicUsize,
    /// The allocator is the one that malloc is from: what it asks of that by name is its own
    /// business too.
    is_mallocs: AtomicBool,
    /// It calls no other function that is hooked.
    is_alone: AtomicBool,
    /// Where the jump stands, and its bytes and what they replace in the low five bytes.
    site: AtomicUsize,
    jump: AtomicU64,
    replaced: AtomicU64,
}

impl Hook {
    const fn none() -> Hook {
        Hook {
            trampoline: AtomicUsize::new(0),
            call: AtomicPtr::new(core::ptr::null_mut()),
            usable_size: AtomicUsize::new(0),
            is_mallocs: AtomicBool::new(false),
            is_alone: AtomicBool::new(false),
            site: AtomicUsize::new(0),
            jump: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
        }
    }
}

/// What was found and done.
pub(crate) struct Outcome {
    /// The allocator that is linked into the executable, if it is hooked: its name and what it goes by.
    pub(crate) allocator: Text<128>,
    /// Whether there is one.
    pub(crate) main: bool,
    /// Where its code lies.
    pub(crate) code: Option<Range<usize>>,
    /// Its function that tells usable bytes.
    pub(crate) usable_size: Option<UsableSize>,
    /// Its function that says what it knows of itself.
    pub(crate) statistics: Option<(Statistics, usize)>,
    /// What is not seen and why: a line each.
    pub(crate) refusals: Text<1024>,
    /// Functions hooked so far.
    hooks: usize,
}

/// Hooks what can be hooked. Once, at start.
pub(crate) fn hook(is_ours: impl Fn(&Object) -> bool) -> Outcome {
    let mut outcome = Outcome {
        allocator: Text::new(),
        main: false,
        code: None,
        usable_size: None,
        statistics: None,
        refusals: Text::new(),
        hooks: 0,
    };
    if cfg!(target_arch = "x86_64") {
        elf::each_object(|object| {
            if !is_ours(object) {
                object::hook(object, &mut outcome);
            }
            false
        });
    }
    outcome
}

/// Names that shared libraries of allocators have beside the C library's.
const EXPORTED: [&CStr; 5] = [c"mallocx", c"mi_malloc", c"tc_malloc", c"rpmalloc", c"sn_malloc"];

/// Whether it may hold an allocator that the loader's order of names does not show.
///
/// What a distribution packages is stripped, so what it holds is what it exports.
fn may_hold(object: &Object) -> bool {
    let path = object.path().to_bytes();
    let packaged = path.starts_with(b"/lib") || path.starts_with(b"/usr/lib");
    !packaged || EXPORTED.iter().any(|name| object.find(name).is_some())
}

/// An allocator in an object, as it is spoken of.
struct Found<'a> {
    names: &'a Names,
    prefix: &'a str,
    /// The library that it is in, unless it is in the program.
    library: Option<&'a str>,
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { names, prefix, library } = self;
        write!(out, "{}, linked in as {prefix}{}", names.allocator, names.shown)?;
        library.map_or(Ok(()), |library| write!(out, " ({library})"))
    }
}

impl Outcome {
    fn refuse(&mut self, found: &Found<'_>, why: fmt::Arguments<'_>) {
        let _ = writeln!(self.refusals, "{found} is not seen: {why}");
    }
}
