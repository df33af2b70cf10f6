//! `publish`: a project as an artifact in a registry, from where `-f oci://…` takes it (behaviours.md B304, B305).
//!
//! ```text
//! files --> checks, questions --> images pushed --> layers (files, parents, env files, digests) --> manifest
//! ```

mod check;
mod file;
mod secret;

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde_json::json;

use hoist::apply::{ApplyEvent, ResourceEvent, Status};
use hoist::load::EnvFiles;
use hoist::model::Project;
use hoist::runtime::image::Reference;
use hoist::runtime::registry::{
    Artifact, ArtifactForm, Credential, Part, Pushed, Registries, RegistrySettings,
};

use self::file::{Role, Written, file_name, name_in_artifact};
use crate::cli::pin::Pinner;
use crate::cli::push::{OnFailure, push};
use crate::cli::reconcile::{Answers, Session, ask};
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;

const PROJECT_TYPE: &str = "application/vnd.docker.compose.project";
const EMPTY_CONFIG_TYPE: &str = "application/vnd.docker.compose.config.empty.v1+json";
const FILE_TYPE: &str = "application/vnd.docker.compose.file+yaml";
const ENV_FILE_TYPE: &str = "application/vnd.docker.compose.envfile";
const VERSION_NOTE: &str = "com.docker.compose.version";

/// Arguments of `publish`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(super) struct PublishArgs {
    /// Publish the images that services use too
    #[arg(long)]
    app: bool,
    /// Use a registry without TLS, or whose certificate nobody vouches for
    #[arg(long, hide = true)]
    insecure_registry: bool,
    /// Write the manifest as this version of the OCI specification says: 1.0 or 1.1
    #[arg(long, value_name = "VERSION")]
    oci_version: Option<String>,
    /// Pin the tags of images to digests
    #[arg(long)]
    resolve_image_digests: bool,
    /// Publish the env files of services too
    #[arg(long)]
    with_env: bool,
    /// Answer every question with yes
    #[arg(short, long, alias = "y")]
    yes: bool,
    /// Where to publish: REPOSITORY[:TAG]
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: String,
}

/// Publishes a project.
pub(super) async fn cmd_publish(ui: &Ui, context: &Context, args: &PublishArgs) -> CommandResult {
    let form = form(args.oci_version.as_deref())?;
    let reference = Reference::parse(args.repository.trim_start_matches("oci://"))
        .map_err(CommandError::user)?;
    let mut request = context.load_request();
    request.env_files_of = EnvFiles::All;
    request.profiles = vec!["*".to_owned()];
    let project = context.load(ui, request).await?;
    let files = file::read_all(&project.compose_files, &project.working_dir)?;
    check::refuse_local_includes(&files)?;
    check::refuse_build_only(&project)?;
    let answers = Answers::from_flag(args.yes);
    for question in questions(&project, &files, args)? {
        if answers == Answers::Ask && !ask(ui, &question)? {
            return Err(CommandError::cancelled());
        }
    }
    let session = Session::open(ui, context, project).await?;
    let services: Vec<String> = session.project.services.keys().cloned().collect();
    push(&session, &services, OnFailure::GoOn).await?;
    let publishing = Publishing {
        registries: registries(&reference, args.insecure_registry)?,
        session: &session,
        args,
        reference,
        form,
    };
    let mut shown = crate::ui::renderer::renderer(ui, "publish", session.effect());
    let mut tell = |status, text: &str| {
        shown.event(&ApplyEvent::Resource(ResourceEvent::new(
            &args.repository,
            status,
            text,
        )));
    };
    tell(Status::Working, "publishing");
    let published = publishing.run(&files).await;
    match &published {
        Ok(()) => tell(Status::Done, "published"),
        Err(_) => tell(Status::Error, "publishing"),
    }
    shown.finish();
    published.map(|()| ExitStatus::SUCCESS)
}

fn form(version: Option<&str>) -> Result<Option<ArtifactForm>, CommandError> {
    match version {
        None | Some("") => Ok(None),
        Some("1.0") => Ok(Some(ArtifactForm::V1_0)),
        Some("1.1") => Ok(Some(ArtifactForm::V1_1)),
        Some(other) => Err(
            CommandError::user(format!("unsupported OCI version: {other}"))
                .hinted("--oci-version is 1.0 or 1.1"),
        ),
    }
}

/// What is asked before anything leaves this machine, in order.
fn questions(
    project: &Project,
    files: &[Written],
    args: &PublishArgs,
) -> Result<Vec<String>, CommandError> {
    let detector = secret::Detector::new()?;
    let mut questions = Vec::new();
    questions.extend(check::bind_mounts(project));
    questions.extend(check::sensitive_data(project, files, &detector)?);
    if !args.with_env {
        questions.extend(check::environment(files, &detector));
    }
    questions.extend(check::config_content(files, &detector));
    Ok(questions)
}

fn registries(reference: &Reference, insecure: bool) -> Result<Registries, CommandError> {
    let mut settings = RegistrySettings::read().map_err(CommandError::user)?;
    if insecure {
        settings.insecure.push(reference.domain().to_owned());
    }
    Registries::new(settings).map_err(CommandError::user)
}

/// A project on its way.
struct Publishing<'a> {
    session: &'a Session<'a>,
    args: &'a PublishArgs,
    registries: Registries,
    reference: Reference,
    form: Option<ArtifactForm>,
}

impl Publishing<'_> {
    async fn run(&self, files: &[Written]) -> Result<(), CommandError> {
        if self.session.context.global().dry_run {
            return Ok(());
        }
        let artifact = Artifact {
            artifact_type: PROJECT_TYPE.to_owned(),
            config_type: EMPTY_CONFIG_TYPE.to_owned(),
            annotations: BTreeMap::from([(
                "org.opencontainers.image.created".to_owned(),
                jiff::Timestamp::now()
                    .strftime("%Y-%m-%dT%H:%M:%SZ")
                    .to_string(),
            )]),
            parts: self.parts(files).await?,
        };
        let credential = self.credential(&self.reference)?;
        let pushed = self
            .registries
            .push_artifact(&self.reference, credential.as_ref(), &artifact, self.form)
            .await
            .map_err(CommandError::user)?;
        if self.args.app {
            self.push_images(&pushed, credential.as_ref()).await?;
        }
        Ok(())
    }

    /// The documents of the artifact, in the order in which they are laid over each other.
    async fn parts(&self, files: &[Written]) -> Result<Vec<Part>, CommandError> {
        let mut parts: Vec<Part> = files.iter().map(file_part).collect();
        if self.args.with_env {
            parts.extend(env_parts(files)?);
        }
        if self.args.resolve_image_digests || self.args.app {
            let override_file = self.image_digests().await?;
            parts.push(document("image-digests.yaml", override_file.into_bytes()));
        }
        Ok(parts)
    }

    /// A Compose file that pins the image of each service.
    async fn image_digests(&self) -> Result<String, CommandError> {
        let domain = self.reference.domain().to_owned();
        let insecure = self.args.insecure_registry.then_some(domain);
        let pinner = Pinner::new(self.session.context, insecure)?;
        let mut services = serde_json::Map::new();
        for service in self.session.project.services.values() {
            if service.image.is_empty() {
                continue;
            }
            let pinned = pinner.pin(&service.image).await;
            let pinned = pinned.map_err(CommandError::user)?;
            services.insert(service.name.clone(), json!({ "image": pinned }));
        }
        // JSON is YAML.
        let text = serde_json::to_string_pretty(&json!({ "services": services }));
        text.map_err(CommandError::system)
    }

    /// Copies the images of services beside the artifact, and an index of them that refers to it.
    async fn push_images(
        &self,
        artifact: &Pushed,
        credential: Option<&Credential>,
    ) -> Result<(), CommandError> {
        let mut images = Vec::new();
        for service in self.session.project.services.values() {
            if service.image.is_empty() {
                continue;
            }
            let image = Reference::parse(&service.image).map_err(CommandError::user)?;
            let from = self.credential(&image)?;
            let copied = self
                .registries
                .copy_image((&image, from.as_ref()), (&self.reference, credential))
                .await;
            images.push(copied.map_err(CommandError::user)?);
        }
        self.registries
            .push_index(&self.reference, credential, artifact, &images, &version())
            .await
            .map(drop)
            .map_err(CommandError::user)
    }

    fn credential(&self, reference: &Reference) -> Result<Option<Credential>, CommandError> {
        self.session.context.credential(reference.domain())
    }
}

fn version() -> BTreeMap<String, String> {
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    BTreeMap::from([(VERSION_NOTE.to_owned(), version.to_owned())])
}

fn document(name: &str, data: Vec<u8>) -> Part {
    let mut annotations = version();
    annotations.insert("com.docker.compose.file".to_owned(), name.to_owned());
    Part {
        media_type: FILE_TYPE.to_owned(),
        annotations,
        data,
    }
}

fn file_part(file: &Written) -> Part {
    let mut part = document(&file.name(), file.portable().into_bytes());
    if file.role == Role::Parent {
        part.annotations
            .insert("com.docker.compose.extends".to_owned(), "true".to_owned());
    }
    part
}

/// The env files of services that exist, each once.
fn env_parts(files: &[Written]) -> Result<Vec<Part>, CommandError> {
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for file in files {
        let services = file.services();
        for named in services.flat_map(|(_, service)| file.env_files(service)) {
            let data = match std::fs::read(&named.path) {
                Ok(data) => data,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unreadable(&named.path, &error)),
            };
            let name = name_in_artifact(&named.path, "env");
            let mut annotations = version();
            annotations.insert("com.docker.compose.envfile".to_owned(), name.clone());
            let media_type = ENV_FILE_TYPE.to_owned();
            parts.insert(
                name,
                Part {
                    media_type,
                    annotations,
                    data,
                },
            );
        }
    }
    Ok(parts.into_values().collect())
}

fn unreadable(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::user(format!(
        "cannot read env file `{}`: {error}",
        file_name(path)
    ))
}

#[cfg(test)]
mod tests {
    use super::{ArtifactForm, form};

    #[test]
    fn the_form_is_one_that_exists() -> Result<(), super::CommandError> {
        assert_eq!(form(None)?, None);
        assert_eq!(form(Some("1.0"))?, Some(ArtifactForm::V1_0));
        assert!(form(Some("2.0")).is_err());
        Ok(())
    }
}
