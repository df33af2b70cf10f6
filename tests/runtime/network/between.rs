//! Networks that reach beyond one host: macvlan and overlay.

use super::*;
use crate::common::env::TestEnvironment;
use crate::common::has_root;

/// A pair of links with addresses where wanted; the second one in another namespace where one is given.
pub(super) fn make_pair(
    names: [&str; 2],
    address: Option<Ipv4Addr>,
    other: Option<&File>,
) -> TestResult {
    let mut peer = LinkMessage::default();
    peer.attributes
        .push(LinkAttribute::IfName(names[1].to_owned()));
    peer.attributes
        .extend(other.map(|file| LinkAttribute::NetNsFd(file.as_raw_fd())));
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::IfName(names[0].to_owned()));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    request(&route_socket()?, RouteNetlinkMessage::NewLink(message))?;
    set_up(names[0], address)?;
    if other.is_none() {
        set_up(names[1], None)
    } else {
        Ok(())
    }
}

pub(super) fn set_up(name: &str, address: Option<Ipv4Addr>) -> TestResult {
    let socket = route_socket()?;
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    request(&socket, RouteNetlinkMessage::SetLink(message))?;
    let Some(address) = address else {
        return Ok(());
    };
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 24;
    message.header.index = rustix::net::netdevice::name_to_index(
        rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::DGRAM,
            None,
        )?,
        name,
    )?;
    message
        .attributes
        .push(AddressAttribute::Local(address.into()));
    request(&socket, RouteNetlinkMessage::NewAddress(message))
}

#[test]
fn macvlan_members_share_a_parent_that_is_kept() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        make_pair(["parent", "wire"], None, None)?;
        for driver in ["macvlan", "ipvlan"] {
            let parent = HashMap::from([("parent".to_owned(), "parent".to_owned())]);
            bench.service.create(&NetworkCreateRequest {
                name: driver.to_owned(),
                driver: Some(driver.to_owned()),
                options: Some(parent),
                ..NetworkCreateRequest::default()
            })?;
            let a = match bench.join(&format!("{driver}-a"), driver) {
                Ok(a) => a,
                Err(error) => {
                    skip("networks", &format!("{driver} in the kernel ({error})"));
                    continue;
                }
            };
            let b = bench.join(&format!("{driver}-b"), driver)?;
            b.greet(80, "vlan")?;
            assert_eq!(a.hears(b.ip()?, 80)?.as_deref(), Some("vlan"), "{driver}");
            assert_eq!(
                a.look_up(&format!("{driver}-b."), RecordType::A)?,
                [b.ip()?.to_string()]
            );
            bench.service.release(&format!("{driver}-a"))?;
            bench.service.release(&format!("{driver}-b"))?;
            bench.service.remove(driver)?;
        }
        assert!(links()?.contains(&"parent".to_owned()));
        Ok(())
    })
}

/// One side of a network of two hosts: the other's address, and the part of the subnet that it gives out.
fn shared(bench: &Bench, driver: &str, peer: Ipv4Addr, range: &str) -> TestResult {
    let mut options = HashMap::from([("hoist.peers".to_owned(), peer.to_string())]);
    if driver == "macvlan" {
        options.insert("parent".to_owned(), "wan0".to_owned());
    }
    bench.service.create(&NetworkCreateRequest {
        name: "wide".to_owned(),
        driver: Some(driver.to_owned()),
        options: Some(options),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some("10.98.0.0/24".to_owned()),
                ip_range: Some(range.to_owned()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        ..NetworkCreateRequest::default()
    })?;
    Ok(())
}

#[test]
fn an_overlay_carries_packets_and_names_from_host_to_host() -> TestResult {
    from_host_to_host("overlay")
}

#[test]
fn a_macvlan_carries_packets_and_names_from_host_to_host() -> TestResult {
    from_host_to_host("macvlan")
}

fn from_host_to_host(driver: &str) -> TestResult {
    let (here, there) = (Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::new(10, 99, 0, 2));
    on_own_host(|| {
        let (namespace, far_namespace) = std::sync::mpsc::channel::<File>();
        let (linked, is_linked) = std::sync::mpsc::channel::<()>();
        let (address, far_address) = std::sync::mpsc::channel::<Ipv4Addr>();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| -> TestResult {
            let far = scope.spawn(move || {
                netns::inside_new(move || -> TestResult {
                    make_host()?;
                    namespace.send(File::open("/proc/thread-self/ns/net")?)?;
                    is_linked.recv()?;
                    set_up("wan0", Some(there))?;
                    let bench = Bench::new()?;
                    shared(&bench, driver, here, "10.98.0.128/25")?;
                    let far = bench.join("far", "wide")?;
                    far.greet(80, "over")?;
                    address.send(far.ip()?)?;
                    let _ = is_done.recv(); // ends with the other side, however that ends
                    Ok(())
                })?
            });
            let near = || -> TestResult {
                make_pair(["wan0", "wan0"], Some(here), Some(&far_namespace.recv()?))?;
                linked.send(())?;
                let bench = Bench::new()?;
                shared(&bench, driver, there, "10.98.0.0/25")?;
                let near = bench.join("near", "wide")?;
                let far = far_address.recv()?;
                assert_eq!(near.hears(far, 80)?.as_deref(), Some("over"));
                // Names of the other host, and of neither.
                for name in ["far.", "FAR.", "far.wide."] {
                    let found = near.look_up(name, RecordType::A)?;
                    assert_eq!(found, [far.to_string()], "{name}");
                }
                for name in ["near.", "nobody."] {
                    let found = near.look_up(name, RecordType::A)?;
                    assert_eq!(found.is_empty(), name != "near.", "{name}");
                }
                let plain = bench.network("plain")?;
                let other = bench.join("other", &plain)?;
                assert!(other.look_up("far.", RecordType::A)?.is_empty());
                Ok(())
            };
            let outcome = near();
            drop((done, linked));
            outcome.and(
                far.join()
                    .unwrap_or_else(|_| Err("the far host panicked".into())),
            )
        })
    })
}

#[test]
fn an_encrypted_overlay_is_refused_with_the_way_out() -> TestResult {
    if !has_root("an_encrypted_overlay_is_refused_with_the_way_out") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    let project = |option: &str| {
        "services: {app: {image: 'rootfs:/', command: [sleep, '1000'], stop_signal: KILL, networks: [wide]}}\n\
         networks: {wide: {driver: overlay, driver_opts: {encrypted: 'OPTION'}}}\n"
            .replace("OPTION", option)
    };
    for option in ["", "true"] {
        std::fs::write(env.path("compose.yaml"), project(option))?;
        let refused = env.run(["up", "-d"])?;
        assert_eq!(refused.status, 1, "{refused}");
        let said = "cannot be encrypted: this engine has no keys to share with the other hosts";
        assert!(refused.stderr.contains(said), "{refused}");
        assert!(refused.stderr.contains("WireGuard"), "{refused}");
        let listed = env.run(["network", "ls"])?.success();
        assert!(!listed.stdout.contains("wide"), "{listed}");
    }
    std::fs::write(env.path("compose.yaml"), project("false"))?;
    let _up = env.run(["up", "-d"])?.success();
    let _down = env.run(["down"])?.success();
    Ok(())
}
