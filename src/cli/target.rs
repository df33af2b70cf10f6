//! Which project a command acts on: from the files, or from its name alone (behaviours.md B024-B027).

use hoist::engine::member::Member;
use hoist::model::Project;

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
    /// Checks that services named on the command line exist: in the model, or, where none was read, as containers.
    pub(crate) fn check_services(
        &self,
        services: &[String],
        members: &[Member],
    ) -> Result<(), CommandError> {
        let unknown = services.iter().find(|service| match &self.project {
            Some(project) => project.find_service(service).is_none(),
            None => !members.iter().any(|member| member.service() == **service),
        });
        match unknown {
            Some(service) => Err(CommandError::user(format!("no such service: {service}"))),
            None => Ok(()),
        }
    }
}

impl Context {
    /// For commands that need containers only: reads no file where `-p` is given without `-f`.
    pub(crate) async fn target(&self, ui: &Ui) -> Result<Target, CommandError> {
        let global = self.global();
        if let (Some(name), true) = (&global.project_name, global.file.is_empty()) {
            return Ok(Target {
                name: name.to_lowercase(),
                project: None,
            });
        }
        Ok(Target {
            name: self.project_name(ui).await?,
            project: None,
        })
    }

    /// For commands that need the name only.
    pub(crate) async fn project_name(&self, _: &Ui) -> Result<String, CommandError> {
        let name = self.global().project_name.as_deref();
        name.or_else(|| self.variable("COMPOSE_PROJECT_NAME"))
            .map(str::to_lowercase)
            .ok_or_else(|| CommandError::user("no configuration file provided: not found"))
    }
}
