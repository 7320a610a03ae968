//! The hooks: what a program calls instead of its C library.

mod blocks;
pub(crate) mod entry;
mod interface;
mod mappings;
mod process;
