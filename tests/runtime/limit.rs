//! Limits, figures, freezing.

use super::fixture::{Cage, TestResult};
use hoist::runtime::container::cgroup::{CgroupHandle, CgroupHost};
use hoist::runtime::container::request::Limits;

#[tokio::test]
async fn limits_take_and_figures_come_back() -> TestResult {
    let Some(cage) = Cage::new("limits_take").await? else {
        return Ok(());
    };
    let mut request = cage.request(&["sleep", "1000"])?;
    request.cgroup.limits = Limits {
        memory: Some(64 << 20),
        memory_swap: Some(64 << 20),
        cpu_quota: Some(50_000),
        cpu_period: Some(100_000),
        cpu_shares: Some(512),
        pids: Some(50),
        ..Limits::default()
    };
    let started = cage.start(&request).await?;
    assert!(
        started
            .warnings
            .iter()
            .all(|warning| warning.contains("memsw")),
        "{:?}",
        started.warnings
    );
    let group = CgroupHandle::new(&CgroupHost::probe()?, &request.cgroup.path);
    let stats = group.stats();
    assert_eq!(
        (stats.memory_limit, stats.pids_limit, stats.pids),
        (Some(64 << 20), Some(50), 1)
    );
    assert_eq!(group.pids(), [started.pid]);
    cage.close().await
}

#[tokio::test]
async fn an_out_of_memory_kill_is_noticed() -> TestResult {
    let Some(cage) = Cage::new("an_out_of_memory_kill").await? else {
        return Ok(());
    };
    let request = cage.hungry()?;
    let ran = cage.run(&request).await?;
    assert!(ran.exit.oom_killed, "{ran:?}");
    assert_eq!(ran.exit.code, 137);
    cage.close().await
}

#[tokio::test]
async fn a_frozen_container_stands_still() -> TestResult {
    let Some(cage) = Cage::new("a_frozen_container").await? else {
        return Ok(());
    };
    let request = cage.request(&["sh", "-c", "while :; do echo x; done"])?;
    cage.start(&request).await?;
    let group = CgroupHandle::new(&CgroupHost::probe()?, &request.cgroup.path);
    group.freeze()?;
    let before = group.stats().cpu_total;
    assert_eq!(group.stats().cpu_total, before);
    group.thaw()?;
    cage.kill(&request.id).await?;
    cage.close().await
}

#[tokio::test]
async fn devices_are_restricted() -> TestResult {
    let Some(cage) = Cage::new("devices_are_restricted").await? else {
        return Ok(());
    };
    let script = "mknod /tmp/mem c 1 1 && (head -c 1 /tmp/mem > /dev/null 2>&1 || echo refused); head -c 3 /dev/zero | wc -c";
    let ran = cage.shell(script).await?;
    assert_eq!(ran.stdout, "refused\n3\n", "{}", ran.stderr);
    cage.close().await
}
