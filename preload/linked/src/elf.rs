//! The few parts of an ELF file that tell where functions are (System V ABI, 64 bit,
//! little-endian). Every offset in it is doubted.

const SHT_SYMTAB: u32 = 2;
const SHT_NOTE: u32 = 7;
const SHT_DYNSYM: u32 = 11;
const PT_LOAD: u32 = 1;
const STT_FUNC: u8 = 2;
const STB_LOCAL: u8 = 0;
const NOTE_BUILD_ID: u32 = 3;
const SYMBOL_BYTES: usize = 24;
const SECTION_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;

/// A file.
#[derive(Debug, Clone, Copy)]
pub struct Elf<'a> {
    bytes: &'a [u8],
}

/// A function that a file defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its linker's name.
    pub name: &'a [u8],
    /// Where it begins, as addresses are counted in the file.
    pub address: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Whether other files could see it.
    pub global: bool,
}

/// A section's header, as far as it counts here.
#[derive(Clone, Copy)]
struct Section {
    kind: u32,
    offset: u64,
    bytes: u64,
    link: u32,
}

impl<'a> Elf<'a> {
    /// `None`: no ELF file of 64 bits and this order of bytes.
    pub fn read(bytes: &'a [u8]) -> Option<Elf<'a>> {
        (bytes.len() >= 64 && bytes.starts_with(b"\x7fELF\x02\x01")).then_some(Elf { bytes })
    }

    /// The functions of its own table of symbols, or else of the one for the loader.
    pub fn functions(self) -> impl Iterator<Item = Symbol<'a>> + Clone {
        let table = self.section(SHT_SYMTAB).or_else(|| self.section(SHT_DYNSYM));
        let symbols = table.and_then(|table| self.contents(table)).unwrap_or_default();
        let strings = table
            .and_then(|table| self.sections().nth(table.link as usize))
            .and_then(|strings| self.contents(strings))
            .unwrap_or_default();
        symbols.chunks_exact(SYMBOL_BYTES).filter_map(move |entry| function(entry, strings))
    }

    /// Whether there are more symbols than the loader needs.
    pub fn has_own_symbols(self) -> bool {
        self.section(SHT_SYMTAB).is_some()
    }

    /// The bytes of the file that are loaded at an address, up to the end of their segment.
    pub fn code(self, address: u64) -> Option<&'a [u8]> {
        let table = u64_at(self.bytes, 32)? as usize;
        let count = u16_at(self.bytes, 56)? as usize;
        let segments = self.bytes.get(table..)?.chunks_exact(SEGMENT_BYTES).take(count);
        segments.filter(|segment| u32_at(segment, 0) == Some(PT_LOAD)).find_map(|segment| {
            let (offset, start) = (u64_at(segment, 8)?, u64_at(segment, 16)?);
            let (bytes, into) = (u64_at(segment, 32)?, address.checked_sub(start)?);
            let from = offset.checked_add(into)?;
            let to = offset.checked_add(bytes)?;
            if into >= bytes { None } else { self.bytes.get(from as usize..to as usize) }
        })
    }

    /// The number that tells this build from others.
    pub fn build_id(self) -> Option<&'a [u8]> {
        let notes = self.sections().filter(|section| section.kind == SHT_NOTE);
        notes.filter_map(|section| self.contents(section)).find_map(|note| {
            let (name_bytes, bytes) = (u32_at(note, 0)? as usize, u32_at(note, 4)? as usize);
            let own = u32_at(note, 8)? == NOTE_BUILD_ID && note.get(12..16)? == b"GNU\0";
            if own && name_bytes == 4 { note.get(16..16usize.checked_add(bytes)?) } else { None }
        })
    }

    fn section(self, kind: u32) -> Option<Section> {
        self.sections().find(|section| section.kind == kind)
    }

    fn sections(self) -> impl Iterator<Item = Section> + Clone {
        let table = u64_at(self.bytes, 40).unwrap_or(u64::MAX) as usize;
        let count = u16_at(self.bytes, 60).unwrap_or(0) as usize;
        let headers = self.bytes.get(table..).unwrap_or_default();
        headers.chunks_exact(SECTION_BYTES).take(count).map_while(|header| {
            Some(Section {
                kind: u32_at(header, 4)?,
                offset: u64_at(header, 24)?,
                bytes: u64_at(header, 32)?,
                link: u32_at(header, 40)?,
            })
        })
    }

    fn contents(self, section: Section) -> Option<&'a [u8]> {
        let end = section.offset.checked_add(section.bytes)?;
        self.bytes.get(section.offset as usize..end as usize)
    }
}

fn function<'a>(entry: &[u8], strings: &'a [u8]) -> Option<Symbol<'a>> {
    let (info, section) = (*entry.get(4)?, u16_at(entry, 6)?);
    if info & 15 != STT_FUNC || section == 0 {
        return None;
    }
    let name = strings.get(u32_at(entry, 0)? as usize..)?;
    let len = name.iter().position(|byte| *byte == 0)?;
    Some(Symbol {
        name: &name[..len],
        address: u64_at(entry, 8)?,
        bytes: u64_at(entry, 16)?,
        global: info >> 4 != STB_LOCAL,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn this_program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().expect("known")).expect("read")
    }

    #[test]
    fn functions_of_this_very_program_are_found_with_their_code() {
        let bytes = this_program();
        let elf = Elf::read(&bytes).expect("an ELF file");
        assert!(elf.has_own_symbols());
        let main = elf.functions().find(|symbol| symbol.name == b"main").expect("main");
        assert!(main.global && main.bytes > 0);
        let code = elf.code(main.address).expect("its code");
        assert!(code.len() as u64 >= main.bytes);
    }

    #[test]
    fn no_bytes_do_harm() {
        let bytes = this_program();
        assert!(Elf::read(b"\x7fELF").is_none());
        let touch = |bytes: &[u8]| {
            if let Some(elf) = Elf::read(bytes) {
                let named: usize = elf.functions().take(1000).map(|symbol| symbol.name.len()).sum();
                let _ = (named, elf.build_id(), elf.code(0x1000));
            }
        };
        // Each byte of the header in turn as bad as can be, and the file cut short.
        let mut damaged = bytes.clone();
        for at in 6..64 {
            for bad in [0, 0x7f, 0xff] {
                let before = std::mem::replace(&mut damaged[at], bad);
                touch(&damaged);
                damaged[at] = before;
            }
        }
        for cut in (64..bytes.len()).step_by(bytes.len() / 97) {
            touch(&bytes[..cut]);
        }
    }
}
