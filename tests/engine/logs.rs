//! `logs -f` on the built-in engine: across the end of the engine, and of the containers that are followed.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::env::TestEnvironment;
use crate::common::has_root;

type TestResult = Result<(), Box<dyn Error>>;

const COMPOSE: &str = "name: told
services:
  web:
    image: rootfs:/
    command: sh -c 'i=0; until test -e /out/end; do echo line $$i; i=$$((i+1)); sleep 0.02; done; echo $$VERSION is over'
    environment: {VERSION: '${VERSION:-1}'}
    init: true
    network_mode: none
    volumes: [./out:/out]
    stop_grace_period: 0s
";

fn project() -> Result<TestEnvironment, Box<dyn Error>> {
    let env = TestEnvironment::new()?;
    std::fs::create_dir(env.path("out"))?;
    std::fs::write(env.path("compose.yaml"), COMPOSE)?;
    let _up = env.run(["up", "-d"])?.success();
    Ok(env)
}

#[test]
fn following_goes_on_where_it_was_when_the_engine_is_killed() -> TestResult {
    if !has_root("logs -f across engines") {
        return Ok(());
    }
    let env = project()?;
    let mut logs = env.command(["logs", "-f", "--no-log-prefix"]);
    let mut logs = logs.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(logs.stdout.take().ok_or("no output")?).lines();
    let mut told = Vec::new();
    for kill in [5, 30] {
        while told.len() < kill {
            told.push(lines.next().ok_or("the log ended")??);
        }
        let pid: i32 = std::fs::read_to_string(env.path("root/engine.pid"))?
            .trim()
            .parse()?;
        kill_process(Pid::from_raw(pid).ok_or("no pid")?, Signal::KILL)?;
    }
    while told.len() < 60 {
        told.push(lines.next().ok_or("the log ended")??);
    }
    std::fs::write(env.path("out/end"), "")?;
    for line in lines {
        told.push(line?);
    }
    assert!(logs.wait()?.success());
    assert_eq!(told.pop().as_deref(), Some("1 is over"));
    let wanted: Vec<String> = (0..told.len())
        .map(|number| format!("line {number}"))
        .collect();
    assert_eq!(told, wanted);
    Ok(())
}

#[test]
fn following_goes_on_with_the_container_that_replaces_one() -> TestResult {
    if !has_root("logs -f across containers") {
        return Ok(());
    }
    let env = project()?;
    let mut logs = env.command(["logs", "-f", "-n", "1"]);
    let mut logs = logs.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(logs.stdout.take().ok_or("no output")?).lines();
    let _first = lines.next().ok_or("the log ended")??;
    let mut up = env.command(["up", "-d"]);
    let _up = crate::common::env::output(up.env("VERSION", "2"))?.success();
    // The new container counts from the beginning.
    let mut before = 0;
    loop {
        let line = lines.next().ok_or("the log ended")??;
        let number: usize = line.trim_start_matches("web-1  | line ").parse()?;
        if number <= before {
            assert_eq!(number, 0, "the first lines are missing");
            break;
        }
        before = number;
    }
    std::fs::write(env.path("out/end"), "")?;
    let told: Vec<String> = lines.collect::<Result<_, _>>()?;
    assert!(logs.wait()?.success());
    let (last, told) = told.split_last().ok_or("nothing more")?;
    assert_eq!(last, "web-1  | 2 is over");
    let wanted: Vec<String> = (1..=told.len())
        .map(|it| format!("web-1  | line {it}"))
        .collect();
    assert_eq!(told, wanted);
    Ok(())
}

#[test]
fn since_and_until_take_fractions_of_a_second() -> TestResult {
    if !has_root("logs --since") {
        return Ok(());
    }
    let env = project()?;
    std::fs::write(env.path("out/end"), "")?;
    let _ended = env.run(["wait", "web"])?;
    let all = env.run(["logs", "-t", "--no-log-prefix"])?.success();
    let stamps: Vec<&str> = all
        .stdout
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let (first, last) = (stamps[0], stamps[stamps.len() - 1]);
    let time: jiff::Timestamp = last.parse()?;
    let nanos = time.as_nanosecond();
    let seconds = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    for since in [last, &seconds] {
        let tail = env
            .run(["logs", "--no-log-prefix", "--since", since])?
            .success();
        assert_eq!(tail.stdout, "1 is over\n", "{since}");
    }
    let head = env
        .run(["logs", "--no-log-prefix", "--until", first])?
        .success();
    assert_eq!(
        head.stdout,
        if stamps.len() == 1 {
            "1 is over\n"
        } else {
            "line 0\n"
        }
    );
    let refused = env.run(["logs", "--since", "yesterday"])?;
    assert_ne!(refused.status, 0);
    assert!(
        refused.stderr.contains("neither a time such as"),
        "{refused}"
    );
    Ok(())
}
