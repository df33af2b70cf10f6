//! The commands that read, against an engine that answers from a list.

use std::io;

use serde_json::{Value, json};

use crate::common::env::{CommandOutput, TestEnvironment};
use crate::common::stub::{StubEngine, container};

/// A shop with a web service, two workers and a job that failed.
fn shop() -> io::Result<(TestEnvironment, StubEngine)> {
    let env = TestEnvironment::new()?;
    let running = json!([
        container("shop-worker-2", "worker", 2, "Up 5 seconds (healthy)"),
        container("shop-web-1", "web", 1, "Up 5 seconds"),
        container("shop-worker-1", "worker", 1, "Up 5 seconds (unhealthy)"),
    ]);
    let mut all = running.clone();
    if let Some(list) = all.as_array_mut() {
        list.push(container(
            "shop-job-1",
            "job",
            1,
            "Exited (3) 4 seconds ago",
        ));
    }
    let routes = vec![
        ("GET /containers/json?all=true", 200, all),
        ("GET /containers/json", 200, running),
        (
            "GET /volumes",
            200,
            json!({ "Volumes": [
                { "Name": "shop_data", "Driver": "local", "Labels": {}, "Mountpoint": "/v", "Scope": "local", "Options": {} },
            ]}),
        ),
        (
            "POST /containers",
            409,
            json!({ "message": "Container is already paused" }),
        ),
    ];
    let engine = StubEngine::start(&env.path(""), routes)?;
    Ok((env, engine))
}

fn run(env: &TestEnvironment, engine: &StubEngine, args: &[&str]) -> io::Result<CommandOutput> {
    let address = engine.address();
    let mut all = vec!["--engine", &address, "-p", "shop"];
    all.extend(args);
    env.run(all)
}

#[test]
fn ps_lists_what_runs_sorted_by_name() -> io::Result<()> {
    let (env, engine) = shop()?;
    let output = run(
        &env,
        &engine,
        &["ps", "--format", "{{.Name}} {{.State}} {{.Health}}"],
    )?;
    assert_eq!(
        output.success().stdout,
        "shop-web-1 running \nshop-worker-1 running unhealthy\nshop-worker-2 running healthy\n"
    );
    Ok(())
}

#[test]
fn ps_needs_two_calls_only() -> io::Result<()> {
    let (env, engine) = shop()?;
    let _output = run(&env, &engine, &["ps", "-a", "--format", "json"])?.success();
    // The engine of the test does not say who it is when it is pinged, as Docker's does.
    let mut requests = engine.requests();
    requests.retain(|request| request != "GET /_ping");
    assert_eq!(requests.len(), 2, "{requests:?}");
    Ok(())
}

#[test]
fn ps_prints_a_table_with_ports_and_shortened_commands() -> io::Result<()> {
    let (env, engine) = shop()?;
    let output = run(&env, &engine, &["ps", "web"])?.success();
    let mut lines = output.stdout.lines();
    let title = lines.next().unwrap_or_default();
    assert_eq!(
        title.split_whitespace().collect::<Vec<_>>(),
        [
            "NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"
        ]
    );
    let row = lines.next().unwrap_or_default();
    assert!(row.contains(r#""sh -c 'echo \"hello\"…""#), "{row}");
    assert!(row.ends_with("9000/tcp, 127.0.0.1:8080->80/tcp"), "{row}");
    assert_eq!(lines.next(), None);
    Ok(())
}

#[test]
fn ps_prints_json_with_exit_codes_and_publishers() -> io::Result<()> {
    let (env, engine) = shop()?;
    let output = run(
        &env,
        &engine,
        &["ps", "--status", "exited", "--format", "json"],
    )?
    .success();
    let row: Value = serde_json::from_str(&output.stdout)?;
    assert_eq!(row["Name"], "shop-job-1");
    assert_eq!(row["ExitCode"], 3);
    assert_eq!(
        row["Publishers"][0],
        json!({ "URL": "127.0.0.1", "TargetPort": 80, "PublishedPort": 8080, "Protocol": "tcp" })
    );
    Ok(())
}

#[test]
fn ps_refuses_an_unknown_filter() -> io::Result<()> {
    let (env, engine) = shop()?;
    let output = run(&env, &engine, &["ps", "--filter", "foo=bar"])?;
    assert_eq!(
        (output.status, output.stderr.as_str()),
        (1, "unknown filter foo\n")
    );
    Ok(())
}

#[test]
fn ls_counts_containers_by_state() -> io::Result<()> {
    let (env, engine) = shop()?;
    let output = run(&env, &engine, &["ls", "-a", "--format", "json"])?.success();
    let rows: Value = serde_json::from_str(&output.stdout)?;
    assert_eq!(
        rows,
        json!([{
            "Name": "shop",
            "Status": "exited(1), running(3)",
            "ConfigFiles": "/srv/shop/compose.yaml",
        }])
    );
    Ok(())
}

#[test]
fn port_says_where_a_port_is_published() -> io::Result<()> {
    let (env, engine) = shop()?;
    let output = run(&env, &engine, &["port", "web", "80"])?.success();
    assert_eq!(output.stdout, "127.0.0.1:8080\n");
    let missing = run(&env, &engine, &["port", "web", "81"])?;
    assert_eq!(missing.status, 1, "{missing}");
    assert_eq!(
        missing.stderr,
        "no port 81/tcp for container shop-web-1: 80/tcp, 9000/tcp\n"
    );
    Ok(())
}

#[test]
fn volumes_are_listed_as_docker_lists_them() -> io::Result<()> {
    let (env, engine) = shop()?;
    let output = run(&env, &engine, &["volumes"])?.success();
    assert_eq!(
        output.stdout,
        "DRIVER    VOLUME NAME\nlocal     shop_data\n"
    );
    Ok(())
}

#[test]
fn what_the_engine_refuses_is_told_in_its_own_words() -> io::Result<()> {
    let (env, engine) = shop()?;
    let output = run(&env, &engine, &["pause", "web"])?;
    assert_eq!(output.status, 1, "{output}");
    assert!(
        output.stderr.contains("Container is already paused"),
        "{output}"
    );
    Ok(())
}

#[test]
fn a_dry_run_sends_nothing_that_acts() -> io::Result<()> {
    let (env, engine) = shop()?;
    let output = run(&env, &engine, &["--dry-run", "kill"])?.success();
    assert!(
        output.stderr.contains("Container shop-web-1 Killed"),
        "{output}"
    );
    let requests = engine.requests();
    assert!(
        requests.iter().all(|request| request.starts_with("GET ")),
        "{requests:?}"
    );
    Ok(())
}

#[test]
fn a_service_that_does_not_run_is_named() -> io::Result<()> {
    let (env, engine) = shop()?;
    let output = run(&env, &engine, &["exec", "job", "true"])?;
    assert_eq!(
        (output.status, output.stderr.as_str()),
        (1, "service \"job\" is not running\n")
    );
    let replica = run(&env, &engine, &["exec", "--index", "7", "web", "true"])?;
    assert_eq!(
        replica.stderr,
        "service \"web\" is not running container #7\n"
    );
    Ok(())
}

#[test]
fn config_writes_yaml_as_docker_compose_does() -> io::Result<()> {
    let env = TestEnvironment::new()?;
    std::fs::write(
        env.path("compose.yaml"),
        "name: n\nservices:\n  a:\n    image: x\n    command: [\n      \"b\"\n    ]\n    environment: {A10: 1e6, A2: 9223372036854775808, AB: 1.0, A_B: \"🎯\"}\n    ports: ['1:1', '${P:-2}:2']\n",
    )?;
    let text = env.run(["config"])?.success().stdout;
    let environment = "    environment:\n      A_B: \"\\U0001F3AF\"\n      A2: \"9223372036854775808\"\n      A10: \"1e+06\"\n      AB: \"1\"\n";
    assert!(text.contains(environment), "{text}");
    assert!(text.contains("    command:\n      - b\n"), "{text}");
    let text = env.run(["config", "--no-interpolate"])?.success().stdout;
    let ports = "    ports:\n      - '1:1'\n      - ${P:-2}:2\n";
    assert!(text.contains(ports), "{text}");
    let environment = "A2: 9223372036854775808\n      A10: 1e+06\n      AB: 1\n";
    assert!(text.contains(environment), "{text}");
    Ok(())
}
