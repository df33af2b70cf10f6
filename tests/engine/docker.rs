//! The commands on a Docker engine: the one that `DOCKER_HOST` names, with an image `busybox` on it.

use std::error::Error;
use std::io::Write;
use std::process::Stdio;

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::skip;

type Outcome = Result<(), Box<dyn Error>>;

const COMPOSE: &str = "
services:
  web:
    image: busybox
    command: sh -c 'echo to-stdout; echo to-stderr >&2; sleep 1000'
    stop_grace_period: 0s
    scale: 2
  job:
    image: busybox
    command: sh -c 'exit 3'
";

/// A project of its own on the engine; it is taken down when dropped.
struct Project {
    env: TestEnvironment,
    host: String,
    name: String,
}

impl Project {
    /// Answers none, and says so, where no engine is named.
    fn up(test: &str) -> Result<Option<Self>, Box<dyn Error>> {
        let Some(host) = std::env::var("DOCKER_HOST")
            .ok()
            .filter(|it| !it.is_empty())
        else {
            skip(test, "a Docker engine in DOCKER_HOST");
            return Ok(None);
        };
        let env = TestEnvironment::new()?;
        std::fs::write(env.path("compose.yaml"), COMPOSE)?;
        let name = format!("hoist-test-{test}-{}", std::process::id());
        let project = Self { env, host, name };
        let _up = project.run(&["up", "-d"])?.success();
        Ok(Some(project))
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.env.command(["-p", &self.name]);
        command.args(args).env("DOCKER_HOST", &self.host);
        command
    }

    fn run(&self, args: &[&str]) -> std::io::Result<CommandOutput> {
        output(&mut self.command(args))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _down = self.run(&["down", "-v", "-t", "0", "--remove-orphans"]);
    }
}

#[test]
fn exec_joins_the_streams_and_answers_the_exit_code() -> Outcome {
    let Some(project) = Project::up("exec")? else {
        return Ok(());
    };
    let failed = project.run(&["exec", "web", "sh", "-c", "echo out; echo err >&2; exit 7"])?;
    assert_eq!(
        (failed.status, failed.stdout.as_str()),
        (7, "out\n"),
        "{failed}"
    );
    assert_eq!(failed.stderr, "err\n");
    let mut child = project
        .command(&["exec", "-T", "--index", "2", "web", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(b"through and back")?;
    }
    assert_eq!(child.wait_with_output()?.stdout, b"through and back");
    Ok(())
}

#[test]
fn logs_carry_the_names_of_the_containers() -> Outcome {
    let Some(project) = Project::up("logs")? else {
        return Ok(());
    };
    let logs = project.run(&["logs", "web"])?.success();
    let mut lines: Vec<_> = logs.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "web-1  | to-stderr",
            "web-1  | to-stdout",
            "web-2  | to-stderr",
            "web-2  | to-stdout"
        ]
    );
    let one = project.run(&["logs", "--index", "2", "--no-log-prefix", "-n", "1", "web"])?;
    assert_eq!(one.success().stdout.lines().count(), 1);
    Ok(())
}

#[test]
fn files_travel_into_every_replica_and_back() -> Outcome {
    let Some(project) = Project::up("cp")? else {
        return Ok(());
    };
    let _copied = project
        .run(&["cp", "compose.yaml", "web:/tmp/there"])?
        .success();
    let _back = project
        .run(&["cp", "--index", "2", "web:/tmp/there", "back.yaml"])?
        .success();
    assert_eq!(
        std::fs::read_to_string(project.env.path("back.yaml"))?,
        COMPOSE
    );
    Ok(())
}

#[test]
fn what_is_frozen_cannot_be_frozen_again() -> Outcome {
    let Some(project) = Project::up("pause")? else {
        return Ok(());
    };
    let _paused = project.run(&["pause", "web"])?.success();
    let states = project.run(&["ps", "--format", "{{.State}}", "web"])?;
    assert_eq!(states.success().stdout, "paused\npaused\n");
    let again = project.run(&["pause", "web"])?;
    assert_eq!(again.status, 1, "{again}");
    assert!(again.stderr.contains("already paused"), "{again}");
    let _thawed = project.run(&["unpause"])?;
    let _killed = project.run(&["kill", "web"])?.success();
    let left = project.run(&["ps", "-q"])?;
    assert_eq!(left.success().stdout, "");
    Ok(())
}
