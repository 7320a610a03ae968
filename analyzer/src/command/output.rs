//! Where results go: standard output with colours where they are wanted, or a file that is
//! there whole or not at all.

use super::tracer::plain_reason;
use anstream::AutoStream;
use anyhow::{Result, anyhow, bail};
use clap::ColorChoice;
use fragtrace_analyzer::render::picture::Format;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use terminal_size::terminal_size_of;

/// Of a terminal whose width is not known.
const USUAL_COLUMNS: usize = 100;

/// What is known about the reader of standard output.
pub struct Output {
    color: ColorChoice,
}

impl Output {
    /// `auto` follows the terminal, NO_COLOR and TERM.
    pub fn new(color: ColorChoice) -> Self {
        Output { color }
    }

    /// Prints a text whose styles are dropped where nobody wants them.
    ///
    /// # Errors
    /// Whatever writing says.
    pub fn print(&self, styled: &str) -> Result<()> {
        let choice = match self.color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        };
        let mut stream = AutoStream::new(io::stdout().lock(), choice);
        stream.write_all(styled.as_bytes()).and_then(|()| stream.flush()).map_err(of_stdout)?;
        Ok(())
    }

    /// Where small charts of block characters are wanted, the columns that they have: on a terminal
    /// that shows them, and wherever `--color always` asks for what a terminal gets.
    pub fn charts(&self) -> Option<usize> {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        let shown = unicode()
            && match self.color {
                ColorChoice::Auto => io::stdout().is_terminal() && !dumb && !set("NO_COLOR"),
                ColorChoice::Always => true,
                ColorChoice::Never => false,
            };
        // A terminal that does not know its width says 0.
        let columns = terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        shown.then(|| columns.filter(|columns| *columns > 0).unwrap_or(USUAL_COLUMNS))
    }

    /// Standard output for plain text that may be long.
    pub fn plain(&self) -> BufWriter<impl Write> {
        BufWriter::with_capacity(1 << 16, Stdout(io::stdout().lock()))
    }
}

/// Standard output, whose errors say that it is.
struct Stdout(StdoutLock<'static>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(of_stdout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(of_stdout)
    }
}

/// Why standard output cannot be written. That its reader has gone is known by its kind.
fn of_stdout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::Interrupted => error,
        _ => io::Error::other(format!("cannot write to standard output: {}", plain_reason(&error))),
    }
}

/// Whether the reader's locale says UTF-8, so that block characters can be shown.
pub fn unicode() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    locale.is_some_and(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// Writes `bytes` to `path`: either all of it is there in the end, or the old file.
/// `-` is standard output. `trace` is what was read, which must not be written over.
///
/// # Errors
/// When `path` is the trace itself or cannot be written.
pub fn write_file(path: &Path, bytes: &[u8], trace: &Path) -> Result<()> {
    if path == Path::new("-") {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(of_stdout)?;
        return Ok(());
    }
    if is_same_file(path, trace) {
        bail!("{} is the trace itself; name another file with -o", path.display());
    }
    let written = match fs::metadata(path) {
        Ok(target) if target.is_dir() => {
            bail!("{} is a directory; name a file in it with -o", path.display())
        }
        // A device or a pipe: to rename a file over it would take it away.
        Ok(target) if !target.is_file() => {
            File::options().write(true).open(path).and_then(|mut file| file.write_all(bytes))
        }
        _ => replace(&resolve_link(path), bytes),
    };
    written.map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return error.into();
        }
        anyhow!("cannot write {}: {}", path.display(), plain_reason(&error))
    })
}

/// What kind of file a name asks for.
///
/// # Errors
/// When it ends in neither .png nor .svg.
pub fn format_of(path: &Path) -> Result<Format> {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    match ending.as_deref().and_then(|ending| ending.to_str()) {
        Some("svg") => Ok(Format::Svg),
        Some("png") => Ok(Format::Png),
        None if path == Path::new("-") => Ok(Format::Svg),
        _ => bail!(
            "{}: this picture is written as PNG or SVG\nname a file that ends in .png or .svg",
            path.display()
        ),
    }
}

/// Writes a picture and says where it is; the exit status.
///
/// # Errors
/// As [`write_file`].
pub fn write_picture(path: &Path, bytes: &[u8], trace: &Path) -> Result<u8> {
    write_file(path, bytes, trace)?;
    if path != Path::new("-") {
        let _ = writeln!(io::stderr(), "fragtrace: wrote {}", path.display());
    }
    Ok(0)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // The user's umask decides who may read a picture.
    let mut file = tempfile::Builder::new()
        .prefix(".fragtrace-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn resolve_link(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_its_links_are_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, link) = (folder.path().join("a.png"), folder.path().join("link.png"));
        fs::write(&file, "old").expect("written");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        write_file(&link, b"new", Path::new("/nonexistent")).expect("replaced");
        assert_eq!(fs::read(&file).expect("read"), b"new");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 2, "nothing is left over");
    }

    #[test]
    fn the_trace_itself_is_never_written_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let trace = folder.path().join("t.ftr");
        fs::write(&trace, "trace").expect("written");
        let error = write_file(&trace, b"png", &trace).expect_err("refused");
        assert!(error.to_string().contains("is the trace itself"), "{error}");
        assert_eq!(fs::read(&trace).expect("read"), b"trace");
    }
}
