//! Which calls are nobody's own: the rule by which a block's site is found.
//!
//! A call is passed over when one of these patterns fits its function, or the object that it
//! is in. `*` stands for any text, `?` for one character. Patterns of [`Tier::Allocator`]
//! are those that hand out memory for others, [`Tier::Library`] those that keep some for
//! themselves: where a stack has nothing but both, the first call of a library is the site.

use super::{Call, Language};

/// What kind of code is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Gets memory for its caller.
    Allocator,
    /// Language runtime, standard library, frameworks.
    Library,
}

/// Functions of any language.
const FUNCTIONS: [(Tier, &[&str]); 2] = [
    (
        Tier::Allocator,
        &[
            // The C library's family, also where it is linked in statically.
            "malloc",
            "calloc",
            "realloc",
            "reallocarray",
            "memalign",
            "aligned_alloc",
            "posix_memalign",
            "valloc",
            "pvalloc",
            "__libc_*",
            "__malloc_*",
            // Allocators under other names.
            "je_*",
            "_rjem_*",
            "mallocx",
            "rallocx",
            "tc_malloc*",
            "tc_calloc*",
            "tc_realloc*",
            "tc_new*",
            "mi_malloc*",
            "mi_zalloc*",
            "mi_calloc*",
            "mi_realloc*",
            "mi_new*",
            "mi_heap_*",
            "_mi_*",
            // Wrappers that stop the program when memory runs out, and other wrappers.
            "xmalloc*",
            "xcalloc*",
            "xrealloc*",
            "xzalloc*",
            "xnmalloc*",
            "xnrealloc*",
            "xpalloc*",
            "xstrdup*",
            "xstrndup*",
            "xmemdup*",
            "x2nrealloc*",
            "xasprintf*",
            "xvasprintf*",
            "emalloc*",
            "_emalloc*",
            "ecalloc*",
            "_ecalloc*",
            "erealloc*",
            "_erealloc*",
            "safe_malloc*",
            "safe_calloc*",
            "safe_realloc*",
            "zmalloc*",
            "zcalloc*",
            "zrealloc*",
            "ztrymalloc*",
            "ztrycalloc*",
            "ztryrealloc*",
            "g_malloc*",
            "g_realloc*",
            "g_try_malloc*",
            "g_try_realloc*",
            "g_slice_alloc*",
            "CRYPTO_malloc",
            "CRYPTO_zalloc",
            "CRYPTO_realloc",
            "OPENSSL_malloc",
            "Perl_safesys*",
            "ruby_xmalloc*",
            "ruby_xcalloc*",
            "ruby_xrealloc*",
            "sqlite3MemMalloc",
            "sqlite3MemRealloc",
            "sqlite3Malloc*",
            "sqlite3_malloc*",
            "sqlite3Realloc*",
            "sqlite3_realloc*",
            "sqlite3DbMalloc*",
            "sqlite3DbRealloc*",
            "mallocWithAlarm",
            "dbMallocRawFinish",
            "dbReallocFinish",
            // CPython's.
            "PyMem_*",
            "_PyMem_*",
            "_PyObject_*",
            "PyObject_Malloc",
            "PyObject_Calloc",
            "PyObject_Realloc",
            "pymalloc_*",
            // Rust's, under the names that the linker knows.
            "__rust_*",
            "__rdl_*",
            "__rg_*",
        ],
    ),
    (
        Tier::Library,
        &[
            "_start",
            "__libc_start_*",
            "start_thread",
            "clone",
            "clone3",
            "__clone*",
            "_dl_*",
            "call_init",
            "_IO_*",
            "__cxa_*",
            "_Unwind_*",
            "strdup",
            "strndup",
            "__strdup",
            "g_strdup*",
            "g_strconcat",
            "g_strndup",
            "__GI_*",
        ],
    ),
];

const CPP: [(Tier, &[&str]); 2] = [
    (
        Tier::Allocator,
        &[
            "operator new*",
            "std::allocator*",
            "std::__new_allocator*",
            "__gnu_cxx::new_allocator*",
            "std::__allocate_guarded*",
            "std::pmr::*",
            "std::__1::allocator*",
            "std::__1::__libcpp_allocate*",
        ],
    ),
    (Tier::Library, &["std::*", "__gnu_cxx::*", "__cxxabiv1::*", "__cxx11::*", "boost::*"]),
];

/// Crates: what is a function's own is told by where its type or trait is from.
const RUST: [(Tier, &[&str]); 2] = [
    (
        Tier::Allocator,
        &[
            "alloc::alloc::*",
            "alloc::raw_vec::*",
            "alloc::boxed::Box<T>::new*",
            "std::alloc::*",
            "std::sys::alloc::*",
            "core::alloc::*",
            "__rustc::*",
        ],
    ),
    (
        Tier::Library,
        &[
            "alloc::*",
            "core::*",
            "std::*",
            "hashbrown::*",
            "tokio::*",
            "tokio_util::*",
            "tokio_stream::*",
            "futures::*",
            "futures_core::*",
            "futures_util::*",
            "futures_channel::*",
            "futures_executor::*",
            "bytes::*",
            "hyper::*",
            "hyper_util::*",
            "h2::*",
            "http::*",
            "httparse::*",
            "tower::*",
            "serde::*",
            "serde_core::*",
            "serde_json::*",
            "indexmap::*",
            "smallvec::*",
            "ahash::*",
            "once_cell::*",
            "mio::*",
            "rayon::*",
            "rayon_core::*",
            "crossbeam*",
            "parking_lot*",
            "arrayvec::*",
            "itoa::*",
        ],
    ),
];

/// Objects, by the name of their file.
const MODULES: [(Tier, &[&str]); 2] = [
    (
        Tier::Allocator,
        &["libfragtrace*", "libjemalloc*", "libtcmalloc*", "libmimalloc*", "libsnmalloc*"],
    ),
    (
        Tier::Library,
        &[
            "libc.so*",
            "libc-*.so",
            "libc.musl*",
            "ld-linux*",
            "ld-musl*",
            "ld-*.so",
            "libpthread*",
            "libstdc++*",
            "libc++.so*",
            "libc++abi*",
            "libgcc_s*",
            "libm.so*",
            "libm-*.so",
            "libdl.so*",
            "libdl-*.so",
            "librt.so*",
            "librt-*.so",
            "libstd-*.so",
            "linux-vdso*",
            "[vdso]",
        ],
    ),
];

/// Objects that run Python: their calls are Python's, where its functions are known.
const INTERPRETERS: [&str; 2] = ["python3*", "libpython3*"];

/// What a user does not want to see as a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// With `*` or `?` it must fit the whole name, else be a part of it.
    pub fn new(text: &str) -> Pattern {
        Pattern(text.to_owned())
    }

    fn fits(&self, name: &str) -> bool {
        let Pattern(text) = self;
        if text.contains(['*', '?']) { fits(text, name) } else { name.contains(text.as_str()) }
    }
}

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
        let by_function =
            call.function.as_deref().and_then(|name| of_function(name, call.language));
        by_function.or(by_object).or(by_user.then_some(Tier::Library))
    }
}

fn of_function(name: &str, language: Language) -> Option<Tier> {
    let by_language = match language {
        Language::Cpp => of_table(&CPP, name),
        // First the whole name, then what its type or trait says.
        Language::Rust => of_table(&RUST, name).or_else(|| of_table(&RUST, own_path(name)?)),
        Language::Plain | Language::Python => None,
    };
    by_language
        .or_else(|| if language == Language::Python { None } else { of_table(&FUNCTIONS, name) })
}

/// Whether a call is in an interpreter of Python.
pub fn interprets(module: Option<&str>) -> bool {
    let object = module.map(file_name);
    object.is_some_and(|object| INTERPRETERS.iter().any(|pattern| fits(pattern, object)))
}

fn of_table(table: &[(Tier, &[&str])], name: &str) -> Option<Tier> {
    let of_tier = |(_, patterns): &&(Tier, &[&str])| patterns.iter().any(|p| fits(p, name));
    table.iter().find(of_tier).map(|(tier, _)| *tier)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Of a Rust function of a type, `<&mut alloc::vec::Vec<T> as core::…>::…`: the path of the
/// type; where that is a parameter or built in, `<T as core::…>::…`, that of the trait.
fn own_path(name: &str) -> Option<&str> {
    if !name.starts_with('<') {
        return None;
    }
    let mut rest = name;
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
    if rest[word..].starts_with("::") {
        return Some(rest);
    }
    // `<T as path`, `<[u8]>::to_vec`, `<str>::…`: built-in types are core's and alloc's.
    match rest[word..].split_once(" as ") {
        Some((_, path)) => Some(path.trim_start_matches('<')),
        None => Some("core::"),
    }
}

/// Whether a name fits a pattern with `*` and `?`.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last star is, and how far what it stands for reaches.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, reached)) => {
                    star = Some((at, reached + 1));
                    (p, n) = (at + 1, reached + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_stars_and_question_marks() {
        for (pattern, name) in
            [("a*c", "abbc"), ("*", ""), ("a?c", "abc"), ("*b*", "abc"), ("a*b*c", "aXbYbZc")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "ab"), ("a?", "a"), ("*c", "cb"), ("", "a"), ("a*bc", "abd")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        assert!(Pattern::new("cache").fits("my::cache::get"));
        assert!(!Pattern::new("cache*").fits("my::cache::get"));
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
            ("<alloc::vec::Vec<T> as shop::Store>::keep", Rust, Some(Tier::Library)),
            ("tokio_shop::run", Rust, None),
            ("hashbrown::raw::RawTable<T,A>::reserve_rehash", Rust, Some(Tier::Library)),
        ] {
            assert_eq!(of_function(name, language), tier, "{name}");
        }
    }

    #[test]
    fn objects_are_passed_over_by_the_name_of_their_file() {
        let call = Call {
            function: None,
            language: Language::Plain,
            file: Some("/src/shop/cache.c".into()),
            line: None,
            module: None,
            offset: 0,
        };
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
