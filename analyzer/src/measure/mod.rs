//! From the replayed address space to numbers: one moment ([`State`]), moments over
//! time, and what the heap map draws.

mod facts;
mod snapshot;
mod state;

pub use facts::{Analysis, TraceFacts};
pub use snapshot::{Band, Cell, HeapMap};
pub use state::{PAGE_BUCKETS, State};
