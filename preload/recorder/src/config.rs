//! What the environment asks for: the `FRAGTRACE_*` variables.

use crate::text::{self, Text};
use core::fmt::Write;

/// The smallest ring.
pub(crate) const MIN_RING: u64 = 64 << 10;
/// The largest ring.
pub(crate) const MAX_RING: u64 = 1 << 40;
const DEFAULT_RING: u64 = 256 << 20;
const DEFAULT_LOOK_MS: u64 = 50;
const DEFAULT_DEPTH: u32 = 64;
/// More are as good as all.
const MOST_KEPT: u64 = u32::MAX as u64;
/// Room for a path and for what a pattern in it becomes.
pub(crate) const PATH_ROOM: usize = 4096;

/// The environment of the process: the block of strings that `environ` points to.
#[derive(Clone, Copy)]
pub(crate) struct Environment(*const *const libc::c_char);

impl Environment {
    /// # Safety
    /// `environ` is null or points to strings and a null behind the last one, all of which
    /// live as long as the value.
    pub(crate) unsafe fn new(environ: *const *const libc::c_char) -> Self {
        Environment(environ)
    }

    /// Each NAME=value.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let mut next = self.0;
        core::iter::from_fn(move || {
            if next.is_null() {
                return None;
            }
            // SAFETY: by `new`, strings up to a null.
            let entry = unsafe { *next };
            if entry.is_null() {
                return None;
            }
            // SAFETY: there is a null behind.
            next = unsafe { next.add(1) };
            // SAFETY: by `new`, a string ended by zero.
            Some(unsafe { core::ffi::CStr::from_ptr(entry) }.to_bytes())
        })
    }

    /// The value of a variable, if it is set and not empty.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.entries()
            .find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
            .filter(|value| !value.is_empty())
    }
}

/// What to record, and where.
pub(crate) struct Config {
    /// Where the trace goes, with its % signs; empty = the default.
    pub(crate) out: Text<PATH_ROOM>,
    pub(crate) ring_bytes: u64,
    pub(crate) stack_depth: u32,
    pub(crate) look_ms: u64,
    pub(crate) children: bool,
    /// Traces of one name that stay; 0 = all.
    pub(crate) keep: u64,
    pub(crate) quiet: bool,
    /// A line on each value that made no sense.
    pub(crate) complaint: Text<512>,
}

impl Config {
    pub(crate) fn from_environment(environment: Environment) -> Config {
        let mut config = Config {
            out: Text::new(),
            ring_bytes: DEFAULT_RING,
            stack_depth: DEFAULT_DEPTH,
            look_ms: DEFAULT_LOOK_MS,
            children: true,
            keep: 0,
            quiet: environment.get(b"FRAGTRACE_QUIET").is_some_and(|value| value != b"0"),
            complaint: Text::new(),
        };
        if let Some(out) = environment.get(b"FRAGTRACE_OUT") {
            config.out.push(out);
        }
        config.read(environment, "FRAGTRACE_RING", "256M", |config, value| {
            let size = text::size(value).filter(|size| (MIN_RING..=MAX_RING).contains(size))?;
            config.ring_bytes = size;
            Some(())
        });
        config.read(environment, "FRAGTRACE_STACKS", "on", |config, value| {
            config.stack_depth = match value {
                b"on" => DEFAULT_DEPTH,
                b"off" => 0,
                depth => match text::decimal(depth)? {
                    (depth @ 1..=256, b"") => depth as u32,
                    _ => return None,
                },
            };
            Some(())
        });
        config.read(environment, "FRAGTRACE_LOOK_MS", "50", |config, value| {
            match text::decimal(value)? {
                (ms @ 0..=86_400_000, b"") => config.look_ms = ms,
                _ => return None,
            }
            Some(())
        });
        config.read(environment, "FRAGTRACE_CHILDREN", "on", |config, value| {
            config.children = match value {
                b"on" => true,
                b"off" => false,
                _ => return None,
            };
            Some(())
        });
        config.read(environment, "FRAGTRACE_KEEP", "0", |config, value| {
            match text::decimal(value)? {
                (keep @ 0..=MOST_KEPT, b"") => config.keep = keep,
                _ => return None,
            }
            Some(())
        });
        config
    }

    fn read(
        &mut self,
        environment: Environment,
        name: &str,
        default: &str,
        parse: impl Fn(&mut Config, &[u8]) -> Option<()>,
    ) {
        let Some(value) = environment.get(name.as_bytes()) else { return };
        if parse(self, value).is_none() {
            let value = text::valid_utf8(value);
            let _ = writeln!(
                self.complaint,
                "fragtrace: {name}={value} makes no sense; {name}={default} is used"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ffi::CStr;

    fn config(entries: &[&CStr]) -> Config {
        let mut block = [core::ptr::null(); 8];
        for (slot, entry) in block.iter_mut().zip(entries) {
            *slot = entry.as_ptr();
        }
        // SAFETY: strings, and nulls behind them.
        Config::from_environment(unsafe { Environment::new(block.as_ptr()) })
    }

    #[test]
    fn values_are_taken() {
        let config = config(&[c"FRAGTRACE_RING=1M", c"FRAGTRACE_STACKS=off", c"HOME=/"]);
        assert_eq!(config.ring_bytes, 1 << 20);
        assert_eq!(config.stack_depth, 0);
        assert_eq!(config.complaint.bytes(), b"");
    }

    #[test]
    fn nonsense_is_named_with_the_default_taken() {
        let config = config(&[c"FRAGTRACE_RING=banana", c"FRAGTRACE_LOOK_MS=-1"]);
        assert_eq!(config.ring_bytes, DEFAULT_RING);
        assert_eq!(
            config.complaint.as_str(),
            "fragtrace: FRAGTRACE_RING=banana makes no sense; FRAGTRACE_RING=256M is used\n\
             fragtrace: FRAGTRACE_LOOK_MS=-1 makes no sense; FRAGTRACE_LOOK_MS=50 is used\n"
        );
    }
}
