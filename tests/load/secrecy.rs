//! No error, warning or drawing of one shows a value that came from a variable, an env file or a secret.

use std::{error::Error, fs};

use crate::common::env::TestEnvironment;

type TestResult = Result<(), Box<dyn Error>>;

const SECRET: &str = "hunter2:x:y";

/// One value each that its place cannot take, substituted from `SECRET`.
const WRONG: &[&str] = &[
    "ports: ['80:${SECRET}']",
    "ports: [\"$SECRET\"]",
    "ports: [{target: '${SECRET}'}]",
    "ports: [{target: 80, host_ip: '${SECRET}'}]",
    "volumes: ['${SECRET}:z:w']",
    "volumes: ['${SECRET}']",
    "volumes: [{type: '${SECRET}', target: /x}]",
    "volumes: [{type: volume, source: '${SECRET}', target: /x}]",
    "devices: ['${SECRET}:a:b:c']",
    "mem_limit: ${SECRET}",
    "cpus: ${SECRET}",
    "scale: ${SECRET}",
    "tty: ${SECRET}",
    "stop_grace_period: ${SECRET}",
    "healthcheck: {test: [x], interval: '${SECRET}'}",
    "healthcheck: {test: ['${SECRET}']}",
    "command: \"'${SECRET}\"",
    "pull_policy: ${SECRET}",
    "depends_on: ['${SECRET}']",
    "networks: ['${SECRET}']",
    "secrets: ['${SECRET}']",
    "configs: [{source: '${SECRET}'}]",
    "network_mode: 'service:${SECRET}'",
    "extends: '${SECRET}'",
    "extends: {file: '${SECRET}', service: x}",
    "env_file: ['${SECRET}']",
    "label_file: ['${SECRET}']",
    "environment: ['${SECRET} =1']",
    "platform: ${SECRET}\n    build: {context: ., platforms: [linux/amd64]}",
    "build: {context: ., ssh: ['${SECRET}']}",
    "build: {context: ., additional_contexts: ['${SECRET}']}",
    "build: {context: ., additional_contexts: {a: 'service:${SECRET}'}}",
    "ulimits: {nofile: '${SECRET}'}",
    "deploy: {resources: {limits: {memory: '${SECRET}'}}}",
    "image: '${NONE:?give ${SECRET}}'",
    "image: '${NONE:?give $SECRET}'",
    "logging: {driver: '${SECRET}', options: 5}",
    "secrets: [{source: s, mode: '${SECRET}'}]",
    "develop: {watch: [{path: '${SECRET}', action: '${SECRET}'}]}",
];

#[test]
fn a_substituted_value_is_shown_as_it_is_written() -> TestResult {
    let env = TestEnvironment::new()?;
    fs::write(env.path("secret.env"), format!("SECRET={SECRET}\n"))?;
    let mut passed = Vec::new();
    for wrong in WRONG {
        let text = format!("services:\n  web:\n    image: nginx\n    {wrong}\n");
        let text = if wrong.starts_with("image:") {
            text.replace("    image: nginx\n", "")
        } else {
            text
        };
        fs::write(env.path("compose.yaml"), text)?;
        for style in ["plain", "json", "tty"] {
            let flags = ["--verbose", "--progress", style, "--env-file", "secret.env"];
            let output = env.run(flags.into_iter().chain(["config", "-q"]))?;
            assert!(
                !output.stderr.contains("hunter2"),
                "{wrong} ({style}):\n{output}"
            );
            if output.status == 0 {
                passed.push(*wrong);
            }
        }
    }
    passed.dedup();
    assert!(passed.is_empty(), "no mistakes for hoist: {passed:#?}");
    Ok(())
}

#[test]
fn a_value_that_is_written_in_the_file_is_shown() -> TestResult {
    let env = TestEnvironment::new()?;
    let text =
        "services:\n  web:\n    image: nginx\n    ports: ['80:http']\n    mem_limit: ${SIZE}\n";
    fs::write(env.path("compose.yaml"), text)?;
    let mut command = env.command(["config", "-q"]);
    let output = crate::common::env::output(command.env("SIZE", "12q"))?;
    assert!(
        output
            .stderr
            .contains("`80:http`: `http` is not a container port"),
        "{output}"
    );
    assert!(output.stderr.contains("not `${SIZE}`"), "{output}");
    Ok(())
}

#[test]
fn a_file_of_variables_is_named_and_not_quoted() -> TestResult {
    let env = TestEnvironment::new()?;
    let main = "services:\n  web: {image: nginx, env_file: [web.env]}\n";
    fs::write(env.path("compose.yaml"), main)?;
    for (broken, line) in [
        ("A=hunter2a\nhunter2b hunter2c=1\nB=hunter2d\n", 2),
        ("A=hunter2a\nB=\"hunter2b\nC=hunter2c\n", 2),
        ("A=hunter2a\nhunter2!b=c\n", 2),
        ("A=hunter2a\nB=${}hunter2b\nC=hunter2c\n", 2),
    ] {
        for style in ["plain", "json"] {
            fs::write(env.path("web.env"), broken)?;
            let output = env.run(["--progress", style, "config", "-q"])?;
            assert_eq!(output.status, 1, "{broken}{output}");
            assert!(!output.stderr.contains("hunter2"), "{broken}{output}");
            let place = match style {
                "json" => format!("\"line\":{line}"),
                _ => format!("web.env:{line}:"),
            };
            assert!(output.stderr.contains(&place), "{broken}{output}");
        }
        fs::write(env.path("web.env"), "A=1\n")?;
        fs::write(env.path(".env"), broken)?;
        let output = env.run(["config", "-q"])?;
        assert!(!output.stderr.contains("hunter2"), "{broken}{output}");
        assert_eq!(output.status, 1, "{broken}{output}");
        fs::remove_file(env.path(".env"))?;
    }
    Ok(())
}

#[test]
fn secrets_and_configs_of_variables_are_not_shown() -> TestResult {
    let env = TestEnvironment::new()?;
    let main = "\
services:
  web: {image: nginx, secrets: [s], configs: [c, d], build: 5, environment: [SECRET]}
secrets:
  s: {environment: SECRET, file: ./also}
configs:
  c: {environment: SECRET, content: more}
  d: {content: '${SECRET}', file: x}
";
    fs::write(env.path("compose.yaml"), main)?;
    for style in ["plain", "json"] {
        let mut command = env.command(["--verbose", "--progress", style, "config"]);
        let output = crate::common::env::output(command.env("SECRET", SECRET))?;
        assert_eq!(output.status, 1, "{output}");
        assert!(!output.stderr.contains("hunter2"), "{output}");
        assert!(output.stderr.contains("secrets.s"), "{output}");
        assert!(output.stderr.contains("configs.d"), "{output}");
    }
    Ok(())
}

#[test]
fn the_lines_around_a_mistake_show_no_secret_that_is_written_in_the_file() -> TestResult {
    let env = TestEnvironment::new()?;
    let main = "\
services:
  web:
    image: nginx
    environment:
      DB_PASSWORD: hunter2
      API_KEY: [hunter2]
      LIST: ['TOKEN=hunter2']
    environmen: {MY_SECRET: 'hunter2', COLOUR: green}
";
    fs::write(env.path("compose.yaml"), main)?;
    let output = env.run(["config", "-q"])?;
    assert_eq!(output.status, 1, "{output}");
    assert!(output.stderr.contains("DB_PASSWORD: *******"), "{output}");
    assert!(
        output
            .stderr
            .contains("MY_SECRET: '*******', COLOUR: green"),
        "{output}"
    );
    assert!(!output.stderr.contains("PASSWORD: hunter2"), "{output}");
    Ok(())
}
