//! `--resolve-image-digests` and `--lock-image-digests`: the images of a project by what registries have under their
//! names now.
//!
//! Works on the JSON form of a project, which is also what `--no-interpolate` prints: services with their images, the
//! images of their `pre_start` hooks, and the images that they mount.

use std::collections::BTreeMap;
use std::error::Error;

use futures_util::{StreamExt as _, stream};
use hoist::load::{Code, Diagnostic, Label, LoadError};
use hoist::model::{MountKind, Project, Service};
use serde_json::{Map, Value};

use crate::cli::pin::{PinError, Pinner};
use crate::cli::{CommandError, Context};
use crate::ui::Ui;

/// Registries that are asked at the same time.
const AT_ONCE: usize = 8;

/// Finds the place of a value by its dotted path.
type Places<'a> = &'a dyn Fn(&str, &str) -> Option<Label>;

/// Replaces the images of a project's enabled services.
pub(super) async fn resolve_project(
    context: &Context,
    project: &mut Project,
    places: Places<'_>,
) -> Result<(), CommandError> {
    let mut wanted = Vec::new();
    each_of_project(project, &mut |path, image| {
        wanted.push((path, image.clone()));
    });
    let pinned = pin(context, wanted, places).await?;
    each_of_project(project, &mut |_, image| image.clone_from(&pinned[image]));
    Ok(())
}

/// Replaces the images of a merged tree.
pub(super) async fn resolve_tree(
    context: &Context,
    tree: &mut Value,
    places: Places<'_>,
) -> Result<(), CommandError> {
    let mut wanted = Vec::new();
    each_of_tree(tree, &mut |path, image| wanted.push((path, image.clone())));
    let pinned = pin(context, wanted, places).await?;
    each_of_tree(tree, &mut |_, image| image.clone_from(&pinned[image]));
    Ok(())
}

/// What an override file needs to pin images: nothing else of the services.
pub(super) fn only_images(ui: &Ui, project: &Project) -> Project {
    let only = |(name, service): (&String, &Service)| {
        if !service.pre_start.is_empty() {
            warn_of_hooks(ui, name);
        }
        let images = service.volumes.iter();
        let images = images.filter(|mount| mount.kind == MountKind::Image);
        let only = Service {
            name: name.clone(),
            image: service.image.clone(),
            volumes: images.cloned().collect(),
            ..Service::default()
        };
        (name.clone(), only)
    };
    Project {
        services: project.services.iter().map(only).collect(),
        ..Project::default()
    }
}

/// The same of a merged tree.
pub(super) fn only_images_of_tree(ui: &Ui, tree: &mut Value) {
    let Value::Object(tree) = tree else { return };
    tree.retain(|key, _| key == "services");
    for (name, service) in objects(tree.get_mut("services")) {
        if service.contains_key("pre_start") {
            warn_of_hooks(ui, name);
        }
        if let Some(Value::Array(volumes)) = service.get_mut("volumes") {
            volumes.retain(|mount| mount["type"] == "image");
        }
        service.retain(|key, value| match key.as_str() {
            "image" => true,
            "volumes" => value.as_array().is_some_and(|volumes| !volumes.is_empty()),
            _ => false,
        });
    }
}

fn warn_of_hooks(ui: &Ui, service: &str) {
    ui.warn(format_args!(
        "service {service:?}: pre_start hook images are not pinned in the override file produced by --lock-image-digests, use the full --resolve-image-digests output to pin them"
    ));
}

fn each_of_project(project: &mut Project, visit: &mut dyn FnMut(String, &mut String)) {
    let names: Vec<String> = project.services.keys().cloned().collect();
    for (name, service) in &mut project.services {
        let at = format!("services.{name}");
        let mut visit = |path: String, image: &mut String| {
            if !image.is_empty() {
                visit(path, image);
            }
        };
        visit(format!("{at}.image"), &mut service.image);
        for (index, hook) in service.pre_start.iter_mut().enumerate() {
            visit(format!("{at}.pre_start.{index}.image"), &mut hook.image);
        }
        for (index, mount) in service.volumes.iter_mut().enumerate() {
            if mount.kind == MountKind::Image && !names.contains(&mount.source) {
                visit(format!("{at}.volumes.{index}.source"), &mut mount.source);
            }
        }
    }
}

fn each_of_tree(tree: &mut Value, visit: &mut dyn FnMut(String, &mut String)) {
    let names: Vec<String> = match &tree["services"] {
        Value::Object(services) => services.keys().cloned().collect(),
        _ => Vec::new(),
    };
    for (name, service) in objects(tree.get_mut("services")) {
        let at = format!("services.{name}");
        let mut visit = |path: String, value: Option<&mut Value>| match value {
            Some(Value::String(image)) if !image.is_empty() => visit(path, image),
            _ => {}
        };
        visit(format!("{at}.image"), service.get_mut("image"));
        for (index, hook) in elements(service.get_mut("pre_start")).enumerate() {
            visit(
                format!("{at}.pre_start.{index}.image"),
                hook.get_mut("image"),
            );
        }
        for (index, mount) in elements(service.get_mut("volumes")).enumerate() {
            let source = mount.get("source").and_then(Value::as_str);
            let of_service = source.is_some_and(|source| names.iter().any(|name| name == source));
            if mount["type"] == "image" && !of_service {
                visit(
                    format!("{at}.volumes.{index}.source"),
                    mount.get_mut("source"),
                );
            }
        }
    }
}

fn objects(value: Option<&mut Value>) -> impl Iterator<Item = (&String, &mut Map<String, Value>)> {
    let map = value.and_then(Value::as_object_mut);
    map.into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key, value.as_object_mut()?)))
}

fn elements(value: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    value.and_then(Value::as_array_mut).into_iter().flatten()
}

/// Finds the digest of each image once; what cannot be found is told of all of them together.
async fn pin(
    context: &Context,
    wanted: Vec<(String, String)>,
    places: Places<'_>,
) -> Result<BTreeMap<String, String>, CommandError> {
    let pinner = &Pinner::new(context, [])?;
    let mut paths: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, image) in wanted {
        paths.entry(image).or_default().push(path);
    }
    let images: Vec<String> = paths.keys().cloned().collect();
    let answers = stream::iter(images)
        .map(|image| async move {
            let answer = pinner.pin(&image).await;
            (image, answer)
        })
        .buffered(AT_ONCE);
    let answers: Vec<_> = answers.collect().await;
    let mut pinned = BTreeMap::new();
    let mut failed = LoadError::default();
    for (image, answer) in answers {
        match answer {
            Ok(name) => {
                pinned.insert(image, name);
            }
            Err(error) => {
                let paths = paths.get(&image).map(Vec::as_slice).unwrap_or_default();
                failed.diagnostics.push(diagnostic(&error, paths, places));
            }
        }
    }
    // As they stand in the files.
    failed.diagnostics.sort_by_key(|diagnostic| {
        let label = diagnostic.labels.first()?;
        Some((label.source.name.clone(), label.span.start))
    });
    if failed.diagnostics.is_empty() {
        Ok(pinned)
    } else {
        Err(failed.into())
    }
}

fn diagnostic(error: &PinError, paths: &[String], places: Places<'_>) -> Diagnostic {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    let (code, hint) = match error {
        PinError::Name { .. } => (
            Code::InvalidValue,
            "an image is written `[REGISTRY/]NAME[:TAG]`, in lower case",
        ),
        PinError::Registry { .. } => (
            Code::Unmet,
            "`hoist push` brings an image of one's own there, `docker login` says who you are, and an image with `@sha256:…` needs no registry",
        ),
    };
    let mut words = "this image";
    let labels = paths.iter().filter_map(|path| {
        let label = places(path, words)?;
        words = "and here";
        Some(label)
    });
    let mut labels: Vec<Label> = labels.collect();
    // A hook without an image has its service's, written in one place.
    labels.dedup_by(|one, other| one.source == other.source && one.span == other.span);
    Diagnostic {
        labels,
        ..Diagnostic::error(code, message).hint(hint)
    }
}
