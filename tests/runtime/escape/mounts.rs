//! Links of the image where the set-up mounts, hides and writes: CVE-2019-16884, CVE-2019-19921, CVE-2021-30465,
//! CVE-2025-31133, CVE-2025-52565, CVE-2025-52881.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::fixture::{Cage, TestResult};
use super::bind;
use hoist::runtime::container::request::{Access, Mount, MountKind, TerminalSize};

fn tmpfs(target: &str) -> Mount {
    Mount {
        target: target.into(),
        kind: MountKind::Tmpfs {
            options: String::new(),
        },
        access: Access::ReadWrite,
    }
}

#[tokio::test]
async fn links_in_the_image_do_not_lead_mounts_out() -> TestResult {
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
    let Some(cage) = Cage::new("a_mount_target_through_a_link").await? else {
        return Ok(());
    };
    let outside = cage.path().join("outside");
    fs::create_dir_all(&outside)?;
    symlink(&outside, cage.lower().join("link"))?;
    let mut request = cage.request(&["sh", "-c", "echo x > /link/file"])?;
    request.mounts = vec![tmpfs("/link/deep")];
    // The link dangles inside, so the mount is refused, and nothing is made outside.
    assert!(cage.keeper.start(&request).await.is_err());
    assert_eq!(fs::read_dir(&outside)?.count(), 0);
    cage.close().await
}

#[tokio::test]
async fn no_volume_gets_over_proc_through_a_link() -> TestResult {
    // `VOLUME /x` of an image in which /x is a link to /proc; the name of the target looks harmless.
    let Some(cage) = Cage::new("no_volume_gets_over_proc").await? else {
        return Ok(());
    };
    let volume = cage.path().join("volume");
    fs::create_dir_all(&volume)?;
    fs::create_dir_all(cage.lower().join("deep"))?;
    for (link, leads) in [
        ("all", "/proc"),
        ("own", "/proc/self/attr"),
        ("settings", "../proc/sys/kernel"),
        ("deep/way", "../proc/./self/../1"),
    ] {
        symlink(leads, cage.lower().join(link))?;
        let target = format!("/{link}");
        for mount in [bind(&volume, &target), tmpfs(&target)] {
            let mut request = cage.request(&["true"])?;
            request.mounts = vec![mount];
            let Err(error) = cage.keeper.start(&request).await else {
                return Err(format!("{link} was mounted").into());
            };
            assert!(error.to_string().contains(&target), "{error}");
        }
    }
    cage.close().await
}

#[tokio::test]
async fn a_hidden_path_is_hidden_by_the_true_null_or_the_start_is_refused() -> TestResult {
    // CVE-2025-31133: the container's /dev/null is another file when paths are covered with it.
    let Some(cage) = Cage::new("a_hidden_path_is_hidden").await? else {
        return Ok(());
    };
    let devices = cage.path().join("devices");
    fs::create_dir_all(&devices)?;
    for target in ["/proc/sys/kernel/core_pattern", "/bin/busybox"] {
        drop(fs::remove_file(devices.join("null")));
        symlink(target, devices.join("null"))?;
        let mut request = cage.request(&["true"])?;
        request.mounts = vec![bind(&devices, "/dev")];
        assert!(cage.keeper.start(&request).await.is_err(), "{target}");
    }
    // In the image itself: /dev is always a fresh one.
    fs::create_dir_all(cage.lower().join("dev"))?;
    symlink("/proc/sysrq-trigger", cage.lower().join("dev/null"))?;
    let script = "test -c /dev/null && test ! -L /dev/null && cat /proc/kcore | head -c 1 | wc -c";
    assert_eq!(cage.shell(script).await?.stdout, "0\n");
    cage.close().await
}

#[tokio::test]
async fn the_console_is_no_way_to_write_to_the_kernel() -> TestResult {
    // CVE-2025-52565: /dev/console (or the terminal itself) is a link into /proc when it is mounted.
    let Some(cage) = Cage::new("the_console_is_no_way").await? else {
        return Ok(());
    };
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern")?;
    let devices = cage.path().join("devices");
    fs::create_dir_all(devices.join("pts"))?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        devices.join("null"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )?;
    for (name, leads) in [
        ("console", "/proc/sys/kernel/core_pattern"),
        ("pts/0", "/proc/sysrq-trigger"),
    ] {
        let link = devices.join(name);
        symlink(leads, &link)?;
        let script = "(echo evil > /dev/console); (echo b > /dev/pts/0); (echo b > /proc/sysrq-trigger); \
                      (echo evil > /proc/sys/kernel/core_pattern)";
        let mut request = cage.request(&["sh", "-c", script])?;
        request.mounts = vec![bind(&devices, "/dev")];
        request.process.terminal = Some(TerminalSize {
            rows: 24,
            columns: 80,
        });
        // Whether it starts does not matter.
        if let Ok(started) = cage.keeper.start(&request).await {
            assert!(started.pid > 0);
            while cage
                .keeper
                .list()
                .await?
                .iter()
                .any(|one| one.id == request.id)
            {
                tokio::task::yield_now().await;
            }
        }
        fs::remove_file(&link)?;
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern")?, before);
    cage.close().await
}

#[tokio::test]
async fn parameters_are_written_to_the_true_proc_only() -> TestResult {
    // CVE-2025-52881: a write to /proc is led to another file of it.
    let Some(cage) = Cage::new("parameters_are_written_to_the_true_proc").await? else {
        return Ok(());
    };
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern")?;
    for name in [
        "net.ipv4.../../kernel.core_pattern",
        "net/../kernel/core_pattern",
        "net.ipv4.conf.all.forwarding/../../../../../kernel/core_pattern",
    ] {
        let mut request = cage.request(&["true"])?;
        request.sysctls = vec![(name.to_owned(), "|/evil".to_owned())];
        drop(cage.keeper.start(&request).await);
        assert_eq!(
            fs::read_to_string("/proc/sys/kernel/core_pattern")?,
            before,
            "{name}"
        );
    }
    cage.close().await
}

#[tokio::test]
async fn hiding_a_path_through_a_link_hides_nothing_of_the_host() -> TestResult {
    let Some(cage) = Cage::new("hiding_a_path_through_a_link").await? else {
        return Ok(());
    };
    let outside = cage.path().join("outside");
    fs::create_dir_all(&outside)?;
    fs::write(outside.join("kept"), "kept")?;
    symlink(&outside, cage.lower().join("hidden"))?;
    symlink("../../../../../../etc", cage.lower().join("guarded"))?;
    let mut request = cage.request(&[
        "sh",
        "-c",
        "(echo x >> /etc/passwd) 2>/dev/null || echo read-only",
    ])?;
    request.paths.masked.push("/hidden".into());
    request.paths.read_only.push("/guarded".into());
    assert_eq!(cage.run(&request).await?.stdout, "read-only\n");
    assert_eq!(fs::read_to_string(outside.join("kept"))?, "kept");
    let own = fs::read_to_string("/proc/self/mountinfo")?;
    assert!(!own.contains(&outside.display().to_string()));
    cage.close().await
}

#[tokio::test]
async fn two_containers_that_race_over_a_volume_mount_nothing_outside() -> TestResult {
    // CVE-2021-30465: one swaps a folder of the shared volume for a link while the other mounts below it.
    let Some(cage) = Cage::new("two_containers_that_race").await? else {
        return Ok(());
    };
    let (volume, outside) = (cage.path().join("volume"), cage.path().join("outside"));
    fs::create_dir_all(volume.join("dir"))?;
    fs::create_dir_all(&outside)?;
    let swap = "cd /vol; ln -s / link; while :; do mv dir real; mv link dir; mv dir link; mv real dir; done";
    let mut racer = cage.request(&["sh", "-c", swap])?;
    racer.mounts = vec![bind(&volume, "/vol")];
    cage.start(&racer).await?;
    for _ in 0..40 {
        let script = "for place in /proc /sys /etc /bin; do test -e $place/planted && echo $place; done; true";
        let mut request = cage.request(&["sh", "-c", script])?;
        let source = cage.path().join("planted");
        fs::create_dir_all(source.join("planted"))?;
        request.mounts = vec![bind(&volume, "/vol"), bind(&source, "/vol/dir/proc")];
        // A start may be refused; what starts has all of its own /proc, and the host has no new folder.
        if cage.keeper.start(&request).await.is_ok() {
            while cage
                .keeper
                .list()
                .await?
                .iter()
                .any(|one| one.id == request.id)
            {
                tokio::task::yield_now().await;
            }
            let log =
                fs::read_to_string(cage.path().join("state").join(&request.id).join("json.log"))?;
            assert_eq!(log, "");
        }
    }
    assert_eq!(fs::read_dir(&outside)?.count(), 0);
    cage.close().await
}
