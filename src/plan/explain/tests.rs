//! Golden explanations: what is said of each kind of change, without an engine.

use bollard_stubs::models::{
    ContainerConfig, ContainerInspectResponse, EndpointSettings, ImageConfig, ImageInspect,
    NetworkInspect, NetworkSettings, SystemInfo, Volume as EngineVolume,
};
use indexmap::IndexMap;

use super::{Answers, Defaults, explain, questions};
use crate::engine::{ContainerSpec, ObservedState, label};
use crate::graph::Graph;
use crate::model::{
    self, Environment, Healthcheck, Hook, Mount, MountKind, Network, Port, Project, Service, Volume,
};
use crate::plan::{Action, Goal, Plan, PlanOptions, plan, tests as golden};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn plan_of(project: &Project, state: &ObservedState) -> Result<Plan, Box<dyn std::error::Error>> {
    let graph = Graph::new(project)?;
    let options = PlanOptions {
        goal: Goal::Created,
        ..PlanOptions::default()
    };
    Ok(plan(project, &graph, state, &options)?)
}

/// What an engine tells about a container that it made from a specification, with what it adds by itself.
fn inspected(
    id: &str,
    spec: &ContainerSpec,
) -> Result<ContainerInspectResponse, serde_json::Error> {
    let body = &spec.body;
    let mut config: ContainerConfig = serde_json::from_value(serde_json::to_value(body)?)?;
    let env = config.env.get_or_insert_default();
    env.extend(["PATH=/bin".to_owned(), "FROM_IMAGE=1".to_owned()]);
    let short = id.get(..12).unwrap_or(id).to_owned();
    config.hostname.get_or_insert_with(|| short.clone());
    config.cmd.get_or_insert_with(|| vec!["sh".to_owned()]);
    let mut host = body.host_config.clone().unwrap_or_default();
    host.shm_size.get_or_insert(67_108_864);
    host.runtime.get_or_insert_with(|| "runc".to_owned());
    let mut networks = body
        .networking_config
        .clone()
        .and_then(|config| config.endpoints_config)
        .unwrap_or_default();
    for endpoint in networks.values_mut() {
        endpoint.aliases.get_or_insert_default().push(short.clone());
        *endpoint = EndpointSettings {
            mac_address: Some("02:42:ac:11:00:02".to_owned()),
            ..endpoint.clone()
        };
    }
    Ok(ContainerInspectResponse {
        id: Some(id.to_owned()),
        name: Some(format!("/{}", spec.name)),
        config: Some(config),
        host_config: Some(host),
        network_settings: Some(NetworkSettings {
            networks: Some(networks),
            ..NetworkSettings::default()
        }),
        ..ContainerInspectResponse::default()
    })
}

fn image() -> ImageInspect {
    ImageInspect {
        config: Some(ImageConfig {
            env: Some(vec!["FROM_IMAGE=1".to_owned()]),
            cmd: Some(vec!["sh".to_owned()]),
            ..ImageConfig::default()
        }),
        ..ImageInspect::default()
    }
}

/// The text of the explained plan that turns a project with one service into another one, on an engine of which nothing
/// is known.
fn explained(before: Service, after: Service) -> Result<String, Box<dyn std::error::Error>> {
    explained_with(before, after, Answers::default())
}

/// The same with what else was answered.
fn explained_with(
    before: Service,
    after: Service,
    answers: Answers,
) -> Result<String, Box<dyn std::error::Error>> {
    let old = golden::project(vec![before]);
    let new = golden::project(vec![after]);
    let first = plan_of(&old, &golden::observed(&old, Vec::new()))?;
    let mut specs = first.nodes().filter_map(|(_, node)| match &node.action {
        Action::CreateContainer(create) => Some(&create.spec),
        _ => None,
    });
    let container = golden::container(&old.services["web"], 1);
    let seen = inspected(&container.id, specs.next().ok_or("no container")?)?;
    let answers = Answers {
        containers: IndexMap::from([(container.id.clone(), (seen, Some(image())))]),
        ..answers
    };
    let mut plan = plan_of(&new, &golden::observed(&new, vec![container]))?;
    assert_eq!(questions(&plan).containers.len(), 1);
    explain(&mut plan, &new, &answers, &everywhere);
    let first = plan.to_string();
    Ok(first.lines().next().unwrap_or_default().to_owned())
}

/// A place for every path: the path itself.
#[expect(clippy::unnecessary_wraps, reason = "the type of a search")]
fn everywhere(path: &[String]) -> Option<String> {
    Some(format!("<{}>", path.join(".")))
}

fn web() -> Service {
    golden::service("web")
}

fn port(published: &str) -> Port {
    Port {
        target: 80,
        published: published.to_owned(),
        protocol: "tcp".to_owned(),
        mode: "ingress".to_owned(),
        ..Port::default()
    }
}

#[test]
fn a_port_that_moved_is_told_with_its_line() -> TestResult {
    let (mut before, mut after) = (web(), web());
    before.ports = vec![port("9000"), port("8080")];
    after.ports = vec![port("9000"), port("8081")];
    insta::assert_snapshot!(explained(before, after)?, @"1. create container web100000000_p-web-1 (ports: 8080 -> 8081, <services.web.ports.1>)");
    Ok(())
}

#[test]
fn values_of_the_environment_are_never_told() -> TestResult {
    let (mut before, mut after) = (web(), web());
    let environment = |pairs: &[(&str, &str)]| -> Environment {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned())))
            .collect()
    };
    before.environment = environment(&[("TOKEN", "hunter2"), ("GONE", "hunter3")]);
    after.environment = environment(&[("TOKEN", "hunter4"), ("NEW", "hunter5")]);
    let text = explained(before, after)?;
    assert!(!text.contains("hunter"), "{text}");
    insta::assert_snapshot!(text, @"1. create container web100000000_p-web-1 (environment.GONE removed, <services.web.environment.GONE>; environment.TOKEN changed, <services.web.environment.TOKEN>; environment.NEW added, <services.web.environment.NEW>)");
    Ok(())
}

#[test]
fn each_kind_of_attribute_is_compared() -> TestResult {
    let (mut before, mut after) = (web(), web());
    before.restart = "always".to_owned();
    after.command = Some(vec!["sleep".to_owned(), "9".to_owned()]);
    after.cap_add = vec!["NET_ADMIN".to_owned()];
    after.mem_limit = Some(model::ByteSize(268_435_456));
    after.labels.insert("tier".to_owned(), "front".to_owned());
    after
        .labels
        .insert("auth.password".to_owned(), "x".to_owned());
    after.healthcheck = Some(Box::new(Healthcheck {
        test: vec!["CMD".to_owned(), "true".to_owned()],
        interval: Some(model::Duration(2_000_000_000)),
        ..Healthcheck::default()
    }));
    after.volumes = vec![Mount {
        kind: MountKind::Bind,
        source: "/srv".to_owned(),
        target: "/data".to_owned(),
        read_only: true,
        ..Mount::default()
    }];
    insta::assert_snapshot!(explained(before, after)?.replace("; ", "\n"), @r"
    1. create container web100000000_p-web-1 (command: sh -> sleep 9, <services.web.command>
    volumes: added /srv:/data:ro, <services.web.volumes.0>
    labels.auth.password added, <services.web.labels.auth.password>
    labels.tier: added front, <services.web.labels.tier>
    healthcheck.interval: added 2s, <services.web.healthcheck.interval>
    healthcheck.test: added CMD true, <services.web.healthcheck.test>
    restart: removed always, <services.web.restart>
    cap_add: added NET_ADMIN, <services.web.cap_add.0>
    mem_limit: added 256m, <services.web.mem_limit>)
    ");
    Ok(())
}

/// What Docker tells about itself.
fn docker() -> Answers {
    let info = SystemInfo {
        logging_driver: Some("json-file".to_owned()),
        default_runtime: Some("runc".to_owned()),
        ..SystemInfo::default()
    };
    Answers {
        defaults: Defaults::new("Docker", &info),
        ..Answers::default()
    }
}

#[test]
fn what_is_gone_from_the_file_is_told_with_its_old_value() -> TestResult {
    let mut before = web();
    before.shm_size = Some(model::ByteSize(134_217_728));
    before.cgroup_parent = "/jobs".to_owned();
    before
        .annotations
        .insert("owner".to_owned(), "me".to_owned());
    let options = [("syslog-address", "udp://user:hunter2@log"), ("tag", "web")];
    let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
    before.logging = Some(Box::new(model::Logging {
        driver: "syslog".to_owned(),
        options: IndexMap::from(options),
        ..model::Logging::default()
    }));
    let text = explained_with(before.clone(), web(), docker())?;
    insta::assert_snapshot!(text.replace("; ", "\n"), @r#"
    1. create container web100000000_p-web-1 (logging.driver: removed syslog, <services.web.logging.driver>
    logging.options.syslog-address removed, <services.web.logging.options.syslog-address>
    logging.options.tag: removed web, <services.web.logging.options.tag>
    annotations.owner: removed me, <services.web.annotations.owner>
    cgroup_parent: removed /jobs, <services.web.cgroup_parent>
    shm_size: removed 128m, <services.web.shm_size>)
    "#);
    // Where nothing is known of the engine, it may all be its own.
    insta::assert_snapshot!(explained(before, web())?, @"1. create container web100000000_p-web-1 (configuration changed)");
    Ok(())
}

#[test]
fn what_an_engine_may_have_added_is_told_where_nothing_else_differs() -> TestResult {
    let mut before = web();
    let limit = model::Ulimit::Single(1024);
    before.ulimits.insert("nofile".to_owned(), limit);
    insta::assert_snapshot!(explained_with(before.clone(), web(), docker())?, @"1. create container web100000000_p-web-1 (ulimits.nofile: removed 1024, <services.web.ulimits.nofile>)");
    let mut after = web();
    after.post_start = vec![Hook::default()];
    insta::assert_snapshot!(explained_with(before.clone(), after, docker())?, @"1. create container web100000000_p-web-1 (post_start may have changed, <services.web.post_start>; ulimits.nofile may have changed, <services.web.ulimits.nofile>)");
    let mut after = web();
    after.restart = "always".to_owned();
    insta::assert_snapshot!(explained_with(before, after, docker())?, @"1. create container web100000000_p-web-1 (restart: added always, <services.web.restart>)");
    Ok(())
}

#[test]
fn a_secret_that_no_engine_tells_of_is_found_by_the_hash() -> TestResult {
    let mut before = web();
    before.secrets = vec![model::FileReference {
        source: "token".to_owned(),
        target: "/run/secrets/token".to_owned(),
        ..model::FileReference::default()
    }];
    let mut answers = docker();
    answers.mentioned.secrets = IndexMap::from([("token".to_owned(), String::new())]);
    insta::assert_snapshot!(explained_with(before, web(), answers)?, @"1. create container web100000000_p-web-1 (secrets: removed token, <services.web.secrets>)");
    Ok(())
}

#[test]
fn a_probe_that_is_switched_off_is_told_at_its_switch() -> TestResult {
    let (mut before, mut after) = (web(), web());
    let probe = Healthcheck {
        test: vec!["CMD".to_owned(), "true".to_owned()],
        interval: Some(model::Duration(2_000_000_000)),
        ..Healthcheck::default()
    };
    before.healthcheck = Some(Box::new(probe.clone()));
    after.healthcheck = Some(Box::new(Healthcheck {
        disable: true,
        ..probe
    }));
    insta::assert_snapshot!(explained(before, after)?, @"1. create container web100000000_p-web-1 (healthcheck.disable: added true, <services.web.healthcheck.disable>)");
    Ok(())
}

#[test]
fn what_is_new_in_an_attachment_is_told_at_its_place() -> TestResult {
    let attached = |aliases: &[&str], address: &str| {
        let mut service = web();
        let attachment = model::AttachedNetwork {
            aliases: aliases.iter().map(|name| (*name).to_owned()).collect(),
            ipv4_address: address.to_owned(),
            ..model::AttachedNetwork::default()
        };
        service.networks = IndexMap::from([("default".to_owned(), Some(attachment))]);
        service
    };
    let before = || attached(&["one"], "");
    insta::assert_snapshot!(explained(before(), attached(&["one", "two"], ""))?, @"1. create container web100000000_p-web-1 (networks: p_default (one) -> p_default (one, two), <services.web.networks.default.aliases.1>)");
    insta::assert_snapshot!(explained(before(), attached(&["one"], "172.30.0.9"))?, @"1. create container web100000000_p-web-1 (networks: p_default (one) -> p_default 172.30.0.9 (one), <services.web.networks.default.ipv4_address>)");
    insta::assert_snapshot!(explained(before(), attached(&[], ""))?, @"1. create container web100000000_p-web-1 (networks: p_default (one) -> p_default, <services.web.networks.default>)");
    Ok(())
}

#[test]
fn a_number_of_containers_is_told_with_where_it_is_said() -> TestResult {
    let mut service = web();
    service.scale = Some(0);
    let project = golden::project(vec![service]);
    let containers = vec![golden::container(&project.services["web"], 1)];
    let state = golden::observed(&project, containers);
    let graph = Graph::new(&project)?;
    let told = |scaled: &[&str]| -> Result<String, Box<dyn std::error::Error>> {
        let options = PlanOptions {
            scaled: scaled.iter().map(|name| (*name).to_owned()).collect(),
            ..PlanOptions::default()
        };
        let mut plan = plan(&project, &graph, &state, &options)?;
        explain(&mut plan, &project, &Answers::default(), &everywhere);
        Ok(plan.to_string())
    };
    insta::assert_snapshot!(told(&[])?, @r#"
    1. stop container p-web-1 (0 wanted, <services.web.scale>)
    2. remove container p-web-1 (0 wanted, <services.web.scale>) after 1
    "#);
    insta::assert_snapshot!(told(&["web"])?, @r#"
    1. stop container p-web-1 (0 wanted by `--scale`)
    2. remove container p-web-1 (0 wanted by `--scale`) after 1
    "#);
    Ok(())
}

#[test]
fn what_no_engine_keeps_is_told_as_possible() -> TestResult {
    let mut after = web();
    after.post_start = vec![Hook::default()];
    insta::assert_snapshot!(explained(web(), after)?, @"1. create container web100000000_p-web-1 (post_start may have changed, <services.web.post_start>)");
    Ok(())
}

#[test]
fn a_network_and_a_volume_say_what_changed() -> TestResult {
    let mut project = golden::project(vec![web()]);
    let data = Volume {
        name: "p_data".to_owned(),
        driver: "local".to_owned(),
        driver_opts: IndexMap::from([("o".to_owned(), "password=hunter2".to_owned())]),
        ..Volume::default()
    };
    project.volumes.insert("data".to_owned(), data);
    let mut state = golden::observed(&project, Vec::new());
    project.networks.insert(
        "default".to_owned(),
        Network {
            name: "p_default".to_owned(),
            internal: true,
            ..Network::default()
        },
    );
    let other = |labels: &mut IndexMap<String, String>| {
        labels.insert(label::CONFIG_HASH.to_owned(), "other".to_owned());
    };
    other(&mut state.networks["p_default"].labels);
    other(&mut state.volumes["p_data"].labels);
    let mut plan = plan_of(&project, &state)?;
    let answers = Answers {
        networks: IndexMap::from([("p_default".to_owned(), NetworkInspect::default())]),
        volumes: IndexMap::from([("p_data".to_owned(), EngineVolume::default())]),
        ..Answers::default()
    };
    explain(&mut plan, &project, &answers, &everywhere);
    let texts: Vec<String> = plan
        .decisions
        .iter()
        .map(|decision| serde_json::to_string(decision).unwrap_or_default())
        .collect();
    assert!(!texts.concat().contains("hunter2"));
    insta::assert_snapshot!(format!("{plan}{}", texts.join("\n")), @r#"
    1. remove network p_default (internal: false -> true, <networks.default.internal>)
    2. create network p_default (internal: false -> true, <networks.default.internal>) after 1
    3. create container p-web-1 (does not exist, <services.web>) after 2
    ? recreate volume p_data (its data will be lost)
    {"question":"recreate_volume","volume":"p_data","changes":[{"field":"driver","change":"added","to":"local","place":"<volumes.data.driver>"},{"field":"driver_opts.o","change":"added","place":"<volumes.data.driver_opts.o>"}]}
    "#);
    Ok(())
}
