//! The hashes that docker compose writes into labels, bit for bit (behaviours.md B131, B150).
//!
//! They are taken over the text that Go's JSON encoder makes of a resource: fields in the order of the model, keys of
//! maps sorted (the loader sorts them), `<`, `>` and `&` escaped.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Mount, Network, Service, Volume, form};

/// Attributes of hoist's own that change a container; a service without them has the hash that docker compose gives it.
const OWN_ATTRIBUTES: [&str; 3] = [
    "x-hoist-health",
    "x-hoist-on-unhealthy",
    "x-hoist-time-offset",
];

/// The owners of one bind.
const OWNER_MAP: &str = "x-hoist-idmap";

/// Returns the configuration hash of a service: build, scale, dependencies, profiles and pull policy do not count.
#[must_use]
pub fn config_hash(service: &Service) -> String {
    let mut bare = Service {
        build: None,
        pull_policy: String::new(),
        scale: None,
        depends_on: indexmap::IndexMap::new(),
        profiles: Vec::new(),
        ..service.clone()
    };
    if let Some(deploy) = &mut bare.deploy {
        deploy.replicas = None;
    }
    let own: Vec<_> = OWN_ATTRIBUTES
        .iter()
        .filter_map(|name| Some((name, service.extensions.get(*name)?)))
        .collect();
    let maps: Vec<_> = service.volumes.iter().filter_map(owner_map).collect();
    match (own.is_empty(), maps.is_empty()) {
        (true, true) => digest(&bare),
        (false, true) => digest(&(&bare, own)),
        (_, false) => digest(&(&bare, own, maps)),
    }
}

/// Which owners a bind maps; no other attribute of ours on a mount changes a container.
fn owner_map(mount: &Mount) -> Option<(&str, &serde_json::Value)> {
    let inner = mount.bind.as_ref().map(|bind| &bind.extensions);
    let wish = mount
        .extensions
        .get(OWNER_MAP)
        .or_else(|| inner?.get(OWNER_MAP))?;
    Some((&mount.target, wish))
}

/// Returns the configuration hash of a network.
#[must_use]
pub fn network_hash(network: &Network) -> String {
    digest(network)
}

/// Returns the configuration hash of a volume; without a driver it is `local`.
#[must_use]
pub fn volume_hash(volume: &Volume) -> String {
    if volume.driver.is_empty() {
        return digest(&Volume {
            driver: "local".to_owned(),
            ..volume.clone()
        });
    }
    digest(volume)
}

fn digest(value: &impl Serialize) -> String {
    hex::encode(Sha256::digest(form::compact_json(value)))
}
