//! Further processes in a running container.

use std::fs;

use super::fixture::{Cage, TestResult, collect};
use hoist::runtime::container::request::Stdin;

#[tokio::test]
async fn an_exec_is_inside_and_has_an_end() -> TestResult {
    let Some(cage) = Cage::new("an_exec_is_inside").await? else {
        return Ok(());
    };
    let request = cage.request(&["sleep", "1000"])?;
    let started = cage.start(&request).await?;
    let script = "for n in pid net mnt cgroup; do readlink /proc/self/ns/$n; done; \
                  cat /proc/self/cgroup >&2; grep CapEff /proc/self/status; exit 9";
    let ran = cage.exec(&request.id, &["sh", "-c", script]).await?;
    assert_eq!(ran.exit.code, 9);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    for (line, name) in lines.iter().zip(["pid", "net", "mnt", "cgroup"]) {
        let link = fs::read_link(format!("/proc/{}/ns/{name}", started.pid))?;
        assert_eq!(std::path::Path::new(line), link);
    }
    assert_eq!(lines.last(), Some(&"CapEff:\t00000000a80425fb"));
    assert!(
        ran.stderr.lines().all(|line| line.ends_with(":/")),
        "{}",
        ran.stderr
    );
    cage.close().await
}

#[tokio::test]
async fn input_reaches_an_exec_and_its_end_too() -> TestResult {
    let Some(cage) = Cage::new("input_reaches_an_exec").await? else {
        return Ok(());
    };
    let container = cage.request(&["sleep", "1000"])?;
    cage.start(&container).await?;
    let mut request = cage.exec_request(&container.id, &["wc", "-c"]);
    request.stdin = Stdin::Once;
    let (_, mut session) = cage.keeper.exec(&request).await?;
    let block = vec![b'x'; 1 << 20];
    session.input.write_all(&block).await?;
    session.input.close().await?;
    let (stdout, _, exit) = collect(session.output).await?;
    assert_eq!(
        (stdout.trim(), exit.map(|exit| exit.code)),
        ("1048576", Some(0))
    );
    cage.close().await
}

#[tokio::test]
async fn an_exec_that_cannot_run_says_why() -> TestResult {
    let Some(cage) = Cage::new("an_exec_that_cannot_run").await? else {
        return Ok(());
    };
    let container = cage.request(&["sleep", "1000"])?;
    cage.start(&container).await?;
    let request = cage.exec_request(&container.id, &["nonsense"]);
    let Err(error) = cage.keeper.exec(&request).await else {
        return Err("it ran".into());
    };
    assert!(
        error
            .to_string()
            .ends_with("exec: \"nonsense\": executable file not found in $PATH"),
        "{error}"
    );
    let request = cage.exec_request("nobody", &["true"]);
    let Err(error) = cage.keeper.exec(&request).await else {
        return Err("it ran".into());
    };
    assert_eq!(error.to_string(), "container nobody is not running");
    cage.close().await
}
