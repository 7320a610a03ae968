//! Sites by number, for pictures and pages that ask about many blocks at many moments: each
//! stack is symbolized once, when it is met first.

use super::blame::CallFacts;
use crate::replay::Block;
use crate::symbols::Symbols;
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// What two sites have in common that are one: function, file, object, and the address where
/// there is no function.
type Name = (Option<Rc<str>>, Option<Rc<str>>, Option<Rc<str>>, Option<u64>);

/// The sites met so far. Number 0 stands for stacks that are not known.
#[derive(Debug)]
pub struct SiteNumbers {
    of_stack: FxHashMap<u32, u32>,
    by_name: FxHashMap<Name, u32>,
    sites: Vec<Vec<CallFacts>>,
}

impl Default for SiteNumbers {
    fn default() -> Self {
        SiteNumbers {
            of_stack: FxHashMap::default(),
            by_name: FxHashMap::default(),
            sites: vec![Vec::new()],
        }
    }
}

impl SiteNumbers {
    /// The site of a block.
    #[inline]
    pub fn of(&mut self, block: &Block, symbols: &mut Symbols<'_>) -> u32 {
        match self.of_stack.get(&block.stack) {
            Some(number) => *number,
            None => self.find(block, symbols),
        }
    }

    fn find(&mut self, block: &Block, symbols: &mut Symbols<'_>) -> u32 {
        let number = match symbols.site(block.stack, block.birth) {
            None => 0,
            Some(site) => {
                let call = |call| CallFacts::of(call, symbols.modules());
                self.number_of(site.calls.iter().map(call).collect())
            }
        };
        self.of_stack.insert(block.stack, number);
        number
    }

    fn number_of(&mut self, calls: Vec<CallFacts>) -> u32 {
        let Some(CallFacts { function, file, module, offset, .. }) = calls.first().cloned() else {
            return 0;
        };
        let address = if function.is_some() { None } else { offset };
        let next = self.sites.len() as u32;
        let number = *self.by_name.entry((function, file, module, address)).or_insert(next);
        if number == next {
            self.sites.push(calls);
        }
        number
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sites.len()
    }

    /// A site and its callers, outwards, of the stack that was met first; empty of number 0.
    pub fn calls(&self, number: u32) -> &[CallFacts] {
        self.sites.get(number as usize).map_or(&[], Vec::as_slice)
    }

    /// A site in words.
    pub fn in_words(&self, number: u32) -> String {
        self.calls(number).first().cloned().unwrap_or_default().in_words()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(function: Option<&str>, line: u32, offset: u64) -> CallFacts {
        CallFacts {
            function: function.map(Rc::from),
            line: Some(line),
            offset: Some(offset),
            module: Some("/bin/server".into()),
            ..CallFacts::default()
        }
    }

    #[test]
    fn a_function_is_one_site_and_unnamed_addresses_are_each_their_own() {
        let mut numbers = SiteNumbers::default();
        let mut number =
            |function, line, offset| numbers.number_of(vec![call(function, line, offset)]);
        assert_eq!(number(Some("login"), 10, 0x100), 1);
        assert_eq!(number(Some("login"), 12, 0x120), 1, "another line of it");
        assert_eq!(number(None, 0, 0x200), 2);
        assert_eq!(number(None, 0, 0x208), 3);
        assert_eq!(numbers.number_of(Vec::new()), 0);
        assert_eq!(numbers.count(), 4);
        assert_eq!(numbers.in_words(0), "(stack not known)");
    }
}
