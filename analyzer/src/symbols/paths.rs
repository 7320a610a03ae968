//! Whose source a file is, by its path: for functions whose names do not say it.

use super::Language;
use super::rules::of_crate;
use super::skipped::Tier;

/// The tier of a source file.
pub fn tier(file: &str, language: Language) -> Option<Tier> {
    match language {
        Language::Rust => of_rust(file),
        Language::Cpp => of_cpp(file),
        Language::Plain | Language::Python => None,
    }
}

/// rustc's own sources keep the path that they were built at, or that of the component
/// rust-src; those of other crates lie in cargo's registry, or where cargo checks out repositories, and in
/// a folder of their own where the standard library has vendored them.
fn of_rust(file: &str) -> Option<Tier> {
    const ALLOCATORS: [&str; 4] =
        ["alloc/src/alloc.rs", "alloc/src/raw_vec", "std/src/alloc.rs", "core/src/alloc/"];
    let is_own = file.starts_with("/rustc/") || file.contains("/lib/rustlib/src/rust/");
    if let Some((_, path)) = file.split_once("/library/").filter(|_| is_own) {
        let allocates = ALLOCATORS.iter().any(|start| path.starts_with(start));
        return Some(if allocates { Tier::Allocator } else { Tier::Library });
    }
    if let Some(name) = crate_of(file) {
        return of_crate(&name).or(Some(Tier::Dependency));
    }
    file.contains("/git/checkouts/").then_some(Tier::Dependency)
}

/// The crate of a path in a registry: `…/registry/src/index/futures-util-0.3.31/src/lib.rs`.
fn crate_of(file: &str) -> Option<String> {
    if let Some((_, path)) = file.split_once("/rust/deps/") {
        return versioned(path);
    }
    let (_, path) = file.split_once("/registry/src/")?;
    versioned(path.split_once('/')?.1)
}

/// The name in front of a version: `futures_util` of `futures-util-0.3.31/src/lib.rs`.
fn versioned(path: &str) -> Option<String> {
    let folder = path.split('/').next()?;
    let digit = |at: &usize| folder[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    let version = folder.match_indices('-').map(|(at, _)| at).find(digit)?;
    Some(folder[..version].replace('-', "_"))
}

fn of_cpp(file: &str) -> Option<Tier> {
    const ALLOCATORS: [&str; 4] =
        ["/new_allocator.h", "/alloc_traits.h", "/allocator.h", "/__memory/allocator.h"];
    let is_library = ["/include/c++/", "/libstdc++-v3/", "/libcxx/"];
    if !is_library.iter().any(|part| file.contains(part)) {
        return None;
    }
    let allocates = ALLOCATORS.iter().any(|end| file.ends_with(end));
    Some(if allocates { Tier::Allocator } else { Tier::Library })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_by_their_paths() {
        for (file, tier) in [
            ("/rustc/59807616e1/library/alloc/src/vec/mod.rs", Some(Tier::Library)),
            ("/rustc/59807616e1/library/alloc/src/raw_vec/mod.rs", Some(Tier::Allocator)),
            (
                "/root/.rustup/toolchains/x/lib/rustlib/src/rust/library/core/src/a.rs",
                Some(Tier::Library),
            ),
            ("/home/me/library/core/src/a.rs", None),
            ("/root/.cargo/registry/src/index-1949/tokio-1.40.0/src/lib.rs", Some(Tier::Library)),
            (
                "/root/.cargo/registry/src/index-1949/futures-util-0.3.31/src/a.rs",
                Some(Tier::Library),
            ),
            (
                "/root/.cargo/registry/src/index-1949/shop-client-1.0.0/src/a.rs",
                Some(Tier::Dependency),
            ),
            ("/root/.cargo/git/checkouts/shop-0a1b/2c3d/src/a.rs", Some(Tier::Dependency)),
            ("/rust/deps/hashbrown-0.15.5/src/raw.rs", Some(Tier::Library)),
            ("src/main.rs", None),
        ] {
            assert_eq!(super::tier(file, Language::Rust), tier, "{file}");
        }
        assert_eq!(
            super::tier("/usr/include/c++/12/bits/invoke.h", Language::Cpp),
            Some(Tier::Library)
        );
        assert_eq!(super::tier("/usr/include/shop.h", Language::Cpp), None);
    }
}
