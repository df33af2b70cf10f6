//! Making a container: check, resolve the image, merge, reserve the name, make volumes, write the record.
//!
//! Nothing is left when a step fails: the name is given back and the folder removed. Anonymous volumes made on the way
//! are removed too.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::Arc;

use bollard_stubs::models::{
    ContainerConfig, EndpointSettings, HostConfig, PortMap, VolumeCreateRequest,
};
use jiff::Timestamp;
use tokio::task::block_in_place;

use super::container::Container;
use super::mount::{WishedMount, wished_mounts};
use super::network::sctp_warning;
use super::record::{
    HealthRecord, Intent, Missing, MountRecord, MountType, Record, State, VolumeOwner,
};
use super::validate::{check_config, check_conflicts, check_host};
use super::{Supervisor, host, idmap, merge, name};
use crate::runtime::container::request::Access;
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::image::{Digest, ImageRecord, ImageSource, Pin};
use crate::runtime::network::has_sctp;

/// What a client asks for.
#[derive(Debug, Default)]
pub struct CreateRequest {
    /// Its name; without it one is made up.
    pub name: Option<String>,
    /// The platform that it must have.
    pub platform: Option<String>,
    /// The container's own part.
    pub config: ContainerConfig,
    /// The host's part.
    pub host_config: HostConfig,
    /// Wishes for networks, by name.
    pub endpoints: HashMap<String, EndpointSettings>,
}

/// What was made.
#[derive(Debug)]
pub struct CreatedContainer {
    /// Its id.
    pub id: String,
    /// What could not be honoured.
    pub warnings: Vec<String>,
}

impl Supervisor {
    /// Makes a container.
    ///
    /// # Errors
    /// What is wrong with the request, in Docker's words.
    pub fn create(self: &Arc<Self>, request: CreateRequest) -> RuntimeResult<CreatedContainer> {
        let name = match request.name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => name::check_name(name)?.to_owned(),
            None => self.free_name(),
        };
        check_config(&request.config)?;
        check_host(&request.host_config)?;
        self.oci_runtime(&request.host_config)?;
        check_conflicts(&request.config, &request.host_config)?;
        let reference = request.config.image.clone().unwrap_or_default();
        let (image, pin) = block_in_place(|| self.pinned_image(&reference))?;
        check_platform(request.platform.as_deref(), &image, &reference)?;
        let id = name::random_id();
        self.reserve_name(&name, &id)?;
        let made = self.build(&id, &name, &image, request);
        if made.is_err() {
            self.free_name_of(&name, &id);
            // The failure of the creation is what the client must hear.
            let _leftover = fs::remove_dir_all(self.layout().container(&id));
        }
        block_in_place(|| drop(pin));
        made
    }

    /// An image that counts as used until the container is recorded, whoever prunes meanwhile.
    fn pinned_image(&self, reference: &str) -> RuntimeResult<(ImageRecord, Pin)> {
        let pin = self.images().pin()?;
        let image = self.images().resolve(reference)?;
        let id = Digest::parse(&image.id).ok();
        if let Some(id) = id.filter(|_| image.source == ImageSource::Stored) {
            pin.take_image(&id)?;
        }
        Ok((image, pin))
    }

    fn build(
        self: &Arc<Self>,
        id: &str,
        name: &str,
        image: &ImageRecord,
        request: CreateRequest,
    ) -> RuntimeResult<CreatedContainer> {
        let CreateRequest {
            mut config,
            mut host_config,
            endpoints,
            ..
        } = request;
        merge::merge_image(&mut config, &image.config);
        merge::fill_defaults(&mut host_config);
        self.check_references(&host_config)?;
        self.remap_of(&host_config)?;
        fill_hostname(&mut config, &host_config, id);
        let mut warnings = Vec::new();
        drop_discarded_ports(&mut host_config, &mut warnings);
        warnings.extend(sctp_warning(&host_config, &config, has_sctp));
        warnings.extend(self.warn_of_user(&host_config));
        let inherited = self.inherited_mounts(&host_config)?;
        let wished = wished_mounts(&config, &host_config, inherited)?;
        let networks = self.wished_networks(&host_config, endpoints);
        let has_health = super::health::has_check(&config);
        let mut record = Record {
            id: id.to_owned(),
            name: name.to_owned(),
            created: Timestamp::now(),
            image: image.id.clone(),
            lower: self.images().lower_dirs(image),
            config,
            host_config,
            networks,
            mounts: Vec::new(),
            state: State::default(),
            restart_count: 0,
            intent: Intent::Run,
            health: has_health.then(HealthRecord::starting),
            ports: PortMap::new(),
        };
        if record.command().is_empty() {
            return Err(RuntimeError::invalid("no command specified"));
        }
        record.mounts = self.settle_mounts(wished)?;
        idmap::check(&record.config, &record.mounts)?;
        self.insert_new(record)?;
        Ok(CreatedContainer {
            id: id.to_owned(),
            warnings,
        })
    }

    fn insert_new(self: &Arc<Self>, record: Record) -> RuntimeResult<()> {
        let folder = self.layout().container(&record.id);
        let container = Container::new(record, folder);
        let made = block_in_place(|| {
            fs::create_dir(container.folder())?;
            fs::create_dir(container.upper())?;
            fs::create_dir(container.work())?;
            container.with(|record| record.save(container.folder()))
        });
        made.map_err(|source| {
            RuntimeError::internal("cannot make the container's folder", source)
        })?;
        let container = Arc::new(container);
        self.insert(Arc::clone(&container));
        self.publish(&container, "create", []);
        Ok(())
    }

    /// A name that nobody has.
    fn free_name(&self) -> String {
        loop {
            let name = name::random_name();
            if self.find(&name).is_none() {
                return name;
            }
        }
    }

    fn check_references(&self, host: &HostConfig) -> RuntimeResult<()> {
        let modes = [&host.pid_mode, &host.ipc_mode].into_iter().flatten();
        let peers = modes.filter_map(|mode| mode.strip_prefix("container:"));
        let links = host.links.iter().flatten();
        let linked = links.map(|link| link.split(':').next().unwrap_or(link));
        for reference in peers.chain(linked) {
            if self.find(reference).is_none() {
                return Err(RuntimeError::invalid(format!(
                    "No such container: {reference}"
                )));
            }
        }
        Ok(())
    }

    fn inherited_mounts(&self, host: &HostConfig) -> RuntimeResult<Vec<MountRecord>> {
        let mut mounts = Vec::new();
        for from in host.volumes_from.iter().flatten() {
            let (reference, mode) = from.split_once(':').unwrap_or((from, ""));
            if !matches!(mode, "" | "ro" | "rw" | "z" | "Z") {
                return Err(RuntimeError::invalid(format!(
                    "invalid mode for volumes-from: {mode}"
                )));
            }
            let Some(other) = self.find(reference) else {
                return Err(RuntimeError::invalid(format!(
                    "No such container: {reference}"
                )));
            };
            for mut mount in other.record().mounts {
                if mode == "ro" {
                    mount.access = Access::ReadOnly;
                }
                mount.owner = VolumeOwner::Named;
                mounts.push(mount);
            }
        }
        Ok(mounts)
    }

    /// The networks by their names, whichever way they were named.
    fn wished_networks(
        &self,
        host_config: &HostConfig,
        endpoints: HashMap<String, EndpointSettings>,
    ) -> BTreeMap<String, EndpointSettings> {
        let mode = host_config.network_mode.as_deref().unwrap_or("bridge");
        if mode.starts_with("container:") {
            return BTreeMap::new();
        }
        let named = |name: &str| match name {
            "default" => "bridge".to_owned(),
            name => self.network_name(name),
        };
        let mut networks: BTreeMap<_, _> = endpoints
            .into_iter()
            .map(|(name, wishes)| (named(&name), wishes))
            .collect();
        networks.entry(named(mode)).or_default();
        networks
    }

    /// Makes the volumes that are not there, and looks for the sources of binds.
    fn settle_mounts(
        self: &Arc<Self>,
        wished: Vec<WishedMount>,
    ) -> RuntimeResult<Vec<MountRecord>> {
        let mut settled: Vec<MountRecord> = Vec::new();
        for wish in wished {
            match self.settle_mount(wish) {
                Ok(mount) => settled.push(mount),
                Err(error) => {
                    self.drop_anonymous(&settled);
                    return Err(error);
                }
            }
        }
        settled.sort_by_key(|mount| mount.destination.matches('/').count());
        Ok(settled)
    }

    fn settle_mount(self: &Arc<Self>, wish: WishedMount) -> RuntimeResult<MountRecord> {
        let mut mount = wish.record.clone();
        match mount.kind {
            MountType::Bind => check_source(&mount)?,
            MountType::Volume => self.settle_volume(&mut mount, wish)?,
            MountType::Image => {
                let image = block_in_place(|| self.images().resolve(&mount.name))?;
                mount.source = self
                    .images()
                    .lower_dirs(&image)
                    .first()
                    .cloned()
                    .unwrap_or_default();
            }
            MountType::Tmpfs => {}
        }
        Ok(mount)
    }

    fn settle_volume(
        self: &Arc<Self>,
        mount: &mut MountRecord,
        wish: WishedMount,
    ) -> RuntimeResult<()> {
        let known = !mount.name.is_empty() && self.volumes().inspect(&mount.name).is_ok();
        let request = VolumeCreateRequest {
            name: Some(mount.name.clone()).filter(|name| !name.is_empty()),
            driver: wish.driver,
            driver_opts: Some(wish.driver_options),
            labels: Some(wish.labels),
            ..VolumeCreateRequest::default()
        };
        let volume = block_in_place(|| self.volumes().create(&request))?;
        mount.name = volume.name;
        mount.source = volume.mountpoint.into();
        if !known {
            self.publish_volume(&mount.name, "create", []);
        }
        Ok(())
    }
}

impl HealthRecord {
    /// The health of a container that starts.
    #[must_use]
    pub fn starting() -> Self {
        Self {
            status: super::record::HealthStatus::Starting,
            failing_streak: 0,
            log: Vec::new(),
        }
    }
}

fn check_source(mount: &MountRecord) -> RuntimeResult<()> {
    if mount.missing == Missing::Create || mount.source.exists() {
        return Ok(());
    }
    Err(RuntimeError::invalid(format!(
        "invalid mount config for type \"bind\": bind source path does not exist: {}",
        mount.source.display()
    )))
}

fn check_platform(wanted: Option<&str>, image: &ImageRecord, reference: &str) -> RuntimeResult<()> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return Ok(());
    };
    let mut parts = wanted.split('/');
    let os = parts.next().unwrap_or_default();
    let architecture = parts.next();
    let machine = |name: &str| match name {
        "x86_64" | "x86-64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        other => other.to_owned(),
    };
    let fits = (os == image.os || image.os.is_empty())
        && architecture.is_none_or(|name| {
            machine(name) == machine(&image.architecture) || image.architecture.is_empty()
        });
    if fits {
        return Ok(());
    }
    Err(RuntimeError::not_found(format!(
        "image with reference {reference} was found but does not provide the specified platform ({wanted})"
    )))
}

fn fill_hostname(config: &mut ContainerConfig, host_config: &HostConfig, id: &str) {
    if config
        .hostname
        .as_ref()
        .is_some_and(|name| !name.is_empty())
    {
        return;
    }
    let network = host_config.network_mode.as_deref().unwrap_or_default();
    let of_host = network == "host" || host_config.uts_mode.as_deref() == Some("host");
    config.hostname = Some(match of_host {
        true => host::node_name(),
        false if network.starts_with("container:") => String::new(),
        false => id[..12].to_owned(),
    });
}

fn drop_discarded_ports(host_config: &mut HostConfig, warnings: &mut Vec<String>) {
    let published = host_config
        .port_bindings
        .as_ref()
        .is_some_and(|ports| !ports.is_empty());
    if host_config.network_mode.as_deref() == Some("host") && published {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
}
