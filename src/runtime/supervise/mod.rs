//! Keeps containers as they should be: restarts, health, exits.
//!
//! The [`Supervisor`] is the built-in engine without its API: it owns the containers' records and joins keeper, images,
//! volumes and networks. Called by `api` (each route is one call) and by `cli::engine`.
//!
//! ```text
//! create -> start -> (exit watcher: notices of the keeper) -> exit: release, record, policy -> restart | remove
//!              |                                                        ^
//!              +-> health probes (exec)              engine started again: adopt
//! ```

mod adopt;
mod build;
mod container;
mod counted;
mod create;
pub mod delivered;
pub mod event;
mod exec;
mod exit;
mod failure;
mod files;
mod forward;
mod health;
pub mod host;
mod idmap;
pub mod log;
mod merge;
pub mod mount;
mod name;
mod network;
mod order;
mod probe;
mod process;
mod propagation;
mod prune;
pub mod record;
mod remap;
mod remove;
pub mod restart;
mod runtime;
mod shutdown;
mod signal;
mod start;
pub mod status;
mod stop;
mod unprivileged;
mod update;
pub mod usage;
mod validate;
mod wait;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

pub use build::Credentials;
pub use container::{Container, Pulse};
pub use create::{CreateRequest, CreatedContainer};
pub use event::EventLog;
pub use exec::{Exec, ExecState, ExecStreams};
pub use files::{Change, ChangeKind, Overwriting, PathStat, PutRequest};
pub use merge::merge_image;
pub use prune::Pruned;
pub use remove::{AnonymousVolumes, Force};
pub use shutdown::{ClientPresent, Presence, Shutdown, Stay};
pub use signal::parse_signal;
pub use stop::StopRequest;
pub use wait::WaitCondition;

use super::container::cgroup::CgroupHost;
use super::error::{RuntimeError, RuntimeResult};
use super::image::{ImageStore, ImageUse, UseState};
use super::keeper::{FailureKind, KeeperClient, KeeperPaths, Revival};
use super::layout::{Layout, Privilege};
use super::network::{NetworkPaths, NetworkService, WayOut};
use super::registry::{Registries, RegistrySettings};
use super::rootless::{self, Outlet};
use super::volume::{VolumeStore, VolumeUse};
use record::MountType;
use remap::Remap;
use status::Status;

/// How many objects there are, for `/info`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Running containers.
    pub running: usize,
    /// Paused containers.
    pub paused: usize,
    /// All other containers.
    pub stopped: usize,
    /// Images.
    pub images: usize,
}

/// What goes on without the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing: the keeper has gone too.
    Nothing,
    /// Containers, with their keeper.
    Containers,
}

/// How long the keeper may take to see the last processes go.
const LAST_PROCESSES: Duration = Duration::from_secs(5);

/// The containers by id, and their names.
#[derive(Debug, Default)]
struct Registry {
    by_id: BTreeMap<String, Arc<Container>>,
    names: HashMap<String, String>,
}

/// The built-in engine.
#[derive(Debug)]
pub struct Supervisor {
    layout: Layout,
    keeper: KeeperClient,
    revival: Option<Revival>,
    remap: Remap,
    outlet: Outlet,
    told_outlet: AtomicBool,
    images: ImageStore,
    volumes: VolumeStore,
    registries: Registries,
    networks: NetworkService,
    events: EventLog,
    presence: Arc<Presence>,
    shutdown: watch::Sender<Shutdown>,
    registry: RwLock<Registry>,
    execs: Mutex<HashMap<String, Arc<Exec>>>,
    watching: tokio::sync::Mutex<exit::Watching>,
}

impl Supervisor {
    /// An engine on a layout whose lock the caller holds. Nothing is adopted yet. With a revival, the keeper starts the
    /// engine again when it is killed.
    ///
    /// # Errors
    /// When a store cannot be opened.
    pub fn open(layout: Layout, revival: Option<Revival>) -> RuntimeResult<Arc<Self>> {
        let outlet = match layout.privilege() {
            Privilege::Rootful => Outlet::Host,
            Privilege::Rootless => Self::settle(&layout)?,
        };
        let images = ImageStore::open(layout.root())?;
        let volumes = VolumeStore::open(layout.root())?;
        let remap = Remap::read(layout.privilege())?;
        let registries = Registries::new(RegistrySettings::read()?)?;
        let networks = NetworkService::open(NetworkPaths {
            state: layout.networks(),
            run: layout.run().to_owned(),
            instance: layout.instance().to_owned(),
            way_out: match outlet {
                Outlet::Host => WayOut::Host,
                Outlet::Pasta => WayOut::Routes,
                Outlet::Relay(_) => WayOut::Relay,
            },
        })?;
        Ok(Arc::new(Self {
            keeper: KeeperClient::new(KeeperPaths::new(layout.run())),
            revival,
            remap,
            layout,
            outlet,
            told_outlet: AtomicBool::new(false),
            images,
            volumes,
            registries,
            networks,
            events: EventLog::default(),
            presence: Arc::default(),
            shutdown: watch::channel(Shutdown::Serving).0,
            registry: RwLock::default(),
            execs: Mutex::default(),
            watching: tokio::sync::Mutex::default(),
        }))
    }

    /// What an ordinary user's engine needs before anything else: its own group, and a network for its bridges.
    fn settle(layout: &Layout) -> RuntimeResult<Outlet> {
        let settled = CgroupHost::probe().and_then(|host| host.enter_leaf());
        if let Err(error) = settled {
            tracing::warn!(%error, "cannot use the control group that is delegated to this user");
        }
        rootless::stand_on_ground(layout)
    }

    /// Its folders.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its images.
    #[must_use]
    pub fn images(&self) -> &ImageStore {
        &self.images
    }

    /// Its volumes.
    #[must_use]
    pub fn volumes(&self) -> &VolumeStore {
        &self.volumes
    }

    /// Its way to registries.
    #[must_use]
    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    /// Its networks.
    #[must_use]
    pub fn networks(&self) -> &NetworkService {
        &self.networks
    }

    /// The keeper of its containers.
    #[must_use]
    pub fn keeper(&self) -> &KeeperClient {
        &self.keeper
    }

    /// What happens in it.
    #[must_use]
    pub fn events(&self) -> &EventLog {
        &self.events
    }

    /// All containers, the newest first.
    #[must_use]
    pub fn containers(&self) -> Vec<Arc<Container>> {
        let mut all: Vec<_> = self.read().by_id.values().cloned().collect();
        all.sort_by_key(|container| std::cmp::Reverse(container.with(|record| record.created)));
        all
    }

    /// A container by id, name, or unambiguous prefix of its id.
    #[must_use]
    pub fn find(&self, reference: &str) -> Option<Arc<Container>> {
        self.container(reference).ok()
    }

    /// The same, with Docker's refusal.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn container(&self, reference: &str) -> RuntimeResult<Arc<Container>> {
        let registry = self.read();
        let bare = reference.strip_prefix('/').unwrap_or(reference);
        if let Some(found) = registry.by_id.get(bare) {
            return Ok(Arc::clone(found));
        }
        let named = registry
            .names
            .get(bare)
            .and_then(|id| registry.by_id.get(id));
        if let Some(found) = named {
            return Ok(Arc::clone(found));
        }
        let unknown = || RuntimeError::not_found(format!("No such container: {reference}"));
        if bare.is_empty() {
            return Err(unknown());
        }
        let mut fitting = registry
            .by_id
            .range(bare.to_owned()..)
            .take_while(|(id, _)| id.starts_with(bare));
        match (fitting.next(), fitting.next()) {
            (Some((_, found)), None) => Ok(Arc::clone(found)),
            (Some(_), Some(_)) => Err(RuntimeError::invalid(format!(
                "multiple IDs found with provided prefix: {reference}"
            ))),
            (None, _) => Err(unknown()),
        }
    }

    /// How many objects there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for container in self.read().by_id.values() {
            match container.status() {
                Status::Paused => counts.paused += 1,
                Status::Running | Status::Restarting => counts.running += 1,
                Status::Created | Status::Exited | Status::Removing | Status::Dead => {
                    counts.stopped += 1;
                }
            }
        }
        counts
    }

    /// Which container uses which image: as its root, or by a mount.
    #[must_use]
    pub fn image_uses(&self) -> Vec<ImageUse> {
        let mut uses = Vec::new();
        let mut mounted = Vec::new();
        for container in self.read().by_id.values() {
            container.with(|record| {
                let by = |image: String| ImageUse {
                    container: record.id.clone(),
                    image,
                    state: if record.state.status.is_running() {
                        UseState::Running
                    } else {
                        UseState::Stopped
                    },
                };
                uses.push(by(record.image.clone()));
                let mounts = record.mounts.iter();
                let images = mounts.filter(|mount| mount.kind == MountType::Image);
                mounted.extend(images.map(|mount| (by(String::new()), mount.source.clone())));
            });
        }
        for (by, source) in mounted {
            let images = self.images().images_with_top(&source);
            uses.extend(images.into_iter().map(|id| ImageUse {
                image: id.to_string(),
                ..by.clone()
            }));
        }
        uses
    }

    /// Which container has which volume.
    #[must_use]
    pub fn volume_uses(&self) -> Vec<VolumeUse> {
        let registry = self.read();
        let mut uses = Vec::new();
        for container in registry.by_id.values() {
            container.with(|record| {
                let volumes = record
                    .mounts
                    .iter()
                    .filter(|mount| mount.kind == MountType::Volume);
                uses.extend(volumes.map(|mount| VolumeUse {
                    container: record.id.clone(),
                    volume: mount.name.clone(),
                }));
            });
        }
        uses
    }

    /// Tells what happened to a container.
    pub fn publish<const N: usize>(
        &self,
        container: &Container,
        action: impl Into<String>,
        more: [(&str, String); N],
    ) {
        let mut attributes = container.with(|record| {
            let mut attributes: BTreeMap<String, String> = record
                .config
                .labels
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect();
            attributes.insert(
                "image".to_owned(),
                record.config.image.clone().unwrap_or_default(),
            );
            attributes.insert("name".to_owned(), record.name.clone());
            attributes
        });
        attributes.extend(more.map(|(key, value)| (key.to_owned(), value)));
        self.events
            .publish("container", action, container.id(), attributes);
    }

    /// Tells what happened to a volume.
    pub fn publish_volume<const N: usize>(
        &self,
        name: &str,
        action: &str,
        more: [(&str, String); N],
    ) {
        let mut attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
        attributes.extend(more.map(|(key, value)| (key.to_owned(), value)));
        self.events.publish("volume", action, name, attributes);
    }

    /// Marks a client as present; while one is, the engine does not go for idleness.
    #[must_use]
    pub fn client_present(&self) -> ClientPresent {
        self.presence.enter()
    }

    /// Changes how long the engine stays when nothing runs and nobody asks.
    pub fn set_stay(&self, stay: Stay) {
        self.presence.set_stay(stay);
    }

    /// A watch on the end.
    #[must_use]
    pub fn shutdown(&self) -> watch::Receiver<Shutdown> {
        self.shutdown.subscribe()
    }

    /// Asks the engine to go.
    pub fn request_shutdown(&self) {
        self.shutdown.send_replace(Shutdown::Requested);
    }

    /// Returns when nothing has run and nobody has asked for the grace time.
    pub async fn idle(&self) {
        let mut changes = self.presence.changes();
        loop {
            changes.mark_unchanged();
            let counts = self.counts();
            let quiet = self.presence.clients() == 0 && counts.running + counts.paused == 0;
            let grace = self.presence.stay().grace(self.containers().len());
            let patience = if quiet { grace } else { Duration::MAX };
            let changed = tokio::time::timeout(patience, changes.changed()).await;
            if changed.is_err() {
                return;
            }
        }
    }

    /// Leaves the machine as it should be without this engine: with nothing running, no keeper, link or rule stays.
    ///
    /// # Errors
    /// When something could not be taken away.
    pub async fn leave(&self) -> RuntimeResult<Left> {
        let counts = self.counts();
        if counts.running + counts.paused > 0 {
            self.keeper.dismiss().await?;
            return Ok(Left::Containers);
        }
        self.networks.shut_down()?;
        if self.layout.privilege() == Privilege::Rootless {
            rootless::leave_ground(&self.layout);
        }
        self.stop_keeper().await?;
        if let Ok(host) = CgroupHost::probe() {
            host.remove_parent(&self.cgroup_parent());
        }
        Ok(Left::Nothing)
    }

    /// The keeper stays while the last processes of an exec or the cgroup of a container that has ended are going.
    async fn stop_keeper(&self) -> RuntimeResult<()> {
        let end = tokio::time::Instant::now() + LAST_PROCESSES;
        loop {
            match self.keeper.stop().await {
                Err(error)
                    if error.kind() == Some(FailureKind::AlreadyRunning)
                        && tokio::time::Instant::now() < end =>
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                stopped => return Ok(stopped?),
            }
        }
    }

    fn insert(&self, container: Arc<Container>) {
        let mut registry = self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let (id, name) = container.with(|record| (record.id.clone(), record.name.clone()));
        registry.names.insert(name, id.clone());
        registry.by_id.insert(id, container);
    }

    fn forget(&self, container: &Container) {
        let mut registry = self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let name = container.with(|record| record.name.clone());
        if registry
            .names
            .get(&name)
            .is_some_and(|id| id == container.id())
        {
            registry.names.remove(&name);
        }
        registry.by_id.remove(container.id());
    }

    fn reserve_name(&self, name: &str, id: &str) -> RuntimeResult<()> {
        let mut registry = self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = registry.names.get(name) {
            return Err(RuntimeError::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
            )));
        }
        registry.names.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    fn free_name_of(&self, name: &str, id: &str) {
        let mut registry = self
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if registry.names.get(name).is_some_and(|holder| holder == id) {
            registry.names.remove(name);
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }
}
