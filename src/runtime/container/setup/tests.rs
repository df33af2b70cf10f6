//! The order of the steps, which is what safety depends on.

use super::*;
use crate::runtime::container::request::{
    Cgroup, ExtraFile, Limits, Namespaces, NewPrivileges, PathProtection, Process, Rootfs, Seccomp,
    Stdin, Stdio,
};

fn request() -> ContainerRequest {
    ContainerRequest {
        id: "box".into(),
        process: Process {
            argv: vec!["true".into()],
            env: Vec::new(),
            cwd: "/work".into(),
            user: String::new(),
            group_add: Vec::new(),
            capabilities: 0,
            privileges: NewPrivileges::Allowed,
            seccomp: Seccomp::Unconfined,
            rlimits: Vec::new(),
            oom_score_adj: None,
            apparmor: None,
            selinux: None,
            init: Init::Program,
            terminal: Some(TerminalSize::default()),
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
            ipc: Namespace::New,
            uts: Namespace::New,
            cgroup: Namespace::New,
            user: Namespace::Host,
            time: Namespace::Host,
            time_offsets: Vec::new(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
        },
        hostname: Some("box".into()),
        domainname: None,
        mounts: vec![
            bind(Path::new("/host/deep"), "/data/deep", Access::ReadWrite),
            bind(Path::new("/host/data"), "/data", Access::ReadOnly),
        ],
        files: vec![ExtraFile {
            source: "/s/hosts".into(),
            target: "/etc/hosts".into(),
            access: Access::ReadWrite,
        }],
        devices: Vec::new(),
        shm_size: 1,
        paths: PathProtection {
            masked: vec!["/proc/kcore".into()],
            read_only: vec!["/proc/sys".into()],
            kernel: Access::ReadOnly,
        },
        sysctls: vec![("net.core.somaxconn".into(), "9".into())],
        cgroup: Cgroup {
            path: "p/box".into(),
            limits: Limits::default(),
            devices: Vec::new(),
        },
        stdio: Stdio {
            stdin: Stdin::Closed,
        },
        log: None,
        run_dir: "/run/box".into(),
        exit_record: "/exit".into(),
        bind_owners: std::collections::BTreeMap::new(),
        runtime: None,
    }
}

fn hybrid() -> CgroupHost {
    CgroupHost::parse(
        "1 0 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n2 0 0:2 / /u rw - cgroup2 cgroup2 rw\n",
    )
}

fn steps() -> Vec<SetupOp> {
    operations(&request(), &hybrid(), Powers::Root)
}

/// Places of the steps in the list, in the order asked for.
fn places(steps: &[SetupOp], tests: &[&dyn Fn(&SetupOp) -> bool]) -> Vec<Option<usize>> {
    tests
        .iter()
        .map(|test| steps.iter().position(test))
        .collect()
}

fn is_kernel(step: &SetupOp, name: &str) -> bool {
    matches!(step, SetupOp::MountKernel { filesystem, .. } if *filesystem == name)
}

#[test]
fn the_order_keeps_the_host_out_of_reach() {
    let found = places(
        &steps(),
        &[
            &|step| {
                matches!(
                    step,
                    SetupOp::JoinNamespace {
                        kind: NamespaceKind::Network,
                        ..
                    }
                )
            },
            &|step| matches!(step, SetupOp::OpenSource { .. }),
            &|step| matches!(step, SetupOp::OwnMounts),
            &|step| matches!(step, SetupOp::MountRoot { .. }),
            &|step| matches!(step, SetupOp::EnterRoot { .. }),
            &|step| is_kernel(step, "proc"),
            &|step| matches!(step, SetupOp::MakeDevice(_)),
            &|step| matches!(step, SetupOp::JoinCgroups),
            &|step| matches!(step, SetupOp::OwnCgroupNamespace),
            &|step| is_kernel(step, "cgroup"),
            &|step| matches!(step, SetupOp::AttachSource { .. }),
            &|step| matches!(step, SetupOp::OpenTerminal(_)),
            &|step| matches!(step, SetupOp::Sysctl { .. }),
            &|step| *step == SetupOp::ReadOnlyMount("/".into()),
            &|step| matches!(step, SetupOp::Protect(_)),
            &|step| matches!(step, SetupOp::Mask(_)),
        ],
    );
    assert!(found.iter().all(Option::is_some), "{found:?}");
    assert!(found.is_sorted(), "{found:?}");
}

#[test]
fn parents_are_mounted_before_children() {
    let targets: Vec<String> = steps()
        .into_iter()
        .filter_map(|step| match step {
            SetupOp::AttachSource { target, .. } => Some(target),
            _ => None,
        })
        .collect();
    assert_eq!(targets, ["/data", "/etc/hosts", "/data/deep"]);
}

#[test]
fn a_shared_queue_namespace_shares_memory_too() {
    let mut request = request();
    request.namespaces.ipc = Namespace::Path("/proc/7/ns/ipc".into());
    let steps = operations(&request, &hybrid(), Powers::Root);
    let peer = SetupOp::OpenPeerSource {
        slot: 0,
        mounts: "/proc/7/ns/mnt".into(),
        path: "/dev/shm".into(),
    };
    assert!(steps.contains(&peer));
    let fresh = steps.iter().any(|step| matches!(step, SetupOp::MountKernel { place: Place::Below(path), .. } if path == "/dev/shm"));
    assert!(!fresh);
}

#[test]
fn version_2_is_born_inside() {
    let host = CgroupHost::parse("2 0 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    let steps = operations(&request(), &host, Powers::Root);
    assert!(!steps.contains(&SetupOp::JoinCgroups));
    assert!(steps.iter().any(|step| is_kernel(step, "cgroup2")));
}

#[test]
fn in_the_host_s_cgroup_namespace_a_container_is_given_its_own_group() {
    let mut request = request();
    request.namespaces.cgroup = Namespace::Host;
    let steps = operations(&request, &hybrid(), Powers::Root);
    let slot = 3; // behind the files and mounts
    assert!(steps.contains(&SetupOp::OpenSource {
        slot,
        path: "/sys/fs/cgroup/cpu/p/box".into(),
        recursion: Recursion::Single,
        owners: Owners::Plain,
    }));
    assert!(steps.contains(&SetupOp::AttachCgroup {
        slot,
        target: "/sys/fs/cgroup/cpu".into(),
        attributes: HARDENED | READ_ONLY,
    }));
    assert!(!steps.iter().any(|step| is_kernel(step, "cgroup")));
}

#[test]
fn no_shared_memory_is_mounted_where_none_is_wanted() {
    let mut request = request();
    request.shm_size = 0;
    let steps = operations(&request, &hybrid(), Powers::Root);
    let mounted = steps.iter().any(|step| matches!(step, SetupOp::MountKernel { place: Place::Below(path), .. } if path == "/dev/shm"));
    assert!(!mounted);
}

#[test]
fn options_of_a_tmpfs_are_split() {
    let (options, attributes) = tmpfs_options("rw,size=64m,noexec,mode=700", Access::ReadWrite);
    assert_eq!(
        options,
        [
            ("size".to_owned(), "64m".to_owned()),
            ("mode".to_owned(), "700".to_owned())
        ]
    );
    assert_eq!(attributes, NOEXEC);
}

#[test]
fn the_user_namespace_is_joined_last_and_its_keyring_made_inside() {
    let mut request = request();
    let network = PathBuf::from("/run/netns/box");
    request.namespaces.user = Namespace::Path(network.clone());
    request.namespaces.uid_map = vec![(0, 5000, 100)];
    request.namespaces.gid_map = vec![(0, 6000, 100)];
    let steps = operations(&request, &hybrid(), Powers::Root);
    let joined = SetupOp::JoinUser {
        uid: 5000,
        gid: 6000,
    };
    assert_eq!(steps[steps.len() - 2..], [joined, SetupOp::OwnKeyring]);
    let keyrings = steps
        .iter()
        .filter(|step| matches!(step, SetupOp::OwnKeyring));
    assert_eq!(keyrings.count(), 1);
    assert!(steps.contains(&SetupOp::OpenUser(network)));
    for step in &steps {
        match step {
            SetupOp::OpenSource { owners, .. } => assert_eq!(*owners, Owners::Mapped),
            SetupOp::MakeDevice(device) => assert_eq!((device.uid, device.gid), (5000, 6000)),
            SetupOp::MountRoot { .. } => panic!("the root's layers are not mapped"),
            _ => {}
        }
    }
    assert_eq!(clone_flags(&request) & libc::CLONE_NEWUSER as u64, 0);
}

#[test]
fn an_ordinary_user_has_what_it_cannot_make_from_the_host() {
    let mut request = request();
    request.namespaces.cgroup = Namespace::Host;
    let host = CgroupHost {
        v1: Vec::new(),
        v2: Some("/sys/fs/cgroup/user".into()),
    };
    let steps = operations(&request, &host, Powers::User);
    let made = |step: &SetupOp| matches!(step, SetupOp::MakeDevice(_));
    assert!(!steps.iter().any(made), "no device node is made");
    let place = |wanted: &dyn Fn(&SetupOp) -> bool| steps.iter().position(wanted);
    let left = place(&|step| matches!(step, SetupOp::EnterRoot { .. }));
    let own = place(&|step| {
        matches!(
            step,
            SetupOp::OpenKernel {
                filesystem: "proc",
                ..
            }
        )
    });
    assert!(own.is_some() && own < left, "while the host's is in sight");
    let null =
        place(&|step| matches!(step, SetupOp::AttachDevice { path, .. } if path == "/dev/null"));
    assert!(null > left);
    let group =
        place(&|step| matches!(step, SetupOp::AttachCgroup { target, .. } if target == CGROUP_TOP));
    assert!(group > left, "the container's own group");
}

#[test]
fn of_the_hosts_namespaces_an_ordinary_user_has_the_hosts_views() {
    let mut request = request();
    request.namespaces.pid = Namespace::Host;
    request.namespaces.network = Namespace::Host;
    let steps = operations(&request, &CgroupHost::default(), Powers::User);
    for (name, source) in [("proc", "/proc"), ("sys", "/sys")] {
        let slot = steps.iter().find_map(|step| match step {
            SetupOp::OpenSource { slot, path, .. } if path == Path::new(source) => Some(*slot),
            _ => None,
        });
        let attached = steps.iter().any(|step| {
            matches!(step, SetupOp::AttachKernel { slot: at, name: of, .. } if Some(*at) == slot && *of == name)
        });
        assert!(attached, "{name}");
    }
}
