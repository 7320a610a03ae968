//! fragtrace's analyzer: read → order → replay → measure → diagnose →
//! render.
//!
//! What is known of allocators, whatever the trace, is [`allocators`].
//!
//! Data goes one way: a stage knows the one before it and never the one after. [`read`] is
//! the last that does I/O; from there on the same trace gives the same result, whenever and
//! wherever it is analyzed.
#![deny(unsafe_code)]

pub mod allocators;
pub mod diagnose;
pub mod measure;
pub mod order;
pub mod read;
pub mod render;
pub mod replay;
pub mod shootout;
pub mod symbols;
mod words;
