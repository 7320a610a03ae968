//! An ELF file on disk: whose symbols it has, and of what kind.

use object::read::ReadCache;
use object::{Object, ObjectSection};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file that was found to belong to an object.
#[derive(Debug, Clone)]
pub struct Binary {
    path: PathBuf,
    has_lines: bool,
    has_full_table: bool,
    debug_link: Option<String>,
    shared_part: Option<(PathBuf, Vec<u8>)>,
}

impl Binary {
    /// The file at `path`, if it is an ELF file with this build-id.
    pub fn open(path: &Path, build_id: &[u8]) -> Option<Binary> {
        with_file(path, |file| {
            let same = file.build_id().ok()?.unwrap_or_default() == build_id;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            same.then(|| Binary {
                path: path.to_path_buf(),
                has_lines: has_section(file, ".debug_info"),
                has_full_table: has_section(file, ".symtab"),
                debug_link: file.gnu_debuglink().ok().flatten().map(|(name, _)| text(name)),
                shared_part: file
                    .gnu_debugaltlink()
                    .ok()
                    .flatten()
                    .map(|(path, id)| (text(path).into(), id.to_vec())),
            })
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has DWARF.
    pub fn has_lines(&self) -> bool {
        self.has_lines
    }

    /// Whether its table of symbols is the better one.
    pub fn knows_more_than(&self, other: &Binary) -> bool {
        self.has_full_table && !other.has_full_table
    }

    /// The name of its separate debug file: a plain name, no path.
    pub fn debug_link(&self) -> Option<&str> {
        self.debug_link.as_deref().filter(|name| !name.is_empty() && !name.contains('/'))
    }

    /// The file that it shares parts with, and that one's build-id.
    pub fn shared_part(&self) -> Option<(&Path, &[u8])> {
        self.shared_part.as_ref().map(|(path, id)| (path.as_path(), id.as_slice()))
    }
}

/// Whether there is an ELF file with a build-id at a path.
pub fn has_build_id(path: &Path, build_id: &[u8]) -> bool {
    with_file(path, |file| (file.build_id().ok()?? == build_id).then_some(())).is_some()
}

type CachedFile<'d> = object::File<'d, &'d ReadCache<File>>;

/// Reads what is asked of a file, and no more of it. `None`: it is no ELF file.
pub fn with_file<T>(path: &Path, read: impl FnOnce(&CachedFile<'_>) -> Option<T>) -> Option<T> {
    // Opening a pipe would wait.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let cache = ReadCache::new(File::open(path).ok()?);
    read(&object::File::parse(&cache).ok()?)
}

/// Whether a section is there, and has bytes: debug files have the others' without any.
fn has_section(file: &CachedFile<'_>, name: &str) -> bool {
    let section = file.section_by_name(name);
    section.is_some_and(|section| section.file_range().is_some_and(|(_, bytes)| bytes > 0))
}
