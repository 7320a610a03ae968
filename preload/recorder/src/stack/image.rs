//! What the program headers of a loaded object say, read from memory.

use super::bytes::Reader;

/// Bytes from the object's first one on that hold its headers.
pub(super) const HEADERS_BYTES: usize = 2048;
/// The longest build-id that is kept: SHA-1 takes 20 bytes, some take 32.
pub(super) const MAX_BUILD_ID: usize = 32;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const EXECUTABLE: u32 = 1;
const MAX_HEADERS: u16 = 64;
const HEADER_BYTES: u64 = 56;
const PAGE: u64 = 4096;
const NOTE_BUILD_ID: u32 = 3;

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Range {
    pub(super) fn contains(&self, address: u64) -> bool {
        address >= self.start && address < self.end
    }
}

/// A loaded object, as its headers tell; addresses are those in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Image {
    pub(super) all: Range,
    /// What the loader added to the addresses in the file.
    pub(super) bias: u64,
    /// The first executable segment: address and offset in the file.
    pub(super) text_address: u64,
    pub(super) text_offset: u64,
    /// .eh_frame_hdr, and the part of its segment that comes from the file; 0 = none.
    pub(super) frames: u64,
    pub(super) frames_segment: Range,
    /// Where notes are: the first few segments of them.
    pub(super) notes: [Range; 4],
}

impl Image {
    /// Reads headers that lie at `start`. `None`: they are not those of an object for this
    /// processor's programs.
    pub(super) fn read(headers: &[u8], start: u64) -> Option<Image> {
        // Class 64, little-endian.
        if !headers.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let file = Reader::new(headers, 0);
        let table = file.from(32)?.u64()?;
        let mut sizes = file.from(54)?;
        let (entry_bytes, count) = (sizes.u16()?, sizes.u16()?);
        if u64::from(entry_bytes) != HEADER_BYTES || count > MAX_HEADERS {
            return None;
        }
        let header = |index: u16| {
            let mut at = file.from(table.checked_add(u64::from(index) * HEADER_BYTES)?)?;
            Some(Header {
                kind: at.u32()?,
                flags: at.u32()?,
                offset: at.u64()?,
                address: (at.u64()?, at.u64()?).0,
                file_bytes: at.u64()?,
                bytes: at.u64()?,
            })
        };
        let headers = || (0..count).map_while(header);
        let first = headers().find(|header| header.kind == PT_LOAD)?;
        let mut image = Image {
            bias: start.wrapping_sub(first.address & !(PAGE - 1)),
            all: Range { start, end: start },
            ..Image::default()
        };
        let mut notes = 0;
        for header in headers() {
            let range = Range {
                start: header.address.wrapping_add(image.bias),
                end: header.address.wrapping_add(image.bias).checked_add(header.bytes)?,
            };
            match header.kind {
                PT_LOAD => {
                    image.all.end = image.all.end.max(range.end);
                    if header.flags & EXECUTABLE != 0 && image.text_address == 0 {
                        (image.text_address, image.text_offset) = (header.address, header.offset);
                    }
                }
                PT_GNU_EH_FRAME => image.frames = range.start,
                PT_NOTE => {
                    if let Some(note) = image.notes.get_mut(notes) {
                        *note = range;
                        notes += 1;
                    }
                }
                _ => {}
            }
        }
        let segment = headers().filter(|header| header.kind == PT_LOAD).find_map(|header| {
            let start = header.address.wrapping_add(image.bias);
            let segment = Range { start, end: start.checked_add(header.file_bytes)? };
            segment.contains(image.frames).then_some(segment)
        });
        match segment {
            Some(segment) => image.frames_segment = segment,
            None => image.frames = 0,
        }
        Some(image)
    }
}

struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    bytes: u64,
}

/// The build-id among notes, if it is there.
pub(super) fn build_id(notes: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        let mut head = Reader::new(notes.get(at..)?, 0);
        let (name, bytes, kind) = (head.u32()? as usize, head.u32()? as usize, head.u32()?);
        let name_at = at + 12;
        let start = name_at.checked_add(name.checked_next_multiple_of(4)?)?;
        let end = start.checked_add(bytes)?;
        if kind == NOTE_BUILD_ID && notes.get(name_at..name_at + 4) == Some(b"GNU\0") {
            return notes.get(start..end.min(start + MAX_BUILD_ID));
        }
        at = end.checked_next_multiple_of(4)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_stands_among_notes() {
        let mut notes = std::vec::Vec::new();
        for (kind, text) in [(1u32, &b"abc"[..]), (3, b"0123456789")] {
            notes.extend([4, text.len() as u32, kind].iter().flat_map(|word| word.to_le_bytes()));
            notes.extend(b"GNU\0");
            notes.extend(text);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(build_id(&notes), Some(&b"0123456789"[..]));
        assert_eq!(build_id(&notes[..10]), None);
        assert_eq!(build_id(&[0xff; 64]), None);
    }

    #[test]
    fn damaged_headers_are_no_object() {
        assert_eq!(Image::read(b"\x7fELF\x02\x01", 0), None);
        let mut bytes = [0xff; HEADERS_BYTES];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(Image::read(&bytes, 1 << 40), None);
    }
}
