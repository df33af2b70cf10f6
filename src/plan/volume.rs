//! Volumes: missing ones are made; changed ones only with the user's consent (behaviours.md B147-B151),
//! or with their data taken along.

use bollard_stubs::models::VolumeCreateRequest;

use super::migrate::{self, Rest};
use super::resolve::volume_labels;
use super::{Action, Cause, Decision, NodeId, PlanError, Planner, Shown, VolumeChange, hash};
use crate::engine::{ObservedVolume, VolumeSpec, label};
use crate::model::{Project, Volume};

pub(super) fn plan_volumes(planner: &mut Planner<'_>) -> Result<(), PlanError> {
    let project = planner.project;
    for (key, volume) in &project.volumes {
        let rest = migrate::rest(planner, volume);
        match planner.observed.volumes.get(&volume.name) {
            None if volume.external => {
                return Err(PlanError::ExternalVolumeMissing {
                    name: volume.name.clone(),
                });
            }
            Some(_) if volume.external => {}
            None if matches!(rest, Rest::Whole) => migrate::resume(planner, key, volume),
            None => create(planner, key, volume, Cause::Missing, &[]),
            Some(observed) => compare(planner, (key, volume), observed, &rest),
        }
    }
    Ok(())
}

fn compare(
    planner: &mut Planner<'_>,
    (key, volume): (&str, &Volume),
    observed: &ObservedVolume,
    rest: &Rest,
) {
    let find = |name: &str| observed.labels.get(name).map_or("", String::as_str);
    let owner = find(label::PROJECT);
    if owner != planner.project.name {
        let text = if owner.is_empty() {
            format!(
                "volume \"{}\" already exists but was not created by Docker Compose. Use `external: true` to use an existing volume",
                volume.name
            )
        } else {
            format!(
                "volume \"{}\" already exists but was created for project \"{owner}\" (expected \"{}\"). Use `external: true` to use an existing volume",
                volume.name, planner.project.name
            )
        };
        return planner.notice(text);
    }
    if matches!(rest, Rest::Whole) {
        return migrate::resume(planner, key, volume);
    }
    let discarded = matches!(rest, Rest::Part).then(|| migrate::discard(planner, volume));
    let seen = find(label::CONFIG_HASH);
    if seen.is_empty() || seen == hash::volume_hash(volume) {
        return;
    }
    if planner.options.volume_change == VolumeChange::Migrate {
        migrate::migrate(planner, key, volume, discarded);
    } else if planner.options.volumes_to_recreate.contains(&volume.name) {
        recreate(planner, key, volume);
    } else {
        planner.plan.decisions.push(Decision::RecreateVolume {
            volume: volume.name.clone(),
            changes: Vec::new(),
        });
    }
}

/// The engine's body of a volume.
pub(super) fn volume_spec(project: &Project, key: &str, volume: &Volume) -> VolumeSpec {
    let labels = volume_labels(project, key, &volume.labels, &hash::volume_hash(volume));
    VolumeSpec {
        body: VolumeCreateRequest {
            name: Some(volume.name.clone()),
            driver: (!volume.driver.is_empty()).then(|| volume.driver.clone()),
            driver_opts: (!volume.driver_opts.is_empty())
                .then(|| volume.driver_opts.clone().into_iter().collect()),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        },
    }
}

fn create(planner: &mut Planner<'_>, key: &str, volume: &Volume, cause: Cause, after: &[NodeId]) {
    let spec = volume_spec(planner.project, key, volume);
    let node = planner
        .plan
        .add(Action::CreateVolume(Box::new(spec)), cause, after);
    planner.volumes.insert(volume.name.clone(), node);
}

/// Removes the containers that use a volume, then makes it again.
fn recreate(planner: &mut Planner<'_>, key: &str, volume: &Volume) {
    let because = Cause::VolumeRecreated {
        volume: volume.name.clone(),
    };
    let users = migrate::free(planner, &volume.name, &because);
    let gone = migrate::evict(planner, users, &because, &[]);
    let remove = Action::RemoveVolume {
        name: volume.name.clone(),
        shown: Shown::Yes,
    };
    let removed = planner.plan.add(
        remove,
        Cause::ConfigChanged {
            changes: Vec::new(),
        },
        &gone,
    );
    let cause = Cause::ConfigChanged {
        changes: Vec::new(),
    };
    create(planner, key, volume, cause, &[removed]);
    planner.recreated_volumes.insert(volume.name.clone());
}
