//! What is asked of the loader, and what it answers.

use std::{path::PathBuf, sync::Arc};

use indexmap::IndexMap;

use super::{Diagnostic, Fetch, Label, Origins, Source, Tree, Variable, origin::label_in};
use crate::model::Project;

/// A phase that can be left out (the `--no-…` flags of `config`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Substitution of variables.
    Interpolation,
    /// Known keys, and the kinds of their values.
    Shape,
    /// Implied networks, dependencies and names.
    Normalization,
    /// Relative paths made absolute.
    PathResolution,
    /// Rules across services and resources.
    Consistency,
    /// That no two services have one container name: no rule for commands that only act on what exists.
    ContainerNames,
    /// Reading of `env_file`.
    EnvironmentResolution,
}

/// Whether the dependencies of the selected services are selected too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dependencies {
    /// They are.
    #[default]
    Include,
    /// They are not (`--no-deps`).
    Ignore,
}

/// What becomes of networks, volumes, secrets, configs and models that no selected service uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resources {
    /// They are dropped.
    #[default]
    Used,
    /// They are kept (`--all-resources`).
    All,
}

/// Whose `env_file` is read (behaviours.md B043).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EnvFiles {
    /// That of the selected services.
    #[default]
    Selected,
    /// That of every enabled service, so that one missing file fails the load.
    All,
}

/// Which files to load, and how. Nothing is taken from the process: its environment and directory come in here.
#[derive(Debug, Clone, Default)]
pub struct LoadRequest {
    /// The `-f` files in order; `-` is standard input. Empty: `COMPOSE_FILE`, then the default names.
    pub files: Vec<String>,
    /// The text of standard input, for `-`; see [`super::reads_stdin`].
    pub stdin: Option<String>,
    /// `--project-directory`.
    pub project_directory: Option<PathBuf>,
    /// `--project-name`.
    pub project_name: Option<String>,
    /// `--profile`; empty: `COMPOSE_PROFILES`.
    pub profiles: Vec<String>,
    /// `--env-file`; empty: `COMPOSE_ENV_FILES`, then `.env`.
    pub env_files: Vec<String>,
    /// The environment of the process.
    pub environment: IndexMap<String, String>,
    /// The working directory of the process.
    pub current_directory: PathBuf,
    /// The services named on the command line (glob patterns); empty is all.
    pub services: Vec<String>,
    /// Whether their dependencies are selected too.
    pub dependencies: Dependencies,
    /// What becomes of unused resources.
    pub resources: Resources,
    /// Whose `env_file` is read.
    pub env_files_of: EnvFiles,
    /// Phases that are left out.
    pub skip: Vec<Phase>,
    /// Who brings files that are on a network; nobody: such files are refused.
    pub fetch: Option<Arc<dyn Fetch>>,
}

impl LoadRequest {
    /// Says whether a phase is to be run.
    #[must_use]
    pub fn runs(&self, phase: Phase) -> bool {
        !self.skip.contains(&phase)
    }
}

/// A loaded project.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The project: selected services enabled, the others known.
    pub project: Project,
    /// Where its values come from.
    pub origins: Origins,
    /// What should be told to people although it worked.
    pub warnings: Vec<Diagnostic>,
}

/// The merged files before they become a project (`config --no-interpolate`, `--variables`).
#[derive(Debug, Clone, Default)]
pub struct LoadedTree {
    /// The name of the project.
    pub name: String,
    /// The merged, canonical tree.
    pub tree: Tree,
    /// Variables that the files use; filled where interpolation is left out.
    pub variables: Vec<Variable>,
    /// The environment that variables are taken from.
    pub environment: IndexMap<String, String>,
    /// What should be told to people although it worked.
    pub warnings: Vec<Diagnostic>,
    pub(super) sources: Vec<Arc<Source>>,
}

impl LoadedTree {
    /// Returns the place of the value of a dotted path, to be pointed at.
    #[must_use]
    pub fn label(&self, path: &str, text: &str) -> Option<Label> {
        label_in(&self.tree, &self.sources, path, text)
    }
}
