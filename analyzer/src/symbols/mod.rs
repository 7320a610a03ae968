//! Symbols: from the addresses of a call stack to functions, files and lines, and to the
//! [site](site) that a block is charged to.
//!
//! This stage reads again: the program's binaries and their debug files, wherever the
//! caller says that they may be. Which they are is settled by build-id, so the same trace
//! gives the same answers on another machine, or none. Everything is looked up when it is
//! asked for, and once: most stacks of a trace are never shown, and stacks share frames.

mod binary;
mod demangle;
mod image;
mod images;
mod paths;
mod pattern;
mod perf_map;
mod places;
mod rules;
mod site;
mod skipped;
mod table;

pub use demangle::Language;
pub use pattern::Pattern;
pub use places::{Places, hexadecimal};
pub use rules::Rules;
pub use site::Site;

use crate::read::{Modules, Stacks, Trace};
use fragtrace_format::Stamp;
use fragtrace_format::stack::Frame;
use image::Place;
use images::Images;
use perf_map::PerfMap;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::rc::Rc;

/// So many frames tell which objects most calls are in.
const FRAMES_TO_GO_BY: usize = 4096;
/// An object with a smaller share of them may never be asked for, and may be large.
const LEAST_SHARE: usize = 100;

/// One call of a stack: a function, where in it, and in which object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    /// The function, demangled.
    pub function: Option<Rc<str>>,
    /// The language that its name tells.
    pub language: Language,
    /// The source file, as the compiler saw it.
    pub file: Option<Rc<str>>,
    /// The line of the call.
    pub line: Option<u32>,
    /// The object, by its number among the modules.
    pub module: Option<usize>,
    /// The address of the call in the object's file; in memory where no object is known.
    pub offset: u64,
}

/// Turns stacks into calls.
#[derive(Debug)]
pub struct Symbols<'t> {
    stacks: Stacks<'t>,
    modules: &'t Modules,
    rules: Rules,
    images: Images,
    jit: PerfMap,
    calls: FxHashMap<(Option<usize>, u64), Rc<[Call]>>,
}

impl<'t> Symbols<'t> {
    /// For one trace: its binaries are in `places`, and `rules` say what is no site.
    pub fn new(trace: &'t Trace, places: Places, rules: Rules) -> Symbols<'t> {
        let jit = places.perf_map.as_deref().map(PerfMap::read).unwrap_or_default();
        Symbols {
            stacks: trace.stacks(),
            modules: trace.modules(),
            rules,
            images: Images::new(trace.modules(), places),
            jit,
            calls: FxHashMap::default(),
        }
    }

    /// Begins to read of the objects what will be asked for: those first that most calls are in.
    pub fn read_ahead(&self) {
        let mut calls: FxHashMap<usize, usize> = FxHashMap::default();
        for frame in self.stacks.all().take(FRAMES_TO_GO_BY) {
            if let Some(module) = self.modules.at(frame.address, Stamp::MAX) {
                *calls.entry(module).or_default() += 1;
            }
        }
        let all: usize = calls.values().sum();
        let enough = |module: &usize| calls[module] * LEAST_SHARE >= all;
        let mut modules: Vec<usize> = calls.keys().copied().filter(enough).collect();
        modules.sort_unstable_by_key(|module| (Reverse(calls[module]), *module));
        self.images.read_ahead(modules);
    }

    /// Whether the trace holds call stacks at all.
    pub fn any_stacks(&self) -> bool {
        !self.stacks.is_empty()
    }

    /// The objects that calls name.
    pub fn modules(&self) -> &'t Modules {
        self.modules
    }

    /// The calls of a stack as of a moment, innermost first.
    pub fn calls(&mut self, stack: u32, stamp: Stamp) -> Vec<Call> {
        let frames: Vec<Frame> = self.stacks.frames(stack).collect();
        let mut calls = Vec::with_capacity(frames.len());
        for (index, frame) in frames.iter().enumerate() {
            // A return address may be that of the next function, the call is not. What a
            // signal interrupted was no call, nor was what the kernel called for it.
            let interrupts = frames.get(index + 1).is_some_and(|caller| caller.interrupted);
            let back = u64::from(!frame.interrupted && !interrupts);
            let found = self.look_up(frame.address.saturating_sub(back), stamp);
            calls.extend(found.iter().cloned());
        }
        calls
    }

    /// The site of a stack, with the calls from it on outwards. `None`: the stack is not known.
    pub fn site(&mut self, stack: u32, stamp: Stamp) -> Option<Site> {
        let calls = self.calls(stack, stamp);
        site::choose(calls, &self.rules, self.modules)
    }

    fn look_up(&mut self, address: u64, stamp: Stamp) -> Rc<[Call]> {
        let module = self.modules.at(address, stamp);
        if let Some(known) = self.calls.get(&(module, address)) {
            return known.clone();
        }
        let loaded = module.and_then(|number| Some((number, self.modules.get(number)?)));
        let calls: Rc<[Call]> = match loaded {
            Some((number, loaded)) => {
                let offset = address.wrapping_sub(loaded.bias);
                let places = self.images.places(number, offset).into_iter();
                places.map(|place| call(place, module, offset)).collect()
            }
            None => [self.jit_call(address)].into(),
        };
        self.calls.insert((module, address), calls.clone());
        calls
    }

    fn jit_call(&self, address: u64) -> Call {
        let name = self.jit.find(address);
        let python = name.and_then(perf_map::python_function);
        Call {
            function: python.map(|(function, _)| function).or(name).map(Rc::from),
            language: if python.is_some() { Language::Python } else { Language::Plain },
            file: python.map(|(_, file)| Rc::from(file)),
            line: None,
            module: None,
            offset: address,
        }
    }
}

fn call(place: Place, module: Option<usize>, offset: u64) -> Call {
    let (function, language) = place.function.unzip();
    Call {
        function: function.map(Rc::from),
        language: language.unwrap_or(Language::Plain),
        file: place.file.map(Rc::from),
        line: place.line,
        module,
        offset,
    }
}
