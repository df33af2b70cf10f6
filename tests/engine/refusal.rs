//! What cannot succeed is refused before anything is made: the message names the line, and nothing is left.

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::{has_root, skip};

type TestResult = Result<(), Box<dyn Error>>;

/// Runs `up -d` on a file that has to be refused; answers what was said.
fn refused(env: &TestEnvironment, compose: &str) -> Result<CommandOutput, Box<dyn Error>> {
    fs::write(env.path("compose.yaml"), compose)?;
    let refused = env.run(["-p", "refused", "up", "-d"])?;
    assert_eq!(refused.status, 1, "{refused}");
    Ok(refused)
}

#[track_caller]
fn assert_nothing_was_made(env: &TestEnvironment) -> TestResult {
    let containers = env.run(["-p", "refused", "ps", "-a", "-q"])?.success();
    assert_eq!(containers.stdout, "");
    let removed = env.run(["-p", "refused", "down", "-v"])?.success();
    assert!(
        removed.stderr.contains("No resource found to remove"),
        "{removed}"
    );
    Ok(())
}

#[test]
fn a_secret_without_its_file_is_refused_at_its_line() -> TestResult {
    if !has_root("a_secret_without_its_file_is_refused_at_its_line") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    let said = refused(
        &env,
        "services:\n  web:\n    image: rootfs:/\n    command: [sleep, '60']\n    secrets: [token]\nsecrets:\n  token:\n    file: ./gone.txt\n",
    )?;
    assert!(said.stderr.contains("service `web` needs secret `token`"));
    assert!(said.stderr.contains("compose.yaml:8:11"), "{said}");
    assert!(said.stderr.contains("help: make the file"), "{said}");
    assert_nothing_was_made(&env)
}

#[test]
fn a_taken_port_is_refused_at_its_line_with_its_holder() -> TestResult {
    if !has_root("a_taken_port_is_refused_at_its_line_with_its_holder") {
        return Ok(());
    }
    let holder = TcpListener::bind("0.0.0.0:0")?;
    let port = holder.local_addr()?.port();
    let env = TestEnvironment::new()?;
    let said = refused(
        &env,
        &format!(
            "services:\n  web:\n    image: rootfs:/\n    command: [sleep, '60']\n    ports:\n      - '{port}:80'\n"
        ),
    )?;
    let held = format!("(process {})", std::process::id());
    assert!(said.stderr.contains(&held), "{said}");
    assert!(said.stderr.contains("compose.yaml:6:9"), "{said}");
    assert_nothing_was_made(&env)
}

#[test]
fn a_taken_port_stops_only_what_depends_on_it() -> TestResult {
    if !has_root("a_taken_port_stops_only_what_depends_on_it") {
        return Ok(());
    }
    let holder = TcpListener::bind("0.0.0.0:0")?;
    let port = holder.local_addr()?.port();
    let env = TestEnvironment::new()?;
    let sleeper = "    image: rootfs:/\n    command: [sleep, '60']\n    init: true\n    stop_grace_period: 0s\n";
    let said = refused(
        &env,
        &format!(
            "services:\n  db:\n{sleeper}  web:\n{sleeper}    depends_on: [db]\n    ports:\n      - '{port}:80'\n  api:\n{sleeper}    depends_on: [web]\n"
        ),
    )?;
    assert!(said.stderr.contains("compose.yaml:14:9"), "{said}");
    let skipped = "api: skipped: start container refused-api-1\n";
    assert!(said.stderr.contains(skipped), "{said}");
    let told = said.stderr.matches("port is already allocated").count();
    assert_eq!(told, 1, "{said}");
    let running = || -> Result<String, Box<dyn Error>> {
        let listed = env.run(["-p", "refused", "ps", "--format", "{{.Service}}"])?;
        Ok(listed.success().stdout)
    };
    assert_eq!(running()?, "db\n");
    // `plan` refuses what `up` refuses, and shows what would be done all the same.
    let plan = env.run(["-p", "refused", "plan"])?;
    assert_eq!(plan.status, 1, "{plan}");
    assert!(plan.stderr.contains("port is already allocated"), "{plan}");
    drop(holder);
    let _up = env.run(["-p", "refused", "up", "-d"])?.success();
    assert_eq!(running()?, "api\ndb\nweb\n");
    let two = ["-p", "refused", "plan", "--scale", "web=2"];
    let plan = env.run(two)?;
    assert_eq!(plan.status, 1, "{plan}");
    let shown = "x create container refused-web-2  # cannot be done, see below";
    assert!(plan.stdout.contains(shown), "{plan}");
    Ok(())
}

#[test]
fn an_update_whose_containers_would_share_a_port_is_refused_at_its_line() -> TestResult {
    if !has_root("an_update_whose_containers_would_share_a_port_is_refused_at_its_line") {
        return Ok(());
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let env = TestEnvironment::new()?;
    let file = |order: &str, version: &str| {
        format!(
            "services:\n  web:\n    image: rootfs:/\n    command: [sleep, '60']\n    init: true\n    \
             stop_grace_period: 0s\n    environment: {{VERSION: '{version}'}}\n    ports:\n      - \
             '127.0.0.1:{port}:80'\n    deploy:\n      update_config: {{order: {order}}}\n"
        )
    };
    fs::write(env.path("compose.yaml"), file("start-first", "1"))?;
    let _up = env.run(["-p", "refused", "up", "-d"])?.success();
    let said = refused(&env, &file("start-first", "2"))?;
    let words = "service `web` cannot be updated with `order: start-first`";
    assert!(said.stderr.contains(words), "{said}");
    assert!(said.stderr.contains("compose.yaml:9:9"), "{said}");
    assert!(said.stderr.contains("choose `order: stop-first`"), "{said}");
    let plan = env.run(["-p", "refused", "plan"])?;
    assert_eq!(plan.status, 1, "{plan}");
    assert!(plan.stderr.contains(words), "{plan}");
    fs::write(env.path("compose.yaml"), file("stop-first", "2"))?;
    let _up = env.run(["-p", "refused", "up", "-d"])?.success();
    Ok(())
}

#[test]
fn what_the_engine_refuses_is_told_once_with_names() -> TestResult {
    if !has_root("what_the_engine_refuses_is_told_once_with_names") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    let said = refused(
        &env,
        "services:\n  gone:\n    image: rootfs:/\n    command: ['true']\n  web:\n    image: rootfs:/\n    command: [sleep, \
         '60']\n    network_mode: service:gone\n    depends_on: {gone: {condition: service_completed_successfully}}\n",
    )?;
    assert_eq!(said.stderr.matches("cannot join").count(), 1, "{said}");
    assert!(said.stderr.contains("refused-gone-1"), "{said}");
    let mut words = said
        .stderr
        .split(|letter: char| !letter.is_ascii_hexdigit());
    assert!(words.all(|word| word.len() < 64), "{said}");
    Ok(())
}

#[test]
fn an_image_that_is_not_there_is_refused_at_its_line() -> TestResult {
    if !has_root("an_image_that_is_not_there_is_refused_at_its_line") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    let said = refused(
        &env,
        "services:\n  web:\n    image: rootfs:/no/such/directory\n",
    )?;
    assert!(said.stderr.contains("compose.yaml:3:12"), "{said}");
    let said = refused(
        &env,
        "services:\n  web:\n    image: 127.0.0.1:1/nothing:1\n",
    )?;
    assert!(said.stderr.contains("compose.yaml:3:12"), "{said}");
    assert!(said.stderr.contains("hoist image load"), "{said}");
    assert_nothing_was_made(&env)
}

#[test]
fn an_ordinary_user_without_ids_is_told_what_the_engine_needs() -> TestResult {
    let env = TestEnvironment::new()?;
    fs::write(
        env.path("compose.yaml"),
        "services:\n  web:\n    image: rootfs:/\n",
    )?;
    let mut command = env.command(["up", "-d"]);
    if rustix::process::geteuid().is_root() {
        // Its own files stay readable: the folder of the test belongs to root and is private.
        fs::set_permissions(env.path(""), fs::Permissions::from_mode(0o755))?;
        command.uid(65534).gid(65534);
    }
    let said = match output(&mut command) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let test = "an_ordinary_user_without_ids_is_told_what_the_engine_needs";
            skip(test, "a checkout that others may read");
            return Ok(());
        }
        said => said?,
    };
    assert_eq!(said.status, 1, "{said}");
    assert!(said.stderr.contains("needs root, or"), "{said}");
    assert!(!env.path("root").exists() && !env.path("run").exists());
    Ok(())
}

#[test]
fn an_image_that_is_not_to_be_had_stops_only_what_depends_on_it() -> TestResult {
    if !has_root("an_image_that_is_not_to_be_had_stops_only_what_depends_on_it") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    let rest = "    command: [sleep, '60']\n    init: true\n    stop_grace_period: 0s\n    network_mode: none\n";
    let file = |image: &str| {
        format!(
            "services:\n  api:\n    image: rootfs:/\n{rest}    depends_on: [web]\n  db:\n    image: \
             rootfs:/\n{rest}  web:\n    image: {image}\n{rest}"
        )
    };
    let said = refused(&env, &file("127.0.0.1:1/nothing:1"))?;
    let told = said.stderr.matches("× pull image").count();
    assert_eq!(told, 1, "{said}");
    assert!(said.stderr.contains("compose.yaml:16:12"), "{said}");
    let skipped = "api: skipped: start container refused-api-1\n";
    assert!(said.stderr.contains(skipped), "{said}");
    let running = || -> Result<String, Box<dyn Error>> {
        let listed = env.run(["-p", "refused", "ps", "--format", "{{.Service}}"])?;
        Ok(listed.success().stdout)
    };
    assert_eq!(running()?, "db\n");
    // Attached, nothing is begun: the end of the command would leave the rest running unseen.
    let _down = env.run(["-p", "refused", "down"])?.success();
    let said = env.run(["-p", "refused", "up"])?;
    assert_eq!(said.status, 1, "{said}");
    assert_eq!(running()?, "");
    Ok(())
}
