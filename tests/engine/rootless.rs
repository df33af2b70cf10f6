//! The built-in engine of an ordinary user, who has ids in `/etc/subuid` and `/etc/subgid` and nothing else: what a
//! project needs works, what the kernel does not allow is said.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

use crate::common::env::{TestEnvironment, output};
use crate::common::skip;
use crate::common::user::{FIRST, Ranges, UID, User, has_user};

type TestResult = Result<(), Box<dyn Error>>;

const PROGRAMS: [&str; 15] = [
    "sh", "cat", "echo", "httpd", "id", "ls", "mkdir", "nc", "ps", "rm", "sleep", "stat", "touch",
    "true", "wget",
];

/// An environment of a user, with a busybox root that every image can be made of.
fn environment(test: &str) -> Result<Option<TestEnvironment>, Box<dyn Error>> {
    if !has_user(test) {
        return Ok(None);
    }
    let places = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
    let Some(busybox) = places.into_iter().find(|place| place.exists()) else {
        skip(test, "busybox-static");
        return Ok(None);
    };
    let env = TestEnvironment::of_user(Ranges::Usual)?;
    let root = env.path("image");
    for folder in ["bin", "etc", "tmp"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(busybox, root.join("bin/busybox"))?;
    for program in PROGRAMS {
        symlink("busybox", root.join("bin").join(program))?;
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n",
    )?;
    User::own_all(&root)?;
    Ok(Some(env))
}

fn compose(env: &TestEnvironment, services: &str) -> TestResult {
    let text = services.replace(
        "IMAGE",
        &format!("image: 'rootfs:{}'", env.path("image").display()),
    );
    Ok(fs::write(env.path("compose.yaml"), text)?)
}

/// What the engine's API answers.
fn ask(env: &TestEnvironment, path: &str) -> Result<Value, Box<dyn Error>> {
    let mut stream = UnixStream::connect(env.path("run/engine.sock"))?;
    // HTTP/1.0: the body ends with the connection, and is in no chunks.
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
    Ok(serde_json::from_str(body)?)
}

/// The first process of a service's container, as this machine numbers it.
fn pid_of(env: &TestEnvironment, service: &str) -> Result<u64, Box<dyn Error>> {
    let id = env.run(["ps", "-q", service])?.success();
    let container = ask(env, &format!("/containers/{}/json", id.stdout.trim()))?;
    Ok(container["State"]["Pid"].as_u64().ok_or("no pid")?)
}

/// What a web server behind a published port says.
fn fetch(port: u16) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn published(env: &TestEnvironment, service: &str, port: &str) -> Result<u16, Box<dyn Error>> {
    let said = env.run(["port", service, port])?.success();
    let address = said.stdout.lines().next().unwrap_or_default().to_owned();
    Ok(address
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .trim()
        .parse()?)
}

#[test]
fn a_project_lives_from_up_to_down_with_names_ports_and_volumes() -> TestResult {
    let Some(env) = environment("a project of an ordinary user")? else {
        return Ok(());
    };
    compose(
        &env,
        r"
name: nest
services:
  web:
    IMAGE
    command: sh -c 'mkdir /srv; echo well > /srv/index.html; echo ready; exec httpd -f -p 80 -h /srv'
    ports: ['127.0.0.1::80']
    volumes: ['data:/data']
  client:
    IMAGE
    user: web
    command: sleep 600
    stop_signal: KILL
volumes: {data: {}}
",
    )?;
    let _up = env.run(["up", "-d"])?.success();
    let pid = pid_of(&env, "web")?;
    let process = fs::metadata(format!("/proc/{pid}"))?;
    assert_eq!(process.uid(), UID, "root of a container is the user");
    let other = pid_of(&env, "client")?;
    let other = fs::metadata(format!("/proc/{other}"))?;
    assert_eq!(
        other.uid(),
        FIRST + 32,
        "other users are of the user's range"
    );

    let map = env
        .run(["exec", "-T", "web", "cat", "/proc/self/uid_map"])?
        .success();
    let words: Vec<&str> = map.stdout.split_whitespace().collect();
    assert_eq!(words[..3], ["0", &UID.to_string(), "1"]);
    let own =
        "touch /data/file && stat -c %u:%g /data/file && echo x > /dev/null && ls /dev/pts/ptmx";
    let own = env.run(["exec", "-T", "web", "sh", "-c", own])?.success();
    assert_eq!(own.stdout, "0:0\n/dev/pts/ptmx\n");
    let made = env.run([
        "exec",
        "-T",
        "client",
        "sh",
        "-c",
        "touch /tmp/x 2>&1; id -u; wget -qO- http://web/",
    ])?;
    assert!(made.stdout.ends_with("33\nwell\n"), "{made}");

    let port = published(&env, "web", "80")?;
    assert!(fetch(port)?.ends_with("well\n"));
    let logs = env.run(["logs", "--no-log-prefix", "web"])?.success();
    assert_eq!(logs.stdout, "ready\n");
    let down = env.run(["down", "-v", "-t", "0"])?.success();
    assert!(!down.stderr.to_lowercase().contains("error"), "{down}");
    let _stopped = env.run(["engine", "stop"])?.success();
    assert_eq!(env.left_in_run_folder()?, Vec::<PathBuf>::new());
    Ok(())
}

#[test]
fn a_killed_engine_finds_its_containers_again() -> TestResult {
    let Some(env) = environment("a killed engine of an ordinary user")? else {
        return Ok(());
    };
    compose(
        &env,
        r"
services:
  web:
    IMAGE
    command: sh -c 'mkdir /srv; echo well > /srv/index.html; exec httpd -f -p 80 -h /srv'
    ports: ['127.0.0.1::80']
",
    )?;
    let _up = env.run(["up", "-d"])?.success();
    let pid = pid_of(&env, "web")?;
    let port = published(&env, "web", "80")?;
    let engine: i32 = fs::read_to_string(env.path("root/engine.pid"))?.parse()?;
    kill_process(Pid::from_raw(engine).ok_or("no pid")?, Signal::KILL)?;
    // The next command finds an engine in the same namespaces, or starts one there.
    let said = env.run(["exec", "-T", "web", "echo", "again"])?.success();
    assert_eq!(said.stdout, "again\n");
    assert_eq!(pid_of(&env, "web")?, pid);
    assert_eq!(published(&env, "web", "80")?, port);
    assert!(fetch(port)?.ends_with("well\n"));
    Ok(())
}

#[test]
fn containers_without_any_process_of_the_engine_are_stopped_all_the_same() -> TestResult {
    let Some(env) = environment("orphans of an ordinary user")? else {
        return Ok(());
    };
    // Not the user itself: who is not in the user namespace cannot even send it a signal.
    compose(
        &env,
        "services:\n  one: {IMAGE, user: web, command: sleep 600, network_mode: none}\n",
    )?;
    let _up = env.run(["up", "-d"])?.success();
    let pid = i32::try_from(pid_of(&env, "one")?)?;
    let container = pidfd_open(Pid::from_raw(pid).ok_or("no pid")?, PidfdFlags::empty())?;
    let socket = UnixStream::connect(env.path("run/keeper.sock"))?;
    let keeper = rustix::net::sockopt::socket_peercred(&socket)?.pid;
    let status = fs::read_to_string(format!("/proc/{}/status", keeper.as_raw_nonzero()))?;
    let guard = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let engine = fs::read_to_string(env.path("root/engine.pid"))?;
    // The guard first: it would bring the keeper back, and that one the engine.
    for pid in [
        guard.ok_or("no guard")?.trim(),
        &keeper.as_raw_nonzero().to_string(),
        &engine,
    ] {
        kill_process(Pid::from_raw(pid.parse()?).ok_or("no pid")?, Signal::KILL)?;
    }
    let said = env.run(["exec", "-T", "one", "id", "-u"])?.success();
    assert_eq!(said.stdout, "33\n");
    let _down = env.run(["down", "-t", "0"])?.success();
    let mut ended = [PollFd::new(&container, PollFlags::IN)];
    let patience = rustix::time::Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    assert_eq!(poll(&mut ended, Some(&patience))?, 1, "it has ended");
    Ok(())
}

#[test]
fn a_container_with_the_hosts_network_is_in_the_hosts_network() -> TestResult {
    let Some(env) = environment("the host's network of an ordinary user")? else {
        return Ok(());
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    compose(
        &env,
        &format!(
            "services:\n  one: {{IMAGE, network_mode: host, command: sh -c 'echo hello | nc 127.0.0.1 {port}; ls /sys/class/net'}}\n"
        ),
    )?;
    let _up = env.run(["up", "-d"])?.success();
    let (stream, _) = listener.accept()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    assert_eq!(line, "hello\n");
    Ok(())
}

/// The address that this machine has on its way out; none where it has no way out.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) => Some(*address.ip()),
        SocketAddr::V6(_) => None,
    }
}

#[test]
fn a_bridge_leads_out_and_to_the_host_but_not_to_its_loopback() -> TestResult {
    let Some(env) = environment("the way out of an ordinary user")? else {
        return Ok(());
    };
    let Some(own) = own_address() else {
        skip("the way out of an ordinary user", "a default route");
        return Ok(());
    };
    let open = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (port, private) = (open.local_addr()?.port(), closed.local_addr()?.port());
    let server = std::thread::spawn(move || -> std::io::Result<()> {
        for _ in 0..2 {
            open.accept()?.0.write_all(b"hi\n")?;
        }
        Ok(())
    });
    compose(
        &env,
        "services:\n  one: {IMAGE, extra_hosts: ['gate:host-gateway'], command: sleep 600, stop_signal: KILL}\n",
    )?;
    let up = env.run(["up", "-d"])?.success();
    // Either a `pasta` carries everything, or what is not carried is said.
    let carried = env.path("run/pasta.pid").exists();
    assert_eq!(
        !carried,
        up.stderr.contains("by TCP over IPv4 alone"),
        "{up}"
    );
    let ask = |host: &str, port: u16| {
        let script = format!("nc -w 5 {host} {port} < /dev/null");
        env.run(["exec", "-T", "one", "sh", "-c", &script])
    };
    let said = ask("gate", port)?;
    assert_eq!(said.stdout, "hi\n", "the host by its gateway: {said}");
    if carried {
        // There the address is one of the namespace in which the bridges stand: only others are reached by it.
        TcpStream::connect((own, port))?;
    } else {
        let said = ask(&own.to_string(), port)?;
        assert_eq!(said.stdout, "hi\n", "what leaves: {said}");
    }
    server.join().map_err(|_| "the server panicked")??;
    for host in ["gate", "127.0.0.1"] {
        let _refused = ask(host, private)?;
    }
    closed.set_nonblocking(true)?;
    let waiting = closed.accept().map_err(|error| error.kind());
    assert_eq!(waiting.map(drop), Err(ErrorKind::WouldBlock));
    Ok(())
}

#[test]
fn an_image_is_built_with_deletions_and_owners() -> TestResult {
    let Some(env) = environment("a build of an ordinary user")? else {
        return Ok(());
    };
    let file = "FROM scratch\nCOPY image /\nRUN mkdir -p /a/b && echo 1 > /a/b/old && echo 2 > /gone\n\
        RUN rm -rf /a/b /gone && mkdir /a/b && echo 3 > /a/b/new\nCOPY --chown=33:44 image/etc/passwd /mine\n\
        USER 33\nCMD [\"sh\", \"-c\", \"ls /a/b; ls /gone; stat -c %u:%g /mine; id -u\"]\n";
    fs::write(env.path("Dockerfile"), file)?;
    fs::write(env.path("compose.yaml"), "services: {one: {build: .}}\n")?;
    let said = env.run(["run", "--rm", "--build", "-T", "one"])?.success();
    assert!(said.stdout.ends_with("\nnew\n33:44\n33\n"), "{said}");
    Ok(())
}

#[test]
fn what_the_kernel_allows_no_user_is_said() -> TestResult {
    let Some(env) = environment("what an ordinary user cannot have")? else {
        return Ok(());
    };
    compose(
        &env,
        r"
services:
  limited: {IMAGE, network_mode: none, mem_limit: 64m, oom_score_adj: -100, command: 'true'}
",
    )?;
    let said = env.run(["up", "-d"])?.success();
    assert!(said.stderr.contains("oom_score_adj below 0"), "{said}");
    // Where the test's own group is delegated, the limit is kept.
    if ask(&env, "/info")?["MemoryLimit"] == false {
        assert!(
            said.stderr.contains("without effect") && said.stderr.contains(": memory"),
            "{said}"
        );
    }
    let _down = env.run(["down"])?.success();

    fs::write(
        env.path("compose.yaml"),
        "services: {one: {image: 'rootfs:/', command: 'true'}}\n",
    )?;
    let said = env.run(["up", "-d"])?;
    assert_eq!(said.status, 1, "{said}");
    assert!(
        said.stderr
            .contains("other file systems are mounted below `/`"),
        "{said}"
    );
    compose(
        &env,
        "services: {one: {IMAGE, ulimits: {nofile: 2000000000}, command: 'true'}}\n",
    )?;
    let said = env.run(["up", "-d"])?;
    assert_eq!(said.status, 1, "{said}");
    assert!(said.stderr.contains("rlimit type nofile"), "{said}");
    Ok(())
}

#[test]
fn a_user_without_ids_is_told_the_line_that_is_missing() -> TestResult {
    if !has_user("a user without ids") {
        return Ok(());
    }
    let env = TestEnvironment::of_user(Ranges::None)?;
    let said = env.run(["engine", "socket"])?;
    assert_eq!(said.status, 1, "{said}");
    assert!(
        said.stderr.contains("the line `tester:100000:65536`"),
        "{said}"
    );
    assert!(!env.path("root").exists() && !env.path("run").exists());
    Ok(())
}

#[test]
fn a_machine_without_the_helpers_is_told_the_package() -> TestResult {
    if !has_user("a machine without newuidmap") {
        return Ok(());
    }
    let env = TestEnvironment::of_user(Ranges::Usual)?;
    // What the test itself needs to become the user, and no more.
    let few = env.path("few");
    fs::create_dir(&few)?;
    let paths = std::env::var_os("PATH").unwrap_or_default();
    for program in ["unshare", "sh", "mount", "setpriv"] {
        let mut places = std::env::split_paths(&paths).map(|path| path.join(program));
        let place = places.find(|place| place.exists());
        symlink(place.ok_or("a program is missing")?, few.join(program))?;
    }
    let said = output(env.command(["engine", "socket"]).env("PATH", &few))?;
    assert_eq!(said.status, 1, "{said}");
    assert!(said.stderr.contains("apt install uidmap"), "{said}");
    Ok(())
}

#[test]
fn a_run_folder_of_somebody_else_is_refused() -> TestResult {
    if !has_user("a run folder of somebody else") {
        return Ok(());
    }
    let env = TestEnvironment::of_user(Ranges::Usual)?;
    fs::create_dir(env.path("elsewhere"))?;
    symlink(env.path("elsewhere"), env.path("run"))?;
    let said = env.run(["engine", "socket"])?;
    assert_eq!(said.status, 1, "{said}");
    Ok(())
}
