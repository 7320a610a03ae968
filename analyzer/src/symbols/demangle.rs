//! Names as compilers write them, and as people do.

use cpp_demangle::DemangleOptions;

/// What a name says of its language: rules on names depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// C, or anything that does not mangle.
    Plain,
    /// C++.
    Cpp,
    /// Rust.
    Rust,
    /// Python, as a perf map names it.
    Python,
}

/// DWARF 5, table 7.17, and what came later: DW_LANG_Rust, and those of C++ by its versions.
const DW_LANG_RUST: u16 = 0x1c;
const DW_LANG_CPP: [u16; 6] = [0x04, 0x1a, 0x21, 0x2b, 0x2c, 0x3a];

/// What compilers append to the names of clones and parts of functions (gcc, clang).
const CLONES: [&str; 7] =
    [".cold", ".part.", ".isra.", ".constprop.", ".lto_priv.", ".llvm.", ".localalias"];

/// The name without its mangling, its hash, its parameters and its result.
pub fn name(mangled: &str, dwarf_language: Option<u16>) -> (String, Language) {
    let mangled = mangled.split('@').next().filter(|name| !name.is_empty()).unwrap_or(mangled);
    let whole = CLONES.iter().filter_map(|clone| mangled.find(clone)).min();
    let mangled = &mangled[..whole.filter(|end| *end > 0).unwrap_or(mangled.len())];
    if let Ok(name) = rustc_demangle::try_demangle(mangled) {
        return (format!("{name:#}"), Language::Rust);
    }
    let options = DemangleOptions::new().no_params().no_return_type();
    if mangled.starts_with("_Z")
        && let Ok(symbol) = cpp_demangle::Symbol::new(mangled)
        && let Ok(name) = symbol.demangle_with_options(&options)
    {
        return (name, Language::Cpp);
    }
    let language = match dwarf_language {
        Some(DW_LANG_RUST) => Language::Rust,
        Some(language) if DW_LANG_CPP.contains(&language) => Language::Cpp,
        _ => Language::Plain,
    };
    (mangled.to_owned(), language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        for (mangled, plain, language) in [
            ("main", "main", Language::Plain),
            ("keep.part.0.constprop.1", "keep", Language::Plain),
            ("malloc@@GLIBC_2.2.5", "malloc", Language::Plain),
            ("_Znwm", "operator new", Language::Cpp),
            ("_ZN4shop5Cache6insertEi", "shop::Cache::insert", Language::Cpp),
            ("_ZN4shop4makeIiEEPT_m", "shop::make<int>", Language::Cpp),
            ("_ZN4shop4keepEv.cold", "shop::keep", Language::Cpp),
            (
                "_ZN5alloc7raw_vec19RawVec$LT$T$C$A$GT$8grow_one17h0123456789abcdefE",
                "alloc::raw_vec::RawVec<T,A>::grow_one",
                Language::Rust,
            ),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo", Language::Rust),
            ("_Z", "_Z", Language::Plain),
            (".cold", ".cold", Language::Plain),
            ("", "", Language::Plain),
        ] {
            assert_eq!(name(mangled, None), (plain.to_owned(), language), "{mangled}");
        }
        assert_eq!(name("main", Some(DW_LANG_RUST)).1, Language::Rust);
    }
}
