//! The hooks: what a program calls instead of its C library.

mod blocks;
mod entry;
mod mappings;
mod process;
