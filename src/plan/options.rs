//! The choices that a plan depends on.

use indexmap::IndexSet;

use super::resolve::Delivery;

/// When containers are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recreate {
    /// Where they differ from the file.
    #[default]
    Diverged,
    /// Always.
    Force,
    /// Never.
    Never,
}

/// What becomes of a replaced container's anonymous volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnonymousVolumes {
    /// The new container takes them over.
    #[default]
    Inherit,
    /// The new container gets new ones.
    Renew,
}

/// What becomes of a volume that differs from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VolumeChange {
    /// The user is asked whether it is made again without its data.
    #[default]
    Ask,
    /// It is made again with its data.
    Migrate,
}

/// What becomes of containers that no service owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrphanPolicy {
    /// They are spoken of.
    #[default]
    Warn,
    /// They are left alone in silence.
    Ignore,
    /// They are removed.
    Remove,
}

/// How far a plan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Goal {
    /// Containers exist.
    Created,
    /// Containers run.
    #[default]
    Running,
    /// Containers run, and the plan ends when they are healthy.
    Healthy,
}

/// The character between the parts of a container's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Separator {
    /// `project-service-1`.
    #[default]
    Dash,
    /// `project_service_1` (`--compatibility`).
    Underscore,
}

impl Separator {
    /// The character.
    #[must_use]
    pub fn as_char(self) -> char {
        match self {
            Self::Dash => '-',
            Self::Underscore => '_',
        }
    }
}

/// Options of [`plan`](super::plan).
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// The services named by the user; empty is all of the project.
    pub named: Vec<String>,
    /// The services whose number of containers `--scale` says, not the file.
    pub scaled: Vec<String>,
    /// Rule for the named services.
    pub recreate: Recreate,
    /// Rule for the services that the named ones need.
    pub recreate_dependencies: Recreate,
    /// The option that made the rule, for the cause.
    pub recreate_option: &'static str,
    /// What becomes of anonymous volumes.
    pub anonymous_volumes: AnonymousVolumes,
    /// What becomes of orphans.
    pub orphans: OrphanPolicy,
    /// How far to go.
    pub goal: Goal,
    /// Seconds between the stop signal and SIGKILL.
    pub timeout: Option<i64>,
    /// Limit of each wait in milliseconds.
    pub wait_timeout_millis: Option<u64>,
    /// What becomes of a volume that differs from the file.
    pub volume_change: VolumeChange,
    /// Names of volumes that the user allowed to recreate.
    pub volumes_to_recreate: IndexSet<String>,
    /// Character between the parts of a container's name.
    pub separator: Separator,
    /// The engine's API version.
    pub api: (u32, u32),
    /// How the engine takes secrets and configs.
    pub delivery: Delivery,
    /// The service that `run` makes a one-off of: what it depends on is brought up and waited for, it itself is not.
    pub run_for: Option<String>,
    /// Milliseconds in which a replaced container finishes what it was asked; `None` takes the usual ones.
    pub finish_millis: Option<u64>,
}

/// Which images `down` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemoveImages {
    /// None.
    #[default]
    Keep,
    /// Those without a name of the user's own.
    Local,
    /// Those of every service.
    All,
}

/// Which volumes are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemoveVolumes {
    /// None.
    #[default]
    Keep,
    /// Named and anonymous ones.
    Remove,
}

/// Options of [`down`](super::down).
#[derive(Debug, Clone, Default)]
pub struct DownOptions {
    /// The services named by the user; empty is the whole project.
    pub services: Vec<String>,
    /// What becomes of orphans.
    pub orphans: OrphanPolicy,
    /// Which volumes go.
    pub volumes: RemoveVolumes,
    /// Which images go.
    pub images: RemoveImages,
    /// Seconds between the stop signal and SIGKILL.
    pub timeout: Option<i64>,
    /// Character between the parts of a name.
    pub separator: Separator,
}
