//! Which calls are nobody's own: the table by which a block's site is found.
//!
//! A call is passed over when one of these patterns fits its function, or the object that it
//! is in. `*` stands for any text, `?` for one character. Patterns of [`Tier::Allocator`]
//! are those that hand out memory for others, [`Tier::Library`] those that keep some for
//! themselves: where a stack has nothing but both, the first call of a library is the site.
//! Crates that are not in it go by the [path](super::paths) of their source, where that is known.

/// What kind of code is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Gets memory for its caller.
    Allocator,
    /// Language runtime, standard library, frameworks.
    Library,
    /// Somebody else's, and in no table: of a stack without a call of the program's own it says more than
    /// what all programs use.
    Dependency,
}

/// Patterns, by what they stand for.
pub type Table = [(Tier, &'static [&'static str]); 2];

/// Functions of any language.
#[rustfmt::skip]
pub const FUNCTIONS: Table = [
    (
        Tier::Allocator,
        &[
            // The C library's family, also where it is linked in statically.
            "malloc", "calloc", "realloc", "reallocarray", "memalign", "aligned_alloc",
            "posix_memalign", "valloc", "pvalloc", "__libc_*", "__malloc_*",
            // Allocators under other names.
            "je_*", "_rjem_*", "mallocx", "rallocx", "tc_malloc*", "tc_calloc*", "tc_realloc*",
            "tc_new*", "mi_malloc*", "mi_zalloc*", "mi_calloc*", "mi_realloc*", "mi_new*",
            "mi_heap_*", "_mi_*", "sn_*", "rp*alloc*", "TCMallocInternal*",
            // Wrappers that stop the program when memory runs out, and other wrappers.
            "xmalloc*", "xcalloc*", "xrealloc*", "xzalloc*", "xnmalloc*", "xnrealloc*", "xpalloc*",
            "xstrdup*", "xstrndup*", "xmemdup*", "x2nrealloc*", "xasprintf*", "xvasprintf*",
            "emalloc*", "_emalloc*", "ecalloc*", "_ecalloc*", "erealloc*", "_erealloc*",
            "safe_malloc*", "safe_calloc*", "safe_realloc*", "zmalloc*", "zcalloc*", "zrealloc*",
            "ztrymalloc*", "ztrycalloc*", "ztryrealloc*", "g_malloc*", "g_realloc*",
            "g_try_malloc*", "g_try_realloc*", "g_slice_alloc*", "CRYPTO_malloc", "CRYPTO_zalloc",
            "CRYPTO_realloc", "OPENSSL_malloc", "Perl_safesys*", "ruby_xmalloc*", "ruby_xcalloc*",
            "ruby_xrealloc*", "sqlite3MemMalloc", "sqlite3MemRealloc", "sqlite3Malloc*",
            "sqlite3_malloc*", "sqlite3Realloc*", "sqlite3_realloc*", "sqlite3DbMalloc*",
            "sqlite3DbRealloc*", "mallocWithAlarm", "dbMallocRawFinish", "dbReallocFinish",
            // CPython's.
            "PyMem_*", "_PyMem_*", "_PyObject_*", "PyObject_Malloc", "PyObject_Calloc",
            "PyObject_Realloc", "pymalloc_*",
            // Rust's, under the names that the linker knows.
            "__rust_*", "__rdl_*", "__rg_*",
        ],
    ),
    (
        Tier::Library,
        &[
            "_start", "__libc_start_*", "start_thread", "clone", "clone3", "__clone*", "_dl_*",
            "call_init", "_IO_*", "__cxa_*", "_Unwind_*", "strdup", "strndup", "__strdup",
            "g_strdup*", "g_strconcat", "g_strndup", "__GI_*",
        ],
    ),
];

/// Functions of C++.
#[rustfmt::skip]
pub const CPP: Table = [
    (
        Tier::Allocator,
        &[
            "operator new*", "std::allocator*", "std::__new_allocator*",
            "__gnu_cxx::new_allocator*", "std::__allocate_guarded*", "std::pmr::*",
            "snmalloc::*", "tcmalloc::*",
            "std::__1::allocator*", "std::__1::__libcpp_allocate*",
        ],
    ),
    (Tier::Library, &["std::*", "__gnu_cxx::*", "__cxxabiv1::*", "__cxx11::*", "boost::*"]),
];

/// Crates: what is a function's own is told by where its type or trait is from.
#[rustfmt::skip]
pub const RUST: Table = [
    (
        Tier::Allocator,
        &[
            "alloc::alloc::*", "alloc::raw_vec::*", "alloc::boxed::Box<T>::new*", "std::alloc::*",
            "std::sys::alloc::*", "core::alloc::*", "__rustc::*",
            // A program's own wrapper around its allocator.
            "* as core::alloc::global::GlobalAlloc>::*", "* as core::alloc::Allocator>::*",
            // Allocators, and the tracer's wrapper around any.
            "tikv_jemallocator::*", "jemallocator::*", "mimalloc::*", "snmalloc_rs::*",
            "rpmalloc::*", "wee_alloc::*", "dlmalloc::*", "talc::*", "fragtrace_alloc::*",
        ],
    ),
    (
        Tier::Library,
        &[
            "alloc::*", "core::*", "std::*", "hashbrown::*", "tokio::*", "tokio_util::*",
            "tokio_stream::*", "futures::*", "futures_core::*", "futures_util::*",
            "futures_channel::*", "futures_executor::*", "bytes::*", "hyper::*", "hyper_util::*",
            "h2::*", "http::*", "httparse::*", "tower::*", "serde::*", "serde_core::*",
            "serde_json::*", "indexmap::*", "smallvec::*", "ahash::*", "once_cell::*", "mio::*",
            "rayon::*", "rayon_core::*", "crossbeam*", "parking_lot*", "arrayvec::*", "itoa::*",
            // Containers and caches.
            "dashmap::*", "moka::*", "mini_moka::*", "quick_cache::*", "lru::*", "slab::*",
            "sharded_slab::*", "scc::*", "papaya::*", "flurry::*", "im::*", "rpds::*",
            "tinyvec::*", "thin_vec::*", "smol_str::*", "compact_str::*", "triomphe::*",
            "arc_swap::*", "bumpalo::*", "typed_arena::*", "petgraph::*", "rustc_hash::*",
            // Channels, executors, and what servers and clients are built on.
            "flume::*", "async_channel::*", "concurrent_queue::*", "event_listener::*",
            "async_executor::*", "async_io::*", "async_std::*", "async_task::*", "smol::*",
            "actix_web::*", "actix_http::*", "actix_server::*", "actix_router::*", "actix_rt::*",
            "axum::*", "axum_core::*", "tonic::*", "warp::*", "reqwest::*", "tower_http::*",
            "rustls::*", "quinn::*", "quinn_proto::*", "tracing::*", "tracing_core::*",
            "tracing_subscriber::*", "log::*",
            // Formats and text.
            "bincode::*", "prost::*", "rmp_serde::*", "ciborium::*", "postcard::*", "ryu::*",
            "simd_json::*", "toml::*", "toml_edit::*", "serde_yaml::*", "regex::*",
            "regex_automata::*", "regex_syntax::*", "aho_corasick::*", "memchr::*",
            "uuid::*", "url::*", "base64::*", "chrono::*",
        ],
    ),
];

/// Objects, by the name of their file.
#[rustfmt::skip]
pub const MODULES: Table = [
    (
        Tier::Allocator,
        &["libfragtrace*", "libjemalloc*", "libtcmalloc*", "libmimalloc*", "libsnmalloc*"],
    ),
    (
        Tier::Library,
        &[
            "libc.so*", "libc-*.so", "libc.musl*", "ld-linux*", "ld-musl*", "ld-*.so",
            "libpthread*", "libstdc++*", "libc++.so*", "libc++abi*", "libgcc_s*", "libm.so*",
            "libm-*.so", "libdl.so*", "libdl-*.so", "librt.so*", "librt-*.so", "libstd-*.so",
            "linux-vdso*", "[vdso]",
        ],
    ),
];

/// Objects that run Python: their calls are Python's, where its functions are known.
pub const INTERPRETERS: [&str; 2] = ["python3*", "libpython3*"];
