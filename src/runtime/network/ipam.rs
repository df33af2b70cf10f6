//! Address management: which block a network gets, and which address a container. Pure: whoever calls brings what is
//! taken.
//!
//! Default blocks come in Docker's order (172.17-31.0.0/16, then 192.168.0.0/16 in steps of /20); after those, /24
//! blocks of 10.128.0.0/9, so that a machine does not run out at its 31st network.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::NetworkError;
use super::record::{NetworkRecord, Pool, PoolOrigin};
use super::subnet::{Family, Subnet};

/// Blocks that are in use already.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    /// Blocks of networks of this engine.
    pub(crate) networks: Vec<Subnet>,
    /// Blocks that the host routes elsewhere.
    pub(crate) routes: Vec<Subnet>,
}

impl Taken {
    fn is_free(&self, block: &Subnet) -> bool {
        !self
            .networks
            .iter()
            .chain(&self.routes)
            .any(|taken| taken.overlaps(block))
    }
}

/// The first free default block of IPv4.
pub(crate) fn default_ipv4(taken: &Taken) -> Result<Subnet, NetworkError> {
    default_blocks()
        .find(|block| taken.is_free(block))
        .ok_or_else(|| {
            NetworkError::Forbidden(
                "all predefined address pools have been fully subnetted".to_owned(),
            )
        })
}

fn default_blocks() -> impl Iterator<Item = Subnet> {
    let private = |a, b, prefix| Subnet::around(IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), prefix);
    (17..=31)
        .map(move |second| private(172, second, 16))
        .chain(private(192, 168, 16).split(20))
        .chain(private(10, 128, 9).split(24))
}

/// The first free block of IPv6 below the engine's own /48.
pub(crate) fn default_ipv6(site: [u8; 5], taken: &Taken) -> Result<Subnet, NetworkError> {
    let [first, rest @ ..] = site.map(u16::from);
    let (second, third) = (rest[0] << 8 | rest[1], rest[2] << 8 | rest[3]);
    let base = Ipv6Addr::new(0xfd00 | first, second, third, 0, 0, 0, 0, 0);
    Subnet::around(IpAddr::V6(base), 48)
        .split(64)
        .find(|block| taken.is_free(block))
        .ok_or_else(|| {
            NetworkError::Forbidden("all IPv6 blocks of this engine are in use".to_owned())
        })
}

/// Refuses a block of the user's that a network of this engine has already.
pub(crate) fn check_overlap(block: &Subnet, taken: &Taken) -> Result<(), NetworkError> {
    if taken.networks.iter().any(|other| other.overlaps(block)) {
        return Err(NetworkError::Forbidden(
            "invalid pool request: Pool overlaps with other one on this address space".to_owned(),
        ));
    }
    Ok(())
}

/// The address of a new endpoint in one pool.
pub(crate) fn allocate(
    network: &NetworkRecord,
    pool: &Pool,
    wish: Option<IpAddr>,
    used: &HashSet<IpAddr>,
) -> Result<IpAddr, NetworkError> {
    if let Some(address) = wish {
        check_wish(network, pool, address)?;
        let taken = used.contains(&address) || pool.gateway == Some(address);
        return if taken {
            Err(NetworkError::AddressInUse)
        } else {
            Ok(address)
        };
    }
    first_free(pool, used).ok_or_else(|| NetworkError::Exhausted {
        family: pool.subnet.family().name(),
        network: format!("{} ({})", network.name, &network.id[..12]),
    })
}

fn check_wish(network: &NetworkRecord, pool: &Pool, address: IpAddr) -> Result<(), NetworkError> {
    if network.is_predefined() {
        return Err(NetworkError::Invalid(
            "user specified IP address is supported on user defined networks only".to_owned(),
        ));
    }
    if pool.origin == PoolOrigin::Default {
        return Err(NetworkError::Invalid(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
                .to_owned(),
        ));
    }
    if !pool.subnet.is_usable(address) {
        return Err(NetworkError::Invalid(format!(
            "invalid config for network {}: invalid endpoint settings: no configured subnet contains IP address {address}",
            network.name
        )));
    }
    Ok(())
}

/// The lowest free address. A block as large as IPv6's is never walked further than what is used in it.
fn first_free(pool: &Pool, used: &HashSet<IpAddr>) -> Option<IpAddr> {
    let range = pool.range.unwrap_or(pool.subnet);
    (0..)
        .map_while(|distance| range.nth(distance))
        .filter(|address| pool.subnet.is_usable(*address))
        .find(|address| {
            !used.contains(address)
                && pool.gateway != Some(*address)
                && !pool.reserved.values().any(|reserved| reserved == address)
        })
}

/// The gateway where none is named: the first usable address that is not reserved.
pub(crate) fn default_gateway(
    subnet: Subnet,
    reserved: &std::collections::BTreeMap<String, IpAddr>,
) -> Option<IpAddr> {
    let first = u128::from(subnet.family().bits() - subnet.prefix() > 1);
    (first..first + 256)
        .map_while(|distance| subnet.nth(distance))
        .find(|address| !reserved.values().any(|taken| taken == address))
}

/// The hardware address that an IPv4 address implies: stable, so that neighbours' caches stay right over restarts.
pub(crate) fn hardware_address(ipv4: Option<Ipv4Addr>, random: [u8; 4]) -> [u8; 6] {
    let [a, b, c, d] = ipv4.map_or(random, |address| address.octets());
    [0x02, 0x42, a, b, c, d]
}

/// The family that a static address of a request belongs to must be enabled on the network.
pub(crate) fn pool_for(network: &NetworkRecord, family: Family) -> Option<&Pool> {
    let enabled = match family {
        Family::V4 => network.enable_ipv4,
        Family::V6 => network.enable_ipv6,
    };
    network.pool(family).filter(|_| enabled)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;
    use crate::runtime::network::record::Driver;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn network(subnet: &str) -> Result<NetworkRecord, Box<dyn std::error::Error>> {
        let subnet: Subnet = subnet.parse()?;
        Ok(NetworkRecord {
            id: "0".repeat(64),
            name: "net".to_owned(),
            driver: Driver::Bridge,
            created: String::new(),
            internal: false,
            attachable: false,
            config_only: false,
            config_from: None,
            enable_ipv4: true,
            enable_ipv6: false,
            options: BTreeMap::new(),
            labels: HashMap::new(),
            ipam_options: None,
            pools: vec![Pool {
                subnet,
                range: None,
                gateway: default_gateway(subnet, &BTreeMap::new()),
                reserved: BTreeMap::new(),
                origin: PoolOrigin::User,
            }],
        })
    }

    #[test]
    fn default_blocks_never_run_out_at_31() -> TestResult {
        let mut taken = Taken::default();
        for _ in 0..200 {
            let block = default_ipv4(&taken)?;
            taken.networks.push(block);
        }
        assert_eq!(taken.networks[0].to_string(), "172.17.0.0/16");
        assert_eq!(taken.networks[15].to_string(), "192.168.0.0/20");
        assert_eq!(taken.networks[31].to_string(), "10.128.0.0/24");
        Ok(())
    }

    #[test]
    fn default_blocks_avoid_routes_of_the_host() -> TestResult {
        let taken = Taken {
            networks: Vec::new(),
            routes: vec!["172.16.0.0/12".parse()?],
        };
        assert_eq!(default_ipv4(&taken)?.to_string(), "192.168.0.0/20");
        Ok(())
    }

    #[test]
    fn addresses_are_given_lowest_first_and_run_out() -> TestResult {
        let network = network("10.9.0.0/29")?;
        let mut used = HashSet::new();
        for last in 2..7 {
            let address = allocate(&network, &network.pools[0], None, &used)?;
            assert_eq!(address.to_string(), format!("10.9.0.{last}"));
            used.insert(address);
        }
        let error = allocate(&network, &network.pools[0], None, &used);
        assert!(error.is_err_and(|error| error.to_string().contains("no available")));
        Ok(())
    }

    #[test]
    fn range_gateway_and_reserved_addresses_are_obeyed() -> TestResult {
        let mut network = network("10.9.0.0/24")?;
        network.pools[0].range = Some("10.9.0.128/25".parse()?);
        network.pools[0]
            .reserved
            .insert("x".to_owned(), "10.9.0.128".parse()?);
        let address = allocate(&network, &network.pools[0], None, &HashSet::new())?;
        assert_eq!(address.to_string(), "10.9.0.129");
        Ok(())
    }

    #[test]
    fn a_static_address_is_had_once_and_inside_only() -> TestResult {
        let network = network("10.9.0.0/24")?;
        let wish: IpAddr = "10.9.0.42".parse()?;
        let pool = &network.pools[0];
        assert_eq!(allocate(&network, pool, Some(wish), &HashSet::new())?, wish);
        let twice = allocate(&network, pool, Some(wish), &HashSet::from([wish]));
        assert!(twice.is_err_and(|error| error.to_string() == "Address already in use"));
        let outside = allocate(&network, pool, Some("192.0.2.5".parse()?), &HashSet::new());
        assert!(outside.is_err_and(|error| error.to_string().contains("no configured subnet")));
        Ok(())
    }

    #[test]
    fn hardware_address_follows_the_address() {
        assert_eq!(
            hardware_address(Some(Ipv4Addr::new(172, 17, 0, 2)), [0; 4]),
            [0x02, 0x42, 172, 17, 0, 2]
        );
    }
}
