//! Loaded objects and the symbols they define, read from memory.
//!
//! dlsym cannot be used: it may call calloc, and its symbol version differs between old and
//! new glibc. The tables are those that the loader itself uses: the GNU hash table, else the
//! older one. Layouts: System V ABI, and GNU hash as binutils writes it.

use core::ffi::{CStr, c_int, c_void};
use libc::dl_phdr_info;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_HASH: usize = 4;
const DT_STRTAB: usize = 5;
const DT_SYMTAB: usize = 6;
const DT_GNU_HASH: usize = 0x6fff_fef5;
const DT_VERSYM: usize = 0x6fff_fff0;
/// A version that only programs linked against it long ago should get.
const VERSYM_HIDDEN: u16 = 0x8000;
const STT_GNU_IFUNC: u8 = 10;

#[repr(C)]
#[derive(Clone, Copy)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: usize,
    size: usize,
}

/// A loaded object.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    base: usize,
    name: *const core::ffi::c_char,
    start: usize,
    end: usize,
    symbols: usize,
    strings: usize,
    gnu_hash: usize,
    hash: usize,
    versions: usize,
}

/// Calls `visit` with each loaded object in the order of symbol look-up, until it returns true.
pub(crate) fn each_object(mut visit: impl FnMut(&Object) -> bool) {
    unsafe extern "C" fn one<F: FnMut(&Object) -> bool>(
        info: *mut dl_phdr_info,
        _: usize,
        visit: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader hands in a valid record, and our own pointer from below.
        let (object, visit) = unsafe { (Object::read(&*info), &mut *visit.cast::<F>()) };
        object.is_some_and(|object| visit(&object)).into()
    }
    fn callback<F: FnMut(&Object) -> bool>(
        _: &F,
    ) -> unsafe extern "C" fn(*mut dl_phdr_info, usize, *mut c_void) -> c_int {
        one::<F>
    }
    let function = callback(&visit);
    // SAFETY: the closure lives over the call, and `function` knows its type.
    unsafe { libc::dl_iterate_phdr(Some(function), (&raw mut visit).cast()) };
}

impl Object {
    /// # Safety
    /// `info` is what dl_iterate_phdr hands out.
    unsafe fn read(info: &dl_phdr_info) -> Option<Object> {
        let base = info.dlpi_addr as usize;
        // SAFETY: by the caller, the program headers of a loaded object.
        let headers =
            unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum as usize) };
        let mut object = Object {
            base,
            name: info.dlpi_name,
            start: usize::MAX,
            end: 0,
            symbols: 0,
            strings: 0,
            gnu_hash: 0,
            hash: 0,
            versions: 0,
        };
        let mut dynamic = 0;
        for header in headers {
            let start = base.wrapping_add(header.p_vaddr as usize);
            match header.p_type {
                PT_LOAD => {
                    object.start = object.start.min(start);
                    object.end = object.end.max(start + header.p_memsz as usize);
                }
                PT_DYNAMIC => dynamic = start,
                _ => {}
            }
        }
        if dynamic == 0 {
            return None;
        }
        let mut entry = dynamic as *const [usize; 2];
        loop {
            // SAFETY: the dynamic section ends with a zero tag.
            let [tag, value] = unsafe { *entry };
            // glibc has added the base already, musl has not, nor anyone for the vDSO.
            let address = if value < base { base + value } else { value };
            match tag {
                0 => break,
                DT_HASH => object.hash = address,
                DT_STRTAB => object.strings = address,
                DT_SYMTAB => object.symbols = address,
                DT_GNU_HASH => object.gnu_hash = address,
                DT_VERSYM => object.versions = address,
                _ => {}
            }
            // SAFETY: as above.
            entry = unsafe { entry.add(1) };
        }
        (object.symbols != 0 && object.strings != 0).then_some(object)
    }

    /// Whether an address lies in the object.
    pub(crate) fn contains(&self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// Addresses from its first to its last segment.
    pub(crate) fn range(&self) -> core::ops::Range<usize> {
        self.start..self.end
    }

    /// Bytes from its first to its last segment.
    pub(crate) fn bytes(&self) -> usize {
        self.end - self.start
    }

    /// What is added to addresses in its file.
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// Its path; empty for the program itself.
    pub(crate) fn path(&self) -> &'static CStr {
        if self.name.is_null() {
            return c"";
        }
        // SAFETY: names belong to the loader's list; objects found at start stay loaded.
        unsafe { CStr::from_ptr(self.name) }
    }

    /// The address of a symbol that this object defines.
    pub(crate) fn find(&self, name: &CStr) -> Option<usize> {
        let find = |hidden| {
            // SAFETY: the tables are those of a loaded object.
            unsafe {
                if self.gnu_hash != 0 {
                    self.find_gnu(name, hidden)
                } else {
                    self.find_old(name, hidden)
                }
            }
        };
        // The default version; only where there is none, an old one.
        let symbol = find(false).or_else(|| find(true))?;
        let address = self.base.wrapping_add(symbol.value);
        if symbol.info & 15 == STT_GNU_IFUNC {
            // SAFETY: an indirect function's value is its resolver, which takes nothing that
            // the x86-64 and aarch64 resolvers of allocators read.
            let resolver: extern "C" fn() -> usize = unsafe { core::mem::transmute(address) };
            return Some(resolver());
        }
        Some(address)
    }

    /// # Safety
    /// `index` is in the symbol table.
    unsafe fn symbol_if(&self, index: usize, name: &CStr, hidden: bool) -> Option<Symbol> {
        if !hidden && self.versions != 0 {
            // SAFETY: one entry a symbol.
            let version = unsafe { *(self.versions as *const u16).add(index) };
            if version & VERSYM_HIDDEN != 0 {
                return None;
            }
        }
        // SAFETY: by the caller; names are strings in the string table.
        let (symbol, found) = unsafe {
            let symbol = *(self.symbols as *const Symbol).add(index);
            (symbol, CStr::from_ptr((self.strings + symbol.name as usize) as *const _))
        };
        (symbol.section != 0 && symbol.value != 0 && found == name).then_some(symbol)
    }

    /// # Safety
    /// The tables are as the linker wrote them.
    unsafe fn find_gnu(&self, name: &CStr, hidden: bool) -> Option<Symbol> {
        let hash = name
            .to_bytes()
            .iter()
            .fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(*byte as u32));
        let table = self.gnu_hash as *const u32;
        // SAFETY: header, bloom filter, buckets, chains, in this order.
        unsafe {
            let (buckets, first, bloom_words) = (*table, *table.add(1), *table.add(2));
            if buckets == 0 {
                return None;
            }
            let bucket_table = table.add(4 + 2 * bloom_words as usize);
            let chain = bucket_table.add(buckets as usize);
            let mut index = *bucket_table.add((hash % buckets) as usize);
            if index < first {
                return None;
            }
            loop {
                let entry = *chain.add((index - first) as usize);
                if entry | 1 == hash | 1
                    && let Some(symbol) = self.symbol_if(index as usize, name, hidden)
                {
                    return Some(symbol);
                }
                if entry & 1 != 0 {
                    return None;
                }
                index += 1;
            }
        }
    }

    /// # Safety
    /// The tables are as the linker wrote them.
    unsafe fn find_old(&self, name: &CStr, hidden: bool) -> Option<Symbol> {
        if self.hash == 0 {
            return None;
        }
        let hash = name.to_bytes().iter().fold(0u32, |hash, byte| {
            let hash = (hash << 4).wrapping_add(*byte as u32);
            let high = hash & 0xf000_0000;
            (hash ^ high >> 24) & !high
        });
        let table = self.hash as *const u32;
        // SAFETY: counts, buckets, chains, in this order.
        unsafe {
            let buckets = *table;
            if buckets == 0 {
                return None;
            }
            let chain = table.add(2 + buckets as usize);
            let mut index = *table.add(2 + (hash % buckets) as usize);
            while index != 0 {
                if let Some(symbol) = self.symbol_if(index as usize, name, hidden) {
                    return Some(symbol);
                }
                index = *chain.add(index as usize);
            }
        }
        None
    }
}
