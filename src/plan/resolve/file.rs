//! Secrets and configs that are no files of the host: their content travels into the container (behaviours.md B171-B173).

use super::{ResolveError, mount};
use crate::engine::spec::FileSpec;
use crate::model::{FileObject, FileReference, Project, Service};

/// How content that is no file of the host gets into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// As files of its root, which therefore must be writable.
    #[default]
    IntoRoot,
    /// As mounts of memory.
    Memory,
}

/// The files to put into each of a service's containers before it starts.
///
/// # Errors
/// When the content is not there, or the container cannot take it.
pub fn file_specs(
    project: &Project,
    service: &Service,
    delivery: Delivery,
) -> Result<Vec<FileSpec>, ResolveError> {
    let secrets = service.secrets.iter().map(|reference| {
        let object = project.secrets.get(&reference.source);
        file_spec(
            project,
            service,
            (Kind::Secret, delivery),
            reference,
            object,
        )
    });
    let configs = service.configs.iter().map(|reference| {
        let object = project.configs.get(&reference.source);
        file_spec(
            project,
            service,
            (Kind::Config, delivery),
            reference,
            object,
        )
    });
    secrets
        .chain(configs)
        .filter_map(Result::transpose)
        .collect()
}

/// Files of the host that secrets and configs name and that `exists` does not find, as `secret NAME` and path.
pub fn missing_files<'a>(
    project: &'a Project,
    service: &'a Service,
    exists: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
    let secrets = service
        .secrets
        .iter()
        .filter_map(|reference| project.secrets.get_key_value(&reference.source));
    let configs = service
        .configs
        .iter()
        .filter_map(|reference| project.configs.get_key_value(&reference.source));
    secrets
        .chain(configs)
        .filter(move |(_, object)| !object.file.is_empty() && !exists(&object.file))
        .map(|(name, object)| (name.as_str(), object.file.as_str()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Secret,
    Config,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }
}

fn file_spec(
    project: &Project,
    service: &Service,
    (kind, delivery): (Kind, Delivery),
    reference: &FileReference,
    object: Option<&FileObject>,
) -> Result<Option<FileSpec>, ResolveError> {
    let Some(object) = object else {
        return Ok(None);
    };
    if object.external || !object.driver.is_empty() || !object.template_driver.is_empty() {
        return Err(ResolveError::ExternalFile {
            service: service.name.clone(),
            kind: kind.name(),
            name: reference.source.clone(),
        });
    }
    let content = if object.delivered.is_empty() {
        content(project, kind, reference, object)?.into_bytes()
    } else {
        object.delivered.clone()
    };
    if !object.file.is_empty() || content.is_empty() {
        return Ok(None);
    }
    if service.read_only && delivery == Delivery::IntoRoot {
        return Err(ResolveError::ReadOnlyRoot {
            service: service.name.clone(),
            kind: kind.name(),
            name: reference.source.clone(),
        });
    }
    Ok(Some(FileSpec {
        path: match kind {
            Kind::Secret => mount::secret_target(reference),
            Kind::Config => mount::config_target(reference),
        },
        uid: reference.uid.parse().unwrap_or(0),
        gid: reference.gid.parse().unwrap_or(0),
        mode: reference.mode.unwrap_or(0o444),
        content,
    }))
}

fn content(
    project: &Project,
    kind: Kind,
    reference: &FileReference,
    object: &FileObject,
) -> Result<String, ResolveError> {
    if !object.content.is_empty() || object.environment.is_empty() {
        return Ok(object.content.clone());
    }
    project
        .environment
        .get(&object.environment)
        .cloned()
        .ok_or_else(|| ResolveError::MissingVariable {
            variable: object.environment.clone(),
            kind: kind.name(),
            name: reference.source.clone(),
        })
}
