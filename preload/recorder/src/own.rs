//! What the layer above may do to its own process, without the C library: read the files that
//! it was loaded from, and change its code.
//!
//! Code is changed through /proc/self/mem, where the kernel lets a process write past the
//! protection of its own pages: so these are never writable, are as executable as before at
//! every instant, and stay mappings of their file. What is new is written first and made
//! executable after, in pages of its own.

use crate::file::BASES;
use crate::sys;
use libc::c_int;

/// Below the places of the recorder: where files are mapped while they are read.
const VIEW_BYTES: usize = 1 << 40;
const PAGE: usize = 4096;

/// Calls `read` with the bytes of a file, if it can be had. The path ends with a zero byte.
pub fn with_file<R>(path: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
    let fd = sys::open(path, libc::O_RDONLY, 0).ok()?;
    let bytes = if sys::is_regular(fd) { sys::file_bytes(fd).unwrap_or(0) as usize } else { 0 };
    let view = BASES.into_iter().filter(|_| bytes > 0 && bytes < VIEW_BYTES).find_map(|base| {
        let at = base - VIEW_BYTES;
        sys::map(at, bytes, libc::PROT_READ, libc::MAP_PRIVATE, Some((fd, 0))).ok()
    });
    sys::close(fd);
    let start = view?;
    // SAFETY: just mapped. Should somebody cut the file meanwhile, reading beyond its end would
    // be an error of the bus: loaded objects are replaced, not cut, by whoever wants to live.
    let result = read(unsafe { core::slice::from_raw_parts(start as *const u8, bytes) });
    sys::unmap(start, bytes);
    Some(result)
}

/// Whether this is the only thread of its process, as far as the kernel says.
pub fn is_alone() -> bool {
    let Ok(fd) = sys::open(b"/proc/self/task\0", libc::O_RDONLY | libc::O_DIRECTORY, 0) else {
        return false;
    };
    let mut entries = [0u8; 512];
    let read = sys::read_directory(fd, &mut entries);
    sys::close(fd);
    read.is_ok_and(|bytes| count_entries(&entries[..bytes]) == 3)
}

/// Entries as getdents64 gives them, "." and ".." included.
fn count_entries(mut entries: &[u8]) -> usize {
    let mut count = 0;
    // The length of an entry stands 16 bytes into it.
    while let Some(&[low, high]) = entries.get(16..18) {
        let bytes = u16::from_le_bytes([low, high]) as usize;
        let Some(rest) = entries.get(bytes.max(18)..) else { break };
        entries = rest;
        count += 1;
    }
    count
}

/// Memory for code within the reach of jumps from `object` on, below it. Zeroed, and to be made
/// executable by [`seal`].
///
/// Far enough below that neither the heap behind an executable nor the next mappings under a
/// library come to where it is.
pub fn map_near(object: &core::ops::Range<usize>, bytes: usize) -> Option<usize> {
    const MIB: usize = 1 << 20;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let reach = object.end.checked_sub(2 << 30).map_or(64 << 10, |lowest| lowest + MIB);
    let below = |step: usize| object.start.checked_sub(step * MIB).filter(|at| *at >= reach);
    let places = [1536, 1280, 1024, 768, 512, 256, 64, 16, 2].into_iter().filter_map(below);
    let aligned = places.map(|at| at & !(PAGE - 1));
    let mut mapped = aligned.filter_map(|at| sys::map(at, bytes, access, flags, None).ok());
    mapped.next()
}

/// Gives back memory of [`map_near`] that nobody uses.
pub fn release(start: usize, bytes: usize) {
    sys::unmap(start, bytes);
}

/// Ends writing to memory of [`map_near`], and makes it executable. An error of the kernel's
/// where that is forbidden; then the memory is gone.
pub fn seal(start: usize, bytes: usize) -> Result<(), c_int> {
    let sealed = sys::protect(start, bytes, libc::PROT_READ | libc::PROT_EXEC);
    if sealed.is_err() {
        sys::unmap(start, bytes);
    }
    sealed
}

/// The process's own memory as a file.
#[derive(Debug)]
pub struct Memory(c_int);

impl Memory {
    /// Opens it.
    pub fn open() -> Result<Memory, c_int> {
        sys::open(b"/proc/self/mem\0", libc::O_RDWR, 0).map(Memory)
    }

    /// Replaces bytes, whatever their protection.
    ///
    /// # Safety
    /// The process stays in order with the new bytes, whatever it does at this instant.
    pub unsafe fn write(&self, address: usize, bytes: &[u8]) -> Result<(), c_int> {
        match sys::pwrite(self.0, bytes, address as u64)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(libc::EIO),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted() {
        let mut entries = [0u8; 72];
        for at in [0, 24, 48] {
            entries[at + 16] = 24;
        }
        assert_eq!(count_entries(&entries), 3);
        assert_eq!(count_entries(&[]), 0);
        assert_eq!(count_entries(&[0; 40]), 2, "an entry without a length still has a head");
    }

    #[test]
    fn a_file_is_read() {
        let first = with_file(b"/proc/self/exe\0", |bytes| bytes.first_chunk().copied());
        assert_eq!(first, Some(Some(*b"\x7fELF")));
        assert_eq!(with_file(b"/no/such/file\0", |_| ()), None);
    }

    #[test]
    fn code_is_written_and_run() {
        let here = code_is_written_and_run as *const () as usize & !0xfff;
        let start = map_near(&(here..here + PAGE), PAGE).expect("memory");
        assert!(here.abs_diff(start) < 2 << 30);
        // SAFETY: mapped for writing just now.
        unsafe { core::slice::from_raw_parts_mut(start as *mut u8, 6) }
            .copy_from_slice(&[0xb8, 1, 0, 0, 0, 0xc3]);
        seal(start, PAGE).expect("executable");
        // SAFETY: `mov eax, 1; ret`.
        let one: extern "C" fn() -> i32 = unsafe { core::mem::transmute(start) };
        if cfg!(target_arch = "x86_64") {
            assert_eq!(one(), 1);
            let memory = Memory::open().expect("opened");
            // SAFETY: nobody runs it now.
            unsafe { memory.write(start + 1, &[2]) }.expect("written");
            assert_eq!(one(), 2);
        }
        sys::unmap(start, PAGE);
    }
}
