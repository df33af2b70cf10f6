//! A profile: rules by name of system call, out of Docker's JSON or built in.

use serde::{Deserialize, Serialize};

use super::number;
use crate::runtime::container::capability;

/// What the kernel does with a call: its `SECCOMP_RET_…` value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Action(pub u32);

impl Action {
    /// Let it through.
    pub(super) const ALLOW: Self = Self(0x7fff_0000);

    /// Refuse it with an error number.
    pub(super) const fn errno(number: u32) -> Self {
        Self(0x0005_0000 | (number & 0xffff))
    }
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum Operator {
    /// Not equal.
    #[serde(rename = "SCMP_CMP_NE")]
    Unequal,
    /// Less.
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    /// Less or equal.
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    /// Equal.
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    /// Greater or equal.
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    /// Greater.
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    /// Equal to the second value under the mask of the first.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    /// Which argument, from 0.
    pub index: u32,
    /// What it is compared with; the mask of a masked comparison.
    pub value: u64,
    /// What a masked argument is compared with.
    #[serde(default)]
    pub value_two: u64,
    /// How.
    pub op: Operator,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Names of system calls.
    pub names: Vec<String>,
    /// What is done with them.
    pub action: Action,
    /// When: all of these hold.
    pub conditions: Vec<Condition>,
}

/// A profile without anything to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    /// What is done with calls that no rule names.
    pub default: Action,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is not the JSON of a profile.
    #[error("cannot read the seccomp profile")]
    Json(#[source] serde_json::Error),
    /// It names an action that does not exist.
    #[error("the seccomp profile has an unknown action `{0}`")]
    Action(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileRule {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<Condition>>,
    #[serde(default)]
    includes: Filter,
    #[serde(default)]
    excludes: Filter,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Profile {
    /// Reads Docker's JSON, for a container with these capabilities.
    pub(super) fn parse(json: &str, capabilities: u64) -> Result<Self, ProfileError> {
        let file: File = serde_json::from_str(json).map_err(ProfileError::Json)?;
        let default = action(&file.default_action, file.default_errno_ret)?;
        let rules = file
            .syscalls
            .into_iter()
            .filter(|rule| applies(rule, capabilities));
        let rules = rules.map(|rule| {
            Ok(Rule {
                action: action(&rule.action, rule.errno_ret)?,
                names: rule.names.into_iter().chain(rule.name).collect(),
                conditions: rule.args.unwrap_or_default(),
            })
        });
        Ok(Self {
            default,
            rules: rules.collect::<Result<_, ProfileError>>()?,
        })
    }
}

fn applies(rule: &FileRule, capabilities: u64) -> bool {
    let has = |name: &String| capability::bit(name).is_some_and(|bit| capabilities & bit != 0);
    let arch = |name: &String| name == number::NAME;
    let includes = &rule.includes;
    let excludes = &rule.excludes;
    includes
        .caps
        .as_ref()
        .is_none_or(|caps| caps.iter().all(has))
        && includes
            .arches
            .as_ref()
            .is_none_or(|arches| arches.iter().any(arch))
        && includes
            .min_kernel
            .as_ref()
            .is_none_or(|version| kernel_is_at_least(version))
        && !excludes
            .caps
            .as_ref()
            .is_some_and(|caps| caps.iter().any(has))
        && !excludes
            .arches
            .as_ref()
            .is_some_and(|arches| arches.iter().any(arch))
        && !excludes
            .min_kernel
            .as_ref()
            .is_some_and(|version| kernel_is_at_least(version))
}

fn kernel_is_at_least(version: &str) -> bool {
    let parts = |text: &str| -> (u32, u32) {
        let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    };
    parts(&rustix::system::uname().release().to_string_lossy()) >= parts(version)
}

fn action(name: &str, errno: Option<u32>) -> Result<Action, ProfileError> {
    let value = match name {
        "SCMP_ACT_ALLOW" => Action::ALLOW.0,
        "SCMP_ACT_ERRNO" => Action::errno(errno.unwrap_or(libc::EPERM.cast_unsigned())).0,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | (errno.unwrap_or(0) & 0xffff),
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        _ => return Err(ProfileError::Action(name.to_owned())),
    };
    Ok(Action(value))
}
