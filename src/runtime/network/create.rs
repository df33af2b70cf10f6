//! A request for a network turned into its record: everything checked and decided, nothing done yet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bollard_stubs::models::{IpamConfig, NetworkCreateRequest};

use super::error::NetworkError;
use super::ipam::{self, Taken};
use super::record::{Driver, NetworkRecord, Pool, PoolOrigin, is_true};
use super::subnet::{Family, Subnet};

/// What a new network gets that no request says.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Its id.
    pub(crate) id: String,
    /// The time of its making.
    pub(crate) created: String,
    /// The engine's part of unique local IPv6 addresses.
    pub(crate) site: [u8; 5],
}

/// Decides a network. `lender` is the config-only network that the request names, if it names one.
pub(crate) fn decide(
    request: &NetworkCreateRequest,
    origin: &Origin,
    taken: &Taken,
    lender: Option<&NetworkRecord>,
) -> Result<NetworkRecord, NetworkError> {
    let mut record = plain_record(request, origin)?;
    if let Some(lender) = lender {
        borrow(&mut record, request, lender)?;
    } else {
        record.pools = user_pools(request, taken)?;
    }
    if matches!(record.driver, Driver::Host | Driver::Null) || record.config_only {
        return Ok(record);
    }
    check_driver(&record)?;
    if lender.is_some() {
        for pool in &record.pools {
            ipam::check_overlap(&pool.subnet, taken)?;
        }
    }
    record.enable_ipv6 |= record.pool(Family::V6).is_some() && request.enable_ipv6.is_none();
    fill_pools(&mut record, origin.site, taken)?;
    Ok(record)
}

fn plain_record(
    request: &NetworkCreateRequest,
    origin: &Origin,
) -> Result<NetworkRecord, NetworkError> {
    let name = request
        .driver
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or("bridge");
    let driver = Driver::find(name)
        .ok_or_else(|| NetworkError::Invalid(format!("could not find a network driver named `{name}`: this engine has bridge, host, none, macvlan, ipvlan and overlay")))?;
    let options: BTreeMap<_, _> = request
        .options
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    let default_ipv6 = options
        .get("com.docker.network.enable_ipv6")
        .is_some_and(|v| is_true(v));
    let default_ipv4 = options
        .get("com.docker.network.enable_ipv4")
        .is_none_or(|value| is_true(value));
    Ok(NetworkRecord {
        id: origin.id.clone(),
        name: request.name.clone(),
        driver,
        created: origin.created.clone(),
        internal: request.internal.unwrap_or(false),
        attachable: request.attachable.unwrap_or(false),
        config_only: request.config_only.unwrap_or(false),
        config_from: None,
        enable_ipv4: request.enable_ipv4.unwrap_or(default_ipv4),
        enable_ipv6: request.enable_ipv6.unwrap_or(default_ipv6),
        options,
        labels: request.labels.clone().unwrap_or_default(),
        ipam_options: request.ipam.as_ref().and_then(|ipam| ipam.options.clone()),
        pools: Vec::new(),
    })
}

fn borrow(
    record: &mut NetworkRecord,
    request: &NetworkCreateRequest,
    lender: &NetworkRecord,
) -> Result<(), NetworkError> {
    if !lender.config_only {
        return Err(NetworkError::Forbidden(format!(
            "{} is not a configuration network and cannot be used as a config source",
            lender.name
        )));
    }
    let has_own = request
        .ipam
        .as_ref()
        .and_then(|ipam| ipam.config.as_ref())
        .is_some_and(|c| !c.is_empty());
    if has_own || !record.options.is_empty() {
        return Err(NetworkError::Forbidden(
            "user specified configurations are not supported if the network depends on a configuration network"
                .to_owned(),
        ));
    }
    record.config_from = Some(lender.name.clone());
    record.options.clone_from(&lender.options);
    record.pools.clone_from(&lender.pools);
    record.internal = lender.internal;
    record.enable_ipv4 = lender.enable_ipv4;
    record.enable_ipv6 = lender.enable_ipv6;
    Ok(())
}

fn check_driver(record: &NetworkRecord) -> Result<(), NetworkError> {
    if !record.enable_ipv4 && !record.enable_ipv6 {
        return Err(NetworkError::Invalid(
            "IPv4 or IPv6 must be enabled".to_owned(),
        ));
    }
    let bridge = record.bridge_name();
    if record.driver.has_bridge()
        && (bridge.is_empty() || bridge.len() > 15 || bridge.contains(['/', ' ']))
    {
        return Err(NetworkError::Invalid(format!(
            "invalid bridge name: {bridge}"
        )));
    }
    for key in ["com.docker.network.driver.mtu", "mtu"] {
        if let Some(text) = record.options.get(key)
            && text.parse::<u32>().is_err()
        {
            return Err(NetworkError::Invalid(format!(
                "invalid value for {key}: {text}"
            )));
        }
    }
    Ok(())
}

fn user_pools(request: &NetworkCreateRequest, taken: &Taken) -> Result<Vec<Pool>, NetworkError> {
    let configs = request
        .ipam
        .iter()
        .flat_map(|ipam| ipam.config.iter().flatten());
    let mut pools: Vec<Pool> = Vec::new();
    for config in configs {
        let Some(pool) = user_pool(config)? else {
            continue;
        };
        let mut taken = taken.clone();
        taken.networks.extend(pools.iter().map(|pool| pool.subnet));
        if !request.config_only.unwrap_or(false) {
            ipam::check_overlap(&pool.subnet, &taken)?;
        }
        pools.push(pool);
    }
    Ok(pools)
}

fn user_pool(config: &IpamConfig) -> Result<Option<Pool>, NetworkError> {
    let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    let Some(subnet) = text(&config.subnet) else {
        return match text(&config.gateway).or(text(&config.ip_range)) {
            Some(_) => Err(NetworkError::Invalid(
                "invalid network config:\ninvalid subnet : no subnet given with gateway or ip-range".to_owned(),
            )),
            None => Ok(None),
        };
    };
    let invalid = |text: String| NetworkError::Invalid(format!("invalid network config:\n{text}"));
    let subnet: Subnet = subnet
        .parse()
        .map_err(|error| invalid(format!("{error}")))?;
    let range = text(&config.ip_range)
        .map(|text| inside_range(&text, &subnet))
        .transpose()
        .map_err(&invalid)?;
    let gateway = text(&config.gateway)
        .map(|text| inside_address("gateway", &text, &subnet))
        .transpose()
        .map_err(&invalid)?;
    let mut reserved = BTreeMap::new();
    for (name, address) in config.auxiliary_addresses.iter().flatten() {
        let address = inside_address("auxiliary address", address, &subnet).map_err(&invalid)?;
        reserved.insert(name.clone(), address);
    }
    Ok(Some(Pool {
        subnet,
        range,
        gateway,
        reserved,
        origin: PoolOrigin::User,
    }))
}

fn inside_range(text: &str, subnet: &Subnet) -> Result<Subnet, String> {
    let range: Subnet = text
        .parse()
        .map_err(|_| format!("invalid ip-range {text}: invalid CIDR block notation"))?;
    if range.prefix() < subnet.prefix() || !subnet.overlaps(&range) {
        return Err(format!(
            "invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"
        ));
    }
    Ok(range)
}

fn inside_address(what: &str, text: &str, subnet: &Subnet) -> Result<IpAddr, String> {
    let plain = text.split('/').next().unwrap_or(text);
    let address: IpAddr = plain
        .parse()
        .map_err(|_| format!("invalid {what} {text}: invalid address"))?;
    if !subnet.contains(address) {
        return Err(format!(
            "invalid {what} {text}: parent subnet {subnet} doesn't contain this address"
        ));
    }
    Ok(address)
}

/// Gives each enabled family a block and each block a gateway.
pub(crate) fn fill_pools(
    record: &mut NetworkRecord,
    site: [u8; 5],
    taken: &Taken,
) -> Result<(), NetworkError> {
    let add = |record: &mut NetworkRecord, subnet| {
        record.pools.push(Pool {
            subnet,
            range: None,
            gateway: None,
            reserved: BTreeMap::new(),
            origin: PoolOrigin::Default,
        });
    };
    if record.enable_ipv4 && record.pool(Family::V4).is_none() {
        add(record, ipam::default_ipv4(taken)?);
    }
    if record.enable_ipv6 && record.pool(Family::V6).is_none() {
        add(record, ipam::default_ipv6(site, taken)?);
    }
    for pool in &mut record.pools {
        if pool.gateway.is_none() {
            pool.gateway = ipam::default_gateway(pool.subnet, &pool.reserved);
        }
    }
    Ok(())
}
