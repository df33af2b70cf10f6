//! Logs, exit records, and a keeper that dies.

use std::fs;
use std::path::Path;

use super::fixture::{Cage, TestResult};

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
    let record: hoist::runtime::keeper::ExitNotice =
        serde_json::from_slice(&fs::read(&request.exit_record)?)?;
    assert_eq!(record, ran.exit);
    assert!(!request.run_dir.exists());
    cage.close().await
}

#[tokio::test]
async fn a_slow_client_gets_everything() -> TestResult {
    let Some(cage) = Cage::new("a_slow_client").await? else {
        return Ok(());
    };
    let request = cage.request(&["sh", "-c", "seq 1 300000"])?;
    let ran = cage.run(&request).await?;
    assert_eq!(ran.stdout.lines().count(), 300_000);
    assert_eq!(ran.stdout.lines().last(), Some("300000"));
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
    let keeper = rustix::process::Pid::from_raw(parent(started.pid)?).ok_or("no pid")?;
    let watch = rustix::process::pidfd_open(keeper, rustix::process::PidfdFlags::empty())?;
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL)?;
    let mut fds = [rustix::event::PollFd::new(
        &watch,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut fds, None)?;

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
