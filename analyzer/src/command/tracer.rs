//! Finds `libfragtrace.so`: where the user says, or where an installation puts it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// File name of the tracer.
pub const NAME: &str = "libfragtrace.so";
/// The variable that says where it is.
pub const VARIABLE: &str = "FRAGTRACE_LIB";

/// The tracer's absolute path.
///
/// # Errors
/// Where it was looked for, in words.
pub fn find() -> Result<PathBuf, String> {
    let said = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    let beside = std::env::current_exe().ok();
    find_from(said.as_deref(), beside.as_deref().and_then(Path::parent))
}

fn find_from(said: Option<&OsStr>, folder: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(said) = said {
        let path = Path::new(said);
        // Whoever names the folder means the file in it.
        let path = if path.is_dir() { path.join(NAME) } else { path.to_path_buf() };
        return path.canonicalize().map_err(|error| {
            format!(
                "the tracer is not where {VARIABLE} says: {}: {}",
                path.display(),
                plain_reason(&error)
            )
        });
    }
    let folder = folder.ok_or("the folder of this program cannot be told")?;
    let candidates = [folder.join(NAME), folder.join("../lib").join(NAME), {
        folder.join("../lib/fragtrace").join(NAME)
    }];
    candidates.iter().find_map(|path| path.canonicalize().ok()).ok_or_else(|| {
        format!(
            "the tracer {NAME} is neither beside this program, in {}, nor in ../lib or \
             ../lib/fragtrace; set {VARIABLE} to its path",
            folder.display()
        )
    })
}

/// What an I/O error means, without the number that the system adds.
pub fn plain_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_tracer_is_found_beside_and_in_lib() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let root = root.path().canonicalize().expect("resolved");
        let (bin, lib) = (root.join("bin"), root.join("lib/fragtrace"));
        fs::create_dir(&bin).and_then(|()| fs::create_dir_all(&lib)).expect("folders");
        let missing = find_from(None, Some(&bin)).expect_err("not there yet");
        assert!(missing.contains("set FRAGTRACE_LIB"), "{missing}");

        for place in [lib.join(NAME), root.join("lib").join(NAME), bin.join(NAME)] {
            fs::write(&place, "").expect("written");
            assert_eq!(find_from(None, Some(&bin)), Ok(place), "the nearest one is taken");
        }
        let said = find_from(Some(lib.as_os_str()), Some(&bin));
        assert_eq!(said, Ok(lib.join(NAME)), "a folder stands for the tracer in it");
        let wrong = find_from(Some(OsStr::new("/nonexistent/x.so")), Some(&bin));
        assert!(wrong.expect_err("not there").contains("no such file"));
    }
}
