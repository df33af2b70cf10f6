//! Limits, reservations and devices; `deploy` wins over the older attributes (behaviours.md B164).

use bollard_stubs::models::{
    DeviceMapping, DeviceRequest, HostConfig, ResourcesBlkioWeightDevice, ResourcesUlimits,
    ThrottleDevice,
};

use super::{list, map, text};
use crate::model::{self, BlkioLimit, ResourceLimits, Service, Ulimit};

pub(super) fn limits(service: &Service) -> HostConfig {
    let resources = service.deploy.as_ref().map(|deploy| &deploy.resources);
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let reservations = resources.and_then(|resources| resources.reservations.as_ref());
    let blkio = service.blkio_config.clone().unwrap_or_default();
    HostConfig {
        cpu_shares: service.cpu_shares,
        memory: limit(limits, |limits| limits.memory.map(|size| size.0))
            .or(service.mem_limit.map(|size| size.0)),
        cgroup_parent: text(&service.cgroup_parent),
        blkio_weight: blkio.weight,
        blkio_weight_device: list(&weights(&blkio)),
        blkio_device_read_bps: throttles(&blkio.device_read_bps),
        blkio_device_write_bps: throttles(&blkio.device_write_bps),
        blkio_device_read_iops: throttles(&blkio.device_read_iops),
        blkio_device_write_iops: throttles(&blkio.device_write_iops),
        cpu_period: service.cpu_period,
        cpu_quota: service.cpu_quota,
        cpu_realtime_period: service.cpu_rt_period,
        cpu_realtime_runtime: service.cpu_rt_runtime,
        cpuset_cpus: text(&service.cpuset),
        devices: list(&devices(service)),
        device_cgroup_rules: list(&service.device_cgroup_rules),
        device_requests: list(&device_requests(service, reservations)),
        memory_reservation: limit(reservations, |limits| limits.memory.map(|size| size.0))
            .or(service.mem_reservation.map(|size| size.0)),
        memory_swap: service.memswap_limit.map(|size| size.0),
        memory_swappiness: service.mem_swappiness.map(|size| size.0),
        nano_cpus: nano_cpus(service, limits),
        oom_kill_disable: service.oom_kill_disable.then_some(true),
        pids_limit: limit(limits, |limits| limits.pids)
            .or(service.pids_limit)
            .filter(|limit| *limit != 0),
        ulimits: list(&ulimits(service)),
        cpu_count: service.cpu_count,
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the engine takes whole percents"
        )]
        cpu_percent: service.cpu_percent.map(|percent| percent as i64),
        ..HostConfig::default()
    }
}

fn limit<T>(
    limits: Option<&ResourceLimits>,
    pick: impl Fn(&ResourceLimits) -> Option<T>,
) -> Option<T> {
    limits.and_then(pick)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "billionths of a processor fit"
)]
fn nano_cpus(service: &Service, limits: Option<&ResourceLimits>) -> Option<i64> {
    limits
        .and_then(|limits| limits.cpus.parse::<f64>().ok())
        .or(service.cpus)
        .filter(|cpus| *cpus > 0.0)
        .map(|cpus| (cpus * 1e9).round() as i64)
}

fn weights(blkio: &model::BlkioConfig) -> Vec<ResourcesBlkioWeightDevice> {
    blkio
        .weight_device
        .iter()
        .map(|device| ResourcesBlkioWeightDevice {
            path: text(&device.path),
            weight: Some(usize::from(device.weight)),
        })
        .collect()
}

fn throttles(limits: &[BlkioLimit]) -> Option<Vec<ThrottleDevice>> {
    let throttles: Vec<_> = limits
        .iter()
        .map(|limit| ThrottleDevice {
            path: text(&limit.path),
            rate: Some(limit.rate.0),
        })
        .collect();
    list(&throttles)
}

/// Names of CDI devices look like `vendor.com/class=name`.
fn is_cdi(source: &str) -> bool {
    !source.starts_with('/') && source.contains('=')
}

fn devices(service: &Service) -> Vec<DeviceMapping> {
    service
        .devices
        .iter()
        .filter(|device| !is_cdi(&device.source))
        .map(|device| DeviceMapping {
            path_on_host: text(&device.source),
            path_in_container: text(&device.target),
            cgroup_permissions: text(&device.permissions),
        })
        .collect()
}

fn device_requests(service: &Service, reservations: Option<&ResourceLimits>) -> Vec<DeviceRequest> {
    let reserved = reservations
        .map_or(&[][..], |limits| &limits.devices)
        .iter()
        .map(device_request);
    let cdi = service
        .devices
        .iter()
        .filter(|device| is_cdi(&device.source))
        .map(|device| DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(vec![device.source.clone()]),
            ..DeviceRequest::default()
        });
    let gpus = service.gpus.iter().map(|gpu| {
        let mut request = device_request(gpu);
        let capabilities = request.capabilities.get_or_insert_with(|| vec![Vec::new()]);
        if let Some(first) = capabilities.first_mut()
            && !first.iter().any(|capability| capability == "gpu")
        {
            first.push("gpu".to_owned());
        }
        request
    });
    reserved.chain(cdi).chain(gpus).collect()
}

fn device_request(device: &model::DeviceRequest) -> DeviceRequest {
    DeviceRequest {
        driver: text(&device.driver),
        count: device.count,
        device_ids: list(&device.device_ids),
        capabilities: (!device.capabilities.is_empty()).then(|| vec![device.capabilities.clone()]),
        options: map(&device.options),
    }
}

fn ulimits(service: &Service) -> Vec<ResourcesUlimits> {
    service
        .ulimits
        .iter()
        .map(|(name, ulimit)| {
            let (soft, hard) = match ulimit {
                Ulimit::Single(limit) => (*limit, *limit),
                Ulimit::Range { soft, hard } => (*soft, *hard),
            };
            ResourcesUlimits {
                name: Some(name.clone()),
                soft: Some(soft),
                hard: Some(hard),
            }
        })
        .collect()
}
