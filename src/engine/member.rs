//! The containers of a project as the engine lists them, with docker compose's labels read.
//!
//! Called by every command that acts on what exists, whether or not there is a Compose file. One list call; containers
//! without the label of the configuration's hash are nobody's (behaviours.md B127).

use bollard_stubs::models::{self, PortSummary};

use super::{ContainerFilter, Engine, EngineResult, label};

/// Whether containers made by `run` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneOffs {
    /// Only what `up` made.
    Exclude,
    /// Both.
    Include,
}

/// Whether containers that do not run count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Only what runs.
    Exclude,
    /// Both.
    Include,
}

/// A container of a project.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// What the engine's list says.
    pub summary: models::ContainerSummary,
}

impl Member {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> &str {
        self.summary.id.as_deref().unwrap_or_default()
    }

    /// Its name, without the leading slash; links give a container further names below other containers'.
    #[must_use]
    pub fn name(&self) -> &str {
        let names = self.summary.names.as_deref().unwrap_or_default();
        names
            .iter()
            .map(|name| name.strip_prefix('/').unwrap_or(name))
            .find(|name| !name.contains('/'))
            .unwrap_or_default()
    }

    /// Its name in logs: without the project where it is the default name (behaviours.md B214).
    #[must_use]
    pub fn log_name(&self) -> &str {
        let (name, project) = (self.name(), self.label(label::PROJECT));
        let number = self.label(label::CONTAINER_NUMBER);
        let rest = name
            .strip_prefix(project)
            .and_then(|rest| rest.strip_prefix(['-', '_']));
        match rest {
            Some(rest) if self.is_default_name(rest, number) => rest,
            _ => name,
        }
    }

    fn is_default_name(&self, rest: &str, number: &str) -> bool {
        rest.strip_prefix(self.service())
            .and_then(|rest| rest.strip_prefix(['-', '_']))
            .is_some_and(|rest| rest == number)
    }

    /// A label, or an empty text.
    #[must_use]
    pub fn label(&self, key: &str) -> &str {
        self.summary
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key))
            .map_or("", String::as_str)
    }

    /// The project it belongs to.
    #[must_use]
    pub fn project(&self) -> &str {
        self.label(label::PROJECT)
    }

    /// The service it belongs to.
    #[must_use]
    pub fn service(&self) -> &str {
        self.label(label::SERVICE)
    }

    /// Its number within the service; one-offs have none.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        self.label(label::CONTAINER_NUMBER).parse().ok()
    }

    /// Whether it was made by `run`.
    #[must_use]
    pub fn is_one_off(&self) -> bool {
        self.label(label::ONE_OFF) == "True"
    }

    /// `created`, `running`, `paused`, `restarting`, `exited`, `dead`, `removing`.
    #[must_use]
    pub fn state(&self) -> String {
        self.summary
            .state
            .map(|state| state.to_string())
            .unwrap_or_default()
    }

    /// The engine's sentence about its state: `Up 3 seconds (healthy)`.
    #[must_use]
    pub fn status(&self) -> &str {
        self.summary.status.as_deref().unwrap_or_default()
    }

    /// `healthy`, `unhealthy`, `starting`, or empty without a probe.
    #[must_use]
    pub fn health(&self) -> &'static str {
        health_of(self.status())
    }

    /// The exit code, where the engine's sentence says it.
    #[must_use]
    pub fn exit_code(&self) -> Option<i64> {
        exit_code_of(self.status())
    }

    /// Its ports.
    #[must_use]
    pub fn ports(&self) -> &[PortSummary] {
        self.summary.ports.as_deref().unwrap_or_default()
    }
}

/// Reads the health out of the status sentence, which every engine writes.
#[must_use]
pub fn health_of(status: &str) -> &'static str {
    if status.contains("(healthy)") {
        "healthy"
    } else if status.contains("(unhealthy)") {
        "unhealthy"
    } else if status.contains("(health: starting)") || status.contains("(starting)") {
        "starting"
    } else {
        ""
    }
}

/// Reads the exit code out of the status sentence: `Exited (3) 4 seconds ago`.
#[must_use]
pub fn exit_code_of(status: &str) -> Option<i64> {
    let rest = status
        .strip_prefix("Exited (")
        .or_else(|| status.strip_prefix("Restarting ("))?;
    rest.split_once(')')?.0.parse().ok()
}

/// Lists the containers of a project, sorted by name.
///
/// # Errors
/// Where the engine fails.
pub async fn members(
    engine: &dyn Engine,
    project: &str,
    one_offs: OneOffs,
    stopped: Stopped,
) -> EngineResult<Vec<Member>> {
    let mut labels = vec![
        format!("{}={project}", label::PROJECT),
        label::CONFIG_HASH.to_owned(),
    ];
    if one_offs == OneOffs::Exclude {
        labels.push(format!("{}=False", label::ONE_OFF));
    }
    list(engine, labels, stopped).await
}

/// Lists the containers of all projects.
///
/// # Errors
/// Where the engine fails.
pub async fn all_members(engine: &dyn Engine, stopped: Stopped) -> EngineResult<Vec<Member>> {
    let labels = vec![label::PROJECT.to_owned(), label::CONFIG_HASH.to_owned()];
    list(engine, labels, stopped).await
}

async fn list(
    engine: &dyn Engine,
    labels: Vec<String>,
    stopped: Stopped,
) -> EngineResult<Vec<Member>> {
    let filter = ContainerFilter {
        all: stopped == Stopped::Include,
        labels,
    };
    let mut found: Vec<_> = engine
        .list_containers(&filter)
        .await?
        .into_iter()
        .map(|summary| Member { summary })
        .collect();
    found.sort_by(|left, right| left.name().cmp(right.name()));
    Ok(found)
}

/// Why there is no container to act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// No container of the service runs.
    #[error("service \"{0}\" is not running")]
    NotRunning(String),
    /// That replica does not run.
    #[error("service \"{0}\" is not running container #{1}")]
    NoReplica(String, u32),
}

/// Chooses the container of a service that a command acts on (behaviours.md B254): the replica asked for, else the
/// lowest number, else a one-off.
///
/// # Errors
/// Where there is none.
pub fn choose(
    members: &[Member],
    service: &str,
    index: Option<u32>,
) -> Result<Member, ChooseError> {
    let of_service = members.iter().filter(|member| member.service() == service);
    if let Some(index) = index {
        return of_service
            .clone()
            .find(|member| !member.is_one_off() && member.number() == Some(index))
            .cloned()
            .ok_or_else(|| ChooseError::NoReplica(service.to_owned(), index));
    }
    of_service
        .min_by_key(|member| (member.is_one_off(), member.number()))
        .cloned()
        .ok_or_else(|| ChooseError::NotRunning(service.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{ChooseError, Member, choose, exit_code_of, health_of, label};
    use bollard_stubs::models::ContainerSummary;

    fn member(name: &str, number: &str, one_off: &str) -> Member {
        let labels = [
            (label::PROJECT, "p"),
            (label::SERVICE, "web"),
            (label::CONTAINER_NUMBER, number),
            (label::ONE_OFF, one_off),
        ];
        Member {
            summary: ContainerSummary {
                names: Some(vec![format!("/{name}")]),
                labels: Some(
                    labels
                        .iter()
                        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                        .collect(),
                ),
                ..ContainerSummary::default()
            },
        }
    }

    #[test]
    fn the_health_and_the_exit_code_are_read_from_the_status_sentence() {
        assert_eq!(health_of("Up 3 seconds (health: starting)"), "starting");
        assert_eq!(health_of("Up 3 seconds (healthy)"), "healthy");
        assert_eq!(health_of("Up 3 seconds (unhealthy)"), "unhealthy");
        assert_eq!(health_of("Exited (0) 3 seconds ago"), "");
        assert_eq!(exit_code_of("Exited (137) 3 seconds ago"), Some(137));
        assert_eq!(exit_code_of("Up 3 seconds"), None);
    }

    #[test]
    fn a_default_name_loses_its_project_in_logs_and_another_does_not() {
        assert_eq!(member("p-web-1", "1", "False").log_name(), "web-1");
        assert_eq!(member("p-web-9", "1", "False").log_name(), "p-web-9");
        assert_eq!(member("custom", "1", "False").log_name(), "custom");
    }

    #[test]
    fn the_lowest_replica_is_chosen_before_a_one_off() -> Result<(), ChooseError> {
        let members = [
            member("p-web-run-1", "", "True"),
            member("p-web-2", "2", "False"),
            member("p-web-1", "1", "False"),
        ];
        assert_eq!(choose(&members, "web", None)?.name(), "p-web-1");
        assert_eq!(choose(&members, "web", Some(2))?.name(), "p-web-2");
        assert_eq!(choose(&members[..1], "web", None)?.name(), "p-web-run-1");
        let missing = choose(&members, "web", Some(3)).map(|member| member.name().to_owned());
        assert_eq!(missing, Err(ChooseError::NoReplica("web".to_owned(), 3)));
        Ok(())
    }
}
