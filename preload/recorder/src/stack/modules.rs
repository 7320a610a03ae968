//! Which objects are loaded, and their unwind data.
//!
//! The loader's own list is not used: dl_iterate_phdr takes a lock that another thread may
//! hold while it runs the program's callbacks, and the list may not be read without it.
//! Instead the kernel is asked (/proc/self/maps) when an address is met that lies in no known
//! object, and when an object is not what it was: each time before unwind data are read, the
//! object's headers are compared with those that were seen first. So neither dlopen nor
//! dlclose need be noticed when they happen, and what the loader does by itself (for
//! character sets, say) counts as well.
//!
//! An address whose frame is being left is on a live stack, so its object stays loaded.

use super::bytes::Reader;
use super::cfi::{self, Row};
use super::image::{self, HEADERS_BYTES, Image, MAX_BUILD_ID, Range};
use super::rules;
use crate::file::{self, Private};
use crate::journal::Journal;
use crate::look::maps;
use crate::sync::TryLock;
use crate::{clock, sys};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use fragtrace_format::header::Area;
use fragtrace_format::record::{self, Mapping, Module, ModuleEvent};

/// Objects that can be loaded at the same time.
const MAX_MODULES: usize = 4096;
/// Ranges of code that belongs to no object: what JIT compilers made.
const MAX_FOREIGN: usize = 64;
/// The kernel is not asked again sooner for addresses that it knows nothing about.
const PAUSE_STAMPS: u64 = 1 << 20;
/// How often a thread lets another finish asking.
const PATIENCE: u32 = 200;
const TEXT_BYTES: usize = 64 << 10;
/// `mov $15, %rax; syscall`: what a signal handler returns to, in glibc and musl, and what
/// debuggers know it by.
const SIGNAL_RETURN: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];

/// The modules area.
pub(super) static JOURNAL: Journal = Journal::new(Area::Modules, 1 << 20);
static LOCK: TryLock = TryLock::new();
static COUNT: AtomicU32 = AtomicU32::new(0);
/// Goes up when an object is found gone: what was remembered of its code holds no more.
pub static GENERATION: AtomicU32 = AtomicU32::new(1);
/// Goes up whenever the list was made anew: code that had no object may have one.
static LOADS: AtomicU32 = AtomicU32::new(0);
static NOT_BEFORE: AtomicU64 = AtomicU64::new(0);

/// A loaded object, readable without a lock: `version` is odd while it is written.
#[derive(Default)]
#[repr(C)]
struct Entry {
    version: AtomicU32,
    /// Seen by the reading of mappings under way. Of whoever holds the lock.
    seen: AtomicU32,
    start: AtomicU64,
    /// 0 = the entry is free.
    end: AtomicU64,
    frames: AtomicU64,
    segment_start: AtomicU64,
    segment_end: AtomicU64,
    /// Hash of the headers.
    identity: AtomicU64,
    inode: AtomicU64,
}

/// Memory of this module; zero is empty.
#[repr(C)]
pub(super) struct Memory {
    entries: [Entry; MAX_MODULES],
    foreign: [[AtomicU64; 2]; MAX_FOREIGN],
    /// Only for who holds the lock.
    text: [u8; TEXT_BYTES],
    headers: [u8; HEADERS_BYTES],
}

fn memory() -> *mut Memory {
    file::private_start(Private::Modules) as *mut Memory
}

fn entries() -> &'static [Entry] {
    // SAFETY: `start` mapped the memory for good; entries are atomics throughout.
    let all = unsafe { &(*memory()).entries };
    &all[..(COUNT.load(Acquire) as usize).min(MAX_MODULES)]
}

fn foreign() -> &'static [[AtomicU64; 2]; MAX_FOREIGN] {
    // SAFETY: as above.
    unsafe { &(*memory()).foreign }
}

/// What an entry said at one moment.
#[derive(Clone, Copy)]
struct Known {
    all: Range,
    frames: u64,
    segment: Range,
    identity: u64,
}

impl Entry {
    fn read(&self) -> Option<Known> {
        let version = self.version.load(Acquire);
        let known = Known {
            all: Range { start: self.start.load(Relaxed), end: self.end.load(Relaxed) },
            frames: self.frames.load(Relaxed),
            segment: Range {
                start: self.segment_start.load(Relaxed),
                end: self.segment_end.load(Relaxed),
            },
            identity: self.identity.load(Relaxed),
        };
        core::sync::atomic::fence(Acquire);
        (version & 1 == 0 && self.version.load(Relaxed) == version).then_some(known)
    }

    fn write(&self, image: &Image, identity: u64, inode: u64) {
        let version = self.version.load(Relaxed);
        self.version.store(version | 1, Relaxed);
        core::sync::atomic::fence(Release);
        self.start.store(image.all.start, Relaxed);
        self.end.store(image.all.end, Relaxed);
        self.frames.store(image.frames, Relaxed);
        self.segment_start.store(image.frames_segment.start, Relaxed);
        self.segment_end.store(image.frames_segment.end, Relaxed);
        self.identity.store(identity, Relaxed);
        self.inode.store(inode, Relaxed);
        self.version.store((version | 1).wrapping_add(1), Release);
    }
}

/// The generation of what is remembered of code.
#[inline(always)]
pub(super) fn generation() -> u32 {
    GENERATION.load(Relaxed)
}

/// How often the list was made anew.
pub(super) fn loads() -> u32 {
    LOADS.load(Relaxed)
}

/// Maps the memory and lists what is loaded now. False: there is no memory.
pub(super) fn start() -> bool {
    let bytes = size_of::<Memory>().next_multiple_of(4096);
    if !file::map_private(memory() as usize, bytes) {
        return false;
    }
    refresh();
    true
}

/// In a child of fork: lists again what is loaded. False: there is no memory.
pub(super) fn inherit() -> bool {
    LOCK.leave();
    JOURNAL.inherit();
    COUNT.store(0, Relaxed);
    NOT_BEFORE.store(0, Relaxed);
    start()
}

/// What is known of an instruction.
pub(super) enum Found {
    /// How its frame is left.
    Row(Row),
    /// It returns from a signal handler.
    SignalReturn,
    /// Nothing.
    Nothing,
    /// Nothing now; asking again may help.
    NothingYet,
}

/// What the unwind data of the object at `pc` say of it.
pub(super) fn row(pc: u64) -> Found {
    let known = match object_at(pc) {
        Ok(known) => known,
        Err(found) => return found,
    };
    let row = (known.frames != 0)
        .then(|| {
            let Range { start, end } = known.segment;
            // SAFETY: a segment of an object that is loaded, as its headers were just compared,
            // and stays loaded, as its code is on a live stack.
            let bytes =
                unsafe { core::slice::from_raw_parts(start as *const u8, (end - start) as usize) };
            cfi::row(Reader::new(bytes, start), known.frames, pc)
        })
        .flatten();
    // The address of a call's return is one behind `pc`.
    if row.is_none_or(|row| row.signal) && is_signal_return(&known, pc + 1) {
        return Found::SignalReturn;
    }
    row.map_or(Found::Nothing, Found::Row)
}

fn is_signal_return(known: &Known, address: u64) -> bool {
    let end = address + SIGNAL_RETURN.len() as u64;
    if end > known.all.end || !sys::is_readable(address as usize & !7) {
        return false;
    }
    // SAFETY: the instruction was being executed, so its page is readable unless code is kept
    // from being read, which was just asked; the bytes behind are in the same object.
    let bytes = unsafe { *(address as *const [u8; SIGNAL_RETURN.len()]) };
    bytes == SIGNAL_RETURN
}

/// The object at an address, certain to be what it was when it was listed.
fn object_at(pc: u64) -> Result<Known, Found> {
    if let Some(known) = listed(pc)
        && identity_now(known.all.start) == Some(known.identity)
    {
        return Ok(known);
    }
    let is_foreign = foreign()
        .iter()
        .any(|range| (range[0].load(Relaxed)..range[1].load(Relaxed)).contains(&pc));
    if is_foreign || sys::forbidden() {
        return Err(Found::Nothing);
    }
    if clock::stamp() < NOT_BEFORE.load(Relaxed) {
        return Err(Found::NothingYet);
    }
    refresh_for(pc);
    listed(pc).ok_or(Found::NothingYet)
}

fn listed(pc: u64) -> Option<Known> {
    entries().iter().filter_map(Entry::read).find(|known| known.all.contains(pc))
}

/// Hash of the first bytes of an object's headers, where file and sizes are told.
fn identity(headers: &[u8]) -> u64 {
    headers.chunks_exact(8).fold(0xcbf2_9ce4_8422_2325, |hash, chunk| {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    })
}

const IDENTITY_BYTES: usize = 512;

fn identity_now(start: u64) -> Option<u64> {
    if !sys::forbidden() && !sys::is_readable(start as usize) {
        return None;
    }
    // SAFETY: an object's headers were at this page when it was listed. The page is readable,
    // as was just asked; where that is forbidden nothing else can be done than to believe it.
    let headers = unsafe { &*(start as *const [u8; IDENTITY_BYTES]) };
    Some(identity(headers))
}

/// Lists what is loaded, after something changed.
pub(super) fn refresh() {
    refresh_for(0);
}

/// Lists what is loaded; notes if `pc` lies in code of no object.
#[cold]
fn refresh_for(pc: u64) {
    // A handler that jumps away would leave the lock taken.
    let signals = sys::block_signals();
    let before = LOADS.load(Relaxed);
    for _ in 0..PATIENCE {
        if let Some(_held) = LOCK.try_take() {
            // Another thread may just have done it.
            if pc == 0 || LOADS.load(Relaxed) == before || listed(pc).is_none() {
                // SAFETY: the lock is held.
                let Memory { text, headers, .. } = unsafe { &mut *memory() };
                read_mappings(text, headers, pc);
            }
            break;
        }
        sys::yield_now();
    }
    if let Some(signals) = signals {
        sys::restore_signals(signals);
    }
}

/// What reading the mappings came to so far.
struct Listing<'a> {
    headers: &'a mut [u8; HEADERS_BYTES],
    /// The last mapping that could begin an object: start and inode.
    first: Option<(u64, u64)>,
    pc: u64,
    pc_is_mapped: bool,
}

fn read_mappings(text: &mut [u8; TEXT_BYTES], headers: &mut [u8; HEADERS_BYTES], pc: u64) {
    for entry in entries() {
        entry.seen.store(0, Relaxed);
    }
    let mut listing = Listing { headers, first: None, pc, pc_is_mapped: false };
    let whole = maps::for_each_line(b"/proc/self/maps\0", text, |line| {
        if let Some(mapping) = maps::mapping(line) {
            listing.take(&mapping);
        }
        true
    });
    LOADS.fetch_add(1, AcqRel);
    if whole {
        forget_unseen();
    }
    if pc != 0 && !listing.pc_is_mapped {
        NOT_BEFORE.store(clock::stamp() + PAUSE_STAMPS, Relaxed);
    }
}

impl Listing<'_> {
    fn take(&mut self, mapping: &Mapping<'_>) {
        let range = Range { start: mapping.start, end: mapping.start + mapping.bytes };
        let has_file = mapping.inode != 0 || mapping.name == "[vdso]";
        if range.contains(self.pc) {
            self.pc_is_mapped = true;
            if !has_file {
                note_foreign(&range);
            }
        }
        if !has_file {
            return;
        }
        if mapping.file_offset == 0 && mapping.permissions & maps::READ != 0 {
            self.first = Some((mapping.start, mapping.inode));
        }
        if mapping.permissions & maps::EXECUTE != 0
            && let Some((start, inode)) = self.first
            && inode == mapping.inode
        {
            self.first = None;
            self.note(start, inode, mapping.name);
        }
    }

    /// An object begins at `start`.
    fn note(&mut self, start: u64, inode: u64, path: &str) {
        // Headers that are shorter than the buffer are followed by what stands behind them; a
        // mapping of one page holds enough.
        self.headers.fill(0);
        let copied = copy(start, self.headers);
        if copied < IDENTITY_BYTES {
            return;
        }
        let now = identity(&self.headers[..IDENTITY_BYTES]);
        let known = entries().iter().find(|entry| {
            entry.end.load(Relaxed) != 0
                && entry.start.load(Relaxed) == start
                && entry.inode.load(Relaxed) == inode
                && entry.identity.load(Relaxed) == now
        });
        if let Some(known) = known {
            known.seen.store(1, Relaxed);
            return;
        }
        let Some(image) = Image::read(&self.headers[..copied], start) else { return };
        let Some(entry) = free_entry(&image.all) else { return };
        entry.write(&image, now, inode);
        entry.seen.store(1, Relaxed);
        let mut id = [0; MAX_BUILD_ID];
        let id_len = read_build_id(&image, self.headers, &mut id);
        note(&ModuleEvent::Loaded(Module {
            stamp: clock::stamp(),
            start,
            bytes: image.all.end - start,
            bias: image.bias,
            text_address: image.text_address,
            text_offset: image.text_offset,
            build_id: &id[..id_len],
            path,
        }));
    }
}

/// An entry for a new object; what stood in its range before is gone.
fn free_entry(range: &Range) -> Option<&'static Entry> {
    for entry in entries() {
        let (start, end) = (entry.start.load(Relaxed), entry.end.load(Relaxed));
        if end != 0 && start < range.end && range.start < end {
            forget(entry);
        }
    }
    if let Some(entry) = entries().iter().find(|entry| entry.end.load(Relaxed) == 0) {
        return Some(entry);
    }
    let count = COUNT.load(Relaxed) as usize;
    if count == MAX_MODULES {
        return None;
    }
    COUNT.store(count as u32 + 1, Release);
    entries().last()
}

/// Where there is no room the object is not known to readers. The lock is held.
fn note(event: &ModuleEvent<'_>) {
    JOURNAL.append(&|out| record::encode(event, out));
}

fn forget_unseen() {
    for entry in entries() {
        if entry.end.load(Relaxed) != 0 && entry.seen.load(Relaxed) == 0 {
            forget(entry);
        }
    }
}

fn forget(entry: &Entry) {
    let start = entry.start.load(Relaxed);
    entry.write(&Image::default(), 0, 0);
    note(&ModuleEvent::Gone { stamp: clock::stamp(), start });
    let generation = GENERATION.fetch_add(1, AcqRel) + 1;
    if rules::comes_again(generation) {
        rules::wipe();
    }
}

/// Remembers code of no object, in place of the oldest such range.
fn note_foreign(range: &Range) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let slot = &foreign()[NEXT.fetch_add(1, Relaxed) as usize % MAX_FOREIGN];
    slot[1].store(0, Relaxed);
    slot[0].store(range.start, Relaxed);
    slot[1].store(range.end, Relaxed);
}

/// Code of no object may be another's now.
pub(super) fn forget_foreign() {
    for slot in foreign() {
        slot[1].store(0, Relaxed);
    }
}

/// Bytes of our memory that the list takes.
pub(super) fn resident_bytes() -> u64 {
    const SOME_TEXT: u64 = 16 << 10;
    u64::from(COUNT.load(Relaxed)) * size_of::<Entry>() as u64 + SOME_TEXT
}

/// Copies memory that another thread may unmap at this moment; the bytes copied.
fn copy(from: u64, into: &mut [u8]) -> usize {
    match sys::copy_from_self(from as usize, into) {
        Ok(copied) => copied,
        Err(libc::EPERM | libc::ENOSYS) if sys::is_readable(from as usize) => {
            // Some sandboxes forbid the call. The rest of one page is readable, too.
            let len = into.len().min(4096 - (from as usize & 4095));
            // SAFETY: readable, as was just asked.
            let bytes = unsafe { core::slice::from_raw_parts(from as *const u8, len) };
            into[..len].copy_from_slice(bytes);
            len
        }
        Err(_) => 0,
    }
}

fn read_build_id(image: &Image, buffer: &mut [u8], into: &mut [u8; MAX_BUILD_ID]) -> usize {
    for notes in image.notes.iter().filter(|notes| notes.end > notes.start) {
        let len = buffer.len().min((notes.end - notes.start) as usize);
        let copied = copy(notes.start, &mut buffer[..len]);
        if let Some(id) = image::build_id(&buffer[..copied]) {
            into[..id.len()].copy_from_slice(id);
            return id.len();
        }
    }
    0
}
