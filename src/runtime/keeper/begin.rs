//! Starting: containers, execs, and what was running when a keeper before this one died.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::epoll::EventFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use super::clock;
use super::connection::Use;
use super::guard;
use super::lend;
use super::log::{Log, Stream};
use super::protocol::{ExitNotice, Failure, FailureKind, Lent, Reply, Started};
use super::record::{self, RunRecord};
use super::server::{Keeper, Source, not_running};
use super::spool::Spool;
use super::task::{self, Input, Output, Streams, Task};
use crate::runtime::container::cgroup::CgroupHandle;
use crate::runtime::container::channel::Message;
use crate::runtime::container::launch::{self, Launched};
use crate::runtime::container::oci;
use crate::runtime::container::request::{ContainerRequest, ExecRequest, Stdin};
use crate::runtime::sys::process;

/// Output waits until the start is answered: its first client comes with the answer. Said once, then not again.
const WAITING: EventFlags = EventFlags::IN.union(EventFlags::ONESHOT);

impl Keeper {
    pub(super) fn start(&mut self, token: u64, request: &ContainerRequest, lent: Option<&Lent>) {
        // The folder of one that runs is not this start's to remove.
        if let Err(failure) = self.check_id("container", &request.id) {
            return self.refuse(token, failure);
        }
        if let Err(failure) = self.try_start(token, request, lent) {
            fs::remove_dir_all(&request.run_dir).unwrap_or_default();
            self.refuse(token, failure);
        }
    }

    fn check_id(&self, kind: &str, id: &str) -> Result<(), Failure> {
        if self.tasks.contains_key(id) {
            let text = format!("{kind} {id} is running already");
            return Err(Failure::new(FailureKind::AlreadyRunning, text));
        }
        if !is_plain_id(id) {
            let text = format!("`{id}` is no id");
            return Err(Failure::new(FailureKind::Refused, text));
        }
        Ok(())
    }

    fn try_start(
        &mut self,
        token: u64,
        request: &ContainerRequest,
        lent: Option<&Lent>,
    ) -> Result<(), Failure> {
        task::make_run_dir(&request.run_dir)
            .map_err(|error| Failure::step("cannot make the run folder", error))?;
        let mut log = open_log(request.log.as_ref())?;
        let spool = match (&mut log, request.process.terminal) {
            (Some(log), None) => Some(Spool::open(&request.run_dir, log))
                .transpose()
                .map_err(|error| Failure::step("cannot make the spool of the log", error))?,
            _ => None,
        };
        let mut record = RunRecord::new(request);
        let saving = |error| Failure::step("cannot save the run record", error);
        record.save().map_err(saving)?;
        let streams = match request.process.terminal {
            Some(_) => task::terminal_streams(),
            None => task::container_streams(request),
        };
        let Streams {
            child,
            input,
            outputs,
        } = streams.map_err(|error| Failure::step("cannot make the streams", error))?;
        let mut launched = launch::start(request, &self.host, child)?;
        self.watch_helper(launched.helper.take());
        record.started = describe(&launched);
        let group = CgroupHandle::new(&self.host, &request.cgroup.path);
        let pid = launched.pid;
        // Without the record a later keeper would kill what it does not know, which is better than losing it.
        let started = record.save().map_err(saving).and_then(|()| {
            let mut task = new_task(record, None, launched, token, group.clone(), log);
            task.spool = spool;
            // Without them the container runs as well: only the next engine makes sockets of its own.
            task.held = lent
                .and_then(|lent| lend::take(lent).ok())
                .unwrap_or_default();
            self.add_task(task, input, outputs)
                .map_err(|error| Failure::step("cannot watch the container", error))
        });
        if started.is_err() {
            self.abandon(pid, group);
        }
        started
    }

    /// Ends a process that was made and cannot be kept: its start is said to have failed.
    fn abandon(&mut self, pid: i32, group: CgroupHandle) {
        // A child that is not reaped yet: the pid is its own.
        process::send_signal(pid, libc::SIGKILL).unwrap_or_default();
        let child = Pid::from_raw(pid)
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        self.watch_helper(child);
        self.removals.push(group);
    }

    /// A helper that cannot be watched stays a zombie until the keeper ends, which harms nobody.
    fn watch_helper(&mut self, helper: Option<OwnedFd>) {
        let Some(helper) = helper else { return };
        if let Ok(token) = self.watch(Source::Helper, helper.as_fd(), EventFlags::IN) {
            self.helpers.insert(token, helper);
        }
    }

    pub(super) fn reap_helper(&mut self, token: u64) {
        let Some(helper) = self.helpers.remove(&token) else {
            return;
        };
        let _reaped = rustix::process::waitid(WaitId::PidFd(helper.as_fd()), WaitIdOptions::EXITED);
        self.unwatch(token, helper.as_fd());
    }

    pub(super) fn exec(&mut self, token: u64, request: &ExecRequest) {
        if let Err(failure) = self.try_exec(token, request) {
            self.refuse(token, failure);
        }
    }

    fn try_exec(&mut self, token: u64, request: &ExecRequest) -> Result<(), Failure> {
        self.check_id("exec", &request.id)?;
        let running = self
            .tasks
            .get(&request.container)
            .filter(|task| task.ended.is_none() && task.receiver.is_none());
        let Some(container) = running else {
            return Err(not_running(&request.container));
        };
        let streams = match request.process.terminal {
            Some(_) => task::terminal_streams(),
            None => task::exec_streams(request.stdin),
        };
        let Streams {
            child,
            input,
            outputs,
        } = streams.map_err(|error| Failure::step("cannot make the streams", error))?;
        let group = container.group.clone();
        let pid = container.record.started.pid;
        let launched = match &request.runtime {
            None => launch::exec(request, &container.pidfd, pid, &group, child)?,
            Some(runtime) => oci::exec(request, runtime, &container.record.run_dir, pid, child)?,
        };
        let record = RunRecord {
            id: request.id.clone(),
            started: describe(&launched),
            monitor: None,
            cgroup: String::new(),
            log: None,
            stdin: request.stdin,
            exit_record: Path::new("").to_owned(),
            run_dir: Path::new("").to_owned(),
        };
        let mut task = new_task(
            record,
            Some(request.container.clone()),
            launched,
            token,
            group,
            None,
        );
        task.clients.push(token);
        self.add_task(task, input, outputs)
            .map_err(|error| Failure::step("cannot watch the exec", error))
    }

    fn add_task(
        &mut self,
        mut task: Task,
        input: Option<OwnedFd>,
        outputs: Vec<(Stream, OwnedFd)>,
    ) -> io::Result<()> {
        let id = task.id.clone();
        self.watch(Source::Exit(id.clone()), task.pidfd.as_fd(), EventFlags::IN)?;
        if let Some(receiver) = &task.receiver {
            self.watch(
                Source::Channel(id.clone()),
                receiver.as_fd(),
                EventFlags::IN,
            )?;
        }
        let flags = match &task.receiver {
            Some(_) => WAITING,
            None => EventFlags::IN,
        };
        for (stream, fd) in outputs {
            task.outputs
                .push(self.watch_output(&id, stream, fd, false, flags)?);
        }
        if let Some(fd) = input {
            task.input = Some(self.watch_input(&id, fd)?);
        }
        self.tasks.insert(id, task);
        Ok(())
    }

    fn watch_output(
        &mut self,
        id: &str,
        stream: Stream,
        fd: OwnedFd,
        terminal: bool,
        flags: EventFlags,
    ) -> io::Result<Output> {
        let token = self.watch(Source::Output(id.to_owned()), fd.as_fd(), flags)?;
        Ok(Output {
            stream,
            fd,
            token,
            terminal,
        })
    }

    /// Nothing is waited for until the process does not take what it is given.
    fn watch_input(&mut self, id: &str, fd: OwnedFd) -> io::Result<Input> {
        let token = self.watch(Source::Input(id.to_owned()), fd.as_fd(), EventFlags::ET)?;
        Ok(Input {
            fd,
            token,
            waiting: std::collections::VecDeque::new(),
            closing: false,
        })
    }

    /// A child says something before its program runs.
    pub(super) fn on_channel(&mut self, id: &str) {
        while let Some(task) = self.tasks.get_mut(id) {
            let Some(receiver) = &task.receiver else {
                return;
            };
            match receiver.receive() {
                Ok(Message::Terminal(master)) => self.adopt_terminal(id, master),
                Ok(Message::Program { pid, pidfd }) => self.adopt_program(id, pid, pidfd),
                Ok(Message::Executing) => task.executing = true,
                Ok(Message::Failed(failure)) => task.failure = Some(failure),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(Message::Closed) | Err(_) => return self.channel_closed(id),
            }
        }
    }

    /// An OCI runtime has made the process: what was started is only its monitor.
    fn adopt_program(&mut self, id: &str, pid: i32, pidfd: OwnedFd) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let record = &mut task.record;
        record.monitor = Some(record.awaited());
        record.started.pid = pid;
        record.started.start_time = record::start_time(pid).unwrap_or(0);
        task.program = Some(pidfd);
        if task.container.is_none() && record.save().is_err() {
            task.failure = Some(Failure::step(
                "cannot save the run record",
                "the monitor's process is not noted",
            ));
        }
    }

    fn adopt_terminal(&mut self, id: &str, master: OwnedFd) {
        let adopt = |keeper: &mut Self| -> io::Result<()> {
            rustix::io::ioctl_fionbio(&master, true)?;
            let input = rustix::io::fcntl_dupfd_cloexec(&master, 3)?;
            let output = keeper.watch_output(id, Stream::Stdout, master, true, WAITING)?;
            let input = keeper.watch_input(id, input)?;
            if let Some(task) = keeper.tasks.get_mut(id) {
                task.outputs.push(output);
                task.input = (task.record.stdin != Stdin::Closed || task.container.is_some())
                    .then_some(input);
            }
            Ok(())
        };
        let result = adopt(self);
        if let (Err(error), Some(task)) = (result, self.tasks.get_mut(id)) {
            task.failure = Some(Failure::step("cannot take the terminal", error));
        }
    }

    /// Either the program runs now, or the child is about to end.
    fn channel_closed(&mut self, id: &str) {
        let receiver = self.tasks.get_mut(id).and_then(|task| task.receiver.take());
        if let Some(receiver) = receiver {
            self.unwatch_channel(id, receiver.as_fd());
        }
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if !task.executing && task.failure.is_none() {
            task.failure = Some(Failure::step(
                "the container's process ended before its program ran",
                "it was killed",
            ));
        }
        if task.failure.is_some() {
            return;
        }
        let (starter, started) = (task.starter.take(), task.record.started.clone());
        let exec = task.container.is_some();
        if let Some(token) = starter {
            if exec {
                let usage = Use::Streaming(id.to_owned());
                self.with_connection(token, |connection| {
                    connection.usage = usage;
                    connection.reply(&Reply::Started(started))
                });
                self.feed_input(token);
                self.refresh(token);
            } else {
                self.answer(token, &Reply::Started(started));
            }
        }
        self.attach_early(id);
        // From now on output is read.
        self.pause_if_crowded(id);
    }

    pub(super) fn attach(&mut self, token: u64, id: String) {
        let running = self
            .tasks
            .get(&id)
            .is_some_and(|task| task.ended.is_none() && task.container.is_none());
        let usage = Use::Streaming(id.clone());
        self.with_connection(token, |connection| {
            connection.usage = usage;
            connection.reply(&Reply::Done)
        });
        if !self.connections.contains_key(&token) {
            return;
        }
        self.early.entry(id.clone()).or_default().push(token);
        if running {
            self.attach_early(&id);
        }
    }

    /// Connects those who came before the start.
    fn attach_early(&mut self, id: &str) {
        let tokens = self.early.remove(id).unwrap_or_default();
        if let Some(task) = self.tasks.get_mut(id) {
            task.clients.extend(&tokens);
        }
        for token in tokens {
            self.feed_input(token);
            self.refresh(token);
        }
    }

    /// Takes over what a keeper before this one left.
    pub(super) fn adopt(&mut self) {
        let Ok(entries) = fs::read_dir(self.paths.containers()) else {
            return;
        };
        for entry in entries.filter_map(Result::ok) {
            match RunRecord::load(&entry.path()) {
                Ok(record) => self.adopt_one(record),
                // Nothing was started before the record was written.
                Err(_) => fs::remove_dir_all(entry.path()).unwrap_or_default(),
            }
        }
        let alive = self.tasks.values().map(|task| task.record.awaited());
        guard::forget_strangers(&self.paths, alive);
    }

    fn adopt_one(&mut self, record: RunRecord) {
        let group = CgroupHandle::new(&self.host, &record.cgroup);
        match living(record.awaited()) {
            Some(pidfd) => {
                let run_dir = record.run_dir.clone();
                let adopted = self.adopt_living(record, pidfd, group.clone());
                if adopted.is_err() {
                    group.kill_all();
                    self.removals.push(group);
                    fs::remove_dir_all(run_dir).unwrap_or_default();
                }
            }
            None => self.bury(&record, group),
        }
    }

    fn adopt_living(
        &mut self,
        record: RunRecord,
        pidfd: OwnedFd,
        group: CgroupHandle,
    ) -> io::Result<()> {
        let (log, spool) = reopen_log(&record)?;
        let mut outputs = Vec::new();
        for (stream, name) in [(Stream::Stdout, "stdout"), (Stream::Stderr, "stderr")] {
            let path = record.run_dir.join(name);
            if path.exists() {
                outputs.push((stream, task::open_output(&path)?));
            }
        }
        // Refused when the container has closed its end.
        let input = task::open_input(&record.run_dir.join("stdin")).ok();
        let program = record
            .monitor
            .and_then(|_| living((record.started.pid, record.started.start_time)));
        let task = Task {
            id: record.id.clone(),
            container: None,
            pidfd,
            program,
            record,
            receiver: None,
            executing: true,
            failure: None,
            starter: None,
            outputs: Vec::new(),
            input: None,
            clients: Vec::new(),
            log,
            spool,
            group,
            ended: None,
            held: Vec::new(),
        };
        self.add_task(task, input, outputs)
    }

    /// It ended while no keeper lived. How, only the guard can tell.
    fn bury(&mut self, record: &RunRecord, group: CgroupHandle) {
        let recorded = fs::read(&record.exit_record)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<ExitNotice>(&bytes).ok())
            .is_some_and(|notice| notice.pid == record.started.pid);
        let mut lost = 0;
        if let Ok((Some(mut log), _spool)) = reopen_log(record) {
            log.finish();
            lost = log.dropped();
        }
        if record.started.pid != 0 && !recorded {
            let (pid, start_time) = record.awaited();
            let told = guard::recorded(&self.paths, pid, start_time);
            guard::forget(&self.paths, pid, start_time);
            let (code, signal) = told.unwrap_or((255, None));
            let notice = ExitNotice {
                id: record.id.clone(),
                container: None,
                pid: record.started.pid,
                code,
                signal,
                oom_killed: group.oom_kills() > 0 || record.is_marked_oom(),
                known: told.is_some(),
                finished_at: clock::now(),
                log_lines_lost: lost,
            };
            record::save_exit(&record.exit_record, &notice).unwrap_or_default();
        }
        group.kill_all();
        self.removals.push(group);
        fs::remove_dir_all(&record.run_dir).unwrap_or_default();
    }
}

/// The log of a container that another keeper began, with what that one left.
fn reopen_log(record: &RunRecord) -> io::Result<(Option<Log>, Option<Spool>)> {
    let Some(target) = &record.log else {
        return Ok((None, None));
    };
    let mut log = Log::open(target)?;
    let spooled = record.run_dir.join(Spool::MARK).exists();
    let spool = spooled
        .then(|| Spool::open(&record.run_dir, &mut log))
        .transpose()?;
    Ok((Some(log), spool))
}

/// The process of a record, unless its pid belongs to another one by now.
fn living((number, start_time): (i32, u64)) -> Option<OwnedFd> {
    let pid = Pid::from_raw(number)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    (record::start_time(number) == Some(start_time)).then_some(pidfd)
}

fn new_task(
    record: RunRecord,
    container: Option<String>,
    launched: Launched,
    starter: u64,
    group: CgroupHandle,
    log: Option<Log>,
) -> Task {
    Task {
        id: record.id.clone(),
        container,
        pidfd: launched.pidfd,
        program: None,
        record,
        receiver: Some(launched.receiver),
        executing: false,
        failure: None,
        starter: Some(starter),
        outputs: Vec::new(),
        input: None,
        clients: Vec::new(),
        log,
        spool: None,
        group,
        ended: None,
        held: Vec::new(),
    }
}

fn describe(launched: &Launched) -> Started {
    Started {
        pid: launched.pid,
        start_time: record::start_time(launched.pid).unwrap_or(0),
        started_at: clock::now(),
        warnings: launched.warnings.clone(),
    }
}

fn open_log(
    target: Option<&crate::runtime::container::request::LogFile>,
) -> Result<Option<Log>, Failure> {
    target
        .map(Log::open)
        .transpose()
        .map_err(|error| Failure::step("cannot open the log", error))
}

/// Ids become names of folders and cgroups.
fn is_plain_id(id: &str) -> bool {
    let mut bytes = id.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}
