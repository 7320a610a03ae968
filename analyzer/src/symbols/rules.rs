//! Whether a call is passed over when a block's site is looked for: by its function, by the
//! source file where the function does not say whose it is, by the object that it is in, and
//! by what the user says. The [table](super::skipped) has the names.

use super::pattern::{Pattern, fits};
use super::skipped::{CPP, FUNCTIONS, INTERPRETERS, MODULES, RUST, Table, Tier};
use super::{Call, Language, paths};

/// The rule, with what the user adds to it.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    skipped: Vec<Pattern>,
}

impl Rules {
    /// `skipped`: patterns for functions, source files and names of objects.
    pub fn new(skipped: Vec<Pattern>) -> Rules {
        Rules { skipped }
    }

    /// Why a call is passed over; `None`: it is the program's own. `module`: the path of its
    /// object.
    pub fn tier(&self, call: &Call, module: Option<&str>) -> Option<Tier> {
        let object = module.map(file_name);
        let names = [call.function.as_deref(), call.file.as_deref(), object];
        let by_user = names
            .into_iter()
            .flatten()
            .any(|name| self.skipped.iter().any(|pattern| pattern.fits(name)));
        let by_object = object.and_then(|object| of_table(&MODULES, object));
        of_source(call).or(by_object).or(by_user.then_some(Tier::Library))
    }
}

/// Whether an object is one of the libraries that all programs run on, by its path: whatever lies in
/// it is passed over.
pub fn is_runtime(module: &str) -> bool {
    of_table(&MODULES, file_name(module)) == Some(Tier::Library)
}

/// By its name; where that does not say whose it is, by its source file.
fn of_source(call: &Call) -> Option<Tier> {
    let name = call.function.as_deref()?;
    let by_file = || paths::tier(call.file.as_deref()?, call.language);
    match call.language {
        Language::Python => None,
        Language::Plain => of_table(&FUNCTIONS, name),
        Language::Cpp => {
            of_table(&CPP, name).or_else(|| of_table(&FUNCTIONS, name)).or_else(|| match name {
                _ if is_qualified(name) => None,
                _ => by_file(),
            })
        }
        Language::Rust if is_qualified(name) => {
            of_rust(name).or_else(|| by_file().filter(|tier| *tier == Tier::Dependency))
        }
        Language::Rust => of_table(&FUNCTIONS, name).or_else(by_file),
    }
}

/// Whether a name says where it belongs: compilers leave that out where they save on debug
/// information (rustc of inlined functions with line tables only).
pub fn is_qualified(name: &str) -> bool {
    name.starts_with('<') || name.split('<').next().is_some_and(|path| path.contains("::"))
}

/// Of a crate, or of a type: then both type and trait must be a library's, as
/// `<alloc::vec::Vec<T> as shop::Keep>::keep` is the program's own.
fn of_rust(name: &str) -> Option<Tier> {
    if let Some(tier) = of_table(&RUST, name) {
        return Some(tier);
    }
    let (own, of_trait) = self_type(name)?;
    let of_trait = of_trait.map(|path| of_table(&RUST, path));
    match (own_path(own).map(|path| of_table(&RUST, path)), of_trait) {
        (Some(None), _) | (_, Some(None)) => None,
        // Built-in types, and parameters: `<T as alloc::string::ToString>::to_string`.
        (None, None) => Some(Tier::Library),
        (own, of_trait) => own.or(of_trait).flatten(),
    }
}

/// The tier of a crate, by its name with underscores.
pub fn of_crate(name: &str) -> Option<Tier> {
    of_table(&RUST, &format!("{name}::"))
}

/// Whether a call is in an interpreter of Python.
pub fn interprets(module: Option<&str>) -> bool {
    let object = module.map(file_name);
    object.is_some_and(|object| INTERPRETERS.iter().any(|pattern| fits(pattern, object)))
}

fn of_table(table: &Table, name: &str) -> Option<Tier> {
    let of_tier = |(_, patterns): &&(Tier, &[&str])| patterns.iter().any(|p| fits(p, name));
    table.iter().find(of_tier).map(|(tier, _)| *tier)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Of `<&mut alloc::vec::Vec<T> as core::…>::…` the type and the trait.
fn self_type(name: &str) -> Option<(&str, Option<&str>)> {
    let inside = name.strip_prefix('<')?;
    let mut depth = 0u32;
    let mut split = None;
    for (at, c) in inside.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            // The arrow of a function's type.
            '>' if inside[..at].ends_with('-') => {}
            '>' if depth == 0 => {
                let own = split.map_or(at, |(from, _)| from);
                return Some((&inside[..own], split.map(|(_, to)| &inside[to..at])));
            }
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 && split.is_none() && inside[at..].starts_with(" as ") => {
                split = Some((at, at + " as ".len()));
            }
            _ => {}
        }
    }
    None
}

/// The path of a type without what refers to it; `None` of a parameter or a built-in type.
fn own_path(own: &str) -> Option<&str> {
    let mut rest = own;
    loop {
        let before = rest;
        for prefix in ["<", "&", "*const ", "*mut ", "mut ", "dyn ", "[", "("] {
            rest = rest.strip_prefix(prefix).unwrap_or(rest);
        }
        if rest == before {
            break;
        }
    }
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    rest[word..].starts_with("::").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call_in(file: &str) -> Call {
        let (language, file) = (Language::Plain, Some(file.into()));
        Call { function: None, language, file, line: None, module: None, offset: 0 }
    }

    #[test]
    fn functions_that_do_not_say_whose_they_are_go_by_their_file() {
        let tier = |name: &str, language, file| {
            of_source(&Call { function: Some(name.into()), language, ..call_in(file) })
        };
        let library = "/rustc/0123/library/std/src/collections/hash/map.rs";
        assert_eq!(tier("insert<u64, u64>", Language::Rust, library), Some(Tier::Library));
        assert_eq!(tier("insert<shop::A>", Language::Rust, "/home/me/shop/src/map.rs"), None);
        let allocator = "/usr/include/c++/12/bits/new_allocator.h";
        assert_eq!(tier("allocate", Language::Cpp, allocator), Some(Tier::Allocator));
        assert_eq!(tier("shop::keep", Language::Cpp, allocator), None, "its name says it");
    }

    #[test]
    fn runtimes_and_wrappers_are_passed_over_and_programs_are_not() {
        use Language::{Cpp, Plain, Rust};
        for (name, language, tier) in [
            ("xmalloc", Plain, Some(Tier::Allocator)),
            ("zmalloc_usable", Plain, Some(Tier::Allocator)),
            ("PyMem_RawMalloc", Plain, Some(Tier::Allocator)),
            ("main", Plain, None),
            ("core::Engine::run", Cpp, None),
            ("operator new[]", Cpp, Some(Tier::Allocator)),
            ("std::vector<int>::push_back", Cpp, Some(Tier::Library)),
            ("shop::std::f", Cpp, None),
            ("core::ops::function::FnOnce::call_once", Rust, Some(Tier::Library)),
            ("alloc::raw_vec::RawVec<T,A>::grow_one", Rust, Some(Tier::Allocator)),
            ("__rustc::__rust_alloc", Rust, Some(Tier::Allocator)),
            ("<alloc::vec::Vec<T> as core::clone::Clone>::clone", Rust, Some(Tier::Library)),
            ("<T as alloc::string::ToString>::to_string", Rust, Some(Tier::Library)),
            ("<&mut F as core::ops::function::FnOnce<A>>::call_once", Rust, Some(Tier::Library)),
            ("<[u8]>::to_vec", Rust, Some(Tier::Library)),
            ("<str as alloc::string::ToString>::to_string", Rust, Some(Tier::Library)),
            ("<shop::Item as core::clone::Clone>::clone", Rust, None),
            ("<T as shop::Store>::keep", Rust, None),
            ("<alloc::vec::Vec<T> as shop::Store>::keep", Rust, None),
            ("<[T] as shop::Store>::keep", Rust, None),
            (
                "<fn() -> T as core::ops::function::FnOnce<()>>::call_once",
                Rust,
                Some(Tier::Library),
            ),
            (
                "<shop::Counting as core::alloc::global::GlobalAlloc>::alloc",
                Rust,
                Some(Tier::Allocator),
            ),
            ("tokio_shop::run", Rust, None),
            ("hashbrown::raw::RawTable<T,A>::reserve_rehash", Rust, Some(Tier::Library)),
        ] {
            let call = Call { function: Some(name.into()), language, ..call_in("") };
            assert_eq!(of_source(&call), tier, "{name}");
        }
    }

    #[test]
    fn crates_that_nobody_knows_are_not_the_programs_own_where_they_lie_in_a_registry() {
        let tier = |name: &str, file| {
            let language = Language::Rust;
            of_source(&Call { function: Some(name.into()), language, ..call_in(file) })
        };
        let registry = "/home/me/.cargo/registry/src/index-1949/goods-1.2.0/src/shelf.rs";
        assert_eq!(tier("goods::Shelf<T>::put", registry), Some(Tier::Dependency));
        assert_eq!(tier("<goods::Shelf<T> as goods::Put>::put", registry), Some(Tier::Dependency));
        assert_eq!(tier("put<shop::Item>", registry), Some(Tier::Dependency));
        assert_eq!(tier("goods::Shelf<T>::put", "/home/me/shop/goods/src/shelf.rs"), None);
        assert_eq!(tier("goods::Shelf<T>::put", ""), None, "of which no source is known");
    }

    #[test]
    fn objects_are_passed_over_by_the_name_of_their_file() {
        let call = call_in("/src/shop/cache.c");
        let tier = |skipped: &[&str], module| {
            Rules::new(skipped.iter().map(|text| Pattern::new(text)).collect())
                .tier(&call, Some(module))
        };
        assert_eq!(tier(&[], "/lib/x86_64-linux-gnu/libc.so.6"), Some(Tier::Library));
        assert_eq!(tier(&[], "/opt/target/release/libfragtrace.so"), Some(Tier::Allocator));
        assert_eq!(tier(&[], "/usr/lib/libshop.so"), None);
        assert_eq!(tier(&["libshop"], "/usr/lib/libshop.so"), Some(Tier::Library));
        assert_eq!(tier(&["shop/"], "/usr/bin/x"), Some(Tier::Library), "by its source file");
        assert!(interprets(Some("/usr/bin/python3.11")) && !interprets(Some("/bin/sh")));
    }
}
