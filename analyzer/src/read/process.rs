//! The process and the machine, as the tracer described them.

use super::area::AreaBytes;
use super::source::Source;
use fragtrace_format::record::{self, Description, Limits, Unseen, UsableRule};

/// The process and the machine. Texts are empty where the trace does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The executable's path.
    pub exe: String,
    /// Arguments, the program's name first.
    pub arguments: Vec<String>,
    /// The machine's name.
    pub host: String,
    /// Kernel release and version.
    pub kernel: String,
    /// "glibc 2.36", "musl", …
    pub libc: String,
    /// Path of the object whose malloc is called.
    pub allocator: String,
    /// Allocators whose blocks are not in the trace, and why.
    pub unseen_allocators: Vec<String>,
    /// Environment variables that steer allocators, NAME=value.
    pub allocator_env: Vec<String>,
    /// Memory limit of the cgroup in bytes.
    pub cgroup_limit_bytes: Option<u64>,
    /// vm.max_map_count of the machine.
    pub max_map_count: Option<u64>,
    /// Bytes of a page: a power of two from 4 to 256 KiB.
    pub page_bytes: u64,
    /// Version of the tracer.
    pub tracer_version: String,
    /// Greatest depth of call stacks that was asked for; 0 = off.
    pub stack_depth: u32,
    /// How the usable size of a block follows from what was asked for.
    pub usable_rule: UsableRule,
}

/// Smallest page that Linux uses on 64 bit.
const MIN_PAGE_BYTES: u64 = 4 << 10;
/// Larger than any page size in use (aarch64 has up to 64 KiB).
const MAX_PAGE_BYTES: u64 = 256 << 10;

impl Default for Process {
    fn default() -> Process {
        Process::new(&Description { page_bytes: MIN_PAGE_BYTES as u32, ..Description::default() })
    }
}

impl Process {
    fn new(description: &Description<'_>) -> Process {
        let page_bytes = u64::from(description.page_bytes);
        let sensible =
            page_bytes.is_power_of_two() && (MIN_PAGE_BYTES..=MAX_PAGE_BYTES).contains(&page_bytes);
        Process {
            exe: description.exe.into(),
            arguments: texts(description.command),
            host: description.host.into(),
            kernel: description.kernel.into(),
            libc: description.libc.into(),
            allocator: description.allocator.into(),
            unseen_allocators: Vec::new(),
            allocator_env: texts(description.allocator_env),
            cgroup_limit_bytes: description.cgroup_limit_bytes,
            max_map_count: None,
            page_bytes: if sensible { page_bytes } else { MIN_PAGE_BYTES },
            tracer_version: description.tracer_version.into(),
            stack_depth: description.stack_depth,
            usable_rule: description.usable_rule,
        }
    }
}

/// Texts that each end in a zero byte.
fn texts(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into()).collect()
}

pub(super) fn read(area: &AreaBytes, source: &Source, damage: &mut Vec<String>) -> Process {
    let mut found: Option<Process> = None;
    area.for_each_record(source, "description", damage, |payload| match &mut found {
        None => {
            let description = record::decode::<Description<'_>>(payload);
            found = description.map(|(description, _)| Process::new(&description));
        }
        Some(process) => {
            if let Some((unseen, used)) = record::decode::<Unseen<'_>>(payload) {
                process.unseen_allocators = unseen.allocators.lines().map(str::to_owned).collect();
                // Behind it may be padding, which says that the limit is not known.
                let limits = payload.get(used..).and_then(record::decode::<Limits>);
                process.max_map_count = limits.and_then(|(limits, _)| limits.max_map_count);
            }
        }
    });
    if found.is_none() {
        damage.push(
            "the process's description is missing: its allocator is not known, and with it \
             usable sizes and what follows from them"
                .into(),
        );
    }
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_in_zeros() {
        assert_eq!(texts(b"ls\0-l\0"), ["ls", "-l"]);
        assert_eq!(texts(b"a\0\0b"), ["a", "", "b"]);
        assert!(texts(b"").is_empty());
    }

    #[test]
    fn a_page_size_that_makes_no_sense_is_not_believed() {
        let of = |page_bytes| Process::new(&Description { page_bytes, ..Description::default() });
        assert_eq!(of(0).page_bytes, 4096);
        assert_eq!(of(12_345).page_bytes, 4096);
        assert_eq!(of(65_536).page_bytes, 65_536);
    }
}
