//! Variables: which ARG is visible where, and the expansion of words.
//!
//! ```text
//! build arguments ---+
//! platform arguments +--> Globals (ARG before FROM) --ARG NAME in a stage--> Scope, over which ENV wins
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::BuildError;
use super::parse::Instruction;
use crate::runtime::image::{Platform, environment_of, expand, split_words};
use bollard_stubs::models::ImageConfig;

/// Arguments that need no ARG line in RUN steps, and stay out of the history.
const PROXIES: [&str; 8] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// What holds for the whole file.
#[derive(Debug)]
pub(super) struct Globals {
    given: BTreeMap<String, String>,
    platform: BTreeMap<String, String>,
    declared: BTreeMap<String, String>,
    used: RefCell<BTreeSet<String>>,
    escape: char,
}

/// What is visible at a place of a stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    args: Vec<(String, String)>,
    /// Arguments that were declared after an ENV of the same name, so that they hide it.
    over: BTreeSet<String>,
}

impl Globals {
    /// From the build arguments and the platform; ARG lines before the first FROM are added by [`Self::declare`].
    #[must_use]
    pub(super) fn new(
        given: &BTreeMap<String, String>,
        platform: &Platform,
        target: &str,
        escape: char,
    ) -> Self {
        let own = Platform::this_machine();
        let variant = |platform: &Platform| platform.variant.clone().unwrap_or_default();
        let whole = |platform: &Platform| {
            let name = format!("{}/{}", platform.os, platform.architecture);
            match &platform.variant {
                Some(variant) => format!("{name}/{variant}"),
                None => name,
            }
        };
        let pairs = [
            ("BUILDPLATFORM", whole(&own)),
            ("BUILDOS", own.os.clone()),
            ("BUILDARCH", own.architecture.clone()),
            ("BUILDVARIANT", variant(&own)),
            ("TARGETPLATFORM", whole(platform)),
            ("TARGETOS", platform.os.clone()),
            ("TARGETARCH", platform.architecture.clone()),
            ("TARGETVARIANT", variant(platform)),
            (
                "TARGETSTAGE",
                if target.is_empty() {
                    "default".to_owned()
                } else {
                    target.to_owned()
                },
            ),
        ];
        Self {
            given: given.clone(),
            platform: pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
            declared: BTreeMap::new(),
            used: RefCell::default(),
            escape,
        }
    }

    /// Takes an ARG line before the first FROM.
    ///
    /// # Errors
    /// When it is malformed.
    pub(super) fn declare(&mut self, instruction: &Instruction) -> Result<(), BuildError> {
        for (name, default) in arguments(instruction, self.escape)? {
            let value = match self.given(&name) {
                Some(given) => Some(given),
                None => default
                    .map(|word| self.word(&word, instruction))
                    .transpose()?,
            };
            if let Some(value) = value {
                self.declared.insert(name, value);
            }
        }
        Ok(())
    }

    /// Expands a word of a FROM line.
    ///
    /// # Errors
    /// When it is malformed.
    pub(super) fn word(&self, word: &str, at: &Instruction) -> Result<String, BuildError> {
        let lookup = |name: &str| {
            self.declared
                .get(name)
                .or_else(|| self.platform.get(name))
                .cloned()
        };
        expand(word, self.escape, &lookup).map_err(|error| at.error(error.to_string()))
    }

    fn given(&self, name: &str) -> Option<String> {
        let found = self.given.get(name).cloned();
        if found.is_some() {
            self.used.borrow_mut().insert(name.to_owned());
        }
        found
    }

    /// Marks the arguments that a stage declares as used.
    pub(super) fn note_use(&self, instruction: &Instruction) {
        for (name, _) in arguments(instruction, self.escape).unwrap_or_default() {
            let _given = self.given(&name);
        }
    }

    /// Build arguments that no ARG asks for.
    #[must_use]
    pub(super) fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        let known = |name: &str| {
            used.contains(name)
                || PROXIES.contains(&name)
                || name == "SOURCE_DATE_EPOCH"
                || name.starts_with("BUILDKIT_")
        };
        self.given
            .keys()
            .filter(|name| !known(name))
            .cloned()
            .collect()
    }

    /// A copy without the bookkeeping, which stages in other threads can read.
    #[must_use]
    pub(super) fn freeze(self) -> Frozen {
        Frozen {
            given: self.given,
            platform: self.platform,
            declared: self.declared,
            escape: self.escape,
        }
    }
}

/// What holds for the whole file, complete.
#[derive(Debug)]
pub(super) struct Frozen {
    given: BTreeMap<String, String>,
    platform: BTreeMap<String, String>,
    declared: BTreeMap<String, String>,
    /// The escape character.
    pub escape: char,
}

impl Frozen {
    /// The proxy variables among the build arguments.
    #[must_use]
    pub(super) fn proxies(&self) -> Vec<String> {
        let given = self
            .given
            .iter()
            .filter(|(name, _)| PROXIES.contains(&name.as_str()));
        given
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    fn value_of(&self, name: &str) -> Option<String> {
        let order = [&self.given, &self.declared, &self.platform];
        order.iter().find_map(|values| values.get(name)).cloned()
    }
}

impl Scope {
    /// Takes an ARG line of a stage.
    ///
    /// # Errors
    /// When it is malformed.
    pub(super) fn declare(
        &mut self,
        instruction: &Instruction,
        globals: &Frozen,
        config: &ImageConfig,
    ) -> Result<(), BuildError> {
        for (name, default) in arguments(instruction, globals.escape)? {
            let given = globals.given.get(&name).cloned();
            let default = default
                .map(|word| self.word(&word, instruction, globals, config))
                .transpose()?;
            let value = given.or(default).or_else(|| globals.value_of(&name));
            self.args.retain(|(known, _)| *known != name);
            if let Some(value) = value {
                if environment_of(config).contains_key(&name) {
                    self.over.insert(name.clone());
                }
                self.args.push((name, value));
            }
        }
        Ok(())
    }

    /// An ENV that changes the config hides the arguments of its names from now on.
    pub(super) fn give_way(&mut self, before: &ImageConfig, after: &ImageConfig) {
        let (before, after) = (environment_of(before), environment_of(after));
        let changed = |name: &String| before.get(name) != after.get(name);
        self.over.retain(|name| !changed(name));
    }

    /// The arguments as `NAME=value`, those left out that an ENV of the config hides.
    #[must_use]
    pub(super) fn visible(&self, config: &ImageConfig) -> Vec<String> {
        let environment = environment_of(config);
        let visible = self
            .args
            .iter()
            .filter(|(name, _)| self.over.contains(name) || !environment.contains_key(name));
        visible
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// Expands a word; between ENV and ARG the later one wins, ENV over an earlier ARG in any case.
    ///
    /// # Errors
    /// When it is malformed.
    pub(super) fn word(
        &self,
        word: &str,
        at: &Instruction,
        globals: &Frozen,
        config: &ImageConfig,
    ) -> Result<String, BuildError> {
        let lookup = self.lookup(config);
        expand(word, globals.escape, &lookup).map_err(|error| at.error(error.to_string()))
    }

    /// Looks variables up, as [`Self::word`] does.
    pub(super) fn lookup(&self, config: &ImageConfig) -> impl Fn(&str) -> Option<String> + use<> {
        let environment = environment_of(config);
        let (args, over) = (self.args.clone(), self.over.clone());
        move |name| {
            let arg = || {
                args.iter()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.clone())
            };
            if over.contains(name) {
                return arg();
            }
            environment.get(name).cloned().or_else(arg)
        }
    }
}

/// Names and defaults of an ARG line, not expanded.
fn arguments(
    instruction: &Instruction,
    escape: char,
) -> Result<Vec<(String, Option<String>)>, BuildError> {
    let words = split_words(&instruction.rest, escape);
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(instruction.error("ARG names can not be blank")),
            Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
            None => Ok((word, None)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::build::parse::parse_line;

    fn line(text: &str) -> Result<Instruction, BuildError> {
        parse_line(text, 1, '\\')
    }

    fn globals(given: &[(&str, &str)]) -> Globals {
        let given = given
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Globals::new(&given, &Platform::this_machine(), "", '\\')
    }

    #[test]
    fn a_global_argument_needs_a_line_in_its_stage() -> Result<(), BuildError> {
        let mut globals = globals(&[("V", "given")]);
        globals.declare(&line("ARG V=1 W=$V-w")?)?;
        assert_eq!(globals.word("base:$V$X", &line("FROM x")?)?, "base:given");
        let frozen = globals.freeze();
        let config = ImageConfig::default();
        let mut scope = Scope::default();
        assert!(scope.visible(&config).is_empty());
        scope.declare(&line("ARG W")?, &frozen, &config)?;
        scope.declare(&line("ARG TARGETOS N=${W}x U")?, &frozen, &config)?;
        assert_eq!(
            scope.visible(&config),
            ["W=given-w", "TARGETOS=linux", "N=given-wx"]
        );
        Ok(())
    }

    #[test]
    fn between_env_and_arg_the_later_one_wins() -> Result<(), BuildError> {
        let frozen = globals(&[]).freeze();
        let config = |value: &str| ImageConfig {
            env: Some(vec![format!("A={value}")]),
            ..ImageConfig::default()
        };
        let (before, after) = (config("env"), config("later"));
        let mut scope = Scope::default();
        scope.declare(&line("ARG A=arg")?, &frozen, &ImageConfig::default())?;
        assert!(scope.visible(&before).is_empty());
        assert_eq!(scope.word("$A", &line("FROM x")?, &frozen, &before)?, "env");
        scope.declare(&line("ARG A=arg")?, &frozen, &before)?;
        assert_eq!(scope.visible(&before), ["A=arg"]);
        assert_eq!(scope.word("$A", &line("FROM x")?, &frozen, &before)?, "arg");
        scope.give_way(&before, &after);
        assert!(scope.visible(&after).is_empty());
        assert_eq!(
            scope.word("$A", &line("FROM x")?, &frozen, &after)?,
            "later"
        );
        Ok(())
    }

    #[test]
    fn arguments_that_nobody_asks_for_are_told() -> Result<(), BuildError> {
        let globals = globals(&[("A", "1"), ("B", "2"), ("HTTP_PROXY", "x")]);
        globals.note_use(&line("ARG A")?);
        assert_eq!(globals.unused(), ["B"]);
        Ok(())
    }
}
