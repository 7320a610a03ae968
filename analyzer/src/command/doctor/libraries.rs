//! Which object's malloc a program will call: the first one in the loader's order that
//! defines it.
//!
//! The loader looks through the executable, the preloads, then the needed libraries breadth
//! first. Folders are searched as ld.so(8) says; its cache is replaced by the folders that
//! it was made from.

use super::super::elf::Elf;
use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// More libraries than any program loads.
const MOST_LIBRARIES: usize = 2000;

const STANDARD_FOLDERS: [&str; 11] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib/x86_64-linux-gnu",
    "/usr/local/lib/aarch64-linux-gnu",
    "/usr/local/lib",
];

/// The objects that a program loads at its start, as far as they were found, in the loader's
/// order and without the program itself.
pub fn loaded(program: &Path, elf: &Elf) -> Vec<(PathBuf, Elf)> {
    let configured = configured_folders(Path::new("/etc/ld.so.conf"), 0);
    let mut queue = VecDeque::new();
    for preload in words(std::env::var_os("LD_PRELOAD").as_deref(), &[':', ' ']) {
        queue.push_back((preload, Vec::new()));
    }
    let push_needed = |queue: &mut VecDeque<_>, path: &Path, elf: &Elf| {
        let folders = search_folders(path, elf, &configured);
        queue.extend(elf.needed.iter().map(|name| (name.clone(), folders.clone())));
    };
    push_needed(&mut queue, program, elf);

    let mut seen = HashSet::new();
    let mut found = Vec::new();
    while let Some((name, folders)) = queue.pop_front() {
        if !seen.insert(name.clone()) || found.len() == MOST_LIBRARIES {
            continue;
        }
        let Some((path, library)) = locate(&name, &folders, elf) else { continue };
        push_needed(&mut queue, &path, &library);
        found.push((path, library));
    }
    found
}

fn locate(name: &str, folders: &[PathBuf], program: &Elf) -> Option<(PathBuf, Elf)> {
    // musl's libc is its loader, whatever name a library asks for it by.
    let loader = program.interpreter.as_deref().filter(|_| program.is_musl());
    let candidates: Vec<PathBuf> = match loader {
        Some(loader) if name.starts_with("libc.") => vec![loader.into()],
        _ if name.contains('/') => vec![name.into()],
        _ => folders.iter().map(|folder| folder.join(name)).collect(),
    };
    // The loader, too, passes over files for other processors.
    candidates.into_iter().find_map(|path| {
        let library = Elf::read(&path).ok().filter(|library| library.machine == program.machine)?;
        Some((path, library))
    })
}

fn search_folders(path: &Path, elf: &Elf, configured: &[PathBuf]) -> Vec<PathBuf> {
    let origin = path.canonicalize().ok();
    let origin = origin.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
    let origin = origin.to_string_lossy();
    let own = elf.library_folders.iter();
    let own = own.map(|folder| folder.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin));
    let said = words(std::env::var_os("LD_LIBRARY_PATH").as_deref(), &[':', ';']);
    let standard = STANDARD_FOLDERS.iter().map(PathBuf::from);
    own.chain(said).map(PathBuf::from).chain(configured.iter().cloned()).chain(standard).collect()
}

/// The folders of /etc/ld.so.conf and of the files that it includes.
fn configured_folders(file: &Path, depth: u32) -> Vec<PathBuf> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut folders = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        match line.strip_prefix("include ") {
            Some(pattern) if depth < 4 => {
                for file in included(file, pattern.trim()) {
                    folders.extend(configured_folders(&file, depth + 1));
                }
            }
            Some(_) => {}
            None => folders.push(line.into()),
        }
    }
    folders
}

/// The files of an include line, whose last part may be `*.conf`.
fn included(from: &Path, pattern: &str) -> Vec<PathBuf> {
    let path = from.parent().unwrap_or(Path::new("/")).join(pattern);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let Some(ending) = name.to_string_lossy().strip_prefix('*').map(str::to_owned) else {
        return vec![path];
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> =
        entries.filter(|path| path.to_string_lossy().ends_with(&ending)).collect();
    files.sort();
    files
}

fn words(list: Option<&OsStr>, separators: &[char]) -> Vec<String> {
    let list = list.map(OsStr::to_string_lossy).unwrap_or_default();
    list.split(separators).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libc_of_this_very_program_is_found() {
        let path = std::env::current_exe().expect("known");
        let elf = Elf::read(&path).expect("read");
        let libraries = loaded(&path, &elf);
        let malloc = libraries.iter().find(|(_, library)| library.defines_malloc);
        let (libc, _) = malloc.expect("some library defines malloc");
        assert!(libc.to_string_lossy().contains("libc"), "{}", libc.display());
    }

    #[test]
    fn include_lines_are_followed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let main = folder.path().join("ld.so.conf");
        fs::create_dir(folder.path().join("ld.so.conf.d")).expect("a folder");
        fs::write(&main, "include ld.so.conf.d/*.conf\n/opt/lib # ours\n").expect("written");
        fs::write(folder.path().join("ld.so.conf.d/a.conf"), "/a\n# no\n/b\n").expect("written");
        fs::write(folder.path().join("ld.so.conf.d/a.txt"), "/c\n").expect("written");
        let folders = configured_folders(&main, 0);
        assert_eq!(folders, ["/a", "/b", "/opt/lib"].map(PathBuf::from));
    }
}
