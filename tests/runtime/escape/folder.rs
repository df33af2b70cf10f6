//! CVE-2024-21626: a descriptor of the host left open, and a working folder that leads through it.

use std::os::unix::fs::symlink;

use super::super::fixture::{Cage, TestResult};
use super::sleeper;

#[tokio::test]
async fn a_working_folder_behind_a_descriptor_is_refused() -> TestResult {
    let Some(cage) = Cage::new("a_working_folder_behind_a_descriptor").await? else {
        return Ok(());
    };
    for number in 3..20 {
        let mut request =
            cage.request(&["sh", "-c", "cat /etc/shadow ../../../../etc/shadow; pwd"])?;
        request.process.cwd = format!("/proc/self/fd/{number}");
        assert!(cage.keeper.start(&request).await.is_err(), "{number}");
    }
    let container = sleeper(&cage).await?;
    for number in 3..20 {
        let mut request = cage.exec_request(&container.id, &["pwd"]);
        request.process.cwd = format!("/proc/self/fd/{number}");
        assert!(cage.keeper.exec(&request).await.is_err(), "{number}");
    }
    cage.close().await
}

#[tokio::test]
async fn a_link_of_the_image_to_a_descriptor_is_refused_too() -> TestResult {
    let Some(cage) = Cage::new("a_link_of_the_image_to_a_descriptor").await? else {
        return Ok(());
    };
    let container = sleeper(&cage).await?;
    for number in 3..20 {
        let link = cage.lower().join(format!("out{number}"));
        symlink(format!("/proc/self/fd/{number}"), link)?;
        let mut request = cage.request(&["pwd"])?;
        request.process.cwd = format!("/out{number}");
        assert!(cage.keeper.start(&request).await.is_err(), "{number}");
    }
    let script = "i=3; while [ $i -lt 20 ]; do ln -s /proc/self/fd/$i /way$i; i=$((i+1)); done";
    cage.exec(&container.id, &["sh", "-c", script]).await?;
    for number in 3..20 {
        let mut request = cage.exec_request(&container.id, &["pwd"]);
        request.process.cwd = format!("/way{number}");
        assert!(cage.keeper.exec(&request).await.is_err(), "{number}");
    }
    cage.close().await
}

#[tokio::test]
async fn a_program_has_its_three_streams_and_no_other_descriptor() -> TestResult {
    let Some(cage) = Cage::new("a_program_has_its_three_streams").await? else {
        return Ok(());
    };
    let container = sleeper(&cage).await?;
    // The shell's builtins open nothing of their own while the names are expanded, but the folder itself.
    let script = "cd /proc/self/fd; for f in [3-9]* [1-9][0-9]*; do readlink $f; done; echo end";
    let begun = cage.shell(script).await?;
    let entered = cage.exec(&container.id, &["sh", "-c", script]).await?;
    for ran in [begun, entered] {
        assert_eq!(ran.stdout, "end\n");
    }
    cage.close().await
}
