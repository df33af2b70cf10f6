//! CVE-2019-5736 and its kin: our own program, which enters the container for a moment, as the way out.

use std::fs;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};

use super::super::fixture::{Cage, TestResult};
use super::{executable, sleeper};
use hoist::runtime::container::request::Init;

#[tokio::test]
async fn our_program_cannot_be_overwritten_through_proc() -> TestResult {
    // The entrypoint asks the kernel to run us inside, and somebody opens us for writing.
    let Some(cage) = Cage::new("our_program_cannot_be_overwritten").await? else {
        return Ok(());
    };
    let program = env!("CARGO_BIN_EXE_hoist");
    let before = fs::metadata(program)?.modified()?;
    executable(&cage.lower().join("bin/evil"), "#!/proc/self/exe\n")?;
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
async fn the_keeper_runs_from_a_mount_that_cannot_be_written() -> TestResult {
    let Some(cage) = Cage::new("the_keeper_runs_from_a_mount").await? else {
        return Ok(());
    };
    let request = cage.request(&["sleep", "1000"])?;
    let started = cage.start(&request).await?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", started.pid))?;
    let fields = stat.rsplit_once(") ").ok_or("no name")?.1;
    let keeper = fields.split(' ').nth(1).ok_or("no parent")?;
    let program = rustix::fs::open(format!("/proc/{keeper}/exe"), OFlags::PATH, Mode::empty())?;
    let mount = rustix::fs::fstatvfs(&program)?;
    assert!(mount.f_flag.contains(StatVfsMountFlags::RDONLY));
    cage.close().await
}

#[tokio::test]
async fn our_init_cannot_be_read_nor_written_by_the_container() -> TestResult {
    let Some(cage) = Cage::new("our_init_cannot_be_read").await? else {
        return Ok(());
    };
    let mut request = cage.request(&["sleep", "1000"])?;
    request.process.init = Init::Own;
    cage.start(&request).await?;
    let script = "readlink /proc/1/exe; ls /proc/1/fd; (echo x >> /proc/1/exe); (cat /proc/1/environ); \
                  (cat /proc/1/mem); ls -d /proc/1/root/; echo end";
    let ran = cage.exec(&request.id, &["sh", "-c", script]).await?;
    // Nothing is open in it but the container's own streams.
    assert_eq!(ran.stdout, "0\n1\n2\nend\n", "{}", ran.stderr);
    cage.close().await
}

#[tokio::test]
async fn nothing_of_the_host_is_seen_in_a_process_that_enters() -> TestResult {
    // CVE-2016-9962: between joining the namespaces and becoming the program, an exec is a copy of the keeper.
    let Some(cage) = Cage::new("nothing_of_the_host_is_seen").await? else {
        return Ok(());
    };
    let watcher = "while [ ! -e /stop ]; do for p in /proc/[0-9]*; do \
                   { readlink $p/exe; readlink $p/cwd; readlink $p/root; ls -l $p/fd; cat $p/environ; } 2>/dev/null \
                   | grep -a -e hoist -e keeper -e json.log -e '/run/' \
                   | grep -v -e /stdout -e /stderr >> /found; done; done";
    let request = cage.request(&["sh", "-c", watcher])?;
    cage.start(&request).await?;
    for _ in 0..60 {
        cage.exec(&request.id, &["true"]).await?;
    }
    let mut notices = cage.keeper.subscribe().await?;
    cage.exec(&request.id, &["touch", "/stop"]).await?;
    // The end of the exec is told as well.
    while notices.next().await?.id != request.id {}
    let found = fs::read_to_string(request.rootfs.upper.join("found")).unwrap_or_default();
    assert_eq!(found, "");
    cage.close().await
}

#[tokio::test]
async fn no_socket_of_ours_is_reached_without_a_path() -> TestResult {
    // CVE-2020-15257: a socket with an abstract name is in reach of whoever shares the host's network.
    let Some(cage) = Cage::new("no_socket_of_ours_is_reached").await? else {
        return Ok(());
    };
    sleeper(&cage).await?;
    let sockets = fs::read_to_string("/proc/net/unix")?;
    let ours = sockets
        .lines()
        .find(|line| line.contains(" @") && line.contains("hoist"));
    assert_eq!(ours, None);
    let mode = fs::metadata(cage.path().join("run/keeper.sock"))?;
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o077,
        0
    );
    cage.close().await
}
