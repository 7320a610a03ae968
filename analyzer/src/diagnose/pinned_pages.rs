//! `pinned-pages`: few long-lived blocks among many short-lived ones keep pages in memory.
//!
//! *Signature*: pages that hold something live are mostly unused (pinned waste), and have been
//! so for the last tenth of the run.
//!
//! *Threshold*: such pages are on average at most half full. Above that, a heap is as packed as
//! heaps of mixed sizes are: Johnstone and Wilson found footprints of 1.1 to 1.5 times the live
//! size in good allocators.
//!
//! *At stake*: the pages that come free without the fewest sites that hold half of all that can
//! be unlocked, less what their blocks need elsewhere; without stacks, all pinned waste.

use super::case::{Case, is_code, place, share};
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, Severity};
use crate::measure::blame::SiteFacts;
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;

const PAGE_BYTES: u64 = 4096;
/// No more sites than this are named: who has to change ten places changes the allocator.
const MOST_SITES: usize = 3;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let end = &case.analysis.end;
    let waste = end.pinned_waste_bytes?;
    let pages: u64 = end.page_live_histogram?.iter().sum();
    let used = (pages * PAGE_BYTES).saturating_sub(waste);
    if waste < used || !case.lasts(waste) {
        return None;
    }
    let culprits = culprits(&case.blame.sites);
    let bytes = match culprits {
        [] => waste,
        [.., last] => {
            let live: u64 = culprits.iter().map(|site| site.live_bytes).sum();
            last.unlock_cumulative_bytes.saturating_sub(live)
        }
    };
    let mut evidence = BTreeMap::from([
        ("pinned_waste_bytes", json!(waste)),
        ("pinned_pages", json!(pages)),
        ("live_bytes", json!(end.live_bytes)),
        ("heap_resident_bytes", json!(case.held_bytes())),
    ]);
    let sites = culprits.iter().map(|site| {
        let mut place = place(&site.site);
        place["live_bytes"] = json!(site.live_bytes);
        place["live_blocks"] = json!(site.live_blocks);
        place["pinned_bytes"] = json!(site.pinned_bytes);
        place["age_ns"] = json!(site.age_ns);
        place
    });
    evidence.insert("sites", sites.collect());
    Some(Finding {
        title: title(culprits, waste),
        bytes,
        most: Severity::Serious,
        of: Of::PinnedPages,
        evidence,
        explanation: explanation(case, culprits, pages, used, bytes),
        remedy: remedy(culprits),
    })
}

/// The sites that pin most, until half of what can be unlocked is: as many as are needed.
fn culprits(sites: &[SiteFacts]) -> &[SiteFacts] {
    let all = sites.iter().map(|site| site.unlock_cumulative_bytes).max().unwrap_or(0);
    let enough = sites.iter().position(|site| site.unlock_cumulative_bytes >= all / 2);
    let count = enough.map_or(0, |last| last + 1).min(MOST_SITES).min(sites.len());
    let code = sites[..count].iter().all(is_code);
    if code { &sites[..count] } else { &[] }
}

fn title(culprits: &[SiteFacts], waste: u64) -> String {
    let waste = words::bytes(waste);
    match culprits {
        [] => format!("{waste} are unused on pages that hold little that is live"),
        [first, ..] => format!(
            "{waste} unused are held by {} of long-lived blocks, most of it from {}",
            words::bytes(culprits.iter().map(|site| site.live_bytes).sum()),
            first.site.in_words()
        ),
    }
}

fn explanation(
    case: &Case<'_>,
    culprits: &[SiteFacts],
    pages: u64,
    used: u64,
    bytes: u64,
) -> String {
    let mut text = format!(
        "{} pages of the heap hold something live and are on average {} full; a page goes back \
         only as a whole.",
        words::count(pages),
        share(used, pages * PAGE_BYTES)
    );
    for site in culprits {
        let age = site.age_ns.map(|age| format!(", {} old on average", words::duration(age)));
        text += &format!(
            " {} has {} live blocks ({}{}) on {} of these pages, and {} pinned by them.",
            site.site.in_words(),
            words::count(site.live_blocks),
            words::bytes(site.live_bytes),
            age.unwrap_or_default(),
            words::count(site.pages),
            words::bytes(site.pinned_bytes)
        );
    }
    let subject = if culprits.is_empty() { "If nothing was pinned" } else { "Kept elsewhere" };
    text + &format!(
        " {subject}, about {} of the heap's {} would come back.",
        words::bytes(bytes),
        words::bytes(case.held_bytes())
    )
}

fn remedy(culprits: &[SiteFacts]) -> Remedy {
    let site = culprits.first().map_or("the long-lived blocks".to_owned(), |site| {
        format!("the blocks of {}", site.site.in_words())
    });
    Remedy {
        c: format!(
            "take {site} from a pool of their own (an array or a slab of them, allocated in one \
             piece), or allocate them before the short-lived ones begin."
        ),
        rust: format!(
            "keep {site} in a `Vec` with `with_capacity`, or in an arena (`typed_arena`, `slab`) \
             instead of one `Box`, `String` or `Vec` each."
        ),
        setting: None,
    }
}
