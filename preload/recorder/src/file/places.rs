//! Where everything of the recorder's is mapped, relative to the base.

use fragtrace_format::header::Area;

// Places relative to the base. The ring is at most 1 TiB, or twice the lanes.
pub(super) const SCRATCH_AT: usize = 1 << 20;
pub(super) const SCRATCH_BYTES: usize = 4 << 20;
pub(super) const LANES_AT: usize = 16 << 20;
const LOOKS_AT: usize = 1 << 30;
/// Memory of the folder's own, in no file.
const FOLD_AT: usize = 2 << 30;
const REGIONS_AT: usize = 3 << 30;
const LINKS_AT: usize = 4 << 30;
/// Memory of the looks' own, in no file.
const MAPS_AT: usize = 5 << 30;
const PAGES_AT: usize = 6 << 30;
const THREADS_AT: usize = 7 << 30;
const CLASSES_AT: usize = (7 << 30) + (512 << 20);
const STACKS_AT: usize = 8 << 30;
const MODULES_AT: usize = 9 << 30;
const POOLS_AT: usize = (9 << 30) + (512 << 20);
/// Memory of those who walk stacks, in no file.
const LAST_AT: usize = 10 << 30;
const RULES_AT: usize = 11 << 30;
const LOADED_AT: usize = 12 << 30;
/// Up to 2.3 GiB.
const INDEX_AT: usize = 16 << 30;
const EVENTS_AT: usize = 1 << 37;
const BASE_AT: usize = 2 << 40;
const LEAVES_AT: usize = 3 << 40;

/// Address space from the base on in which nothing else is expected.
pub(super) const SPAN: u64 = 1 << 42;

/// Bases to try, 4 TiB apart: between the heap of programs at fixed addresses and that of
/// position-independent ones.
pub(crate) const BASES: [usize; 4] =
    [0x1800_0000_0000, 0x1c00_0000_0000, 0x2000_0000_0000, 0x1400_0000_0000];

/// Where an area that grows is mapped, its segments end to end.
pub(super) const fn of_area(area: Area) -> usize {
    match area {
        Area::Events => EVENTS_AT,
        Area::Base => BASE_AT,
        Area::Regions => REGIONS_AT,
        Area::Threads => THREADS_AT,
        Area::Classes => CLASSES_AT,
        Area::Stacks => STACKS_AT,
        Area::Modules => MODULES_AT,
        Area::Pools => POOLS_AT,
        _ => LOOKS_AT,
    }
}

/// The areas that grow.
pub(super) const GROWING_AREAS: [Area; 9] = [
    Area::Events,
    Area::Base,
    Area::Regions,
    Area::Threads,
    Area::Classes,
    Area::Stacks,
    Area::Modules,
    Area::Pools,
    Area::Looks,
];

/// Memory of the recorder's own, in no file: address space that is mapped as it is needed.
#[derive(Clone, Copy)]
pub(crate) enum Private {
    /// 1 GiB.
    Fold,
    /// 1 GiB.
    Links,
    /// 1 TiB.
    Leaves,
    /// 1 GiB.
    Maps,
    /// 1 GiB.
    Pages,
    /// 1 GiB: the last stacks of lanes.
    Last,
    /// 1 GiB: unwind rules.
    Rules,
    /// 1 GiB: loaded objects.
    Modules,
    /// 7 GiB and more: the index of the stack table.
    Stacks,
}

impl Private {
    /// All of it, with the bytes of address space that each has.
    pub(super) const ALL: [(Private, usize); 9] = [
        (Private::Fold, 1 << 30),
        (Private::Links, 1 << 30),
        (Private::Leaves, 1 << 40),
        (Private::Maps, 1 << 30),
        (Private::Pages, 1 << 30),
        (Private::Last, 1 << 30),
        (Private::Rules, 1 << 30),
        (Private::Modules, 1 << 30),
        (Private::Stacks, 7 << 30),
    ];

    pub(super) const fn place(self) -> usize {
        match self {
            Private::Fold => FOLD_AT,
            Private::Links => LINKS_AT,
            Private::Leaves => LEAVES_AT,
            Private::Maps => MAPS_AT,
            Private::Pages => PAGES_AT,
            Private::Last => LAST_AT,
            Private::Rules => RULES_AT,
            Private::Modules => LOADED_AT,
            Private::Stacks => INDEX_AT,
        }
    }
}
