//! A subnet that the engine chose gives way: what the host came to use meanwhile (another engine, a VPN) keeps it.

use super::{NetworkService, State, taken, users};
use crate::runtime::network::create;
use crate::runtime::network::error::NetworkError;
use crate::runtime::network::link;
use crate::runtime::network::record::{NetworkRecord, PoolOrigin};
use crate::runtime::network::store;

impl NetworkService {
    /// Chooses the subnets of a network anew that does not stand yet, has no members, and overlaps with a route of the
    /// host. A subnet of the user's stays as it is.
    pub(super) fn yield_subnet(&self, state: &mut State, id: &str) -> Result<(), NetworkError> {
        let Some(record) = state.networks.get(id) else {
            return Ok(());
        };
        let may_move = record.driver.has_bridge()
            && !state.standing.contains_key(id)
            && record
                .pools
                .iter()
                .all(|pool| pool.origin == PoolOrigin::Default)
            && users(state, record).is_empty();
        if !may_move || is_there(record)? {
            return Ok(());
        }
        let mut taken = taken(state)?;
        let overlaps = record.pools.iter().any(|pool| {
            taken
                .routes
                .iter()
                .any(|route| route.overlaps(&pool.subnet))
        });
        if !overlaps {
            return Ok(());
        }
        let mut moved = record.clone();
        // Its own subnets are taken by the host now; those of the other networks stay theirs.
        taken
            .networks
            .retain(|subnet| moved.pools.iter().all(|pool| pool.subnet != *subnet));
        moved.pools.clear();
        create::fill_pools(&mut moved, self.site(), &taken)?;
        store::write(&self.record_path(id), &moved)?;
        state.networks.insert(id.to_owned(), moved);
        Ok(())
    }
}

/// The bridge may stand from before the engine's last start.
fn is_there(record: &NetworkRecord) -> Result<bool, NetworkError> {
    let name = record.bridge_name();
    let index = link::index_of(&name).map_err(NetworkError::kernel(format!("find `{name}`")))?;
    Ok(index.is_some())
}
