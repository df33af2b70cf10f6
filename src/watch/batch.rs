//! What a batch of changed files sets off: pure, so that it can be tested without files and engines.
//!
//! A rebuilt service gets its copies too: nobody knows which of the files its image has.

use std::path::PathBuf;

use indexmap::{IndexMap, IndexSet};

use super::{Action, Mapping, Rule};

/// The work that a batch makes, by service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Services whose images are built.
    pub rebuild: IndexSet<String>,
    /// Files to copy, by service.
    pub sync: IndexMap<String, Vec<Mapping>>,
    /// Services to restart.
    pub restart: IndexSet<String>,
    /// Rules whose command runs, by their place in the list of rules; each once.
    pub exec: IndexSet<usize>,
}

impl Batch {
    /// Holds the changed paths against the rules.
    #[must_use]
    pub fn of(rules: &[Rule], paths: &IndexSet<PathBuf>) -> Self {
        let mut batch = Self::default();
        for path in paths {
            for (number, rule) in rules.iter().enumerate() {
                if let Some(mapping) = rule.matches(path) {
                    batch.add(number, rule, mapping);
                }
            }
        }
        batch
    }

    fn add(&mut self, number: usize, rule: &Rule, mapping: Mapping) {
        let service = || rule.service.clone();
        if rule.action.syncs() {
            let mappings = self.sync.entry(service()).or_default();
            if !mappings.contains(&mapping) {
                mappings.push(mapping);
            }
        }
        match rule.action {
            Action::Rebuild => drop(self.rebuild.insert(service())),
            Action::Restart | Action::SyncRestart => drop(self.restart.insert(service())),
            Action::SyncExec => drop(self.exec.insert(number)),
            Action::Sync => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Develop, Hook, Project, Service, WatchRule};
    use crate::watch::{RuleError, Rules};

    fn rules(wishes: &[(&str, &str)]) -> Result<Vec<Rule>, RuleError> {
        let watch = wishes.iter().map(|(path, action)| WatchRule {
            path: (*path).to_owned(),
            action: (*action).to_owned(),
            target: "/app".to_owned(),
            exec: Some(Hook {
                command: Some(vec!["true".to_owned()]),
                ..Hook::default()
            }),
            ..WatchRule::default()
        });
        let service = Service {
            name: "web".to_owned(),
            develop: Some(Box::new(Develop {
                watch: watch.collect(),
                ..Develop::default()
            })),
            ..Service::default()
        };
        let mut project = Project::default();
        project.services.insert("web".to_owned(), service);
        Ok(Rules::of(&project, true)?.rules)
    }

    fn paths(paths: &[&str]) -> IndexSet<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn a_command_runs_once_for_many_files() -> Result<(), RuleError> {
        let rules = rules(&[("/s", "sync+exec")])?;
        let batch = Batch::of(&rules, &paths(&["/s/a", "/s/b"]));
        assert_eq!(batch.exec.len(), 1);
        assert_eq!(batch.sync["web"].len(), 2);
        Ok(())
    }

    #[test]
    fn a_file_that_two_rules_copy_to_one_place_is_copied_once() -> Result<(), RuleError> {
        let rules = rules(&[("/s", "sync"), ("/s", "sync+restart")])?;
        let batch = Batch::of(&rules, &paths(&["/s/a", "/elsewhere"]));
        assert_eq!(batch.sync["web"].len(), 1);
        assert!(batch.restart.contains("web") && batch.rebuild.is_empty());
        Ok(())
    }
}
