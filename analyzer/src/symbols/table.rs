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
        table.functions.sort_by_key(|function| (function.start, function.bytes));
        table
    }

    fn add<'d>(&mut self, symbol: &impl ObjectSymbol<'d>) {
        let Ok(name) = symbol.name() else { return };
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

#[cfg(test)]
mod tests {
    use super::*;

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
