//! Containers by an installed OCI runtime: each case runs with hoist's own set-up and with crun and runc, and what its
//! processes see is the same.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use hoist::runtime::container::ContainerRequest;
use hoist::runtime::container::cgroup::{CgroupHandle, CgroupHost};
use hoist::runtime::container::request::{
    Access, Init, Limits, Mount, MountKind, Namespace, NewPrivileges, OciRuntime, Propagation,
    Recursion, Rlimit, Seccomp, Stdin, TerminalSize,
};
use hoist::runtime::container::seccomp::default_specification;
use hoist::runtime::keeper::FailureKind;

use super::fixture::{Cage, DEFAULT_CAPABILITIES, TestResult, collect};
use crate::common::env::TestEnvironment;
use crate::common::{has_root, skip};

const RUNTIMES: [&str; 2] = ["crun", "runc"];

fn program(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
    let places = folders.map(|folder| Path::new(folder).join(name));
    places.into_iter().find(|program| program.exists())
}

/// The runtimes of this machine; says which are missing.
fn installed(test: &str) -> Vec<OciRuntime> {
    let mut runtimes = Vec::new();
    for name in RUNTIMES {
        match program(name) {
            None => skip(test, name),
            Some(program) => runtimes.push(OciRuntime {
                name: name.to_owned(),
                program,
                args: Vec::new(),
                seccomp: Some(default_specification(DEFAULT_CAPABILITIES)),
                annotations: Vec::new(),
                init: env!("CARGO_BIN_EXE_hoist").into(),
            }),
        }
    }
    runtimes
}

/// Gives a request to a runtime, with the filter that it has of its own.
fn by(mut request: ContainerRequest, runtime: &OciRuntime) -> ContainerRequest {
    let mut runtime = runtime.clone();
    if request.process.seccomp == Seccomp::Unconfined {
        runtime.seccomp = None;
    }
    request.runtime = Some(runtime);
    request
}

/// What a process sees of itself, a part after the other.
const LOOK: &str = r#"
    part() { echo; echo == $1; }
    part identity; id; umask; pwd; hostname; cat /proc/sys/kernel/domainname
    part environment; env | sort
    part status; grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status
    part limits; cat /proc/self/limits
    part score; cat /proc/self/oom_score_adj
    part files; ls /proc/self/fd | wc -l
    part process; cat /proc/1/comm; tr '\0' ' ' < /proc/1/cmdline
    part devices; ls -l /dev | awk 'NR > 1 { print $1, $5, $NF }' | grep -v kcore | sort
    part mounts; awk '{ for (i = 7; $i != "-"; i++); print $5, $(i + 1), $6 }' /proc/self/mountinfo | grep -vE '^/proc/|^/sys/f' | sort
    part covers; awk '/ \/(proc|sys)\// { print $5 }' /proc/self/mountinfo | sort
    part masked; cat /proc/kcore /proc/keys 2>/dev/null | head -c 1 | wc -c; ls /sys/firmware | wc -l
    part writable; for file in /proc/sys/kernel/domainname /sys/x /sys/fs/cgroup/pids/cgroup.procs /data/x /work/x /x; do
        (echo 1 > $file) 2>/dev/null && echo yes $file || echo no $file; done
    part refused; umount /tmp 2>&1; unshare -m true 2>&1; mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem 2>&1
    part sysctl; cat /proc/sys/net/core/somaxconn; cat /proc/sys/kernel/shm_rmid_forced
    part loopback; cat /proc/net/dev | awk 'NR > 2 { print $1 }'
"#;

/// The parts of what [`LOOK`] says. It leaves out what runtimes do as they please: a dangling link `/dev/core`, who owns
/// `/dev/null`, what covers a masked path, and whether files may be made beside the hierarchies of version 1.
fn parts(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("== ") {
            Some(next) => next.clone_into(&mut name),
            None => parts.entry(name.clone()).or_default().push(line.to_owned()),
        }
    }
    parts
}

type Change = Box<dyn Fn(&Cage, &mut ContainerRequest) -> TestResult>;

fn case(change: impl Fn(&Cage, &mut ContainerRequest) -> TestResult + 'static) -> Change {
    Box::new(change)
}

fn bind(source: PathBuf, target: &str, access: Access) -> Mount {
    Mount {
        target: target.to_owned(),
        access,
        kind: MountKind::Bind {
            source,
            recursion: Recursion::Recursive,
            propagation: Propagation::RecursivePrivate,
        },
    }
}

/// The cases, by what is special about them.
fn cases() -> Vec<(&'static str, Change)> {
    vec![
        ("plain", case(|_, _| Ok(()))),
        (
            "user",
            case(|_, request| {
                request.process.user = "web".into();
                request.process.group_add = vec!["7".into()];
                request.process.cwd = "/made/for/me".into();
                request.process.env.push("A=b c".into());
                Ok(())
            }),
        ),
        (
            "locked",
            case(|_, request| {
                request.process.privileges = NewPrivileges::Refused;
                request.process.capabilities = 1 << 10;
                request.rootfs.access = Access::ReadOnly;
                request.process.oom_score_adj = Some(500);
                request.process.rlimits = vec![Rlimit {
                    name: "nofile".into(),
                    soft: 100,
                    hard: 200,
                }];
                Ok(())
            }),
        ),
        (
            "mounts",
            case(|cage, request| {
                let folder = cage.path().join("source");
                fs::create_dir_all(&folder)?;
                request.mounts = vec![
                    bind(folder.clone(), "/data", Access::ReadOnly),
                    bind(folder, "/work", Access::ReadWrite),
                    Mount {
                        target: "/quick".into(),
                        access: Access::ReadWrite,
                        kind: MountKind::Tmpfs {
                            options: "noexec,nosuid,nodev,size=65536k,mode=1770".into(),
                        },
                    },
                ];
                request.domainname = Some("example".into());
                Ok(())
            }),
        ),
        (
            "sysctls",
            case(|_, request| {
                request.sysctls = vec![
                    ("kernel.shm_rmid_forced".into(), "1".into()),
                    ("net.core.somaxconn".into(), "77".into()),
                ];
                Ok(())
            }),
        ),
        (
            "privileged",
            case(|_, request| {
                request.process.capabilities = hoist::runtime::container::capability::available();
                request.process.seccomp = Seccomp::Unconfined;
                request.paths.masked.clear();
                request.paths.read_only.clear();
                request.paths.kernel = Access::ReadWrite;
                request.cgroup.devices.clear();
                Ok(())
            }),
        ),
        (
            "of the host",
            case(|_, request| {
                request.namespaces.pid = Namespace::Host;
                request.namespaces.ipc = Namespace::Host;
                request.namespaces.uts = Namespace::Host;
                request.hostname = None;
                Ok(())
            }),
        ),
    ]
}

#[tokio::test]
async fn a_process_sees_the_same_by_each_runtime() -> TestResult {
    const TEST: &str = "a_process_sees_the_same_by_each_runtime";
    let Some(cage) = Cage::new(TEST).await? else {
        return Ok(());
    };
    let mut differences = Vec::new();
    for (name, change) in cases() {
        let request = || -> Result<ContainerRequest, Box<dyn Error>> {
            let mut request = cage.request(&["sh", "-c", LOOK])?;
            change(&cage, &mut request)?;
            Ok(request)
        };
        let own = parts(&cage.run(&request()?).await?.stdout);
        assert!(own.len() > 10, "{own:?}");
        for runtime in installed(TEST) {
            let ran = cage.run(&by(request()?, &runtime)).await?;
            let other = parts(&ran.stdout);
            for (part, lines) in &own {
                let seen = other.get(part).cloned().unwrap_or_default();
                if *lines != seen {
                    differences.push(format!(
                        "{name}, {part}, by {}:\n  own   {lines:#?}\n  other {seen:#?}\n{}",
                        runtime.name, ran.stderr
                    ));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    cage.close().await
}

#[tokio::test]
async fn namespaces_are_the_same_by_each_runtime() -> TestResult {
    const TEST: &str = "namespaces_are_the_same_by_each_runtime";
    let Some(cage) = Cage::new(TEST).await? else {
        return Ok(());
    };
    let peer = cage.request(&["sleep", "1000"])?;
    let peer = cage.start(&peer).await?.pid;
    let runtimes = installed(TEST);
    let all = std::iter::once(None).chain(runtimes.iter().map(Some));
    for runtime in all {
        let mut request = cage.request(&["sleep", "1000"])?;
        let joined = |kind: &str| Namespace::Path(format!("/proc/{peer}/ns/{kind}").into());
        request.namespaces.network = joined("net");
        request.namespaces.ipc = joined("ipc");
        if let Some(runtime) = runtime {
            request = by(request, runtime);
        }
        let started = cage.start(&request).await?;
        let of = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}"));
        let (pid, peer) = (started.pid.to_string(), peer.to_string());
        for kind in ["net", "ipc"] {
            assert_eq!(of(&pid, kind)?, of(&peer, kind)?, "{kind} {runtime:?}");
        }
        for kind in ["pid", "mnt", "uts", "cgroup"] {
            assert_ne!(of(&pid, kind)?, of("self", kind)?, "{kind} {runtime:?}");
            assert_ne!(of(&pid, kind)?, of(&peer, kind)?, "{kind} {runtime:?}");
        }
        for kind in ["user", "time"] {
            assert_eq!(of(&pid, kind)?, of("self", kind)?, "{kind} {runtime:?}");
        }
        cage.kill(&request.id).await?;
    }
    cage.close().await
}

#[tokio::test]
async fn a_runtime_s_container_is_kept_as_any_other() -> TestResult {
    const TEST: &str = "a_runtime_s_container_is_kept_as_any_other";
    let Some(cage) = Cage::new(TEST).await? else {
        return Ok(());
    };
    for runtime in installed(TEST) {
        let ran = cage
            .run(&by(
                cage.request(&["sh", "-c", "echo out; echo err >&2; exit 7"])?,
                &runtime,
            ))
            .await?;
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.as_str(), ran.exit.code),
            ("out\n", "err\n", 7)
        );
        let mut request = by(cage.request(&["sleep", "1000"])?, &runtime);
        request.cgroup.limits = Limits {
            pids: Some(50),
            ..Limits::default()
        };
        let started = cage.start(&request).await?;
        let group = CgroupHandle::new(&CgroupHost::probe()?, &request.cgroup.path);
        assert_eq!(group.pids(), [started.pid]);
        assert_eq!(group.stats().pids_limit, Some(50));
        group.freeze()?;
        group.thaw()?;
        let exit = cage.kill(&request.id).await?;
        assert_eq!((exit.code, exit.pid), (137, started.pid));
        assert!(!request.run_dir.exists());
    }
    cage.close().await
}

#[tokio::test]
async fn memory_that_runs_out_is_noticed_with_a_runtime() -> TestResult {
    const TEST: &str = "memory_that_runs_out_is_noticed_with_a_runtime";
    let Some(cage) = Cage::new(TEST).await? else {
        return Ok(());
    };
    for runtime in installed(TEST) {
        let request = by(cage.hungry()?, &runtime);
        let ran = cage.run(&request).await?;
        assert!(ran.exit.oom_killed, "{ran:?}");
        assert_eq!(ran.exit.code, 137);
    }
    cage.close().await
}

#[tokio::test]
async fn commands_run_through_the_runtime() -> TestResult {
    const TEST: &str = "commands_run_through_the_runtime";
    let Some(cage) = Cage::new(TEST).await? else {
        return Ok(());
    };
    for runtime in installed(TEST) {
        let request = by(cage.request(&["sleep", "1000"])?, &runtime);
        cage.start(&request).await?;
        let exec = |argv: &[&str]| {
            let mut exec = cage.exec_request(&request.id, argv);
            exec.runtime.clone_from(&request.runtime);
            exec
        };
        let mut wanted = exec(&[
            "sh",
            "-c",
            "id -u; pwd; cat; grep CapEff /proc/self/status; exit 5",
        ]);
        wanted.process.user = "web".into();
        wanted.process.cwd = "/tmp".into();
        wanted.stdin = Stdin::Once;
        let (started, mut session) = cage.keeper.exec(&wanted).await?;
        assert!(started.pid > 0);
        session.input.write_all(b"said\n").await?;
        session.input.close().await?;
        let (stdout, _, exit) = collect(session.output).await?;
        assert_eq!(stdout, "33\n/tmp\nsaid\nCapEff:\t0000000000000000\n");
        assert_eq!(exit.map(|exit| exit.code), Some(5));

        // A runtime may set the size only when the command runs already.
        let mut wanted = exec(&["sh", "-c", "read line; tty; stty size"]);
        wanted.stdin = Stdin::Once;
        wanted.process.terminal = Some(TerminalSize {
            rows: 11,
            columns: 22,
        });
        let (_, mut session) = cage.keeper.exec(&wanted).await?;
        session.input.write_all(b"go\n").await?;
        let (stdout, _, _) = collect(session.output).await?;
        assert!(stdout.starts_with("go\r\n/dev/pts/"), "{stdout}");
        assert!(stdout.ends_with("\r\n11 22\r\n"), "{stdout:?}");

        let cases = [
            ("/no/such", FailureKind::NotFound),
            ("nope", FailureKind::NotFound),
            ("/etc/passwd", FailureKind::NotExecutable),
        ];
        for (program, expected) in cases {
            let failed = cage.keeper.exec(&exec(&[program])).await.map(drop);
            let kind = failed.err().and_then(|error| error.kind());
            assert_eq!(kind, Some(expected), "{program} by {}", runtime.name);
        }
        cage.kill(&request.id).await?;
    }
    cage.close().await
}

#[tokio::test]
async fn a_runtime_gives_its_terminal_to_the_keeper() -> TestResult {
    const TEST: &str = "a_runtime_gives_its_terminal_to_the_keeper";
    let Some(cage) = Cage::new(TEST).await? else {
        return Ok(());
    };
    for runtime in installed(TEST) {
        let script =
            "read line; echo got $line; tty; stty size; test -c /dev/console && echo console";
        let mut request = by(cage.request(&["sh", "-c", script])?, &runtime);
        request.stdio.stdin = Stdin::Open;
        request.process.terminal = Some(TerminalSize {
            rows: 30,
            columns: 100,
        });
        let mut session = cage.keeper.attach(&request.id).await?;
        cage.start(&request).await?;
        session.input.write_all(b"hello\n").await?;
        let (stdout, _, _) = collect(session.output).await?;
        let expected = "hello\r\ngot hello\r\n/dev/pts/0\r\n30 100\r\nconsole\r\n";
        assert_eq!(stdout.replace("/dev/console", "/dev/pts/0"), expected);
    }
    cage.close().await
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_as_such() -> TestResult {
    const TEST: &str = "a_program_that_is_not_there_is_told_as_such";
    let Some(cage) = Cage::new(TEST).await? else {
        return Ok(());
    };
    let cases = [
        ("nope", FailureKind::NotFound),
        ("/etc/passwd", FailureKind::NotExecutable),
    ];
    for runtime in installed(TEST) {
        for (program, kind) in cases {
            let request = by(cage.request(&[program])?, &runtime);
            let error = cage
                .keeper
                .start(&request)
                .await
                .map(drop)
                .err()
                .ok_or("it started")?;
            assert!(error.to_string().contains(&runtime.name), "{error}");
            assert_eq!(error.kind(), Some(kind), "{error}");
            assert!(!request.run_dir.exists());
        }
    }
    cage.close().await
}

#[tokio::test]
async fn our_init_is_process_1_under_a_runtime_too() -> TestResult {
    const TEST: &str = "our_init_is_process_1_under_a_runtime_too";
    let Some(cage) = Cage::new(TEST).await? else {
        return Ok(());
    };
    for runtime in installed(TEST) {
        // The orphan is reaped by process 1: nothing is left in state Z.
        let script = "cat /proc/1/comm; (sleep 0 & exec true); while ps -o stat,comm | grep -q ^Z; do :; done; exit 9";
        let mut request = by(cage.request(&["sh", "-c", script])?, &runtime);
        request.process.init = Init::Own;
        let ran = cage.run(&request).await?;
        assert_eq!(
            (ran.stdout.as_str(), ran.exit.code),
            ("hoist-init\n", 9),
            "{ran:?}"
        );
    }
    cage.close().await
}

/// The parent of a process.
fn parent(pid: i32) -> Result<i32, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(") ").ok_or("no name")?.1;
    Ok(fields.split(' ').nth(1).ok_or("no parent")?.parse()?)
}

#[tokio::test]
async fn a_runtime_s_container_outlives_a_killed_keeper() -> TestResult {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
    const TEST: &str = "a_runtime_s_container_outlives_a_killed_keeper";
    let Some(cage) = Cage::new(TEST).await? else {
        return Ok(());
    };
    for runtime in installed(TEST) {
        let script = "until test -e /stop; do sleep 0.01; done; echo last; exit 6";
        let request = by(cage.request(&["sh", "-c", script])?, &runtime);
        let started = cage.start(&request).await?;
        let monitor = parent(started.pid)?;
        let keeper = Pid::from_raw(parent(monitor)?).ok_or("no pid")?;
        let watch = pidfd_open(keeper, PidfdFlags::empty())?;
        kill_process(keeper, Signal::KILL)?;
        poll(&mut [PollFd::new(&watch, PollFlags::IN)], None)?;

        let running = cage.keeper.list().await?;
        let pids: Vec<i32> = running.iter().map(|one| one.started.pid).collect();
        assert_eq!(pids, [started.pid]);
        let mut notices = cage.keeper.subscribe().await?;
        let mut exec = cage.exec_request(&request.id, &["touch", "/stop"]);
        exec.runtime.clone_from(&request.runtime);
        let (_, session) = cage.keeper.exec(&exec).await?;
        collect(session.output).await?;
        let exit = loop {
            let notice = notices.next().await?;
            if notice.id == request.id {
                break notice;
            }
        };
        assert_eq!((exit.known, exit.code), (true, 6), "{}", runtime.name);
        let log = request.log.as_ref().ok_or("no log")?;
        assert!(fs::read_to_string(&log.path)?.contains("last"));
    }
    cage.close().await
}

const PROJECT: &str = r#"
services:
  app:
    image: "rootfs:/"
    runtime: crun
    command: [sh, -c, "echo up; sleep 1000"]
    stop_signal: KILL
    volumes: ["data:/data"]
    healthcheck: {test: "test -d /data", interval: 1s}
volumes: {data: {}}
"#;

#[test]
fn a_service_names_its_runtime() -> TestResult {
    const TEST: &str = "a_service_names_its_runtime";
    if !has_root(TEST) {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    fs::write(
        env.path("compose.yaml"),
        PROJECT.replace("runtime: crun", "runtime: no-such"),
    )?;
    let failed = env.run(["up", "-d"])?;
    assert_ne!(failed.status, 0);
    let said = "unknown or invalid runtime name: no-such (no entry in `runtimes` of /etc/hoist/engine.json";
    assert!(failed.stderr.contains(said), "{failed}");
    if program("crun").is_none() {
        skip(TEST, "crun");
        return Ok(());
    }
    fs::write(env.path("compose.yaml"), PROJECT)?;
    let _done = env.run(["up", "-d", "--wait"])?.success();
    let ran = env.run([
        "exec",
        "-T",
        "app",
        "sh",
        "-c",
        "echo in > /data/x; cat /data/x",
    ])?;
    assert_eq!(ran.success().stdout, "in\n");
    assert!(env.run(["logs", "app"])?.success().stdout.contains("up"));
    let _done = env.run(["pause"])?.success();
    let _done = env.run(["unpause"])?.success();
    let _done = env.run(["restart", "app"])?.success();
    let _done = env.run(["down", "-v"])?.success();
    Ok(())
}
