//! Containers as their first process sees them.

use std::fs;

use super::fixture::{Cage, TestResult};

#[tokio::test]
async fn a_container_runs_a_program_and_ends_with_its_code() -> TestResult {
    let Some(cage) = Cage::new("a_container_runs_a_program").await? else {
        return Ok(());
    };
    let ran = cage.shell("echo out; echo err >&2; exit 7").await?;
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str(), ran.exit.code),
        ("out\n", "err\n", 7)
    );
    cage.close().await
}

#[tokio::test]
async fn every_namespace_differs_from_the_host_s() -> TestResult {
    let Some(cage) = Cage::new("every_namespace_differs").await? else {
        return Ok(());
    };
    let request = cage.request(&["sleep", "1000"])?;
    let started = cage.start(&request).await?;
    for name in ["pid", "net", "mnt", "uts", "ipc", "cgroup"] {
        let own = fs::read_link(format!("/proc/self/ns/{name}"))?;
        let other = fs::read_link(format!("/proc/{}/ns/{name}", started.pid))?;
        assert_ne!(own, other, "namespace {name}");
    }
    let exit = cage.kill(&request.id).await?;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    cage.close().await
}
