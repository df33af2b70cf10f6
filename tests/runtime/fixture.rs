//! A keeper of the test's own with a busybox root, and short ways to run something in a container.

use crate::common::skip;
use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use hoist::runtime::container::request::{
    Access, Cgroup, Compression, ContainerRequest, DeviceRule, ExecRequest, Init, Limits, LogFile,
    Namespace, Namespaces, NewPrivileges, PathProtection, Process, Rootfs, Seccomp, Stdin, Stdio,
    Verdict,
};
use hoist::runtime::container::seccomp::default_program;
use rustix::process::{Pid, Signal, kill_process};

use hoist::runtime::keeper::{
    ExitNotice, FailureKind, KeeperClient, KeeperPaths, Output, OutputItem, Started,
};

pub(super) type TestResult = Result<(), Box<dyn Error>>;

/// Docker's fourteen capabilities.
pub(super) const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;

/// A folder with a keeper; both go when it is dropped.
#[derive(Debug)]
pub(super) struct Cage {
    folder: tempfile::TempDir,
    /// The keeper.
    pub(super) keeper: KeeperClient,
    numbers: AtomicU32,
}

/// What a container came to.
#[derive(Debug)]
pub(super) struct Ran {
    /// Standard output.
    pub(super) stdout: String,
    /// Standard error.
    pub(super) stderr: String,
    /// How it ended.
    pub(super) exit: ExitNotice,
}

impl Cage {
    /// A cage, unless this machine has not what it needs.
    pub(super) async fn new(test: &str) -> Result<Option<Self>, Box<dyn Error>> {
        if !crate::common::has_root(test) {
            return Ok(None);
        }
        if !Path::new("/bin/busybox").exists() {
            skip(test, "busybox-static");
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("hoist-cage-").tempdir()?;
        make_root(&folder.path().join("lower"))?;
        let mut paths = KeeperPaths::new(&folder.path().join("run"));
        paths.program = Some(PathBuf::from(env!("CARGO_BIN_EXE_hoist")));
        let keeper = KeeperClient::connect_or_spawn(paths).await?;
        Ok(Some(Self {
            folder,
            keeper,
            numbers: AtomicU32::new(0),
        }))
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The cgroup above those of the cage's containers.
    fn group(&self) -> String {
        let name = self.folder.path().file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The folder that all containers of the cage have as their image.
    pub(super) fn lower(&self) -> PathBuf {
        self.folder.path().join("lower")
    }

    /// A container that asks for more memory than it may have.
    pub(super) fn hungry(&self) -> Result<ContainerRequest, Box<dyn Error>> {
        let mut request =
            self.request(&["sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1"])?;
        request.cgroup.limits = Limits {
            memory: Some(16 << 20),
            memory_swap: Some(16 << 20),
            ..Limits::default()
        };
        Ok(request)
    }

    /// A request as Docker's defaults would make it.
    pub(super) fn request(&self, argv: &[&str]) -> Result<ContainerRequest, Box<dyn Error>> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let name = self
            .folder
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let id = format!("{}{number}", name.replace("hoist-cage-", "t"));
        let state = self.folder.path().join("state").join(&id);
        for folder in ["upper", "work"] {
            fs::create_dir_all(state.join(folder))?;
        }
        Ok(ContainerRequest {
            process: process(argv),
            rootfs: Rootfs {
                lower: vec![self.lower()],
                upper: state.join("upper"),
                work: state.join("work"),
                access: Access::ReadWrite,
            },
            namespaces: Namespaces {
                network: Namespace::New,
                pid: Namespace::New,
                ipc: Namespace::New,
                uts: Namespace::New,
                cgroup: Namespace::New,
                user: Namespace::Host,
                time: Namespace::Host,
                time_offsets: Vec::new(),
                uid_map: Vec::new(),
                gid_map: Vec::new(),
            },
            hostname: Some("caged".into()),
            domainname: None,
            mounts: Vec::new(),
            files: Vec::new(),
            devices: Vec::new(),
            shm_size: 64 << 20,
            paths: PathProtection {
                masked: [
                    "/proc/kcore",
                    "/proc/keys",
                    "/proc/timer_list",
                    "/proc/acpi",
                    "/sys/firmware",
                ]
                .map(String::from)
                .to_vec(),
                read_only: [
                    "/proc/bus",
                    "/proc/fs",
                    "/proc/irq",
                    "/proc/sys",
                    "/proc/sysrq-trigger",
                ]
                .map(String::from)
                .to_vec(),
                kernel: Access::ReadOnly,
            },
            sysctls: Vec::new(),
            cgroup: Cgroup {
                path: format!("{}/{id}", self.group()),
                limits: Limits::default(),
                devices: devices(),
            },
            stdio: Stdio {
                stdin: Stdin::Closed,
            },
            log: Some(LogFile {
                path: state.join("json.log"),
                max_size: None,
                max_file: 1,
                compression: Compression::Plain,
            }),
            run_dir: self.folder.path().join("run/containers").join(&id),
            exit_record: state.join("exit.json"),
            bind_owners: std::collections::BTreeMap::new(),
            runtime: None,
            id,
        })
    }

    /// Runs a shell command in a container of its own.
    pub(super) async fn shell(&self, script: &str) -> Result<Ran, Box<dyn Error>> {
        self.run(&self.request(&["/bin/sh", "-c", script])?).await
    }

    /// Runs a container to its end.
    pub(super) async fn run(&self, request: &ContainerRequest) -> Result<Ran, Box<dyn Error>> {
        let mut notices = self.keeper.subscribe().await?;
        let session = self.keeper.attach(&request.id).await?;
        self.keeper.start(request).await?;
        let (stdout, stderr, _) = collect(session.output).await?;
        loop {
            let exit = notices.next().await?;
            if exit.id == request.id {
                return Ok(Ran {
                    stdout,
                    stderr,
                    exit,
                });
            }
        }
    }

    /// Starts a container that stays.
    pub(super) async fn start(
        &self,
        request: &ContainerRequest,
    ) -> Result<Started, Box<dyn Error>> {
        Ok(self.keeper.start(request).await?)
    }

    /// Runs a process in a running container to its end.
    pub(super) async fn exec(&self, container: &str, argv: &[&str]) -> Result<Ran, Box<dyn Error>> {
        let request = self.exec_request(container, argv);
        let (_, session) = self.keeper.exec(&request).await?;
        let (stdout, stderr, exit) = collect(session.output).await?;
        Ok(Ran {
            stdout,
            stderr,
            exit: exit.ok_or("the exec had no end")?,
        })
    }

    pub(super) fn exec_request(&self, container: &str, argv: &[&str]) -> ExecRequest {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        ExecRequest {
            id: format!("exec{number}"),
            container: container.to_owned(),
            process: process(argv),
            stdin: Stdin::Closed,
            runtime: None,
        }
    }

    /// Kills a container and waits for its end.
    pub(super) async fn kill(&self, id: &str) -> Result<ExitNotice, Box<dyn Error>> {
        let mut notices = self.keeper.subscribe().await?;
        self.keeper.kill(id, 9).await?;
        loop {
            let exit = notices.next().await?;
            if exit.id == id {
                return Ok(exit);
            }
        }
    }

    /// Ends everything that still runs, and the keeper, which stays until its last container has gone.
    pub(super) async fn close(self) -> TestResult {
        for running in self.keeper.list().await? {
            // What ends by itself at this moment is as good.
            match self.keeper.kill(&running.id, 9).await {
                Err(error) if error.kind() != Some(FailureKind::NotRunning) => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        while self.keeper.stop().await.is_err() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

impl Drop for Cage {
    /// After [`Cage::close`] only empty folders are left to remove; a failed test leaves more.
    fn drop(&mut self) {
        // The processes of a keeper that lives; its socket knows who listens.
        let socket = self.folder.path().join("run/keeper.sock");
        let keeper = UnixStream::connect(socket)
            .ok()
            .and_then(|stream| rustix::net::sockopt::socket_peercred(&stream).ok());
        if let Some(keeper) = keeper {
            // Already gone is as good.
            let _killed = kill_process(keeper.pid, Signal::KILL);
        }
        for folder in cgroup_folders(&self.group()) {
            while !remove_group(&folder) {
                std::thread::yield_now();
            }
        }
    }
}

/// A folder in each hierarchy, where there is one.
fn cgroup_folders(name: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let hierarchies = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        kind.starts_with("cgroup")
            .then(|| Path::new(place).join(name))
    });
    hierarchies.filter(|folder| folder.is_dir()).collect()
}

/// Kills what is in a group and those below, and removes them; false while something is still ending.
fn remove_group(folder: &Path) -> bool {
    let inner = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in inner.filter(|entry| entry.path().is_dir()) {
        if !remove_group(&entry.path()) {
            return false;
        }
    }
    let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|line| line.parse().ok()) {
        if let Some(pid) = Pid::from_raw(pid) {
            let _killed = kill_process(pid, Signal::KILL);
        }
    }
    fs::remove_dir(folder).is_ok() || !folder.exists()
}

/// Reads a session to its end.
pub(super) async fn collect(
    mut output: Output,
) -> Result<(String, String, Option<ExitNotice>), Box<dyn Error>> {
    let (mut stdout, mut stderr, mut exit) = (Vec::new(), Vec::new(), None);
    while let Some(item) = output.next().await? {
        match item {
            OutputItem::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            OutputItem::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            OutputItem::Exit(notice) => exit = Some(notice),
        }
    }
    Ok((String::from_utf8(stdout)?, String::from_utf8(stderr)?, exit))
}

pub(super) fn make_root(lower: &Path) -> TestResult {
    fs::create_dir_all(lower.join("bin"))?;
    fs::create_dir_all(lower.join("etc"))?;
    fs::create_dir_all(lower.join("tmp"))?;
    fs::copy("/bin/busybox", lower.join("bin/busybox"))?;
    let programs = [
        "sh",
        "cat",
        "echo",
        "ls",
        "id",
        "grep",
        "readlink",
        "sleep",
        "mount",
        "stat",
        "hostname",
        "env",
        "kill",
        "ps",
        "seq",
        "dd",
        "wc",
        "mknod",
        "touch",
        "tty",
        "stty",
        "true",
        "false",
        "chroot",
        "unshare",
        "umount",
        "pwd",
        "head",
        "tail",
        "awk",
        "mkdir",
        "rm",
        "sha256sum",
        "yes",
        "cut",
        "ln",
        "printf",
        "sort",
        "test",
        "mv",
        "mkfifo",
        "find",
    ];
    for program in programs {
        symlink("busybox", lower.join("bin").join(program))?;
    }
    fs::write(
        lower.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n",
    )?;
    fs::write(
        lower.join("etc/group"),
        "root:x:0:\nweb:x:33:\nlogs:x:44:web\n",
    )?;
    Ok(())
}

pub(super) fn process(argv: &[&str]) -> Process {
    Process {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
        cwd: "/".into(),
        user: String::new(),
        group_add: Vec::new(),
        capabilities: DEFAULT_CAPABILITIES,
        privileges: NewPrivileges::Allowed,
        seccomp: Seccomp::Program(default_program(DEFAULT_CAPABILITIES)),
        rlimits: Vec::new(),
        oom_score_adj: None,
        apparmor: None,
        selinux: None,
        init: Init::Program,
        terminal: None,
    }
}

fn devices() -> Vec<DeviceRule> {
    let rule = |kind, major, minor, access: &str| DeviceRule {
        verdict: Verdict::Allow,
        kind,
        major,
        minor,
        access: access.to_owned(),
    };
    let mut rules = vec![rule('c', None, None, "m"), rule('b', None, None, "m")];
    let usual = [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(2)),
        (136, None),
    ];
    rules.extend(usual.map(|(major, minor)| rule('c', Some(major), minor, "rwm")));
    rules
}
