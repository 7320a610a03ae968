//! `fragtrace shootout`: the recorded calls, run again on other allocators.

mod change;
mod drive;
mod locate;
mod progress;

use super::output::{self, Output};
use super::symbols::SymbolOptions;
use super::{anonymize, arguments, input, map};
use anyhow::{Context, Result, bail};
use change::Change;
use clap::{Args, ValueEnum};
use drive::{Driver, Limits, Purpose};
use fragtrace_analyzer::measure;
use fragtrace_analyzer::render::shootout as render;
use fragtrace_analyzer::shootout::{
    self, Allocator, Baseline, Options, Recorded, Run, Script, Shootout, compile,
};
use locate::Place;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use drive::HIDDEN_NAME;

const EXAMPLES: &str = "\
Examples:
  fragtrace shootout run.ftr                        on all allocators that are installed
  fragtrace shootout run.ftr --allocators glibc,jemalloc,mimalloc
  fragtrace shootout run.ftr --allocators glibc:arena_max=1+mmap_threshold=128K,jemalloc:dirty_decay_ms=0
  fragtrace shootout run.ftr --allocator mine=/opt/lib/libmine.so,MINE_CONF=small
  fragtrace shootout run.ftr -o shootout.png        and RSS over time as a picture
  fragtrace shootout run.ftr --pool keep_session    what a pool for that site's blocks would save
  fragtrace shootout run.ftr --threads free         calls a second with all threads at once

The recorded calls are run again in a process of their own for each allocator: the same sizes,
alignments and order, each on the stand-in of its thread, blocks written as the program wrote them.
The RSS of a run is what the allocator has in memory then, and beside it what the program had that
is no heap.

Settings of glibc are its tunables (glibc.malloc.NAME), those of jemalloc the pairs of MALLOC_CONF,
those of mimalloc and tcmalloc their variables (MIMALLOC_NAME, TCMALLOC_NAME).

SITE is a function as `fragtrace blame` names it, part of its name, or a pattern with * and ?. With
--pool, --reuse or --same-thread-free each allocator runs twice, as recorded and so changed; unless
some are named, it is the recorded one alone.";

/// Run the recorded calls on other allocators
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The trace
    trace: PathBuf,

    /// What to try: names, each with settings behind a colon, several with + between them
    #[arg(long, value_name = "NAME[:SETTING=VALUE…],…", value_delimiter = ',')]
    allocators: Vec<String>,

    /// Try another library (may be repeated)
    #[arg(long, value_name = "NAME=PATH[,VAR=VALUE…]")]
    allocator: Vec<String>,

    /// Threads as recorded, taking turns in the recorded order, or all calls on one, or each as
    /// fast as it can, to measure throughput
    #[arg(long, value_enum, default_value_t = Threads::Recorded)]
    threads: Threads,

    /// Pauses are skipped, with the recorded time shown to the allocator, or waited for
    #[arg(long, value_enum, default_value_t = Speed::Max)]
    speed: Speed,

    /// Also with the blocks of this site in a pool of their own (may be repeated)
    #[arg(long, value_name = "SITE")]
    pool: Vec<String>,

    /// Also with the blocks of this site kept when they are freed, for the next ones (may be repeated)
    #[arg(long, value_name = "SITE")]
    reuse: Vec<String>,

    /// Also with every block freed by the thread that allocated it
    #[arg(long)]
    same_thread_free: bool,

    /// Stop an allocator that needs more: by default what memory is free, less a tenth
    #[arg(long, value_name = "SIZE", value_parser = arguments::size)]
    max_rss: Option<u64>,

    /// Also draw RSS over time, a line an allocator: where to write the PNG
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    look: arguments::Look,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Leave out folders, to share the result
    #[arg(long)]
    anonymize: bool,

    #[command(flatten)]
    symbols: SymbolOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Threads {
    /// A stand-in for each thread
    Recorded,
    /// All calls on one thread
    One,
    /// A stand-in for each thread, which waits only for blocks that another hands over
    Free,
}

impl From<Threads> for shootout::Threads {
    fn from(asked: Threads) -> Self {
        match asked {
            Threads::Recorded => shootout::Threads::Recorded,
            Threads::One => shootout::Threads::One,
            Threads::Free => shootout::Threads::Free,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Speed {
    /// As fast as it goes; allocators are shown the recorded time
    Max,
    /// As fast as recorded
    Recorded,
}

/// Runs the shootout and prints it.
///
/// # Errors
/// When the path leads to no trace, an allocator is not known, or the script cannot be written.
pub fn run(arguments: &Arguments, output: &Output) -> Result<u8> {
    let named = named(arguments)?;
    if arguments.threads == Threads::Free {
        refuse_with_free(arguments)?;
    }
    let trace = input::open(&arguments.trace)?;
    let (analysis, replay) = measure::analyze_to_end(&trace);
    let change = Change::of(arguments, &trace, &replay)?;
    let starts_threads = shootout::starts_threads(&trace, &replay);
    drop(replay);
    if analysis.trace.allocs == 0 && trace.base().is_none() {
        bail!(
            "{} holds no allocation: there is nothing to run again\n`fragtrace report` says why",
            arguments.trace.display()
        );
    }
    let options = Options {
        threads: arguments.threads.into(),
        real_time: arguments.speed == Speed::Recorded,
        ..Options::default()
    };
    let compiled = |options: &Options| -> Result<Compiled> {
        let (script, file) = write_script(|out| compile(&trace, &analysis, options, out))?;
        let recorded = trace.process().allocator.clone();
        Ok(Compiled { script, file, change: String::new(), recorded, waits: options.real_time })
    };
    let mut scripts = vec![compiled(&options)?];
    if let Some(change) = &change {
        let changed = compiled(&change.apply(options))?;
        scripts.push(Compiled { change: change.words.clone(), ..changed });
    }
    let of_table = trace.threads().values().map(|known| &*known.name);
    let of_events = scripts[0].script.thread_names.iter().map(String::as_str);
    let recorded = Recorded::of(trace.process(), of_table.chain(of_events), starts_threads);
    let moments = &scripts[0].script.moments;
    let mut found = Shootout {
        recorded: Run { name: "recorded".into(), ..Run::recorded(&analysis, moments) },
        threads: arguments.threads.into(),
        kept_from_ns: analysis.trace.wrapped.then_some(analysis.trace.window_start_ns),
        processors: std::thread::available_parallelism().ok().map(|count| count.get() as u64),
        ..Shootout::default()
    };
    let driver = Driver::new(Limits::new(arguments.max_rss))?;
    let baseline = driver.baseline()?;
    let threads = scripts[0].script.threads;
    let tried = with_recorded(named, change.is_some(), &recorded, threads, &mut found);
    let mut shown = progress::Progress::new(tried.len() * scripts.len());
    for allocator in &tried {
        for compiled in &scripts {
            shown.next(&allocator.name);
            try_one(allocator, &driver, (compiled, &baseline), &mut shown, &mut found)?;
        }
    }
    drop(shown);
    found.missing.sort();
    found.missing.dedup();
    found.conclude();
    let mut facts = analysis.trace;
    if arguments.anonymize {
        without_folders(&mut found);
        anonymize::facts(&mut facts);
    }
    if let Some(path) = &arguments.output {
        let title = map::title("Shootout", "RSS on other allocators over time", &facts);
        let png = render::draw(&found, &title, &arguments.look.options())?;
        output::write_file(path, &png, &arguments.trace)?;
        let _ = writeln!(std::io::stderr(), "fragtrace: wrote {}", path.display());
    }
    input::note_damage(&trace);
    if arguments.json {
        let mut out = output.plain();
        render::json(&found, &mut out)?;
        out.flush()?;
    } else {
        output.print(&render::report(&found))?;
    }
    Ok(0)
}

/// What goes with threads that take turns only.
fn refuse_with_free(arguments: &Arguments) -> Result<()> {
    if Change::is_asked_for(arguments) {
        bail!(
            "with --threads free the program runs as it was recorded\nleave it out to try --pool, \
             --reuse or --same-thread-free"
        );
    }
    if arguments.output.is_some() {
        bail!(
            "with --threads free there is no moment that is one for all threads, and so no RSS over \
             time to be drawn\nleave it out for the picture"
        );
    }
    Ok(())
}

/// A script in its file, and what it changes of the recorded run, in words.
struct Compiled {
    script: Script,
    file: File,
    change: String,
    /// The recorded allocator's object.
    recorded: String,
    /// Pauses are waited for: once is enough.
    waits: bool,
}

/// The allocators that the command line names; `None`: the usual ones.
fn named(arguments: &Arguments) -> Result<Option<Vec<Allocator>>> {
    let by_name = arguments.allocators.iter().map(|text| Allocator::named(text.trim()));
    let given = arguments.allocator.iter().map(|text| Allocator::given(text));
    let all: Vec<Allocator> = by_name.chain(given).collect::<Result<_, _>>()?;
    Ok((!all.is_empty()).then_some(all))
}

/// What is to be tried: the recorded allocator as it was first, to see how closely a replay meets
/// the program's own figures.
fn with_recorded(
    named: Option<Vec<Allocator>>,
    is_changed: bool,
    recorded: &Recorded,
    threads: u64,
    found: &mut Shootout,
) -> Vec<Allocator> {
    let usual = || if is_changed { Vec::new() } else { Allocator::usual(threads) };
    let mut tried = named.unwrap_or_else(usual);
    match recorded {
        Recorded::Known(known) => {
            tried.retain(|one| one.name != known.name || one.variables != known.variables);
            tried.insert(0, known.clone());
            found.reproduced = Some(0);
        }
        Recorded::Unknown(path) if path.is_empty() => {}
        Recorded::Unknown(path) => found.missing.push(format!(
            "the recorded allocator, {path}, which cannot be preloaded: linked into its program, \
             or of another C library"
        )),
    }
    tried
}

/// Writes a script to a file that goes with this process.
fn write_script(
    compile: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<Script>,
) -> Result<(Script, File)> {
    let failed = "the script of the run cannot be written to the temporary folder\nset TMPDIR to \
                  one with room: it takes about 10 bytes a call";
    let file = tempfile::tempfile().context(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, file.try_clone()?);
    let script = compile(&mut out).context(failed)?;
    out.flush().context(failed)?;
    for (place, word) in &script.patches {
        file.write_all_at(&word.to_le_bytes(), *place).context(failed)?;
    }
    Ok((script, file))
}

/// Runs one allocator, or notes that it is not here.
fn try_one(
    allocator: &Allocator,
    driver: &Driver,
    (compiled, baseline): (&Compiled, &Baseline),
    shown: &mut progress::Progress,
    found: &mut Shootout,
) -> Result<()> {
    let Compiled { script, file, change, recorded, waits } = compiled;
    let place = locate::library(allocator);
    // Whose code was in the recorded process already.
    let its_file = place.path().and_then(Path::file_name);
    let is_recorded = its_file.is_none() || its_file == Path::new(recorded).file_name();
    if let Place::Missing(why) = place {
        note_missing(why, found);
        return Ok(());
    }
    let library = place.path();
    let mut go = |purpose| {
        driver.run(file, script.samples, library, &allocator.variables, purpose, |words| {
            shown.at(words as f64 / script.words.max(1) as f64);
        })
    };
    let outcome = go(Purpose::Measure)?;
    if let Some(why) = &outcome.without_library {
        note_missing(format!("{}: {why}", allocator.name), found);
        return Ok(());
    }
    let is_free = found.threads == shootout::Threads::Free;
    let figures = if is_free { Run::contended } else { Run::replayed };
    let run = figures(&script.moments, outcome.source(), baseline, is_recorded);
    let system_calls = match run.error {
        None if !waits && !is_free => go(Purpose::CountSystemCalls)?.source().system_calls(),
        _ => None,
    };
    found.allocators.push(Run {
        name: allocator.name.clone(),
        settings: allocator.settings.clone(),
        change: (!change.is_empty()).then(|| change.clone()),
        library: library.map(|path| path.display().to_string()),
        system_calls,
        ..run
    });
    Ok(())
}

/// An allocator was not tried.
fn note_missing(why: String, found: &mut Shootout) {
    if found.reproduced.is_some() && found.allocators.is_empty() {
        found.reproduced = None;
    }
    found.missing.push(why);
}

/// Takes folders out.
fn without_folders(found: &mut Shootout) {
    let file_name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    for run in &mut found.allocators {
        run.library = run.library.as_deref().map(file_name);
    }
    for missing in &mut found.missing {
        let words: Vec<String> = missing.split(' ').map(file_name).collect();
        *missing = words.join(" ");
    }
}
