//! A file's symbol table: which function an address is in, where there is no better source.

use object::{Object, ObjectSymbol, ReadRef, SymbolKind};

/// Functions by address, with their mangled names.
#[derive(Debug, Default)]
pub struct SymbolTable {
    functions: Vec<Function>,
    names: String,
}

#[derive(Debug)]
struct Function {
    start: u64,
    /// 0 = not known.
    bytes: u64,
    name: (u32, u32),
}

impl SymbolTable {
    /// The functions of a file: those of its full table, or those that it exports.
    pub fn read<'d, R: ReadRef<'d>>(file: &object::File<'d, R>) -> SymbolTable {
        let mut table = SymbolTable::default();
        for symbol in file.symbols() {
            table.add(&symbol);
        }
        if table.functions.is_empty() {
            for symbol in file.dynamic_symbols() {
                table.add(&symbol);
            }
        }
        let SymbolTable { functions, names } = &mut table;
        let name = |function: &Function| {
            let (from, to) = function.name;
            names.get(from as usize..to as usize).unwrap_or_default()
        };
        // Of names for the same function the last one is taken.
        functions.sort_unstable_by(|one, other| {
            let place = (one.start, one.bytes).cmp(&(other.start, other.bytes));
            place.then_with(|| plainness(name(other)).cmp(&plainness(name(one))))
        });
        table
    }

    fn add<'d>(&mut self, symbol: &impl ObjectSymbol<'d>) {
        let Ok(name) = symbol.name() else { return };
        // Behind it may stand a version.
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        let from = self.names.len();
        let (Ok(from), Ok(to)) = (u32::try_from(from), u32::try_from(from + name.len())) else {
            return;
        };
        if symbol.kind() == SymbolKind::Text && symbol.is_definition() && !name.is_empty() {
            self.names.push_str(name);
            let (start, bytes) = (symbol.address(), symbol.size());
            self.functions.push(Function { start, bytes, name: (from, to) });
        }
    }

    /// The mangled name of the function that an address is in.
    pub fn find(&self, address: u64) -> Option<&str> {
        let after = self.functions.partition_point(|function| function.start <= address);
        let function = self.functions[..after].last()?;
        let inside = function.bytes == 0 || address - function.start < function.bytes;
        let (from, to) = function.name;
        inside.then(|| self.names.get(from as usize..to as usize)).flatten()
    }
}

/// Of names that a function has, the least is the one that people know: `malloc` has others that are
/// for the library itself, such as `__libc_malloc` and `__GI___libc_malloc`.
fn plainness(name: &str) -> (usize, usize, &str) {
    let underscores = name.len() - name.trim_start_matches('_').len();
    (underscores, name.len(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_names_people_know_the_plainest() {
        let names = ["__GI___libc_malloc", "__libc_malloc", "malloc", "malloc_alias", "_malloc"];
        assert_eq!(names.iter().min_by_key(|name| plainness(name)), Some(&"malloc"));
        let inner = ["__GI__IO_file_doallocate", "_IO_file_doallocate"];
        assert_eq!(inner.iter().min_by_key(|name| plainness(name)), Some(&"_IO_file_doallocate"));
    }

    #[test]
    fn an_address_behind_a_function_is_not_in_it() {
        let function = |start, bytes, name| Function { start, bytes, name };
        let table = SymbolTable {
            functions: vec![function(10, 5, (0, 1)), function(20, 0, (1, 2))],
            names: "ab".into(),
        };
        let names = [9, 10, 14, 15, 19, 20, 99].map(|address| table.find(address));
        let (a, b) = (Some("a"), Some("b"));
        assert_eq!(names, [None, a, a, None, None, b, b]);
    }
}
