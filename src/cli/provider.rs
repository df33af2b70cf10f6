//! External providers of services, before the plan: what they answer becomes environment of the dependants
//! (behaviours.md B190).

use hoist::apply::run_provider;

use crate::cli::CommandError;
use crate::cli::reconcile::Session;

/// Runs the providers of a project in start order, and puts their variables into the services that depend on them.
pub(super) async fn provide<'a>(
    mut session: Session<'a>,
    verb: &'static str,
) -> Result<Session<'a>, CommandError> {
    let order: Vec<String> = session.graph.start_order().map(str::to_owned).collect();
    for name in order {
        let Some(service) = session
            .project
            .services
            .get(&name)
            .filter(|service| service.provider.is_some())
        else {
            continue;
        };
        let given = run_provider(&session.project, service, verb, |message| {
            session.ui.status(message);
        })
        .await
        .map_err(CommandError::user)?;
        let prefix = format!("{}_", name.to_uppercase().replace('-', "_"));
        for dependant in session.project.services.values_mut() {
            if !dependant.depends_on.contains_key(&name) {
                continue;
            }
            for (key, value) in &given.prefixed {
                dependant
                    .environment
                    .insert(format!("{prefix}{key}"), Some(value.clone()));
            }
            for (key, value) in &given.raw {
                let before = dependant
                    .environment
                    .insert(key.clone(), Some(value.clone()));
                if before.is_some_and(|before| before.as_ref() != Some(value)) {
                    session.ui.warn(format_args!(
                        "provider \"{name}\" overrides environment variable \"{key}\" of service \"{}\"",
                        dependant.name
                    ));
                }
            }
        }
    }
    Ok(session)
}
