//! `x-hoist-on-change`: changed contents of secrets and configs reach a service as it asks, and nothing else does.

use std::error::Error;

use crate::common::env::{CommandOutput, TestEnvironment};
use crate::common::has_root;

type TestResult = Result<(), Box<dyn Error>>;

const FILE: &str = "
services:
  app:
    image: rootfs:/
    network_mode: none
    stop_grace_period: 0s
    command: ['sh', '-c', 'trap \"cat /etc/a.conf /run/secrets/token\" HUP; echo up; while :; do sleep 0.1; done']
    configs:
      - {source: written, target: /etc/a.conf, x-hoist-on-change: ON_CONFIG}
    secrets: [token]
    x-hoist-on-change: {signal: SIGHUP}
configs:
  written: {content: 'a = ${A}'}
secrets:
  token: {file: ./token.txt}
";

struct Project {
    env: TestEnvironment,
}

impl Project {
    fn new(on_config: &str) -> Result<Self, Box<dyn Error>> {
        let env = TestEnvironment::new()?;
        std::fs::write(
            env.path("compose.yaml"),
            FILE.replace("ON_CONFIG", on_config),
        )?;
        std::fs::write(env.path("token.txt"), "secret-1\n")?;
        Ok(Self { env })
    }

    fn hoist(&self, value: &str, args: &[&str]) -> Result<CommandOutput, Box<dyn Error>> {
        let file = self.env.path("compose.yaml").display().to_string();
        let mut command = self.env.command([&["-f", file.as_str()], args].concat());
        Ok(crate::common::env::output(command.env("A", value))?)
    }

    fn plan(&self, value: &str) -> Result<String, Box<dyn Error>> {
        Ok(self.hoist(value, &["plan"])?.success().stdout)
    }

    /// Id and start of the container.
    fn container(&self) -> Result<(String, String), Box<dyn Error>> {
        let id = self.hoist("1", &["ps", "-q", "app"])?.success().stdout;
        let id = id.trim().to_owned();
        let shown = self.hoist(
            "1",
            &["exec", "-T", "app", "cut", "-d ", "-f22", "/proc/1/stat"],
        )?;
        Ok((id, shown.success().stdout))
    }

    fn wait_for_log(&self, text: &str) -> TestResult {
        let logs = || self.hoist("1", &["logs", "--no-log-prefix"]);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::time::Instant::now() < end {
            if logs()?.stdout.contains(text) {
                return Ok(());
            }
        }
        Err(format!("`{text}` is not in {:?}", logs()?.stdout).into())
    }

    fn end(&self) -> TestResult {
        let _down = self.hoist("1", &["down", "-t", "0"])?.success();
        let _stopped = self.env.run(["engine", "stop"])?.success();
        Ok(())
    }
}

#[test]
fn a_signal_follows_a_new_content_and_only_a_new_one() -> TestResult {
    if !has_root("secrets of the built-in engine") {
        return Ok(());
    }
    let project = Project::new("{signal: SIGHUP}")?;
    let _up = project.hoist("1", &["up", "-d"])?.success();
    project.wait_for_log("up")?;
    let before = project.container()?;
    let plan = project.plan("2")?;
    assert!(
        plan.contains("send SIGHUP to container")
            && plan.contains("content of config `written` changed"),
        "{plan}"
    );
    let _up = project.hoist("2", &["up", "-d"])?.success();
    project.wait_for_log("a = 2")?;
    // A secret that is written anew in its place.
    std::fs::write(project.env.path("token.txt"), "secret-2\n")?;
    let plan = project.plan("2")?;
    assert!(
        plan.contains("content of secret `token`") && plan.contains("token.txt"),
        "{plan}"
    );
    assert!(!plan.contains("secret-"), "{plan}");
    let _up = project.hoist("2", &["up", "-d"])?.success();
    project.wait_for_log("secret-2")?;
    assert_eq!(project.container()?, before);
    let plan = project.plan("2")?;
    assert!(!plan.contains("SIGHUP"), "told again: {plan}");
    // One that is replaced is another file: a bind shows it after a restart.
    std::fs::write(project.env.path("new.txt"), "secret-3\n")?;
    std::fs::rename(project.env.path("new.txt"), project.env.path("token.txt"))?;
    let _up = project.hoist("2", &["up", "-d"])?.success();
    let seen = project.hoist("2", &["exec", "-T", "app", "cat", "/run/secrets/token"])?;
    assert_eq!(seen.success().stdout, "secret-3\n");
    let after = project.container()?;
    assert!(after.0 == before.0 && after.1 != before.1);
    assert!(
        project.plan("2")?.lines().count() <= 1,
        "{}",
        project.plan("2")?
    );
    project.end()
}

#[test]
fn a_container_is_replaced_or_restarted_for_a_new_content() -> TestResult {
    if !has_root("secrets of the built-in engine") {
        return Ok(());
    }
    for (on_config, replaced) in [("recreate", true), ("restart", false)] {
        let project = Project::new(on_config)?;
        let _up = project.hoist("1", &["up", "-d"])?.success();
        let before = project.container()?;
        let _up = project.hoist("2", &["up", "-d"])?.success();
        let after = project.container()?;
        assert_eq!(before.0 != after.0, replaced, "{on_config}");
        assert_ne!(before.1, after.1, "{on_config}");
        let seen = project.hoist("2", &["exec", "-T", "app", "cat", "/etc/a.conf"])?;
        assert_eq!(seen.success().stdout, "a = 2");
        let plan = project.plan("2")?;
        assert!(!plan.contains("changed"), "{plan}");
        project.end()?;
    }
    Ok(())
}

#[test]
fn a_word_that_means_nothing_is_told_with_its_line() -> TestResult {
    let project = Project::new("reload")?;
    let refused = project.hoist("1", &["config", "-q"])?;
    assert_ne!(refused.status, 0);
    assert!(
        refused
            .stderr
            .contains("`x-hoist-on-change` is `recreate`, `restart` or a signal")
    );
    assert!(
        refused.stderr.contains("compose.yaml:9"),
        "{}",
        refused.stderr
    );
    Ok(())
}
