//! Where an allocator's library is: beside this program, or in the folders that loaders look in.

use super::super::elf::{Elf, ElfError};
use super::super::tracer::plain_reason;
use fragtrace_analyzer::shootout::Allocator;
use std::path::{Path, PathBuf};

/// Where an allocator comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It is the C library's own.
    Libc,
    /// Its library.
    Library(PathBuf),
    /// It is not here, and how it could be, in words.
    Missing(String),
}

impl Place {
    /// The library to be preloaded.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Place::Library(path) => Some(path),
            Place::Libc | Place::Missing(_) => None,
        }
    }
}

/// Finds an allocator's library.
pub fn library(allocator: &Allocator) -> Place {
    library_in(allocator, &folders())
}

fn library_in(allocator: &Allocator, folders: &[PathBuf]) -> Place {
    let name = &allocator.name;
    let missing =
        |path: &Path, why: &str| Place::Missing(format!("{name}, {}: {why}", path.display()));
    if let Some(path) = &allocator.path {
        let path = Path::new(path);
        return match (path.canonicalize(), trouble_with(path)) {
            (Ok(path), None) => Place::Library(path),
            (Err(error), _) => missing(path, &plain_reason(&error)),
            (_, Some(why)) => missing(path, &why),
        };
    }
    let Some(family) = allocator.family else {
        return Place::Missing(format!("{name}, of which no library is known"));
    };
    if family.libraries.is_empty() {
        return Place::Libc;
    }
    let candidates = family
        .libraries
        .iter()
        .flat_map(|file| folders.iter().map(move |folder| folder.join(file)));
    let found = candidates.into_iter().find_map(|path| path.canonicalize().ok());
    found.map_or_else(|| Place::Missing(format!("{name} ({})", family.remedy)), Place::Library)
}

/// Why a file is no allocator that can be preloaded: the figures would be those of the C library's.
fn trouble_with(path: &Path) -> Option<String> {
    match Elf::read(path) {
        Ok(library) if library.defines_malloc => None,
        Ok(_) => Some("it has no malloc that others can call".into()),
        Err(ElfError::Io(error)) => Some(plain_reason(&error)),
        Err(ElfError::NotElf) => Some("it is no library".into()),
        Err(ElfError::Foreign(machine)) => Some(format!("it is for {machine}")),
        Err(ElfError::Damaged) => Some("it is a library, but damaged".into()),
    }
}

/// The user's own folders first, then what came with this program, then those of distributions.
fn folders() -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let beside = program.parent().map(|bin| [bin.to_path_buf(), bin.join("../lib")]);
    let own = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let own = std::env::split_paths(&own).filter(|path| path.is_absolute());
    own.chain(beside.into_iter().flatten())
        .chain(
            ["/usr/local/lib", "/usr/lib", "/lib", "/usr/lib64", "/lib64"]
                .iter()
                .flat_map(|folder| [Path::new(folder).join(&triplet), PathBuf::from(folder)]),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_name_is_found_and_what_is_missing_is_told_how_to_get() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().canonicalize().expect("resolved");
        let jemalloc = Allocator::named("jemalloc").expect("known");
        let Place::Missing(why) = library_in(&jemalloc, std::slice::from_ref(&root)) else {
            panic!("nothing is there");
        };
        assert!(why.contains("apt install libjemalloc2"), "{why}");
        let path = root.join("libjemalloc.so.2");
        std::fs::write(&path, "").expect("written");
        assert_eq!(library_in(&jemalloc, &[root]), Place::Library(path));
        let glibc = Allocator::named("glibc").expect("known");
        assert_eq!(library_in(&glibc, &[]), Place::Libc);
        let given = Allocator::given("mine=/nonexistent/mine.so").expect("well formed");
        let Place::Missing(why) = library_in(&given, &[]) else { panic!("it is not there") };
        assert!(why.contains("no such file"), "{why}");
    }
}
