//! The command line of a RUN step: list form, text form, here-documents.

use bollard_stubs::models::ImageConfig;

use super::parse::{Document, Instruction};
use crate::runtime::image::{command, json_form};

/// Where scripts that bring their own interpreter are mounted.
pub(super) const SCRIPTS: &str = "/run/hoist-build";

/// What a RUN line runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// A script to mount at its path.
    pub script: Option<Script>,
}

/// A here-document that begins with `#!`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    /// Path in the container.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// The command line of an instruction under a config (whose SHELL holds).
#[must_use]
pub(super) fn command_line(instruction: &Instruction, config: &ImageConfig) -> CommandLine {
    let Some(first) = instruction.documents.first() else {
        return plain(command(config, &instruction.rest));
    };
    if json_form(&instruction.rest).is_some() {
        return plain(command(config, &instruction.rest));
    }
    if instruction.rest != first.mark || instruction.documents.len() > 1 {
        return plain(command(config, &with_documents(instruction)));
    }
    if first.text.starts_with("#!") {
        let path = format!("{SCRIPTS}/{}", first.name);
        return CommandLine {
            argv: vec![path.clone()],
            script: Some(Script {
                path,
                text: first.text.clone(),
            }),
        };
    }
    plain(command(config, &first.text))
}

fn plain(argv: Vec<String>) -> CommandLine {
    CommandLine { argv, script: None }
}

/// The line with its documents after it, for the shell to read.
fn with_documents(instruction: &Instruction) -> String {
    let mut text = instruction.rest.clone();
    for document in &instruction.documents {
        text.push('\n');
        text.push_str(&document.text);
        text.push_str(&document.name);
    }
    text
}

/// The text that a document has as a file of COPY.
#[must_use]
pub(super) fn find_document<'a>(instruction: &'a Instruction, word: &str) -> Option<&'a Document> {
    instruction
        .documents
        .iter()
        .find(|document| document.mark == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::build::BuildError;
    use crate::runtime::build::parse::parse;

    fn run(text: &str) -> Result<CommandLine, BuildError> {
        let parsed = parse(text)?;
        Ok(command_line(
            &parsed.instructions[0],
            &ImageConfig::default(),
        ))
    }

    #[test]
    fn forms_of_run() -> Result<(), BuildError> {
        let table: [(&str, &[&str]); 5] = [
            ("RUN echo $A", &["/bin/sh", "-c", "echo $A"]),
            ("RUN [\"a\", \"b c\"]", &["a", "b c"]),
            ("RUN [a]", &["/bin/sh", "-c", "[a]"]),
            ("RUN <<EOF\none\ntwo\nEOF", &["/bin/sh", "-c", "one\ntwo\n"]),
            (
                "RUN cat <<EOF > /x\none\nEOF",
                &["/bin/sh", "-c", "cat <<EOF > /x\none\nEOF"],
            ),
        ];
        for (text, argv) in table {
            assert_eq!(run(text)?.argv, argv, "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_script_with_an_interpreter_is_run_as_a_file() -> Result<(), BuildError> {
        let line = run("RUN <<EOF\n#!/usr/bin/python3\nprint(1)\nEOF")?;
        assert_eq!(line.argv, ["/run/hoist-build/EOF"]);
        assert_eq!(
            line.script.map(|s| s.text),
            Some("#!/usr/bin/python3\nprint(1)\n".to_owned())
        );
        Ok(())
    }
}
