//! Which services are enabled: profiles, names on the command line, and what they need (behaviours.md B108-B115).

use std::collections::HashSet;

use indexmap::IndexMap;

use super::{
    Code,
    report::{Failure, Failures},
    request::{Dependencies, LoadRequest, Resources},
    schema,
};
use crate::model::{MountKind, Project, Service};

/// Moves the services that no profile enables to the disabled ones.
pub(super) fn apply_profiles(project: &mut Project, profiles: &[String]) {
    project.profiles = profiles.to_vec();
    let mut services = project.services.values();
    if project.disabled_services.is_empty() && services.all(|service| is_enabled(service, profiles))
    {
        return;
    }
    let all = std::mem::take(&mut project.services)
        .into_iter()
        .chain(std::mem::take(&mut project.disabled_services));
    let (mut enabled, mut disabled): (IndexMap<_, _>, IndexMap<_, _>) =
        all.partition(|(_, service)| is_enabled(service, profiles));
    enabled.sort_unstable_keys();
    disabled.sort_unstable_keys();
    project.services = enabled;
    project.disabled_services = disabled;
}

fn is_enabled(service: &Service, profiles: &[String]) -> bool {
    service.profiles.is_empty()
        || profiles
            .iter()
            .any(|profile| profile == "*" || service.profiles.contains(profile))
}

/// Keeps the services that are named and what they depend on, and the resources that are used.
///
/// # Errors
/// Fails where a name fits no service.
pub(super) fn select(project: &mut Project, request: &LoadRequest) -> Result<(), Failures> {
    if !request.services.is_empty() {
        let mut profiles = project.profiles.clone();
        for name in &request.services {
            if let Some(service) = project.disabled_services.get(name) {
                profiles.extend(service.profiles.iter().cloned());
            }
        }
        apply_profiles(project, &profiles);
        let selected = selection(project, request)?;
        keep(project, &selected);
    }
    if request.resources == Resources::Used {
        drop_unused(project);
    }
    Ok(())
}

fn selection(project: &Project, request: &LoadRequest) -> Result<HashSet<String>, Failure> {
    let mut selected = HashSet::new();
    let mut pending = Vec::new();
    for pattern in &request.services {
        let before = pending.len();
        pending.extend(
            project
                .services
                .keys()
                .filter(|name| matches(pattern, name))
                .cloned(),
        );
        if pending.len() == before {
            let known = project.services.keys().map(String::as_str);
            return Err(
                Failure::new(Code::Undefined, format!("no such service: {pattern}"))
                    .hint_if(schema::nearest(pattern, known)),
            );
        }
    }
    while let Some(name) = pending.pop() {
        if !selected.insert(name.clone()) || request.dependencies == Dependencies::Ignore {
            continue;
        }
        let Some(service) = project.services.get(&name) else {
            continue;
        };
        for (target, dependency) in &service.depends_on {
            if project.services.contains_key(target) {
                pending.push(target.clone());
            } else if dependency.required {
                return Err(
                    Failure::new(Code::Undefined, format!("no such service: {target}"))
                        .hint(format!("`{name}` depends on it")),
                );
            }
        }
    }
    Ok(selected)
}

fn keep(project: &mut Project, selected: &HashSet<String>) {
    let services = std::mem::take(&mut project.services);
    for (name, mut service) in services {
        if selected.contains(&name) {
            service
                .depends_on
                .retain(|target, _| selected.contains(target));
            project.services.insert(name, service);
        } else {
            project.disabled_services.insert(name, service);
        }
    }
    project.disabled_services.sort_unstable_keys();
}

fn drop_unused(project: &mut Project) {
    let mut used: [HashSet<&str>; 5] = Default::default();
    let [networks, volumes, secrets, configs, models] = &mut used;
    for service in project.services.values() {
        networks.extend(service.networks.keys().map(String::as_str));
        models.extend(service.models.keys().map(String::as_str));
        let named = service
            .volumes
            .iter()
            .filter(|mount| mount.kind == MountKind::Volume);
        volumes.extend(named.map(|mount| mount.source.as_str()));
        let build = service.build.iter().flat_map(|build| &build.secrets);
        secrets.extend(
            service
                .secrets
                .iter()
                .chain(build)
                .map(|secret| secret.source.as_str()),
        );
        configs.extend(service.configs.iter().map(|config| config.source.as_str()));
    }
    project
        .networks
        .retain(|key, _| networks.contains(key.as_str()));
    project
        .volumes
        .retain(|key, _| volumes.contains(key.as_str()));
    project
        .secrets
        .retain(|key, _| secrets.contains(key.as_str()));
    project
        .configs
        .retain(|key, _| configs.contains(key.as_str()));
    project
        .models
        .retain(|key, _| models.contains(key.as_str()));
}

/// Matches a shell pattern: `*`, `?`, `[…]` and `\`.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    matches_from(&pattern, &name)
}

fn matches_from(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        return name.is_empty();
    };
    match (first, name.split_first()) {
        ('*', _) => (0..=name.len()).any(|skip| matches_from(rest, &name[skip..])),
        ('?', Some((_, after))) => matches_from(rest, after),
        ('[', Some((next, after))) => {
            class(rest, *next).is_some_and(|(fits, rest)| fits && matches_from(rest, after))
        }
        ('\\', Some((next, after))) => {
            rest.first() == Some(next) && matches_from(&rest[1..], after)
        }
        (first, Some((next, after))) => first == next && matches_from(rest, after),
        (_, None) => false,
    }
}

/// Matches the inside of `[…]`; returns whether it fits, and the pattern behind it.
fn class(pattern: &[char], next: char) -> Option<(bool, &[char])> {
    let end = pattern.iter().position(|character| *character == ']')?;
    let (negated, set) = match pattern.first() {
        Some('^') => (true, &pattern[1..end]),
        _ => (false, &pattern[..end]),
    };
    let mut fits = false;
    let mut index = 0;
    while index < set.len() {
        if set.get(index + 1) == Some(&'-')
            && let Some(last) = set.get(index + 2)
        {
            fits |= (set[index]..=*last).contains(&next);
            index += 3;
        } else {
            fits |= set[index] == next;
            index += 1;
        }
    }
    Some((fits != negated, &pattern[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_patterns() {
        assert!(matches("d*", "db"));
        assert!(matches("w?b", "web"));
        assert!(matches("web-[0-3]", "web-2"));
        assert!(!matches("[^w]eb", "web"));
        assert!(!matches("web", "web2"));
    }
}
