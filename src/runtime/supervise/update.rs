//! Changing what a container is called and what it may use.

use std::sync::{Arc, PoisonError};

use bollard_stubs::models::{ContainerUpdateBody, HostConfig};
use tokio::task::block_in_place;

use super::container::Container;
use super::record::{read_json, write_json};
use super::validate::{check_memory, check_processors, check_restart};
use super::{Supervisor, name};
use crate::runtime::container::request::{ContainerRequest, Limits};
use crate::runtime::error::{RuntimeError, RuntimeResult};

macro_rules! take_over {
    ($host:ident, $wish:ident, $($field:ident),+) => {
        $( if $wish.$field.is_some() { $host.$field = $wish.$field.clone(); } )+
    };
}

impl Supervisor {
    /// Gives a container another name.
    ///
    /// # Errors
    /// When the name is bad, its own, or in use.
    pub async fn rename(&self, container: &Container, new: &str) -> RuntimeResult<()> {
        let _operation = container.operation.lock().await;
        if new.is_empty() || new == "/" {
            return Err(RuntimeError::invalid(
                "Neither old nor new names may be empty",
            ));
        }
        let new = name::check_name(new)?;
        let old = container.with(|record| record.name.clone());
        if old == new {
            return Err(RuntimeError::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        self.reserve_name(new, container.id())?;
        container.update(|record| new.clone_into(&mut record.name))?;
        self.free_name_of(&old, container.id());
        self.publish(container, "rename", [("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// Changes limits and restart policy; what is not named stays.
    ///
    /// # Errors
    /// When a value is refused.
    pub async fn update(
        self: &Arc<Self>,
        container: &Container,
        wish: &ContainerUpdateBody,
    ) -> RuntimeResult<Vec<String>> {
        let _operation = container.operation.lock().await;
        let mut host = container.with(|record| record.host_config.clone());
        merge_wish(&mut host, wish);
        check_memory(&host)?;
        check_processors(&host)?;
        check_restart(host.restart_policy.as_ref(), host.auto_remove == Some(true)).map_err(|error| {
            let text = error.chain().replace("can't create 'AutoRemove' container with restart policy", "Restart policy cannot be updated because AutoRemove is enabled for the container");
            RuntimeError::invalid(text)
        })?;
        let warnings = if container.status().is_alive() {
            block_in_place(|| self.apply_limits(container, wish))?
        } else {
            Vec::new()
        };
        container.update(|record| record.host_config = host)?;
        if wish.restart_policy.is_some() {
            *container
                .delay
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.publish(container, "update", []);
        Ok(warnings)
    }

    fn apply_limits(
        &self,
        container: &Container,
        wish: &ContainerUpdateBody,
    ) -> RuntimeResult<Vec<String>> {
        let failed = |source| {
            RuntimeError::internal(
                format!("cannot update container {}", container.id()),
                source,
            )
        };
        let mut request: ContainerRequest = read_json(&container.request_path()).map_err(failed)?;
        let changed = limits_of(wish);
        let warnings = self.cgroup(container).map_err(failed)?.apply(&changed);
        overlay(&mut request.cgroup.limits, changed);
        write_json(&container.request_path(), &request).map_err(failed)?;
        Ok(warnings)
    }
}

fn merge_wish(host: &mut HostConfig, wish: &ContainerUpdateBody) {
    take_over!(
        host,
        wish,
        cpu_shares,
        memory,
        blkio_weight,
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        memory_reservation,
        memory_swap,
        nano_cpus,
        pids_limit,
        restart_policy
    );
}

fn limits_of(wish: &ContainerUpdateBody) -> Limits {
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    let nano = set(wish.nano_cpus);
    Limits {
        memory: set(wish.memory),
        memory_swap: set(wish.memory_swap),
        memory_reservation: set(wish.memory_reservation),
        cpu_shares: set(wish.cpu_shares),
        cpu_quota: nano.map(|nano| nano / 10_000).or(set(wish.cpu_quota)),
        cpu_period: nano.map(|_| 100_000).or(set(wish.cpu_period)),
        cpuset_cpus: wish.cpuset_cpus.clone().filter(|set| !set.is_empty()),
        cpuset_mems: wish.cpuset_mems.clone().filter(|set| !set.is_empty()),
        pids: wish
            .pids_limit
            .map(|limit| if limit <= 0 { -1 } else { limit }),
        blkio_weight: wish.blkio_weight.filter(|weight| *weight != 0),
        ..Limits::default()
    }
}

fn overlay(limits: &mut Limits, changed: Limits) {
    macro_rules! put {
        ($($field:ident),+) => { $( if changed.$field.is_some() { limits.$field = changed.$field; } )+ };
    }
    put!(
        memory,
        memory_swap,
        memory_reservation,
        cpu_shares,
        cpu_quota,
        cpu_period,
        cpuset_cpus,
        cpuset_mems,
        pids,
        blkio_weight
    );
}
