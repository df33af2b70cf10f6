//! Docker's words made into requests.

use bollard_stubs::models::ResourcesUlimits;

use super::*;
use crate::runtime::container::capability;
use crate::runtime::container::request::{Access, MountKind, NewPrivileges, Seccomp};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn resolved(
    config: &ContainerConfig,
    host_config: &HostConfig,
    image: Option<&ImageConfig>,
) -> Result<ContainerRequest, ResolveError> {
    let rootfs = Rootfs {
        lower: Vec::new(),
        upper: "/u".into(),
        work: "/w".into(),
        access: Access::ReadWrite,
    };
    let input = ResolveInput {
        id: "0123456789abcdef",
        config,
        host_config,
        image,
        rootfs,
        mounts: Vec::new(),
        files: Vec::new(),
        network: Namespace::New,
        remap: None,
        runtime: None,
        bind_owners: BTreeMap::new(),
        peers: BTreeMap::from([("peer".to_owned(), "/proc/42".into())]),
        cgroup_parent: "hoist",
        log: None,
        run_dir: "/r".into(),
        exit_record: "/e".into(),
    };
    resolve(input).map(|resolved| resolved.request)
}

fn command(words: &[&str]) -> ContainerConfig {
    ContainerConfig {
        cmd: Some(words.iter().map(ToString::to_string).collect()),
        ..ContainerConfig::default()
    }
}

#[test]
fn an_entrypoint_of_the_client_hides_the_image_s_command() -> TestResult {
    let image = ImageConfig {
        entrypoint: Some(vec!["/entry".into()]),
        cmd: Some(vec!["serve".into()]),
        env: Some(vec!["A=1".into(), "B=2".into()]),
        ..ImageConfig::default()
    };
    let host = HostConfig::default();
    let plain = resolved(&ContainerConfig::default(), &host, Some(&image))?;
    assert_eq!(plain.process.argv, ["/entry", "serve"]);
    let own = ContainerConfig {
        entrypoint: Some(vec!["/own".into()]),
        env: Some(vec!["B=3".into(), "A".into()]),
        ..ContainerConfig::default()
    };
    let own = resolved(&own, &host, Some(&image))?;
    assert_eq!(own.process.argv, ["/own"]);
    assert_eq!(own.process.env[1..], ["HOSTNAME=0123456789ab", "B=3"]);
    assert!(matches!(
        resolved(&ContainerConfig::default(), &host, None),
        Err(ResolveError::NoCommand)
    ));
    Ok(())
}

#[test]
fn the_defaults_are_docker_s() -> TestResult {
    let request = resolved(&command(&["true"]), &HostConfig::default(), None)?;
    assert_eq!(request.process.capabilities, capability::DEFAULT);
    assert!(matches!(request.process.seccomp, Seccomp::Program(_)));
    assert_eq!(request.process.privileges, NewPrivileges::Allowed);
    assert!(request.paths.masked.contains(&"/proc/kcore".to_owned()));
    assert_eq!(request.cgroup.path, "hoist/0123456789abcdef");
    assert_eq!(request.shm_size, 64 << 20);
    Ok(())
}

#[test]
fn a_privileged_container_is_unconfined() -> TestResult {
    let host = HostConfig {
        privileged: Some(true),
        ..HostConfig::default()
    };
    let request = resolved(&command(&["true"]), &host, None)?;
    assert_eq!(request.process.seccomp, Seccomp::Unconfined);
    assert!(request.paths.masked.is_empty() && request.cgroup.devices.is_empty());
    assert_eq!(request.paths.kernel, Access::ReadWrite);
    Ok(())
}

#[test]
fn security_options_are_understood_or_refused() -> TestResult {
    let with = |option: &str| HostConfig {
        security_opt: Some(vec![option.to_owned()]),
        ..HostConfig::default()
    };
    let request = resolved(&command(&["true"]), &with("no-new-privileges:true"), None)?;
    assert_eq!(request.process.privileges, NewPrivileges::Refused);
    let request = resolved(&command(&["true"]), &with("seccomp=unconfined"), None)?;
    assert_eq!(request.process.seccomp, Seccomp::Unconfined);
    assert!(resolved(&command(&["true"]), &with("nonsense=1"), None).is_err());
    Ok(())
}

#[test]
fn memory_brings_as_much_swap() -> TestResult {
    let host = HostConfig {
        memory: Some(1 << 20),
        nano_cpus: Some(1_500_000_000),
        ..HostConfig::default()
    };
    let limits = resolved(&command(&["true"]), &host, None)?.cgroup.limits;
    assert_eq!(
        (limits.memory_swap, limits.cpu_quota, limits.cpu_period),
        (Some(2 << 20), Some(150_000), Some(100_000))
    );
    Ok(())
}

#[test]
fn modes_name_peers() -> TestResult {
    let host = HostConfig {
        pid_mode: Some("container:peer".into()),
        ipc_mode: Some("host".into()),
        ulimits: Some(vec![ResourcesUlimits {
            name: Some("nofile".into()),
            soft: Some(5),
            hard: Some(6),
        }]),
        ..HostConfig::default()
    };
    let request = resolved(&command(&["true"]), &host, None)?;
    assert_eq!(
        request.namespaces.pid,
        Namespace::Path("/proc/42/ns/pid".into())
    );
    assert_eq!(request.namespaces.ipc, Namespace::Host);
    assert_eq!(request.process.rlimits[0].soft, 5);
    let host = HostConfig {
        pid_mode: Some("container:other".into()),
        ..HostConfig::default()
    };
    assert!(resolved(&command(&["true"]), &host, None).is_err());
    Ok(())
}

#[test]
fn nothing_is_mounted_over_proc() {
    let mount = |target: &str| Mount {
        target: target.to_owned(),
        kind: MountKind::Tmpfs {
            options: String::new(),
        },
        access: Access::ReadWrite,
    };
    for target in [
        "/proc",
        "/proc/self/attr",
        "/a/../proc/sys",
        "//proc/./1",
        "relative",
        "/",
    ] {
        assert!(check_targets(&[mount(target)]).is_err(), "{target}");
    }
    for target in ["/proc/meminfo", "/procession", "/data"] {
        assert!(check_targets(&[mount(target)]).is_ok(), "{target}");
    }
}

#[test]
fn only_parameters_of_own_namespaces_are_set() {
    let with = |name: &str| HostConfig {
        sysctls: Some([(name.to_owned(), "1".to_owned())].into()),
        ..HostConfig::default()
    };
    assert!(resolved(&command(&["true"]), &with("net.core.somaxconn"), None).is_ok());
    assert!(resolved(&command(&["true"]), &with("kernel.core_pattern"), None).is_err());
    assert!(
        resolved(
            &command(&["true"]),
            &with("net/../kernel/core_pattern"),
            None
        )
        .is_err()
    );
}
