//! What an ELF file says about how its program will allocate.

use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, ElfFile, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, ReadCache, ReadRef};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of e_ident, e_type and e_machine: what tells a file that is not for us.
const IDENT_BYTES: usize = 20;
/// The most of a section of constants that is searched for an allocator's messages.
const SEARCHED_BYTES: usize = 64 << 20;

/// The processor that a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    number: elf::Machine,
    bits: u8,
    little_endian: bool,
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.number, self.bits) {
            (elf::EM_X86_64, 32) => out.write_str("x32"),
            (elf::EM_X86_64, _) => out.write_str("x86-64"),
            (elf::EM_386, _) => out.write_str("32-bit x86"),
            (elf::EM_AARCH64, _) => out.write_str("aarch64"),
            (elf::EM_ARM, _) => out.write_str("32-bit ARM"),
            (elf::EM_RISCV, bits) => write!(out, "{bits}-bit RISC-V"),
            (elf::EM_PPC64, _) => out.write_str("POWER"),
            (elf::EM_S390, _) => out.write_str("s390x"),
            (elf::Machine(number), bits) => write!(out, "processor {number} with {bits} bits"),
        }
    }
}

/// Why a file was not read.
#[derive(Debug)]
pub enum ElfError {
    /// It cannot be opened or read.
    Io(io::Error),
    /// It is no ELF file.
    NotElf,
    /// For another processor than 64-bit ones of this byte order.
    Foreign(Machine),
    /// It is ELF, but damaged.
    Damaged,
}

/// What counts here of an executable or a library.
#[derive(Debug)]
pub struct Elf {
    /// For which processor.
    pub machine: Machine,
    /// The loader that it asks for; none in static programs and in libraries.
    pub interpreter: Option<String>,
    /// Libraries that it needs, in order.
    pub needed: Vec<String>,
    /// Its own folders for libraries, `$ORIGIN` unresolved.
    pub library_folders: Vec<String>,
    /// Whether others may call a malloc in it.
    pub defines_malloc: bool,
    /// Whether a malloc is linked into it, for others or for itself.
    pub contains_malloc: bool,
    /// Allocators it holds or calls under names of their own.
    pub other_allocators: Vec<&'static str>,
    /// Whether Go's linker made it.
    pub go: bool,
    /// Whether CPython is linked into it.
    pub python: bool,
}

impl Elf {
    /// Reads the parts of a file that count.
    pub fn read(path: &Path) -> Result<Elf, ElfError> {
        let mut file = File::open(path).map_err(ElfError::Io)?;
        let machine = read_machine(&mut file)?;
        let ours = machine.bits == 64 && machine.little_endian == cfg!(target_endian = "little");
        if !ours {
            return Err(ElfError::Foreign(machine));
        }
        let cache = ReadCache::new(file);
        read_elf(machine, &cache).map_err(|_| ElfError::Damaged)
    }

    /// Whether a loader prepares it: only then can anything be preloaded.
    pub fn is_dynamic(&self) -> bool {
        self.interpreter.is_some()
    }

    /// Whether its loader is musl's.
    pub fn is_musl(&self) -> bool {
        self.interpreter.as_deref().is_some_and(|loader| loader.contains("/ld-musl"))
    }
}

fn read_machine(file: &mut File) -> Result<Machine, ElfError> {
    let mut head = [0; IDENT_BYTES];
    match file.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(ElfError::NotElf),
        other => other.map_err(ElfError::Io)?,
    }
    if head[..4] != elf::ELFMAG {
        return Err(ElfError::NotElf);
    }
    let little_endian = elf::DataEncoding(head[5]) == elf::ELFDATA2LSB;
    let number = [head[18], head[19]];
    let number =
        if little_endian { u16::from_le_bytes(number) } else { u16::from_be_bytes(number) };
    let bits = if elf::FileClass(head[4]) == elf::ELFCLASS64 { 64 } else { 32 };
    Ok(Machine { number: elf::Machine(number), bits, little_endian })
}

fn read_elf<'a, R: ReadRef<'a>>(machine: Machine, data: R) -> object::Result<Elf> {
    let file = ElfFile::<FileHeader64<Endianness>, R>::parse(data)?;
    let endian = file.endian();
    let header = file.elf_header();
    let headers = header.program_headers(endian, data)?;
    let interpreter = headers
        .iter()
        .find_map(|header| header.interpreter(endian, data).ok().flatten())
        .map(|name| String::from_utf8_lossy(name).into_owned());

    let mut elf = Elf {
        machine,
        interpreter,
        needed: Vec::new(),
        library_folders: Vec::new(),
        defines_malloc: false,
        contains_malloc: false,
        other_allocators: Vec::new(),
        go: ["go.buildinfo", "note.go.buildid"]
            .iter()
            .any(|name| file.section_by_name(&format!(".{name}")).is_some()),
        python: false,
    };
    read_dynamic(&file, endian, &mut elf)?;
    for symbol in file.dynamic_symbols() {
        elf.note_symbol(&symbol, true);
    }
    for symbol in file.symbols() {
        elf.note_symbol(&symbol, false);
    }
    if elf.other_allocators.is_empty() && file.symbol_table().is_none() {
        elf.note_messages(&file);
    }
    Ok(elf)
}

fn read_dynamic<'a, R: ReadRef<'a>>(
    file: &ElfFile<'a, FileHeader64<Endianness>, R>,
    endian: Endianness,
    elf: &mut Elf,
) -> object::Result<()> {
    let sections = file.elf_section_table();
    let Some((entries, strings)) = sections.dynamic(endian, file.data())? else { return Ok(()) };
    let strings = sections.strings(endian, file.data(), strings)?;
    for entry in entries {
        let text = || entry.string(endian, strings).ok().map(String::from_utf8_lossy);
        match entry.tag(endian) {
            elf::DT_NEEDED => elf.needed.extend(text().map(|name| name.into_owned())),
            elf::DT_RPATH | elf::DT_RUNPATH => {
                let folders = text().unwrap_or_default().into_owned();
                elf.library_folders.extend(folders.split(':').map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Allocators by the beginnings of names that nothing else defines.
const ALLOCATOR_SYMBOLS: [(&str, &str); 10] = [
    ("_rjem_malloc", "jemalloc"),
    ("_rjem_je_malloc", "jemalloc"),
    ("je_malloc", "jemalloc"),
    ("mi_malloc", "mimalloc"),
    ("_mi_malloc", "mimalloc"),
    ("tc_malloc", "tcmalloc"),
    ("TCMallocInternal", "tcmalloc"),
    ("sn_malloc", "snmalloc"),
    ("_ZN8snmalloc", "snmalloc"),
    ("rpmalloc", "rpmalloc"),
];

/// What allocators say in their messages: they stay when the symbols are stripped.
const ALLOCATOR_MESSAGES: [(&[u8], &str); 3] =
    [(b"<jemalloc>", "jemalloc"), (b"mimalloc: ", "mimalloc"), (b"tcmalloc: ", "tcmalloc")];

impl Elf {
    fn note_symbol<'a>(&mut self, symbol: &impl ObjectSymbol<'a>, dynamic: bool) {
        let Ok(name) = symbol.name() else { return };
        if symbol.is_definition() && name == "malloc" {
            self.contains_malloc = true;
            self.defines_malloc |= dynamic;
        }
        self.python |= symbol.is_definition() && name == "_PyObject_GC_New";
        let known = ALLOCATOR_SYMBOLS.iter().find(|(start, _)| name.starts_with(start));
        if let Some((_, allocator)) = known {
            self.note_allocator(allocator);
        }
    }

    fn note_messages<'a, R: ReadRef<'a>>(
        &mut self,
        file: &ElfFile<'a, FileHeader64<Endianness>, R>,
    ) {
        let Some(constants) = file.section_by_name(".rodata") else { return };
        let Ok(bytes) = constants.data() else { return };
        let bytes = &bytes[..bytes.len().min(SEARCHED_BYTES)];
        for (message, allocator) in ALLOCATOR_MESSAGES {
            if bytes.windows(message.len()).any(|window| window == message) {
                self.note_allocator(allocator);
            }
        }
    }

    fn note_allocator(&mut self, allocator: &'static str) {
        if !self.other_allocators.contains(&allocator) {
            self.other_allocators.push(allocator);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn this_very_program_is_read() {
        let elf = Elf::read(&std::env::current_exe().expect("known")).expect("read");
        assert!(elf.is_dynamic() && !elf.go && !elf.contains_malloc);
        assert!(elf.needed.iter().any(|name| name.contains("libc.")), "{:?}", elf.needed);
        assert!(elf.other_allocators.is_empty(), "{:?}", elf.other_allocators);
    }

    #[test]
    fn other_processors_are_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("program");
        let mut head = [0u8; 64];
        head[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 1, 1, 1]);
        head[18] = elf::EM_386.0 as u8;
        fs::write(&path, head).expect("written");
        match Elf::read(&path) {
            Err(ElfError::Foreign(machine)) => assert_eq!(machine.to_string(), "32-bit x86"),
            other => panic!("{other:?}"),
        }
        fs::write(&path, b"\x7fEL").expect("written");
        assert!(matches!(Elf::read(&path), Err(ElfError::NotElf)));
        fs::write(&path, [&head[..4], &[2, 1, 1], &[0; 11], &[62, 0], &[0xff; 44]].concat())
            .expect("written");
        assert!(matches!(Elf::read(&path), Err(ElfError::Damaged)));
    }
}
