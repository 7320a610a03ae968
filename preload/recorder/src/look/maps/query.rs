//! One mapping after the other, from any address on: what the text of /proc/self/maps cannot do,
//! as reading goes on only where a descriptor was kept, and we keep none.

use crate::sys;
use crate::text::valid_utf8;
use fragtrace_format::record::Mapping;
use libc::c_int;

/// From linux/fs.h (6.11 on): `struct procmap_query` and its flags.
#[repr(C)]
struct Query {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

const PROCMAP_QUERY: usize = 0xc068_6611;
const COVERING_OR_NEXT: u64 = 0x10;
/// Bits 1, 2, 4 and 8 are those of [`Mapping::permissions`].
const PERMISSIONS: u64 = 15;

const _: () = assert!(size_of::<Query>() == 104, "as the number of the request says");

/// /proc/self/maps, open for questions.
pub(super) struct Questions {
    fd: c_int,
}

impl Questions {
    /// `None`: it cannot be opened.
    pub(super) fn open() -> Option<Questions> {
        let fd = sys::open(b"/proc/self/maps\0", libc::O_RDONLY, 0).ok()?;
        Some(Questions { fd })
    }

    /// Whether the kernel knows these questions.
    pub(super) fn are_answered() -> bool {
        let mut name = [0; 8];
        let first = Questions::open().map(|questions| questions.next(0, &mut name).err());
        // A name may be longer than that.
        matches!(first, Some(None | Some(libc::ENAMETOOLONG)))
    }

    /// The mapping that holds an address, or else the next one above; `None`: there is none.
    /// Its name goes to `name`.
    ///
    /// # Errors
    /// What the kernel says: ENOTTY where it does not know the question.
    pub(super) fn next<'n>(
        &self,
        address: u64,
        name: &'n mut [u8],
    ) -> Result<Option<Mapping<'n>>, c_int> {
        let mut query = Query {
            size: size_of::<Query>() as u64,
            query_flags: COVERING_OR_NEXT,
            query_addr: address,
            vma_start: 0,
            vma_end: 0,
            vma_flags: 0,
            vma_page_size: 0,
            vma_offset: 0,
            inode: 0,
            dev_major: 0,
            dev_minor: 0,
            vma_name_size: name.len() as u32,
            build_id_size: 0,
            vma_name_addr: name.as_mut_ptr() as u64,
            build_id_addr: 0,
        };
        // SAFETY: the kernel reads and writes the query, and at most so many bytes of the name.
        match unsafe { sys::control(self.fd, PROCMAP_QUERY, (&raw mut query) as usize) } {
            Err(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        // With the zero at its end; 0: it has none.
        let len = (query.vma_name_size as usize).min(name.len()).saturating_sub(1);
        Ok(Some(Mapping {
            start: query.vma_start,
            bytes: query.vma_end.saturating_sub(query.vma_start),
            permissions: (query.vma_flags & PERMISSIONS) as u8,
            file_offset: query.vma_offset,
            inode: query.inode,
            name: valid_utf8(&name[..len]),
        }))
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        sys::close(self.fd);
    }
}
