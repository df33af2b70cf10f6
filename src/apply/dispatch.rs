//! From an action to its engine call.

use super::scheduler::Run;
use super::{ApplyError, Status, build, copy, hook, image, provider, rolling, wait};
use bollard_stubs::models::IpamConfig;

use crate::engine::spec::Subnet;
use crate::engine::{ContainerSpec, EngineErrorKind, EngineResult, NetworkSpec, RemoveContainer};
use crate::plan::{Action, ContainerRef, CreateContainer, NodeId, Shown};

/// Whether an action has told its end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It has.
    Yes,
    /// The usual word is still to be said.
    No,
}

pub(super) async fn dispatch(run: &Run, id: NodeId, action: &Action) -> Result<Told, ApplyError> {
    let engine = &run.engine;
    match action {
        Action::PullImage {
            image, platform, ..
        } => return image::pull(run, image, platform).await,
        Action::BuildImage(request) => build::build(run, request).await?,
        Action::RemoveImage { image } => return remove_image(run, image).await,
        Action::CreateNetwork(spec) => create_network(run, spec).await?,
        Action::RemoveNetwork { id, name, .. } => return remove_network(run, id, name).await,
        Action::ConnectNetwork {
            network,
            container,
            endpoint,
        } => {
            let container = run.id(container)?;
            let connected = engine.connect_network(network, &container, (**endpoint).clone());
            tolerate_attached(connected.await)?;
        }
        Action::DisconnectNetwork { network, container } => {
            tolerate_missing(
                engine
                    .disconnect_network(network, &run.id(container)?)
                    .await,
            )?;
        }
        Action::CreateVolume(spec) => engine.create_volume(spec).await?,
        Action::RemoveVolume {
            name,
            shown: Shown::Yes,
        } => return remove_volume(run, name).await,
        // A step of something larger, which must not go on with the volume still there.
        Action::RemoveVolume { name, .. } => tolerate_missing(engine.remove_volume(name).await)?,
        Action::CopyVolume(request) => copy::copy(run, request).await?,
        Action::CreateContainer(create) => create_container(run, id, create).await?,
        Action::RenameContainer { container, name } => {
            engine.rename_container(&run.id(container)?, name).await?;
        }
        Action::RollingUpdate(update) => rolling::update(run, id, update).await?,
        Action::PreStart(request) => hook::pre_start(run, request).await?,
        Action::StartContainer {
            service,
            container,
            files,
        } => {
            start_container(run, service, container, files).await?;
        }
        Action::StopContainer {
            container, timeout, ..
        } => {
            tolerate_missing(engine.stop_container(&run.id(container)?, *timeout).await)?;
        }
        Action::SignalContainer {
            container,
            files,
            signal,
            ..
        } => {
            let id = run.id(container)?;
            if !files.is_empty() {
                engine.put_files(&id, files).await?;
            }
            engine.kill_container(&id, signal).await?;
        }
        Action::RestartContainer { container, timeout } => {
            engine
                .restart_container(&run.id(container)?, *timeout)
                .await?;
        }
        Action::RemoveContainer {
            container,
            volumes,
            force,
            ..
        } => {
            let how = RemoveContainer {
                force: *force,
                volumes: *volumes,
            };
            tolerate_missing(engine.remove_container(&run.id(container)?, how).await)?;
        }
        Action::RunHook {
            service,
            container,
            kind,
            hook,
        } => {
            hook::run_in_container(run, service, container, (*kind, hook)).await?;
        }
        Action::Wait(wait) => wait::wait(run, wait).await?,
        Action::Provide { service, verb } => provide(run, service, verb).await?,
    }
    Ok(Told::No)
}

async fn create_network(run: &Run, spec: &NetworkSpec) -> Result<(), ApplyError> {
    let made = tolerate_conflict(run.engine.create_network(spec).await)?;
    let (Some(id), Subnet::Settled) = (made, spec.subnet) else {
        return Ok(());
    };
    let chosen = run.engine.inspect_network(&id).await?.ipam;
    let pools = chosen.and_then(|ipam| ipam.config).unwrap_or_default();
    let mut settled = spec.clone();
    let ipam = settled.body.ipam.get_or_insert_default();
    ipam.config = Some(
        pools
            .into_iter()
            .map(|pool| IpamConfig {
                subnet: pool.subnet,
                gateway: pool.gateway,
                ..IpamConfig::default()
            })
            .collect(),
    );
    run.engine.remove_network(&id).await?;
    // Where someone else took the subnet meanwhile, any other will do.
    if run.engine.create_network(&settled).await.is_err() {
        tolerate_conflict(run.engine.create_network(spec).await)?;
    }
    Ok(())
}

/// Someone else was faster: what was wanted is there (behaviours.md B152).
fn tolerate_conflict<T>(result: EngineResult<T>) -> EngineResult<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == EngineErrorKind::Conflict => Ok(None),
        Err(error) => Err(error),
    }
}

/// A container that is attached already is where it should be; engines agree on no status for it.
fn tolerate_attached(result: EngineResult<()>) -> EngineResult<()> {
    match result {
        Err(error) if error.source.to_string().contains("already") => Ok(()),
        other => other,
    }
}

fn tolerate_missing(result: EngineResult<()>) -> EngineResult<()> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

async fn create_container(
    run: &Run,
    id: NodeId,
    create: &CreateContainer,
) -> Result<(), ApplyError> {
    let mut spec = create.complete(|container| run.find_id(container));
    inline_seccomp(&mut spec).await?;
    let (container, warnings) = run.engine.create_container(&spec).await?;
    run.remember(id, &create.display, container);
    for warning in warnings {
        run.tell_resource(&create.service, Status::Warning, &warning, "");
    }
    Ok(())
}

/// A seccomp profile is named by a file of the host and travels as text (behaviours.md B162).
pub(super) async fn inline_seccomp(spec: &mut ContainerSpec) -> Result<(), ApplyError> {
    let options = spec
        .body
        .host_config
        .as_mut()
        .and_then(|host| host.security_opt.as_mut());
    for option in options.into_iter().flatten() {
        let Some(path) = option
            .strip_prefix("seccomp=")
            .filter(|path| !is_profile_word(path))
        else {
            continue;
        };
        let text =
            tokio::fs::read_to_string(path)
                .await
                .map_err(|source| ApplyError::ReadFile {
                    path: path.to_owned(),
                    source,
                })?;
        let compact = serde_json::from_str::<serde_json::Value>(&text)
            .map_or(text, |value| value.to_string());
        *option = format!("seccomp={compact}");
    }
    Ok(())
}

fn is_profile_word(value: &str) -> bool {
    matches!(value, "unconfined" | "builtin") || value.trim_start().starts_with('{')
}

async fn start_container(
    run: &Run,
    service: &str,
    container: &ContainerRef,
    files: &[crate::engine::spec::FileSpec],
) -> Result<(), ApplyError> {
    let id = run.id(container)?;
    if !files.is_empty() {
        run.engine.put_files(&id, files).await?;
    }
    if let Some(watcher) = &run.options.watcher {
        watcher.before_start(service, &id, container.name()).await;
    }
    run.engine.start_container(&id).await?;
    Ok(())
}

async fn remove_network(run: &Run, id: &str, name: &str) -> Result<Told, ApplyError> {
    let resource = format!("Network {name}");
    let in_use = run.engine.inspect_network(id).await.is_ok_and(|network| {
        network
            .containers
            .is_some_and(|containers| !containers.is_empty())
    });
    if in_use {
        run.tell_resource(&resource, Status::Warning, "Resource is still in use", "");
        return Ok(Told::Yes);
    }
    match run.engine.remove_network(id).await {
        Ok(()) => Ok(Told::No),
        Err(error) if error.is_not_found() => {
            run.tell_resource(
                &resource,
                Status::Warning,
                "No resource found to remove",
                "",
            );
            Ok(Told::Yes)
        }
        Err(error) if error.kind == EngineErrorKind::Conflict || is_in_use(&error) => {
            run.tell_resource(&resource, Status::Warning, "Resource is still in use", "");
            Ok(Told::Yes)
        }
        Err(error) => Err(error.into()),
    }
}

/// dockerd answers 403 for a network in use; only its words tell.
fn is_in_use(error: &crate::engine::EngineError) -> bool {
    error.source.to_string().contains("has active endpoints")
}

async fn remove_volume(run: &Run, name: &str) -> Result<Told, ApplyError> {
    let resource = format!("Volume {name}");
    match run.engine.remove_volume(name).await {
        Ok(()) => Ok(Told::No),
        Err(error) if error.is_not_found() => {
            run.tell_resource(&resource, Status::Done, "Removed", "");
            Ok(Told::Yes)
        }
        Err(error) if error.kind == EngineErrorKind::Conflict => {
            run.tell_resource(&resource, Status::Warning, "Resource is still in use", "");
            Ok(Told::Yes)
        }
        Err(error) => Err(error.into()),
    }
}

async fn remove_image(run: &Run, image: &str) -> Result<Told, ApplyError> {
    let resource = format!("Image {image}");
    match run.engine.remove_image(image).await {
        Ok(()) => Ok(Told::No),
        Err(error) if error.is_not_found() => {
            run.tell_resource(&resource, Status::Warning, "No such image", "");
            Ok(Told::Yes)
        }
        Err(error) if error.kind == EngineErrorKind::Conflict => {
            run.tell_resource(&resource, Status::Warning, "Resource is still in use", "");
            Ok(Told::Yes)
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells an external provider; what it gives to dependants was taken before the plan.
async fn provide(run: &Run, service: &str, verb: &str) -> Result<(), ApplyError> {
    let Some(service) = run.options.model.services.get(service) else {
        return Ok(());
    };
    let say = |message: &str| run.tell(super::ApplyEvent::Warning(message.to_owned()));
    provider::run_provider(&run.options.model, service, verb, say).await?;
    Ok(())
}
