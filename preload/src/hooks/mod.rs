//! The hooks: what a program calls instead of its C library.

mod blocks;
#[cfg(target_arch = "x86_64")]
mod by_hand;
mod entry;
mod interface;
mod mappings;
mod process;
