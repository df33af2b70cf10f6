//! Which project a command acts on: from the files, or from its name alone (behaviours.md B024-B027).

use std::sync::Arc;

use hoist::engine::Engine;
use hoist::engine::member::{Member, OneOffs, Stopped, choose, members};
use hoist::load::{self, Code, Diagnostic, LoadRequest, Phase, Resources};
use hoist::model::Project;

use crate::cli::context::is_true;
use crate::cli::{CommandError, Context};
use crate::ui::Ui;

/// What a command acts on.
#[derive(Debug)]
pub(crate) struct Target {
    /// The project's name.
    pub(crate) name: String,
    /// The project, where its files were read.
    pub(crate) project: Option<Project>,
}

impl Target {
    /// Checks that services named on the command line exist; a project known by its name alone has any service.
    pub(crate) fn check_services(&self, services: &[String]) -> Result<(), CommandError> {
        let Some(project) = &self.project else {
            return Ok(());
        };
        match services
            .iter()
            .find(|name| project.find_service(name).is_none())
        {
            Some(service) => Err(CommandError::user(format!("no such service: {service}"))),
            None => Ok(()),
        }
    }

    /// Whether a container is meant: one of the services named, or, where none is, one of the model's.
    pub(crate) fn selects(&self, services: &[String], member: &Member) -> bool {
        if !services.is_empty() {
            return services.iter().any(|name| name == member.service());
        }
        self.knows(member)
    }

    /// Whether a container's service is in the model; a project known by its name alone has any service.
    pub(crate) fn knows(&self, member: &Member) -> bool {
        self.project
            .as_ref()
            .is_none_or(|project| project.find_service(member.service()).is_some())
    }
}

impl Context {
    /// What the global flags ask the loader for; a command adds its services to it.
    pub(crate) fn load_request(&self) -> LoadRequest {
        let global = self.global();
        LoadRequest {
            files: global.file.clone(),
            project_directory: global
                .project_directory
                .clone()
                .or_else(|| global.workdir.clone()),
            project_name: global.project_name.clone(),
            profiles: global.profile.clone(),
            env_files: global.env_file.clone(),
            environment: self.environment().clone(),
            current_directory: self.current_dir().to_owned(),
            resources: if global.all_resources {
                Resources::All
            } else {
                Resources::Used
            },
            fetch: Some(Arc::new(self.remote())),
            ..LoadRequest::default()
        }
    }

    /// Loads the project; its warnings are shown.
    pub(crate) async fn load(
        &self,
        ui: &Ui,
        request: LoadRequest,
    ) -> Result<Project, CommandError> {
        self.load_warning_of(ui, request, |_| true).await
    }

    /// Loads the project of a command that does not bring it about; what may be meant otherwise is told by those that
    /// do.
    async fn load_to_find(&self, ui: &Ui, request: LoadRequest) -> Result<Project, CommandError> {
        let as_compose =
            |warning: &Diagnostic| matches!(warning.code, Code::UnsetVariable | Code::Deprecated);
        self.load_warning_of(ui, request, as_compose).await
    }

    #[expect(
        clippy::unused_async,
        reason = "remote files will have to be waited for"
    )]
    async fn load_warning_of(
        &self,
        ui: &Ui,
        mut request: LoadRequest,
        is_told: impl Fn(&Diagnostic) -> bool,
    ) -> Result<Project, CommandError> {
        if load::reads_stdin(&request) {
            let text = load::text_from(std::io::stdin().lock());
            let failed = |error| CommandError::user(format!("cannot read standard input: {error}"));
            request.stdin = Some(text.map_err(failed)?);
        }
        let loaded = load::load(&request)?;
        ui.files_read(&loaded.project.compose_files);
        let mut warnings = loaded.warnings;
        warnings.retain(is_told);
        ui.file_warnings(&warnings);
        self.keep_origins(loaded.origins);
        Ok(loaded.project)
    }

    /// For commands that need containers only: reads no file where `-p` is given without `-f`, and follows
    /// `COMPOSE_PROJECT_NAME` where the files do not load.
    pub(crate) async fn target(&self, ui: &Ui) -> Result<Target, CommandError> {
        let global = self.global();
        if let (Some(name), true) = (&global.project_name, global.file.is_empty()) {
            return Ok(Target {
                name: name.to_lowercase(),
                project: None,
            });
        }
        // What exists may still have to be removed when the files ask for one name twice.
        let mut request = self.load_request();
        request.skip.push(Phase::ContainerNames);
        // An `env_file` that is gone must not keep anybody from looking (behaviours.md B043).
        request.skip.push(Phase::EnvironmentResolution);
        match (
            self.load_to_find(ui, request).await,
            self.variable("COMPOSE_PROJECT_NAME"),
        ) {
            (Ok(project), _) => Ok(Target {
                name: project.name.clone(),
                project: Some(project),
            }),
            (Err(_), Some(name)) => Ok(Target {
                name: name.to_lowercase(),
                project: None,
            }),
            (Err(error), None) => Err(error),
        }
    }

    /// For commands about one container of a service; an index of 0 is any.
    pub(crate) async fn container(
        &self,
        ui: &Ui,
        (service, index): (&str, u32),
        stopped: Stopped,
    ) -> Result<(Arc<dyn Engine>, Member), CommandError> {
        let project = self.project_name(ui).await?;
        let engine = self.engine().await?;
        let found = members(engine.as_ref(), &project, OneOffs::Include, stopped).await?;
        let index = Some(index).filter(|index| *index > 0);
        let container = choose(&found, service, index).map_err(CommandError::user)?;
        Ok((engine, container))
    }

    /// For commands that need the name only.
    pub(crate) async fn project_name(&self, ui: &Ui) -> Result<String, CommandError> {
        let given = self.global().project_name.as_deref();
        if let Some(name) = given.or_else(|| self.variable("COMPOSE_PROJECT_NAME")) {
            return Ok(name.to_lowercase());
        }
        let mut request = self.load_request();
        request.skip.push(Phase::EnvironmentResolution);
        Ok(self.load_to_find(ui, request).await?.name)
    }

    /// Whether names are joined by `_` as in old versions.
    pub(crate) fn is_compatible(&self) -> bool {
        self.global().compatibility || self.variable("COMPOSE_COMPATIBILITY").is_some_and(is_true)
    }
}
