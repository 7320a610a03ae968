//! Who pins which page: one pass over the live blocks in order of address.
//!
//! A page that some live block lies on cannot go back, whatever else of it is unused. Its
//! unused bytes are charged to the blocks on it in proportion to the bytes that they take
//! of it, to the byte: what is charged for a page up to a block is the waste times the
//! bytes up to it, rounded down, so rounding never adds up to more or less than the page.
//!
//! Blocks are charged to groups (call stacks, sites, threads); which block is whose is the
//! caller's to say, as a number for each key. A pass touches each block once for each page
//! that it has a part in, but for pages that it fills alone, which are one step together.

use super::held::Held;
use fragtrace_format::Stamp;
use std::collections::BTreeMap;
use std::ops::Range;

/// A live block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Piece {
    /// The addresses that it takes.
    pub extent: Range<u64>,
    /// When it came.
    pub birth: Stamp,
    /// Whose it is, as a position in the groups that a pass is given.
    pub key: u32,
    /// Which one it is, for whoever knows more about single blocks.
    pub number: u32,
}

/// What one group of blocks pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Charge {
    /// Unused bytes of pages, in proportion to the bytes of the group on each.
    pub pinned_bytes: u64,
    /// Unused bytes of pages on which no other group has a block.
    pub sole_pinned_bytes: u64,
    /// Pages that would come free if the group's blocks were not there, in bytes.
    pub unlock_bytes: u64,
    /// Pages that the group pins: it has blocks on them, and bytes are unused.
    pub pages: u64,
    /// Σ pinned bytes × birth of the block that pins them.
    weighted_births: u128,
}

impl Charge {
    /// The mean birth of the blocks that pin, each weighed by the bytes that it pins.
    pub fn mean_birth(&self) -> Option<Stamp> {
        let mean = self.weighted_births.checked_div(self.pinned_bytes.into())?;
        u64::try_from(mean).ok()
    }
}

/// What a pass comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Charges {
    /// Unused bytes of all pages that hold something live.
    pub waste_bytes: u64,
    /// Pages without a live byte.
    pub releasable_bytes: u64,
    /// By group.
    pub groups: Vec<Charge>,
    /// What is charged to each key: the groups' pinned bytes, divided among their keys.
    pub pinned_by_key: Vec<u64>,
    /// What the allocator pins itself: pages on which only its own bytes lie.
    pub heads: Charge,
}

/// The live blocks in order of address, and the pages that count.
#[derive(Debug)]
pub struct Pins {
    pieces: Vec<Piece>,
    held: Held,
    /// Bytes that the allocator keeps for itself, by page.
    heads: BTreeMap<u64, u64>,
    page_bytes: u64,
}

/// What lies on one page, in order of address.
#[derive(Debug, Default)]
struct Page {
    number: u64,
    parts: Vec<Part>,
}

/// What a block takes of a page.
#[derive(Debug, Clone, Copy)]
struct Part {
    group: u32,
    key: u32,
    bytes: u64,
    birth: Stamp,
}

/// What a walk over the pages comes across.
enum Step<'a> {
    /// A page, held and with blocks on it: the bytes that the allocator keeps there, and
    /// whether only one group is there.
    Page { parts: &'a [Part], head_bytes: u64 },
    /// So many held pages that a block of this group fills alone.
    Filled { group: u32, pages: u64 },
}

impl Pins {
    /// `heads`: what the allocator keeps at the start of its heaps. `page_bytes` is what
    /// goes back as one.
    pub fn new(
        mut pieces: Vec<Piece>,
        held: Held,
        heads: impl Iterator<Item = Range<u64>>,
        page_bytes: u64,
    ) -> Pins {
        use rayon::slice::ParallelSliceMut;
        pieces.par_sort_unstable_by_key(|piece| piece.extent.start);
        // Two blocks overlap only for a moment, or by damage: what is where is then the
        // earlier one's. To compare that too would cost all of them more.
        for same in pieces.chunk_by_mut(|one, other| one.extent.start == other.extent.start) {
            same.sort_unstable_by_key(|piece| (piece.birth, piece.key, piece.number));
        }
        let mut by_page = BTreeMap::new();
        for Range { start, end } in heads {
            for page in start / page_bytes..end.div_ceil(page_bytes) {
                let part = end.min((page + 1) * page_bytes) - start.max(page * page_bytes);
                *by_page.entry(page).or_default() += part;
            }
        }
        Pins { pieces, held, heads: by_page, page_bytes }
    }

    /// The live blocks in order of address.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The same, for another heap to be put into.
    pub fn into_pieces(self) -> Vec<Piece> {
        self.pieces
    }

    /// The pages that count, in bytes.
    pub fn held_bytes(&self) -> u64 {
        self.held.pages() * self.page_bytes
    }

    /// Whether these were found in memory; if not, they are the footprint.
    pub fn are_resident(&self) -> bool {
        self.held.is_resident()
    }

    /// Charges the unused bytes of each page to the groups on it. `groups` has the group of
    /// each key, `count` is how many there are.
    pub fn charge(&self, groups: &[u32], count: usize) -> Charges {
        let mut charges = Charges {
            groups: vec![Charge::default(); count],
            pinned_by_key: vec![0; groups.len()],
            ..Charges::default()
        };
        let mut with_blocks = 0;
        // The last page on which each group was met.
        let mut met = vec![0u64; count];
        let mut page_count = 0;
        self.walk(groups, |step| match step {
            Step::Filled { group, pages } => {
                with_blocks += pages;
                charges.groups[group as usize].unlock_bytes += pages * self.page_bytes;
            }
            Step::Page { parts, head_bytes } => {
                with_blocks += 1;
                page_count += 1;
                let live: u64 = parts.iter().map(|part| part.bytes).sum();
                let waste = self.page_bytes.saturating_sub(live + head_bytes);
                charges.waste_bytes += waste;
                let share = Share { waste, live, so_far: 0, charged: 0 };
                charge_page(&mut charges, &mut met, page_count, share, parts);
                if let Some(sole) = sole_group(parts) {
                    let charge = &mut charges.groups[sole as usize];
                    charge.sole_pinned_bytes += waste;
                    charge.unlock_bytes += if head_bytes == 0 { self.page_bytes } else { 0 };
                }
            }
        });
        charges.heads = self.heads_alone();
        charges.waste_bytes += charges.heads.pinned_bytes;
        let free = self.held.pages().saturating_sub(with_blocks + charges.heads.pages);
        charges.releasable_bytes = free * self.page_bytes;
        charges
    }

    /// What comes free if the groups go one after the other, in bytes: of each place in the
    /// order, with all places before it. `places` has the place of each key's group.
    pub fn unlocked_in_turn(&self, places: &[u32], count: usize) -> Vec<u64> {
        let mut by_place = vec![0; count];
        self.walk(places, |step| {
            let (place, pages) = match step {
                Step::Filled { group, pages } => (Some(group), pages),
                Step::Page { head_bytes: 1.., .. } => (None, 0),
                Step::Page { parts, .. } => (parts.iter().map(|part| part.group).max(), 1),
            };
            if let Some(place) = place {
                by_place[place as usize] += pages * self.page_bytes;
            }
        });
        let mut sum = 0;
        for bytes in &mut by_place {
            sum += *bytes;
            *bytes = sum;
        }
        by_place
    }

    /// What the allocator pins: held pages on which only its own bytes lie.
    fn heads_alone(&self) -> Charge {
        let mut heads = Charge::default();
        for (page, bytes) in &self.heads {
            let (start, end) = (page * self.page_bytes, (page + 1) * self.page_bytes);
            let before = self.pieces.partition_point(|piece| piece.extent.start < end);
            // Blocks do not overlap, but for a moment: the last one before reaches farthest.
            let reaches = self.pieces[..before].last().is_some_and(|last| last.extent.end > start);
            if !reaches && self.held.pages_in(*page, page + 1) > 0 {
                let waste = self.page_bytes.saturating_sub(*bytes);
                heads.pages += 1;
                heads.pinned_bytes += waste;
                heads.sole_pinned_bytes += waste;
            }
        }
        heads
    }

    /// Calls `each` with all held pages that blocks lie on, in order.
    fn walk(&self, groups: &[u32], mut each: impl FnMut(Step<'_>)) {
        let page_bytes = self.page_bytes;
        let mut page = Page::default();
        let mut held = self.held.cursor();
        let mut close = |page: &mut Page, each: &mut dyn FnMut(Step<'_>)| {
            if !page.parts.is_empty() && held.pages_in(page.number, page.number + 1) > 0 {
                let head_bytes = self.heads.get(&page.number).copied().unwrap_or(0);
                each(Step::Page { parts: &page.parts, head_bytes });
            }
            page.parts.clear();
        };
        let mut filled = self.held.cursor();
        let mut free_from = 0;
        for piece in &self.pieces {
            let Some(group) = groups.get(piece.key as usize).copied() else { continue };
            let (start, end) = (piece.extent.start.max(free_from), piece.extent.end);
            if start >= end {
                continue;
            }
            free_from = end;
            let mut at = start;
            while at < end {
                let number = at / page_bytes;
                let whole = end / page_bytes;
                if at % page_bytes == 0 && number < whole {
                    close(&mut page, &mut each);
                    let pages = filled.pages_in(number, whole);
                    if pages > 0 {
                        each(Step::Filled { group, pages });
                    }
                    at = whole * page_bytes;
                    continue;
                }
                if page.number != number {
                    close(&mut page, &mut each);
                    page.number = number;
                }
                let bytes = end.min((number + 1) * page_bytes) - at;
                let Piece { birth, key, .. } = *piece;
                page.parts.push(Part { group, key, bytes, birth });
                at += bytes;
            }
        }
        close(&mut page, &mut each);
    }
}

/// The waste of a page, as far as it is charged.
struct Share {
    waste: u64,
    live: u64,
    so_far: u64,
    charged: u64,
}

impl Share {
    /// What the next block is charged, which takes `bytes` of the page.
    fn next(&mut self, bytes: u64) -> u64 {
        self.so_far += bytes;
        // Pages have at most 2^18 bytes.
        let up_to_here = self.waste * self.so_far / self.live.max(1);
        let share = up_to_here - self.charged;
        self.charged = up_to_here;
        share
    }
}

fn charge_page(
    charges: &mut Charges,
    met: &mut [u64],
    page: u64,
    mut share: Share,
    parts: &[Part],
) {
    if share.waste == 0 {
        return;
    }
    for Part { group, key, bytes, birth } in parts {
        let bytes = share.next(*bytes);
        charges.pinned_by_key[*key as usize] += bytes;
        let charge = &mut charges.groups[*group as usize];
        charge.pinned_bytes += bytes;
        charge.weighted_births += u128::from(bytes) * u128::from(*birth);
        if std::mem::replace(&mut met[*group as usize], page) != page {
            charge.pages += 1;
        }
    }
}

/// The group that all parts belong to, if it is one.
fn sole_group(parts: &[Part]) -> Option<u32> {
    let first = parts.first()?.group;
    parts.iter().all(|part| part.group == first).then_some(first)
}
