//! Bytes between processes, logs and clients, and what happens when a process ends.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

use super::clock;
use super::connection::{Connection, Use};
use super::guard;
use super::log::{Log, Stream};
use super::protocol::{ExitNotice, FRAME_EXIT, FRAME_STDERR, FRAME_STDOUT, KeeperPaths, Reply};
use super::record;
use super::server::{Keeper, PATIENCE};
use super::task::{Ended, FULL, Input, Task};
use crate::runtime::container::request::Stdin;
use crate::runtime::sys::process;

/// What reading an output came to.
enum Read {
    Some,
    Nothing,
    End,
}

impl Keeper {
    pub(super) fn on_output(&mut self, id: &str, token: u64) {
        if self
            .tasks
            .get(id)
            .is_some_and(|task| task.receiver.is_some())
        {
            return;
        }
        match self.pump(id, token) {
            Read::Some | Read::Nothing => self.pause_if_crowded(id),
            Read::End => self.close_output(id, token),
        }
    }

    /// Moves one piece of output to the log and the clients.
    fn pump(&mut self, id: &str, token: u64) -> Read {
        let Some(task) = self.tasks.get_mut(id) else {
            return Read::Nothing;
        };
        let Some(output) = task.outputs.iter().find(|output| output.token == token) else {
            return Read::Nothing;
        };
        let stream = output.stream;
        let taken = match &mut task.spool {
            Some(spool) => spool.take(stream, output.fd.as_fd(), &mut self.buffer),
            None => Err(Errno::NOSYS),
        };
        let taken = match taken {
            // Without a spool (a terminal), or when its disk is full: the container goes on in any case.
            Err(errno) if !matches!(errno, Errno::AGAIN | Errno::INTR) => {
                rustix::io::read(&output.fd, &mut self.buffer[..])
            }
            taken => taken,
        };
        let count = match taken {
            Ok(0) => return Read::End,
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Read::Nothing,
            // A terminal whose last user has gone.
            Err(_) => return Read::End,
        };
        let bytes = &self.buffer[..count];
        if let Some(log) = &mut task.log {
            log.add(stream, bytes);
            if let Some(spool) = task.spool.as_mut().filter(|_| !log.is_behind()) {
                // A mark that is too old makes a later keeper write again what it cuts off before.
                spool.commit(log).unwrap_or_default();
            }
        }
        let kind = match stream {
            Stream::Stdout => FRAME_STDOUT,
            Stream::Stderr => FRAME_STDERR,
        };
        let mut gone = Vec::new();
        for client in &task.clients {
            let Some(connection) = self.connections.get_mut(client) else {
                continue;
            };
            if connection.output(kind, bytes).is_err() {
                gone.push(*client);
            }
        }
        let clients = task.clients.clone();
        for client in gone {
            self.drop_connection(client);
        }
        for client in clients {
            self.refresh(client);
        }
        Read::Some
    }

    fn close_output(&mut self, id: &str, token: u64) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let Some(position) = task.outputs.iter().position(|output| output.token == token) else {
            return;
        };
        let output = task.outputs.remove(position);
        let over = task.outputs.is_empty() && task.ended.is_some();
        self.unwatch(token, output.fd.as_fd());
        if over {
            self.finish_task(id);
        }
    }

    /// A client that does not keep up holds its process back, as a full pipe would.
    pub(super) fn pause_if_crowded(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        let crowded = task.clients.iter().any(|client| {
            self.connections
                .get(client)
                .is_some_and(Connection::is_crowded)
        });
        let flags = if crowded {
            EventFlags::empty()
        } else {
            EventFlags::IN
        };
        for output in &task.outputs {
            self.rewatch(output.token, output.fd.as_fd(), flags);
        }
    }

    /// Whether what a client sends can be used now.
    pub(super) fn wants_input(&self, connection: &Connection) -> bool {
        let Use::Streaming(id) = &connection.usage else {
            return connection.usage != Use::Ending;
        };
        match self.tasks.get(id) {
            // Before the start its bytes wait in the socket.
            None => false,
            Some(task) if task.receiver.is_some() => false,
            Some(task) => task
                .input
                .as_ref()
                .is_none_or(|input| input.waiting.len() < FULL),
        }
    }

    /// Gives what a client has sent to its process.
    pub(super) fn feed_input(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        let Use::Streaming(id) = connection.usage.clone() else {
            return;
        };
        let Some(task) = self
            .tasks
            .get_mut(&id)
            .filter(|task| task.receiver.is_none())
        else {
            return;
        };
        let bytes = std::mem::take(&mut connection.received);
        let ended = connection.input_ended;
        let Some(input) = &mut task.input else { return };
        input.waiting.extend(bytes);
        let terminal = task.outputs.iter().any(|output| output.terminal);
        let closes = task.container.is_some() || task.record.stdin == Stdin::Once;
        if ended && closes && !terminal {
            input.closing = true;
        }
        self.flush_input(&id);
        // Room again: whoever waited on the crowded process is read on.
        self.pause_if_crowded(&id);
    }

    pub(super) fn flush_input(&mut self, id: &str) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let Some(input) = &mut task.input else { return };
        if !input.flush() {
            if let Some(input) = task.input.take() {
                self.unwatch(input.token, input.fd.as_fd());
            }
        } else if let Some(Input {
            fd, token, waiting, ..
        }) = self.tasks.get(id).and_then(|task| task.input.as_ref())
        {
            let flags = if waiting.is_empty() {
                EventFlags::ET
            } else {
                EventFlags::OUT
            };
            self.rewatch(*token, fd.as_fd(), flags);
        }
        let clients = self
            .tasks
            .get(id)
            .map(|task| task.clients.clone())
            .unwrap_or_default();
        for client in clients {
            self.refresh(client);
        }
    }

    pub(super) fn close_input(&mut self, id: &str) {
        if let Some(input) = self.tasks.get_mut(id).and_then(|task| task.input.as_mut()) {
            input.closing = true;
            self.flush_input(id);
        }
    }

    /// A client has gone.
    pub(super) fn detach_client(&mut self, token: u64, usage: &Use) {
        let Use::Streaming(id) = usage else { return };
        if let Some(waiting) = self.early.get_mut(id) {
            waiting.retain(|client| *client != token);
        }
        self.early.retain(|_, waiting| !waiting.is_empty());
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.clients.retain(|client| *client != token);
        let closes = task.container.is_some() || task.record.stdin == Stdin::Once;
        let terminal = task.outputs.iter().any(|output| output.terminal);
        if closes && task.clients.is_empty() && !terminal {
            self.close_input(id);
        }
        self.pause_if_crowded(id);
    }

    /// A process has ended: what it wrote comes first.
    pub(super) fn on_exit(&mut self, id: &str) {
        self.on_channel(id);
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if task.ended.is_some() {
            return;
        }
        let status = match end_of(task, &self.paths) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => None,
        };
        task.ended = Some(Ended {
            status,
            patience: Instant::now() + PATIENCE,
        });
        self.exit_is_known(id);
        let tokens: Vec<u64> = self.tasks.get(id).map_or_else(Vec::new, |task| {
            task.outputs.iter().map(|output| output.token).collect()
        });
        for token in tokens {
            self.drain(id, token);
        }
        let quiet = self
            .tasks
            .get(id)
            .is_some_and(|task| task.outputs.iter().all(|output| !output.terminal));
        if quiet {
            self.finish_task(id);
        }
    }

    fn drain(&mut self, id: &str, token: u64) {
        loop {
            match self.pump(id, token) {
                Read::Some => {}
                Read::Nothing => return,
                Read::End => return self.close_output(id, token),
            }
        }
    }

    /// Writes the exit record, reaps, tells everybody, and removes every trace.
    pub(super) fn finish_task(&mut self, id: &str) {
        let Some(mut task) = self.tasks.remove(id) else {
            return;
        };
        // Before anybody hears of the end: who starts the container again makes new ones in the same place.
        task.held.clear();
        if let Some(log) = &mut task.log {
            log.finish();
        }
        self.close_task(&task);
        let notice = notice(&task);
        if task.container.is_none() && task.starter.is_none() {
            // Readers look for this file; without it the engine reports an unknown end.
            record::save_exit(&task.record.exit_record, &notice).unwrap_or_default();
        }
        reap(&task);
        if task.container.is_none() {
            self.clean_up(&task);
        }
        if let Some(token) = task.starter {
            let failure = task
                .failure
                .take()
                .unwrap_or_else(|| super::server::not_running(id));
            return self.refuse(token, failure);
        }
        let listeners = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.usage == Use::Listening);
        let listeners: Vec<u64> = listeners.map(|(token, _)| *token).collect();
        for token in listeners {
            self.with_connection(token, |connection| {
                connection.reply(&Reply::Exited(notice.clone()))
            });
            self.refresh(token);
        }
        self.end_clients(&task, &notice);
    }

    fn close_task(&mut self, task: &Task) {
        for output in &task.outputs {
            self.unwatch(output.token, output.fd.as_fd());
        }
        if let Some(input) = &task.input {
            self.unwatch(input.token, input.fd.as_fd());
        }
        if let Some(receiver) = &task.receiver {
            self.unwatch_channel(&task.id, receiver.as_fd());
        }
        self.unwatch_exit(&task.id, task.pidfd.as_fd());
    }

    fn clean_up(&mut self, task: &Task) {
        task.group.kill_all();
        if task.group.remove().is_err() {
            self.removals.push(task.group.clone());
        }
        std::fs::remove_dir_all(&task.record.run_dir).unwrap_or_default();
    }

    fn end_clients(&mut self, task: &Task, notice: &ExitNotice) {
        let exit = task
            .container
            .as_ref()
            .and_then(|_| serde_json::to_vec(notice).ok());
        for token in &task.clients {
            self.with_connection(*token, |connection| {
                connection.usage = Use::Ending;
                exit.as_ref()
                    .map_or(Ok(()), |exit| connection.output(FRAME_EXIT, exit))
            });
            self.refresh(*token);
        }
    }
}

/// The status of an ended process; none when it cannot be known. It is not reaped yet: a keeper that dies before it has
/// written the status down leaves a child that the guard can still ask.
fn end_of(task: &Task, paths: &KeeperPaths) -> io::Result<Option<(i32, Option<i32>)>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match rustix::process::waitid(WaitId::PidFd(task.pidfd.as_fd()), options) {
        Ok(None) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
        Ok(Some(status)) => {
            let code = status.exit_status().map(|code| (code, None));
            let signal = status
                .terminating_signal()
                .map(|signal| (128 + signal, Some(signal)));
            Ok(code.or(signal))
        }
        // It was another keeper's child.
        Err(Errno::CHILD) => Ok(end_of_another_s_child(task, paths)),
        Err(error) => Err(error.into()),
    }
}

/// Lets go of an ended process whose status is on disk; another keeper's child is the guard's.
fn reap(task: &Task) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let _reaped = rustix::process::waitid(WaitId::PidFd(task.pidfd.as_fd()), options);
}

/// The kernel tells it from 6.15 on, once the guard has reaped it; on older ones the guard has written it down.
fn end_of_another_s_child(task: &Task, paths: &KeeperPaths) -> Option<(i32, Option<i32>)> {
    let (pid, start_time) = task.record.awaited();
    // The guard may be pausing after a keeper that lived shortly.
    for _ in 0..(guard::PAUSE + PATIENCE).as_millis() {
        // Looked at first: it is written down before it is reaped, so what is gone has been told of.
        let is_gone = record::start_time(pid) != Some(start_time);
        let told = guard::recorded(paths, pid, start_time)
            .or_else(|| process::exit_status_of(task.pidfd.as_fd()).ok().map(decode));
        if told.is_some() {
            guard::forget(paths, pid, start_time);
            return told;
        }
        if is_gone {
            return None;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    None
}

/// A wait status as the kernel packs it.
fn decode(status: i32) -> (i32, Option<i32>) {
    match status & 0x7f {
        0 => ((status >> 8) & 0xff, None),
        signal => (128 + signal, Some(signal)),
    }
}

fn notice(task: &Task) -> ExitNotice {
    let status = task.ended.and_then(|ended| ended.status);
    let (code, signal) = status.unwrap_or((255, None));
    ExitNotice {
        id: task.id.clone(),
        container: task.container.clone(),
        pid: task.record.started.pid,
        code,
        signal,
        oom_killed: task.container.is_none()
            && (task.group.oom_kills() > 0 || task.record.is_marked_oom()),
        known: status.is_some(),
        finished_at: clock::now(),
        log_lines_lost: task.log.as_ref().map_or(0, Log::dropped),
    }
}
