//! Attacks of known kinds; each ends with the host untouched.

use std::fs;
use std::os::unix::fs::symlink;

use super::fixture::{Cage, TestResult};

#[tokio::test]
async fn a_working_folder_behind_a_descriptor_is_refused() -> TestResult {
    // CVE-2024-21626
    let Some(cage) = Cage::new("a_working_folder_behind_a_descriptor").await? else {
        return Ok(());
    };
    for number in 3..20 {
        let mut request =
            cage.request(&["sh", "-c", "cat /etc/shadow ../../../../etc/shadow; pwd"])?;
        request.process.cwd = format!("/proc/self/fd/{number}");
        assert!(cage.keeper.start(&request).await.is_err(), "{number}");
    }
    let container = cage.request(&["sleep", "1000"])?;
    cage.start(&container).await?;
    for number in 3..20 {
        let mut request = cage.exec_request(&container.id, &["pwd"]);
        request.process.cwd = format!("/proc/self/fd/{number}");
        assert!(cage.keeper.exec(&request).await.is_err(), "{number}");
    }
    cage.close().await
}

#[tokio::test]
async fn links_in_the_image_do_not_lead_mounts_out() -> TestResult {
    // CVE-2019-19921, CVE-2025-31133 and their kin: /proc, /sys and /dev as links.
    let Some(cage) = Cage::new("links_in_the_image").await? else {
        return Ok(());
    };
    for name in ["proc", "sys", "dev"] {
        let place = cage.lower().join(name);
        symlink("/tmp", &place)?;
        let started = cage.keeper.start(&cage.request(&["true"])?).await;
        assert!(started.is_err(), "{name}");
        fs::remove_file(&place)?;
    }
    cage.close().await
}

#[tokio::test]
async fn a_mount_target_through_a_link_stays_inside() -> TestResult {
    use hoist::runtime::container::request::{Access, Mount, MountKind};
    let Some(cage) = Cage::new("a_mount_target_through_a_link").await? else {
        return Ok(());
    };
    let outside = cage.path().join("outside");
    fs::create_dir_all(&outside)?;
    symlink(&outside, cage.lower().join("link"))?;
    let mut request = cage.request(&["sh", "-c", "echo x > /link/file"])?;
    request.mounts = vec![Mount {
        target: "/link/deep".into(),
        kind: MountKind::Tmpfs {
            options: String::new(),
        },
        access: Access::ReadWrite,
    }];
    // The link dangles inside, so the mount is refused, and nothing is made outside.
    assert!(cage.keeper.start(&request).await.is_err());
    assert_eq!(fs::read_dir(&outside)?.count(), 0);
    cage.close().await
}

#[tokio::test]
async fn our_program_cannot_be_overwritten_through_proc() -> TestResult {
    // CVE-2019-5736: the entrypoint asks the kernel to run us inside, and somebody opens us for writing.
    let Some(cage) = Cage::new("our_program_cannot_be_overwritten").await? else {
        return Ok(());
    };
    let program = env!("CARGO_BIN_EXE_hoist");
    let before = fs::metadata(program)?.modified()?;
    fs::write(cage.lower().join("bin/evil"), "#!/proc/self/exe\n")?;
    let mut permissions = fs::metadata(cage.lower().join("bin/evil"))?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(cage.lower().join("bin/evil"), permissions)?;
    let request = cage.request(&["/bin/evil"])?;
    drop(cage.keeper.start(&request).await);
    let container = cage.request(&[
        "sh",
        "-c",
        "while :; do for p in /proc/[0-9]*; do echo x 2>/dev/null >> $p/exe; done; done",
    ])?;
    cage.start(&container).await?;
    for _ in 0..30 {
        drop(cage.exec(&container.id, &["/bin/evil"]).await);
    }
    assert_eq!(fs::metadata(program)?.modified()?, before);
    cage.close().await
}

#[tokio::test]
async fn the_host_s_core_pattern_and_release_agent_are_out_of_reach() -> TestResult {
    // CVE-2022-0492
    let Some(cage) = Cage::new("the_host_s_core_pattern").await? else {
        return Ok(());
    };
    let script = "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/fs/cgroup/*/release_agent \
                  /sys/kernel/uevent_helper; do (echo x > $f) 2>/dev/null && echo wrote $f; done; echo end";
    let ran = cage.shell(script).await?;
    assert_eq!(ran.stdout, "end\n");
    cage.close().await
}
