//! Secrets and configs before a plan is made: on the built-in engine, external secrets come from its store, and files
//! of the host that are to have an owner or a mode travel as content. Other engines are told about in a warning.

use std::collections::BTreeSet;

use crate::cli::secret::secret_store;
use crate::cli::{CommandError, Context};
use crate::ui::Ui;
use hoist::model::{FileObject, FileReference, Project};
use hoist::runtime::secret::SecretError;

/// Fills in what the built-in engine is to be sent.
pub(crate) fn fill_in(context: &Context, project: &mut Project) -> Result<(), CommandError> {
    let used = |of: fn(&hoist::model::Service) -> &Vec<FileReference>| -> BTreeSet<String> {
        let references = project.services.values().flat_map(of);
        references.map(|it| it.source.clone()).collect()
    };
    let secrets = used(|service| &service.secrets);
    let owned = [
        owned_by_someone(project, |service| &service.secrets),
        owned_by_someone(project, |service| &service.configs),
    ];
    let store = secret_store(context);
    for (key, secret) in &mut project.secrets {
        if secret.external && secrets.contains(key) {
            let name = if secret.name.is_empty() {
                key
            } else {
                &secret.name
            };
            let value = store.value(name).map_err(|error| missing(key, &error))?;
            take(secret, value);
            secret.external = false;
        }
    }
    let [owned_secrets, owned_configs] = owned;
    let secrets = project.secrets.iter_mut().map(|it| (&owned_secrets, it));
    let configs = project.configs.iter_mut().map(|it| (&owned_configs, it));
    for (owned, (key, object)) in secrets.chain(configs) {
        // A file that cannot be read is told about with its line, before anything is made.
        if owned.contains(key)
            && !object.file.is_empty()
            && let Ok(content) = std::fs::read(&object.file)
            && !content.is_empty()
        {
            take(object, content);
        }
    }
    Ok(())
}

/// As docker compose warns (behaviours.md B172): these engines bind the file as it is.
pub(crate) fn warn_of_ignored(ui: &Ui, project: &Project) {
    let mut ignored = Vec::new();
    for (kind, owned, objects) in [
        (
            "secrets",
            owned_by_someone(project, |service| &service.secrets),
            &project.secrets,
        ),
        (
            "configs",
            owned_by_someone(project, |service| &service.configs),
            &project.configs,
        ),
    ] {
        let is_file = |key: &String| objects.get(key).is_some_and(|it| !it.file.is_empty());
        if owned.iter().any(is_file) {
            ignored.push(kind);
        }
    }
    for kind in ignored {
        ui.warn(format_args!(
            "{kind} `uid`, `gid` and `mode` are not supported, they will be ignored"
        ));
    }
}

/// The sources of references that ask for an owner or a mode.
fn owned_by_someone(
    project: &Project,
    of: fn(&hoist::model::Service) -> &Vec<FileReference>,
) -> BTreeSet<String> {
    let references = project.services.values().flat_map(of);
    references
        .filter(|it| !it.uid.is_empty() || !it.gid.is_empty() || it.mode.is_some())
        .map(|it| it.source.clone())
        .collect()
}

fn take(object: &mut FileObject, content: Vec<u8>) {
    object.delivered = content;
    object.file.clear();
    object.environment.clear();
}

fn missing(key: &str, error: &SecretError) -> CommandError {
    CommandError::user(format!("secret `{key}` is external: {error}"))
}
