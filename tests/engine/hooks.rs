//! Hooks of a service's life, and what `up --wait` takes for done, on the built-in engine.

use std::error::Error;

use crate::common::env::TestEnvironment;
use crate::common::has_root;

type TestResult = Result<(), Box<dyn Error>>;

const COMPOSE: &str = "name: hooked
x-base: &base
  image: rootfs:/
  init: true
  network_mode: none
  volumes: [./out:/out]
  stop_grace_period: 0s
services:
  web:
    <<: *base
    command: sleep 1000
    environment: {VERSION: '${VERSION:-1}'}
    pre_start: [{command: [sh, -c, 'echo pre_start >> /out/told']}]
    post_start: [{command: [sh, -c, 'echo post_start >> /out/told']}]
    pre_stop: [{command: [sh, -c, 'echo pre_stop >> /out/told']}]
  dependant:
    <<: *base
    command: sleep 1000
    depends_on: {web: {condition: service_started, restart: true}}
  job:
    <<: *base
    command: sh -c 'exit ${CODE:-0}'
    # Until it ends the job is neither healthy nor not, so that only its end can settle it.
    healthcheck: {test: [CMD, test, -e, /never], interval: 1h, start_period: 1h}
";

struct Hooked(TestEnvironment);

impl Hooked {
    fn new() -> Result<Self, Box<dyn Error>> {
        let env = TestEnvironment::new()?;
        std::fs::create_dir(env.path("out"))?;
        std::fs::write(env.path("compose.yaml"), COMPOSE)?;
        Ok(Self(env))
    }

    /// What the hooks told since the last time.
    fn told(&self) -> Result<String, Box<dyn Error>> {
        let path = self.0.path("out/told");
        let text = std::fs::read_to_string(&path)?;
        std::fs::remove_file(path)?;
        Ok(text)
    }
}

#[test]
fn each_hook_runs_in_its_turn() -> TestResult {
    if !has_root("hooks") {
        return Ok(());
    }
    let project = Hooked::new()?;
    let _up = project.0.run(["up", "-d", "web"])?.success();
    assert_eq!(project.told()?, "pre_start\npost_start\n");
    let _stopped = project.0.run(["stop", "web"])?.success();
    assert_eq!(project.told()?, "pre_stop\n");
    let script = "until test -e /out/told; do sleep 0.05; done; echo seen";
    let run = project
        .0
        .run(["run", "--rm", "-T", "web", "sh", "-c", script])?
        .success();
    assert_eq!(run.stdout, "seen\n");
    assert_eq!(project.told()?, "post_start\n");
    Ok(())
}

#[test]
fn a_job_that_is_done_counts_for_wait_and_a_broken_one_does_not() -> TestResult {
    if !has_root("up --wait") {
        return Ok(());
    }
    let project = Hooked::new()?;
    let _up = project.0.run(["up", "--wait", "job", "web"])?.success();
    let mut broken = project.0.command(["up", "--wait", "job"]);
    let broken = crate::common::env::output(broken.env("CODE", "7"))?;
    assert_eq!(broken.status, 1, "{broken}");
    assert!(broken.stderr.contains("exited (7)"), "{broken}");
    Ok(())
}

#[test]
fn a_dependant_that_asks_for_it_is_restarted_with_its_dependency() -> TestResult {
    if !has_root("depends_on.restart") {
        return Ok(());
    }
    let project = Hooked::new()?;
    let _up = project.0.run(["up", "-d"])?.success();
    let mut changed = project.0.command(["up", "-d"]);
    let recreated = crate::common::env::output(changed.env("VERSION", "2"))?.success();
    let lines: Vec<&str> = recreated.stderr.lines().map(str::trim).collect();
    let at = |text: &str| {
        lines
            .iter()
            .position(|line| *line == text)
            .ok_or(format!("{text}: {lines:#?}"))
    };
    let order = [
        at("Container hooked-dependant-1 Stopped")?,
        at("Container hooked-web-1 Recreated")?,
        at("Container hooked-web-1 Started")?,
        at("Container hooked-dependant-1 Started")?,
    ];
    assert!(order.is_sorted(), "{lines:#?}");
    Ok(())
}
