//! Pools: memory that a program cuts up by itself, as fragtrace.h has it for C.

use core::ffi::{CStr, c_char, c_void};
use core::mem::transmute;

use crate::tracer::symbol;

type Created = unsafe extern "C" fn(*const c_char, *const c_void, usize) -> u32;
type Destroyed = unsafe extern "C" fn(u32);
type Acquired = unsafe extern "C" fn(u32, *mut c_void, usize);
type Released = unsafe extern "C" fn(u32, *mut c_void);

/// The tracer's functions.
#[derive(Debug, Clone, Copy)]
struct Functions {
    destroyed: Destroyed,
    acquired: Acquired,
    released: Released,
}

/// An arena, a slab, a free list: a stretch of memory that is one block to the allocator, and that
/// the program cuts up by itself. With the tracer in the process it is on record with the blocks in
/// it; without, each call is one branch.
///
/// ```
/// use fragtrace_alloc::Pool;
///
/// let mut memory = vec![0u8; 4096];
/// let pool = Pool::new(c"requests", memory.as_ptr(), memory.len());
/// let block = &mut memory[..100];
/// pool.acquired(block.as_mut_ptr(), block.len());
/// pool.released(block.as_mut_ptr());
/// // When it is dropped, so are all blocks in it.
/// drop(pool);
/// ```
#[derive(Debug)]
pub struct Pool {
    number: u32,
    functions: Option<Functions>,
}

impl Pool {
    /// A pool over so many bytes from `start` on. Nothing is read or written there.
    pub fn new(name: &CStr, start: *const u8, bytes: usize) -> Pool {
        Pool::told(name, start, bytes).unwrap_or(Pool { number: 0, functions: None })
    }

    fn told(name: &CStr, start: *const u8, bytes: usize) -> Option<Pool> {
        let created = symbol(c"fragtrace_pool_created")?;
        let (destroyed, acquired, released) = (
            symbol(c"fragtrace_pool_destroyed")?,
            symbol(c"fragtrace_pool_acquired")?,
            symbol(c"fragtrace_pool_released")?,
        );
        // SAFETY: the tracer's functions of these names are of these types (fragtrace.h).
        let (created, functions) = unsafe {
            let functions = Functions {
                destroyed: transmute::<usize, Destroyed>(destroyed),
                acquired: transmute::<usize, Acquired>(acquired),
                released: transmute::<usize, Released>(released),
            };
            (transmute::<usize, Created>(created), functions)
        };
        // SAFETY: a C string, which is copied; of the memory only numbers are kept.
        let number = unsafe { created(name.as_ptr(), start.cast(), bytes) };
        Some(Pool { number, functions: Some(functions) })
    }

    /// A block in it was acquired.
    #[inline]
    pub fn acquired(&self, block: *mut u8, bytes: usize) {
        if let Some(functions) = &self.functions {
            // SAFETY: only numbers are kept.
            unsafe { (functions.acquired)(self.number, block.cast(), bytes) };
        }
    }

    /// A block in it is about to be released.
    #[inline]
    pub fn released(&self, block: *mut u8) {
        if let Some(functions) = &self.functions {
            // SAFETY: as above.
            unsafe { (functions.released)(self.number, block.cast()) };
        }
    }
}

impl Drop for Pool {
    /// The pool is destroyed, and all blocks in it. Before its memory goes.
    fn drop(&mut self) {
        if let Some(functions) = &self.functions {
            // SAFETY: a number.
            unsafe { (functions.destroyed)(self.number) };
        }
    }
}
