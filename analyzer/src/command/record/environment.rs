//! From options to the variables that the tracer reads, and the preload that loads it.

use super::Arguments;
use crate::command::arguments;
use anyhow::{Result, bail};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

/// Bounds of the ring, as the tracer has them.
const RING_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 40;
const DEEPEST_STACK: u32 = 256;

/// A size of the ring within its bounds, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Ring(u64);

/// Parses `--ring`.
pub fn ring(text: &str) -> Result<Ring, String> {
    let bytes = arguments::size(text)?;
    if RING_BYTES.contains(&bytes) {
        Ok(Ring(bytes))
    } else {
        Err("the ring takes 64K to 1T".into())
    }
}

/// Parses `--stacks`.
pub fn stacks(text: &str) -> Result<String, String> {
    let depth = text.parse::<u32>().is_ok_and(|depth| (1..=DEEPEST_STACK).contains(&depth));
    if depth || text == "on" || text == "off" {
        Ok(text.into())
    } else {
        Err(format!("say on, off, or the greatest depth of a stack, 1 to {DEEPEST_STACK}"))
    }
}

/// Sets LD_PRELOAD and the FRAGTRACE_ variables of the command.
///
/// # Errors
/// When the tracer's path cannot stand in LD_PRELOAD.
pub fn set(
    command: &mut Command,
    arguments: &Arguments,
    tracer: &Path,
    pattern: &Path,
) -> Result<()> {
    if tracer.as_os_str().as_bytes().iter().any(|byte| *byte == b' ' || *byte == b':') {
        bail!(
            "LD_PRELOAD cannot name {}: spaces and colons separate its entries\n\
             copy the tracer elsewhere and set FRAGTRACE_LIB to its path",
            tracer.display()
        );
    }
    command.env("LD_PRELOAD", preloads(tracer, std::env::var_os("LD_PRELOAD").as_deref()));
    command.env("FRAGTRACE_OUT", pattern);
    if let Some(Ring(bytes)) = arguments.ring {
        // The tracer takes whole units; the ring is cut to whole KiB at least.
        command.env("FRAGTRACE_RING", format!("{}K", bytes >> 10));
    }
    if let Some(stacks) = &arguments.stacks {
        command.env("FRAGTRACE_STACKS", stacks);
    }
    if let Some(look_ms) = arguments.look_ms {
        command.env("FRAGTRACE_LOOK_MS", look_ms.to_string());
    }
    if arguments.no_children {
        command.env("FRAGTRACE_CHILDREN", "off");
    }
    if let Some(keep) = arguments.keep {
        command.env("FRAGTRACE_KEEP", keep.to_string());
    }
    Ok(())
}

/// The tracer first, then what was to be preloaded anyway: an allocator, say.
fn preloads(tracer: &Path, before: Option<&OsStr>) -> OsString {
    let mut list = tracer.as_os_str().to_owned();
    if let Some(before) = before.filter(|before| !before.is_empty()) {
        list.push(":");
        list.push(before);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preload_that_is_there_already_is_kept_behind_ours() {
        let tracer = Path::new("/lib/libfragtrace.so");
        assert_eq!(preloads(tracer, None), "/lib/libfragtrace.so");
        assert_eq!(preloads(tracer, Some(OsStr::new(""))), "/lib/libfragtrace.so");
        let both = preloads(tracer, Some(OsStr::new("libjemalloc.so.2")));
        assert_eq!(both, "/lib/libfragtrace.so:libjemalloc.so.2");
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_the_program_runs() {
        for good in ["64K", "256M", "1.5G", "1T"] {
            assert!(ring(good).is_ok(), "{good}");
        }
        for bad in ["63K", "2T", "banana", "0", "-1"] {
            assert!(ring(bad).is_err(), "{bad}");
        }
        for good in ["on", "off", "1", "256"] {
            assert!(stacks(good).is_ok(), "{good}");
        }
        for bad in ["0", "257", "yes", "-1", ""] {
            assert!(stacks(bad).is_err(), "{bad}");
        }
    }
}
