//! The live blocks in order of address, from one frame to the next. Of a large heap little changes
//! between two, so what changes is noted on the way and put in its place; to collect all blocks and to
//! sort them took three quarters of a frame.

use super::super::SiteNumbers;
use super::super::blame::Piece;
use super::traits::TraitsMet;
use crate::replay::{Block, Blocks, Changes};
use crate::symbols::Symbols;
use fragtrace_format::Stamp;

/// If one block in so many changes between two frames, all are collected.
const MOST_CHANGED: usize = 4;
/// Whatever there are, so many changes are noted.
const LEAST_NOTED: usize = 4096;

/// What says whose a block is.
pub(super) struct Naming<'a, 't> {
    pub symbols: &'a mut Symbols<'t>,
    pub numbers: SiteNumbers,
    pub traits: TraitsMet,
}

/// What a site has live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LiveOfSite {
    pub bytes: u64,
    pub blocks: u64,
}

/// The live blocks, as they were at the last frame.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Those that take addresses, in order; numbers are places in `sizes`. Only while a frame is
    /// taken they are out of order, or elsewhere.
    pub pieces: Vec<Piece>,
    /// What was asked for, of these and of some that are gone.
    pub sizes: Vec<u64>,
    /// By site. Sums wrap where a damaged trace asks for too much.
    pub sums: Vec<LiveOfSite>,
    /// Blocks that take no addresses.
    without_extent: u64,
    /// The pieces of the frame before: room for the next one's.
    spare: Vec<Piece>,
    /// What changed since; `None`: too much, or it is not known.
    noted: Option<Vec<Noted>>,
}

/// A block that came, or went.
#[derive(Debug, Clone)]
struct Noted {
    came: bool,
    block: Block,
}

impl Noted {
    /// Which block it is. Two at one place and of one moment are not told apart.
    fn identity(&self) -> (u64, u64, Stamp) {
        identity(self.block.extent.start, self.block.extent.end, self.block.birth)
    }
}

fn identity(start: u64, end: u64, birth: Stamp) -> (u64, u64, Stamp) {
    (start, end, birth)
}

impl Followed {
    /// Notes what changes.
    pub(super) fn note(&mut self, changes: &Changes) {
        let Some(noted) = &mut self.noted else { return };
        noted.extend(changes.blocks().map(|(came, block)| Noted { came, block }));
        if noted.len() > (self.pieces.len() / MOST_CHANGED).max(LEAST_NOTED) {
            self.noted = None;
        }
    }

    /// Takes in what changed up to now, where these are the live blocks.
    pub(super) fn catch_up(&mut self, blocks: &Blocks, naming: &mut Naming<'_, '_>) {
        let followed = self.noted.take().is_some_and(|noted| self.follow(noted, naming));
        if !followed || self.pieces.len() as u64 + self.without_extent != blocks.count() {
            self.collect(blocks, naming);
        }
        // Of a site that was met at earlier moments only nothing is live.
        self.sums.resize(naming.numbers.count(), LiveOfSite::default());
        self.noted = Some(Vec::new());
    }

    /// Collects them all.
    fn collect(&mut self, blocks: &Blocks, naming: &mut Naming<'_, '_>) {
        self.pieces.clear();
        self.sizes.clear();
        self.sums.clear();
        self.without_extent = 0;
        for (_, block) in blocks.iter() {
            if let Some(piece) = self.add(&block, naming) {
                self.pieces.push(piece);
            }
        }
    }

    /// Adds a block to all that is kept but the pieces; its piece, if it takes addresses.
    fn add(&mut self, block: &Block, naming: &mut Naming<'_, '_>) -> Option<Piece> {
        let site = naming.numbers.of(block, naming.symbols);
        let sum = self.sum_of(site, naming);
        sum.bytes = sum.bytes.wrapping_add(block.size);
        sum.blocks = sum.blocks.wrapping_add(1);
        if block.extent.is_empty() {
            self.without_extent += 1;
            return None;
        }
        let key = naming.traits.number(site, block);
        let number = self.sizes.len() as u32;
        self.sizes.push(block.size);
        Some(Piece { extent: block.extent.clone(), birth: block.birth, key, number })
    }

    /// Takes a block out of all that is kept but the pieces.
    fn subtract(&mut self, block: &Block, naming: &mut Naming<'_, '_>) {
        let site = naming.numbers.of(block, naming.symbols);
        let sum = self.sum_of(site, naming);
        sum.bytes = sum.bytes.wrapping_sub(block.size);
        sum.blocks = sum.blocks.wrapping_sub(1);
        self.without_extent = self.without_extent.wrapping_sub(u64::from(block.extent.is_empty()));
    }

    fn sum_of(&mut self, site: u32, naming: &Naming<'_, '_>) -> &mut LiveOfSite {
        if self.sums.len() <= site as usize {
            self.sums.resize(naming.numbers.count(), LiveOfSite::default());
        }
        &mut self.sums[site as usize]
    }

    /// Takes in what changed. False: that went wrong, and what is kept counts no more.
    fn follow(&mut self, mut noted: Vec<Noted>, naming: &mut Naming<'_, '_>) -> bool {
        noted.sort_by_key(Noted::identity);
        let mut changed = Vec::new();
        for same in noted.chunk_by(|one, other| one.identity() == other.identity()) {
            // Most that come between two frames are gone before the second.
            let count = |came| same.iter().filter(|noted| noted.came == came).count();
            let Some(last) = same.last() else { continue };
            match (count(true), count(false)) {
                (came, went) if came == went => {}
                (came, went) if came == went + 1 => {
                    changed.push((last, self.add(&last.block, naming)))
                }
                (came, went) if came + 1 == went => {
                    self.subtract(&last.block, naming);
                    changed.push((last, None));
                }
                _ => return false,
            }
        }
        changed.retain(|(noted, _)| !noted.block.extent.is_empty());
        self.put_in_place(&changed)
    }

    /// Puts in blocks that came, and takes out those without a piece, which went; by their extents. False:
    /// one that went was not there.
    fn put_in_place(&mut self, changed: &[(&Noted, Option<Piece>)]) -> bool {
        let mut pieces = std::mem::take(&mut self.spare);
        pieces.clear();
        let mut rest = &self.pieces[..];
        let start_of = |(noted, _): &(&Noted, Option<Piece>)| noted.block.extent.start;
        for at_one_place in changed.chunk_by(|one, other| start_of(one) == start_of(other)) {
            let Some(start) = at_one_place.first().map(start_of) else { continue };
            let (before, behind) =
                rest.split_at(rest.partition_point(|piece| piece.extent.start < start));
            let (here, behind) = behind
                .split_at(behind.iter().take_while(|piece| piece.extent.start == start).count());
            pieces.extend_from_slice(before);
            let first_here = pieces.len();
            pieces.extend_from_slice(here);
            for (noted, came) in at_one_place {
                match came {
                    Some(piece) => pieces.push(piece.clone()),
                    None => {
                        let is_it = |piece: &Piece| {
                            let Piece { extent, birth, .. } = piece;
                            identity(extent.start, extent.end, *birth) == noted.identity()
                        };
                        let Some(at) = pieces[first_here..].iter().position(is_it) else {
                            return false;
                        };
                        pieces.remove(first_here + at);
                    }
                }
            }
            rest = behind;
        }
        pieces.extend_from_slice(rest);
        self.spare = std::mem::replace(&mut self.pieces, pieces);
        self.forget_sizes();
        true
    }

    /// Forgets the sizes of blocks that are gone, if these are most.
    fn forget_sizes(&mut self) {
        if self.sizes.len() / 2 > self.pieces.len() + LEAST_NOTED {
            let sizes = self.pieces.iter().map(|piece| self.sizes[piece.number as usize]).collect();
            self.pieces.iter_mut().zip(0..).for_each(|(piece, number)| piece.number = number);
            self.sizes = sizes;
        }
    }
}
