//! The checks of the place where the trace goes: can it be written, and is there room?

use super::Finding;
use crate::command::arguments;
use crate::command::record::places;
use fragtrace_analyzer::render::text::size_in_words as size;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::fs;
use std::path::{Path, PathBuf};

/// The ring when nothing else is said.
const DEFAULT_RING_BYTES: u64 = 256 << 20;
/// The ring takes at most this share of the cgroup's memory limit.
const CGROUP_SHARE: u64 = 16;
/// What cgroup v1 says when there is no limit: about this, and more.
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// The checks of the place that FRAGTRACE_OUT names, or of the working directory.
pub fn check() -> Vec<Finding> {
    let (folder, mut findings) = match places::folder(None) {
        Ok(folder) => (folder, Vec::new()),
        Err(error) => {
            let text = error.to_string();
            let (cause, remedy) = text.split_once('\n').unwrap_or((&text, "set FRAGTRACE_OUT"));
            return vec![Finding::cannot(cause, remedy)];
        }
    };
    let Some(folder) = folder else {
        return vec![Finding::note(
            "the folder of FRAGTRACE_OUT depends on the process: it was not checked",
            "make sure that it exists and can be written",
        )];
    };
    let shown = folder.display();
    findings.push(Finding::ok(format!("traces can be written in {shown}")));
    let (ring_bytes, ring_finding) = ring();
    findings.extend(ring_finding);
    findings.extend(check_room(&folder, ring_bytes));
    if statfs(&folder).is_ok_and(|system| system.filesystem_type() == TMPFS_MAGIC) {
        let text = format!("{shown} is in memory (tmpfs): the trace's pages stay there");
        findings.push(Finding::warning(text, "set FRAGTRACE_OUT to a place on a disk"));
    }
    findings
}

/// The ring's size as the tracer will have it, and what there is to say about it.
fn ring() -> (u64, Option<Finding>) {
    let said = std::env::var("FRAGTRACE_RING").ok().filter(|said| !said.is_empty());
    let asked = match said.as_deref().map(arguments::size) {
        None => DEFAULT_RING_BYTES,
        Some(Ok(bytes)) => bytes,
        Some(Err(_)) => {
            let text = format!("FRAGTRACE_RING={} makes no sense", said.unwrap_or_default());
            let finding = Finding::warning(text, "256M is taken; say a size such as 1G");
            return (DEFAULT_RING_BYTES, Some(finding));
        }
    };
    match cgroup_limit() {
        Some(limit) if limit / CGROUP_SHARE < asked => {
            let share = limit / CGROUP_SHARE;
            let finding = Finding::note(
                format!(
                    "the memory limit here is {}: the ring will have {} instead of {}",
                    size(limit),
                    size(share),
                    size(asked)
                ),
                "the page cache of the trace counts towards the limit; raise it for a longer trace",
            );
            (share, Some(finding))
        }
        _ => (asked, None),
    }
}

fn check_room(folder: &Path, ring_bytes: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Ok(system) = statvfs(folder) {
        let free = system.blocks_available().saturating_mul(system.fragment_size());
        if free < ring_bytes {
            findings.push(Finding::warning(
                format!("{} are free for a ring of up to {}", size(free), size(ring_bytes)),
                "a trace that finds no room ends early: free some, or take a smaller --ring",
            ));
        } else {
            findings.push(Finding::ok(format!(
                "{} are free for a ring of up to {}",
                size(free),
                size(ring_bytes)
            )));
        }
    }
    if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_FSIZE)
        && limit < ring_bytes
    {
        findings.push(Finding::warning(
            format!(
                "files may grow to {} here (ulimit -f), the ring to {}",
                size(limit),
                size(ring_bytes)
            ),
            "raise it with `ulimit -f unlimited`, or take a smaller --ring",
        ));
    }
    findings
}

/// Whether code on this file's file system may be mapped.
pub fn is_noexec(path: &Path) -> bool {
    statvfs(path).is_ok_and(|system| system.flags().contains(FsFlags::ST_NOEXEC))
}

/// The least memory limit of our cgroup and of those above it.
fn cgroup_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(limit_files).flatten().filter_map(|file| read_limit(&file)).min()
}

/// The files that limit a line of /proc/self/cgroup: from the group itself up to the root.
fn limit_files(line: &str) -> Option<Vec<PathBuf>> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
    let (root, file) = if controllers.is_empty() {
        ("/sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return None;
    };
    let group = Path::new(group.trim_start_matches('/'));
    Some(group.ancestors().map(|above| Path::new(root).join(above).join(file)).collect())
}

fn read_limit(file: &Path) -> Option<u64> {
    let limit = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (limit < NO_LIMIT_BYTES).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_looked_for_from_the_group_up() {
        let files = limit_files("0::/a/b").expect("version 2");
        let expected = [
            "/sys/fs/cgroup/a/b/memory.max",
            "/sys/fs/cgroup/a/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
        let files = limit_files("4:cpu,memory:/").expect("version 1");
        assert_eq!(files, [PathBuf::from("/sys/fs/cgroup/memory/memory.limit_in_bytes")]);
        assert_eq!(limit_files("3:cpu:/"), None);
    }

    #[test]
    fn the_place_of_this_test_can_be_written() {
        let text = format!("{:?}", check());
        assert!(text.contains("can be written") || text.contains("was not checked"), "{text}");
    }
}
