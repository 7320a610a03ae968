//! The checks of one program: will the loader preload the tracer, and will the program's
//! blocks come from a malloc that the tracer sees?

use super::super::elf::{Elf, ElfError};
use super::Finding;
use super::{libraries, linked};
use crate::command::system;
use crate::command::tracer::plain_reason;
use nix::unistd::{Gid, Uid};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Scripts whose interpreter is a script whose interpreter …: the kernel stops here, too.
const MOST_SCRIPTS: usize = 4;
/// The longest first line of a script that the kernel reads.
const SCRIPT_LINE_BYTES: u64 = 255;
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// All checks of a program that is named as in a shell.
pub fn check(command: &Path, tracer: Option<&Elf>) -> Vec<Finding> {
    let Some(path) = find_in_path(command) else {
        let text = if command.exists() {
            format!("{} is not an executable file", command.display())
        } else {
            format!("{}: no such program", command.display())
        };
        return vec![Finding::cannot(
            text,
            "name a program as in a shell: by its path, or one in PATH",
        )];
    };
    let mut findings = Vec::new();
    let program = match follow_scripts(path, &mut findings) {
        Ok(program) => program,
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    };
    findings.extend(check_privileges(&program));
    match Elf::read(&program) {
        Ok(elf) => check_elf(&program, &elf, tracer, &mut findings),
        Err(error) => findings.push(unreadable(&program, &error, tracer)),
    }
    findings
}

/// The file that a shell would run.
fn find_in_path(command: &Path) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o111 != 0)
    };
    if command.as_os_str().as_bytes().contains(&b'/') {
        return Some(command.to_path_buf()).filter(is_program);
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&folders).map(|folder| folder.join(command)).find(is_program)
}

/// From a script to the program that runs it.
fn follow_scripts(mut path: PathBuf, findings: &mut Vec<Finding>) -> Result<PathBuf, Finding> {
    for _ in 0..MOST_SCRIPTS {
        let Some(interpreter) = interpreter_of(&path) else { return Ok(path) };
        let found = interpreter.as_deref().and_then(find_in_path);
        let Some(found) = found else {
            let named = interpreter.unwrap_or_default();
            let text =
                format!("{}: its interpreter {} is missing", path.display(), named.display());
            return Err(Finding::cannot(text, "see the first line of the script"));
        };
        findings.push(Finding::ok(format!(
            "{} is a script, run by {}",
            path.display(),
            found.display()
        )));
        path = found;
    }
    Ok(path)
}

/// The interpreter of a script, as its first line names it; `None` for what is no script.
fn interpreter_of(path: &Path) -> Option<Option<PathBuf>> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(SCRIPT_LINE_BYTES).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let first = Path::new(OsStr::from_bytes(words.next()?));
    if first.file_name() != Some(OsStr::new("env")) {
        return Some(Some(first.to_path_buf()));
    }
    // env runs the first word that is neither an option nor a variable.
    let run = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='));
    Some(run.map(|word| PathBuf::from(OsStr::from_bytes(word))))
}

/// For a program that gains rights when it starts, the loader drops preloads without a word.
fn check_privileges(program: &Path) -> Option<Finding> {
    let file = fs::metadata(program).ok()?;
    let is_root = Uid::current().is_root();
    let (what, gains) = if file.mode() & SETUID != 0 {
        ("is setuid", file.uid() != Uid::current().as_raw())
    } else if file.mode() & SETGID != 0 {
        ("is setgid", file.gid() != Gid::current().as_raw())
    } else if system::has_file_capabilities(program) {
        ("has file capabilities", !is_root)
    } else {
        return None;
    };
    let shown = program.display();
    Some(if gains {
        Finding::cannot(
            format!("{shown} {what}: the loader ignores preloads for it"),
            "run a copy without that right, or run it as the user whose rights it takes",
        )
    } else {
        Finding::note(
            format!("{shown} {what}: when other users run it, the loader ignores preloads"),
            "run as you are now it can be traced",
        )
    })
}

fn unreadable(program: &Path, error: &ElfError, tracer: Option<&Elf>) -> Finding {
    let shown = program.display();
    match error {
        ElfError::Io(error) => Finding::cannot(
            format!("{shown} cannot be read: {}", plain_reason(error)),
            "the checks need its file; try as its owner",
        ),
        ElfError::NotElf => Finding::cannot(
            format!("{shown} is neither a program nor a script with a #! line"),
            "name the program that runs it",
        ),
        ElfError::Foreign(machine) => foreign(program, &machine.to_string(), tracer),
        ElfError::Damaged => Finding::cannot(
            format!("{shown} is an ELF file, but damaged"),
            "build or install it again",
        ),
    }
}

fn foreign(program: &Path, machine: &str, tracer: Option<&Elf>) -> Finding {
    let ours = tracer.map_or_else(|| "64-bit".into(), |tracer| tracer.machine.to_string());
    let text = format!("{} is for {machine}, the tracer for {ours}", program.display());
    Finding::cannot(text, "trace a build for this machine's own processor")
}

fn check_elf(program: &Path, elf: &Elf, tracer: Option<&Elf>, findings: &mut Vec<Finding>) {
    let shown = program.display();
    if tracer.is_some_and(|tracer| tracer.machine != elf.machine) {
        findings.push(foreign(program, &elf.machine.to_string(), tracer));
        return;
    }
    if !elf.is_dynamic() {
        let (text, remedy) = if elf.go {
            (
                format!("{shown} is a static Go program: nothing can be preloaded into it"),
                "use Go's own heap profile (runtime/pprof)",
            )
        } else {
            (
                format!("{shown} is linked statically: nothing can be preloaded into it"),
                "link it dynamically (without -static; Rust for musl: -C target-feature=-crt-static)",
            )
        };
        findings.push(Finding::cannot(text, remedy));
        return;
    }
    let libc = if elf.is_musl() { ", with musl" } else { "" };
    findings.push(Finding::ok(format!("{shown} is linked dynamically, for {}{libc}", elf.machine)));
    let libraries = libraries::loaded(program, elf);
    findings.extend(check_allocator(program, elf, &libraries));
    findings.extend(check_runtime(program, elf, &libraries));
}

fn check_allocator(program: &Path, elf: &Elf, libraries: &[(PathBuf, Elf)]) -> Vec<Finding> {
    let mut findings = linked::check(program);
    let nameless = findings.is_empty();
    if nameless && !elf.other_allocators.is_empty() {
        findings.push(linked::nameless(&elf.other_allocators.join(", ")));
    }
    if elf.contains_malloc {
        if nameless && elf.other_allocators.is_empty() {
            findings.push(linked::nameless("a malloc of its own"));
        }
        return findings;
    }
    match libraries.iter().find(|(_, library)| library.defines_malloc) {
        Some((path, _)) => {
            let name = allocator_name(path);
            findings.push(Finding::ok(format!("malloc is {name}, from {}", path.display())));
        }
        None => findings.push(Finding::note(
            "which malloc it calls cannot be told: a library it needs was not found",
            "the report says it after a run",
        )),
    }
    findings
}

fn allocator_name(library: &Path) -> &'static str {
    let name = library.file_name().unwrap_or_default().to_string_lossy();
    let known = [
        ("libfragtrace", "the tracer's (it is preloaded already)"),
        ("libjemalloc", "jemalloc's"),
        ("libtcmalloc", "tcmalloc's"),
        ("libmimalloc", "mimalloc's"),
        ("libsnmalloc", "snmalloc's"),
        ("ld-musl", "musl's"),
        ("libc.musl", "musl's"),
        ("libc.so.6", "glibc's"),
    ];
    let found = known.into_iter().find(|(start, _)| name.starts_with(start));
    found.map_or("another library's", |(_, allocator)| allocator)
}

/// Languages whose objects do not come from malloc one by one.
fn check_runtime(program: &Path, elf: &Elf, libraries: &[(PathBuf, Elf)]) -> Vec<Finding> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let loads = |start: &str| {
        let mut names = libraries.iter().filter_map(|(path, _)| path.file_name());
        names.any(|name| name.to_string_lossy().starts_with(start))
    };
    let mut findings = Vec::new();
    if elf.go {
        findings.push(Finding::warning(
            "it is a Go program: Go's heap is not seen, only what C code in it takes",
            "for Go's part use its heap profile (runtime/pprof)",
        ));
    }
    if elf.python || loads("libpython") {
        findings.push(Finding::note(
            "Python keeps objects of up to 512 bytes in arenas of its own (pymalloc)",
            "set PYTHONMALLOC=malloc to see each of them",
        ));
    }
    if name == "node" || name == "nodejs" || loads("libnode") {
        findings.push(Finding::note(
            "JavaScript objects live in V8's own heap; what malloc serves is seen: buffers, add-ons",
            "for the rest take a heap snapshot (node --heapsnapshot-signal=SIGUSR2)",
        ));
    }
    if name == "java" || loads("libjli") || loads("libjvm") {
        findings.push(Finding::note(
            "Java objects live in the JVM's own heap; what malloc serves is seen: native memory",
            "for the rest use jcmd PID GC.heap_info",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made executable");
        path
    }

    #[test]
    fn a_script_is_followed_to_what_runs_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let plain = script(folder.path(), "a", "#! /bin/sh -e\necho\n");
        assert_eq!(interpreter_of(&plain), Some(Some("/bin/sh".into())));
        let env = script(folder.path(), "b", "#!/usr/bin/env -S A=1 python3 -u\n");
        assert_eq!(interpreter_of(&env), Some(Some("python3".into())));
        let none = script(folder.path(), "c", "echo\n");
        assert_eq!(interpreter_of(&none), None);

        let findings = check(&plain, None);
        assert!(findings[0].text.contains("is a script, run by /bin/sh"), "{findings:?}");
        assert!(findings.iter().all(|finding| finding.grade != Grade::Cannot), "{findings:?}");
    }

    #[test]
    fn what_cannot_be_run_is_said() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lost = script(folder.path(), "a", "#!/nonexistent/interpreter\n");
        for (command, words) in [
            (lost.as_path(), "interpreter /nonexistent/interpreter is missing"),
            (Path::new("no-such-program-at-all"), "no such program"),
            (Path::new("/etc/passwd"), "not an executable file"),
            (script(folder.path(), "b", "no header\n").as_path(), "neither a program nor a script"),
        ] {
            let findings = check(command, None);
            let last = findings.last().expect("a finding");
            assert_eq!(last.grade, Grade::Cannot);
            assert!(last.text.contains(words), "{last:?}");
        }
    }
}
