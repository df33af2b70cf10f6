//! Switches of the kernel that are the host's: CVE-2022-0492, CVE-2022-24769, keyrings, device nodes, namespaces of
//! one's own, and pids that are used again.

use std::fs;
use std::process::Command;

use super::super::fixture::{Cage, TestResult};
use super::{actor, executable, sleeper};
use hoist::runtime::container::request::Seccomp;
use hoist::runtime::keeper::{KeeperClient, KeeperPaths};

#[tokio::test]
async fn the_host_s_core_pattern_and_release_agent_are_out_of_reach() -> TestResult {
    let Some(cage) = Cage::new("the_host_s_core_pattern").await? else {
        return Ok(());
    };
    let script = "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger \
                  /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/release_agent /sys/kernel/uevent_helper \
                  /sys/kernel/mm/transparent_hugepage/enabled /proc/sys/vm/panic_on_oom /proc/sys/fs/binfmt_misc/register; \
                  do (echo x > $f) 2>/dev/null && echo wrote $f; done; echo end";
    let ran = cage.shell(script).await?;
    assert_eq!(ran.stdout, "end\n");
    cage.close().await
}

#[tokio::test]
async fn a_cgroup_with_an_agent_cannot_be_mounted() -> TestResult {
    // CVE-2022-0492: mount a hierarchy anew, in namespaces of one's own where need be, and write its agent.
    let Some(cage) = Cage::new("a_cgroup_with_an_agent").await? else {
        return Ok(());
    };
    let script = "mkdir /c; for o in memory rdma cpu none,name=evil; do \
                  mount -t cgroup -o $o c /c 2>/dev/null && echo mounted $o; \
                  unshare -UrmC mount -t cgroup -o $o c /c 2>/dev/null && echo unshared $o; done; \
                  mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted; \
                  mount -o remount,rw,bind /proc/sys 2>/dev/null && echo remounted; \
                  umount /proc/kcore 2>/dev/null && echo uncovered; echo end";
    assert_eq!(cage.shell(script).await?.stdout, "end\n");
    cage.close().await
}

#[tokio::test]
async fn no_capability_is_inherited() -> TestResult {
    // CVE-2022-24769: inheritable capabilities come back with a file that has some.
    let Some(cage) = Cage::new("no_capability_is_inherited").await? else {
        return Ok(());
    };
    let container = sleeper(&cage).await?;
    let argv = ["grep", "-e", "CapInh", "-e", "CapAmb", "/proc/self/status"];
    let none = "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n";
    for user in ["", "web"] {
        let mut request = cage.request(&argv)?;
        user.clone_into(&mut request.process.user);
        assert_eq!(cage.run(&request).await?.stdout, none);
        let mut exec = cage.exec_request(&container.id, &argv);
        user.clone_into(&mut exec.process.user);
        let (_, session) = cage.keeper.exec(&exec).await?;
        let (stdout, ..) = super::super::fixture::collect(session.output).await?;
        assert_eq!(stdout, none);
    }
    cage.close().await
}

#[tokio::test]
async fn keys_of_the_host_and_of_other_containers_are_not_inherited() -> TestResult {
    let Some(cage) = Cage::new("keys_of_the_host").await? else {
        return Ok(());
    };
    let act = "describe the session keyring";
    let mut request = cage.request(&["sleep", "1000"])?;
    actor::invite(&mut request)?;
    cage.start(&request).await?;
    // With Docker's filter not even the question is allowed.
    assert_eq!(
        actor::asked(&cage, &request.id, act, false).await?,
        "PermissionDenied"
    );
    let entered = actor::asked(&cage, &request.id, act, true).await?;
    let own = format!(";_ses.{}", request.id);
    assert!(entered.ends_with(&own), "{entered}");

    let mut first = cage.request(&actor::COMMAND)?;
    actor::invite(&mut first)?;
    first.process.env.push(format!("HOIST_ACT={act}"));
    first.process.seccomp = Seccomp::Unconfined;
    let begun = actor::said(&cage.run(&first).await?.stdout);
    assert!(begun.ends_with(&format!(";_ses.{}", first.id)), "{begun}");
    cage.close().await
}

#[tokio::test]
async fn sockets_that_reach_the_kernel_or_the_hypervisor_are_refused() -> TestResult {
    let Some(cage) = Cage::new("sockets_that_reach_the_kernel").await? else {
        return Ok(());
    };
    let mut request = cage.request(&["sleep", "1000"])?;
    actor::invite(&mut request)?;
    cage.start(&request).await?;
    for act in ["make an AF_ALG socket", "make an AF_VSOCK socket"] {
        let said = actor::asked(&cage, &request.id, act, false).await?;
        assert_eq!(said, "PermissionDenied", "{act}");
    }
    cage.close().await
}

/// Any disk of this machine, as `major minor`.
fn a_disk() -> Option<String> {
    let partitions = fs::read_to_string("/proc/partitions").ok()?;
    let line = partitions.lines().nth(2)?;
    let mut words = line.split_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}

#[tokio::test]
async fn device_nodes_open_nothing_that_was_not_given() -> TestResult {
    // In the image, made by the container, by an exec; and with the node's own permissions open to all.
    let Some(cage) = Cage::new("device_nodes_open_nothing").await? else {
        return Ok(());
    };
    let disk = a_disk().unwrap_or_else(|| "7 0".into());
    let made = Command::new("mknod")
        .arg(cage.lower().join("disk"))
        .arg("b")
        .args(disk.split(' '))
        .status()?;
    assert!(made.success());
    let script = format!(
        "mknod /made b {disk}; mknod /kmsg c 1 11; mknod /mem c 1 1; mknod /fuse c 10 229; \
         for f in /disk /made /kmsg /mem /fuse; do (head -c 1 $f >/dev/null) 2>/dev/null && echo read $f; \
         (: 2>/dev/null >> $f) 2>/dev/null && echo wrote $f; done; echo end"
    );
    assert_eq!(cage.shell(&script).await?.stdout, "end\n");
    let container = sleeper(&cage).await?;
    let ran = cage.exec(&container.id, &["sh", "-c", &script]).await?;
    assert_eq!(ran.stdout, "end\n");
    cage.close().await
}

#[tokio::test]
async fn files_of_the_image_that_are_no_files_do_not_stop_a_start() -> TestResult {
    // A queue or a device as /etc/passwd: whoever opens it waits, or does something.
    let Some(cage) = Cage::new("files_of_the_image_that_are_no_files").await? else {
        return Ok(());
    };
    let passwd = cage.lower().join("etc/passwd");
    fs::remove_file(&passwd)?;
    let made = Command::new("mkfifo").arg(&passwd).status()?;
    assert!(made.success());
    assert_eq!(cage.shell("echo begun").await?.stdout, "begun\n");
    cage.close().await
}

#[tokio::test]
async fn a_pid_that_was_used_again_is_nobody_s_container() -> TestResult {
    // The machine (or a fork bomb) has given the pid of an ended container to a process of the host.
    let Some(cage) = Cage::new("a_pid_that_was_used_again").await? else {
        return Ok(());
    };
    let request = cage.request(&["true"])?;
    let mut victim = Command::new("sleep").arg("1000").spawn()?;
    let run = cage.path().join("second");
    let folder = run.join("containers").join(&request.id);
    fs::create_dir_all(&folder)?;
    let record = serde_json::json!({
        "id": request.id,
        "started": { "pid": victim.id(), "start_time": 1, "started_at": "", "warnings": [] },
        "cgroup": request.cgroup.path,
        "log": null,
        "stdin": "Closed",
        "exit_record": request.exit_record,
        "run_dir": folder,
    });
    fs::write(folder.join("keeper.json"), record.to_string())?;
    let mut paths = KeeperPaths::new(&run);
    paths.program = Some(env!("CARGO_BIN_EXE_hoist").into());
    let keeper = KeeperClient::connect_or_spawn(paths).await?;
    assert_eq!(keeper.list().await?, []);
    assert!(keeper.kill(&request.id, 9).await.is_err());
    while keeper.stop().await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(victim.try_wait()?, None);
    victim.kill()?;
    victim.wait()?;
    assert!(!folder.exists());
    cage.close().await
}

#[tokio::test]
async fn a_program_of_the_image_is_found_in_the_image_only() -> TestResult {
    let Some(cage) = Cage::new("a_program_of_the_image").await? else {
        return Ok(());
    };
    executable(&cage.path().join("outside"), "#!/bin/sh\necho outside\n")?;
    let path = cage.path().join("outside").display().to_string();
    for name in [path.clone(), format!("/../../../../../..{path}")] {
        let request = cage.request(&[&name])?;
        assert!(cage.keeper.start(&request).await.is_err(), "{name}");
    }
    cage.close().await
}
