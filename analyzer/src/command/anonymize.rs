//! What `--anonymize` takes out: whatever names people, places or machines.

use fragtrace_analyzer::measure::blame::{CallFacts, SiteFacts};
use fragtrace_analyzer::measure::{HeapShape, Parts, PoolFacts, TraceFacts, Usage};

/// Stands for the program.
const PROGRAM: &str = "program";

/// Replaces command, executable, host and environment; keeps what the figures depend on.
pub fn facts(trace: &mut TraceFacts) {
    trace.exe = trace.exe.as_ref().map(|_| PROGRAM.into());
    trace.command = trace.command.as_ref().map(|_| PROGRAM.into());
    trace.host = trace.host.as_ref().map(|_| "host".into());
    trace.allocator = trace.allocator.as_deref().map(file_name);
    for variable in &mut trace.allocator_env {
        // The name says which allocator was steered; the value may be a path.
        let name = variable.split('=').next().unwrap_or_default();
        *variable = format!("{name}=hidden");
    }
}

/// Takes folders, and the names of the program and of threads, out of sites.
pub fn sites(sites: &mut [SiteFacts], exe: &str) {
    for site in sites {
        site.thread_name = None;
        calls(std::slice::from_mut(&mut site.site), exe);
        calls(&mut site.stack, exe);
    }
}

/// Takes the names of threads and pools out of what the heap is made of.
pub fn parts(parts: &mut Parts) {
    parts.threads.iter_mut().for_each(|thread| thread.name = None);
    pools(&mut parts.pools);
}

/// Replaces the names that the program has for its pools by their numbers.
pub fn pools(pools: &mut [PoolFacts]) {
    for (index, pool) in pools.iter_mut().enumerate() {
        pool.name = format!("pool {}", index + 1);
    }
}

/// The same with all calls that the shape of the heap names.
pub fn calls_of(shape: &mut HeapShape, exe: &str) {
    let HeapShape { top, survivors, usage, .. } = shape;
    let top = top.iter_mut().map(|top| &mut top.site);
    let left = survivors.iter_mut().map(|left| &mut left.site);
    // All fields, so that none is forgotten that is to come.
    let Usage {
        churn,
        refilled,
        ladder,
        crossed,
        grown_by,
        grown_beside_bytes: _,
        emptied,
        raised_by,
    } = usage;
    let churn = churn.iter_mut().map(|churn| &mut churn.site);
    let others = [&mut refilled.site, &mut ladder.site, &mut crossed.site, grown_by, raised_by];
    let emptied = emptied.iter_mut().map(|(site, _)| site);
    for call in top.chain(left).chain(churn).chain(others.into_iter().flatten()).chain(emptied) {
        calls(std::slice::from_mut(call), exe);
    }
}

/// Takes folders and the name of the program out of calls. Functions stay: they are the
/// result.
pub fn calls(calls: &mut [CallFacts], exe: &str) {
    for call in calls {
        call.file = call.file.as_deref().map(|path| file_name(path).into());
        call.module = call
            .module
            .as_deref()
            .map(|path| if path == exe { PROGRAM.into() } else { file_name(path).into() });
    }
}

/// The last part of a path: names of libraries are no secret, folders may be.
pub fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sites_of_a_heap_lose_their_folders_and_the_name_of_the_program() {
        let exe = "/home/alice/secret-server";
        let site = CallFacts {
            file: Some("/home/alice/src/cache.rs".into()),
            module: Some(exe.into()),
            ..CallFacts::default()
        };
        let mut shape = HeapShape::default();
        let usage = &mut shape.usage;
        (usage.grown_by, usage.raised_by) = (Some(site.clone()), Some(site.clone()));
        (usage.refilled.site, usage.ladder.site) = (Some(site.clone()), Some(site.clone()));
        (usage.crossed.site, usage.emptied) = (Some(site.clone()), Some((site.clone(), 1)));
        calls_of(&mut shape, exe);
        let text = format!("{shape:?}");
        assert!(!text.contains("alice") && !text.contains("secret"), "{text}");
        assert_eq!(text.matches("cache.rs").count(), 6);
    }

    #[test]
    fn nothing_that_names_somebody_stays() {
        let mut trace = TraceFacts {
            pid: 42,
            exe: Some("/home/alice/bin/secret-server".into()),
            command: Some("secret-server --password hunter2".into()),
            host: Some("alice-laptop".into()),
            allocator: Some("/home/alice/lib/libjemalloc.so.2".into()),
            allocator_env: vec!["MALLOC_CONF=prof_prefix:/home/alice/x".into()],
            allocs: 7,
            ..TraceFacts::default()
        };
        facts(&mut trace);
        let text = format!("{trace:?}");
        for secret in ["alice", "secret", "hunter2"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains("libjemalloc.so.2") && text.contains("MALLOC_CONF="));
        assert_eq!(trace.allocs, 7);
    }
}
