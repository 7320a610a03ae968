//! Stand-ins that run freely: each makes its own calls as fast as it can, and waits for another
//! only where a [block changes hands](crate::slots). So threads are in the allocator at the same
//! time, and get into each other's way there as they do in a program.
//!
//! All are started first and set off together. A thread that ends in the recorded program ends here
//! too: before, it starts its successor, on the other one of their two stacks, which waits for its
//! end. When the last one is done, the first reads the kernel's figures.

use crate::calls::{Caller, Halt};
use crate::kernel::{self, futex_wake, is_waited_while};
use crate::memory::{self, STACK_BYTES, STACK_HELD_BYTES, Table, Zeroed};
use crate::run::Run;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

/// One stand-in. Belongs to the thread that has its part at the time; before the start and in the end
/// to the first thread.
struct Part {
    caller: MaybeUninit<Caller>,
    stage: *const Stage,
    stacks: [*mut u8; 2],
    /// Threads that were started for it.
    threads: u32,
    /// The one that had the part before, and whether it was the last.
    before: libc::pthread_t,
    is_left: bool,
}

// SAFETY: null pointers, numbers, false, and a caller that is not there yet.
unsafe impl Zeroed for Part {}

/// What all have in common.
struct Stage {
    /// Threads that wait for the start.
    ready: AtomicU32,
    begun: AtomicU32,
    /// Stand-ins that did all their steps.
    done: AtomicU32,
}

/// Whoever is done waits here for the process to end, so that what the allocator keeps for a thread
/// stays as it is.
static FOREVER: AtomicU32 = AtomicU32::new(0);

/// Runs the script. `None`: there is no room for all stand-ins, or the kernel starts no more
/// threads.
pub fn perform(run: &mut Run) -> Option<()> {
    let count = usize::try_from(run.stand_ins()).ok()?;
    let parts = Table::<Part>::new(count)?;
    run.took(parts.bytes(), parts.bytes());
    let stage =
        Stage { ready: AtomicU32::new(0), begun: AtomicU32::new(0), done: AtomicU32::new(0) };
    for number in 0..count {
        let part = parts.at(number)?.as_ptr();
        // SAFETY: no other thread runs yet, so the entry is ours.
        unsafe {
            (*part).caller.write(run.free_caller(number as u64)?);
            (*part).stage = &raw const stage;
            if number > 0 {
                (*part).stacks = [memory::stack()?.as_ptr(), memory::stack()?.as_ptr()];
                run.took(2 * STACK_HELD_BYTES as u64, 2 * STACK_BYTES as u64);
            }
        }
    }
    for number in 1..count {
        // SAFETY: this part has no thread yet.
        if !unsafe { start(parts.at(number)?) } {
            kernel::say(b"not as many threads can be started here as ran at once\n");
            return None;
        }
    }
    let others = u32::try_from(count - 1).ok()?;
    reach(&stage.ready, others);
    run.start_counting();
    stage.begun.store(1, Release);
    futex_wake(&stage.begun, u32::MAX >> 1);
    let first = parts.at(0)?.as_ptr();
    // SAFETY: the first part is this thread's.
    unsafe { act((*first).caller.assume_init_mut()) };
    reach(&stage.done, others);
    for number in 0..count {
        let part = parts.at(number)?.as_ptr();
        // SAFETY: all others are done, and do not touch their parts again.
        unsafe {
            run.add((*part).caller.assume_init_ref());
            if (*part).is_left {
                libc::pthread_join((*part).before, null_mut());
            }
        }
    }
    run.sample(0);
    run.finish();
    Some(())
}

/// Does steps to the end, or to where the thread is to end; which of the two.
fn act(caller: &mut Caller) -> Halt {
    loop {
        match caller.go_on() {
            halt @ (Halt::End(_) | Halt::Done) => return halt,
            // Not in such a script.
            Halt::Turn(_) | Halt::Sample(_) => {}
        }
    }
}

/// Starts the next thread of a part.
///
/// # Safety
/// The part is the calling thread's until it is told that the other one runs.
unsafe fn start(part: NonNull<Part>) -> bool {
    let part = part.as_ptr();
    // SAFETY: by the caller; the attributes are made before they are used. The stack was used last
    // by the thread before the calling one, which waited for its end.
    unsafe {
        let number = (*part).threads;
        (*part).threads += 1;
        if number > 0 {
            (*part).before = libc::pthread_self();
        }
        let stack = (*part).stacks[number as usize % 2].cast();
        let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
        let mut thread = MaybeUninit::uninit();
        let started = libc::pthread_attr_init(attributes.as_mut_ptr()) == 0
            && libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack, STACK_BYTES) == 0
            && libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), enter, part.cast())
                == 0;
        // glibc and musl keep nothing elsewhere for attributes: none are to be destroyed.
        if !started {
            (*part).threads -= 1;
        }
        started
    }
}

/// Where a stand-in's thread begins.
extern "C" fn enter(part: *mut c_void) -> *mut c_void {
    let Some(part) = NonNull::new(part.cast::<Part>()) else { return null_mut() };
    // SAFETY: part and stage were there before the thread, and stay until the process ends. The part
    // is this thread's: whoever had it before has started this one as its last deed with it.
    unsafe {
        let stage = &*(*part.as_ptr()).stage;
        if (*part.as_ptr()).threads == 1 {
            count(&stage.ready);
            while is_waited_while(&stage.begun, 0) {}
        } else {
            libc::pthread_join((*part.as_ptr()).before, null_mut());
        }
        while let Halt::End(_) = act((*part.as_ptr()).caller.assume_init_mut()) {
            if (*part.as_ptr()).caller.assume_init_mut().is_over() {
                (*part.as_ptr()).before = libc::pthread_self();
                (*part.as_ptr()).is_left = true;
                count(&stage.done);
                return null_mut();
            }
            // Where no thread can be started, this one goes on.
            if start(part) {
                return null_mut();
            }
        }
        count(&stage.done);
    }
    while is_waited_while(&FOREVER, 0) {}
    null_mut()
}

/// One more.
fn count(word: &AtomicU32) {
    word.fetch_add(1, AcqRel);
    futex_wake(word, 1);
}

/// Waits until so many were counted.
fn reach(word: &AtomicU32, count: u32) {
    loop {
        let now = word.load(Acquire);
        if now >= count {
            return;
        }
        is_waited_while(word, now);
    }
}
