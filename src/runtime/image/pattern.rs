//! Shell patterns of one text: `*`, `?`, `[a-z]`, `\`; a `/` is like any other character.

/// Whether the whole text fits the pattern.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    fits(
        &pattern.chars().collect::<Vec<_>>(),
        &text.chars().collect::<Vec<_>>(),
        Slash::Ordinary,
    )
}

/// Whether a path fits the pattern: `*`, `?` and sets do not reach over a `/`.
#[must_use]
pub fn matches_path(pattern: &str, path: &str) -> bool {
    fits(
        &pattern.chars().collect::<Vec<_>>(),
        &path.chars().collect::<Vec<_>>(),
        Slash::Separator,
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    Ordinary,
    Separator,
}

/// Goes on greedily and returns to the last star only: quadratic at worst.
fn fits(pattern: &[char], text: &[char], slash: Slash) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
            continue;
        }
        if let Some(length) = one(&pattern[p..], text[t], slash) {
            p += length;
            t += 1;
            continue;
        }
        let Some((star_p, star_t)) = star else {
            return false;
        };
        if slash == Slash::Separator && text[star_t] == '/' {
            return false;
        }
        star = Some((star_p, star_t + 1));
        p = star_p + 1;
        t = star_t + 1;
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Length of the pattern's first element if the character fits it.
fn one(pattern: &[char], c: char, slash: Slash) -> Option<usize> {
    let hidden = slash == Slash::Separator && c == '/';
    match pattern.first()? {
        '?' if !hidden => Some(1),
        '[' if !hidden => set(pattern, c),
        '\\' => (pattern.get(1) == Some(&c)).then_some(2),
        literal => (*literal == c && *literal != '?' && *literal != '[').then_some(1),
    }
}

fn set(pattern: &[char], c: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('^' | '!'));
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    let start = at;
    while at < pattern.len() && (pattern[at] != ']' || at == start) {
        let low = pattern[at];
        let (high, next) = match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some('-'), Some(high)) if *high != ']' => (*high, at + 3),
            _ => (low, at + 1),
        };
        found |= (low..=high).contains(&c);
        at = next;
    }
    (at < pattern.len() && found != negated).then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::{matches, matches_path};

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text) in [
            ("a*c", "abbc"),
            ("*", ""),
            ("a?", "ab"),
            ("[a-c]x", "bx"),
            ("[^a]", "b"),
            (r"\*", "*"),
            ("a*b*c", "axbxbyc"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("a*c", "ab"),
            ("?", ""),
            ("[a-c]", "d"),
            ("[a", "a"),
            ("a", "ab"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_star_of_a_path_stops_at_slashes() {
        assert!(matches_path("a/*/c", "a/b/c"));
        assert!(!matches_path("a/*", "a/b/c"));
        assert!(!matches_path("*", "a/b"));
        assert!(!matches_path("a?b", "a/b"));
    }
}
