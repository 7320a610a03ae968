//! What blame comes to: the sites of `blame --json` and `report --json`.

use crate::read::Modules;
use crate::symbols::{Call, hexadecimal};
use serde::Serialize;
use std::rc::Rc;

/// Stretches of the recorded time that live blocks are told apart by.
pub const COHORTS: usize = 8;

/// What blocks are charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Each call stack for itself.
    Stack,
    /// The function that is a stack's site.
    Function,
    /// The object that the site is in.
    Module,
    /// The thread that acquired the block.
    Thread,
}

/// A call as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct CallFacts {
    /// The function; `None` = no symbols.
    pub function: Option<Rc<str>>,
    /// Its source file.
    pub file: Option<Rc<str>>,
    /// The line of the call.
    pub line: Option<u32>,
    /// Path of the object.
    pub module: Option<Rc<str>>,
    /// Address of the call in the object's file; in memory where no object is known.
    pub offset: Option<u64>,
    /// The object's build-id, in hexadecimal.
    pub build_id: Option<Rc<str>>,
}

/// What pins memory, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct SiteFacts {
    /// The site.
    #[serde(flatten)]
    pub site: CallFacts,
    /// It and its callers, outwards: of the stack that pins most.
    pub stack: Vec<CallFacts>,
    /// The thread, where blame goes by threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<u32>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_name: Option<String>,
    /// Calls that returned a new block, so far.
    pub allocs: Option<u64>,
    /// What the program asked for, of the blocks that are live.
    pub live_bytes: u64,
    /// How many are live.
    pub live_blocks: u64,
    /// Unused bytes of the pages that its blocks lie on, its share of them.
    pub pinned_bytes: u64,
    /// Unused bytes of the pages that its blocks alone lie on.
    pub sole_pinned_bytes: u64,
    /// Pages that would come free if its blocks were not there.
    pub unlock_bytes: u64,
    /// Mean age of its blocks that pin, weighed by what they pin.
    pub age_ns: Option<u64>,
    /// Pages that would come free if its blocks and those of all sites before were not there.
    pub unlock_cumulative_bytes: u64,
    /// Pages with its blocks and unused bytes.
    pub pages: u64,
    /// Live bytes by when they came: from the first eighth of the recorded time to the last.
    #[serde(skip)]
    pub cohorts: [u64; COHORTS],
    /// Usable bytes of its live blocks that were not asked for.
    #[serde(skip)]
    pub slop_bytes: u64,
}

/// Who pins memory at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Blame {
    /// Nanoseconds since the start.
    pub at_ns: u64,
    /// Unused bytes of pages that hold something live.
    pub pinned_waste_bytes: u64,
    /// Pages that hold none.
    pub releasable_bytes: u64,
    /// Most pinned first. Empty where no stacks are on record.
    pub sites: Vec<SiteFacts>,
    /// Pages of the heap that are held, in bytes.
    #[serde(skip)]
    pub held_bytes: u64,
    /// Whether these were found in memory; if not, they are the footprint.
    #[serde(skip)]
    pub resident: bool,
}

/// What the width of a flame graph stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Pinned waste, shared.
    Pinned,
    /// Live bytes.
    Live,
    /// Calls that returned a new block.
    Allocs,
    /// Usable bytes that were not asked for.
    Slop,
}

impl CallFacts {
    /// Of a call; `modules`: the objects that it numbers.
    pub fn of(call: &Call, modules: &Modules) -> CallFacts {
        let module = call.module.and_then(|number| modules.get(number));
        let build_id = module.map(|module| hexadecimal(&module.build_id));
        CallFacts {
            function: call.function.clone(),
            file: call.file.clone(),
            line: call.line,
            module: module.map(|module| Rc::from(&*module.path)),
            offset: Some(call.offset),
            build_id: build_id.filter(|id| !id.is_empty()).map(Rc::from),
        }
    }

    /// The call in words: its function and line, or object and offset.
    pub fn in_words(&self) -> String {
        match self.location() {
            Some(location) => format!("{} ({location})", self.name()),
            None => self.name(),
        }
    }

    /// The function, or where the call is in its object.
    pub fn name(&self) -> String {
        match (&self.function, self.module_name(), self.offset) {
            (Some(function), ..) => function.to_string(),
            (None, Some(module), Some(offset)) => format!("{module}+{offset:#x}"),
            (None, Some(module), None) => module.to_owned(),
            (None, None, Some(offset)) => format!("{offset:#x}"),
            (None, None, None) => "(stack not known)".to_owned(),
        }
    }

    /// The object's file name.
    pub fn module_name(&self) -> Option<&str> {
        let path = self.module.as_deref()?;
        Some(path.rsplit('/').next().unwrap_or(path))
    }

    /// File and line, the file without the folders that all files are in.
    fn location(&self) -> Option<String> {
        let file = self.file.as_deref()?;
        let parts = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
        let file = &file[parts..];
        Some(self.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}")))
    }
}
