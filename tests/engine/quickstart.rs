//! The quickstart, as a new user runs it, on the built-in engine: up, look, scale, override, down, nothing left.

use std::{
    error::Error,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
};

use crate::common::{
    env::{CommandOutput, TestEnvironment, output},
    has_root,
};

type TestResult = Result<(), Box<dyn Error>>;

/// The quickstart in an environment of its own, on a free port.
struct Quickstart {
    env: TestEnvironment,
    port: u16,
}

impl Quickstart {
    fn new() -> Result<Self, Box<dyn Error>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self {
            env: TestEnvironment::new()?,
            port,
        })
    }

    /// Runs hoist on the example's files.
    fn hoist(&self, files: &[&str], args: &[&str]) -> Result<CommandOutput, Box<dyn Error>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
        let mut command = self.env.command::<_, &str>([]);
        for file in files {
            command.arg("-f").arg(folder.join(file));
        }
        command.args(args).env("WEB_PORT", self.port.to_string());
        Ok(output(&mut command)?)
    }

    fn main(&self, args: &[&str]) -> Result<CommandOutput, Box<dyn Error>> {
        self.hoist(&["compose.yaml"], args)
    }

    /// What the published port answers.
    fn get(&self) -> Result<String, Box<dyn Error>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The links of the host that the project's networks have.
    fn bridges(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let listed = self.env.run(["network", "ls", "-q"])?.success();
        let ids = listed.stdout.lines().filter_map(|id| id.get(..12));
        let names = ids.map(|id| format!("br-{id}"));
        let exists = |name: &String| Path::new("/sys/class/net").join(name).exists();
        Ok(names.filter(exists).collect())
    }

    /// Ids of the containers of a service.
    fn ids(&self, service: &str) -> Result<Vec<String>, Box<dyn Error>> {
        let listed = self.main(&["ps", "-a", "-q", service])?.success();
        Ok(listed.stdout.lines().map(str::to_owned).collect())
    }
}

#[test]
fn the_quickstart_runs_from_up_to_down_and_leaves_nothing() -> TestResult {
    if !has_root("quickstart") {
        return Ok(());
    }
    let quickstart = Quickstart::new()?;
    let _up = quickstart.main(&["up", "-d", "--wait"])?.success();

    let answer = quickstart.get()?;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.contains("Hello from hoist\ncount: 1"),
        "{answer}"
    );

    let logs = quickstart.main(&["logs", "--no-color", "seed"])?.success();
    assert_eq!(logs.stdout.trim_end(), "seed-1  | 100");

    let token = quickstart
        .main(&["exec", "-T", "data", "cat", "/run/secrets/store_token"])?
        .success();
    assert_eq!(token.stdout, "quickstart-token\n");
    assert_eq!(
        quickstart
            .main(&["exec", "-T", "data", "sh", "-c", "exit 7"])?
            .status,
        7
    );

    let (web, workers) = (quickstart.ids("web")?, quickstart.ids("worker")?);
    let _scaled = quickstart
        .main(&["up", "-d", "--scale", "worker=5"])?
        .success();
    let scaled = quickstart.ids("worker")?;
    assert_eq!(scaled.len(), 5);
    assert!(
        workers.iter().all(|id| scaled.contains(id)),
        "scaling up keeps what runs"
    );
    assert_eq!(quickstart.ids("web")?, web);

    let data = quickstart.ids("data")?;
    let _changed = quickstart
        .hoist(
            &["compose.yaml", "compose.prod.yaml"],
            &["up", "-d", "--wait"],
        )?
        .success();
    assert_ne!(quickstart.ids("web")?, web, "the override changes `web`");
    assert_eq!(quickstart.ids("data")?, data, "and nothing else");
    assert!(quickstart.get()?.contains("Hello from production"));

    let bridges = quickstart.bridges()?;
    assert!(!bridges.is_empty(), "networks have bridges");
    let is_there = |bridge: &String| Path::new("/sys/class/net").join(bridge).exists();
    assert!(bridges.iter().all(is_there), "{bridges:?}");
    let rules = quickstart.env.run(["network", "rules"])?.success();
    assert!(rules.stdout.contains(&bridges[0]), "{rules}");

    let _down = quickstart.main(&["down", "-v"])?.success();
    assert!(!bridges.iter().any(is_there), "a link is left: {bridges:?}");
    let rules = quickstart.env.run(["network", "rules"])?.success();
    assert!(
        !bridges.iter().any(|it| rules.stdout.contains(it)),
        "{rules}"
    );
    assert_eq!(quickstart.main(&["ps", "-a", "-q"])?.success().stdout, "");
    let _stopped = quickstart.env.run(["engine", "stop"])?.success();
    assert_eq!(
        quickstart.env.left_in_run_folder()?,
        Vec::<std::path::PathBuf>::new()
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let folder = quickstart.env.path("").display().to_string();
    assert!(!mounts.contains(folder.trim_end_matches('/')), "{mounts}");
    Ok(())
}
