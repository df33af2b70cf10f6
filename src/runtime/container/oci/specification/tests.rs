//! Requests and the configurations that they come to.

use std::path::PathBuf;

use super::*;
use crate::runtime::container::request::{
    Cgroup, Namespaces, OciRuntime, PathProtection, Rlimit, Rootfs, Seccomp, Stdin, Stdio,
    TimeOffset,
};

fn request() -> ContainerRequest {
    ContainerRequest {
        id: "box".into(),
        process: Process {
            argv: vec!["serve".into()],
            env: vec!["A=1".into()],
            cwd: "/srv".into(),
            user: "web".into(),
            group_add: Vec::new(),
            capabilities: 1 << 10 | 1,
            privileges: NewPrivileges::Refused,
            seccomp: Seccomp::Unconfined,
            rlimits: vec![Rlimit {
                name: "nofile".into(),
                soft: 10,
                hard: -1,
            }],
            oom_score_adj: None,
            apparmor: Some("docker-default".into()),
            selinux: None,
            init: Init::Program,
            terminal: None,
        },
        rootfs: Rootfs {
            lower: vec!["/l".into()],
            upper: "/u".into(),
            work: "/w".into(),
            access: Access::ReadOnly,
        },
        namespaces: Namespaces {
            network: Namespace::Path("/run/netns/box".into()),
            pid: Namespace::New,
            ipc: Namespace::Host,
            uts: Namespace::New,
            cgroup: Namespace::New,
            user: Namespace::Host,
            time: Namespace::Host,
            time_offsets: Vec::new(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
        },
        hostname: Some("box".into()),
        domainname: Some("example".into()),
        mounts: Vec::new(),
        files: Vec::new(),
        devices: Vec::new(),
        shm_size: 1,
        paths: PathProtection {
            masked: vec!["/proc/kcore".into()],
            read_only: vec!["/proc/sys".into()],
            kernel: Access::ReadOnly,
        },
        sysctls: vec![("net.core.somaxconn".into(), "9".into())],
        cgroup: Cgroup {
            path: "hoist/box".into(),
            limits: Limits {
                memory: Some(64 << 20),
                pids: Some(20),
                ..Limits::default()
            },
            devices: vec![DeviceRule {
                verdict: Verdict::Allow,
                kind: 'c',
                major: Some(1),
                minor: None,
                access: "rw".into(),
            }],
        },
        stdio: Stdio {
            stdin: Stdin::Closed,
        },
        log: None,
        run_dir: "/run/box".into(),
        exit_record: "/exit".into(),
        bind_owners: std::collections::BTreeMap::new(),
        runtime: Some(OciRuntime {
            name: "crun".into(),
            program: "/usr/bin/crun".into(),
            args: Vec::new(),
            seccomp: Some(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#.into()),
            annotations: vec![("a".into(), "b".into())],
            init: "/proc/1/exe".into(),
        }),
    }
}

fn web() -> Identity {
    Identity {
        uid: 33,
        gid: 33,
        groups: vec![33, 44],
        home: "/srv".into(),
    }
}

fn config(request: &ContainerRequest, mounts: &[Mount], told: Told) -> Value {
    container(&Subject {
        request,
        identity: &web(),
        mounts,
        told,
    })
}

fn kinds(config: &Value) -> Vec<&str> {
    let list = config["linux"]["namespaces"].as_array();
    let list = list.into_iter().flatten();
    list.filter_map(|one| one["type"].as_str()).collect()
}

#[test]
fn the_process_is_who_the_image_says() {
    let config = config(&request(), &[], Told::Limits);
    let process = &config["process"];
    assert_eq!(process["user"]["uid"], 33);
    assert_eq!(process["user"]["additionalGids"], json!([33, 44]));
    assert_eq!(process["env"], json!(["A=1", "HOME=/srv"]));
    assert_eq!(process["noNewPrivileges"], true);
    assert_eq!(process["apparmorProfile"], "docker-default");
    let rlimit = json!({ "type": "RLIMIT_NOFILE", "soft": 10, "hard": u64::MAX });
    assert_eq!(process["rlimits"], json!([rlimit]));
}

#[test]
fn an_ordinary_user_holds_no_capability() {
    let config = config(&request(), &[], Told::Limits);
    let capabilities = &config["process"]["capabilities"];
    let bounding = json!(["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]);
    assert_eq!(capabilities["bounding"], bounding);
    assert_eq!(capabilities["effective"], json!([]));
}

#[test]
fn namespaces_of_the_host_are_left_out() {
    let config = config(&request(), &[], Told::Limits);
    assert_eq!(kinds(&config), ["network", "pid", "uts", "cgroup", "mount"]);
    assert_eq!(config["linux"]["namespaces"][0]["path"], "/run/netns/box");
    assert_eq!(config["hostname"], "box");
    assert_eq!(config["linux"]["sysctl"]["kernel.domainname"], "example");
}

#[test]
fn clocks_have_a_namespace_only_where_they_are_asked_for() {
    let mut request = request();
    request.namespaces.time = Namespace::New;
    request.namespaces.time_offsets = vec![TimeOffset {
        clock: "boottime".into(),
        seconds: 60,
        nanoseconds: 0,
    }];
    let config = config(&request, &[], Told::Limits);
    assert!(kinds(&config).contains(&"time"));
    let offset = json!({ "secs": 60, "nanosecs": 0 });
    assert_eq!(config["linux"]["timeOffsets"]["boottime"], offset);
}

#[test]
fn limits_that_did_not_take_are_not_told() {
    let rule = json!({ "allow": true, "type": "c", "access": "rw", "major": 1 });
    let devices = json!([{ "allow": false, "access": "rwm" }, rule]);
    let told = &config(&request(), &[], Told::Limits)["linux"]["resources"];
    assert_eq!(told["memory"], json!({ "limit": 64 << 20 }));
    assert_eq!(told["pids"], json!({ "limit": 20 }));
    assert_eq!(told["devices"], devices);
    let told = &config(&request(), &[], Told::Devices)["linux"]["resources"];
    assert_eq!(told, &json!({ "devices": devices }));
}

#[test]
fn a_shared_bind_shares_the_root() {
    let bind = |propagation| Mount {
        target: "/data".into(),
        access: Access::ReadOnly,
        kind: MountKind::Bind {
            source: PathBuf::from("/run/box/sources/0"),
            recursion: Recursion::Recursive,
            propagation,
        },
    };
    let shared = config(
        &request(),
        &[bind(Propagation::RecursiveShared)],
        Told::Limits,
    );
    assert_eq!(shared["linux"]["rootfsPropagation"], "shared");
    let last = shared["mounts"].as_array().and_then(|mounts| mounts.last());
    let options = json!(["rbind", "rshared", "ro"]);
    assert_eq!(last.map(|mount| &mount["options"]), Some(&options));
    let private = config(
        &request(),
        &[bind(Propagation::RecursivePrivate)],
        Told::Limits,
    );
    assert_eq!(private["linux"].get("rootfsPropagation"), None);
}

#[test]
fn our_init_comes_before_the_program() {
    let mut request = request();
    request.process.init = Init::Own;
    let config = config(&request, &[], Told::Limits);
    assert_eq!(
        config["process"]["args"],
        json!(["/dev/init", "--", "serve"])
    );
    assert_eq!(config["annotations"], json!({ "a": "b" }));
    assert_eq!(
        config["linux"]["seccomp"]["defaultAction"],
        "SCMP_ACT_ALLOW"
    );
}
