//! The loop: waits for anything to happen, and gives it to the part that it concerns.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::net::SocketFlags;

use super::connection::{Connection, Use};
use super::guard;
use super::log::Log;
use super::protocol::{Failure, FailureKind, KeeperPaths, Reply, Request, Revival, Running};
use super::revive::Reviver;
use super::task::Task;
use crate::runtime::container::cgroup::{CgroupHandle, CgroupHost};
use crate::runtime::container::launch;
use crate::runtime::container::request::TerminalSize;
use crate::runtime::sys::process;

/// What a token of the loop stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// The control socket.
    Listener,
    /// A client.
    Connection,
    /// Messages of a child before its exec.
    Channel(String),
    /// The end of a process.
    Exit(String),
    /// Output of a process.
    Output(String),
    /// Input of a process that was full.
    Input(String),
    /// A helper of a start.
    Helper,
    /// The process that brings the engine back.
    Launcher,
}

/// The keeper.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) paths: KeeperPaths,
    _lock: OwnedFd,
    epoll: OwnedFd,
    listener: OwnedFd,
    pub(super) host: CgroupHost,
    sources: BTreeMap<u64, Source>,
    pub(super) tasks: BTreeMap<String, Task>,
    pub(super) connections: BTreeMap<u64, Connection>,
    /// Connections that wait for the start of a container.
    pub(super) early: BTreeMap<String, Vec<u64>>,
    next_token: u64,
    pub(super) buffer: Vec<u8>,
    /// Helpers of starts that have not ended.
    pub(super) helpers: BTreeMap<u64, OwnedFd>,
    /// Cgroups whose last members are not gone yet.
    pub(super) removals: Vec<CgroupHandle>,
    /// Brings a killed engine back.
    pub(super) reviver: Reviver,
    stopping: bool,
}

impl Keeper {
    pub(super) fn new(paths: KeeperPaths, lock: OwnedFd, listener: OwnedFd) -> io::Result<Self> {
        let mut keeper = Self {
            paths,
            _lock: lock,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            listener,
            host: CgroupHost::probe()?,
            sources: BTreeMap::new(),
            tasks: BTreeMap::new(),
            connections: BTreeMap::new(),
            early: BTreeMap::new(),
            next_token: 0,
            buffer: vec![0; 64 * 1024],
            helpers: BTreeMap::new(),
            removals: Vec::new(),
            reviver: Reviver::default(),
            stopping: false,
        };
        let token = keeper.token(Source::Listener);
        epoll::add(
            &keeper.epoll,
            &keeper.listener,
            EventData::new_u64(token),
            EventFlags::IN,
        )?;
        keeper.adopt();
        Ok(keeper)
    }

    /// Serves until it is asked to stop.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(64);
        while !self.stopping || !self.connections.is_empty() {
            events.clear();
            let timeout = self.timeout();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                result => drop(result?),
            }
            for event in &events {
                self.dispatch(event.data.u64(), event.flags);
            }
            self.retry();
            self.revive();
        }
        Ok(())
    }

    /// A tick while something has no event of its own: cgroups that empty, terminals of ended processes, room on a full
    /// disk, the time to bring the engine back.
    fn timeout(&self) -> Option<rustix::time::Timespec> {
        let ticking =
            !self.removals.is_empty() || self.tasks.values().any(|task| task.ended.is_some());
        let tick = ticking.then_some(Duration::from_millis(2));
        let troubled = self
            .tasks
            .values()
            .any(|task| task.log.as_ref().is_some_and(Log::is_troubled));
        let room = troubled.then_some(Duration::from_secs(1));
        let revival = self.reviver.patience(Instant::now());
        let patience = [tick, room, revival].into_iter().flatten().min()?;
        rustix::time::Timespec::try_from(patience).ok()
    }

    fn retry(&mut self) {
        self.removals.retain(|group| {
            group.kill_all();
            group.remove().is_err()
        });
        for log in self.tasks.values_mut().filter_map(|task| task.log.as_mut()) {
            log.retry();
        }
        let now = Instant::now();
        let late = self
            .tasks
            .values()
            .filter(|task| task.ended.is_some_and(|ended| ended.patience <= now));
        let late: Vec<String> = late.map(|task| task.id.clone()).collect();
        for id in late {
            self.finish_task(&id);
        }
    }

    fn dispatch(&mut self, token: u64, flags: EventFlags) {
        // A source may have gone by an earlier event of the same batch.
        let Some(source) = self.sources.get(&token).cloned() else {
            return;
        };
        match source {
            Source::Listener => self.accept(),
            Source::Connection => self.serve(token, flags),
            Source::Channel(id) => self.on_channel(&id),
            Source::Exit(id) => self.on_exit(&id),
            Source::Output(id) => self.on_output(&id, token),
            Source::Input(id) => self.flush_input(&id),
            Source::Helper => self.reap_helper(token),
            Source::Launcher => self.reap_launcher(),
        }
    }

    fn token(&mut self, source: Source) -> u64 {
        self.next_token += 1;
        self.sources.insert(self.next_token, source);
        self.next_token
    }

    /// Watches a descriptor.
    pub(super) fn watch(
        &mut self,
        source: Source,
        fd: BorrowedFd<'_>,
        flags: EventFlags,
    ) -> io::Result<u64> {
        let token = self.token(source);
        epoll::add(&self.epoll, fd, EventData::new_u64(token), flags)?;
        Ok(token)
    }

    /// Changes what is watched for.
    pub(super) fn rewatch(&self, token: u64, fd: BorrowedFd<'_>, flags: EventFlags) {
        epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags).unwrap_or_default();
    }

    /// Forgets a descriptor that is about to be closed.
    pub(super) fn unwatch(&mut self, token: u64, fd: BorrowedFd<'_>) {
        self.sources.remove(&token);
        epoll::delete(&self.epoll, fd).unwrap_or_default();
    }

    /// Forgets the exit of a task.
    pub(super) fn unwatch_exit(&mut self, id: &str, pidfd: BorrowedFd<'_>) {
        self.sources
            .retain(|_, source| !matches!(source, Source::Exit(owner) if owner == id));
        epoll::delete(&self.epoll, pidfd).unwrap_or_default();
    }

    /// Looks no longer for the exit of a task that has ended and is still heard out.
    pub(super) fn exit_is_known(&mut self, id: &str) {
        self.sources
            .retain(|_, source| !matches!(source, Source::Exit(owner) if owner == id));
        if let Some(task) = self.tasks.get(id) {
            epoll::delete(&self.epoll, task.pidfd.as_fd()).unwrap_or_default();
        }
    }

    /// Forgets the channel of a task. Closing would not do: a child that is on its way to its own program has a copy of
    /// every descriptor, and as long as it has, the closed channel would wake the keeper again and again.
    pub(super) fn unwatch_channel(&mut self, id: &str, channel: BorrowedFd<'_>) {
        self.sources
            .retain(|_, source| !matches!(source, Source::Channel(owner) if owner == id));
        epoll::delete(&self.epoll, channel).unwrap_or_default();
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = rustix::net::accept_with(&self.listener, flags) {
            let own = rustix::process::geteuid();
            let trusted = rustix::net::sockopt::socket_peercred(&socket)
                .is_ok_and(|peer| peer.uid == own || peer.uid.is_root());
            if !trusted {
                continue;
            }
            if let Ok(token) = self.watch(Source::Connection, socket.as_fd(), EventFlags::IN) {
                self.connections.insert(token, Connection::new(socket));
            }
        }
    }

    fn serve(&mut self, token: u64, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.with_connection(token, Connection::flush);
            self.resume_source(token);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.read_connection(token, flags);
        }
        self.refresh(token);
    }

    /// Room again: a process that was held back because of this client goes on.
    fn resume_source(&mut self, token: u64) {
        if let Some(Use::Streaming(id)) = self.connections.get(&token).map(|it| it.usage.clone()) {
            self.pause_if_crowded(&id);
        }
    }

    fn read_connection(&mut self, token: u64, flags: EventFlags) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let received = self
            .connections
            .get_mut(&token)
            .map(|connection| connection.receive(&mut buffer));
        self.buffer = buffer;
        let more = match received {
            None => return,
            Some(Err(_)) => return self.drop_connection(token),
            Some(Ok(more)) => more,
        };
        if self.use_received(token).is_err() {
            return self.drop_connection(token);
        }
        let gone = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        let useless = self
            .connections
            .get(&token)
            .is_some_and(|connection| connection.usage == Use::Asking);
        if !more && (gone || useless) {
            self.drop_connection(token);
        }
    }

    fn use_received(&mut self, token: u64) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&token) else {
            return Ok(());
        };
        if connection.usage == Use::Asking
            && let Some(request) = connection.take_request()?
        {
            connection.usage = Use::Waiting;
            self.handle(token, request);
        }
        self.feed_input(token);
        Ok(())
    }

    /// Runs something on a connection, and drops it when that fails: its client has gone.
    pub(super) fn with_connection(
        &mut self,
        token: u64,
        act: impl FnOnce(&mut Connection) -> io::Result<()>,
    ) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        if act(connection).is_err() {
            self.drop_connection(token);
        }
    }

    /// Answers a request that has one answer.
    pub(super) fn answer(&mut self, token: u64, reply: &Reply) {
        self.with_connection(token, |connection| {
            connection.usage = Use::Ending;
            connection.reply(reply)
        });
        self.refresh(token);
    }

    pub(super) fn refuse(&mut self, token: u64, failure: Failure) {
        self.answer(token, &Reply::Failed(failure));
    }

    /// Watches a connection for what it can do now, and closes it when it has nothing left to do.
    pub(super) fn refresh(&mut self, token: u64) {
        let Some(connection) = self.connections.get(&token) else {
            return;
        };
        if connection.usage == Use::Ending && connection.unsent() == 0 {
            return self.drop_connection(token);
        }
        let mut flags = EventFlags::empty();
        if connection.unsent() > 0 {
            flags |= EventFlags::OUT;
        }
        if !connection.input_ended && self.wants_input(connection) {
            flags |= EventFlags::IN;
        }
        self.rewatch(token, connection.as_fd(), flags);
    }

    pub(super) fn drop_connection(&mut self, token: u64) {
        if let Some(connection) = self.connections.remove(&token) {
            self.unwatch(token, connection.as_fd());
            self.reviver.closed(token, Instant::now());
            self.detach_client(token, &connection.usage);
        }
    }

    fn handle(&mut self, token: u64, request: Request) {
        match request {
            Request::Start(request) => {
                self.start(token, &request.container, request.lent.as_ref());
            }
            Request::Exec(request) => self.exec(token, &request),
            Request::Attach { id } => self.attach(token, id),
            Request::Kill { id, signal } => self.act(token, &id, |task| kill(task, signal)),
            Request::Resize { id, size } => self.act(token, &id, |task| resize(task, size)),
            Request::CloseStdin { id } => {
                self.close_input(&id);
                self.answer(token, &Reply::Done);
            }
            Request::Subscribe { revival } => self.subscribe(token, revival),
            Request::Dismiss => {
                self.reviver.dismissed();
                self.answer(token, &Reply::Done);
            }
            Request::List => {
                let running = self
                    .tasks
                    .values()
                    .filter(|task| task.container.is_none() && task.receiver.is_none());
                let running = running.map(|task| Running {
                    id: task.id.clone(),
                    started: task.record.started.clone(),
                    lent: task.lent(),
                });
                let reply = Reply::Listed(running.collect());
                self.answer(token, &reply);
            }
            Request::Stop => self.stop(token),
        }
    }

    fn subscribe(&mut self, token: u64, revival: Option<Revival>) {
        if let Some(revival) = revival {
            self.reviver.came(token, revival, Instant::now());
        }
        self.with_connection(token, |connection| {
            connection.usage = Use::Listening;
            connection.reply(&Reply::Done)
        });
    }

    fn stop(&mut self, token: u64) {
        if !self.tasks.is_empty() || !self.removals.is_empty() {
            let text = "containers are running";
            return self.refuse(token, Failure::new(FailureKind::AlreadyRunning, text));
        }
        if let Err(failure) = self.leave_no_trace() {
            return self.refuse(token, failure);
        }
        self.stopping = true;
        self.reviver.dismissed();
        let listeners = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.usage == Use::Listening);
        let listeners: Vec<u64> = listeners.map(|(token, _)| *token).collect();
        for listener in listeners {
            self.drop_connection(listener);
        }
        self.answer(token, &Reply::Done);
    }

    /// Before the answer: what is there afterwards belongs to the next keeper.
    fn leave_no_trace(&self) -> Result<(), Failure> {
        guard::forget_strangers(&self.paths, std::iter::empty());
        match std::fs::remove_file(self.paths.socket()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::step("cannot remove the keeper's socket", error))
            }
            _ => Ok(()),
        }
    }

    fn act(&mut self, token: u64, id: &str, act: impl FnOnce(&Task) -> io::Result<()>) {
        let result = match self.tasks.get(id) {
            Some(task) if task.ended.is_none() => act(task),
            _ => return self.refuse(token, not_running(id)),
        };
        match result {
            Ok(()) => self.answer(token, &Reply::Done),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                self.refuse(token, not_running(id));
            }
            Err(error) => self.refuse(token, Failure::step(format!("cannot reach `{id}`"), error)),
        }
    }
}

pub(super) fn not_running(id: &str) -> Failure {
    Failure::new(
        FailureKind::NotRunning,
        format!("container {id} is not running"),
    )
}

fn kill(task: &Task, signal: i32) -> io::Result<()> {
    let program = task.program.as_ref().unwrap_or(&task.pidfd);
    process::send_signal_fd(program.as_fd(), signal)
}

fn resize(task: &Task, size: TerminalSize) -> io::Result<()> {
    let terminal = task.outputs.iter().find(|output| output.terminal);
    terminal.map_or(Ok(()), |output| launch::resize(output.fd.as_fd(), size))
}

/// How long an ended process's terminal may stay open.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);
