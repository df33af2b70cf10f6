//! Mounts: the old `Binds` text where it suffices, else the mount API (behaviours.md B154-B156, B170).

use bollard_stubs::models::{
    Mount as EngineMount, MountBindOptions, MountImageOptions, MountTmpfsOptions, MountType,
    MountVolumeOptions,
};
use indexmap::IndexMap;

use super::{Request, ResolveError, list, map, text};
use crate::engine::ObservedContainer;
use crate::model::{BindOptions, FileReference, Mount, MountKind, VolumeOptions};

/// What the create call is told.
pub(super) struct Mounts {
    pub(super) binds: Vec<String>,
    pub(super) mounts: Vec<EngineMount>,
}

pub(super) fn mounts(request: &Request<'_>) -> Result<Mounts, ResolveError> {
    let mut found = Mounts {
        binds: Vec::new(),
        mounts: Vec::new(),
    };
    let inherited = inherited(request);
    for mount in &request.service.volumes {
        if mount.source.is_empty() && inherited.contains_key(&mount.target) {
            continue;
        }
        add(request, mount, &mut found)?;
    }
    found.mounts.extend(inherited.into_values());
    add_files(request, &mut found);
    if request.service.use_api_socket {
        found
            .binds
            .push("/var/run/docker.sock:/var/run/docker.sock:rw".to_owned());
    }
    Ok(found)
}

/// Anonymous volumes of the replaced container, by target: of the image, and of the service.
fn inherited(request: &Request<'_>) -> IndexMap<String, EngineMount> {
    let image = super::image_name(request.project, request.service, request.separator);
    let of_image = request
        .observed
        .images
        .get(&image)
        .map_or(&[][..], |image| &image.volumes);
    let anonymous = |target: &str| {
        request.service.volumes.iter().any(|mount| {
            mount.kind == MountKind::Volume && mount.source.is_empty() && mount.target == target
        })
    };
    let named = |target: &str| {
        request
            .service
            .volumes
            .iter()
            .any(|mount| mount.target == target && !mount.source.is_empty())
    };
    request
        .inherit
        .map_or(&[][..], |container: &ObservedContainer| &container.mounts)
        .iter()
        .filter(|mount| mount.typ.as_deref() == Some("volume"))
        .filter_map(|mount| {
            let target = mount.destination.clone()?;
            let from_image = of_image.contains(&target) && !named(&target);
            (from_image || anonymous(&target)).then(|| {
                let inherited = EngineMount {
                    typ: Some(MountType::VOLUME),
                    source: mount.name.clone(),
                    target: Some(target.clone()),
                    read_only: Some(mount.rw == Some(false)),
                    ..EngineMount::default()
                };
                (target, inherited)
            })
        })
        .collect()
}

fn add(request: &Request<'_>, mount: &Mount, found: &mut Mounts) -> Result<(), ResolveError> {
    match mount.kind {
        MountKind::Bind if !bind_needs_mount(mount.bind.as_ref()) => {
            found.binds.push(bind_text(&mount.source, mount));
        }
        MountKind::Volume => {
            let named = request.project.volumes.get(&mount.source);
            match named {
                Some(volume) if !volume_needs_mount(mount.volume.as_ref()) => {
                    found.binds.push(bind_text(&volume.name, mount));
                }
                Some(_) | None => {
                    let source = named.map_or(&mount.source, |volume| &volume.name);
                    found.mounts.push(engine_mount(mount, source));
                }
            }
        }
        MountKind::Image if request.api < (1, 48) => {
            return Err(ResolveError::EngineTooOld {
                service: request.service.name.clone(),
                needed: "1.48",
                what: "volumes of type `image`",
            });
        }
        MountKind::Bind
        | MountKind::Tmpfs
        | MountKind::Image
        | MountKind::Npipe
        | MountKind::Cluster => {
            found.mounts.push(engine_mount(mount, &mount.source));
        }
    }
    Ok(())
}

fn bind_needs_mount(options: Option<&BindOptions>) -> bool {
    options.is_some_and(|options| {
        options.create_host_path != Some(true)
            || !options.propagation.is_empty()
            || !options.recursive.is_empty()
    })
}

fn volume_needs_mount(options: Option<&VolumeOptions>) -> bool {
    options.is_some_and(|options| {
        !options.labels.is_empty() || options.nocopy || !options.subpath.is_empty()
    })
}

fn bind_text(source: &str, mount: &Mount) -> String {
    let access = if mount.read_only { "ro" } else { "rw" };
    let selinux = mount
        .bind
        .as_ref()
        .map_or("", |options| options.selinux.as_str());
    if selinux.is_empty() {
        format!("{source}:{}:{access}", mount.target)
    } else {
        format!("{source}:{}:{access},{selinux}", mount.target)
    }
}

fn engine_mount(mount: &Mount, source: &str) -> EngineMount {
    EngineMount {
        typ: Some(mount_type(mount.kind)),
        source: text(source),
        target: text(&mount.target),
        read_only: Some(mount.read_only),
        consistency: text(&mount.consistency),
        bind_options: mount.bind.as_ref().map(bind_options),
        volume_options: mount.volume.as_ref().map(volume_options),
        image_options: mount.image.as_ref().map(|options| MountImageOptions {
            subpath: text(&options.subpath),
        }),
        tmpfs_options: mount.tmpfs.as_ref().map(|options| MountTmpfsOptions {
            size_bytes: options.size.map(|size| size.0),
            mode: options.mode.map(i64::from),
            options: None,
        }),
    }
}

fn mount_type(kind: MountKind) -> MountType {
    match kind {
        MountKind::Bind => MountType::BIND,
        MountKind::Volume => MountType::VOLUME,
        MountKind::Tmpfs => MountType::TMPFS,
        MountKind::Image => MountType::IMAGE,
        MountKind::Npipe => MountType::NPIPE,
        MountKind::Cluster => MountType::CLUSTER,
    }
}

fn bind_options(options: &BindOptions) -> MountBindOptions {
    let is = |wanted: &str| (options.recursive == wanted).then_some(true);
    MountBindOptions {
        propagation: text(&options.propagation).and_then(|propagation| propagation.parse().ok()),
        create_mountpoint: options.create_host_path.filter(|create| *create),
        non_recursive: is("disabled"),
        read_only_non_recursive: is("writable"),
        read_only_force_recursive: is("readonly"),
    }
}

fn volume_options(options: &VolumeOptions) -> MountVolumeOptions {
    MountVolumeOptions {
        no_copy: options.nocopy.then_some(true),
        labels: map(&options.labels),
        subpath: text(&options.subpath),
        driver_config: None,
    }
}

/// Secrets and configs that are files of the host become read-only binds.
fn add_files(request: &Request<'_>, found: &mut Mounts) {
    for reference in &request.service.configs {
        let object = request.project.configs.get(&reference.source);
        if let Some(file) = object
            .map(|object| &object.file)
            .filter(|file| !file.is_empty())
        {
            found
                .binds
                .push(format!("{file}:{}:ro", config_target(reference)));
        }
    }
    for reference in &request.service.secrets {
        let object = request.project.secrets.get(&reference.source);
        if let Some(file) = object
            .map(|object| &object.file)
            .filter(|file| !file.is_empty())
        {
            found.mounts.push(EngineMount {
                typ: Some(MountType::BIND),
                source: text(file),
                target: Some(secret_target(reference)),
                read_only: Some(true),
                bind_options: Some(MountBindOptions::default()),
                ..EngineMount::default()
            });
        }
    }
    found.binds = list(&found.binds).unwrap_or_default();
}

/// Where a secret is found in the container.
pub(super) fn secret_target(reference: &FileReference) -> String {
    let target = if reference.target.is_empty() {
        &reference.source
    } else {
        &reference.target
    };
    if target.starts_with('/') {
        target.clone()
    } else {
        format!("/run/secrets/{target}")
    }
}

/// Where a config is found in the container.
pub(super) fn config_target(reference: &FileReference) -> String {
    let target = if reference.target.is_empty() {
        &reference.source
    } else {
        &reference.target
    };
    if target.starts_with('/') {
        target.clone()
    } else {
        format!("/{target}")
    }
}
