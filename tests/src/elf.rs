//! What readelf says about an object file.

use std::path::Path;

use crate::run::{command, run};

/// How much of an address space an object takes when it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// From the first to the last byte of its segments, in whole pages.
    pub span_bytes: u64,
    /// Its thread-local storage.
    pub tls_bytes: u64,
}

/// What `readelf -W` prints with one more option.
pub fn readelf(option: &str, object: &Path) -> String {
    run(command("readelf").args(["-W", option]).arg(object)).expect_code(0).out()
}

/// Reads the program headers of an object.
pub fn extent(object: &Path) -> Extent {
    const PAGE: u64 = 4096;
    let mut extent = Extent { span_bytes: 0, tls_bytes: 0 };
    for line in readelf("-l", object).lines() {
        // Type, offset, virtual address, physical address, size in file, size in memory, …
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields.first() {
            Some(&"LOAD") => {
                let end = hexadecimal(fields[2]) + hexadecimal(fields[5]);
                extent.span_bytes = extent.span_bytes.max(end.next_multiple_of(PAGE));
            }
            Some(&"TLS") => extent.tls_bytes = hexadecimal(fields[5]),
            _ => {}
        }
    }
    extent
}

fn hexadecimal(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16)
        .unwrap_or_else(|error| panic!("readelf printed {text}: {error}"))
}
