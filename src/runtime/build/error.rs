//! What can go wrong with a build.

use std::path::PathBuf;

use super::HostError;
use super::parse::Instruction;
use crate::runtime::archive::ArchiveError;
use crate::runtime::image::ImageError;

/// Lines shown before and after the failing one.
const AROUND: usize = 3;
/// Lines of output that are repeated.
const OUTPUT_LINES: usize = 10;
/// Most lines of an instruction that are shown.
const SHOWN: usize = 20;
const RULE: &str = "--------------------";

/// A failed build.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The Dockerfile is not in the context.
    #[error("Cannot locate specified Dockerfile: {name}")]
    NoDockerfile {
        /// Its path.
        name: String,
    },
    /// The Dockerfile has no instruction.
    #[error("the Dockerfile ({name}) cannot be empty")]
    EmptyDockerfile {
        /// Its path.
        name: String,
    },
    /// The Dockerfile cannot be read as one.
    #[error("dockerfile parse error on line {line}: {message}")]
    Parse {
        /// Line of the instruction.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The target is no stage.
    #[error("target stage `{name}` could not be found")]
    UnknownTarget {
        /// The target.
        name: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// An instruction could not be done.
    #[error("{keyword} failed on line {line}")]
    Step {
        /// Line of the Dockerfile.
        line: usize,
        /// The instruction.
        keyword: String,
        /// What is wrong.
        source: Box<BuildError>,
    },
    /// A RUN step ended with another code than 0.
    #[error("The command '{command}' returned a non-zero code: {code}")]
    Exit {
        /// The command line.
        command: String,
        /// The exit code.
        code: i64,
        /// Line of the Dockerfile.
        line: usize,
        /// The end of what it printed.
        output: String,
    },
    /// Nobody waits for the build any more, or another stage has failed.
    #[error("the build was cancelled")]
    Cancelled,
    /// Files of the context were written while they were read.
    #[error("files of the context changed while they were copied")]
    Changed,
    /// The image store.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Files of the context or of a layer.
    #[error("cannot copy files")]
    Archive(#[from] ArchiveError),
    /// The host could not run or pull.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A file of the builder.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl BuildError {
    /// The same error at an instruction, unless it has a place already.
    pub(super) fn at(self, instruction: &Instruction) -> Self {
        match self {
            Self::Invalid(_)
            | Self::Image(_)
            | Self::Archive(_)
            | Self::Host(_)
            | Self::Changed
            | Self::File { .. } => Self::Step {
                line: instruction.line,
                keyword: instruction.keyword.clone(),
                source: Box::new(self),
            },
            placed => placed,
        }
    }

    /// The line of the Dockerfile, if it has one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Parse { line, .. } | Self::Step { line, .. } | Self::Exit { line, .. } => {
                Some(*line)
            }
            Self::NoDockerfile { .. }
            | Self::EmptyDockerfile { .. }
            | Self::UnknownTarget { .. }
            | Self::Invalid(_)
            | Self::Cancelled
            | Self::Changed
            | Self::Image(_)
            | Self::Archive(_)
            | Self::Host(_)
            | Self::File { .. } => None,
        }
    }

    /// The message with all causes, as one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

/// The lines of a Dockerfile around an error, with a mark, after the last output of a step.
pub(super) fn excerpt(error: &BuildError, name: &str, text: &str) -> Option<String> {
    use std::fmt::Write as _;
    let line = error.line()?;
    let mut out = String::new();
    if let BuildError::Exit {
        output, command, ..
    } = error
    {
        let lines: Vec<&str> = output.lines().collect();
        let tail = lines[lines.len().saturating_sub(OUTPUT_LINES)..].join("\n");
        write!(out, "------\n > RUN {command}:\n{tail}\n------\n").ok()?;
    }
    writeln!(out, "{name}:{line}\n{RULE}").ok()?;
    let last = last_line(text, line);
    let (from, to) = (line.saturating_sub(AROUND + 1), last + AROUND);
    for (index, content) in text.lines().enumerate().take(to).skip(from) {
        let marked = (line..=last).contains(&(index + 1));
        let mark = if marked { ">>>" } else { "   " };
        writeln!(out, "{:>4} | {mark} {content}", index + 1).ok()?;
    }
    writeln!(out, "{RULE}").ok()?;
    Some(out)
}

/// The last line of the instruction that begins at a line, or of as much of it as is shown.
fn last_line(text: &str, line: usize) -> usize {
    let instructions = super::parse::parse(text).map(|file| file.instructions);
    let found = instructions.unwrap_or_default().into_iter();
    let mut last = found.filter(|instruction| instruction.line == line);
    last.next().map_or(line, |instruction| {
        instruction.last_line.min(line + SHOWN - 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_marks_all_lines_of_the_instruction() {
        let error = BuildError::Parse {
            line: 2,
            message: "wrong".to_owned(),
        };
        let text = "FROM a\nRUN one \\\n  two\nRUN <<E\nthree\nE\nUSER b\n";
        let expected = "Dockerfile:2\n--------------------\n   1 |     FROM a\n   2 | >>> RUN one \\\n   3 | >>>   two\n   4 |     RUN <<E\n   5 |     three\n   6 |     E\n--------------------\n";
        assert_eq!(
            excerpt(&error, "Dockerfile", text).as_deref(),
            Some(expected)
        );
    }

    #[test]
    fn an_excerpt_marks_the_line_and_repeats_the_output() {
        let error = BuildError::Exit {
            command: "/bin/sh -c false".to_owned(),
            code: 1,
            line: 3,
            output: "one\ntwo\n".to_owned(),
        };
        let expected = "------\n > RUN /bin/sh -c false:\none\ntwo\n------\nDockerfile:3\n--------------------\n   1 |     a\n   2 |     b\n   3 | >>> c\n   4 |     d\n--------------------\n";
        assert_eq!(
            excerpt(&error, "Dockerfile", "a\nb\nc\nd\n").as_deref(),
            Some(expected)
        );
    }
}
