//! Containers as their first process sees them.

use std::fs;

use hoist::runtime::container::request::{Namespace, TimeOffset};

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

#[tokio::test]
async fn capabilities_and_filter_are_docker_s() -> TestResult {
    let Some(cage) = Cage::new("capabilities_and_filter").await? else {
        return Ok(());
    };
    let ran = cage
        .shell("grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status")
        .await?;
    let words: Vec<&str> = ran.stdout.split_whitespace().collect();
    let value = |name: &str| {
        words
            .iter()
            .position(|word| *word == name)
            .and_then(|index| words.get(index + 1))
            .copied()
    };
    let mask = Some("00000000a80425fb");
    assert_eq!(
        (value("CapBnd:"), value("CapPrm:"), value("CapEff:")),
        (mask, mask, mask)
    );
    let none = Some("0000000000000000");
    assert_eq!((value("CapInh:"), value("CapAmb:")), (none, none));
    assert_eq!(
        (value("Seccomp:"), value("NoNewPrivs:")),
        (Some("2"), Some("0"))
    );
    let ran = cage
        .shell("mount -t tmpfs x /tmp; unshare -m true; echo done")
        .await?;
    assert_eq!(ran.stdout, "done\n");
    assert!(
        ran.stderr.contains("permitted") || ran.stderr.contains("denied"),
        "{}",
        ran.stderr
    );
    cage.close().await
}

#[tokio::test]
async fn kernel_files_are_masked_or_read_only() -> TestResult {
    let Some(cage) = Cage::new("kernel_files_are_masked").await? else {
        return Ok(());
    };
    let script = "cat /proc/kcore | wc -c; ls /sys/firmware | wc -l; (echo 1 > /proc/sys/kernel/domainname) 2>/dev/null || echo ro1; \
                  mkdir /sys/fs/cgroup/memory/x 2>/dev/null || echo ro2; touch /sys/x 2>/dev/null || echo ro3; \
                  ls /dev | sort | tr '\\n' ' '";
    let ran = cage.shell(script).await?;
    assert!(
        ran.stdout.starts_with("0\n0\nro1\nro2\nro3\n"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    let ran = cage.shell("ls -1 /dev | sort").await?;
    let names: Vec<&str> = ran.stdout.lines().collect();
    let mut expected = vec![
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ];
    // A kernel without `/proc/kcore` gets no link to it.
    if std::path::Path::new("/proc/kcore").exists() {
        expected.insert(0, "core");
    }
    assert_eq!(names, expected);
    cage.close().await
}

#[tokio::test]
async fn only_three_descriptors_are_open() -> TestResult {
    let Some(cage) = Cage::new("only_three_descriptors").await? else {
        return Ok(());
    };
    // `ls` itself opens the folder as 3.
    let ran = cage.run(&cage.request(&["ls", "/proc/self/fd"])?).await?;
    assert_eq!(
        ran.stdout.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
    cage.close().await
}

#[tokio::test]
async fn user_groups_home_and_folder_come_from_the_image() -> TestResult {
    let Some(cage) = Cage::new("user_groups_home").await? else {
        return Ok(());
    };
    let mut request = cage.request(&[
        "sh",
        "-c",
        "id; pwd; echo $HOME; echo to-stdout > /dev/stdout",
    ])?;
    request.process.user = "web".into();
    request.process.cwd = "/made/for/me".into();
    let ran = cage.run(&request).await?;
    let expected =
        "uid=33(web) gid=33(web) groups=33(web),44(logs)\n/made/for/me\n/srv\nto-stdout\n";
    assert_eq!(ran.stdout, expected, "{}", ran.stderr);
    let mut request = cage.request(&["id"])?;
    request.process.user = "nobody".into();
    let error = cage
        .keeper
        .start(&request)
        .await
        .map(drop)
        .map_err(|error| error.to_string());
    assert_eq!(
        error,
        Err("unable to find user nobody: no matching entries in passwd file".into())
    );
    cage.close().await
}

#[tokio::test]
async fn a_program_that_cannot_run_has_docker_s_text_and_code() -> TestResult {
    let Some(cage) = Cage::new("a_program_that_cannot_run").await? else {
        return Ok(());
    };
    fs::write(cage.lower().join("bin/plain"), "text")?;
    fs::create_dir_all(cage.lower().join("etc"))?;
    let cases = [
        (
            "nonsense",
            "exec: \"nonsense\": executable file not found in $PATH",
            127,
        ),
        (
            "/nonsense",
            "exec: \"/nonsense\": stat /nonsense: no such file or directory",
            127,
        ),
        ("/bin/plain", "exec: \"/bin/plain\": permission denied", 126),
        (
            "/etc",
            "exec: \"/etc\": is a directory: permission denied",
            126,
        ),
    ];
    for (program, text, code) in cases {
        let error = cage
            .keeper
            .start(&cage.request(&[program])?)
            .await
            .map(drop);
        let Err(error) = error else {
            return Err(program.into());
        };
        assert!(error.to_string().ends_with(text), "{error}");
        assert_eq!(
            error
                .kind()
                .map(hoist::runtime::keeper::FailureKind::exit_code),
            Some(code)
        );
    }
    cage.close().await
}

#[tokio::test]
async fn mounts_are_what_was_asked_for() -> TestResult {
    use hoist::runtime::container::request::{
        Access, ExtraFile, Mount, MountKind, Propagation, Recursion,
    };
    let Some(cage) = Cage::new("mounts_are_what_was_asked_for").await? else {
        return Ok(());
    };
    let source = cage.path().join("source");
    fs::create_dir_all(&source)?;
    fs::write(source.join("file"), "content\n")?;
    fs::write(cage.path().join("hosts"), "127.0.0.1 localhost\n")?;
    let bind = |target: &str, access| Mount {
        target: target.into(),
        kind: MountKind::Bind {
            source: source.clone(),
            recursion: Recursion::Recursive,
            propagation: Propagation::RecursivePrivate,
        },
        access,
    };
    let script = "cat /ro/file /etc/hosts; touch /ro/x 2>/dev/null || echo refused; echo new > /deep/rw/new; \
                  mount | grep ' /scratch '; touch /x 2>/dev/null || echo read-only";
    let mut request = cage.request(&["sh", "-c", script])?;
    request.mounts = vec![
        bind("/ro", Access::ReadOnly),
        bind("/deep/rw", Access::ReadWrite),
        Mount {
            target: "/scratch".into(),
            kind: MountKind::Tmpfs {
                options: "size=64k,mode=700,noexec".into(),
            },
            access: Access::ReadWrite,
        },
    ];
    request.files = vec![ExtraFile {
        source: cage.path().join("hosts"),
        target: "/etc/hosts".into(),
        access: Access::ReadWrite,
    }];
    request.rootfs.access = Access::ReadOnly;
    let ran = cage.run(&request).await?;
    let expected = "content\n127.0.0.1 localhost\nrefused\n\
                    tmpfs on /scratch type tmpfs (rw,noexec,relatime,size=64k,mode=700)\nread-only\n";
    // A kernel may be built to count inodes in 64 bits, and says so.
    let seen = ran.stdout.replace(",inode64", "");
    assert_eq!(seen, expected, "{}", ran.stderr);
    assert_eq!(fs::read_to_string(source.join("new"))?, "new\n");
    cage.close().await
}

#[tokio::test]
async fn our_own_init_reaps_and_forwards() -> TestResult {
    use hoist::runtime::container::request::Init;
    let Some(cage) = Cage::new("our_own_init").await? else {
        return Ok(());
    };
    let mut request = cage.request(&[
        "sh",
        "-c",
        "trap 'echo term; exit 5' TERM; echo $$; while :; do sleep 0.01; done",
    ])?;
    request.process.init = Init::Own;
    let session = cage.keeper.attach(&request.id).await?;
    let mut output = session.output;
    let mut notices = cage.keeper.subscribe().await?;
    cage.start(&request).await?;
    let first = output.next().await?;
    assert_eq!(
        first,
        Some(hoist::runtime::keeper::OutputItem::Stdout("2\n".into()))
    );
    cage.keeper.kill(&request.id, 15).await?;
    assert_eq!(notices.next().await?.code, 5);
    cage.close().await
}

/// The first number of `/proc/uptime`.
fn uptime(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[tokio::test]
async fn clocks_are_ahead_where_it_is_asked_for() -> TestResult {
    let Some(cage) = Cage::new("clocks_are_ahead").await? else {
        return Ok(());
    };
    let mut request = cage.request(&["sh", "-c", "cat /proc/uptime; sleep 1000"])?;
    request.namespaces.time = Namespace::New;
    request.namespaces.time_offsets = vec![TimeOffset {
        clock: "boottime".into(),
        seconds: 1_000_000,
        nanoseconds: 0,
    }];
    let started = cage.start(&request).await?;
    let own = uptime(&fs::read_to_string("/proc/uptime")?).ok_or("no uptime")?;
    let inside = cage.exec(&request.id, &["cat", "/proc/uptime"]).await?;
    let ahead = uptime(&inside.stdout).ok_or("no uptime")? - own;
    assert!((999_990.0..1_000_100.0).contains(&ahead), "{ahead}");
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/time"));
    assert_ne!(namespace(&started.pid.to_string())?, namespace("self")?);
    cage.kill(&request.id).await?;

    let plain = cage.request(&["readlink", "/proc/self/ns/time"])?;
    let seen = cage.run(&plain).await?.stdout;
    assert_eq!(seen.trim(), namespace("self")?.to_string_lossy());
    cage.close().await
}
