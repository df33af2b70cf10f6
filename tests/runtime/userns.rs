//! User namespaces: root of a container is nobody outside, and everything works as without.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::has_root;

type TestResult = Result<(), Box<dyn Error>>;

/// The first of the ids that this test's engine gives to containers, and their number.
const FIRST: u32 = 300_000;
const RANGE: &str = "300000+65536";

const PROJECT: &str = r#"
services:
  mapped:
    image: "rootfs:/"
    command: [sh, -c, "echo made > /tmp/made; echo made > /data/made; echo made > /bound/made; echo made > /quick/made; sleep 1000"]
    stop_signal: KILL
    user: "0:0"
    volumes: ["data:/data", "./bound:/bound"]
    tmpfs: [/quick]
    secrets: [word]
  host:
    image: "rootfs:/"
    command: [sleep, "1000"]
    stop_signal: KILL
    userns_mode: host
volumes: {data: {}}
secrets: {word: {file: ./word}}
"#;

fn run(env: &TestEnvironment, arguments: &[&str]) -> std::io::Result<CommandOutput> {
    output(env.command(arguments).env("HOIST_USERNS_REMAP", RANGE))
}

/// Runs what has to succeed.
fn succeed(env: &TestEnvironment, arguments: &[&str]) -> TestResult {
    let done = run(env, arguments)?;
    if done.status == 0 {
        Ok(())
    } else {
        Err(done.to_string().into())
    }
}

fn project(text: &str) -> Result<TestEnvironment, Box<dyn Error>> {
    let env = TestEnvironment::new()?;
    fs::write(env.path("compose.yaml"), text)?;
    fs::create_dir(env.path("bound"))?;
    fs::write(env.path("word"), "secret")?;
    Ok(env)
}

fn shell(env: &TestEnvironment, script: &str) -> std::io::Result<String> {
    let done = run(env, &["exec", "-T", "mapped", "sh", "-c", script])?.success();
    Ok(done.stdout.trim().to_owned())
}

/// The pid of a service's first process.
fn pid(env: &TestEnvironment, service: &str) -> Result<String, Box<dyn Error>> {
    let top = run(env, &["top", service])?.success();
    let line = top.stdout.lines().find(|line| line.contains("sleep 1000"));
    let pid = line.and_then(|line| {
        line.split_ascii_whitespace()
            .find(|word| word.parse::<u32>().is_ok_and(|pid| pid > 1 && pid != FIRST))
    });
    Ok(pid.ok_or(top.stdout.clone())?.to_owned())
}

#[test]
fn root_of_a_container_is_nobody_outside() -> TestResult {
    if !has_root("root_of_a_container_is_nobody_outside") {
        return Ok(());
    }
    let env = project(PROJECT)?;
    succeed(&env, &["up", "-d"])?;

    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/user"));
    let mapped = pid(&env, "mapped")?;
    assert_ne!(namespace(&mapped)?, namespace("self")?);
    assert_eq!(namespace(&pid(&env, "host")?)?, namespace("self")?);
    assert_eq!(fs::metadata(format!("/proc/{mapped}"))?.uid(), FIRST);
    assert_eq!(
        shell(&env, "id -u; cat /proc/self/uid_map")?
            .split_ascii_whitespace()
            .collect::<Vec<_>>(),
        ["0", "0", "300000", "65536"]
    );

    // What it makes belongs to its root, on the disk to 0 as ever.
    assert_eq!(
        shell(
            &env,
            "stat -c %u:%g /tmp/made /data/made /bound/made /quick/made /etc/passwd /etc/hosts /dev /dev/null /run/secrets/word"
        )?,
        ["0:0"; 9].join("\n")
    );
    assert_eq!(fs::metadata(env.path("bound/made"))?.uid(), 0);
    assert_eq!(shell(&env, "cat /run/secrets/word")?, "secret");

    // Its root has Docker's capabilities, but none over the host's things.
    assert_eq!(
        shell(&env, "grep CapEff /proc/self/status | cut -f 2")?,
        "00000000a80425fb"
    );
    assert_eq!(
        shell(
            &env,
            "mount -t tmpfs none /mnt 2> /dev/null || echo refused"
        )?,
        "refused"
    );
    assert_eq!(
        shell(&env, "mknod /tmp/disk b 8 0 2> /dev/null || echo refused")?,
        "refused"
    );
    assert_eq!(shell(&env, "cat /proc/kcore 2> /dev/null | wc -c")?, "0");
    assert_eq!(
        shell(
            &env,
            "echo 1 2> /dev/null > /proc/sys/kernel/panic || echo refused"
        )?,
        "refused"
    );
    Ok(())
}

#[test]
fn files_and_execs_of_a_user_namespace_have_the_owners_that_it_sees() -> TestResult {
    if !has_root("files_and_execs_of_a_user_namespace") {
        return Ok(());
    }
    let env = project(PROJECT)?;
    succeed(&env, &["up", "-d"])?;
    let user = run(
        &env,
        &[
            "exec",
            "-T",
            "-u",
            "7:8",
            "mapped",
            "sh",
            "-c",
            "id -u; id -g; echo said > /dev/stdout; echo x > /tmp/of-seven",
        ],
    )?
    .success();
    assert_eq!(user.stdout, "7\n8\nsaid\n");

    // Copied in and out of the running container, and out of the stopped one.
    fs::write(env.path("in"), "copied")?;
    std::os::unix::fs::chown(env.path("in"), Some(7), Some(8))?;
    succeed(&env, &["cp", "-a", "in", "mapped:/tmp/in"])?;
    assert_eq!(
        shell(&env, "cat /tmp/in; stat -c :%u:%g /tmp/in /tmp/of-seven")?,
        "copied:7:8\n:7:8"
    );
    succeed(&env, &["cp", "-a", "mapped:/tmp/of-seven", "running"])?;
    assert_eq!(fs::metadata(env.path("running"))?.uid(), 7);
    succeed(&env, &["stop", "mapped"])?;
    succeed(&env, &["cp", "-a", "mapped:/tmp/of-seven", "stopped"])?;
    assert_eq!(fs::metadata(env.path("stopped"))?.uid(), 7);

    // And with the namespace gone, the volume is as any other.
    succeed(&env, &["start", "mapped"])?;
    assert_eq!(shell(&env, "cat /data/made")?, "made");
    Ok(())
}

#[test]
fn what_only_the_host_s_root_may_have_is_refused_in_docker_s_words() -> TestResult {
    if !has_root("what_only_the_host_s_root_may_have") {
        return Ok(());
    }
    let service = |option: &str| {
        format!(
            "services:\n  one:\n    image: \"rootfs:/\"\n    command: [\"true\"]\n    {option}\n"
        )
    };
    let cases = [
        (
            "privileged: true",
            "privileged mode is incompatible with user namespaces",
        ),
        (
            "network_mode: host",
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (
            "pid: host",
            "cannot share the host PID namespace when user namespaces are enabled",
        ),
    ];
    let env = project(PROJECT)?;
    for (option, said) in cases {
        fs::write(env.path("compose.yaml"), service(option))?;
        let refused = run(&env, &["up"])?;
        assert!(
            refused.status != 0 && refused.stderr.contains(said),
            "{refused}"
        );
        let out = format!("{option}\n    userns_mode: host");
        fs::write(env.path("compose.yaml"), service(&out))?;
        succeed(&env, &["up"])?;
    }
    Ok(())
}

const BINDS: &str = r#"
services:
  app:
    image: "rootfs:/"
    command: [sh, -c, "until test -e /mapped/go; do sleep 0.1; done; sleep 1000"]
    stop_signal: KILL
    volumes:
      - {type: bind, source: ./bound, target: /mapped, x-hoist-idmap: true}
      - {type: bind, source: ./bound, target: /named, x-hoist-idmap: {uid: "5:1000", gid: "5:1000"}}
      - {type: bind, source: ./bound, target: /plain}
"#;

/// Runs the test's body with and without a user namespace for each container.
fn with_and_without(body: impl Fn(&TestEnvironment, &Command) -> TestResult) -> TestResult {
    for remap in ["", RANGE] {
        let env = project(BINDS)?;
        let command: &Command =
            &|arguments: &[&str]| output(env.command(arguments).env("HOIST_USERNS_REMAP", remap));
        body(&env, command)?;
        let _down = command(&["down"])?.success();
    }
    Ok(())
}

type Command<'a> = dyn Fn(&[&str]) -> std::io::Result<CommandOutput> + 'a;

#[test]
fn a_bind_shows_and_makes_files_as_the_container_s_user() -> TestResult {
    if !has_root("a_bind_shows_and_makes_files_as_the_container_s_user") {
        return Ok(());
    }
    with_and_without(|env, run| {
        let bound = env.path("bound");
        std::os::unix::fs::chown(&bound, Some(1000), Some(1000))?;
        let _up = run(&["up", "-d"])?.success();
        let shell = |script: &str| run(&["exec", "-T", "app", "sh", "-c", script]);
        let shown = shell("stat -c %u:%g /mapped /named")?.success().stdout;
        assert_eq!(shown, "0:0\n5:5\n");
        let _made = shell("echo new > /mapped/file; chmod 600 /mapped/file")?.success();
        let file = fs::metadata(bound.join("file"))?;
        assert_eq!((file.uid(), file.gid()), (1000, 1000));
        // Who lost an id to the map can make nothing: it would be somebody else's on the host.
        let other = run(&["exec", "-T", "-u", "1000", "app", "touch", "/mapped/x"])?;
        assert_ne!(other.status, 0);
        assert!(!bound.join("x").exists());
        Ok(())
    })
}

#[test]
fn a_map_of_owners_is_told_where_it_goes_wrong() -> TestResult {
    if !has_root("a_map_of_owners_is_told_where_it_goes_wrong") {
        return Ok(());
    }
    let env = project(&BINDS.replace("x-hoist-idmap: true", "x-hoist-idmap: everything"))?;
    let failed = run(&env, &["up", "-d"])?;
    let said = "label hoist.idmap, /mapped: `everything` is not `true`, `CONTAINER:HOST` or";
    assert_ne!(failed.status, 0);
    assert!(failed.stderr.contains(said), "{failed}");
    // Proc knows no mapped mounts.
    let text = BINDS.replace(
        "source: ./bound, target: /mapped",
        "source: /proc, target: /mapped",
    );
    fs::write(env.path("compose.yaml"), text)?;
    let failed = run(&env, &["up", "-d"])?;
    assert_ne!(failed.status, 0);
    assert!(
        failed
            .stderr
            .contains("its file system knows no mapped mounts"),
        "{failed}"
    );
    let _down = run(&env, &["down"])?.success();
    Ok(())
}
