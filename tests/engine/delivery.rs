//! Secrets and configs on the built-in engine: in memory, with their owner and mode, and nowhere else.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::common::env::{CommandOutput, TestEnvironment};
use crate::common::has_root;

type TestResult = Result<(), Box<dyn Error>>;

const VALUE: &str = "correct-horse-battery";

const FILE: &str = "
services:
  app:
    image: rootfs:/
    network_mode: none
    read_only: true
    command: sleep 600
    secrets:
      - {source: kept, target: kept, uid: '7', gid: '8', mode: 0400}
      - given
      - {source: lying, target: /etc/lying, uid: '9', mode: 0440}
    configs:
      - {source: written, target: /etc/written.conf}
secrets:
  kept: {external: true}
  given: {environment: GIVEN}
  lying: {file: ./lying.txt}
configs:
  written: {content: 'a = 1'}
";

struct Project {
    env: TestEnvironment,
}

impl Project {
    fn new() -> Result<Self, Box<dyn Error>> {
        let env = TestEnvironment::new()?;
        std::fs::write(env.path("compose.yaml"), FILE)?;
        std::fs::write(env.path("lying.txt"), "from a file")?;
        Ok(Self { env })
    }

    fn hoist(&self, args: &[&str]) -> Result<CommandOutput, Box<dyn Error>> {
        let file = self.env.path("compose.yaml").display().to_string();
        let mut command = self.env.command([&["-f", file.as_str()], args].concat());
        Ok(crate::common::env::output(command.env("GIVEN", VALUE))?)
    }

    /// Puts the value into the store by standard input.
    fn keep(&self) -> TestResult {
        let mut command = self.env.command(["secret", "create", "kept", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        child
            .stdin
            .take()
            .ok_or("no standard input")?
            .write_all(VALUE.as_bytes())?;
        assert!(child.wait()?.success());
        Ok(())
    }
}

/// Files below a folder that hold the value; another file system (the memory) is left out.
fn holding(folder: &Path, device: u64, found: &mut Vec<String>) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let meta = std::fs::symlink_metadata(&path)?;
        if meta.dev() != device {
            continue;
        }
        if meta.is_dir() {
            holding(&path, device, found)?;
        } else if meta.is_file() {
            let bytes = std::fs::read(&path)?;
            if bytes.windows(VALUE.len()).any(|it| it == VALUE.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    Ok(())
}

#[test]
fn secrets_are_in_memory_with_owner_and_mode_and_nowhere_else() -> TestResult {
    use std::os::unix::fs::MetadataExt;
    if !has_root("secrets of the built-in engine") {
        return Ok(());
    }
    let project = Project::new()?;
    let refused = project.hoist(&["up", "-d"])?;
    assert_ne!(refused.status, 0);
    assert!(
        refused.stderr.contains("hoist secret create kept FILE"),
        "{}",
        refused.stderr
    );
    project.keep()?;
    let _up = project.hoist(&["up", "-d"])?.success();
    let seen = project
        .hoist(&[
            "exec",
            "-T",
            "app",
            "sh",
            "-c",
            "stat -c '%n %u:%g %a' /run/secrets/kept /run/secrets/given /etc/lying /etc/written.conf; \
             cat /run/secrets/kept /run/secrets/given /etc/lying /etc/written.conf",
        ])?
        .success();
    assert_eq!(
        seen.stdout,
        format!(
            "/run/secrets/kept 7:8 400\n/run/secrets/given 0:0 444\n/etc/lying 9:0 440\n\
             /etc/written.conf 0:0 444\n{VALUE}{VALUE}from a filea = 1"
        )
    );
    let written = project.hoist(&[
        "exec",
        "-T",
        "app",
        "sh",
        "-c",
        "echo x > /etc/written.conf",
    ])?;
    assert_ne!(written.status, 0, "a config can be written");
    let mut found = Vec::new();
    for folder in ["root", "run"] {
        let folder = project.env.path(folder);
        let device = std::fs::metadata(&folder)?.dev();
        holding(&folder, device, &mut found)?;
    }
    assert_eq!(found, Vec::<String>::new(), "the value lies on a disk");
    let id = project.hoist(&["ps", "-q"])?.success();
    let restarted = project.hoist(&["restart", "-t", "0"])?;
    let _restarted = restarted.success();
    let again = project
        .hoist(&["exec", "-T", "app", "cat", "/run/secrets/given"])?
        .success();
    assert_eq!(again.stdout, VALUE);
    assert_eq!(project.hoist(&["ps", "-q"])?.success().stdout, id.stdout);
    let _down = project.hoist(&["down", "-t", "0"])?.success();
    assert!(!project.env.path("run/files").exists());
    let _stopped = project.env.run(["engine", "stop"])?.success();
    Ok(())
}
