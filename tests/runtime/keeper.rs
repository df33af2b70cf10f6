//! Logs, exit records, and a keeper that dies.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hoist::runtime::container::request::{Namespace, TerminalSize};
use hoist::runtime::keeper::{ExitNotice, FailureKind, KeeperClient, KeeperPaths};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::fixture::{Cage, TestResult, collect};

/// The lines of a log, as `(stream, line)`.
fn log(path: &Path) -> Result<Vec<(String, String)>, Box<dyn std::error::Error>> {
    let mut lines = Vec::new();
    for line in fs::read_to_string(path)?.lines() {
        let value: serde_json::Value = serde_json::from_str(line)?;
        let field = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        lines.push((field("stream"), field("log")));
    }
    Ok(lines)
}

fn log_path(request: &hoist::runtime::container::ContainerRequest) -> std::path::PathBuf {
    request
        .log
        .as_ref()
        .map(|log| log.path.clone())
        .unwrap_or_default()
}

#[tokio::test]
async fn a_fast_log_loses_nothing_and_keeps_its_order() -> TestResult {
    let Some(cage) = Cage::new("a_fast_log").await? else {
        return Ok(());
    };
    let request = cage.request(&["seq", "1", "200000"])?;
    let mut notices = cage.keeper.subscribe().await?;
    cage.start(&request).await?;
    assert_eq!(notices.next().await?.code, 0);
    let lines = log(&log_path(&request))?;
    assert_eq!(lines.len(), 200_000);
    for (number, (_, line)) in lines.iter().enumerate() {
        assert_eq!(line.trim_end(), (number + 1).to_string());
    }
    cage.close().await
}

#[tokio::test]
async fn the_exit_record_is_there_before_the_notice() -> TestResult {
    let Some(cage) = Cage::new("the_exit_record").await? else {
        return Ok(());
    };
    let request = cage.request(&["sh", "-c", "exit 3"])?;
    let ran = cage.run(&request).await?;
    let record: ExitNotice = serde_json::from_slice(&fs::read(&request.exit_record)?)?;
    assert_eq!(record, ran.exit);
    assert!(!request.run_dir.exists());
    cage.close().await
}

#[tokio::test]
async fn a_slow_client_gets_everything() -> TestResult {
    let Some(cage) = Cage::new("a_slow_client").await? else {
        return Ok(());
    };
    let request = cage.request(&["seq", "1", "300000"])?;
    let session = cage.keeper.attach(&request.id).await?;
    let started = cage.keeper.start(&request).await?;
    // Nothing is read until the process is held back: it sleeps in a write to its pipe however often one looks.
    let place = format!("/proc/{}/wchan", started.pid);
    let mut seen = 0;
    while seen < 1000 {
        let sleeps = fs::read_to_string(&place)?.contains("pipe_write");
        seen = if sleeps { seen + 1 } else { 0 };
        tokio::task::yield_now().await;
    }
    let (stdout, ..) = collect(session.output).await?;
    assert_eq!(stdout.lines().count(), 300_000);
    assert_eq!(stdout.lines().last(), Some("300000"));
    cage.close().await
}

/// The pid of the keeper: the parent of a container's first process.
fn parent(pid: i32) -> Result<i32, Box<dyn std::error::Error>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(") ").ok_or("no name")?.1;
    Ok(fields.split(' ').nth(1).ok_or("no parent")?.parse()?)
}

#[tokio::test]
async fn containers_outlive_a_killed_keeper() -> TestResult {
    let Some(cage) = Cage::new("containers_outlive_a_killed_keeper").await? else {
        return Ok(());
    };
    let script =
        "i=0; while [ ! -e /stop ]; do i=$((i+1)); echo line $i; sleep 0.005; done; exit 6";
    let request = cage.request(&["sh", "-c", script])?;
    let started = cage.start(&request).await?;
    let keeper = Pid::from_raw(parent(started.pid)?).ok_or("no pid")?;
    let watch = pidfd_open(keeper, PidfdFlags::empty())?;
    kill_process(keeper, Signal::KILL)?;
    poll(&mut [PollFd::new(&watch, PollFlags::IN)], None)?;

    // The next call starts a new keeper, which finds the container again.
    let running = cage.keeper.list().await?;
    assert_eq!(
        running
            .iter()
            .map(|running| running.started.pid)
            .collect::<Vec<_>>(),
        [started.pid]
    );
    assert_eq!(
        cage.exec(&request.id, &["echo", "inside"]).await?.stdout,
        "inside\n"
    );
    let mut notices = cage.keeper.subscribe().await?;
    let stopped = cage.exec(&request.id, &["touch", "/stop"]).await?;
    assert_eq!(stopped.exit.code, 0);
    let exit = loop {
        let notice = notices.next().await?;
        if notice.id == request.id {
            break notice;
        }
    };
    assert_eq!((exit.known, exit.code), (true, 6));
    let lines = log(&log_path(&request))?;
    for (number, (_, line)) in lines.iter().enumerate() {
        assert_eq!(line, &format!("line {}\n", number + 1));
    }
    assert!(lines.len() > 1);
    cage.close().await
}

#[tokio::test]
async fn an_exit_code_outlives_a_keeper_that_dies_while_it_hears_the_container_out() -> TestResult {
    let Some(cage) = Cage::new("an_exit_code_outlives").await? else {
        return Ok(());
    };
    // Somebody else holds the terminal open: the keeper waits a moment for the last words.
    let mut request = cage.request(&["sh", "-c", "trap '' HUP; sleep 600 & exit 7"])?;
    request.namespaces.pid = Namespace::Host;
    request.process.terminal = Some(TerminalSize {
        rows: 24,
        columns: 80,
    });
    let started = cage.start(&request).await?;
    let keeper = Pid::from_raw(parent(started.pid)?).ok_or("no pid")?;
    let process = Pid::from_raw(started.pid).ok_or("no pid")?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    poll(&mut [PollFd::new(&process, PollFlags::IN)], None)?;
    // One thread, and the exit came first: once this is answered the keeper knows of it.
    drop(cage.keeper.list().await?);
    kill_process(keeper, Signal::KILL)?;
    while !cage.keeper.list().await?.is_empty() {}
    let exit: ExitNotice = serde_json::from_slice(&fs::read(&request.exit_record)?)?;
    assert_eq!((exit.known, exit.code), (true, 7));
    cage.close().await
}

#[tokio::test]
async fn a_keeper_that_still_holds_the_lock_and_listens_no_more_is_waited_for() -> TestResult {
    if !crate::common::has_root("a keeper that leaves") {
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("hoist-cage-").tempdir()?;
    // The first attempt comes to what the new keeper says when another one has the lock.
    let program = folder.path().join("hoist");
    let script = format!(
        "#!/bin/sh\nmkdir \"$0.was-here\" 2>/dev/null && exit 0\nexec '{}' \"$@\"\n",
        env!("CARGO_BIN_EXE_hoist")
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
    let mut paths = KeeperPaths::new(&folder.path().join("run"));
    paths.program = Some(program);
    let keeper = KeeperClient::connect_or_spawn(paths).await?;
    assert!(keeper.list().await?.is_empty());
    Ok(keeper.stop().await?)
}

#[tokio::test]
async fn a_second_start_of_what_runs_is_refused_and_takes_nothing_away() -> TestResult {
    let Some(cage) = Cage::new("a_second_start").await? else {
        return Ok(());
    };
    let request = cage.request(&[
        "sh",
        "-c",
        "while [ ! -e /stop ]; do sleep 0.01; done; exit 5",
    ])?;
    let started = cage.start(&request).await?;
    let files = || -> std::io::Result<Vec<_>> {
        let mut names: Vec<_> = fs::read_dir(&request.run_dir)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<std::io::Result<_>>()?;
        names.sort();
        Ok(names)
    };
    let before = files()?;
    let again = cage.keeper.start(&request).await;
    let kind = again.err().and_then(|error| error.kind());
    assert_eq!(kind, Some(FailureKind::AlreadyRunning));
    assert_eq!(files()?, before);

    // The next keeper finds it by these files.
    let keeper = Pid::from_raw(parent(started.pid)?).ok_or("no pid")?;
    let watch = pidfd_open(keeper, PidfdFlags::empty())?;
    kill_process(keeper, Signal::KILL)?;
    poll(&mut [PollFd::new(&watch, PollFlags::IN)], None)?;
    assert_eq!(cage.keeper.list().await?.len(), 1);
    assert_eq!(
        cage.exec(&request.id, &["touch", "/stop"]).await?.exit.code,
        0
    );
    while !cage.keeper.list().await?.is_empty() {}
    let exit: ExitNotice = serde_json::from_slice(&fs::read(&request.exit_record)?)?;
    assert_eq!((exit.known, exit.code), (true, 5));
    cage.close().await
}
