//! What a just-in-time compiler says of its functions: a perf map, a line for each, with its
//! start and length in hexadecimal, and its name.
//!
//! CPython (from 3.12 on, with PYTHONPERFSUPPORT=1) writes one; its functions are called
//! `py::name:file`.

use std::path::Path;

/// Functions by address.
#[derive(Debug, Default)]
pub struct PerfMap {
    functions: Vec<(u64, u64, Box<str>)>,
}

impl PerfMap {
    /// Reads a perf map; lines that make no sense are left out.
    pub fn read(path: &Path) -> PerfMap {
        std::fs::read(path).map_or_else(|_| PerfMap::default(), |bytes| PerfMap::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> PerfMap {
        let hexadecimal = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        let text = String::from_utf8_lossy(bytes);
        let mut functions: Vec<(u64, u64, Box<str>)> = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.splitn(3, ' ');
                let start = hexadecimal(fields.next()?)?;
                let bytes = hexadecimal(fields.next()?)?;
                Some((start, start.checked_add(bytes)?, fields.next()?.trim().into()))
            })
            .collect();
        // Stable: what was written last at an address is what is there now.
        functions.sort_by_key(|(start, ..)| *start);
        PerfMap { functions }
    }

    /// The function that an address is in.
    pub fn find(&self, address: u64) -> Option<&str> {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let (_, end, name) = self.functions[..after].last()?;
        (address < *end).then_some(name)
    }
}

/// The function and the file of a name that CPython wrote.
pub fn python_function(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("py::")?.split_once(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_address() {
        let map = PerfMap::parse(
            b"7f00 10 py::old:/a.py\nnonsense\n7f00 10 py::work:/srv/app.py\n0x8000 8 a name\nffffffffffffffff 10 x\n",
        );
        assert_eq!(map.find(0x7f0f), Some("py::work:/srv/app.py"));
        assert_eq!(map.find(0x7f10), None);
        assert_eq!(map.find(0x8007), Some("a name"));
        assert_eq!(map.find(0), None);
        assert_eq!(python_function("py::work:/srv/app.py"), Some(("work", "/srv/app.py")));
        assert_eq!(python_function("Builtin:foo"), None);
    }
}
