//! Twenty services on five networks: of all pairs, exactly those with a network in common talk.

use super::*;

const SERVICES: usize = 20;
const NETWORKS: usize = 5;

/// Every service is on one network, every third on a second one.
fn networks_of(service: usize) -> Vec<usize> {
    let first = service % NETWORKS;
    let second = (service * 2 + 1) % NETWORKS;
    match service % 3 {
        0 if second != first => vec![first, second],
        _ => vec![first],
    }
}

#[test]
fn of_all_pairs_exactly_those_with_a_network_in_common_talk() -> TestResult {
    on_own_host(|| {
        let bench = Bench::new()?;
        for network in 0..NETWORKS {
            bench.network(&format!("net{network}"))?;
        }
        let mut members = Vec::new();
        let mut addresses = Vec::new();
        for service in 0..SERVICES {
            for network in networks_of(service) {
                let member = bench.join(&format!("s{service}"), &format!("net{network}"))?;
                addresses.push((service, network, member.ip()?));
                if members.len() == service {
                    member.greet(80, "here")?;
                    members.push(member);
                }
            }
        }
        let wrong: Vec<String> = std::thread::scope(|scope| {
            let asking: Vec<_> = members
                .iter()
                .enumerate()
                .map(|(service, member)| {
                    let addresses = &addresses;
                    scope.spawn(move || wrong_answers(service, member, addresses))
                })
                .collect();
            asking
                .into_iter()
                .map(|it| {
                    it.join()
                        .unwrap_or_else(|_| Err("a service panicked".into()))
                })
                .collect::<TestResult<Vec<_>>>()
        })?
        .concat();
        assert_eq!(wrong, Vec::<String>::new());
        Ok(())
    })
}

/// Asks all addresses at once, for those that must not answer are silent.
fn wrong_answers(
    service: usize,
    member: &Container,
    addresses: &[(usize, usize, Ipv4Addr)],
) -> TestResult<Vec<String>> {
    let heard: Vec<bool> = member.inside(|| {
        std::thread::scope(|scope| {
            let asked: Vec<_> = addresses
                .iter()
                .map(|(_, _, ip)| {
                    let address = SocketAddr::new((*ip).into(), 80);
                    scope.spawn(move || hear_at_once(address).is_some())
                })
                .collect();
            asked
                .into_iter()
                .map(|it| it.join().unwrap_or(false))
                .collect()
        })
    })?;
    let own = networks_of(service);
    let answers = addresses.iter().zip(heard);
    let wrong = answers.filter(|((other, network, _), heard)| {
        *heard != (*other == service || own.contains(network))
    });
    Ok(wrong
        .map(|((other, network, ip), heard)| {
            let what = if heard { "reaches" } else { "does not reach" };
            format!("s{service} {what} s{other} on net{network} at {ip}")
        })
        .collect())
}
