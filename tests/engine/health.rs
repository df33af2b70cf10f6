//! Health that the engine asks for itself, and what follows when a container is sick or the machine has started anew.

use std::error::Error;
use std::fs;

use crate::common::env::TestEnvironment;
use crate::common::has_root;

type TestResult = Result<(), Box<dyn Error>>;

/// The state of the container of a service, as Docker shows it.
fn inspect(env: &TestEnvironment, service: &str) -> Result<serde_json::Value, Box<dyn Error>> {
    let listed = env
        .run(["ps", "-a", "--format", "json", service])?
        .success();
    Ok(serde_json::from_str(
        listed.stdout.lines().next().ok_or("no container")?,
    )?)
}

fn until(mut is_so: impl FnMut() -> Result<bool, Box<dyn Error>>) -> TestResult {
    let start = std::time::Instant::now();
    while !is_so()? {
        if start.elapsed() > std::time::Duration::from_secs(20) {
            return Err("it did not come".into());
        }
    }
    Ok(())
}

#[test]
fn a_port_is_asked_without_a_program_in_the_image() -> TestResult {
    if !has_root("a_port_is_asked") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    // The image has a web server, but the file names no command that checks it.
    let file = r#"
name: asked
services:
  web:
    image: rootfs:/
    network_mode: none
    stop_signal: KILL
    command: [sh, -c, "mkdir -p /srv/www && echo well > /srv/www/health && exec busybox httpd -f -p 8080 -h /srv/www"]
    x-hoist-health: {http: 8080/health}
    healthcheck: {interval: 100ms, timeout: 2s, start_interval: 50ms, start_period: 10s}
  sick:
    image: rootfs:/
    network_mode: none
    stop_signal: KILL
    command: [sleep, "1000"]
    labels: {hoist.health.tcp: "9"}
    healthcheck: {interval: 50ms, retries: 2}
    x-hoist-on-unhealthy: stop
  mended:
    image: rootfs:/
    network_mode: none
    stop_signal: KILL
    # Only the second life is well.
    command: [sh, -c, "[ -e /lived ] && exec busybox httpd -f -p 80 -h /bin; : > /lived; exec sleep 1000"]
    x-hoist-health: {tcp: 80}
    x-hoist-on-unhealthy: restart
    healthcheck: {interval: 50ms, retries: 2}
"#;
    fs::write(env.path("compose.yaml"), file)?;
    let _up = env.run(["up", "-d", "--wait", "web"])?.success();
    assert_eq!(inspect(&env, "web")?["Health"], "healthy");

    let _up = env.run(["up", "-d"])?.success();
    until(|| Ok(inspect(&env, "sick")?["State"] == "exited"))?;
    until(|| Ok(inspect(&env, "mended")?["Health"] == "healthy"))?;
    let lived = env.run(["exec", "-T", "mended", "ls", "/lived"])?;
    assert_eq!(lived.stdout, "/lived\n");

    // A label that says nothing is told at once.
    let bad = file.replace("8080/health}", "health}");
    fs::write(env.path("compose.yaml"), bad)?;
    let refused = env.run(["up", "-d", "web"])?;
    assert_ne!(refused.status, 0);
    assert!(
        refused
            .stderr
            .contains("hoist.health.http: \"health\" is not a port"),
        "{refused}"
    );
    Ok(())
}

/// Kills every process of the environment's engine, keeper and containers, and takes the run directory away: what a
/// machine that was switched off looks like when it is on again.
fn power_off(env: &TestEnvironment) -> TestResult {
    let run = env.path("run").display().to_string();
    let engine = fs::read_to_string(env.path("root/engine.pid"))?;
    let mut ours: Vec<String> = vec![engine.trim().to_owned()];
    for entry in fs::read_dir("/proc")?.flatten() {
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.starts_with("hoist\0keeper\0") && line.contains(&run) {
            ours.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    // Each brings back another that goes: so none may act while they go.
    for pid in &ours {
        let pid = rustix::process::Pid::from_raw(pid.parse()?).ok_or("no pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    }
    let containers: Vec<String> = fs::read_dir(env.path("run/containers"))?
        .flatten()
        .filter_map(|entry| {
            let record = fs::read(entry.path().join("keeper.json")).ok()?;
            let record: serde_json::Value = serde_json::from_slice(&record).ok()?;
            Some(record["started"]["pid"].to_string())
        })
        .collect();
    for pid in ours.iter().chain(&containers) {
        let pid = rustix::process::Pid::from_raw(pid.parse()?).ok_or("no pid")?;
        let watch = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        let mut wait = [rustix::event::PollFd::new(
            &watch,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut wait, None)?;
    }
    // Namespaces are pinned by mounts, which no machine has when it comes up.
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let place = line.split(' ').nth(4).unwrap_or_default();
        if place.starts_with(&run) {
            rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH)?;
        }
    }
    Ok(fs::remove_dir_all(env.path("run"))?)
}

#[test]
fn after_a_boot_containers_come_back_in_the_order_of_their_dependencies() -> TestResult {
    if !has_root("after_a_boot") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    let file = r#"
name: booted
x-all: &all {image: "rootfs:/", network_mode: none, stop_signal: KILL, restart: always, volumes: ["order:/order"]}
services:
  front:
    <<: *all
    command: [sh, -c, "echo front >> /order/log; exec sleep 1000"]
    depends_on: {back: {condition: service_healthy}, job: {condition: service_completed_successfully}}
  back:
    <<: *all
    command: [sh, -c, "sleep 0.3; echo back >> /order/log; touch /dev/shm/ready; exec sleep 1000"]
    healthcheck: {test: "test -e /dev/shm/ready", interval: 50ms, retries: 1000} # gone with each end, as /ready would not be
    depends_on: [store]
  store:
    <<: *all
    command: [sh, -c, "echo store >> /order/log; exec sleep 1000"]
  job:
    <<: *all
    restart: "no"
    command: [sh, -c, "exit 0"]
  stopped:
    <<: *all
    restart: unless-stopped
    command: [sh, -c, "echo stopped >> /order/log; exec sleep 1000"]
volumes: {order: {}}
"#;
    fs::write(env.path("compose.yaml"), file)?;
    let _up = env
        .run(["up", "-d", "--wait", "front", "back", "store"])?
        .success();
    let _up = env.run(["up", "-d", "stopped"])?.success();
    let _stopped = env.run(["stop", "stopped"])?.success();
    power_off(&env)?;

    let _engine = env.run(["engine", "socket"])?.success();
    until(|| Ok(inspect(&env, "front")?["State"] == "running"))?;
    let log = env
        .run(["exec", "-T", "front", "cat", "/order/log"])?
        .success();
    let lines: Vec<&str> = log.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "store", "back", "front", "stopped", "store", "back", "front"
        ]
    );
    assert_eq!(inspect(&env, "stopped")?["State"], "exited");
    let job = inspect(&env, "job")?;
    assert_eq!(
        (&job["State"], &job["ExitCode"]),
        (&"exited".into(), &0.into())
    );
    Ok(())
}

#[test]
fn a_wait_whose_time_is_up_tells_for_what_it_waited() -> TestResult {
    if !has_root("a_wait_whose_time_is_up_tells_for_what_it_waited") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    let service = "    image: rootfs:/\n    network_mode: none\n    init: true\n    stop_grace_period: 0s\n    command: [sleep, '1000']\n";
    let probe = "    healthcheck: {test: [CMD, 'false'], interval: 60s, retries: 9}\n";
    let file = format!(
        "name: timed\nservices:\n  fine:\n{service}  sick:\n{service}{probe}  later:\n{service}    depends_on: {{sick: {{condition: service_healthy}}}}\n"
    );
    fs::write(env.path("compose.yaml"), file)?;
    let late = env.run(["up", "-d", "--wait", "--wait-timeout", "1"])?;
    assert_eq!(late.status, 1, "{late}");
    let told = "application not healthy after 1s: still waiting for later (timed-later-1 is created), sick (timed-sick-1 is \
        running, health: starting, not checked yet)\n";
    assert!(late.stderr.contains(told), "{late}");
    let late = env.run(["up", "-d", "--wait-timeout", "1"])?;
    assert_eq!(late.status, 1, "{late}");
    let told = "timeout waiting for dependencies: still waiting for sick (timed-sick-1 is running, health: starting";
    assert!(late.stderr.contains(told), "{late}");
    assert!(!late.stderr.contains("fine ("), "{late}");
    Ok(())
}
