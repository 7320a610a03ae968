//! How the tracer is linked: alone on libc, never unloaded.

fn main() {
    // No start files and no default libraries: rustc would add libgcc_s, and the C start
    // files bring unwinder registration that a tracer does not need.
    for arg in [
        "-nostdlib",
        "-lc",
        // Blocks and lanes outlive a dlclose of whoever loaded us.
        "-Wl,-z,nodelete",
        "-Wl,-z,now",
        "-Wl,-z,relro",
        "-Wl,--hash-style=both",
        "-Wl,-soname,libfragtrace.so",
    ] {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
