//! Networks of the built-in engine on the real kernel: needs root. Each test has an engine of its own (run directory,
//! instance, networks), so tests can run side by side and beside a real engine.

mod between;
mod firewall;
mod pairs;
mod repair;

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::time::Duration;

use bollard_stubs::models::{
    EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkCreateRequest, PortBinding,
    PortMap,
};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use hoist::runtime::network::{
    AttachRequest, ContainerNames, LiveContainer, NetworkPaths, NetworkService, WayOut,
};
use hoist::runtime::sys::netns;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::common::skip;

type TestResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The address of the "host" that each test runs on.
const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Runs a test on a host of its own: a network namespace with loopback and one link with an address. So it neither
/// sees nor touches the rules and links of the machine.
fn on_own_host(test: impl FnOnce() -> TestResult + Send) -> TestResult {
    if !rustix::process::geteuid().is_root() {
        skip("networks", "root");
        return Ok(());
    }
    if let Err(error) = netns::inside_new(|| ()) {
        skip("networks", &format!("network namespaces ({error})"));
        return Ok(());
    }
    netns::inside_new(|| make_host().and_then(|()| test()))?
}

fn route_socket() -> TestResult<netlink_sys::Socket> {
    let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn make_host() -> TestResult {
    let socket = route_socket()?;
    let mut uplink = LinkMessage::default();
    uplink.header.index = 77;
    uplink.header.flags = LinkFlags::Up;
    uplink.header.change_mask = LinkFlags::Up;
    uplink
        .attributes
        .push(LinkAttribute::IfName("up0".to_owned()));
    uplink
        .attributes
        .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(
            InfoKind::Bridge,
        )]));
    request(&socket, RouteNetlinkMessage::NewLink(uplink))?;
    let mut loopback = LinkMessage::default();
    loopback.header.index = 1;
    loopback.header.flags = LinkFlags::Up;
    loopback.header.change_mask = LinkFlags::Up;
    request(&socket, RouteNetlinkMessage::SetLink(loopback))?;
    let mut address = AddressMessage::default();
    address.header.family = AddressFamily::Inet;
    address.header.prefix_len = 24;
    address.header.index = 77;
    address
        .attributes
        .push(AddressAttribute::Local(HOST.into()));
    request(&socket, RouteNetlinkMessage::NewAddress(address))
}

fn request(socket: &netlink_sys::Socket, message: RouteNetlinkMessage) -> TestResult {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io().into()),
        _ => Ok(()),
    }
}

/// An engine's networks in folders of their own.
struct Bench {
    service: NetworkService,
    paths: NetworkPaths,
    _folder: tempfile::TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Err(error) = self.service.shut_down() {
            let source = error.source();
            drop(writeln!(std::io::stderr(), "cleanup: {error}: {source:?}"));
        }
    }
}

impl Bench {
    fn new() -> TestResult<Self> {
        let folder = tempfile::Builder::new().prefix("hoist-net").tempdir()?;
        let name = folder
            .path()
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("x");
        let instance = name[name.len() - 5..].to_ascii_lowercase();
        let paths = NetworkPaths {
            state: folder.path().join("networks"),
            run: folder.path().join("run"),
            instance,
            way_out: WayOut::Host,
        };
        let service = NetworkService::open(paths.clone())?;
        Ok(Self {
            service,
            paths,
            _folder: folder,
        })
    }

    fn network(&self, name: &str) -> TestResult<String> {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            ..Default::default()
        };
        Ok(self.service.create(&request)?.id)
    }

    fn join(&self, id: &str, network: &str) -> TestResult<Container> {
        self.join_with(id, network, EndpointSettings::default())
    }

    fn join_with(
        &self,
        id: &str,
        network: &str,
        settings: EndpointSettings,
    ) -> TestResult<Container> {
        let namespace = self.service.new_namespace(id)?;
        let settings = self.service.attach(&AttachRequest {
            container: ContainerNames {
                id: id.to_owned(),
                name: id.to_owned(),
                ..ContainerNames::default()
            },
            network: network.to_owned(),
            settings,
        })?;
        Ok(Container {
            namespace,
            settings,
        })
    }

    fn publish(&self, id: &str, port: &str, host_ip: &str, host_port: &str) -> TestResult<u16> {
        let binding = PortBinding {
            host_ip: Some(host_ip.to_owned()),
            host_port: Some(host_port.to_owned()),
        };
        let wishes = PortMap::from([(port.to_owned(), Some(vec![binding]))]);
        let granted = self.service.publish(id, &wishes)?;
        let binding = granted
            .get(port)
            .and_then(Option::as_ref)
            .and_then(|list| list.first());
        let text = binding
            .and_then(|binding| binding.host_port.clone())
            .ok_or("no binding")?;
        Ok(text.parse()?)
    }
}

/// A namespace in which test code plays the container.
#[derive(Clone)]
struct Container {
    namespace: PathBuf,
    settings: EndpointSettings,
}

impl Container {
    fn ip(&self) -> TestResult<Ipv4Addr> {
        Ok(self
            .settings
            .ip_address
            .as_deref()
            .unwrap_or_default()
            .parse()?)
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> TestResult<T> {
        let namespace = File::open(&self.namespace)?;
        Ok(netns::inside(namespace.as_fd(), work)?)
    }

    /// Serves one word to every TCP client of a port, until the test ends.
    fn greet(&self, port: u16, word: &'static str) -> TestResult {
        let listener = self.inside(|| TcpListener::bind(("0.0.0.0", port)))??;
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                drop(stream.write_all(word.as_bytes()));
            }
        });
        Ok(())
    }

    fn hears(&self, address: impl Into<IpAddr>, port: u16) -> TestResult<Option<String>> {
        let address = SocketAddr::new(address.into(), port);
        self.inside(move || hear(address))
    }

    fn is_cut_off_from(&self, address: impl Into<IpAddr>, port: u16) -> TestResult<bool> {
        let address = SocketAddr::new(address.into(), port);
        self.inside(move || hear_at_once(address).is_none())
    }

    fn look_up(&self, name: &str, kind: RecordType) -> TestResult<Vec<String>> {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name)?, kind));
        let packet = query.to_vec()?;
        let answer = self.inside(move || -> std::io::Result<Vec<u8>> {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(Duration::from_secs(3)))?;
            socket.send_to(&packet, "127.0.0.11:53")?;
            let mut answer = vec![0; 1024];
            let length = socket.recv(&mut answer)?;
            answer.truncate(length);
            Ok(answer)
        })??;
        let answer = Message::from_vec(&answer)?;
        Ok(answer
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect())
    }
}

/// What a server says; a busy machine may need a few tries.
fn hear(address: SocketAddr) -> Option<String> {
    (0..10).find_map(|_| hear_at_once(address))
}

/// What a server says, where it is reached within a second.
fn hear_at_once(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut word = String::new();
    stream.read_to_string(&mut word).ok()?;
    (!word.is_empty()).then_some(word)
}

/// The links of the host that a test runs on, but for those that it began with.
fn links() -> TestResult<Vec<String>> {
    let table = fs::read_to_string("/proc/thread-self/net/dev")?;
    let names = table
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    Ok(names.filter(|name| name != "lo" && name != "up0").collect())
}

#[test]
fn two_containers_talk_by_address_and_name() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        bench.network("net")?;
        let web = bench.join_with(
            "web-1",
            "net",
            EndpointSettings {
                aliases: Some(vec!["web".to_owned()]),
                ..EndpointSettings::default()
            },
        )?;
        let client = bench.join("client", "net")?;
        web.greet(80, "hello")?;
        assert_eq!(client.hears(web.ip()?, 80)?.as_deref(), Some("hello"));
        let address = web.ip()?.to_string();
        for name in ["web.", "WEB-1.", "web.net."] {
            assert_eq!(
                client.look_up(name, RecordType::A)?,
                std::slice::from_ref(&address),
                "{name}"
            );
        }
        bench.service.release("web-1")?;
        assert!(client.look_up("web.", RecordType::A)?.is_empty());
        Ok(())
    })
}

#[test]
fn the_gateway_keeps_its_hardware_address_when_members_come_and_go() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        bench.network("net")?;
        let mut seen = Vec::new();
        for place in 0..8 {
            let member = bench.join(&format!("member-{place}"), "net")?;
            let gateway = member.settings.gateway.clone().unwrap_or_default();
            let address: Ipv4Addr = gateway.parse()?;
            // Where nothing listens, but somebody is asked whose address that is.
            let asked = || member.is_cut_off_from(address, 9);
            let mac = || -> TestResult<Option<String>> {
                let known = member.inside(|| fs::read_to_string("/proc/thread-self/net/arp"))??;
                let line = known.lines().find(|line| line.starts_with(&gateway));
                let mac = line.and_then(|line| line.split_whitespace().nth(3));
                Ok(mac
                    .filter(|mac| *mac != "00:00:00:00:00:00")
                    .map(str::to_owned))
            };
            let mut found = None;
            for _ in 0..5 {
                assert!(asked()?, "it answered");
                found = mac()?;
                if found.is_some() {
                    break;
                }
            }
            seen.push(found.ok_or("the gateway has no hardware address")?);
            if place % 2 == 1 {
                bench.service.release(&format!("member-{place}"))?;
            }
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "{seen:?}");
        Ok(())
    })
}

#[test]
fn networks_are_apart_and_a_member_of_both_reaches_both() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        bench.network("one")?;
        bench.network("two")?;
        let one = bench.join("a", "one")?;
        let two = bench.join("b", "two")?;
        two.greet(80, "two")?;
        assert!(one.is_cut_off_from(two.ip()?, 80)?);
        let gateway: Ipv4Addr = two
            .settings
            .gateway
            .as_deref()
            .unwrap_or_default()
            .parse()?;
        let host = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        assert!(one.is_cut_off_from(gateway, host.local_addr()?.port())?);
        let both = bench.join("a", "two")?;
        assert_eq!(both.hears(two.ip()?, 80)?.as_deref(), Some("two"));
        bench.service.detach("a", "two")?;
        assert!(one.is_cut_off_from(two.ip()?, 80)?);
        Ok(())
    })
}

#[test]
fn a_published_port_is_reached_from_everywhere_it_should() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        bench.network("net")?;
        bench.network("other")?;
        let web = bench.join("web", "net")?;
        let neighbour = bench.join("neighbour", "net")?;
        let stranger = bench.join("stranger", "other")?;
        web.greet(80, "hello")?;
        let port = bench.publish("web", "80/tcp", "", "")?;
        let host = IpAddr::from(HOST);
        let addresses: [IpAddr; 3] = [
            Ipv4Addr::LOCALHOST.into(),
            host,
            std::net::Ipv6Addr::LOCALHOST.into(),
        ];
        for address in addresses {
            let heard = hear(SocketAddr::new(address, port));
            assert_eq!(
                heard.as_deref(),
                Some("hello"),
                "from the host by {address}"
            );
        }
        for (who, client) in [
            ("itself", &web),
            ("neighbour", &neighbour),
            ("stranger", &stranger),
        ] {
            assert_eq!(
                client.hears(host, port)?.as_deref(),
                Some("hello"),
                "{who} by the host"
            );
            let gateway: Ipv4Addr = client
                .settings
                .gateway
                .as_deref()
                .unwrap_or_default()
                .parse()?;
            assert_eq!(
                client.hears(gateway, port)?.as_deref(),
                Some("hello"),
                "{who} by its gateway"
            );
        }
        bench.service.unpublish("web")?;
        assert_eq!(hear_at_once(SocketAddr::new(host, port)), None);
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
        Ok(())
    })
}

#[test]
fn a_port_of_one_address_is_reached_there_only() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        let web = bench.join("web", "bridge")?;
        web.greet(80, "hello")?;
        let port = bench.publish("web", "80/tcp", "127.0.0.1", "")?;
        assert_eq!(
            hear(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)).as_deref(),
            Some("hello")
        );
        assert_eq!(hear_at_once(SocketAddr::new(HOST.into(), port)), None);
        Ok(())
    })
}

#[test]
fn udp_ports_are_published() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        let echo = bench.join("echo", "bridge")?;
        let socket = echo.inside(|| UdpSocket::bind("0.0.0.0:53"))??;
        std::thread::spawn(move || {
            let mut packet = [0; 100];
            while let Ok((length, peer)) = socket.recv_from(&mut packet) {
                drop(socket.send_to(&packet[..length], peer));
            }
        });
        let port = bench.publish("echo", "53/udp", "", "")?;
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), HOST.into()] {
            let client = UdpSocket::bind("0.0.0.0:0")?;
            client.set_read_timeout(Some(Duration::from_secs(2)))?;
            client.send_to(b"hi", (address, port))?;
            let mut answer = [0; 10];
            assert_eq!(client.recv(&mut answer)?, 2, "{address}");
        }
        Ok(())
    })
}

#[test]
fn a_client_of_a_udp_port_reaches_the_container_that_has_it_now() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        let client = UdpSocket::bind((HOST, 0))?;
        client.set_read_timeout(Some(Duration::from_secs(2)))?;
        let name_at = |port: u16| -> TestResult<String> {
            client.send_to(b"who?", (HOST, port))?;
            let mut answer = [0; 10];
            let length = client.recv(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        };
        let serve = |name: &'static str| -> TestResult {
            let socket = bench
                .join(name, "bridge")?
                .inside(|| UdpSocket::bind("0.0.0.0:53"))??;
            std::thread::spawn(move || {
                let mut packet = [0; 100];
                while let Ok((_, peer)) = socket.recv_from(&mut packet) {
                    drop(socket.send_to(name.as_bytes(), peer));
                }
            });
            Ok(())
        };
        serve("old")?;
        serve("new")?;
        let port = bench.publish("old", "53/udp", "", "")?;
        assert_eq!(name_at(port)?, "old");
        bench.service.unpublish("old")?;
        // Sent while the port is nobody's: the kernel remembers that it leads nowhere.
        client.send_to(b"who?", (HOST, port))?;
        bench.publish("new", "53/udp", "", &port.to_string())?;
        // The refusal of the packet before may be heard first.
        let answer = name_at(port).or_else(|_| name_at(port))?;
        assert_eq!(answer, "new");
        Ok(())
    })
}

#[test]
fn a_flood_of_questions_of_one_container_leaves_the_others_their_answers() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        bench.network("net")?;
        let (flood, calm) = (bench.join("flood", "net")?, bench.join("calm", "net")?);
        let over = std::sync::atomic::AtomicBool::new(false);
        let pour = |name: &str| -> TestResult {
            let mut query = Message::query();
            query.add_query(Query::query(Name::from_ascii(name)?, RecordType::A));
            let packet = query.to_vec()?;
            flood.inside(|| -> std::io::Result<()> {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    // A full buffer is what is wanted.
                    drop(socket.send_to(&packet, "127.0.0.11:53"));
                }
                Ok(())
            })??;
            Ok(())
        };
        std::thread::scope(|scope| {
            // One that the engine knows, and one that others have to be asked for.
            let floods =
                ["calm.", "example.com."].map(|name| scope.spawn(move || pour(name).is_ok()));
            let answered = (0..20).all(|_| {
                calm.look_up("flood.", RecordType::A)
                    .is_ok_and(|found| found.len() == 1)
            });
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            for flood in floods {
                assert!(flood.join().unwrap_or(false), "the flood ended before");
            }
            assert!(answered, "a look-up of another container was not answered");
            Ok(())
        })
    })
}

#[test]
fn a_container_cannot_reach_services_on_the_hosts_loopback() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        let container = bench.join("a", "bridge")?;
        let host = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = host.local_addr()?.port();
        let gateway: Ipv4Addr = container
            .settings
            .gateway
            .as_deref()
            .unwrap_or_default()
            .parse()?;
        assert!(container.is_cut_off_from(gateway, port)?);
        Ok(())
    })
}

#[test]
fn an_internal_network_has_no_way_out() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        bench.service.create(&NetworkCreateRequest {
            name: "inner".to_owned(),
            internal: Some(true),
            ..NetworkCreateRequest::default()
        })?;
        let a = bench.join("a", "inner")?;
        let b = bench.join("b", "inner")?;
        b.greet(80, "inside")?;
        assert_eq!(a.hears(b.ip()?, 80)?.as_deref(), Some("inside"));
        let routes = a.inside(|| fs::read_to_string("/proc/thread-self/net/route"))??;
        assert!(
            !routes
                .lines()
                .any(|line| line.split_whitespace().nth(1) == Some("00000000")),
            "{routes}"
        );
        let host = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        assert!(a.is_cut_off_from(HOST, host.local_addr()?.port())?);
        Ok(())
    })
}

#[test]
fn without_inter_container_communication_members_reach_the_gateway_only() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        let options = [
            ("com.docker.network.bridge.enable_icc", "false"),
            ("com.docker.network.driver.mtu", "1300"),
        ];
        bench.service.create(&NetworkCreateRequest {
            name: "apart".to_owned(),
            options: Some(
                options
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
            ..NetworkCreateRequest::default()
        })?;
        let a = bench.join("a", "apart")?;
        let b = bench.join("b", "apart")?;
        b.greet(80, "b")?;
        assert!(a.is_cut_off_from(b.ip()?, 80)?);
        let mtu = a.inside(|| {
            let index = fs::read_to_string("/proc/thread-self/net/dev")?;
            std::io::Result::Ok(index.contains("eth0"))
        })??;
        assert!(mtu);
        Ok(())
    })
}

#[test]
fn static_addresses_conflicts_and_exhaustion_are_told_in_dockers_words() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        let ipam = |subnet: &str| Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(subnet.to_owned()),
                ..Default::default()
            }]),
            ..Default::default()
        };
        let request = |name: &str, subnet: &str| NetworkCreateRequest {
            name: name.to_owned(),
            ipam: Some(ipam(subnet)),
            ..Default::default()
        };
        bench.service.create(&request("small", "10.213.77.0/29"))?;
        let overlap = bench.service.create(&request("again", "10.213.77.0/24"));
        assert!(overlap.is_err_and(|error| error.to_string().contains("overlaps")));
        let settings = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some("10.213.77.5".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let fixed = bench.join_with("fixed", "small", settings.clone())?;
        assert_eq!(fixed.ip()?.to_string(), "10.213.77.5");
        let twice = bench.join_with("twice", "small", settings);
        assert_eq!(
            twice.map(|_| ()).err().map(|e| e.to_string()).as_deref(),
            Some("Address already in use")
        );
        for number in 0..4 {
            bench.join(&format!("c{number}"), "small")?;
        }
        let full = bench
            .join("full", "small")
            .map(|_| ())
            .err()
            .map(|error| error.to_string());
        assert!(full.is_some_and(|text| text.contains("no available IPv4 addresses")));
        let busy = bench
            .service
            .remove("small")
            .map(|_| ())
            .err()
            .map(|error| error.to_string());
        assert!(busy.is_some_and(|text| text.contains("active endpoints")));
        Ok(())
    })
}

#[test]
fn ipv6_members_reach_each_other() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        bench.service.create(&NetworkCreateRequest {
            name: "dual".to_owned(),
            enable_ipv6: Some(true),
            ..NetworkCreateRequest::default()
        })?;
        let a = bench.join("a", "dual")?;
        let b = bench.join("b", "dual")?;
        let address: std::net::Ipv6Addr = b
            .settings
            .global_ipv6_address
            .as_deref()
            .unwrap_or_default()
            .parse()?;
        let listener = b.inside(move || TcpListener::bind((address, 80)))??;
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                drop(stream.write_all(b"six"));
            }
        });
        assert_eq!(a.hears(address, 80)?.as_deref(), Some("six"));
        assert_eq!(a.look_up("b.", RecordType::AAAA)?, [address.to_string()]);
        let port = bench.publish("b", "80/tcp", "::", "")?;
        assert_eq!(
            hear(SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), port)).as_deref(),
            Some("six")
        );
        Ok(())
    })
}

#[test]
fn a_restarted_engine_takes_everything_over_and_drops_what_is_nobodys() -> TestResult {
    on_own_host(|| {
        let mut bench = Bench::new()?;
        bench.network("net")?;
        let web = bench.join("web", "net")?;
        bench.join("dead", "net")?;
        web.greet(80, "hello")?;
        let port = bench.publish("web", "80/tcp", "", "")?;
        // The old engine is not told: as after a crash, its sockets are closed and nothing else is done.
        bench.service = NetworkService::open(bench.paths.clone())?;
        let second = &bench.service;
        second.restore(&[LiveContainer {
            id: "web".to_owned(),
        }])?;
        assert!(second.namespace_of("dead").is_none());
        assert!(!bench.paths.run.join("netns/dead").exists());
        let inspected = second.inspect("net")?;
        let members: Vec<_> = inspected
            .containers
            .unwrap_or_default()
            .into_keys()
            .collect();
        assert_eq!(members, ["web"]);
        assert_eq!(
            hear(SocketAddr::new(HOST.into(), port)).as_deref(),
            Some("hello")
        );
        assert_eq!(web.look_up("web.", RecordType::A)?, [web.ip()?.to_string()]);
        Ok(())
    })
}

#[test]
fn two_engines_of_one_machine_have_subnets_of_their_own() -> TestResult {
    on_own_host(|| {
        // Both choose before either has a bridge.
        let (one, other) = (Bench::new()?, Bench::new()?);
        let a = one.join("a", "bridge")?;
        let b = other.join("b", "bridge")?;
        let block = |ip: Ipv4Addr| [ip.octets()[0], ip.octets()[1]];
        assert_ne!(block(a.ip()?), block(b.ip()?));
        // The next members come to where the first one is.
        let c = one.join("c", "bridge")?;
        c.greet(80, "hello")?;
        assert_eq!(a.hears(c.ip()?, 80)?.as_deref(), Some("hello"));
        Ok(())
    })
}

#[test]
fn nothing_is_left() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        bench.network("net")?;
        bench.join("a", "net")?;
        bench.join("b", "net")?;
        bench.publish("a", "80/tcp", "", "")?;
        assert_eq!(links()?.len(), 3);
        bench.service.release("a")?;
        bench.service.release("b")?;
        bench.service.remove("net")?;
        assert_eq!(links()?, Vec::<String>::new());
        assert_eq!(fs::read_dir(bench.paths.run.join("netns"))?.count(), 0);
        assert_eq!(fs::read_dir(bench.paths.run.join("network"))?.count(), 0);
        Ok(())
    })
}
