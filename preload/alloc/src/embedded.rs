//! The recorder, linked in: for programs that nothing can be preloaded into.
//!
//! It offers what the tracer does, so that the wrapper does not care which of them it tells. What
//! the tracer's hooks see besides, it does not: calls on mappings are known by looks alone, and of
//! the ways in which a process ends only a return from main and `exit`.

use core::ffi::{c_char, c_void};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use fragtrace_recorder::{self as recorder, Caller, End, Facilities, Facts, UsableRule};

unsafe extern "C" {
    static environ: *const *const c_char;
}

static STARTED: AtomicBool = AtomicBool::new(false);

// Runs when main has returned, or exit was called.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;

extern "C" fn at_exit() {
    if STARTED.load(Relaxed) {
        recorder::end(End::Exit);
    }
}

/// Begins to record, if the environment says where to (`FRAGTRACE_OUT`). Whether it does.
pub(crate) fn start() -> bool {
    // SAFETY: a C string; the C library's list is as it was when the process started, or as the
    // program's one thread has left it.
    if unsafe { libc::getenv(c"FRAGTRACE_OUT".as_ptr()) }.is_null() {
        return false;
    }
    let facilities = Facilities {
        // SAFETY: the C library's variable.
        environ: unsafe { environ },
        pthread_key_create: Some(pthread_key_create),
        pthread_setspecific: Some(pthread_setspecific),
        pthread_atfork: None,
        usable_size: None,
        ask_allocator: None,
        time_next_call: None,
        current_brk: None,
    };
    let facts = Facts {
        libc: "",
        allocator: "the recorder linked in",
        unseen: "",
        // Each block says what may be used of it.
        usable_rule: UsableRule::ByClass,
        may_nest: false,
        image_bytes: 0,
    };
    STARTED.store(true, Relaxed);
    // SAFETY: the functions are the C library's.
    unsafe { recorder::start(&facilities, &facts) };
    true
}

unsafe extern "C" {
    fn pthread_key_create(
        key: *mut u32,
        destructor: unsafe extern "C" fn(*mut c_void),
    ) -> core::ffi::c_int;
    fn pthread_setspecific(key: u32, value: *const c_void) -> core::ffi::c_int;
}

/// What to tell of a block that ends.
pub(crate) unsafe extern "C" fn released(block: *mut c_void, bits: u32) {
    recorder::wrapped_released(block as usize, bits);
}

/// What to tell of a new block. Hands on where it was called from, for the call stack.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn acquired(block: *mut c_void, size: usize, align: usize, bits: u32) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov r8, rsp",
        "mov r9, rbp",
        "jmp {to}",
        ".cfi_endproc",
        to = sym acquired_from,
    )
}

/// What to tell of a new block. Elsewhere there are no stacks.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe extern "C" fn acquired(block: *mut c_void, size: usize, align: usize, bits: u32) {
    acquired_from(block, size, align, bits, 0, 0);
}

extern "C" fn acquired_from(
    block: *mut c_void,
    size: usize,
    align: usize,
    bits: u32,
    sp: usize,
    bp: usize,
) {
    recorder::wrapped_acquired(block as usize, size, align, bits, Caller { sp, bp });
}
