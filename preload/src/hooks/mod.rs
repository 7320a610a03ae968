//! The hooks: what a program calls instead of its C library.

mod blocks;
mod mappings;
mod process;
