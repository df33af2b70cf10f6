//! A Dockerfile's text to instructions, as `BuildKit`'s frontend reads it.
//!
//! ```text
//! text --directives--> escape character
//!      --lines--> comments gone, continuations joined --> keyword, flags, rest --> here-documents attached
//! ```
//!
//! Nothing is expanded here. Every instruction keeps its lines, so that any later failure can point at them.

use super::BuildError;

/// A Dockerfile, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dockerfile {
    /// The instructions in order.
    pub instructions: Vec<Instruction>,
    /// The escape character.
    pub escape: char,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instruction {
    /// First line, from 1.
    pub line: usize,
    /// Last line, here-documents included.
    pub last_line: usize,
    /// The keyword in upper case.
    pub keyword: String,
    /// `--name=value` before the arguments.
    pub flags: Vec<Flag>,
    /// What follows the flags, without space around it.
    pub rest: String,
    /// The whole logical line as written.
    pub original: String,
    /// Here-documents, in the order of their marks.
    pub documents: Vec<Document>,
}

/// A flag of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flag {
    /// Its name without dashes.
    pub name: String,
    /// What follows `=`, if there is one.
    pub value: Option<String>,
}

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// The mark as written: `<<-"EOF"`.
    pub mark: String,
    /// Its name.
    pub name: String,
    /// Its text, tabs stripped where `<<-` asks for it.
    pub text: String,
    /// Whether variables are expanded in it.
    pub expansion: Expansion,
}

/// Whether variables are expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expansion {
    /// They are.
    Expand,
    /// The name was quoted.
    Literal,
}

/// Every instruction there is.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

impl Instruction {
    /// The value of a flag; a flag without value is `true`.
    #[must_use]
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        let found = self.flags.iter().rfind(|flag| flag.name == name);
        found.map(|flag| flag.value.as_deref().unwrap_or("true"))
    }

    /// All values of a flag.
    pub(super) fn flag_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.flags.iter().filter(move |flag| flag.name == name);
        found.filter_map(|flag| flag.value.as_deref())
    }

    /// Whether a switch is on.
    #[must_use]
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.flag(name).is_some_and(|value| value != "false")
    }

    /// An error at this instruction.
    pub(super) fn error(&self, message: impl Into<String>) -> BuildError {
        BuildError::Parse {
            line: self.line,
            message: message.into(),
        }
    }
}

/// Parses a Dockerfile.
///
/// # Errors
/// When it cannot be one; the error names the line.
pub(super) fn parse(text: &str) -> Result<Dockerfile, BuildError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .collect();
    let escape = directives(&lines)?;
    let mut reader = Reader {
        lines: &lines,
        at: 0,
        escape,
    };
    let mut instructions = Vec::new();
    while let Some(instruction) = reader.instruction()? {
        instructions.push(instruction);
    }
    Ok(Dockerfile {
        instructions,
        escape,
    })
}

/// Parses one instruction without continuation, such as the trigger of ONBUILD.
///
/// # Errors
/// When it cannot be one.
pub(super) fn parse_line(text: &str, line: usize, escape: char) -> Result<Instruction, BuildError> {
    split_instruction(text, line, escape)
}

/// Reads `# name=value` lines at the top; the first other line ends them.
fn directives(lines: &[&str]) -> Result<char, BuildError> {
    let mut escape = None;
    let mut seen = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some((name, value)) = directive(line) else {
            break;
        };
        if !["escape", "syntax", "check"].contains(&name.as_str()) {
            continue;
        }
        let failed = |message: String| BuildError::Parse {
            line: index + 1,
            message,
        };
        if seen.contains(&name) {
            return Err(failed(format!(
                "only one {name} parser directive can be used"
            )));
        }
        if name == "escape" {
            escape = match value {
                "\\" | "`" => value.chars().next(),
                other => {
                    return Err(failed(format!(
                        "invalid escape token '{other}' does not match ` or \\"
                    )));
                }
            };
        }
        seen.push(name);
    }
    Ok(escape.unwrap_or('\\'))
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

struct Reader<'a> {
    lines: &'a [&'a str],
    at: usize,
    escape: char,
}

impl Reader<'_> {
    fn instruction(&mut self) -> Result<Option<Instruction>, BuildError> {
        while self.lines.get(self.at).is_some_and(|line| is_blank(line)) {
            self.at += 1;
        }
        if self.at >= self.lines.len() {
            return Ok(None);
        }
        let line = self.at + 1;
        let text = self.logical_line();
        let mut instruction = split_instruction(&text, line, self.escape)?;
        for mark in document_marks(&instruction) {
            let document = self.document(mark, line)?;
            instruction.documents.push(document);
        }
        instruction.last_line = self.at;
        Ok(Some(instruction))
    }

    /// Joins continued lines; comments and empty lines in between are left out.
    fn logical_line(&mut self) -> String {
        let mut text = String::new();
        let mut first = true;
        while let Some(line) = self.lines.get(self.at) {
            self.at += 1;
            if !first && is_blank(line) {
                continue;
            }
            let line = if first { line.trim_start() } else { line };
            first = false;
            if let Some(part) = continued(line, self.escape) {
                text.push_str(part);
            } else {
                text.push_str(line);
                break;
            }
        }
        text.trim_end().to_owned()
    }

    fn document(&mut self, mark: Mark, line: usize) -> Result<Document, BuildError> {
        let mut text = String::new();
        loop {
            let Some(next) = self.lines.get(self.at) else {
                return Err(BuildError::Parse {
                    line,
                    message: format!("unterminated heredoc `{}`", mark.name),
                });
            };
            self.at += 1;
            let next = match mark.tabs {
                Tabs::Strip => next.trim_start_matches('\t'),
                Tabs::Keep => next,
            };
            if next == mark.name {
                break;
            }
            text.push_str(next);
            text.push('\n');
        }
        Ok(Document {
            mark: mark.text,
            name: mark.name,
            text,
            expansion: mark.expansion,
        })
    }
}

fn is_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// The line without its escape at the end, if it has one that is not itself escaped.
fn continued(line: &str, escape: char) -> Option<&str> {
    let part = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!part.ends_with(escape)).then_some(part)
}

fn split_instruction(text: &str, line: usize, escape: char) -> Result<Instruction, BuildError> {
    let text = text.trim();
    let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let keyword = keyword.to_ascii_uppercase();
    let failed = |message| BuildError::Parse { line, message };
    if !KEYWORDS.contains(&keyword.as_str()) {
        return Err(failed(format!("unknown instruction: {keyword}")));
    }
    // These two read their flags themselves.
    let keeps_flags = matches!(keyword.as_str(), "HEALTHCHECK" | "ONBUILD");
    let (flags, rest) = if keeps_flags {
        (Vec::new(), rest.trim())
    } else {
        split_flags(rest.trim(), escape)
    };
    check_flags(&keyword, &flags).map_err(failed)?;
    if rest.is_empty() && !matches!(keyword.as_str(), "CMD" | "ENTRYPOINT") {
        return Err(failed(format!("{keyword} requires at least one argument")));
    }
    Ok(Instruction {
        line,
        last_line: line,
        rest: rest.to_owned(),
        original: text.to_owned(),
        keyword,
        flags,
        documents: Vec::new(),
    })
}

/// Takes `--name` and `--name=value` off the front; `--` ends them.
fn split_flags(mut rest: &str, escape: char) -> (Vec<Flag>, &str) {
    let mut flags = Vec::new();
    while let Some(after) = rest.strip_prefix("--") {
        let end = word_end(after, escape);
        let (word, tail) = after.split_at(end);
        rest = tail.trim_start();
        if word.is_empty() {
            break;
        }
        let word = unquote(word, escape);
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        flags.push(Flag { name, value });
    }
    (flags, rest)
}

/// Where the first word ends: at a space outside of quotes.
fn word_end(text: &str, escape: char) -> usize {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((index, c)) = characters.next() {
        match quote {
            None if c.is_whitespace() => return index,
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => {
                characters.next();
            }
            _ => {}
        }
    }
    text.len()
}

/// Removes quotes and the escapes of spaces and quotes; `$` stays escaped for the expansion to come.
fn unquote(word: &str, escape: char) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut characters = word.chars().peekable();
    while let Some(c) = characters.next() {
        match quote {
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => match characters.next_if(|next| *next != '$') {
                Some(next) => out.push(next),
                None => out.push(c),
            },
            _ => out.push(c),
        }
    }
    out
}

fn known_flags(keyword: &str) -> &'static [&'static str] {
    match keyword {
        "FROM" => &["platform"],
        "RUN" => &["mount", "network", "security"],
        "COPY" => &["from", "chown", "chmod", "link", "parents", "exclude"],
        "ADD" => &[
            "chown",
            "chmod",
            "link",
            "exclude",
            "checksum",
            "keep-git-dir",
            "unpack",
        ],
        _ => &[],
    }
}

fn check_flags(keyword: &str, flags: &[Flag]) -> Result<(), String> {
    let known = known_flags(keyword);
    let switches = ["link", "parents", "keep-git-dir", "unpack"];
    for flag in flags {
        if !known.contains(&flag.name.as_str()) {
            return Err(format!("unknown flag: --{}", flag.name));
        }
        if flag.value.is_none() && !switches.contains(&flag.name.as_str()) {
            return Err(format!("missing a value on flag: --{}", flag.name));
        }
    }
    Ok(())
}

/// A mark of a here-document, before its text is read.
struct Mark {
    text: String,
    name: String,
    expansion: Expansion,
    tabs: Tabs,
}

enum Tabs {
    Strip,
    Keep,
}

/// The marks among the words of RUN, COPY and ADD (also when ONBUILD precedes).
fn document_marks(instruction: &Instruction) -> Vec<Mark> {
    let takes = |keyword: &str| matches!(keyword, "RUN" | "COPY" | "ADD");
    let onbuild = instruction.keyword == "ONBUILD"
        && instruction
            .rest
            .split_whitespace()
            .next()
            .is_some_and(|word| takes(&word.to_ascii_uppercase()));
    if !takes(&instruction.keyword) && !onbuild {
        return Vec::new();
    }
    words(&instruction.rest).filter_map(mark).collect()
}

fn words(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let end = word_end(rest, '\\');
        let (word, tail) = rest.split_at(end);
        rest = tail;
        (!word.is_empty()).then_some(word)
    })
}

/// `[fd]<<[-]NAME`, the name in quotes or not.
fn mark(word: &str) -> Option<Mark> {
    let after = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let after = after.strip_prefix("<<")?;
    let (tabs, name) = match after.strip_prefix('-') {
        Some(name) => (Tabs::Strip, name),
        None => (Tabs::Keep, after),
    };
    let plain = unquote(name, '\\');
    if plain.is_empty() || name.contains('<') {
        return None;
    }
    let expansion = if plain == name {
        Expansion::Expand
    } else {
        Expansion::Literal
    };
    Some(Mark {
        text: word.to_owned(),
        name: plain,
        expansion,
        tabs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Instruction, BuildError> {
        let mut parsed = parse(text)?;
        Ok(parsed.instructions.remove(0))
    }

    #[test]
    fn comments_and_continuations_are_joined() -> Result<(), BuildError> {
        let parsed = parse(
            "# comment\n\nFROM a\nRUN one \\\n  # in between\n\n  two \\  \n  three\n  cmd x\n",
        )?;
        let lines: Vec<_> = parsed
            .instructions
            .iter()
            .map(|i| (i.line, i.last_line, i.keyword.as_str(), i.rest.as_str()))
            .collect();
        assert_eq!(
            lines,
            [
                (3, 3, "FROM", "a"),
                (4, 8, "RUN", "one   two   three"),
                (9, 9, "CMD", "x")
            ]
        );
        Ok(())
    }

    #[test]
    fn the_escape_directive_counts_only_at_the_top() -> Result<(), BuildError> {
        assert_eq!(parse("# syntax=x\n# escape=`\nRUN a `\n b")?.escape, '`');
        assert_eq!(parse("# comment\n# escape=`\nRUN a")?.escape, '\\');
        assert_eq!(parse("\n# escape=`\nRUN a")?.escape, '\\');
        assert!(parse("# escape=x\nRUN a").is_err());
        assert!(parse("# escape=`\n# escape=`\nRUN a").is_err());
        Ok(())
    }

    #[test]
    fn an_escaped_escape_does_not_continue() -> Result<(), BuildError> {
        assert_eq!(parse("RUN a \\\\\nRUN b")?.instructions.len(), 2);
        Ok(())
    }

    #[test]
    fn flags_are_taken_off() -> Result<(), BuildError> {
        let copy = one("COPY --from=x --chown=\"a:b\" --link --exclude=a --exclude=b src /dst")?;
        assert_eq!(copy.flag("from"), Some("x"));
        assert_eq!(copy.flag("chown"), Some("a:b"));
        assert!(copy.is_on("link"));
        assert_eq!(copy.flag_values("exclude").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(copy.rest, "src /dst");
        assert!(one("COPY --bogus=1 a b").is_err());
        assert!(one("COPY --from a b").is_err());
        Ok(())
    }

    #[test]
    fn here_documents_follow_their_instruction() -> Result<(), BuildError> {
        let parsed = parse("RUN <<EOF cat <<-'B'\nline $x\nEOF\n\ttab\n\tB\nCMD x")?;
        let run = &parsed.instructions[0];
        assert_eq!(run.last_line, 5);
        let texts: Vec<_> = run
            .documents
            .iter()
            .map(|d| (d.text.as_str(), d.expansion))
            .collect();
        assert_eq!(
            texts,
            [
                ("line $x\n", Expansion::Expand),
                ("tab\n", Expansion::Literal)
            ]
        );
        assert_eq!(parsed.instructions[1].keyword, "CMD");
        assert!(parse("RUN <<EOF\nx").is_err());
        assert!(parse("ENV A=<<EOF\n").is_ok());
        Ok(())
    }

    #[test]
    fn errors_name_their_line() {
        let message = parse("FROM a\nBOGUS x").map_err(|e| e.to_string());
        assert_eq!(
            message,
            Err("dockerfile parse error on line 2: unknown instruction: BOGUS".to_owned())
        );
        assert!(parse("FROM").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(?s)([A-Z]{2,6}|[ \\\\`#=<\"'$\n\t-]|.){0,80}") {
            let _parsed = parse(&text);
        }

        #[test]
        fn instructions_lie_within_the_file(lines in proptest::collection::vec("(RUN|COPY|ENV|#|  |FROM) ?[a-z<\\\\ '\"=-]{0,12}", 0..12)) {
            if let Ok(parsed) = parse(&lines.join("\n")) {
                for instruction in parsed.instructions {
                    assert!(instruction.line <= instruction.last_line && instruction.last_line <= lines.len());
                }
            }
        }
    }
}
