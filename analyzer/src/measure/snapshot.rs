//! What the heap map draws: how full each stretch of heap was, moment by moment.

use super::KindsBy;

/// One column or grid of the heap map, as plain numbers: no address space, no pixels.
///
/// The heap's address space is cut into `cells` of `cell_bytes` each, the cells of one
/// band contiguous in address; between two bands lies a gap that is not drawn to scale.
#[derive(Debug, Clone, PartialEq)]
pub struct HeapMap {
    /// Bytes of address space a cell stands for: a multiple of the page size.
    pub cell_bytes: u64,
    /// The bands from low addresses to high ones.
    pub bands: Vec<Band>,
    /// Moments drawn, in nanoseconds since the trace's start, rising.
    pub times_ns: Vec<u64>,
    /// `columns[t][c]`: the state of cell `c` (bands laid end to end) at `times_ns[t]`.
    pub columns: Vec<Vec<Cell>>,
    /// Whose the live blocks are, where that was asked for.
    pub owners: Option<Owners>,
}

/// Whose blocks take most of each cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    /// What kinds go by.
    pub by: KindsBy,
    /// What they are called, from kind 1 on.
    pub labels: Vec<String>,
    /// As in [`HeapMap::columns`]: the kind with most live bytes in a cell; 0 = none.
    pub columns: Vec<Vec<u8>>,
}

/// A stretch of heap address space that is drawn without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Band {
    /// First address.
    pub start: u64,
    /// Cells in this band.
    pub cells: usize,
    /// What stands there: "brk heap", "arena heap", "mapped blocks", …
    pub label: String,
}

/// One cell at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cell {
    /// Not mapped, or never used so far.
    #[default]
    Unused,
    /// Used before and given back to the kernel.
    GivenBack,
    /// In the footprint, or a part of it is.
    Used {
        /// Share of the part in the footprint that live blocks cover: 0 (nothing) to 255
        /// (all). Anything live at all is at least 1.
        live: u8,
        /// Share of the cell that is in the footprint: 1 to 255 (all).
        held: u8,
    },
}
