//! Functions, files and lines of real programs: each tells the stacks of its allocations
//! itself, as the C library unwinds them, and its source says what is to be found.
#![forbid(unsafe_code)]

mod support;

use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::symbols::{Call, Pattern, Places, Rules, Symbols};
use fragtrace_format::record::{Module, ModuleEvent};
use object::Object;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::Builder;
use tempfile::TempDir;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs");

/// A program that was compiled, run, and made into a trace.
struct Program {
    folder: TempDir,
    source: String,
    binary: PathBuf,
    builder: Builder,
    stacks: Vec<u32>,
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the compiler is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn build_id(path: &Path) -> Option<&'static [u8]> {
    let bytes = fs::read(path).ok()?;
    let id = object::File::parse(&*bytes).ok()?.build_id().ok()??.to_vec();
    Some(id.leak())
}

impl Program {
    fn new(source: &str, compiler: &str, flags: &[&str]) -> Program {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (source, binary) = (format!("{SOURCES}/{source}"), folder.path().join("shop"));
        run(Command::new(compiler).args(flags).arg(&source).arg("-o").arg(&binary));
        let output = run(&mut Command::new(&binary));
        let mut program =
            Program { folder, source, binary, builder: Builder::default(), stacks: Vec::new() };
        program.take_in(&output);
        program
    }

    fn c(flags: &[&str]) -> Program {
        Program::new("site.c", "gcc", &[&["-O2", "-Wl,--build-id"], flags].concat())
    }

    /// Stacks and mappings, as the program printed them.
    fn take_in(&mut self, output: &str) {
        for line in output.lines() {
            if let Some(addresses) = line.strip_prefix("stack ") {
                let addresses: Vec<u64> = addresses.split(' ').map(hexadecimal).collect();
                let stack = self.builder.stack(&addresses);
                self.stacks.push(stack);
            } else if let Some(mapping) = line.strip_prefix("map ") {
                self.map(mapping);
            }
        }
        assert!(!self.stacks.is_empty(), "the program told its stacks:\n{output}");
    }

    fn map(&mut self, line: &str) {
        let Some(at) = line.find('/') else { return };
        let path: &'static str = line[at..].trim().to_owned().leak();
        let (start, end) =
            line.split(' ').next().expect("a range").split_once('-').expect("a range");
        let (start, end) = (hexadecimal(start), hexadecimal(end));
        for event in &mut self.builder.modules {
            if let ModuleEvent::Loaded(module) = event
                && module.path == path
            {
                module.bytes = end - module.start;
                return;
            }
        }
        let Some(build_id) = build_id(Path::new(path)) else { return };
        let fixed = start < 1 << 32;
        let bias = if fixed { 0 } else { start };
        let bytes = end - start;
        let module = Module { start, bytes, bias, build_id, path, ..Module::default() };
        self.builder.modules.push(ModuleEvent::Loaded(module));
    }

    /// The line of a mark in the source.
    fn line(&self, mark: &str) -> Option<u32> {
        let source = fs::read_to_string(&self.source).expect("the source");
        let mark = [format!("// {mark}"), format!("/* {mark} */")];
        let line = source.lines().position(|line| mark.iter().any(|mark| line.contains(mark)));
        line.map(|line| line as u32 + 1)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program without symbols; they are in a file of their own.
    fn strip_into(&self, debug: &Path) {
        run(Command::new("objcopy").arg("--only-keep-debug").arg(&self.binary).arg(debug));
        run(Command::new("strip").arg(&self.binary));
    }

    fn site(&self, which: usize, places: Places) -> Call {
        self.site_by(which, places, &[])
    }

    fn site_by(&self, which: usize, places: Places, skip: &[&str]) -> Call {
        let trace = self.builder.open();
        let patterns = skip.iter().map(|pattern| Pattern::new(pattern)).collect();
        let mut symbols = Symbols::new(&trace, places, Rules::new(patterns));
        symbols.site(self.stacks[which], 0).expect("a stack").call().clone()
    }
}

fn hexadecimal(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("an address")
}

#[track_caller]
fn assert_at(call: &Call, function: &str, file: &str, line: Option<u32>) {
    assert_eq!(call.function.as_deref(), Some(function), "{call:?}");
    assert!(call.file.as_deref().is_some_and(|path| path.ends_with(file)), "{call:?}");
    assert_eq!(call.line, line, "{call:?}");
}

fn given(folder: &Path) -> Places {
    Places { given: vec![folder.to_path_buf()], ..Places::default() }
}

#[test]
fn an_inlined_function_of_c_is_the_site_behind_a_wrapper() {
    let program = Program::c(&["-g", "-fomit-frame-pointer"]);
    let trace: Trace = program.builder.open();
    let mut symbols = Symbols::new(&trace, Places::default(), Rules::default());
    let site = symbols.site(program.stacks[0], 0).expect("a stack");
    assert_at(&site.calls[0], "copy_name", "site.c", program.line("SITE"));
    assert_at(&site.calls[1], "keep_session", "site.c", program.line("CALLER"));
    assert_eq!(site.calls[2].function.as_deref(), Some("main"));
    let all = symbols.calls(program.stacks[0], 0);
    assert_eq!(all[0].function.as_deref(), Some("xmalloc"));
}

#[test]
fn what_is_read_ahead_gives_the_same_names() {
    let program = Program::c(&["-g"]);
    let trace: Trace = program.builder.open();
    let symbols = || Symbols::new(&trace, Places::default(), Rules::default());
    let all = |mut symbols: Symbols<'_>| {
        let stacks = program.stacks.iter();
        stacks.map(|stack| symbols.calls(*stack, 0)).collect::<Vec<Vec<Call>>>()
    };
    let asked = all(symbols());
    assert!(asked.iter().flatten().any(|call| call.function.as_deref() == Some("keep_session")));
    for _ in 0..20 {
        let ahead = symbols();
        ahead.read_ahead();
        assert_eq!(all(ahead), asked);
    }
    // Nobody may ask any more, and nobody waits.
    symbols().read_ahead();
}

#[test]
fn skipped_functions_and_files_are_no_sites() {
    let program = Program::c(&["-g"]);
    let by = |pattern| program.site_by(0, Places::default(), &[pattern]).function.clone();
    assert_eq!(by("copy_").as_deref(), Some("keep_session"));
    assert_eq!(by("copy_").as_deref(), by("copy_*").as_deref());
    assert_eq!(by("copy").as_deref(), Some("keep_session"));
    assert_eq!(by("*/site.?").as_deref(), by("shop").as_deref(), "all of the program");
    assert_ne!(by("shop").as_deref(), Some("main"));
}

#[test]
fn a_program_at_fixed_addresses_is_found_too() {
    let program = Program::c(&["-g", "-no-pie"]);
    assert_at(&program.site(0, Places::default()), "copy_name", "site.c", program.line("SITE"));
}

#[test]
fn without_lines_there_is_the_function_and_without_symbols_the_offset() {
    let program = Program::c(&["-g0"]);
    let site = program.site(0, Places::default());
    assert_eq!((site.function.as_deref(), site.line), (Some("keep_session"), None));
    run(Command::new("strip").arg(&program.binary));
    let bare = program.site(0, Places::default());
    assert_eq!((bare.function, bare.file, bare.line), (None, None, None));
    assert!(bare.module.is_some() && bare.offset > 0 && bare.offset < 1 << 20);
}

#[test]
fn a_separate_debug_file_is_found_wherever_it_may_be() {
    let program = Program::c(&["-g"]);
    let debug = program.path("elsewhere.debug");
    program.strip_into(&debug);
    let id: String =
        build_id(&program.binary).expect("one").iter().map(|byte| format!("{byte:02x}")).collect();
    let found = |places: Places| program.site(0, places).function.as_deref() == Some("copy_name");
    assert!(!found(Places::default()), "nothing leads there");
    let put = |path: PathBuf| {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::copy(&debug, &path).expect("copied");
    };
    let by_id = format!("{}/{}.debug", &id[..2], &id[2..]);
    put(program.path("system/.build-id").join(&by_id));
    assert!(found(Places { debug: vec![program.path("system")], ..Places::default() }));
    put(program.path("given/.build-id").join(&by_id));
    assert!(found(given(&program.path("given"))));
    put(program.path("named/shop.debug"));
    assert!(found(given(&program.path("named"))));
    put(program.path("plain/shop"));
    assert!(found(given(&program.path("plain"))));
    put(program.path("cache").join(&id).join("debuginfo"));
    assert!(found(Places { debuginfod: Some(program.path("cache")), ..Places::default() }));
    run(Command::new("objcopy").arg("--add-gnu-debuglink").arg(&debug).arg(&program.binary));
    assert!(found(Places::default()), "by its debug link");
    let site = program.site(0, Places::default());
    assert_at(&site, "copy_name", "site.c", program.line("SITE"));
}

#[test]
fn a_file_with_another_build_id_is_not_used() {
    let program = Program::c(&["-g"]);
    let other = Program::c(&["-g", "-Wl,--build-id=0x1234567890abcdef"]);
    fs::copy(&other.binary, &program.binary).expect("replaced");
    let site = program.site(0, Places::default());
    assert_eq!(site.function, None, "the program was built anew since");
    fs::create_dir_all(program.path("given")).expect("made");
    fs::copy(&other.binary, program.path("given/shop")).expect("copied");
    assert_eq!(program.site(0, given(&program.path("given"))).function, None);
}

#[test]
fn templates_and_lambdas_of_cpp_are_sites_and_the_library_is_not() {
    let program = Program::new("site.cpp", "g++", &["-g", "-O2", "-std=c++17"]);
    let site = program.site(0, Places::default());
    assert_at(&site, "shop::Store<long>::insert", "site.cpp", program.line("SITE"));
    let lambda = program.site(1, Places::default());
    let name = "main()::<lambda(long int)>::operator()";
    assert_at(&lambda, name, "site.cpp", program.line("LAMBDA"));
}

#[test]
fn collections_of_rust_are_charged_to_who_fills_them() {
    for debug in ["debuginfo=line-tables-only", "debuginfo=2"] {
        let flags = ["-O", "-C", debug, "--edition=2024", "-C", "link-arg=-Wl,--build-id"];
        let program = Program::new("site.rs", "rustc", &flags);
        let sites: Vec<Call> = (0..3).map(|which| program.site(which, Places::default())).collect();
        assert_at(&sites[0], "site::shop::keep_session", "site.rs", program.line("SITE"));
        assert_at(
            &sites[1],
            "<alloc::vec::Vec<u64> as site::shop::Keep>::keep",
            "site.rs",
            program.line("TRAIT"),
        );
        assert_at(&sites[2], "site::shop::squares", "site.rs", program.line("COLLECT"));
    }
}
