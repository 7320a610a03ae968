//! The bytes of a fragtrace trace: the only place where they are laid out.
//!
//! A trace is a [header](header), a list of segments that belong to areas, and in the
//! areas either [chunks](chunk) of packed [events](event), framed [records](record), or arrays
//! of entries ([base], [classes], [stack], [threads]).
//! Writer and reader stand side by side in each module; nothing here does I/O, allocates
//! or knows time. docs/trace-format.md draws every layout.
#![no_std]
#![forbid(unsafe_code)]

pub mod base;
pub mod chunk;
pub mod classes;
pub mod event;
pub mod header;
pub mod pages;
pub mod record;
pub mod stack;
pub mod threads;

/// The unit of stamps, and how it relates to time, is in [`header::Header`].
pub type Stamp = u64;
