//! The Compose file as data, in its canonical form only.
//!
//! Owns: the types that `load` produces and that `graph`, `plan` and the commands read. Everything here is fully
//! resolved: short forms are expanded, paths are absolute, variables are substituted. The order of the fields is the
//! order in which docker compose prints them, because the config hash is taken over that text (behaviours.md B131).
//!
//! Never: does I/O, knows YAML, knows an engine.

mod build;
mod deploy;
mod file_object;
mod form;
mod hash;
mod healthcheck;
mod hook;
mod mount;
mod network;
mod on_change;
mod port;
mod project;
mod service;
mod value;
mod volume;

pub use build::{Build, BuildSecret, Ulimit};
pub use deploy::{
    Deploy, DeviceRequest, GenericResource, Placement, PlacementPreference, ResourceLimits,
    Resources, RestartPolicy, UpdateConfig,
};
pub use file_object::{FileObject, FileReference};
pub use form::{as_yaml, float_text, to_json};
pub use hash::{config_hash, network_hash, volume_hash};
pub use healthcheck::Healthcheck;
pub use hook::{Develop, Hook, WatchExec, WatchRule};
pub use mount::{BindOptions, ImageMountOptions, Mount, MountKind, TmpfsOptions, VolumeOptions};
pub use network::{AttachedNetwork, Ipam, IpamPool, Network};
pub use on_change::{ContentMark, ON_CHANGE, OnChange};
pub use port::Port;
pub use project::Project;
pub use service::{
    BlkioConfig, BlkioLimit, BlkioWeight, CredentialSpec, Dependency, DependencyCondition,
    DeviceMapping, EnvFile, Logging, Model, Provider, Service, ServiceModel,
};
pub use value::{ByteSize, Duration, Environment, Labels, Mapping};
pub use volume::Volume;
