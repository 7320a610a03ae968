//! The driver's own memory: mappings that are wholly in memory from the start, so that they are
//! one constant in the kernel's figures.

use core::ptr::{NonNull, null_mut};

/// A table of equal parts in a mapping of its own, which is never given back.
#[derive(Debug, Clone, Copy)]
pub struct Table<T> {
    first: NonNull<T>,
    count: usize,
}

/// Types of which all zeros, the content of fresh memory, are a value.
///
/// # Safety
/// All zeros must be a value of the type.
pub unsafe trait Zeroed {}
// SAFETY: a null pointer.
unsafe impl Zeroed for *mut libc::c_void {}
// SAFETY: any bits are a number.
unsafe impl Zeroed for u64 {}
// SAFETY: any bits are a number.
unsafe impl Zeroed for u32 {}
// SAFETY: any bits are a number.
unsafe impl Zeroed for u8 {}

impl<T: Zeroed> Table<T> {
    /// A table of `count` zeroed entries, in memory as a whole. `None`: there is no room.
    pub fn new(count: usize) -> Option<Table<T>> {
        let bytes = count.checked_mul(size_of::<T>())?.max(1);
        let first = map(bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
        Some(Table { first: first.cast(), count })
    }

    /// The entries of a file that this process shares with others.
    pub fn shared(descriptor: i32, count: usize) -> Option<Table<T>> {
        let first = map(count.checked_mul(size_of::<T>())?, libc::MAP_SHARED, descriptor)?;
        Some(Table { first: first.cast(), count })
    }

    /// Entries.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the mapping, whole pages.
    pub fn bytes(&self) -> u64 {
        ((self.count * size_of::<T>()).max(1) as u64).next_multiple_of(page_bytes())
    }

    /// Where an entry is; `None`: there is no such one.
    #[inline]
    pub fn at(&self, index: usize) -> Option<NonNull<T>> {
        if index >= self.count {
            return None;
        }
        // SAFETY: the entry lies inside the mapping.
        Some(unsafe { self.first.add(index) })
    }
}

/// Maps memory and fetches all of it in at once; never by huge pages, which would be more than
/// was asked for.
fn map(bytes: usize, flags: i32, descriptor: i32) -> Option<NonNull<u8>> {
    // SAFETY: a new mapping where the kernel likes to have it changes nothing that is there.
    let at = unsafe {
        libc::mmap(null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, descriptor, 0)
    };
    if at == libc::MAP_FAILED {
        return None;
    }
    let first = NonNull::new(at.cast::<u8>())?;
    if flags & libc::MAP_ANONYMOUS != 0 {
        // SAFETY: advice on the mapping just made.
        unsafe { libc::madvise(at, bytes, libc::MADV_NOHUGEPAGE) };
    }
    for page in (0..bytes).step_by(page_bytes() as usize) {
        // SAFETY: inside the mapping just made; what a shared file holds is written back as it is.
        unsafe {
            let at = first.add(page);
            at.write_volatile(at.read_volatile());
        }
    }
    Some(first)
}

/// Bytes of a page.
pub fn page_bytes() -> u64 {
    // SAFETY: a question without arguments that matter.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// Bytes of a stand-in's stack, and of its upper part, which is in memory from the start: libc puts
/// the thread's own variables there, and allocators do not go deep.
pub const STACK_BYTES: usize = 256 << 10;
pub const STACK_HELD_BYTES: usize = 48 << 10;

/// The stack of a stand-in; `None`: there is no room.
pub fn stack() -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping where the kernel likes to have it changes nothing that is there.
    let at = unsafe { libc::mmap(null_mut(), STACK_BYTES, access, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: advice on the mapping just made.
    unsafe { libc::madvise(at, STACK_BYTES, libc::MADV_NOHUGEPAGE) };
    let first = NonNull::new(at.cast::<u8>())?;
    for page in (STACK_BYTES - STACK_HELD_BYTES..STACK_BYTES).step_by(page_bytes() as usize) {
        // SAFETY: inside the mapping just made.
        unsafe { first.add(page).write_volatile(0) };
    }
    Some(first)
}
