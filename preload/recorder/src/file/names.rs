//! What a trace is called: a pattern whose % signs stand for the process.

use crate::config::{Config, PATH_ROOM};
use crate::sys;
use crate::text::Text;
use core::fmt::Write;

/// The pattern of the path where the configuration names none.
pub(crate) const DEFAULT_PATTERN: &[u8] = b"fragtrace-%e.%p.ftr";

/// The pattern that the configuration asks for.
pub(crate) fn pattern(config: &Config) -> &[u8] {
    match config.out.bytes() {
        b"" => DEFAULT_PATTERN,
        pattern => pattern,
    }
}

/// The path that the configuration asks for, made absolute, its % signs replaced.
pub(crate) fn wanted_path(config: &Config, names: &Names<'_>) -> Text<PATH_ROOM> {
    let pattern = pattern(config);
    let mut path = Text::new();
    if pattern.first() != Some(&b'/') {
        let mut directory = [0; PATH_ROOM];
        if let Ok(len) = sys::current_directory(&mut directory) {
            path.push(&directory[..len]);
            path.push(b"/");
        }
    }
    expand(pattern, names, &mut path);
    path
}

/// The default name in another directory.
pub(crate) fn path_in(directory: &[u8], names: &Names<'_>) -> Text<PATH_ROOM> {
    let mut path = Text::new();
    path.push(directory);
    path.push(b"/");
    expand(DEFAULT_PATTERN, names, &mut path);
    path
}

/// What the % signs stand for.
pub(crate) struct Names<'a> {
    pub(crate) pid: u32,
    pub(crate) exe: &'a [u8],
    pub(crate) host: &'a [u8],
    pub(crate) start_unix_s: u64,
}

pub(super) fn expand(pattern: &[u8], names: &Names<'_>, into: &mut Text<PATH_ROOM>) {
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            into.push(&[*byte]);
            continue;
        }
        let _ = match bytes.next() {
            Some(b'p') => write!(into, "{}", names.pid),
            Some(b't') => write!(into, "{}", names.start_unix_s),
            Some(b'e') => {
                into.push(names.exe);
                Ok(())
            }
            Some(b'h') => {
                into.push(names.host);
                Ok(())
            }
            Some(b'%') | None => into.write_str("%"),
            Some(other) => {
                into.push(&[b'%', *other]);
                Ok(())
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_are_replaced() {
        let names = Names { pid: 42, exe: b"redis", host: b"box", start_unix_s: 7 };
        let mut path = Text::new();
        expand(b"/t/%e.%p-%h-%t-%%-%x-%", &names, &mut path);
        assert_eq!(path.as_str(), "/t/redis.42-box-7-%-%x-%");
    }
}
