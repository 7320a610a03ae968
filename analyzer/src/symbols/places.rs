//! Where the files are that know an object's functions and lines.
//!
//! An object is what its build-id says: a file with another one is never used, however it is
//! named. What to look into is the caller's to say; nothing here knows the environment.

use super::binary::{self, Binary};
use crate::read::Module;
use std::path::{Path, PathBuf};

/// Folders to look into.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Given by the user: searched first, by build-id and by name.
    pub given: Vec<PathBuf>,
    /// Where distributions put separate debug files (/usr/lib/debug).
    pub debug: Vec<PathBuf>,
    /// The cache of a debuginfod client: a folder for each build-id.
    pub debuginfod: Option<PathBuf>,
    /// What a just-in-time compiler wrote of its functions (/tmp/perf-PID.map).
    pub perf_map: Option<PathBuf>,
}

/// What was found of an object.
#[derive(Debug, Default)]
pub struct Found {
    /// The file with DWARF.
    pub lines: Option<Binary>,
    /// The file with the best table of symbols.
    pub functions: Option<Binary>,
}

impl Places {
    /// Looks for the files of an object.
    pub fn find(&self, module: &Module) -> Found {
        let mut found = Found::default();
        for path in self.candidates(module) {
            let Some(binary) = Binary::open(&path, &module.build_id) else { continue };
            // The debug link is known only once the object itself is open.
            let linked = self.linked(&binary);
            found.offer(binary);
            for path in linked {
                if found.lines.is_none()
                    && let Some(binary) = Binary::open(&path, &module.build_id)
                {
                    found.offer(binary);
                }
            }
            if found.lines.is_some() {
                break;
            }
        }
        found
    }

    /// Files that may be the object or have its symbols, best first.
    fn candidates(&self, module: &Module) -> Vec<PathBuf> {
        let id = hexadecimal(&module.build_id);
        let path = Path::new(&*module.path);
        let name = path.file_name().map(Path::new);
        let mut all = Vec::new();
        for folder in &self.given {
            all.extend(by_build_id(folder, &id));
            all.extend(by_build_id(&folder.join(".build-id"), &id));
            let names = name.into_iter().chain(path.strip_prefix("/"));
            for name in names {
                all.push(with_suffix(&folder.join(name), ".debug"));
                all.push(folder.join(name));
            }
        }
        if path.is_absolute() {
            all.push(path.to_path_buf());
        }
        for folder in &self.debug {
            all.extend(by_build_id(&folder.join(".build-id"), &id));
        }
        if let Some(cache) = self.debuginfod.as_ref().filter(|_| !id.is_empty()) {
            all.push(cache.join(&id).join("debuginfo"));
            all.push(cache.join(&id).join("executable"));
        }
        all
    }

    /// Where the debug link of an object may lead, as gdb looks for it.
    fn linked(&self, binary: &Binary) -> Vec<PathBuf> {
        let Some(link) = binary.debug_link() else { return Vec::new() };
        let Some(folder) = binary.path().parent() else { return Vec::new() };
        let mut all = vec![folder.join(link), folder.join(".debug").join(link)];
        for debug in &self.debug {
            all.push(debug.join(folder.strip_prefix("/").unwrap_or(folder)).join(link));
        }
        all
    }
}

impl Found {
    fn offer(&mut self, binary: Binary) {
        if binary.has_lines() && self.lines.is_none() {
            self.functions = Some(binary.clone());
            self.lines = Some(binary);
        } else if self.functions.as_ref().is_none_or(|known| binary.knows_more_than(known)) {
            self.functions = Some(binary);
        }
    }
}

/// `xx/yyyy.debug` and its like, below a folder.
fn by_build_id(folder: &Path, id: &str) -> Vec<PathBuf> {
    match id.split_at_checked(2) {
        Some((first, rest)) if !rest.is_empty() => vec![
            folder.join(first).join(format!("{rest}.debug")),
            folder.join(first).join(rest),
            folder.join(id).join("debuginfo"),
        ],
        _ => Vec::new(),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A build-id as it is usually written.
pub fn hexadecimal(build_id: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
    build_id.iter().flat_map(digits).map(char::from).collect()
}

/// The file that a debug file shares parts with (dwz): where it says, or by build-id.
pub fn shared_part(binary: &Binary, places: &Places) -> Option<PathBuf> {
    let (path, build_id) = binary.shared_part()?;
    let id = hexadecimal(build_id);
    let beside = binary.path().parent().unwrap_or(Path::new("/")).join(path);
    let by_id = places.debug.iter().flat_map(|folder| by_build_id(&folder.join(".build-id"), &id));
    let mut all = std::iter::once(beside).chain(by_id);
    all.find(|path| binary::has_build_id(path, build_id))
}
