//! The attached `up`: the plan runs, its containers are followed, and the first signal stops them gracefully.
//!
//! ```text
//! plan runs ──> following ──(all ended)──> exit 0
//!                  ├──(a container ends, --abort-on-container-…)──> stop all ──> its exit code
//!                  └──(SIGINT)──> stop ──(SIGINT)──> kill ──> exit 130
//! ```

use std::sync::Arc;

use bollard_stubs::models::EventMessage;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use hoist::engine::stream::Channel;
use hoist::engine::{EventRequest, ObservedState, Stream, label};
use hoist::plan::{self, Plan};

use super::beside::{Beside, Turn};
use super::follow::{Follower, Written};
use super::{UpArgs, followed, running};
use crate::cli::logs::runs::Runs;
use crate::cli::reconcile::Session;
use crate::cli::{CommandError, CommandResult, ExitStatus, interrupt};
use crate::ui::log_mux::{LogMux, LogStyle, Output, Streams};

/// When the end of one container is the end of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Abort {
    Never,
    OnExit,
    OnFailure,
}

/// Why following ended.
enum Ended {
    AllExited,
    Aborted(i64),
    Interrupted,
    /// By a key: the containers run on.
    Detached,
}

pub(super) async fn up(
    session: &mut Session<'_>,
    args: &UpArgs,
    plan: Plan,
    observed: &ObservedState,
) -> CommandResult {
    let (out, written) = mpsc::unbounded_channel();
    let services = followed(session, args);
    let watched = watched(session, args);
    let separator = session.separator.as_char();
    let follower = Arc::new(Follower::new(
        Arc::clone(&session.engine),
        format!("{}{separator}", session.project.name),
        (services.clone(), watched.clone()),
        out.clone(),
    ));
    let (hook_lines, lines) = mpsc::unbounded_channel();
    session.hook_lines = Some(hook_lines);
    tokio::spawn(pass_hook_lines(
        lines,
        out.clone(),
        format!("{}{separator}", session.project.name),
    ));
    announce(session, &plan, observed, &services, &follower)?;
    let writing = tokio::spawn(write(
        LogMux::new(style(session, args)),
        written,
        args.timestamps,
    ));
    let request = EventRequest {
        labels: vec![format!("{}={}", label::PROJECT, session.project.name)],
        ..EventRequest::default()
    };
    let mut events = session.engine.events(&request).await?;
    let either = [services.as_slice(), watched.as_slice()].concat();
    let before: Vec<_> = running(observed, &either)
        .into_iter()
        .map(|container| {
            (
                container.service().to_owned(),
                container.id.clone(),
                container.name.clone(),
            )
        })
        .collect();
    for (service, id, name) in before {
        follower.attach(&service, &id, &name).await;
    }
    let mut following = Following::new(args);
    let ended = {
        let mut beside = Beside::new(session, args, (Arc::clone(&follower), out))?;
        let run = async {
            let watcher = Some(Arc::clone(&follower) as _);
            let report = session.run_to_report("up", plan, watcher).await;
            session.release();
            report
        };
        let rest = (&*follower, &mut events, &mut beside);
        following.follow(session, rest, run).await
    };
    let status = match ended {
        Ok(ended) => {
            let rest = (&*follower, &mut following, &mut events);
            finish(session, args, ended, rest).await
        }
        Err(error) => Err(error),
    };
    session.hook_lines = None;
    drop(follower);
    // Whatever is still read ends with its container; what was read is written.
    drop(tokio::time::timeout(std::time::Duration::from_secs(2), writing).await);
    status
}

fn style(session: &Session<'_>, args: &UpArgs) -> LogStyle {
    let flags = (args.no_log_prefix, args.no_color);
    LogStyle::from_flags(session.ui, flags, Streams::Split)
}

/// Names the containers whose output follows (behaviours.md B212).
fn announce(
    session: &Session<'_>,
    plan: &Plan,
    observed: &ObservedState,
    services: &[String],
    follower: &Follower,
) -> Result<(), CommandError> {
    let mut names: Vec<String> = running(observed, services)
        .into_iter()
        .map(|container| container.name.clone())
        .chain(plan.nodes().filter_map(|(_, node)| {
            let plan::Action::StartContainer {
                service, container, ..
            } = &node.action
            else {
                return None;
            };
            services
                .contains(service)
                .then(|| container.name().to_owned())
        }))
        .map(|name| follower.log_name(&name).to_owned())
        .collect();
    names.sort();
    names.dedup();
    session
        .ui
        .print(format_args!("Attaching to {}\n", names.join(", ")))?;
    Ok(())
}

/// The services whose end counts: the named ones, or all.
fn watched(session: &Session<'_>, args: &UpArgs) -> Vec<String> {
    if args.wishes.services.is_empty() {
        return session.project.services.keys().cloned().collect();
    }
    args.wishes.services.clone()
}

/// Lines of hooks appear among the logs, under the name of their container with an arrow (behaviours.md B188).
async fn pass_hook_lines(
    mut lines: mpsc::UnboundedReceiver<(String, String)>,
    out: mpsc::UnboundedSender<Written>,
    prefix: String,
) {
    while let Some((source, mut line)) = lines.recv().await {
        line.push('\n');
        let name = source.strip_prefix(&prefix).unwrap_or(&source).to_owned();
        if out
            .send(Written::Piece(name, Channel::Stdout, line.into()))
            .is_err()
        {
            return;
        }
    }
}

/// The one task that writes.
async fn write(mut mux: LogMux, mut written: mpsc::UnboundedReceiver<Written>, timestamps: bool) {
    while let Some(item) = written.recv().await {
        let result = match item {
            Written::Source(name) => {
                mux.source(&name);
                Ok(())
            }
            Written::Piece(name, channel, bytes) => {
                let source = mux.source(&name);
                let output = match channel {
                    Channel::Stdout => Output::Out,
                    Channel::Stderr => Output::Error,
                };
                let bytes = if timestamps {
                    stamp(&bytes)
                } else {
                    bytes.to_vec()
                };
                mux.write(source, output, &bytes)
            }
            Written::Status(name, text) => {
                let source = mux.source(&name);
                mux.status(source, &text)
            }
            Written::Watch(line) => mux.watch(&line),
            Written::Menu(text) => mux.menu(&text),
        };
        let flushed = if written.is_empty() {
            mux.flush()
        } else {
            Ok(())
        };
        if result.is_err() || flushed.is_err() {
            return;
        }
    }
}

/// Our own time before each line (behaviours.md B214).
fn stamp(bytes: &[u8]) -> Vec<u8> {
    let time = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.9fZ ")
        .to_string();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines
        .flat_map(|line| [time.as_bytes(), line].concat())
        .collect()
}

/// Whether a container whose end counts runs: what the watch has just started may not have been told yet.
async fn any_runs(session: &Session<'_>, follower: &Follower) -> Result<bool, CommandError> {
    let observed = session.observe().await?;
    let mut running = observed
        .containers
        .iter()
        .filter(|container| container.is_running() && !container.is_one_off());
    Ok(running.any(|container| follower.watches(container.service())))
}

/// What is known while containers are followed.
struct Following {
    abort: Abort,
    exit_code_from: Option<String>,
    /// Exit code of the service asked for.
    code: Option<i64>,
    runs: Runs,
}

impl Following {
    fn new(args: &UpArgs) -> Self {
        let abort = match (
            args.abort_on_container_failure,
            args.abort_on_container_exit,
            &args.exit_code_from,
        ) {
            (true, _, _) => Abort::OnFailure,
            (_, true, _) | (_, _, Some(_)) => Abort::OnExit,
            (false, false, None) => Abort::Never,
        };
        Self {
            abort,
            exit_code_from: args.exit_code_from.clone(),
            code: None,
            runs: Runs::default(),
        }
    }

    async fn follow(
        &mut self,
        session: &Session<'_>,
        (follower, events, beside): (&Follower, &mut Stream<EventMessage>, &mut Beside<'_>),
        run: impl Future<Output = hoist::apply::ApplyReport>,
    ) -> Result<Ended, CommandError> {
        let mut run = std::pin::pin!(run);
        let mut started = false;
        let mut interrupted = std::pin::pin!(interrupt::interrupted());
        loop {
            if started
                && follower.running() == 0
                && !beside.is_busy()
                && !(beside.watches() && any_runs(session, follower).await?)
            {
                return Ok(Ended::AllExited);
            }
            tokio::select! {
                report = &mut run, if !started => {
                    session.conclude(report)?;
                    started = true;
                    beside.begin()?;
                }
                event = events.next() => match event {
                    Some(event) => {
                        if let Some(code) = self.event(session, follower, &event?).await {
                            return Ok(Ended::Aborted(code));
                        }
                    }
                    None => return Ok(Ended::AllExited),
                },
                turn = beside.next(), if started => match turn? {
                    Turn::Again => {}
                    Turn::Detach => return Ok(Ended::Detached),
                },
                () = &mut interrupted, if started => return Ok(Ended::Interrupted),
            }
        }
    }

    /// Takes one of the engine's events; answers an exit code where it ends everything.
    async fn event(
        &mut self,
        session: &Session<'_>,
        follower: &Follower,
        event: &EventMessage,
    ) -> Option<i64> {
        let actor = event.actor.as_ref()?;
        let id = actor.id.as_deref()?;
        let attributes = actor.attributes.as_ref()?;
        let attribute = |key: &str| attributes.get(key).map_or("", String::as_str);
        self.runs.note(id, event);
        match event.action.as_deref()? {
            "die" => {
                let code = attribute("exitCode").parse().unwrap_or(0);
                self.died(session, follower, id, code).await
            }
            "start" if !follower.knows(id) && attribute(label::ONE_OFF) != "True" => {
                let service = attribute(label::SERVICE);
                if follower.follows(service) {
                    let since = self.runs.since(id, event);
                    follower.resume(service, id, attribute("name"), since).await;
                }
                None
            }
            _ => None,
        }
    }

    async fn died(
        &mut self,
        session: &Session<'_>,
        follower: &Follower,
        id: &str,
        code: i64,
    ) -> Option<i64> {
        let state = session
            .engine
            .inspect_container(id)
            .await
            .ok()
            .and_then(|container| container.state);
        let restarting = state
            .as_ref()
            .is_some_and(|state| state.restarting == Some(true));
        let (service, name) = follower.end(id).await?;
        let suffix = if restarting { " (restarting)" } else { "" };
        follower.say(
            (&service, &name),
            format!("exited with code {code}{suffix}"),
        );
        if restarting || !follower.watches(&service) {
            return None;
        }
        if self.exit_code_from.as_deref() == Some(&service) {
            self.code.get_or_insert(code);
        }
        match self.abort {
            Abort::OnExit => Some(code),
            Abort::OnFailure => (code != 0).then_some(code),
            Abort::Never => None,
        }
    }
}

/// Stops what has to be stopped, and answers the exit status.
async fn finish(
    session: &Session<'_>,
    args: &UpArgs,
    ended: Ended,
    (follower, following, events): (&Follower, &mut Following, &mut Stream<EventMessage>),
) -> CommandResult {
    match ended {
        Ended::AllExited => Ok(following
            .code
            .map_or(ExitStatus::SUCCESS, ExitStatus::of_container)),
        Ended::Detached => Ok(ExitStatus::SUCCESS),
        Ended::Aborted(code) => {
            session.ui.status("Aborting on container exit...");
            stop(session, args, &[], (follower, following, events)).await?;
            let code = match &following.exit_code_from {
                Some(_) => following.code.unwrap_or(143),
                None => code,
            };
            Ok(ExitStatus::of_container(code))
        }
        Ended::Interrupted => {
            session
                .ui
                .status("Gracefully Stopping... press Ctrl+C again to force");
            tokio::select! {
                stopped = stop(session, args, &args.wishes.services, (follower, following, events)) => stopped?,
                () = interrupt::interrupted() => kill(session).await?,
            }
            Err(CommandError::cancelled())
        }
    }
}

/// Stops services, while their last output is still written.
async fn stop(
    session: &Session<'_>,
    args: &UpArgs,
    services: &[String],
    (follower, following, events): (&Follower, &mut Following, &mut Stream<EventMessage>),
) -> Result<(), CommandError> {
    session.claim().await?;
    let observed = session.observe().await?;
    let plan = plan::stop(
        &session.project,
        &session.graph,
        &observed,
        (services, args.wishes.timeout),
    );
    let mut stopping = std::pin::pin!(session.run_to_report("stop", plan, None));
    let report = loop {
        tokio::select! {
            report = &mut stopping => break report,
            Some(Ok(event)) = events.next() => {
                following.event(session, follower, &event).await;
            }
        }
    };
    // The last exits may be told after the last stop has been answered.
    while follower.running() > 0 {
        let next = tokio::time::timeout(std::time::Duration::from_millis(300), events.next()).await;
        let Ok(Some(Ok(event))) = next else { break };
        following.event(session, follower, &event).await;
    }
    session.conclude(report)?;
    Ok(())
}

async fn kill(session: &Session<'_>) -> Result<(), CommandError> {
    let observed = session.observe().await?;
    for container in observed
        .containers
        .iter()
        .filter(|container| container.is_running())
    {
        if session.project.services.contains_key(container.service()) && !container.is_one_off() {
            session
                .engine
                .kill_container(&container.id, "SIGKILL")
                .await?;
        }
    }
    Ok(())
}
