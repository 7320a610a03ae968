//! What is wrong with a heap, in the one or two lines that a picture has room for.

use super::text;
use crate::diagnose::{Diagnoses, Severity};
use crate::words;

/// The gravest finding in full, the ids of the others; or that nothing is wrong, or why that
/// cannot be told.
pub fn sentence(diagnoses: &Diagnoses) -> String {
    let Some(first) = diagnoses.list.first() else { return without_finding(diagnoses) };
    let mut sentence = if first.severity >= Severity::Warning {
        format!("{} ({}): {}.", text::capital(first.severity.label()), first.id, first.title)
    } else {
        let certain = if diagnoses.uncertain_bytes.is_some() { " for certain" } else { "" };
        format!("Nothing is wrong{certain}. Worth knowing ({}): {}.", first.id, first.title)
    };
    let others: Vec<&str> = diagnoses.list[1..].iter().map(|found| found.id).collect();
    if !others.is_empty() {
        sentence += &format!(" Also: {}.", others.join(", "));
    }
    sentence
}

/// What is said where nothing is worse than worth knowing.
pub(super) fn without_finding(diagnoses: &Diagnoses) -> String {
    if let Some(why) = &diagnoses.cannot_tell {
        return format!("Whether this heap is healthy cannot be told: {why}.");
    }
    if let Some(idle) = diagnoses.uncertain_bytes {
        return format!(
            "Nothing is wrong for certain, but {} that lie idle are worth knowing of.",
            words::bytes(idle)
        );
    }
    match diagnoses.freed_late_bytes {
        None => "The heap is healthy: of what can be judged, nothing is wrong with it.".into(),
        Some(late) => format!(
            "Nothing wrong is found, but {} came free only at the end of the run: whether they \
             would be used again cannot be told.",
            words::bytes(late)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::Diagnosis;
    use std::collections::BTreeMap;

    fn found(id: &'static str, severity: Severity) -> Diagnosis {
        Diagnosis {
            id,
            severity,
            title: "191 MiB unused are held".into(),
            bytes: 0,
            evidence: BTreeMap::new(),
            remedy: String::new(),
            explanation: String::new(),
            since_ns: None,
        }
    }

    #[test]
    fn the_gravest_is_told_and_the_others_are_named() {
        let of = |list| sentence(&Diagnoses { list, ..Diagnoses::default() });
        let list =
            vec![found("pinned-pages", Severity::Serious), found("rss-stairs", Severity::Info)];
        assert_eq!(of(list), "Serious (pinned-pages): 191 MiB unused are held. Also: rss-stairs.");
        assert_eq!(
            of(vec![found("lazy-free", Severity::Info)]),
            "Nothing is wrong. Worth knowing (lazy-free): 191 MiB unused are held."
        );
        let list = vec![found("rss-stairs", Severity::Info)];
        let uncertain =
            Diagnoses { list, uncertain_bytes: Some(157 << 20), ..Diagnoses::default() };
        assert_eq!(
            sentence(&uncertain),
            "Nothing is wrong for certain. Worth knowing (rss-stairs): 191 MiB unused are held."
        );
        let said = without_finding(&uncertain);
        assert!(said.contains("157 MiB that lie idle are worth knowing of"), "{said}");
        assert!(of(vec![]).starts_with("The heap is healthy"));
        let cannot_tell = Some("events are missing".into());
        assert_eq!(
            sentence(&Diagnoses { cannot_tell, ..Diagnoses::default() }),
            "Whether this heap is healthy cannot be told: events are missing."
        );
    }
}
