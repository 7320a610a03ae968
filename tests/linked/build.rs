//! Builds what lets a program in Rust tell in its middle what is true of it.

fn main() {
    // Where tikv-jemalloc-sys has built its library.
    let jemalloc = std::env::var("DEP_JEMALLOC_ROOT").unwrap_or_default();
    println!("cargo:rustc-env=JEMALLOC_ROOT={jemalloc}");
    // Else there is nothing by which symbols of their own file could be found.
    println!("cargo:rustc-link-arg-bins=-Wl,--build-id");
    let source = "../programs/checkpoint_for_rust.c";
    // Else the compiler leaves out blocks that nobody uses: looks are taken when these come.
    cc::Build::new().file(source).flag("-fno-builtin").warnings(false).compile("checkpoint");
    for file in ["answer.h", "checkpoint.h", "looks.h", "checkpoint_for_rust.c"] {
        println!("cargo:rerun-if-changed=../programs/{file}");
    }
}
