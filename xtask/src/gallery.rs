//! `cargo xtask gallery`: each illness that is diagnosed, as pictures of the program that has it.
//!
//! Traces the programs of `tests/programs`, makes sure that the report finds what the picture is
//! to show, and writes docs/gallery.md with its pictures. These are anonymous: nothing of the
//! machine that made them is in them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::project::Artifacts;
use crate::{project, shell};

/// As the tests build their programs.
const FLAGS: [&str; 5] = ["-std=gnu11", "-O1", "-g", "-fno-builtin", "-pthread"];
/// Small enough for a page of forty, large enough to be read.
const SIZE: &str = "960x540";
/// What an allocator of another kind is read from, for the illness that glibc does not have.
const UNMERGED: &str = "unmerged";
/// A page without these loads at once.
const MOST_BYTES: u64 = 48 << 10;
/// The illness that needs something of the kernel, and the allocator that asks for it.
const HUGE: &str = "huge-page-bloat";
const HUGE_ALLOCATOR: &str = "libjemalloc.so.2";
const HUGE_SETTINGS: (&str, &str) = ("MALLOC_CONF", "thp:always,narenas:64");
/// With fewer on huge pages there is no bloat to be seen.
const LEAST_HUGE_BYTES: u64 = 64 << 20;
const NO_HUGE_PAGES: &str = "\
The kernel gave the program no huge pages where this page was made (they are off there, or memory was
in pieces), so there is no picture.
";
/// Programs run on a machine with other work: an illness that depends on time may not show once.
const ATTEMPTS: usize = 3;

struct Piece {
    /// The diagnosis; of none, a healthy heap.
    id: Option<&'static str>,
    /// A program of `tests/programs`, and what it is told.
    program: [&'static str; 3],
    /// What a reader of the pictures sees.
    to_see: &'static str,
}

impl Piece {
    /// What its pictures are called.
    fn name(&self) -> &'static str {
        self.id.unwrap_or("healthy")
    }
}

const fn piece(id: &'static str, program: [&'static str; 3], to_see: &'static str) -> Piece {
    Piece { id: Some(id), program, to_see }
}

const PIECES: [Piece; 18] = [
    Piece {
        id: None,
        program: ["illness", "healthy", "ill"],
        to_see: "The colours of a heap that is used: dark from bottom to top, and in the timeline \
                 no band between live and footprint. Blocks come and go all the time; each takes \
                 the place of one before.",
    },
    piece(
        "pinned-pages",
        ["illness", "pinned-pages", "ill"],
        "A burst fills the heap, ends, and the whole heap turns from dark to red at once: every \
         page still holds a few bytes. In the timeline live falls to nearly nothing, footprint \
         stays, and pinned waste is nearly all of what is free.",
    ),
    piece(
        "retained-after-burst",
        ["illness", "retained-after-burst", "ill"],
        "After the burst the heap is orange: held, with nothing live. No block is in the way; the \
         allocator keeps it. Above it the mapping whose free raised glibc's trim threshold; it was \
         given back.",
    ),
    piece(
        "cached-free-chunks",
        ["illness", "cached-free-chunks", "ill"],
        "Orange from bottom to top, as above, and only the line over the picture tells them apart: \
         here small freed chunks wait in caches, between the large ones, and glibc merges neither.",
    ),
    piece(
        "top-pinned",
        ["illness", "top-pinned", "ill"],
        "Orange all the way up to one block in the last row of pixels: glibc gives back the end of \
         its heap only, and this block lies there. There is one large hole, not many.",
    ),
    piece(
        "leak",
        ["illness", "leak", "ill"],
        "A slope that never turns, and dark all over: no fragmentation, the blocks are live. In \
         the timeline live and footprint are one line.",
    ),
    piece(
        "cache-growth",
        ["illness", "leak", "cured"],
        "The same program with a bound: a slope that levels when the cache is full. No illness, \
         but what there is of memory is this.",
    ),
    piece(
        "rss-stairs",
        ["illness", "rss-stairs", "ill"],
        "Stairs: each burst needs larger blocks than the holes that the last one left, and a third \
         of its blocks stay. Each step is marked.",
    ),
    piece(
        "arena-proliferation",
        ["illness", "arena-proliferation", "ill"],
        "Eight bands, one for each thread's arena, and each keeps its own peak: orange side by side \
         where one heap would have served all.",
    ),
    piece(
        "cross-thread-free",
        ["misuse", "cross-thread-free", "ill"],
        "Workers' arenas fill and turn orange when another thread frees what they made; the brk \
         heap below, which the main thread uses, stays dark.",
    ),
    piece(
        "realloc-ladder",
        ["misuse", "realloc-ladder", "ill"],
        "Stripes: buffers that grow move up, and each leaves a hole too small for its next size. \
         Near half of the heap lies free below its blocks, in hundreds of holes.",
    ),
    piece(
        "threshold-ratchet",
        ["misuse", "threshold-ratchet", "ill"],
        "A mapped block (above) is freed; after that, large blocks come from the brk heap below, \
         and what they leave stays, orange, on top of what is in use.",
    ),
    piece(
        "address-growth",
        ["misuse", "address-growth", "ill"],
        "A staircase of single buffers: each lies above the last, and what they left below is free \
         and never used again. The allocator here is one that does not merge.",
    ),
    piece(
        "size-class-slop",
        ["illness", "size-class-slop", "ill"],
        "The map alone is dark and healthy, as the blocks fill their pages. The timeline shows it: \
         usable, what the allocator rounds up to, lies far above live.",
    ),
    piece(
        "churn",
        ["misuse", "churn", "ill"],
        "Flat and dark: no memory is lost, but time. What the pictures cannot show, the line above \
         them counts.",
    ),
    piece(
        "purge-churn",
        ["misuse", "purge-churn", "ill"],
        "In the narrow band above, a mapping comes and goes without end: its stripes are memory \
         that goes back to the kernel and is asked for again.",
    ),
    piece(
        "lazy-free",
        ["misuse", "lazy-free", "ill"],
        "RSS stands above the heap: pages were given back lazily, and the kernel counts them until \
         it needs them. No illness, and the heap itself is dark.",
    ),
    piece(
        HUGE,
        ["misuse", HUGE, "ill"],
        "The dark bands above are what the program uses. Below, each thread's arena of jemalloc \
         has a few blocks, and from the look on that finds them 2 MiB are in memory for each: \
         purple or orange at once, without an event. In the timeline footprint and resident jump \
         far above live, which does not change.",
    ),
];

const OPENING: &str = "\
# Gallery: what each illness looks like

Each of these was drawn from a program that has one illness, and what stands above the picture is
what `fragtrace report` says of it. Left to right is time. In the heap map the address goes up, and
dark is full of live blocks, red nearly empty, orange held with nothing live, pale blue given back;
[docs/diagnoses](diagnoses/README.md) explains each illness, and what to do.

Made by `cargo xtask gallery`.
";

/// Draws the gallery anew, or the pictures of these illnesses alone.
pub fn run(only: &[String]) -> Result<()> {
    let is_known = |name: &String| PIECES.iter().any(|piece| piece.name() == name);
    if let Some(unknown) = only.iter().find(|name| !is_known(name)) {
        bail!("{unknown} is none of the gallery: docs/gallery.md has their names");
    }
    let artifacts = project::build()?;
    let folder = artifacts.target.join("gallery");
    let pictures = project::root().join("docs/images/gallery");
    let emptied = if only.is_empty() { &[&folder, &pictures][..] } else { &[&folder] };
    for folder in emptied.iter().filter(|folder| folder.exists()) {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    for folder in [&folder, &pictures] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    compile(&folder, "illness", &[])?;
    compile(&folder, "misuse", &[])?;
    compile(&folder, UNMERGED, &["-shared", "-fPIC"])?;
    let mut page = OPENING.to_owned();
    for piece in &PIECES {
        let name = piece.name();
        let paths = ["map", "timeline"]
            .map(|picture| (picture, pictures.join(format!("{name}-{picture}.png"))));
        let kept = !only.is_empty() && !only.iter().any(|one| one == name);
        let trace = if kept { None } else { trace(&artifacts, &folder, piece)? };
        for (picture, path) in paths.iter().filter(|_| !kept) {
            let Some(trace) = &trace else {
                // What was drawn where there were huge pages is of an earlier state.
                let _ = fs::remove_file(path);
                continue;
            };
            let mut draw = Command::new(&artifacts.fragtrace);
            draw.arg(picture).arg(trace).arg("-o").arg(path);
            shell::run(draw.args(["--anonymize", "--size", SIZE]))?;
            let bytes = fs::metadata(path)?.len();
            if bytes > MOST_BYTES {
                bail!("{}: {bytes} bytes are too many for the page", path.display());
            }
        }
        let drawn = paths.iter().all(|(_, path)| path.exists());
        write_piece(&mut page, piece, name, drawn)?;
    }
    let path = project::root().join("docs/gallery.md");
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

fn write_piece(page: &mut String, piece: &Piece, name: &str, drawn: bool) -> Result<()> {
    let heading = match piece.id {
        Some(id) => format!("[`{id}`](diagnoses/{id}.md)"),
        None => "A healthy heap".to_owned(),
    };
    writeln!(page, "\n## {heading}\n\n{}\n", wrapped(piece.to_see))?;
    if !drawn {
        page.push_str(NO_HUGE_PAGES);
        return Ok(());
    }
    for (picture, words) in [("map", "heap map"), ("timeline", "timeline")] {
        writeln!(page, "![{name}: {words}](images/gallery/{name}-{picture}.png)")?;
    }
    Ok(())
}

/// Broken where the other pages are.
fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= 100 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

fn compile(folder: &Path, name: &str, flags: &[&str]) -> Result<()> {
    let cc = shell::find("cc").context("no C compiler `cc` here (Debian package gcc)")?;
    let source = project::root().join("tests/programs").join(format!("{name}.c"));
    shell::run(
        Command::new(cc).args(FLAGS).args(flags).arg("-o").arg(folder.join(name)).arg(source),
    )
}

/// A trace in which the illness is found; none where the kernel gives no huge pages.
fn trace(artifacts: &Artifacts, folder: &Path, piece: &Piece) -> Result<Option<PathBuf>> {
    let name = piece.name();
    let mut no_huge_pages = false;
    for attempt in 0..ATTEMPTS {
        let path = folder.join(format!("{name}-{attempt}.ftr"));
        let [program, arguments @ ..] = piece.program;
        let mut preloaded = artifacts.tracer.as_os_str().to_owned();
        let allocator = match name {
            "address-growth" => Some(folder.join(UNMERGED)),
            HUGE => Some(HUGE_ALLOCATOR.into()),
            _ => None,
        };
        if let Some(allocator) = allocator {
            preloaded.push(":");
            preloaded.push(allocator);
        }
        let mut traced = Command::new(folder.join(program));
        traced.args(arguments).env("LD_PRELOAD", preloaded).env("FRAGTRACE_OUT", &path);
        if name == HUGE {
            // What comes with huge pages is no event: only looks find it.
            traced.env(HUGE_SETTINGS.0, HUGE_SETTINGS.1).env("FRAGTRACE_LOOK_MS", "5");
        }
        let said = shell::capture(&mut traced)?;
        if shows(&artifacts.fragtrace, &path, piece.id)? {
            return Ok(Some(path));
        }
        no_huge_pages = name == HUGE && huge_bytes(&said) < LEAST_HUGE_BYTES;
    }
    if no_huge_pages {
        return Ok(None);
    }
    bail!("{name}: in {ATTEMPTS} runs the report did not say what the pictures are to show");
}

/// What a program says that the kernel has of it on huge pages.
fn huge_bytes(said: &str) -> u64 {
    let told = said.lines().find_map(|line| line.strip_prefix("huge_bytes="));
    told.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Whether the report names the illness first; of a healthy heap, none.
fn shows(fragtrace: &Path, trace: &Path, id: Option<&str>) -> Result<bool> {
    let text = shell::capture(Command::new(fragtrace).arg("report").arg("--json").arg(trace))?;
    let report: serde_json::Value = serde_json::from_str(&text).context("the report")?;
    let first = report["diagnoses"][0]["id"].as_str();
    Ok(first == id && report["cannot_tell"].is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_diagnosis_with_a_page_is_in_the_gallery() {
        let folder = project::root().join("docs/diagnoses");
        let mut pages: Vec<String> = fs::read_dir(folder)
            .expect("the pages are there")
            .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
            .filter(|page| page != "README")
            .collect();
        let mut shown: Vec<&str> = PIECES.iter().filter_map(|piece| piece.id).collect();
        pages.sort();
        shown.sort();
        assert_eq!(shown, pages);
    }

    #[test]
    fn the_pictures_that_the_page_names_are_there_and_small() {
        let docs = project::root().join("docs");
        let page = fs::read_to_string(docs.join("gallery.md")).expect("the page is there");
        let named = page.split("](").filter_map(|rest| rest.split_once(')'));
        let pictures: Vec<&str> =
            named.map(|(path, _)| path).filter(|path| path.ends_with(".png")).collect();
        let drawn = PIECES.len() - usize::from(page.contains(NO_HUGE_PAGES));
        assert_eq!(pictures.len(), 2 * drawn);
        for picture in pictures {
            let bytes = fs::metadata(docs.join(picture)).expect(picture).len();
            assert!(bytes <= MOST_BYTES, "{picture}: {bytes} bytes");
        }
    }
}
