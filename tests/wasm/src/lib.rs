//! A module for wasm32 that counts what it asks of its allocator, so that it knows what its trace must
//! say. `run.mjs` runs it; built by `cargo xtask test wasm32`.
#![cfg_attr(target_arch = "wasm32", no_std)]

#[cfg(target_arch = "wasm32")]
mod counted;
#[cfg(target_arch = "wasm32")]
mod service;
