//! Patterns on names, with `*` and `?`.

/// What a user does not want to see as a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// With `*` or `?` it must fit the whole name, else be a part of it.
    pub fn new(text: &str) -> Pattern {
        Pattern(text.to_owned())
    }

    /// Whether it fits a name.
    pub fn fits(&self, name: &str) -> bool {
        let Pattern(text) = self;
        if text.contains(['*', '?']) { fits(text, name) } else { name.contains(text.as_str()) }
    }
}

/// Whether a name fits a pattern with `*` and `?`.
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last star is, and how far what it stands for reaches.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, reached)) => {
                    star = Some((at, reached + 1));
                    (p, n) = (at + 1, reached + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_stars_and_question_marks() {
        for (pattern, name) in
            [("a*c", "abbc"), ("*", ""), ("a?c", "abc"), ("*b*", "abc"), ("a*b*c", "aXbYbZc")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "ab"), ("a?", "a"), ("*c", "cb"), ("", "a"), ("a*bc", "abd")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        assert!(Pattern::new("cache").fits("my::cache::get"));
        assert!(!Pattern::new("cache*").fits("my::cache::get"));
    }
}
