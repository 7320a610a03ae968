//! Builds the C programs of `tests/programs` into a folder under the target directory, once for
//! each version of their source and each way to build them.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::run::{command, run};
use crate::tools;

/// `-fno-builtin` keeps every call that the source makes: gcc drops pairs of malloc and free. The
/// warning that is off cannot know that a realloc fails.
const FLAGS: [&str; 8] = [
    "-std=gnu11",
    "-O1",
    "-g",
    "-fno-builtin",
    "-Wall",
    "-Werror",
    "-Wno-unused-function",
    "-Wno-use-after-free",
];

/// A program on the system's libc.
pub fn program(name: &str) -> PathBuf {
    build("cc", name, name, &["-pthread".into()])
}

/// The same, built with more flags under a name of its own.
pub fn program_with(name: &str, file_name: &str, flags: &[&str]) -> PathBuf {
    let flags: Vec<String> = ["-pthread"].iter().chain(flags).map(ToString::to_string).collect();
    build("cc", name, file_name, &flags)
}

/// A program on the system's libc that is linked statically.
pub fn static_program(name: &str) -> PathBuf {
    build("cc", name, name, &["-pthread".into(), "-static".into()])
}

/// A program on musl; `None`, after saying so, where there is no musl-gcc.
pub fn musl_program(name: &str) -> Option<PathBuf> {
    tools::find("musl-gcc")?;
    Some(build("musl-gcc", name, name, &["-pthread".into()]))
}

/// A C++ program, optimised, without frame pointers.
pub fn cpp_program(name: &str) -> PathBuf {
    cpp_program_with(name, name, &[])
}

/// The same, with frame pointers.
pub fn cpp_program_with_frame_pointers(name: &str) -> PathBuf {
    cpp_program_with(name, name, &["-fno-omit-frame-pointer"])
}

/// The same, built with more flags under a name of its own.
pub fn cpp_program_with(name: &str, file_name: &str, flags: &[&str]) -> PathBuf {
    let common = ["-std=gnu++17", "-O2", "-g", "-fomit-frame-pointer", "-Wall", "-pthread"];
    let flags: Vec<String> = common.iter().chain(flags).map(ToString::to_string).collect();
    build_from("g++", &format!("{name}.cpp"), file_name, &flags, &[])
}

/// A Rust program, optimised, without frame pointers.
pub fn rust_program(name: &str) -> PathBuf {
    rust_program_with(name, &[])
}

/// The same, with frame pointers.
pub fn rust_program_with_frame_pointers(name: &str) -> PathBuf {
    rust_program_with(name, &["-Cforce-frame-pointers=yes".to_string()])
}

/// The same without them, linked with a library `lib<NAME>.so`.
pub fn rust_program_with_library(name: &str, library: &Path) -> PathBuf {
    let folder = library.parent().expect("a library lies in a folder").display();
    let file = library.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let linked = file.strip_prefix("lib").unwrap_or(&file);
    rust_program_with(
        name,
        &[
            format!("-L{folder}"),
            format!("-ldylib={linked}"),
            format!("-Clink-arg=-Wl,-rpath,{folder}"),
        ],
    )
}

fn rust_program_with(name: &str, more: &[String]) -> PathBuf {
    let flags = ["--edition=2021", "-O", "-g", "-C", "force-frame-pointers=no"];
    let flags: Vec<String> =
        flags.iter().map(ToString::to_string).chain(more.iter().cloned()).collect();
    build_from("rustc", &format!("{name}.rs"), name, &flags, &[])
}

/// A shared library, under the given file name, with `NAME=value` macros defined.
pub fn library(name: &str, file_name: &str, defines: &[(&str, String)]) -> PathBuf {
    let mut flags = vec!["-shared".to_string(), "-fPIC".into(), "-pthread".into()];
    flags.extend(defines.iter().map(|(macro_name, value)| format!("-D{macro_name}={value}")));
    build("cc", name, file_name, &flags)
}

/// Builds `<source>.c`, unless that was done before, and returns the result's path. Its folder
/// carries the hash of everything that went in, so that the file keeps its bare name.
fn build(compiler: &str, source: &str, file_name: &str, flags: &[String]) -> PathBuf {
    build_from(compiler, &format!("{source}.c"), file_name, flags, &FLAGS)
}

fn build_from(
    compiler: &str,
    source: &str,
    file_name: &str,
    flags: &[String],
    common: &[&str],
) -> PathBuf {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
    let source = programs.join(source);
    let mut key = DefaultHasher::new();
    (compiler, common, flags, file_name).hash(&mut key);
    let headers = ["answer.h", "checkpoint.h", "looks.h", "pace.h"].map(|name| programs.join(name));
    for text in headers.iter().chain([&source]) {
        fs::read(text).unwrap_or_else(|error| panic!("{}: {error}", text.display())).hash(&mut key);
    }
    let folder = cache().join(format!("{:016x}", key.finish()));
    let built = folder.join(file_name);
    if built.is_file() {
        return built;
    }
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let fresh = fresh_name(&built);
    let mut cc: Command = command(compiler);
    cc.args(common).arg("-o").arg(&fresh).arg(&source).args(flags);
    run(&mut cc).expect_code(0);
    // Several tests may build the same program at once: each into a file of its own. The first
    // one stays, as it may be running by now, and symbols are looked for under its path.
    if let Err(error) = fs::hard_link(&fresh, &built) {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}: {error}", built.display());
    }
    fs::remove_file(&fresh).expect("a file just written can be removed");
    built
}

/// A name that no other thread or process uses.
fn fresh_name(path: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    path.with_extension(format!("{}-{number}", std::process::id()))
}

/// `<target>/test-programs`: test executables lie in `<target>/<profile>/deps`.
fn cache() -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    let target = test.ancestors().nth(3).expect("tests run from the target directory");
    target.join("test-programs")
}
