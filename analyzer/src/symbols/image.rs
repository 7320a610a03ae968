//! One object's functions and lines: from DWARF where there is some, else from its table of
//! symbols.

use super::binary::{Binary, with_file};
use super::demangle::{self, Language};
use super::places::{Places, shared_part};
use super::rules::{is_qualified, is_runtime};
use super::table::SymbolTable;
use crate::read::Module;
use addr2line::Loader;
use std::cell::OnceCell;

/// A function that an address is in, and where in its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name, demangled, and the language that it is in.
    pub function: Option<(String, Language)>,
    /// The source file.
    pub file: Option<String>,
    /// The line.
    pub line: Option<u32>,
}

/// What is known of one object.
#[derive(Default)]
pub struct Image {
    lines: Option<Loader>,
    /// The file with the table of symbols, and the table: where there are lines it is seldom asked for.
    functions: (Option<Binary>, OnceCell<SymbolTable>),
}

impl std::fmt::Debug for Image {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Image { lines, functions } = self;
        out.debug_struct("Image")
            .field("lines", &lines.is_some())
            .field("functions", &functions.0)
            .finish()
    }
}

impl Image {
    /// Reads what there is. Of an object of which nothing is found, nothing is known. Nobody changes a
    /// line of libc for what a trace says: of it and its like functions will do, as to unpack the
    /// lines takes longer than to replay a short trace.
    pub fn open(module: &Module, places: &Places) -> Image {
        let found = places.find(module);
        let lines = found.lines.filter(|_| !is_runtime(&module.path)).and_then(|binary| {
            let shared = shared_part(&binary, places);
            Loader::new_with_sup(binary.path(), shared.as_deref()).ok()
        });
        let image = Image { lines, functions: (found.functions, OnceCell::new()) };
        if image.lines.is_none() {
            image.functions();
        }
        image
    }

    fn functions(&self) -> &SymbolTable {
        let (file, table) = &self.functions;
        let read = |binary: &Binary| with_file(binary.path(), |file| Some(SymbolTable::read(file)));
        table.get_or_init(|| file.as_ref().and_then(read).unwrap_or_default())
    }

    /// The functions that an address (as in the file) is in: inlined ones first, the one
    /// that they were inlined into last. Never empty.
    pub fn places(&self, address: u64) -> Vec<Place> {
        let mut places = self.by_lines(address).unwrap_or_default();
        if places.is_empty() {
            places.push(Place { function: None, file: None, line: None });
        }
        if let Some(last) = places.last_mut() {
            // The linker's name says more than one of debug information that saves on names.
            let vague = |(name, language): &(String, Language)| {
                *language != Language::Plain && !is_qualified(name)
            };
            if last.function.as_ref().is_none_or(vague)
                && let Some(mangled) = self.functions().find(address)
            {
                last.function = Some(demangle::name(mangled, None));
            }
        }
        places
    }

    fn by_lines(&self, address: u64) -> Option<Vec<Place>> {
        let mut frames = self.lines.as_ref()?.find_frames(address).ok()?;
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let function = frame.function.as_ref().and_then(|function| {
                let language = function.language.map(|language| language.0);
                Some(demangle::name(&function.raw_name().ok()?, language))
            });
            let location = frame.location.as_ref();
            let file = location.and_then(|location| location.file).map(str::to_owned);
            let line = location.and_then(|location| location.line).filter(|line| *line > 0);
            places.push(Place { function, file, line });
        }
        Some(places)
    }
}
