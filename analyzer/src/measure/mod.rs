//! From the replayed address space to numbers: one moment ([`State`]), moments over time
//! ([`analyze`]), the holes at one of them, and what the heap map draws.

mod analyze;
pub mod blame;
mod facts;
mod heap_map;
mod hole_ages;
mod holes;
mod johnstone_wilson;
mod moment;
mod playback;
mod shape;
mod snapshot;
mod stairs;
mod state;
mod survivors;
mod usage;

pub use analyze::{analyze, analyze_to_end};
pub use facts::{Analysis, ThreadPair, TraceFacts};
pub use heap_map::heap_map;
pub use holes::{Bucket, FitMoment, Hole, Holes, fit_over_time, holes_at};
pub use johnstone_wilson::JohnstoneWilson;
pub(crate) use moment::state;
pub use moment::{MomentError, TimeSpec, resolve_time};
pub use shape::{HeapPart, HeapShape, TopBlocks};
pub use snapshot::{Band, Cell, HeapMap};
pub use stairs::Step;
pub use state::{PAGE_BUCKETS, State};
pub use survivors::Survivors;
pub use usage::{Churn, Crossed, Ladder, Refilled, Usage};
