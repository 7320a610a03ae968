//! A pool, as one would write it for the blocks of one place in a program: slabs of 64 KiB, each
//! for blocks of one size, a list of free blocks for each size, and slabs that hold nothing any
//! more go back to the kernel.

use crate::memory::page_bytes;
use core::ffi::c_void;
use core::ptr::null_mut;

/// Slabs are aligned to their size, so that a block's address tells its slab.
const SLAB_BYTES: usize = 64 << 10;
/// Blocks are multiples of this.
const STEP: usize = 16;
/// Larger blocks have a mapping of their own.
const LARGEST: usize = 16 << 10;
const CLASSES: usize = LARGEST / STEP;

/// What stands at the start of a slab.
struct Slab {
    /// Slabs of the same size that have room.
    next: *mut Slab,
    previous: *mut Slab,
    /// Blocks that were given back.
    free: *mut Free,
    /// Where blocks begin that were never given out, and how many blocks are out.
    fresh: u32,
    used: u32,
}

struct Free {
    next: *mut Free,
}

/// The pool. One for all places: blocks of one size lie together.
pub struct Pool {
    with_room: [*mut Slab; CLASSES],
}

impl Default for Pool {
    fn default() -> Pool {
        Pool { with_room: [null_mut(); CLASSES] }
    }
}

/// Bytes that a block takes.
fn rounded(bytes: u32) -> usize {
    (bytes.max(1) as usize).next_multiple_of(STEP)
}

/// Bytes of the mapping of a large block.
fn own_mapping(bytes: u32) -> usize {
    (bytes as usize).next_multiple_of(page_bytes() as usize)
}

impl Pool {
    /// A block; null where the kernel gives no memory.
    pub fn take(&mut self, bytes: u32) -> *mut c_void {
        let size = rounded(bytes);
        if size > LARGEST {
            return map(own_mapping(bytes));
        }
        let class = size / STEP - 1;
        if self.with_room[class].is_null() {
            let slab = new_slab();
            if slab.is_null() {
                return null_mut();
            }
            self.with_room[class] = slab;
        }
        let slab = self.with_room[class];
        // SAFETY: slabs in the list are mapped, and the pool's alone; a free block lies in its
        // slab, and so does a fresh one, as the slab has room.
        unsafe {
            let block = if (*slab).free.is_null() {
                let at = (*slab).fresh as usize;
                (*slab).fresh += size as u32;
                slab.cast::<u8>().add(at).cast()
            } else {
                let first = (*slab).free;
                (*slab).free = (*first).next;
                first.cast::<c_void>()
            };
            (*slab).used += 1;
            if (*slab).free.is_null() && (*slab).fresh as usize + size > SLAB_BYTES {
                self.unlink(class, slab);
            }
            block
        }
    }

    /// Takes a block of so many bytes back.
    pub fn give_back(&mut self, block: *mut c_void, bytes: u32) {
        if block.is_null() {
            return;
        }
        let size = rounded(bytes);
        if size > LARGEST {
            // SAFETY: a mapping of this size that `take` made, and nobody uses any more.
            unsafe { libc::munmap(block, own_mapping(bytes)) };
            return;
        }
        let class = size / STEP - 1;
        let slab = (block as usize & !(SLAB_BYTES - 1)) as *mut Slab;
        // SAFETY: the block came from `take` with this size, so its slab is at the multiple of
        // SLAB_BYTES below it; the block holds at least a pointer.
        unsafe {
            let was_full = (*slab).free.is_null() && (*slab).fresh as usize + size > SLAB_BYTES;
            let free = block.cast::<Free>();
            (*free).next = (*slab).free;
            (*slab).free = free;
            (*slab).used -= 1;
            if was_full {
                self.link(class, slab);
            }
            if (*slab).used == 0 {
                self.unlink(class, slab);
                libc::munmap(slab.cast(), SLAB_BYTES);
            }
        }
    }

    /// # Safety
    /// The slab is mapped, and in no list.
    unsafe fn link(&mut self, class: usize, slab: *mut Slab) {
        let first = self.with_room[class];
        // SAFETY: by the caller; slabs in the list are mapped.
        unsafe {
            (*slab).next = first;
            (*slab).previous = null_mut();
            if !first.is_null() {
                (*first).previous = slab;
            }
        }
        self.with_room[class] = slab;
    }

    /// # Safety
    /// The slab is in this list.
    unsafe fn unlink(&mut self, class: usize, slab: *mut Slab) {
        // SAFETY: by the caller; slabs in the list are mapped.
        unsafe {
            let (next, previous) = ((*slab).next, (*slab).previous);
            if previous.is_null() {
                self.with_room[class] = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
            (*slab).next = null_mut();
            (*slab).previous = null_mut();
        }
    }
}

fn map(bytes: usize) -> *mut c_void {
    let (access, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping where the kernel likes to have it changes nothing that is there.
    let at = unsafe { libc::mmap(null_mut(), bytes, access, flags, -1, 0) };
    if at == libc::MAP_FAILED { null_mut() } else { at }
}

/// A slab without blocks, aligned to its size; null where there is no memory.
fn new_slab() -> *mut Slab {
    let wide = map(2 * SLAB_BYTES);
    if wide.is_null() {
        return null_mut();
    }
    let start = wide as usize;
    let slab = start.next_multiple_of(SLAB_BYTES);
    let (before, behind) = (slab - start, start + SLAB_BYTES - slab);
    // SAFETY: the parts of the mapping just made that the slab leaves over, and the slab, which is
    // zeroed memory of sufficient size and alignment.
    unsafe {
        if before > 0 {
            libc::munmap(wide, before);
        }
        if behind > 0 {
            libc::munmap((slab + SLAB_BYTES) as *mut c_void, behind);
        }
        let slab = slab as *mut Slab;
        (*slab).fresh = (size_of::<Slab>() as u32).next_multiple_of(STEP as u32);
        slab
    }
}
