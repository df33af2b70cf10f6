//! Rules of `.dockerignore`, and of `--exclude`: the last rule that fits a path or a directory above it decides.

use std::path::{Component, Path};

use super::glob::Glob;

/// Rules in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ignore {
    rules: Vec<(Glob, Verdict)>,
}

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Leave,
    Take,
}

impl Ignore {
    /// Reads a `.dockerignore` file.
    #[must_use]
    pub(super) fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self::from_patterns(lines)
    }

    /// Rules from patterns.
    pub(super) fn from_patterns<'a>(patterns: impl Iterator<Item = &'a str>) -> Self {
        Self {
            rules: patterns.filter_map(rule).collect(),
        }
    }

    /// Whether there are no rules.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a path, relative to the root of the context, is left out.
    #[must_use]
    pub(super) fn leaves_out(&self, path: &str) -> bool {
        self.is_left_out(self.ruling_of(path))
    }

    /// What decides a path that no walk leads to.
    #[must_use]
    pub(super) fn ruling_of(&self, path: &str) -> Ruling {
        let ends = path.match_indices('/').map(|(at, _)| at);
        let ends = ends.chain([path.len()]).filter(|end| *end > 0);
        ends.fold(Ruling::default(), |above, end| {
            self.ruling(&path[..end], above)
        })
    }

    /// What decides a path, when something else decides the directory above it: a walk asks once for each path.
    #[must_use]
    pub(super) fn ruling(&self, path: &str, above: Ruling) -> Ruling {
        let own = self
            .rules
            .iter()
            .enumerate()
            .skip(above.0)
            .rfind(|(_, (glob, _))| glob.matches(path));
        own.map_or(above, |(index, _)| Ruling(index + 1))
    }

    /// What a ruling says.
    #[must_use]
    pub(super) fn is_left_out(&self, ruling: Ruling) -> bool {
        let rule = ruling.0.checked_sub(1).and_then(|at| self.rules.get(at));
        rule.is_some_and(|(_, verdict)| *verdict == Verdict::Leave)
    }

    /// Whether something below a directory that is left out may be taken all the same.
    #[must_use]
    pub(super) fn may_take_below(&self, directory: &str) -> bool {
        let within = format!("{directory}/");
        self.rules.iter().any(|(glob, verdict)| {
            let literal = glob.literal();
            *verdict == Verdict::Take
                && (literal.starts_with(&within) || within.starts_with(literal))
        })
    }

    /// Whether there are exceptions at all.
    #[must_use]
    pub(super) fn has_exceptions(&self) -> bool {
        self.rules
            .iter()
            .any(|(_, verdict)| *verdict == Verdict::Take)
    }
}

/// The last rule that fits a path or a directory above it, counted from 1; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ruling(usize);

fn rule(line: &str) -> Option<(Glob, Verdict)> {
    let line = line.trim();
    let (pattern, verdict) = match line.strip_prefix('!') {
        Some(pattern) => (pattern.trim(), Verdict::Take),
        None => (line, Verdict::Leave),
    };
    let pattern = clean(pattern);
    (!pattern.is_empty()).then(|| (Glob::new(&pattern), verdict))
}

/// The pattern relative to the root: without `.`, `..`, and slashes around it.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(pattern).components() {
        match component {
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::Ignore;

    #[test]
    fn the_last_rule_that_fits_decides() {
        let ignore = Ignore::parse(
            "# comment\n*.md\n!README.md\n\n/node_modules/\n**/target\nsecret?\nd/*\n!d/keep\n./x/../y\n",
        );
        let table = [
            ("a.md", true),
            ("README.md", false),
            ("sub/a.md", false),
            ("node_modules", true),
            ("node_modules/x/y", true),
            ("sub/node_modules", false),
            ("a/b/target/c", true),
            ("secret1", true),
            ("secret12", false),
            ("d", false),
            ("d/drop", true),
            ("d/keep", false),
            ("d/keep/x", false),
            ("y", true),
            ("x", false),
        ];
        for (path, expected) in table {
            assert_eq!(ignore.leaves_out(path), expected, "{path}");
        }
        assert!(ignore.has_exceptions());
    }

    #[test]
    fn only_directories_that_an_exception_can_reach_are_entered() {
        let ignore = Ignore::parse("*\n!src/lib\n");
        assert!(ignore.may_take_below("src"));
        assert!(ignore.may_take_below("src/lib/deep"));
        assert!(!ignore.may_take_below("node_modules"));
        assert!(Ignore::parse("*\n!**/keep\n").may_take_below("any"));
    }

    #[test]
    fn all_can_be_left_out_with_exceptions() {
        let ignore = Ignore::parse("*\n!src\n");
        assert!(ignore.leaves_out("a"));
        assert!(!ignore.leaves_out("src/a"));
    }
}
