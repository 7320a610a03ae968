//! fragtrace's analyzer: read → order → replay → measure → render.
//!
//! Data goes one way: a stage knows the one before it and never the one after.
#![forbid(unsafe_code)]

pub mod measure;
pub mod render;
