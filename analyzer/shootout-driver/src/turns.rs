//! Threads that stand in for the recorded ones. They take turns in the recorded order: a word each
//! says whose turn it is, for which one waits spinning a little, and then in the kernel. So the
//! allocator sees each call on the thread that it came from, and no two at once.

use crate::calls::Halt;
use crate::dispatch::{self, Selector};
use crate::kernel::{futex_wait, futex_wake};
use crate::memory::{self, STACK_BYTES, STACK_HELD_BYTES, Table, Zeroed};
use crate::run::Run;
use core::ffi::c_void;
use core::hint::spin_loop;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

/// States of a stand-in's word.
const NOT_YET: u32 = 0;
const ITS_TURN: u32 = 1;
const ASLEEP: u32 = 2;

/// How often a stand-in looks for its turn before it sleeps.
const SPINS: u32 = 300;

/// One stand-in. All but its word belongs to whoever's turn it is.
#[repr(C, align(64))]
struct StandIn {
    word: AtomicU32,
    /// It is to end at its next turn.
    ends: u32,
    runs: u32,
    number: u32,
    thread: libc::pthread_t,
    /// Kept when the thread has ended, for the next one of this number.
    stack: *mut u8,
    stage: *const Stage,
}

// SAFETY: words of 0, and null.
unsafe impl Zeroed for StandIn {}

/// What all stand-ins work on.
struct Stage {
    stand_ins: Table<StandIn>,
    run: *mut Run,
    /// A stand-in that the first one is to start, as another one's turn came to its end; 0: none.
    to_start: AtomicU32,
}

/// Runs the script. `None`: there is no room for it.
pub fn perform(run: &mut Run) -> Option<()> {
    let stand_ins = Table::<StandIn>::new(usize::try_from(run.stand_ins()).ok()?)?;
    run.took(stand_ins.bytes(), stand_ins.bytes());
    let stage = Stage { stand_ins, run, to_start: AtomicU32::new(0) };
    let first = stage.stand_ins.at(0)?;
    // SAFETY: nobody else runs yet.
    unsafe { (*first.as_ptr()).runs = 1 };
    stage.play(first);
    // The others wait for turns that never come; they end with the process.
    // SAFETY: so it is this one's turn for good.
    unsafe { &mut *stage.run }.finish();
    Some(())
}

impl Stage {
    /// The part of one stand-in, whose turn it is: until it ends, or the script does.
    fn play(&self, me: NonNull<StandIn>) {
        let selector = Selector::default();
        // SAFETY: it is this one's turn, so nobody else has the run.
        let counts = unsafe { (*self.run).counts() };
        if counts && !dispatch::begin(&selector) {
            // SAFETY: as above.
            unsafe { (*self.run).cannot_count() };
        }
        self.act(me, &selector);
        if counts {
            dispatch::end();
        }
    }

    fn act(&self, me: NonNull<StandIn>, selector: &Selector) {
        // SAFETY: the entry stays where it is.
        let my_word = unsafe { &(*me.as_ptr()).word };
        // SAFETY: as above; the number does not change.
        let my_number = unsafe { (*me.as_ptr()).number };
        loop {
            let halt = match self.to_start.load(Relaxed) {
                // SAFETY: it is this one's turn, so nobody else has the run.
                0 => unsafe { &mut *self.run }.go_on(selector),
                number => {
                    self.to_start.store(0, Relaxed);
                    Halt::Turn(number)
                }
            };
            let is_its_turn_again = match halt {
                Halt::Turn(number) if number == my_number => true,
                Halt::Turn(number) => self.pass(my_number, number) && self.wait(me, my_word),
                // It is this one where it does another's steps, which could not be started.
                Halt::End(number) if number == my_number => true,
                Halt::End(number) => {
                    self.end(number);
                    true
                }
                // The run has taken it.
                Halt::Sample(_) => true,
                Halt::Done if my_number == 0 => return,
                Halt::Done => self.hand_to(0) && self.wait(me, my_word),
            };
            // SAFETY: the entry stays, and if this one is to end, nobody else acts now.
            if !is_its_turn_again && unsafe { (*me.as_ptr()).ends } != 0 {
                return;
            }
        }
    }

    /// Gives the turn to a stand-in, which is started if need be: by the first one, since libc
    /// takes a block for each new thread, which is to come from no other thread's arena. False:
    /// it cannot be started, and its steps are done by whoever tried.
    fn pass(&self, from: u32, to: u32) -> bool {
        let Some(other) = self.stand_ins.at(to as usize) else { return false };
        // SAFETY: it is our turn, so all but the word is ours.
        if from != 0 && unsafe { (*other.as_ptr()).runs } == 0 {
            self.to_start.store(to, Relaxed);
            return self.hand_to(0);
        }
        self.hand_to(to)
    }

    /// Gives the turn to another stand-in, which is started if need be. False: it cannot be.
    fn hand_to(&self, number: u32) -> bool {
        let Some(other) = self.stand_ins.at(number as usize) else { return false };
        // SAFETY: it is our turn, so all but the word is ours.
        if unsafe { (*other.as_ptr()).runs } == 0 && !self.start(other, number) {
            // SAFETY: it is our turn.
            unsafe { &mut *self.run }.thread_refused();
            return false;
        }
        // SAFETY: the entry stays where it is.
        let word = unsafe { &(*other.as_ptr()).word };
        if word.swap(ITS_TURN, AcqRel) == ASLEEP {
            futex_wake(word, 1);
        }
        true
    }

    /// Waits for this one's turn. False: it is to end.
    fn wait(&self, me: NonNull<StandIn>, word: &AtomicU32) -> bool {
        let mut spins = 0;
        while word.load(Acquire) != ITS_TURN {
            spins += 1;
            if spins < SPINS {
                spin_loop();
            } else if word.compare_exchange(NOT_YET, ASLEEP, AcqRel, Acquire).is_ok()
                || word.load(Acquire) == ASLEEP
            {
                futex_wait(word, ASLEEP, None);
            }
        }
        word.store(NOT_YET, Relaxed);
        // SAFETY: it is our turn.
        unsafe { (*me.as_ptr()).ends == 0 }
    }

    fn start(&self, stand_in: NonNull<StandIn>, number: u32) -> bool {
        let entry = stand_in.as_ptr();
        // SAFETY: it is our turn, and the stand-in does not run: its entry is ours. The attributes
        // are made before they are used; the stack is used by no other thread.
        unsafe {
            if (*entry).stack.is_null() {
                let Some(stack) = memory::stack() else { return false };
                (*entry).stack = stack.as_ptr();
                (*self.run).took(STACK_HELD_BYTES as u64, STACK_BYTES as u64);
            }
            (*entry).number = number;
            (*entry).stage = self;
            (*entry).ends = 0;
            let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
            if libc::pthread_attr_init(attributes.as_mut_ptr()) != 0 {
                return false;
            }
            let stack = (*entry).stack.cast();
            let started = libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack, STACK_BYTES)
                == 0
                && libc::pthread_create(
                    &raw mut (*entry).thread,
                    attributes.as_ptr(),
                    enter,
                    entry.cast(),
                ) == 0;
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            (*entry).runs = u32::from(started);
            started
        }
    }

    /// Ends another stand-in, with all that the allocator does when a thread ends.
    fn end(&self, number: u32) {
        let Some(other) = self.stand_ins.at(number as usize) else { return };
        // SAFETY: it is our turn: the entry is ours, until the other one's word is set, and again
        // when it was joined. The first stand-in is the process's first thread, which stays.
        unsafe {
            if number == 0 || (*other.as_ptr()).runs == 0 {
                return;
            }
            (*other.as_ptr()).ends = 1;
            let thread = (*other.as_ptr()).thread;
            self.hand_to(number);
            libc::pthread_join(thread, null_mut());
            (*other.as_ptr()).runs = 0;
        }
    }
}

/// Where a stand-in's thread begins.
extern "C" fn enter(entry: *mut c_void) -> *mut c_void {
    if let Some(me) = NonNull::new(entry.cast::<StandIn>()) {
        // SAFETY: entry and stage were there before the thread, and stay until it has ended.
        let (stage, word) = unsafe { (&*(*me.as_ptr()).stage, &(*me.as_ptr()).word) };
        if stage.wait(me, word) {
            stage.play(me);
        }
    }
    null_mut()
}
