//! Where several objects share the heap: how much of what is pinned each of them holds.

use super::{file_name, scale};
use crate::measure::blame::SiteFacts;
use std::collections::BTreeMap;

/// An object that pins less than this part is not worth a word, in per cent.
const LEAST_PERCENT: u64 = 10;

/// A line on the objects, if there are at least two that matter.
pub(super) fn line(sites: &[SiteFacts]) -> Option<String> {
    let mut pinned: BTreeMap<&str, u64> = BTreeMap::new();
    for site in sites {
        let module = site.site.module.as_deref().map_or("code of no object", file_name);
        *pinned.entry(module).or_default() += site.pinned_bytes;
    }
    let all: u64 = pinned.values().sum();
    let mut list: Vec<(&str, u64)> =
        pinned.into_iter().filter(|(_, bytes)| *bytes > all / 100 * LEAST_PERCENT).collect();
    list.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let share = |bytes: u64| scale::percent(bytes as f64 / all as f64);
    let words: Vec<String> = list
        .iter()
        .map(|(name, bytes)| format!("{name} {} ({})", scale::bytes(*bytes), share(*bytes)))
        .collect();
    (words.len() > 1).then(|| format!("By module: {}.", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::blame::CallFacts;

    fn site(module: Option<&str>, pinned_bytes: u64) -> SiteFacts {
        let site = CallFacts { module: module.map(Into::into), ..CallFacts::default() };
        SiteFacts { site, pinned_bytes, ..SiteFacts::default() }
    }

    #[test]
    fn objects_that_share_the_heap_are_told() {
        let server = || site(Some("/usr/bin/server"), 10 << 20);
        assert_eq!(line(&[server(), server()]), None);
        assert_eq!(line(&[server(), site(Some("/lib/libc.so.6"), 1 << 20)]), None, "too little");
        let plugin = || site(Some("/opt/libplugin.so"), 30 << 20);
        assert_eq!(
            line(&[server(), plugin(), plugin(), site(None, 30 << 20)]).as_deref(),
            Some("By module: libplugin.so 60.0 MiB (60 %), code of no object 30.0 MiB (30 %).")
        );
    }
}
