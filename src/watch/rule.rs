//! The rules of `develop.watch` as paths are held against them (behaviours.md B299-B302).

use std::path::{Path, PathBuf};

use crate::apply::Ignore;
use crate::model::{Hook, MountKind, Project, Service, WatchRule};

/// What a change sets off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The image is built and the containers are made anew.
    Rebuild,
    /// The file is copied.
    Sync,
    /// The containers are restarted.
    Restart,
    /// The file is copied, then the containers are restarted.
    SyncRestart,
    /// The file is copied, then a command runs in the containers.
    SyncExec,
}

impl Action {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "rebuild" => Self::Rebuild,
            "sync" => Self::Sync,
            "restart" => Self::Restart,
            "sync+restart" => Self::SyncRestart,
            "sync+exec" => Self::SyncExec,
            _ => return None,
        })
    }

    /// Whether files are copied.
    #[must_use]
    pub fn syncs(self) -> bool {
        matches!(self, Self::Sync | Self::SyncRestart | Self::SyncExec)
    }
}

/// A rule that makes no sense, or nothing to watch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// `rebuild` without a `build` section.
    #[error("can't watch service {service:?} with action rebuild without a build context")]
    NoBuild {
        /// Service.
        service: String,
    },
    /// `rebuild` while builds are switched off.
    #[error("--no-build is incompatible with watch action rebuild in service {service}")]
    BuildsOff {
        /// Service.
        service: String,
    },
    /// `sync+exec` without a command.
    #[error("can't watch with action \"sync+exec\" on service {service} without a command")]
    NoCommand {
        /// Service.
        service: String,
    },
    /// An action that is none of the five.
    #[error("service {service:?} has the unknown watch action {action:?}")]
    UnknownAction {
        /// Service.
        service: String,
        /// Its word.
        action: String,
    },
    /// No service has a rule.
    #[error(
        "none of the selected services is configured for watch, consider setting a 'develop' section"
    )]
    Nothing,
}

/// A file, and the place in the containers that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Path on this machine.
    pub host: PathBuf,
    /// Path in the containers.
    pub container: String,
}

/// A rule of a service.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Service.
    pub service: String,
    /// What a change sets off.
    pub action: Action,
    /// The file or folder that is watched.
    pub path: PathBuf,
    /// Command of `sync+exec`.
    pub exec: Option<Hook>,
    /// Everything is copied at the start.
    pub initial_sync: bool,
    target: String,
    include: Option<Ignore>,
    ignore: Ignore,
    docker_ignore: Option<(PathBuf, Ignore)>,
}

/// The rules of a project.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The rules, by service and place in the file.
    pub rules: Vec<Rule>,
    /// What is odd about them.
    pub warnings: Vec<String>,
}

/// What editors, and git, leave beside the files that people mean.
const NOISE: &str = "**/.git\n**/4913\n**/*~\n**/.*.sw?\n**/.*.kate-swp\n**/.#*\n**/___jb_tmp___\n**/___jb_old___\n\
                     **/.goutputstream-*\n**/.idea\n**/.DS_Store";

impl Rules {
    /// Reads the rules of the project's services. With `may_build` false (`--no-build`) nothing may be rebuilt.
    ///
    /// # Errors
    /// Where a rule makes no sense, or no service has one.
    pub fn of(project: &Project, may_build: bool) -> Result<Self, RuleError> {
        let mut found = Self::default();
        for service in project.services.values() {
            for rule in service.develop.iter().flat_map(|develop| &develop.watch) {
                found.add(service, rule, may_build)?;
            }
        }
        if found.rules.is_empty() {
            return Err(RuleError::Nothing);
        }
        Ok(found)
    }

    fn add(
        &mut self,
        service: &Service,
        written: &WatchRule,
        may_build: bool,
    ) -> Result<(), RuleError> {
        let name = || service.name.clone();
        let Some(action) = Action::parse(&written.action) else {
            return Err(RuleError::UnknownAction {
                service: name(),
                action: written.action.clone(),
            });
        };
        let command = written.exec.as_ref().and_then(|hook| hook.command.as_ref());
        match action {
            Action::Rebuild if service.build.is_none() => {
                return Err(RuleError::NoBuild { service: name() });
            }
            Action::Rebuild if !may_build => return Err(RuleError::BuildsOff { service: name() }),
            Action::SyncExec if command.is_none_or(Vec::is_empty) => {
                return Err(RuleError::NoCommand { service: name() });
            }
            _ => {}
        }
        let path = PathBuf::from(&written.path);
        if action.syncs() && is_mounted(&path, service) {
            self.warnings.push(format!(
                "path '{}' also declared by a bind mount volume, this path won't be monitored!",
                written.path
            ));
            return Ok(());
        }
        // The name that the attribute had before it became one.
        let legacy = written.extensions.get("x-initialSync");
        self.rules.push(Rule {
            service: name(),
            action,
            exec: written.exec.clone(),
            initial_sync: action.syncs()
                && (written.initial_sync || legacy == Some(&serde_json::Value::Bool(true))),
            target: written.target.clone(),
            include: (!written.include.is_empty())
                .then(|| Ignore::parse(&written.include.join("\n"))),
            ignore: Ignore::parse(&format!("{NOISE}\n{}", written.ignore.join("\n"))),
            docker_ignore: docker_ignore(service),
            path,
        });
        Ok(())
    }
}

/// Whether a bind mount brings the path into the containers already.
fn is_mounted(path: &Path, service: &Service) -> bool {
    let binds = service
        .volumes
        .iter()
        .filter(|mount| mount.kind == MountKind::Bind);
    binds
        .map(|mount| Path::new(&mount.source))
        .any(|source| path.starts_with(source))
}

fn docker_ignore(service: &Service) -> Option<(PathBuf, Ignore)> {
    let build = service.build.as_ref()?;
    let root = PathBuf::from(&build.context);
    let ignore = Ignore::read(&root, &build.dockerfile);
    root.is_absolute().then_some((root, ignore))
}

impl Rule {
    /// Holds a path against the rule; answers where it belongs in the containers.
    #[must_use]
    pub fn matches(&self, path: &Path) -> Option<Mapping> {
        let below = path.strip_prefix(&self.path).ok()?;
        // A rule for one file has patterns beside that file.
        let named = if below.as_os_str().is_empty() {
            Path::new(path.file_name().unwrap_or_default())
        } else {
            below
        };
        let included = self.include.as_ref();
        if included.is_some_and(|include| !include.ignores(named)) || self.ignore.ignores(named) {
            return None;
        }
        if let Some((root, ignore)) = &self.docker_ignore
            && let Ok(inside) = path.strip_prefix(root)
            && ignore.ignores(inside)
        {
            return None;
        }
        let container = if below.as_os_str().is_empty() {
            self.target.clone()
        } else {
            format!("{}/{}", self.target.trim_end_matches('/'), below.display())
        };
        Some(Mapping {
            host: path.to_owned(),
            container,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Build, Develop, Mount};

    fn rule(action: &str, change: impl FnOnce(&mut WatchRule)) -> WatchRule {
        let mut rule = WatchRule {
            path: "/src/app".to_owned(),
            action: action.to_owned(),
            target: "/app".to_owned(),
            ..WatchRule::default()
        };
        change(&mut rule);
        rule
    }

    fn project(rules: Vec<WatchRule>, change: impl FnOnce(&mut Service)) -> Project {
        let mut service = Service {
            name: "web".to_owned(),
            develop: Some(Box::new(Develop {
                watch: rules,
                ..Develop::default()
            })),
            ..Service::default()
        };
        change(&mut service);
        let mut project = Project::default();
        project.services.insert("web".to_owned(), service);
        project
    }

    fn place(rule: &Rule, path: &str) -> Option<String> {
        rule.matches(Path::new(path))
            .map(|mapping| mapping.container)
    }

    #[test]
    fn a_path_below_the_rules_keeps_its_place_below_the_target() -> Result<(), RuleError> {
        let rules = Rules::of(&project(vec![rule("sync", |_| {})], |_| {}), true)?.rules;
        assert_eq!(
            place(&rules[0], "/src/app/a/b.js").as_deref(),
            Some("/app/a/b.js")
        );
        assert_eq!(place(&rules[0], "/src/app").as_deref(), Some("/app"));
        assert_eq!(place(&rules[0], "/src/application/x"), None);
        Ok(())
    }

    #[test]
    fn patterns_choose_and_leave_out() -> Result<(), RuleError> {
        let wish = rule("sync", |rule| {
            rule.include = vec!["**/*.js".to_owned(), "lib/".to_owned()];
            rule.ignore = vec!["node_modules/".to_owned()];
        });
        let rules = Rules::of(&project(vec![wish], |_| {}), true)?.rules;
        let fits = |path: &str| place(&rules[0], path).is_some();
        assert!(fits("/src/app/a/b.js"));
        assert!(fits("/src/app/lib/any"));
        assert!(!fits("/src/app/a/b.css"));
        assert!(!fits("/src/app/node_modules/x.js"));
        assert!(!fits("/src/app/.git/x.js"));
        assert!(!fits("/src/app/lib/.x.swp"));
        Ok(())
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_refused() {
        let outcome = |rule: WatchRule, may_build: bool, built: bool| {
            let project = project(vec![rule], |service| {
                service.build = built.then(Box::<Build>::default);
            });
            Rules::of(&project, may_build).err()
        };
        let service = || "web".to_owned();
        assert_eq!(
            outcome(rule("rebuild", |_| {}), true, false),
            Some(RuleError::NoBuild { service: service() })
        );
        assert_eq!(
            outcome(rule("rebuild", |_| {}), false, true),
            Some(RuleError::BuildsOff { service: service() })
        );
        assert_eq!(
            outcome(rule("sync+exec", |_| {}), true, false),
            Some(RuleError::NoCommand { service: service() })
        );
        assert!(matches!(
            Rules::of(&Project::default(), true),
            Err(RuleError::Nothing)
        ));
    }

    #[test]
    fn what_a_bind_mount_brings_is_not_copied() -> Result<(), RuleError> {
        let rules = vec![
            rule("sync", |_| {}),
            rule("restart", |rule| rule.path = "/src/app/conf".to_owned()),
        ];
        let project = project(rules, |service| {
            service.volumes.push(Mount {
                kind: MountKind::Bind,
                source: "/src".to_owned(),
                target: "/x".to_owned(),
                ..Mount::default()
            });
        });
        let found = Rules::of(&project, true)?;
        assert_eq!(found.warnings.len(), 1);
        assert_eq!(found.rules.len(), 1);
        assert_eq!(found.rules[0].action, Action::Restart);
        Ok(())
    }
}
