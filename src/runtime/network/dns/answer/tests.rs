//! Answers to queries.

use std::collections::{BTreeMap, HashMap};

use bollard_stubs::models::EndpointSettings;
use hickory_proto::op::Query;

use super::*;
use crate::runtime::network::record::{Driver, EndpointRecord, NetworkRecord};
use crate::runtime::network::request::ContainerNames;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn network(name: &str, internal: bool) -> NetworkRecord {
    NetworkRecord {
        id: format!("{name}-id"),
        name: name.to_owned(),
        driver: Driver::Bridge,
        created: String::new(),
        internal,
        attachable: false,
        config_only: false,
        config_from: None,
        enable_ipv4: true,
        enable_ipv6: false,
        options: BTreeMap::new(),
        labels: HashMap::new(),
        ipam_options: None,
        pools: Vec::new(),
    }
}

fn join(directory: &Directory, network: &NetworkRecord, id: &str, last: u8, names: &[&str]) {
    let container = ContainerNames {
        id: id.to_owned(),
        name: id.to_owned(),
        ..ContainerNames::default()
    };
    let endpoint = EndpointRecord {
        network: network.id.clone(),
        id: String::new(),
        ipv4: Some(Ipv4Addr::new(10, 0, 0, last)),
        ipv6: None,
        interface: "eth0".to_owned(),
        host_link: String::new(),
        settings: EndpointSettings {
            dns_names: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            links: (id == "linker").then(|| vec!["web1:db".to_owned()]),
            ..EndpointSettings::default()
        },
    };
    directory.join(&container, &endpoint, network);
}

fn ask(
    directory: &Directory,
    container: &str,
    name: &str,
    kind: RecordType,
) -> Result<Message, Box<dyn std::error::Error>> {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name)?, kind));
    match decide(&query.to_vec()?, container, directory, Transport::Udp) {
        Decision::Answer(bytes) => Ok(Message::from_vec(&bytes)?),
        other => Err(format!("no answer but {other:?}").into()),
    }
}

fn addresses(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

fn two_replicas() -> (Directory, NetworkRecord) {
    let directory = Directory::default();
    let net = network("net", false);
    join(&directory, &net, "web1", 2, &["web1", "web"]);
    join(&directory, &net, "web2", 3, &["web2", "web"]);
    (directory, net)
}

#[test]
fn an_alias_gives_all_replicas_in_turn() -> TestResult {
    let (directory, _) = two_replicas();
    let first = addresses(&ask(&directory, "web1", "WEB.", RecordType::A)?);
    let second = addresses(&ask(&directory, "web1", "web.", RecordType::A)?);
    assert_eq!(first.len(), 2);
    assert_ne!(first, second);
    Ok(())
}

#[test]
fn a_client_that_asks_for_both_families_gets_each_replica_in_turn() -> TestResult {
    let (directory, _) = two_replicas();
    let mut firsts = Vec::new();
    for _ in 0..4 {
        let answer = ask(&directory, "web1", "web.", RecordType::A)?;
        firsts.extend(addresses(&answer).into_iter().take(1));
        ask(&directory, "web1", "web.", RecordType::AAAA)?;
        // Other names have rounds of their own.
        ask(&directory, "web1", "web1.", RecordType::A)?;
    }
    assert_eq!(firsts, ["10.0.0.2", "10.0.0.3", "10.0.0.2", "10.0.0.3"]);
    Ok(())
}

#[test]
fn a_stopped_replica_is_gone_at_once() -> TestResult {
    let (directory, net) = two_replicas();
    directory.leave("web1", &net.id);
    assert_eq!(
        addresses(&ask(&directory, "web2", "web.", RecordType::A)?),
        ["10.0.0.3"]
    );
    Ok(())
}

#[test]
fn a_known_name_without_such_a_record_is_no_error() -> TestResult {
    let (directory, _) = two_replicas();
    let answer = ask(&directory, "web1", "web.", RecordType::AAAA)?;
    assert_eq!(
        (answer.metadata.response_code, answer.answers.len()),
        (ResponseCode::NoError, 0)
    );
    Ok(())
}

#[test]
fn a_name_qualified_by_its_network_is_found_and_given_back() -> TestResult {
    let (directory, _) = two_replicas();
    assert_eq!(
        addresses(&ask(&directory, "web1", "web2.net.", RecordType::A)?),
        ["10.0.0.3"]
    );
    let reverse = ask(
        &directory,
        "web1",
        "3.0.0.10.in-addr.arpa.",
        RecordType::PTR,
    )?;
    assert_eq!(addresses(&reverse), ["web2.net."]);
    Ok(())
}

#[test]
fn names_of_networks_that_are_not_shared_are_unknown() -> TestResult {
    let (directory, _) = two_replicas();
    join(
        &directory,
        &network("other", false),
        "stranger",
        4,
        &["stranger"],
    );
    let answer = ask(&directory, "stranger", "web.", RecordType::A)?;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    Ok(())
}

#[test]
fn a_link_is_a_name_for_its_owner_alone() -> TestResult {
    let (directory, net) = two_replicas();
    join(&directory, &net, "linker", 5, &["linker"]);
    assert_eq!(
        addresses(&ask(&directory, "linker", "db.", RecordType::A)?),
        ["10.0.0.2"]
    );
    let answer = ask(&directory, "web2", "db.", RecordType::A)?;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    Ok(())
}

#[test]
fn without_a_way_out_nobody_else_is_asked() -> TestResult {
    let directory = Directory::default();
    join(&directory, &network("inner", true), "a", 2, &["a"]);
    let answer = ask(&directory, "a", "far.example.test.", RecordType::A)?;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    let (outward, _) = two_replicas();
    assert!(ask(&outward, "web1", "far.example.test.", RecordType::A).is_err());
    Ok(())
}

#[test]
fn an_answer_that_does_not_fit_says_so() -> TestResult {
    let directory = Directory::default();
    let net = network("net", false);
    for last in 2..100 {
        join(&directory, &net, &format!("web{last}"), last, &["web"]);
    }
    let answer = ask(&directory, "web2", "web.", RecordType::A)?;
    assert!(answer.metadata.truncation);
    Ok(())
}

#[test]
fn garbage_is_ignored() {
    let decision = decide(&[1, 2, 3], "a", &Directory::default(), Transport::Udp);
    assert_eq!(decision, Decision::Ignore);
}
