//! The host's own firewall has the last word on published ports.

use std::process::{Command, Stdio};

use super::between::{make_pair, set_up};
use super::*;

/// The sample, for our link in place of `eth0` and our port in place of its ports.
fn load_sample(link: &str, port: u16) -> TestResult<bool> {
    let sample = include_str!("../../../examples/firewall.nft")
        .replace("eth0", link)
        .replace("80, 443", &port.to_string());
    let spawned = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn();
    let mut nft = match spawned {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skip("a host firewall", "nft");
            return Ok(false);
        }
        spawned => spawned?,
    };
    nft.stdin
        .take()
        .ok_or("no standard input")?
        .write_all(sample.as_bytes())?;
    assert!(nft.wait()?.success(), "nft refuses the sample");
    Ok(true)
}

#[test]
fn a_published_port_that_the_hosts_firewall_denies_is_closed_from_outside() -> TestResult {
    let (here, there) = (Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::new(10, 99, 0, 2));
    on_own_host(|| {
        let bench = Bench::new()?;
        let far = Container {
            namespace: bench.service.new_namespace("far")?,
            settings: EndpointSettings::default(),
        };
        let namespace = File::open(&far.namespace)?;
        make_pair(["wan0", "wan0"], Some(here), Some(&namespace))?;
        far.inside(|| set_up("wan0", Some(there)))??;
        let web = bench.join("web", "bridge")?;
        web.greet(80, "open")?;
        web.greet(81, "closed")?;
        let wish = || Some(vec![PortBinding::default()]);
        let wishes = PortMap::from([("80/tcp".to_owned(), wish()), ("81/tcp".to_owned(), wish())]);
        let granted = bench.service.publish("web", &wishes)?;
        let port_of = |name: &str| -> TestResult<u16> {
            let bindings = granted.get(name).and_then(Option::as_ref);
            let port = bindings.and_then(|list| list.first()?.host_port.as_ref());
            Ok(port.ok_or("no binding")?.parse()?)
        };
        let (open, closed) = (port_of("80/tcp")?, port_of("81/tcp")?);
        for port in [open, closed] {
            assert!(far.hears(here, port)?.is_some(), "without a firewall");
        }
        if !load_sample("wan0", open)? {
            return Ok(());
        }
        assert_eq!(far.hears(here, open)?.as_deref(), Some("open"));
        assert!(far.is_cut_off_from(here, closed)?);
        for port in [open, closed] {
            let heard = hear(SocketAddr::new(here.into(), port));
            assert!(heard.is_some(), "from the host itself");
        }
        Ok(())
    })
}
