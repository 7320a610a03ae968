//! The site of a block: the first call of its stack, from the innermost on, that is the
//! program's own.
//!
//! Where the rule passes over every call, the site is the first one of somebody else's crate, else the first
//! one that does not hand out memory for others (what a library keeps for itself), and failing that the
//! outermost.

use super::rules::{Rules, interprets};
use super::skipped::Tier;
use super::{Call, Language};
use crate::read::Modules;
use std::rc::Rc;

/// The call that a block is charged to, with its callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The site itself first, its callers behind it. Never empty.
    pub calls: Vec<Call>,
}

impl Site {
    /// The site's own call.
    pub fn call(&self) -> &Call {
        &self.calls[0]
    }
}

/// Finds the site among the calls of a stack, innermost first. `None`: there are no calls.
pub fn choose(mut calls: Vec<Call>, rules: &Rules, modules: &Modules) -> Option<Site> {
    let path = |call: &Call| Some(&*modules.get(call.module?)?.path);
    let python = calls.iter().position(|call| call.language == Language::Python);
    let (mut dependency, mut library) = (None, None);
    let mut site = None;
    let mut task = None;
    // What Rust's own calls of the global allocator call is that allocator, whatever its name.
    let global = calls.iter().position(is_global);
    for (index, call) in calls.iter().enumerate().skip(global.unwrap_or(0)) {
        if python.is_some_and(|python| index < python) && interprets(path(call)) {
            library.get_or_insert(index);
            continue;
        }
        match rules.tier(call, path(call)) {
            None => {
                site = Some(index);
                break;
            }
            Some(tier) => {
                let first = match tier {
                    Tier::Allocator => None,
                    Tier::Library => Some(&mut library),
                    Tier::Dependency => Some(&mut dependency),
                };
                first.map(|first| first.get_or_insert(index));
                task = call.function.as_deref().and_then(|name| spawned_future(name, rules, call));
                if task.is_some() {
                    site = Some(index);
                    break;
                }
            }
        }
    }
    let index = site.or(dependency).or(library).or(calls.len().checked_sub(1))?;
    calls.drain(..index);
    if let Some(task) = task {
        // Where tokio polls it says nothing about the task.
        calls[0] = Call { function: Some(task), file: None, line: None, ..calls[0].clone() };
    } else if calls[0].language == Language::Cpp && calls[0].function.as_deref() == Some(LAMBDA) {
        let own = |call: &&Call| rules.tier(call, path(call)).is_none();
        calls[0].function = Some(lambda(&calls[1..], own));
    }
    Some(Site { calls })
}

/// Whether a function does nothing but call Rust's global allocator.
fn is_global(call: &Call) -> bool {
    let Some(function) = call.function.as_deref() else { return false };
    // Most calls are told at a glance: all calls of all stacks come by here.
    if call.language != Language::Rust && !function.starts_with("__rust_") {
        return false;
    }
    let end = function.rsplit("::").next().unwrap_or(function);
    match function.strip_suffix(end) {
        Some("alloc::alloc::") => true,
        Some("__rustc::") => end.starts_with("__rust_"),
        // Where debug information says no more, its file does.
        Some("") if end.starts_with("__rust_") => true,
        Some("") => call.file.as_deref().is_some_and(|file| {
            file.starts_with("/rustc/") && file.ends_with("/library/alloc/src/alloc.rs")
        }),
        _ => false,
    }
}

/// What DWARF calls a lambda that was inlined: gcc gives it no name of its own.
const LAMBDA: &str = "operator()";

/// A lambda's name, from its callers: what calls it is often generic over it, and else it
/// stands in the first of them that is the program's own.
fn lambda(callers: &[Call], own: impl Fn(&&Call) -> bool) -> Rc<str> {
    let names = callers.iter().take_while(|call| !own(call)).filter_map(|c| c.function.as_deref());
    let generic = names.filter_map(lambda_in).next();
    let outer = || callers.iter().find(own)?.function.as_deref();
    match (generic, outer()) {
        (Some(name), _) => format!("{name}::{LAMBDA}").into(),
        (None, Some(function)) => format!("{function}::{{lambda}}").into(),
        (None, None) => Rc::from(LAMBDA),
    }
}

/// The type of a lambda among the arguments of a template: `main::{lambda(int)#1}` as it is
/// demangled, `main()::<lambda(int)>` in gcc's debug information.
fn lambda_in(name: &str) -> Option<&str> {
    let (at, close) = match (name.find("::{lambda("), name.find("::<lambda(")) {
        (Some(at), _) => (at, "}"),
        (None, at) => (at?, ")>"),
    };
    let end = at + name[at..].find(close)? + close.len();
    let mut depth = 0u32;
    let before = name[..at].char_indices().rev().find(|(_, c)| match c {
        ')' | '>' => {
            depth += 1;
            false
        }
        '(' | '<' if depth > 0 => {
            depth -= 1;
            false
        }
        '(' | '<' | ',' | ' ' => depth == 0,
        _ => false,
    });
    Some(&name[before.map_or(0, |(at, _)| at + 1)..end])
}

/// Where tokio runs tasks: functions that are generic over the task's future.
const TASKS: [&str; 3] =
    ["tokio::runtime::task::", "<tokio::runtime::task::", "tokio::task::spawn::"];

/// The type of a task's future, if the name of one of tokio's own functions tells it and it
/// is the program's.
fn spawned_future(name: &str, rules: &Rules, call: &Call) -> Option<Rc<str>> {
    if !TASKS.iter().any(|start| name.starts_with(start)) {
        return None;
    }
    let mut rest = name;
    while let Some(open) = rest.find('<') {
        rest = &rest[open + 1..];
        let future = up_to_its_end(rest);
        let function = Some(Rc::from(future));
        let named = Call { function: function.clone(), file: None, module: None, ..call.clone() };
        if future.contains("::") && rules.tier(&named, None).is_none() {
            return function;
        }
    }
    None
}

/// The first of a list of types: up to the comma or bracket that ends it.
fn up_to_its_end(types: &str) -> &str {
    let mut depth = 0u32;
    for (at, c) in types.char_indices() {
        match c {
            '<' | '(' | '[' | '{' => depth += 1,
            ',' | '>' if depth == 0 => return &types[..at],
            '>' | ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    types
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(names: &[(&str, Language)]) -> Vec<Call> {
        let call = |(index, (name, language)): (usize, &(&str, Language))| Call {
            function: (!name.is_empty()).then(|| Rc::from(*name)),
            language: *language,
            file: None,
            line: Some(index as u32 + 1),
            module: None,
            offset: 0,
        };
        names.iter().enumerate().map(call).collect()
    }

    fn site(names: &[(&str, Language)]) -> Option<String> {
        let site = choose(calls(names), &Rules::default(), &Modules::default())?;
        Some(site.call().function.as_deref().unwrap_or("?").to_owned())
    }

    #[test]
    fn somebody_elses_crate_is_the_site_only_where_the_program_has_no_part() {
        const REGISTRY: &str = "/home/me/.cargo/registry/src/index-1949/goods-1.2.0/src/shelf.rs";
        let site_of = |outer: &str| {
            let names = ["alloc::vec::Vec<T>::push", "goods::Shelf::put", "tokio::run", outer];
            let mut calls = calls(&names.map(|name| (name, Language::Rust)));
            calls[1].file = Some(REGISTRY.into());
            let site = choose(calls, &Rules::default(), &Modules::default())?;
            site.call().function.clone()
        };
        assert_eq!(site_of("shop::serve").as_deref(), Some("shop::serve"));
        assert_eq!(site_of("std::rt::lang_start").as_deref(), Some("goods::Shelf::put"));
    }

    #[test]
    fn the_site_is_the_first_call_that_is_the_programs_own() {
        use Language::{Cpp, Plain, Rust};
        assert_eq!(
            site(&[("xmalloc", Plain), ("xstrdup", Plain), ("keep", Plain), ("main", Plain)]),
            Some("keep".into())
        );
        assert_eq!(
            site(&[
                ("operator new", Cpp),
                ("std::vector<int>::push_back", Cpp),
                ("shop::add", Cpp)
            ]),
            Some("shop::add".into())
        );
        assert_eq!(
            site(&[
                ("alloc::raw_vec::RawVec<T,A>::grow_one", Rust),
                ("alloc::vec::Vec<T,A>::push", Rust),
                ("shop::keep", Rust),
                ("main", Plain),
            ]),
            Some("shop::keep".into())
        );
        assert_eq!(site(&[("malloc", Plain), ("", Plain)]), Some("?".into()), "without a name");
        assert_eq!(site(&[]), None);
    }

    #[test]
    fn what_rusts_global_allocator_calls_is_that_allocator() {
        use Language::{Plain, Rust};
        assert_eq!(
            site(&[
                ("shop::arena::refill", Rust),
                ("alloc", Rust),
                ("__rustc::__rust_alloc", Rust),
                ("alloc::alloc::alloc", Rust),
                ("alloc::raw_vec::RawVec<T,A>::grow_one", Rust),
                ("shop::keep", Rust),
                ("main", Plain),
            ]),
            Some("shop::keep".into())
        );
    }

    #[test]
    fn where_all_is_passed_over_a_library_is_charged_before_an_allocator() {
        use Language::{Cpp, Plain};
        assert_eq!(
            site(&[("malloc", Plain), ("_dl_init", Plain), ("_start", Plain)]),
            Some("_dl_init".into())
        );
        assert_eq!(
            site(&[("operator new", Cpp), ("xmalloc", Plain)]),
            Some("xmalloc".into()),
            "the outermost"
        );
    }

    #[test]
    fn a_task_of_tokio_goes_by_its_future() {
        use Language::{Plain, Rust};
        let poll = "tokio::runtime::task::raw::poll::<shop::serve::{closure#0}, \
                    alloc::sync::Arc<tokio::runtime::scheduler::multi_thread::handle::Handle>>";
        assert_eq!(
            site(&[("hyper::proto::h1::Conn::poll", Rust), (poll, Rust), ("main", Plain)]),
            Some("shop::serve::{closure#0}".into())
        );
        assert_eq!(
            site(&[
                ("tokio::runtime::task::core::Core<T,S>::poll", Rust),
                ("tokio::runtime::task::raw::poll", Rust),
                ("shop::main", Rust),
            ]),
            Some("shop::main".into()),
            "where the name does not tell"
        );
        let boxed = "tokio::runtime::task::raw::poll::<core::pin::Pin<alloc::boxed::Box<dyn F>>>";
        assert_eq!(site(&[(boxed, Rust), ("shop::main", Rust)]), Some("shop::main".into()));
    }

    #[test]
    fn a_lambda_without_a_name_goes_by_its_callers() {
        use Language::Cpp;
        let handler =
            "std::_Function_handler<void (long), shop::fill(int)::{lambda(long)#2}>::_M_invoke";
        let of = |callers: &[(&str, Language)]| {
            site(&[&[("operator new", Cpp), ("operator()", Cpp)], callers].concat())
        };
        let named = "shop::fill(int)::{lambda(long)#2}::operator()";
        assert!(of(&[(handler, Cpp)]).is_some_and(|name| named.ends_with(&name)));
        assert_eq!(
            of(&[("std::for_each<int*>", Cpp), ("shop::fill", Cpp)]).as_deref(),
            Some("shop::fill::{lambda}")
        );
        assert_eq!(of(&[]).as_deref(), Some("operator()"));
    }

    #[test]
    fn the_callers_of_a_site_stand_behind_it() {
        use Language::Plain;
        let names = [("malloc", Plain), ("keep", Plain), ("main", Plain)];
        let site = choose(calls(&names), &Rules::default(), &Modules::default()).expect("a site");
        let lines: Vec<_> = site.calls.iter().map(|call| call.line).collect();
        assert_eq!(lines, [Some(2), Some(3)]);
    }
}
