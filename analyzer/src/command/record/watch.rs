//! Looks from outside: while the program sleeps it takes none itself, but its allocator's
//! pages may go back, be reclaimed or swapped.
//!
//! A thread of ours watches the trace's header. While the count of looks stands still, it
//! reads what the kernel says of the process, at most a hundredth of the time. What it saw is
//! kept, and added to the trace when the process has ended: nobody else writes to it then.

mod pages;

use super::places::Places;
use fragtrace_format::header::{Area, HEADER_BYTES, HeaderInfo, Segment, appended_segment};
use fragtrace_format::record::{self, Look, LookCause, Mapping, MappingChange};
use nix::time::{ClockId, clock_gettime};
use pages::Pages;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the header is read.
const TICK: Duration = Duration::from_millis(100);
/// So many ticks without a look of its own, and the process sleeps.
const IDLE_TICKS: u32 = 3;
/// Looks cost at most this share of the time.
const COST_SHARE: u32 = 100;
/// What looks may take in the trace: as the process's own.
const RING_SHARE: u64 = 16;
const MIN_BYTES: u64 = 256 << 10;
const MAX_BYTES: u64 = 256 << 20;
/// From the tracer's first mapping on this much address space is its own.
const TRACERS_SPAN: u64 = 1 << 42;

/// A process that is watched.
pub struct Watch {
    thread: JoinHandle<()>,
    stop: Sender<()>,
}

impl Watch {
    /// Begins to watch; `None` where no thread can be had.
    pub fn begin(pid: u32, places: Arc<Places>) -> Option<Watch> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || {
                let mut watcher = Watcher::new(pid, places);
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    watcher.tick();
                }
                watcher.finish();
            })
            .ok()?;
        Some(Watch { thread, stop })
    }

    /// The process has ended: adds what was seen to its trace.
    pub fn end(self) {
        drop(self.stop);
        // A thread that panicked has nothing to add.
        let _ = self.thread.join();
    }
}

/// The trace of the process as it is now, and what was seen of it.
struct Seen {
    path: PathBuf,
    /// Looks that the process took itself.
    looks: u64,
    idle_ticks: u32,
    next: Instant,
    mappings: Vec<Line>,
    pages: Pages,
    records: Vec<u8>,
}

struct Watcher {
    pid: u32,
    places: Arc<Places>,
    seen: Option<Seen>,
}

/// A mapping, as its line in /proc/PID/maps says.
#[derive(Clone, PartialEq)]
struct Line {
    start: u64,
    end: u64,
    permissions: u8,
    file_offset: u64,
    inode: u64,
    name: String,
}

impl Watcher {
    fn new(pid: u32, places: Arc<Places>) -> Watcher {
        Watcher { pid, places, seen: None }
    }

    fn tick(&mut self) {
        let header = self.seen.as_ref().and_then(|seen| header(&seen.path));
        let Some((seen, header)) = self.seen.as_mut().zip(header) else {
            return self.find_trace();
        };
        if header.looks != seen.looks {
            (seen.looks, seen.idle_ticks) = (header.looks, 0);
            return;
        }
        seen.idle_ticks += 1;
        if seen.idle_ticks.is_multiple_of(10) {
            // An exec begins another trace.
            self.find_trace();
        } else if seen.idle_ticks >= IDLE_TICKS && Instant::now() >= seen.next {
            let begun = Instant::now();
            // What cannot be read now may be readable later: the process may just be ending.
            let _ = seen.look(self.pid, &header);
            seen.next = begun + begun.elapsed() * COST_SHARE;
        }
    }

    fn find_trace(&mut self) {
        let Some(last) = self.places.after(self.pid).own.pop() else { return };
        if self.seen.as_ref().is_none_or(|seen| seen.path != last.path) {
            self.finish();
            self.seen = Some(Seen {
                path: last.path,
                looks: 0,
                idle_ticks: 0,
                next: Instant::now(),
                mappings: Vec::new(),
                pages: Pages::default(),
                records: Vec::new(),
            });
        }
    }

    fn finish(&mut self) {
        if let Some(seen) = self.seen.take().filter(|seen| !seen.records.is_empty()) {
            // The trace is whole without it.
            let _ = seen.append();
        }
    }
}

impl Seen {
    /// Takes a look. `None`: the kernel does not tell, or there is no more room.
    fn look(&mut self, pid: u32, header: &HeaderInfo) -> Option<()> {
        let bound = (header.ring_bytes / RING_SHARE).clamp(MIN_BYTES, MAX_BYTES);
        if self.records.len() as u64 >= bound {
            return None;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let mappings = self.mappings(pid)?;
        let monotonic_ns = monotonic_ns()?;
        let changes = changes(&self.mappings, &mappings);
        let heap = mappings.iter().filter(|line| line.may_be_heap());
        let scans = self.pages.scan(pid, heap.map(|line| line.start..line.end));
        let look = Look {
            stamp: stamp_at(header, monotonic_ns)?,
            monotonic_ns,
            cause: LookCause::Outside,
            rss_anon: kilobytes(&status, "RssAnon:"),
            rss_file: kilobytes(&status, "RssFile:"),
            rss_shmem: kilobytes(&status, "RssShmem:"),
            swapped: kilobytes(&status, "VmSwap:"),
            rss_peak: kilobytes(&status, "VmHWM:"),
            brk_end: mappings.iter().find(|line| line.name == "[heap]").map(|line| line.end),
            afresh: self.records.is_empty(),
            changes: changes.len() as u32,
            scans: scans.len() as u32,
            scans_end: !scans.is_empty(),
            page_source: record::PageSource::Pagemap,
            ..Look::default()
        };
        let mut payload = vec![0; record::MAX_RECORD_BYTES];
        let mut len = record::encode(&look, &mut payload)?;
        for change in &changes {
            len += record::encode(change, &mut payload[len..])?;
        }
        for (range, tiles) in &scans {
            let (start, bytes) = (range.start, range.end - range.start);
            len += record::encode(&record::Scan { start, bytes, tiles }, &mut payload[len..])?;
        }
        payload.truncate(len);
        self.records.extend(record::frame(&payload).to_le_bytes());
        self.records.extend(&payload);
        self.records.resize(self.records.len().next_multiple_of(8), 0);
        self.mappings = mappings;
        Some(())
    }

    /// The process's mappings, without the tracer's.
    fn mappings(&self, pid: u32) -> Option<Vec<Line>> {
        let text = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
        let lines: Vec<Line> = text.lines().filter_map(Line::read).collect();
        let trace = self.path.to_str()?;
        let tracers = lines.iter().find(|line| line.name == trace)?.start;
        let tracers = tracers..tracers.saturating_add(TRACERS_SPAN);
        // The kernel's own page at the end of the list is no mapping of the process.
        let of_process = |line: &Line| !tracers.contains(&line.start) && line.start >> 63 == 0;
        Some(lines.into_iter().filter(of_process).collect())
    }

    /// Adds the looks to the trace as a segment of its own.
    fn append(&self) -> std::io::Result<()> {
        let file = File::options().read(true).write(true).open(&self.path)?;
        let mut head = vec![0; HEADER_BYTES];
        file.read_exact_at(&mut head, 0)?;
        let Ok(header) = HeaderInfo::read(&head) else { return Ok(()) };
        let file_offset = file.metadata()?.len().next_multiple_of(4096);
        // An empty frame ends the run, and a segment is whole pages.
        let mut bytes = self.records.clone();
        bytes.resize((bytes.len() + record::FRAME_BYTES).next_multiple_of(4096), 0);
        let segment = Segment { area: Area::OutsideLooks, file_offset, bytes: bytes.len() as u64 };
        let Some(writes) = appended_segment(header.segment_count, &segment) else { return Ok(()) };
        file.write_all_at(&bytes, file_offset)?;
        for (offset, bytes, len) in writes {
            file.write_all_at(&bytes[..len], offset)?;
        }
        Ok(())
    }
}

fn header(path: &PathBuf) -> Option<HeaderInfo> {
    let mut head = vec![0; HEADER_BYTES];
    File::open(path).ok()?.read_exact_at(&mut head, 0).ok()?;
    HeaderInfo::read(&head).ok()
}

fn monotonic_ns() -> Option<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    Some(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

/// The trace's stamp at a moment, from the two that the header has.
fn stamp_at(header: &HeaderInfo, monotonic_ns: u64) -> Option<u64> {
    let (start, last) = (&header.clock_start, &header.clock_last);
    let stamps = last.stamp.checked_sub(start.stamp)?;
    let ns = last.monotonic_ns.checked_sub(start.monotonic_ns).filter(|ns| *ns > 0)?;
    let since = monotonic_ns.checked_sub(start.monotonic_ns)?;
    let elapsed = u128::from(stamps) * u128::from(since) / u128::from(ns);
    start.stamp.checked_add(u64::try_from(elapsed).ok()?)
}

/// The value in bytes of a line such as `VmSwap:   12 kB`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|value| value << 10)
}

/// What changed from one list to the next.
fn changes<'a>(before: &'a [Line], now: &'a [Line]) -> Vec<MappingChange<'a>> {
    let starts =
        |lines: &[Line], start: u64| lines.binary_search_by_key(&start, |line| line.start).ok();
    let gone = before.iter().filter(|line| starts(now, line.start).is_none());
    let there =
        now.iter().filter(|line| starts(before, line.start).is_none_or(|at| before[at] != **line));
    let gone = gone.map(|line| MappingChange::Gone { start: line.start });
    gone.chain(there.map(|line| MappingChange::There(line.mapping()))).collect()
}

impl Line {
    /// One line: `start-end rwxp offset major:minor inode   name`.
    fn read(line: &str) -> Option<Line> {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let flags = words.next()?.as_bytes();
        let bit = |at: usize, letter: u8, bit: u8| {
            if flags.get(at) == Some(&letter) { bit } else { 0 }
        };
        Some(Line {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            permissions: bit(0, b'r', 1) | bit(1, b'w', 2) | bit(2, b'x', 4) | bit(3, b's', 8),
            file_offset: u64::from_str_radix(words.next()?, 16).ok()?,
            inode: words.nth(1)?.parse().ok()?,
            name: words.next().unwrap_or("").trim_start().to_owned(),
        })
    }

    fn mapping(&self) -> Mapping<'_> {
        Mapping {
            start: self.start,
            bytes: self.end.saturating_sub(self.start),
            permissions: self.permissions,
            file_offset: self.file_offset,
            inode: self.inode,
            name: &self.name,
        }
    }

    fn may_be_heap(&self) -> bool {
        self.inode == 0
            && self.permissions & 8 == 0
            && self.permissions & 7 != 0
            && (!self.name.starts_with('[')
                || self.name == "[heap]"
                || self.name.starts_with("[anon:"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_compared() {
        let of = |text: &str| text.lines().filter_map(Line::read).collect::<Vec<_>>();
        let before = of("1000-2000 rw-p 00000000 00:00 0                  [heap]\n\
                         3000-4000 r-xp 00001000 fe:01 1234    /usr/lib/a b.so\n");
        assert_eq!(before[1].name, "/usr/lib/a b.so");
        assert_eq!(
            (before[1].inode, before[1].permissions, before[1].file_offset),
            (1234, 5, 0x1000)
        );
        assert!(before[0].may_be_heap() && !before[1].may_be_heap());
        let now = of("1000-3000 rw-p 00000000 00:00 0                  [heap]\n\
                      5000-6000 rw-p 00000000 00:00 0 \n");
        assert_eq!(
            changes(&before, &now),
            [
                MappingChange::Gone { start: 0x3000 },
                MappingChange::There(now[0].mapping()),
                MappingChange::There(now[1].mapping()),
            ]
        );
        assert!(changes(&now, &now).is_empty());
    }

    #[test]
    fn a_stamp_lies_on_the_line_through_both_clocks() {
        let mut head = vec![0; HEADER_BYTES];
        head[..8].copy_from_slice(&fragtrace_format::header::MAGIC);
        head[8] = 1;
        head[32] = 1;
        head[120..128].copy_from_slice(&65536u64.to_le_bytes());
        let mut put =
            |at: usize, value: u64| head[at..at + 8].copy_from_slice(&value.to_le_bytes());
        // The stamp and the monotonic clock, at the start and last.
        for (at, value) in [(48, 1000), (56, 50), (80, 3000), (88, 1050)] {
            put(at, value);
        }
        let header = HeaderInfo::read(&head).expect("a header");
        assert_eq!(stamp_at(&header, 1050), Some(3000));
        assert_eq!(stamp_at(&header, 2050), Some(5000));
        assert_eq!(stamp_at(&header, 10), None);
    }
}
