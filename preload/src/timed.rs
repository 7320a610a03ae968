//! How long the allocator takes itself, for the few calls that the recorder asks for.
//!
//! The event path has no instruction for it. When a call is due, the slots of the allocator's
//! functions lead here until the first of them was called, by whatever thread; that one puts them
//! back and reads the clock before and after the call. Slots are put back before the wish is taken
//! up, and set after it is made: however threads interleave, at worst a slot leads here once more,
//! and the call goes through untimed.

use crate::next::NEXT;
use core::ffi::c_void;
use core::sync::atomic::Ordering::{AcqRel, Relaxed};
use core::sync::atomic::{AtomicBool, AtomicPtr};
use fragtrace_recorder::{self as recorder, Call};

/// Whether the next call is to be timed.
static DUE: AtomicBool = AtomicBool::new(false);
/// Whether it is one that releases.
static TURN: AtomicBool = AtomicBool::new(false);

macro_rules! timed {
    ($($call:ident $name:ident($($arg:ident: $kind:ty),*) $(-> $result:ty)?;)*) => {
        /// What the slots hold at other times.
        #[repr(C)]
        struct Known { $($name: AtomicPtr<()>,)* }

        static KNOWN: Known = Known { $($name: AtomicPtr::new(core::ptr::null_mut()),)* };

        /// All slots hold what they will hold: remembers it.
        pub(crate) fn remember() {
            $(KNOWN.$name.store(NEXT.$name.load(Relaxed), Relaxed);)*
        }

        /// Has the next call timed that acquires, or that releases, in turns: what is due comes
        /// up in the middle of one of them, so the very next would be of one kind mostly.
        pub(crate) fn time_next_call() {
            if DUE.swap(true, AcqRel) {
                return;
            }
            let releases = TURN.fetch_not(Relaxed);
            $(if matches!(Call::$call, Call::Free) == releases {
                NEXT.$name.store($name as *mut (), Relaxed);
            })*
        }

        /// When this call began, if it is to be timed. Slots lead past us again.
        fn begin() -> Option<u64> {
            $(NEXT.$name.store(KNOWN.$name.load(Relaxed), Relaxed);)*
            DUE.swap(false, AcqRel).then(recorder::clock_reading)
        }

        $(unsafe extern "C" fn $name($($arg: $kind),*) $(-> $result)? {
            type Function = unsafe extern "C" fn($($kind),*) $(-> $result)?;
            let known = KNOWN.$name.load(Relaxed);
            // SAFETY: slots lead here only once `remember` has kept what they held: functions of
            // this type.
            let known = unsafe { core::mem::transmute::<*mut (), Function>(known) };
            let begun = begin();
            // SAFETY: by the caller.
            let result = unsafe { known($($arg),*) };
            if let Some(begun) = begun {
                recorder::timed(Call::$call, begun);
            }
            result
        })*
    };
}

timed! {
    Malloc malloc(size: usize) -> *mut c_void;
    Free free(block: *mut c_void);
    Calloc calloc(count: usize, size: usize) -> *mut c_void;
    Realloc realloc(block: *mut c_void, size: usize) -> *mut c_void;
}
