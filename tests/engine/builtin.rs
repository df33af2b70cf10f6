//! The built-in engine through its socket: a life from create to removal, and a `kill -9` in its middle.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use hoist::runtime::sys::netns;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Mode};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process};
use serde_json::{Value, json};

use crate::common::env::TestEnvironment;
use crate::common::has_root;

type TestResult = Result<(), Box<dyn Error>>;

/// An engine of a test's own.
struct OwnEngine {
    env: TestEnvironment,
    socket: PathBuf,
}

impl OwnEngine {
    fn start() -> Result<Self, Box<dyn Error>> {
        let env = TestEnvironment::new()?;
        let engine = Self {
            socket: env.path("run/engine.sock"),
            env,
        };
        engine.wake()?;
        Ok(engine)
    }

    /// Starts the engine where none runs.
    fn wake(&self) -> TestResult {
        let found = self.env.run(["engine", "socket"])?.success();
        assert_eq!(
            found.stdout.trim(),
            format!("unix://{}", self.socket.display())
        );
        Ok(())
    }

    /// Ends the engine process without a chance to clean up.
    fn kill(&self) -> TestResult {
        let pid: i32 = std::fs::read_to_string(self.env.path("root/engine.pid"))?.parse()?;
        kill_process(Pid::from_raw(pid).ok_or("no pid")?, Signal::KILL)?;
        Ok(())
    }

    /// One request: status and body.
    fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), Box<dyn Error>> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let kind = if body.is_some() {
            "Content-Type: application/json\r\n"
        } else {
            ""
        };
        let mut stream = UnixStream::connect(&self.socket)?;
        // HTTP/1.0: the body ends with the connection, and is in no chunks.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\n{kind}Content-Length: {}\r\n\r\n{text}",
            text.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
        let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
        Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    fn create(&self, script: &str) -> Result<String, Box<dyn Error>> {
        let wish = json!({
            "Image": "rootfs:/",
            "Cmd": ["/bin/sh", "-c", script],
            "HostConfig": { "NetworkMode": "none" },
        });
        let (status, made) = self.ask("POST", "/containers/create", Some(&wish))?;
        assert_eq!(status, 201, "{made}");
        Ok(made["Id"].as_str().unwrap_or_default().to_owned())
    }

    fn state(&self, id: &str) -> Result<Value, Box<dyn Error>> {
        let (_, inspected) = self.ask("GET", &format!("/containers/{id}/json"), None)?;
        Ok(inspected["State"].clone())
    }

    /// Ends the engine and looks for what it left.
    fn stop(&self) -> TestResult {
        let _stopped = self.env.run(["engine", "stop"])?.success();
        assert_eq!(self.env.left_in_run_folder()?, Vec::<PathBuf>::new());
        Ok(())
    }
}

#[test]
fn a_container_lives_from_create_to_removal() -> TestResult {
    if !has_root("builtin engine") {
        return Ok(());
    }
    let engine = OwnEngine::start()?;
    let id = engine.create("exit 7")?;
    assert_eq!(engine.state(&id)?["Status"], "created");
    let path = format!("/containers/{id}");
    assert_eq!(engine.ask("POST", &format!("{path}/start"), None)?.0, 204);
    let (_, ended) = engine.ask("POST", &format!("{path}/wait"), None)?;
    assert_eq!(ended["StatusCode"], 7);
    assert_eq!(engine.ask("POST", &format!("{path}/kill"), None)?.0, 409);
    assert_eq!(engine.ask("DELETE", &path, None)?.0, 204);
    assert_eq!(engine.ask("GET", &format!("{path}/json"), None)?.0, 404);
    engine.stop()
}

#[test]
fn a_killed_engine_loses_neither_containers_nor_exit_codes() -> TestResult {
    if !has_root("builtin engine") {
        return Ok(());
    }
    let engine = OwnEngine::start()?;
    let lasting = engine.create("exec sleep 600")?;
    let ending = engine.create("read line; exit 9")?;
    for id in [&lasting, &ending] {
        let started = engine.ask("POST", &format!("/containers/{id}/start"), None)?;
        assert_eq!(started.0, 204, "{}", started.1);
    }
    let pid = engine.state(&lasting)?["Pid"].clone();
    engine.kill()?;
    engine.wake()?;
    let state = engine.state(&lasting)?;
    assert_eq!((&state["Status"], &state["Pid"]), (&json!("running"), &pid));
    let (_, ended) = engine.ask("POST", &format!("/containers/{ending}/wait"), None)?;
    assert_eq!(ended["StatusCode"], 9);
    for id in [&lasting, &ending] {
        let removed = engine.ask("DELETE", &format!("/containers/{id}?force=1"), None)?;
        assert_eq!(removed.0, 204, "{}", removed.1);
    }
    engine.stop()
}

#[test]
fn engines_that_make_networks_at_once_choose_different_subnets() -> TestResult {
    if !has_root("builtin engine") {
        return Ok(());
    }
    let engines: Vec<OwnEngine> = (0..4)
        .map(|_| OwnEngine::start())
        .collect::<Result<_, _>>()?;
    let made = |engine: &OwnEngine, number: usize| -> Result<String, String> {
        let wish = json!({ "Name": format!("n{number}") });
        let made = engine.ask("POST", "/networks/create", Some(&wish));
        let (status, answer) = made.map_err(|error| error.to_string())?;
        assert_eq!(status, 201, "{answer}");
        let seen = engine.ask("GET", &format!("/networks/n{number}"), None);
        let (_, seen) = seen.map_err(|error| error.to_string())?;
        Ok(seen["IPAM"]["Config"][0]["Subnet"].to_string())
    };
    let all = std::sync::Barrier::new(engines.len());
    let mut subnets = std::thread::scope(|scope| {
        let work = engines.iter().map(|engine| {
            scope.spawn(|| {
                all.wait();
                (0..3)
                    .map(|number| made(engine, number))
                    .collect::<Result<Vec<_>, _>>()
            })
        });
        let work: Vec<_> = work.collect();
        let done = work
            .into_iter()
            .map(|work| work.join().unwrap_or_else(|_| Err("a panic".into())));
        done.collect::<Result<Vec<_>, _>>()
    })?
    .concat();
    for engine in &engines {
        for number in 0..3 {
            let (status, said) = engine.ask("DELETE", &format!("/networks/n{number}"), None)?;
            assert_eq!(status, 204, "{said}");
        }
        engine.stop()?;
    }
    subnets.sort();
    let count = subnets.len();
    subnets.dedup();
    assert_eq!(subnets.len(), count, "{subnets:?}");
    Ok(())
}

/// Waits for a line in a FIFO, with a bound: a container says that it has started.
fn hear(fifo: &std::fs::File) -> Result<String, Box<dyn Error>> {
    let patience = rustix::time::Timespec {
        tv_sec: 30,
        tv_nsec: 0,
    };
    let mut watched = [PollFd::new(fifo, PollFlags::IN)];
    if rustix::event::poll(&mut watched, Some(&patience))? == 0 {
        return Err("nothing was heard".into());
    }
    let mut text = [0; 64];
    let count = (&*fifo).read(&mut text)?;
    Ok(String::from_utf8_lossy(&text[..count]).into_owned())
}

#[test]
fn a_killed_engine_comes_back_by_itself_and_restarts_what_ends() -> TestResult {
    if !has_root("builtin engine") {
        return Ok(());
    }
    let engine = OwnEngine::start()?;
    let shared = engine.env.path("shared");
    std::fs::create_dir(&shared)?;
    let path = shared.join("beat");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0)?;
    // Open for both: it neither blocks without a writer nor ends with one.
    let fifo = OpenOptions::new().read(true).write(true).open(&path)?;
    let wish = json!({
        "Image": "rootfs:/",
        "Cmd": ["/bin/sh", "-c", "echo beat > /shared/beat; exec sleep 600"],
        "HostConfig": {
            "NetworkMode": "none",
            "Binds": [format!("{}:/shared", shared.display())],
            "RestartPolicy": { "Name": "always" },
        },
    });
    let (_, made) = engine.ask("POST", "/containers/create", Some(&wish))?;
    let id = made["Id"].as_str().ok_or("no id")?.to_owned();
    let started = engine.ask("POST", &format!("/containers/{id}/start"), None)?;
    assert_eq!(started.0, 204, "{}", started.1);
    assert_eq!(hear(&fifo)?, "beat\n");
    let first = i32::try_from(engine.state(&id)?["Pid"].as_i64().ok_or("no pid")?)?;
    engine.kill()?;
    // No command of ours is between this and the second start.
    kill_process(Pid::from_raw(first).ok_or("no pid")?, Signal::KILL)?;
    assert_eq!(hear(&fifo)?, "beat\n");
    engine.wake()?;
    let (_, inspected) = engine.ask("GET", &format!("/containers/{id}/json"), None)?;
    assert_eq!(inspected["RestartCount"], 1);
    engine.ask("DELETE", &format!("/containers/{id}?force=1"), None)?;
    engine.stop()
}

/// Asks a container's name server until it answers; a refusal is an error.
fn asked(question: &UdpSocket, name: &str) -> Result<usize, Box<dyn Error>> {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name)?, RecordType::A));
    question.send(&query.to_vec()?)?;
    let mut answer = [0; 512];
    let length = question.recv(&mut answer)?;
    Ok(Message::from_vec(&answer[..length])?.answers.len())
}

#[test]
fn a_name_that_is_asked_for_while_the_engine_is_dead_is_answered_by_the_next() -> TestResult {
    if !has_root("builtin engine") {
        return Ok(());
    }
    let engine = OwnEngine::start()?;
    let made = engine.ask("POST", "/networks/create", Some(&json!({"Name": "names"})))?;
    assert_eq!(made.0, 201, "{}", made.1);
    let wish = json!({
        "Image": "rootfs:/",
        "Cmd": ["sleep", "600"],
        "HostConfig": { "NetworkMode": "names" },
    });
    let (_, made) = engine.ask("POST", "/containers/create?name=web", Some(&wish))?;
    let id = made["Id"].as_str().ok_or("no id")?.to_owned();
    let started = engine.ask("POST", &format!("/containers/{id}/start"), None)?;
    assert_eq!(started.0, 204, "{}", started.1);
    let inside = File::open(format!("/proc/{}/ns/net", engine.state(&id)?["Pid"]))?;
    let question = netns::inside(inside.as_fd(), || UdpSocket::bind("127.0.0.1:0"))??;
    netns::inside(inside.as_fd(), || question.connect("127.0.0.11:53"))??;
    question.set_read_timeout(Some(Duration::from_secs(30)))?;
    assert_eq!(asked(&question, "web.")?, 1);
    // Twice: what was taken back from the keeper is still there for the one after.
    for _ in 0..2 {
        let number: i32 = std::fs::read_to_string(engine.env.path("root/engine.pid"))?.parse()?;
        let number = Pid::from_raw(number).ok_or("no pid")?;
        let process = rustix::process::pidfd_open(number, PidfdFlags::empty())?;
        kill_process(number, Signal::KILL)?;
        rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], None)?;
        assert_eq!(asked(&question, "web.")?, 1);
        engine.wake()?;
    }
    engine.ask("DELETE", &format!("/containers/{id}?force=1"), None)?;
    engine.stop()
}

#[test]
fn a_start_that_a_killed_engine_did_not_finish_is_undone() -> TestResult {
    if !has_root("builtin engine") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    let engine = OwnEngine {
        socket: env.path("run/engine.sock"),
        env,
    };
    // In the foreground: the keeper does not bring it back before the record is changed.
    let mut process = engine
        .env
        .command(["engine"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ready = String::new();
    BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut ready)?;
    let id = engine.create("exec sleep 600")?;
    let start = format!("/containers/{id}/start");
    assert_eq!(engine.ask("POST", &start, None)?.0, 204);
    let first = i32::try_from(engine.state(&id)?["Pid"].as_i64().ok_or("no pid")?)?;
    let first =
        rustix::process::pidfd_open(Pid::from_raw(first).ok_or("no pid")?, PidfdFlags::empty())?;
    process.kill()?;
    process.wait()?;
    // As it lies when the engine is killed between the keeper's start and its own note of it.
    let record = engine.env.path(format!("root/containers/{id}/config.json"));
    let mut text: Value = serde_json::from_slice(&std::fs::read(&record)?)?;
    text["state"]["status"] = json!("Created");
    text["state"]["pid"] = json!(0);
    std::fs::write(&record, text.to_string())?;
    engine.wake()?;
    let mut ended = [PollFd::new(&first, PollFlags::IN)];
    let now = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    assert_eq!(
        rustix::event::poll(&mut ended, Some(&now))?,
        1,
        "it runs on"
    );
    assert_eq!(engine.ask("POST", &start, None)?.0, 204);
    assert_eq!(engine.state(&id)?["Status"], "running");
    engine.ask("DELETE", &format!("/containers/{id}?force=1"), None)?;
    engine.stop()
}

/// The parent of a process.
fn parent(pid: i32) -> Result<i32, Box<dyn Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(") ").ok_or("no name")?.1;
    Ok(fields.split(' ').nth(1).ok_or("no parent")?.parse()?)
}

#[test]
fn an_end_is_noticed_though_no_keeper_could_be_started_for_a_while() -> TestResult {
    if !has_root("builtin engine") {
        return Ok(());
    }
    let engine = OwnEngine::start()?;
    let id = engine.create("exec sleep 600")?;
    let started = engine.ask("POST", &format!("/containers/{id}/start"), None)?;
    assert_eq!(started.0, 204, "{}", started.1);
    let process = i32::try_from(engine.state(&id)?["Pid"].as_i64().ok_or("no pid")?)?;
    let keeper = parent(process)?;
    let guard = parent(keeper)?;
    // A new keeper cannot listen where a folder with something in it is in its way.
    let obstacle = engine.env.path("run/keeper.sock");
    std::fs::remove_file(&obstacle)?;
    std::fs::create_dir_all(obstacle.join("in the way"))?;
    for pid in [guard, keeper] {
        kill_process(Pid::from_raw(pid).ok_or("no pid")?, Signal::KILL)?;
    }
    let log = engine.env.path("root/engine.log");
    let patience = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !std::fs::read_to_string(&log)?.contains("no keeper can be started") {
        assert!(std::time::Instant::now() < patience, "it did not even try");
    }
    kill_process(Pid::from_raw(process).ok_or("no pid")?, Signal::KILL)?;
    std::fs::remove_dir_all(&obstacle)?;
    // Whoever waits is told, and nothing else was asked of the engine.
    let waited = engine.ask("POST", &format!("/containers/{id}/wait"), None)?;
    assert_eq!(waited.0, 200, "{}", waited.1);
    assert_eq!(engine.state(&id)?["Status"], "exited");
    engine.ask("DELETE", &format!("/containers/{id}"), None)?;
    engine.stop()
}

#[test]
fn the_engine_goes_with_the_last_project_and_no_command_meets_a_closed_door() -> TestResult {
    if !has_root("builtin engine") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    std::fs::write(
        env.path("compose.yaml"),
        "services: {one: {image: 'rootfs:/', network_mode: none, command: sleep 600}}",
    )?;
    let file = env.path("compose.yaml").display().to_string();
    let hoist = |args: &[&str]| env.run([&["-f", file.as_str()], args].concat());
    for _ in 0..5 {
        let _up = hoist(&["up", "-d"])?.success();
        // The next `up` comes while the engine goes, or has gone.
        let _down = hoist(&["down", "-t", "0"])?.success();
    }
    let _up = hoist(&["up", "-d"])?.success();
    let pid: i32 = std::fs::read_to_string(env.path("root/engine.pid"))?.parse()?;
    let pid = Pid::from_raw(pid).ok_or("no pid")?;
    let engine = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let _down = hoist(&["down", "-t", "0"])?.success();
    let patience = rustix::time::Timespec {
        tv_sec: 30,
        tv_nsec: 0,
    };
    let mut ended = [PollFd::new(&engine, PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut ended, Some(&patience))?, 1);
    assert_eq!(env.left_in_run_folder()?, Vec::<PathBuf>::new());
    Ok(())
}

#[test]
fn a_container_of_a_host_directory_shows_a_digest_as_its_image() -> TestResult {
    if !has_root("builtin engine") {
        return Ok(());
    }
    let engine = OwnEngine::start()?;
    let id = engine.create("true")?;
    let (_, inspected) = engine.ask("GET", &format!("/containers/{id}/json"), None)?;
    let image = inspected["Image"].as_str().unwrap_or_default();
    assert_eq!(image.len(), "sha256:".len() + 64, "{image}");
    let (_, listed) = engine.ask("GET", "/containers/json?all=1", None)?;
    assert_eq!(
        (&listed[0]["Image"], &listed[0]["ImageID"]),
        (&json!("rootfs:/"), &json!(image))
    );
    let (_, named) = engine.ask("GET", &format!("/images/{image}/json"), None)?;
    assert_eq!(
        (&named["Id"], &named["RepoTags"]),
        (&json!(image), &json!(["rootfs:/"]))
    );
    engine.ask("DELETE", &format!("/containers/{id}"), None)?;
    engine.stop()
}

#[test]
fn a_container_that_is_connected_later_asks_the_name_server() -> TestResult {
    if !has_root("builtin engine") {
        return Ok(());
    }
    let engine = OwnEngine::start()?;
    let wish = json!({ "Image": "rootfs:/", "Cmd": ["sleep", "600"] });
    let (_, made) = engine.ask("POST", "/containers/create", Some(&wish))?;
    let id = made["Id"].as_str().ok_or("no id")?.to_owned();
    let started = engine.ask("POST", &format!("/containers/{id}/start"), None)?;
    assert_eq!(started.0, 204, "{}", started.1);
    let pid = engine.state(&id)?["Pid"].clone();
    let servers = || std::fs::read_to_string(format!("/proc/{pid}/root/etc/resolv.conf"));
    assert!(!servers()?.contains("127.0.0.11"));
    let network = json!({ "Name": "later" });
    let made = engine.ask("POST", "/networks/create", Some(&network))?;
    assert_eq!(made.0, 201, "{}", made.1);
    let wish = json!({ "Container": id });
    let joined = engine.ask("POST", "/networks/later/connect", Some(&wish))?;
    assert_eq!(joined.0, 200, "{}", joined.1);
    assert!(servers()?.contains("nameserver 127.0.0.11"));
    engine.ask("DELETE", &format!("/containers/{id}?force=1"), None)?;
    engine.ask("DELETE", "/networks/later", None)?;
    engine.stop()
}

#[test]
fn one_engine_runs_per_root() -> TestResult {
    if !has_root("builtin engine") {
        return Ok(());
    }
    let engine = OwnEngine::start()?;
    let second = engine.env.run(["engine"])?;
    assert_ne!(second.status, 0);
    assert!(
        second.stderr.contains("another engine already runs"),
        "{}",
        second.stderr
    );
    engine.stop()
}
