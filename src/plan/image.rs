//! Images: which to pull and which to build before containers are planned (behaviours.md B193-B200).
//!
//! A container follows from the identity of its image, so images come first: the caller applies this plan, takes
//! a new snapshot, and plans the containers from that.

use indexmap::{IndexMap, IndexSet};

use super::resolve::image_name;
use super::{Action, BuildImage, Cause, NodeId, Plan, Separator};
use crate::engine::{ObservedState, label};
use crate::model::{MountKind, Project, Service};

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Every time.
    Always,
    /// Never.
    Never,
    /// Where it is not there.
    #[default]
    Missing,
    /// It is built.
    Build,
    /// When it is older than so many seconds.
    Refresh(i64),
}

impl PullPolicy {
    /// Reads a policy; what is not known counts as `missing` (behaviours.md B193).
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "always" => Self::Always,
            "never" => Self::Never,
            "build" => Self::Build,
            "daily" => Self::Refresh(86_400),
            "weekly" => Self::Refresh(7 * 86_400),
            _ => text
                .strip_prefix("every_")
                .and_then(seconds)
                .map_or(Self::Missing, Self::Refresh),
        }
    }
}

/// Reads `1w2d3h4m5s`.
fn seconds(text: &str) -> Option<i64> {
    let mut total = 0;
    let mut number = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit = match character {
            'w' => 7 * 86_400,
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total += number.parse::<i64>().ok()? * unit;
        number.clear();
    }
    number.is_empty().then_some(total)
}

/// Options of [`plan_images`].
#[derive(Debug, Clone, Default)]
pub struct ImageOptions {
    /// `--pull`: rule for every service.
    pub pull: Option<String>,
    /// Whether services with a `build` section are built, and when.
    pub build: BuildRule,
    /// Now, in seconds since the epoch: for the refresh policies.
    pub now: i64,
    /// Character between the parts of an image's name.
    pub separator: Separator,
}

/// When services with a `build` section are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildRule {
    /// Where the image is not there.
    #[default]
    Missing,
    /// Always (`--build`).
    Always,
    /// Never (`--no-build`).
    Never,
}

/// References that the services of a project speak of: their images, and those mounted as volumes.
#[must_use]
pub fn image_references(project: &Project, separator: Separator) -> Vec<String> {
    let mut images = IndexSet::new();
    for service in project
        .services
        .values()
        .filter(|service| service.provider.is_none())
    {
        images.insert(image_name(project, service, separator.as_char()));
        let mounted = service
            .volumes
            .iter()
            .filter(|mount| mount.kind == MountKind::Image);
        images.extend(mounted.map(|mount| mount.source.clone()));
        images.extend(
            service
                .pre_start
                .iter()
                .map(|hook| hook.image.clone())
                .filter(|image| !image.is_empty()),
        );
    }
    images.into_iter().collect()
}

/// Plans the pulls and builds that come before the containers.
#[must_use]
pub fn plan_images(project: &Project, observed: &ObservedState, options: &ImageOptions) -> Plan {
    let mut plan = Plan::default();
    let mut pulls: IndexMap<String, NodeId> = IndexMap::new();
    let services = || {
        project
            .services
            .values()
            .filter(|service| service.provider.is_none())
    };
    for service in services() {
        if let Some(cause) = pull_cause(service, observed, options) {
            let action = pull(service, &service.image);
            pulls
                .entry(service.image.clone())
                .or_insert_with(|| plan.add(action, cause, &[]));
        }
        for image in further_images(service, observed) {
            let action = pull(service, &image);
            pulls
                .entry(image)
                .or_insert_with(|| plan.add(action, Cause::Missing, &[]));
        }
    }
    let builds = plan_builds(project, observed, options, (&mut plan, &pulls));
    order_builds(project, &mut plan, &builds);
    plan
}

/// The builds of the services, and of those whose images they take as contexts, which need not be selected.
fn plan_builds(
    project: &Project,
    observed: &ObservedState,
    options: &ImageOptions,
    (plan, pulls): (&mut Plan, &IndexMap<String, NodeId>),
) -> IndexMap<String, NodeId> {
    let mut builds: IndexMap<String, NodeId> = IndexMap::new();
    let mut open: Vec<(&Service, Option<Cause>)> = project
        .services
        .values()
        .rev()
        .map(|service| (service, None))
        .collect();
    while let Some((service, needed)) = open.pop() {
        if service.provider.is_some() || builds.contains_key(&service.name) {
            continue;
        }
        let name = image_name(project, service, options.separator.as_char());
        let cause = build_cause(service, &name, observed, options);
        let Some(cause) = cause.map(|cause| needed.unwrap_or(cause)) else {
            continue;
        };
        let Some(action) = build_action(project, service, options.separator) else {
            continue;
        };
        let after: Vec<_> = pulls.get(&name).copied().into_iter().collect();
        builds.insert(service.name.clone(), plan.add(action, cause, &after));
        for other in build_contexts(service) {
            if let Some(other) = project.find_service(other) {
                let cause = Cause::NeededBy {
                    service: service.name.clone(),
                };
                open.push((other, Some(cause)));
            }
        }
    }
    builds
}

/// The services whose images a build takes as contexts.
fn build_contexts(service: &Service) -> impl Iterator<Item = &str> {
    let contexts = service
        .build
        .iter()
        .flat_map(|build| build.additional_contexts.values());
    contexts.filter_map(|context| context.strip_prefix("service:"))
}

/// A build whose context is another service's image comes after it.
fn order_builds(project: &Project, plan: &mut Plan, builds: &IndexMap<String, NodeId>) {
    for (name, node) in builds {
        for other in project
            .find_service(name)
            .into_iter()
            .flat_map(build_contexts)
        {
            if let Some(before) = builds.get(other).filter(|before| *before != node) {
                plan.order(*before, *node);
            }
        }
    }
}

fn pull(service: &Service, image: &str) -> Action {
    Action::PullImage {
        service: service.name.clone(),
        image: image.to_owned(),
        platform: service.platform.clone(),
    }
}

/// Images mounted as volumes, and those of hooks, that are not there.
fn further_images(service: &Service, observed: &ObservedState) -> Vec<String> {
    let mounted = service
        .volumes
        .iter()
        .filter(|mount| mount.kind == MountKind::Image)
        .map(|mount| &mount.source);
    let hooks = service
        .pre_start
        .iter()
        .map(|hook| &hook.image)
        .filter(|image| !image.is_empty());
    mounted
        .chain(hooks)
        .filter(|image| !observed.images.contains_key(*image))
        .cloned()
        .collect()
}

fn policy<'a>(service: &'a Service, options: &'a ImageOptions) -> &'a str {
    options.pull.as_deref().unwrap_or(&service.pull_policy)
}

fn pull_cause(
    service: &Service,
    observed: &ObservedState,
    options: &ImageOptions,
) -> Option<Cause> {
    if service.image.is_empty() {
        return None;
    }
    let text = policy(service, options);
    let by_policy = || Cause::PullPolicy {
        policy: text.to_owned(),
    };
    let image = observed.images.get(&service.image);
    match PullPolicy::parse(text) {
        PullPolicy::Always => Some(by_policy()),
        PullPolicy::Never | PullPolicy::Build => None,
        PullPolicy::Missing => image.is_none().then_some(Cause::Missing),
        PullPolicy::Refresh(age) => match image {
            None => Some(Cause::Missing),
            Some(image) => (options.now > image.tagged + age).then(by_policy),
        },
    }
}

fn build_cause(
    service: &Service,
    name: &str,
    observed: &ObservedState,
    options: &ImageOptions,
) -> Option<Cause> {
    service.build.as_ref()?;
    let by_policy = PullPolicy::parse(policy(service, options)) == PullPolicy::Build;
    match options.build {
        BuildRule::Never => None,
        BuildRule::Always => Some(Cause::Requested { option: "--build" }),
        BuildRule::Missing if by_policy => Some(Cause::PullPolicy {
            policy: "build".to_owned(),
        }),
        BuildRule::Missing => (!observed.images.contains_key(name)).then_some(Cause::Missing),
    }
}

/// The build of a service's image; `None` without a `build` section.
#[must_use]
pub fn build_action(project: &Project, service: &Service, separator: Separator) -> Option<Action> {
    let build = service.build.clone()?;
    let mut labels = build.labels.clone();
    labels.insert(label::PROJECT.to_owned(), project.name.clone());
    labels.insert(label::SERVICE.to_owned(), service.name.clone());
    labels.insert(label::VERSION.to_owned(), label::COMPOSE_VERSION.to_owned());
    Some(Action::BuildImage(Box::new(BuildImage {
        service: service.name.clone(),
        image: image_name(project, service, separator.as_char()),
        platform: service.platform.clone(),
        build: *build,
        labels,
    })))
}

/// The services that cannot be made while some actions of an image plan have failed, each with the action to blame: those
/// that use such an image, of their own, as a volume or in a hook, or one that is made of it.
#[must_use]
pub fn services_without(
    project: &Project,
    plan: &Plan,
    failed: &[NodeId],
    separator: Separator,
) -> IndexMap<String, NodeId> {
    let mut lost: IndexMap<String, NodeId> = IndexMap::new();
    for blamed in failed {
        let mut open = vec![*blamed];
        while let Some(node) = open.pop() {
            open.extend(plan.after(node));
            let image = match &plan.node(node).action {
                Action::PullImage { image, .. } => image,
                Action::BuildImage(build) => &build.image,
                _ => continue,
            };
            lost.entry(image.clone()).or_insert(*blamed);
        }
    }
    let services = project.services.values();
    let without = services.filter_map(|service| {
        let own = image_name(project, service, separator.as_char());
        let mounts = service.volumes.iter();
        let mounted = mounts.filter(|mount| mount.kind == MountKind::Image);
        let mounted = mounted.map(|mount| &mount.source);
        let hooks = service.pre_start.iter().map(|hook| &hook.image);
        let mut needed = std::iter::once(&own).chain(mounted).chain(hooks);
        let blamed = needed.find_map(|image| lost.get(image))?;
        Some((service.name.clone(), *blamed))
    });
    without.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Node;
    use crate::plan::tests::{observed, project, service};

    #[test]
    fn who_needs_an_image_that_is_not_to_be_had_is_without_it() {
        let of = |name: &str, image: &str| Service {
            image: image.to_owned(),
            ..service(name)
        };
        let (web, twin, other) = (
            of("web", "gone:1"),
            of("twin", "gone:1"),
            of("db", "there:1"),
        );
        let project = project(vec![web, twin, other]);
        let options = ImageOptions {
            pull: Some("always".to_owned()),
            ..ImageOptions::default()
        };
        let plan = plan_images(&project, &observed(&project, Vec::new()), &options);
        let pulls = |node: &Node| matches!(&node.action, Action::PullImage { image, .. } if image == "gone:1");
        let failed: Vec<_> = plan.nodes().filter(|(_, node)| pulls(node)).collect();
        let failed: Vec<_> = failed.into_iter().map(|(id, _)| id).collect();
        assert_eq!(failed.len(), 1);
        let without = services_without(&project, &plan, &failed, Separator::Dash);
        let names: Vec<_> = without.keys().map(String::as_str).collect();
        assert_eq!(names, ["web", "twin"]);
    }

    #[test]
    fn reads_pull_policies() {
        assert_eq!(PullPolicy::parse(""), PullPolicy::Missing);
        assert_eq!(PullPolicy::parse("every_1h30m"), PullPolicy::Refresh(5_400));
        assert_eq!(PullPolicy::parse("weekly"), PullPolicy::Refresh(604_800));
        assert_eq!(PullPolicy::parse("every_x"), PullPolicy::Missing);
    }
}
