//! From the replayed address space to numbers: one moment ([`State`]), moments over time
//! ([`analyze`]), the holes at one of them, and what the heap map draws.

mod analyze;
mod arenas;
pub mod blame;
mod facts;
pub mod frames;
mod gaps;
mod heap_map;
mod holes;
mod johnstone_wilson;
mod kinds;
mod latency;
mod moment;
mod parts;
mod places;
mod playback;
mod pools;
mod progress;
mod refills;
mod shape;
mod site_numbers;
mod slop;
mod snapshot;
mod stairs;
mod state;
mod survivors;
mod teardown;
mod usage;

pub use analyze::{
    Checkpoint, analyze, analyze_to_end, analyze_to_exit, analyze_until, process_facts,
};
pub use arenas::{ArenaFacts, ArenaThread};
pub use facts::{Analysis, DriftFacts, MappingFacts, ThreadPair, TraceFacts};
pub use gaps::with_gaps;
pub use heap_map::{heap_axis, heap_map, heap_pages};
pub use holes::{Bucket, FitMoment, Hole, Holes, HolesIn, PageUse, fit_over_time, holes_at};
pub use johnstone_wilson::JohnstoneWilson;
pub(crate) use kinds::thread_label;
pub use kinds::{Kinds, KindsBy, NAMED, Scale};
pub use latency::{Calls, Interval, Latency};
pub(crate) use moment::state;
pub use moment::{MomentError, TimeSpec, resolve_time};
pub use parts::{HeapFacts, Parts, ThreadFacts, Utilisation};
pub use places::{AllocatorPlaces, FreePlaces, HolePlaces};
pub use pools::PoolFacts;
pub use progress::{Progress, WHOLE, progress};
pub use shape::{HeapPart, HeapShape, TopBlocks};
pub use site_numbers::SiteNumbers;
pub use slop::SlopClass;
pub use snapshot::{Band, Cell, HeapMap, Owners};
pub use stairs::Step;
pub use state::{AllocatorSays, PAGE_BUCKETS, State};
pub use survivors::Survivors;
pub use teardown::teardown_ns;
pub use usage::{Churn, Crossed, Ladder, Refilled, Usage};
