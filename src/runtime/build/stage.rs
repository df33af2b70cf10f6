//! The stages of a Dockerfile: which there are, which a target needs, and how its steps are counted.
//!
//! ```text
//! instructions --split at FROM--> stages --target--> needed ones, each with the stages it waits for
//! ```

use std::collections::BTreeSet;

use super::BuildError;
use super::parse::{Dockerfile, Instruction, parse_line};

/// A Dockerfile, cut at its FROM lines.
#[derive(Debug, Clone)]
pub(super) struct Stages {
    /// ARG lines before the first FROM.
    pub globals: Vec<Instruction>,
    /// The stages in order.
    pub stages: Vec<Stage>,
    /// The escape character.
    pub escape: char,
}

/// One stage.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// Name after AS, in lower case.
    pub name: Option<String>,
    /// What is named after FROM, not expanded.
    pub base: String,
    /// The FROM line.
    pub from: Instruction,
    /// The instructions after it.
    pub steps: Vec<Instruction>,
}

/// Cuts a Dockerfile into stages.
///
/// # Errors
/// When an instruction stands before the first FROM, or a FROM is malformed.
pub(super) fn split(file: Dockerfile) -> Result<Stages, BuildError> {
    let mut globals = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    for instruction in file.instructions {
        if instruction.keyword == "FROM" {
            stages.push(stage(instruction)?);
            continue;
        }
        match stages.last_mut() {
            Some(stage) => stage.steps.push(instruction),
            None if instruction.keyword == "ARG" => globals.push(instruction),
            None => return Err(instruction.error("no build stage in current context")),
        }
    }
    Ok(Stages {
        globals,
        stages,
        escape: file.escape,
    })
}

fn stage(from: Instruction) -> Result<Stage, BuildError> {
    let words: Vec<&str> = from.rest.split_whitespace().collect();
    let (base, name) = match words.as_slice() {
        [base] => (*base, None),
        [base, middle, name] if middle.eq_ignore_ascii_case("as") => (*base, Some(*name)),
        _ => return Err(from.error("FROM requires either one or three arguments")),
    };
    let name = name.map(str::to_ascii_lowercase);
    if let Some(name) = &name
        && !is_stage_name(name)
    {
        return Err(from.error(format!(
            "invalid name for build stage: \"{name}\", name can't start with a number or contain symbols"
        )));
    }
    Ok(Stage {
        name,
        base: base.to_owned(),
        from,
        steps: Vec::new(),
    })
}

fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

impl Stages {
    /// The stage of a name or number, among those before `limit`.
    #[must_use]
    pub(super) fn find(&self, name: &str, limit: usize) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let before = &self.stages[..limit.min(self.stages.len())];
        let named = before
            .iter()
            .rposition(|stage| stage.name.as_deref() == Some(lower.as_str()));
        named.or_else(|| {
            let number = name.parse::<usize>().ok();
            number.filter(|number| *number < before.len())
        })
    }

    /// The index of the target, or of the last stage.
    ///
    /// # Errors
    /// When there is no such stage.
    pub(super) fn target(&self, name: Option<&str>) -> Result<usize, BuildError> {
        let Some(name) = name else {
            return Ok(self.stages.len().saturating_sub(1));
        };
        self.find(name, self.stages.len())
            .ok_or_else(|| BuildError::UnknownTarget {
                name: name.to_owned(),
            })
    }

    /// The stages that a stage takes files from or begins with. `base` is its expanded FROM.
    #[must_use]
    pub(super) fn dependencies(&self, index: usize, base: &str) -> BTreeSet<usize> {
        let stage = &self.stages[index];
        let sources = stage
            .steps
            .iter()
            .flat_map(|step| sources(step, self.escape));
        let copied = sources.filter_map(|source| self.find(&source, index));
        let begun = self.find_named(base, index).into_iter();
        copied.chain(begun).collect()
    }

    /// The stage of a name, not of a number: what FROM may name.
    #[must_use]
    pub(super) fn find_named(&self, name: &str, limit: usize) -> Option<usize> {
        let number = name.parse::<usize>().is_ok();
        self.find(name, limit).filter(|_| !number)
    }

    /// The target and all that it needs, in order. `bases` are the expanded FROMs.
    #[must_use]
    pub(super) fn needed(&self, target: usize, bases: &[String]) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if needed.insert(index) {
                open.extend(self.dependencies(index, &bases[index]));
            }
        }
        needed
    }
}

/// What an instruction names with `--from` or `--mount=…,from=`.
fn sources(step: &Instruction, escape: char) -> Vec<String> {
    if step.keyword == "ONBUILD" {
        let inner = parse_line(&step.rest, step.line, escape);
        return inner
            .map(|inner| sources(&inner, escape))
            .unwrap_or_default();
    }
    let mounts = step
        .flag_values("mount")
        .flat_map(|mount| mount.split(','))
        .filter_map(|option| option.strip_prefix("from="));
    let from = step.flag("from").into_iter();
    from.chain(mounts).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::build::parse::parse;

    fn stages(text: &str) -> Result<Stages, BuildError> {
        split(parse(text)?)
    }

    const DIAMOND: &str = "ARG V=1\nFROM base AS One\nFROM one AS left\nRUN x\nFROM one AS right\nFROM base\nCOPY --from=left a b\nRUN --mount=type=bind,from=right,target=/x y\nFROM other\nCOPY --from=0 a b";

    #[test]
    fn only_what_the_target_needs_is_built() -> Result<(), BuildError> {
        let stages = stages(DIAMOND)?;
        let bases: Vec<String> = stages.stages.iter().map(|s| s.base.clone()).collect();
        let needed = |target: &str| {
            let index = stages.target(Some(target))?;
            Ok::<_, BuildError>(stages.needed(index, &bases).into_iter().collect::<Vec<_>>())
        };
        assert_eq!(needed("left")?, [0, 1]);
        assert_eq!(needed("3")?, [0, 1, 2, 3]);
        assert_eq!(needed("4")?, [0, 4]);
        assert_eq!(stages.target(None)?, 4);
        assert!(stages.target(Some("bogus")).is_err());
        Ok(())
    }

    #[test]
    fn a_stage_names_only_stages_before_it() -> Result<(), BuildError> {
        let stages = stages("FROM a AS x\nCOPY --from=y a b\nFROM x AS y")?;
        assert!(stages.dependencies(0, "a").is_empty());
        assert_eq!(stages.dependencies(1, "x"), BTreeSet::from([0]));
        Ok(())
    }

    #[test]
    fn malformed_stages_are_refused() {
        for text in ["RUN true", "FROM a b", "FROM a AS 1x", "FROM a AS b c"] {
            assert!(stages(text).is_err(), "{text}");
        }
    }
}
