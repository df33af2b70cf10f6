//! Health: probes of running containers, one task each, what their results mean, and what follows for a sick container
//! whose label `hoist.on-unhealthy` says `restart` or `stop`.
//!
//! ```text
//! Starting --success--> Healthy <--> Unhealthy     failures within the start period do not count
//! ```

use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bollard_stubs::models::{ContainerConfig, ExecConfig, HealthConfig};
use jiff::Timestamp;
use rustix::fs::OFlags;

use super::Supervisor;
use super::container::Container;
use super::name::random_id;
use super::probe::{self, Probe};
use super::process::HeldProcess;
use super::record::{HealthRecord, HealthStatus, ProbeRecord, Record, read_json};
use super::status::Status;
use super::stop::StopRequest;
use crate::runtime::container::request::ContainerRequest;
use crate::runtime::container::resolve_exec;
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::keeper::{Output, OutputItem};

const LOG_LENGTH: usize = 5;
const OUTPUT_LENGTH: usize = 4096;

/// A healthcheck without gaps.
#[derive(Debug, Clone)]
struct Check {
    test: Test,
    interval: Duration,
    timeout: Duration,
    retries: i64,
    start_period: Duration,
    start_interval: Duration,
}

/// What a check does.
#[derive(Debug, Clone)]
enum Test {
    /// Runs a program in the container.
    Command(Vec<String>),
    /// Asks a port of it.
    Port(Probe),
}

/// The label that says what follows when a container is unhealthy.
const ON_UNHEALTHY: &str = "hoist.on-unhealthy";
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_mins(5);

/// What follows when a container is unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    Restart,
    Stop,
}

fn remedy(config: &ContainerConfig) -> Result<Option<Remedy>, String> {
    let labels = config.labels.as_ref();
    match labels
        .and_then(|labels| labels.get(ON_UNHEALTHY))
        .map(String::as_str)
    {
        None | Some("" | "none") => Ok(None),
        Some("restart") => Ok(Some(Remedy::Restart)),
        Some("stop") => Ok(Some(Remedy::Stop)),
        Some(other) => Err(format!(
            "label {ON_UNHEALTHY}: {other:?} is not restart, stop or none"
        )),
    }
}

/// The wait before the next restart of a container that does not get well: none, then doubled from a second on.
fn next_rest(last: Option<Duration>) -> Duration {
    match last {
        None => Duration::ZERO,
        Some(last) if last.is_zero() => FIRST_REST,
        Some(last) => (last * 2).min(LONGEST_REST),
    }
}

/// Refuses labels about health that cannot be honoured.
pub(super) fn check_labels(config: &ContainerConfig) -> RuntimeResult<()> {
    probe::wanted(config.labels.as_ref())
        .and_then(|_| remedy(config))
        .map(drop)
        .map_err(RuntimeError::invalid)
}

/// Whether a configuration has a probe.
pub(super) fn has_check(config: &ContainerConfig) -> bool {
    test_of(config).is_some()
}

/// A probe of a label comes before a command of the image or the file; `NONE` forbids both.
fn test_of(config: &ContainerConfig) -> Option<Test> {
    let check = config.healthcheck.as_ref();
    let test = check.and_then(|check| check.test.as_ref());
    if test
        .and_then(|test| test.first())
        .is_some_and(|first| first == "NONE")
    {
        return None;
    }
    if let Ok(Some(probe)) = probe::wanted(config.labels.as_ref()) {
        return Some(Test::Port(probe));
    }
    command_of(check?, config.shell.as_deref()).map(Test::Command)
}

impl Check {
    fn of(record: &Record) -> Option<Self> {
        let test = test_of(&record.config)?;
        let config = record.config.healthcheck.clone().unwrap_or_default();
        let time = |value: Option<i64>, default: u64| match value {
            Some(nanoseconds) if nanoseconds > 0 => {
                Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
            }
            _ => Duration::from_secs(default),
        };
        Some(Self {
            test,
            interval: time(config.interval, 30),
            timeout: time(config.timeout, 30),
            retries: config.retries.filter(|retries| *retries > 0).unwrap_or(3),
            start_period: time(config.start_period, 0),
            start_interval: time(config.start_interval, 5),
        })
    }

    fn pause(&self, started: Timestamp, status: HealthStatus) -> Duration {
        let young = is_young(started, self.start_period);
        if young && status == HealthStatus::Starting {
            self.start_interval.min(self.interval)
        } else {
            self.interval
        }
    }
}

fn is_young(started: Timestamp, period: Duration) -> bool {
    let age = Duration::try_from(Timestamp::now().duration_since(started)).unwrap_or_default();
    age < period
}

fn command_of(config: &HealthConfig, shell: Option<&[String]>) -> Option<Vec<String>> {
    let test = config.test.as_ref()?;
    let (kind, rest) = test.split_first()?;
    match kind.as_str() {
        "CMD" if !rest.is_empty() => Some(rest.to_vec()),
        "CMD-SHELL" if !rest.is_empty() => {
            let shell = shell.filter(|shell| !shell.is_empty());
            let default = ["/bin/sh".to_owned(), "-c".to_owned()];
            let mut command = shell.unwrap_or(&default).to_vec();
            command.push(rest.join(" "));
            Some(command)
        }
        _ => None,
    }
}

impl Supervisor {
    /// Starts the probes of a container that runs, where it has a check.
    pub(super) fn watch_health(self: &Arc<Self>, container: &Arc<Container>) {
        let Some(check) = container.with(Check::of) else {
            return;
        };
        let engine = Arc::clone(self);
        let watched = Arc::clone(container);
        let task = tokio::spawn(async move { engine.probe_for_ever(&watched, &check).await });
        let mut probes = container
            .probes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = probes.replace(task.abort_handle()) {
            old.abort();
        }
    }

    async fn probe_for_ever(self: &Arc<Self>, container: &Arc<Container>, check: &Check) {
        loop {
            let (started, status) = container.with(|record| {
                let status = record
                    .health
                    .as_ref()
                    .map_or(HealthStatus::Starting, |health| health.status);
                (
                    record.state.started_at.unwrap_or_else(Timestamp::now),
                    status,
                )
            });
            tokio::time::sleep(check.pause(started, status)).await;
            if container.status() != Status::Running {
                continue;
            }
            let probe = self.probe(container, check).await;
            if container.status().is_alive() {
                self.note_probe(container, check, started, probe);
            }
        }
    }

    async fn probe(&self, container: &Container, check: &Check) -> ProbeRecord {
        let start = Timestamp::now();
        let done = match &check.test {
            Test::Command(command) => self.run_probe(container, command, check.timeout).await,
            Test::Port(probe) => ask_port(container, probe, check.timeout).await,
        };
        let (exit_code, output) = done.unwrap_or_else(|error| (-1, error.chain()));
        ProbeRecord {
            start,
            end: Timestamp::now(),
            exit_code,
            output,
        }
    }

    async fn run_probe(
        &self,
        container: &Container,
        command: &[String],
        timeout: Duration,
    ) -> RuntimeResult<(i64, String)> {
        let base: ContainerRequest = read_json(&container.request_path()).map_err(|source| {
            RuntimeError::internal("cannot read what the container runs", source)
        })?;
        let config = ExecConfig {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let request = resolve_exec(&random_id(), &config, &base)?;
        let (_started, session) = match self.keeper().exec(&request).await {
            Ok(running) => running,
            Err(error) => {
                let code = error.kind().map_or(-1, |kind| i64::from(kind.exit_code()));
                return Ok((code, format!("OCI runtime exec failed: {error}")));
            }
        };
        let mut output = session.output;
        if let Ok(result) = tokio::time::timeout(timeout, read_to_end(&mut output)).await {
            Ok(result)
        } else {
            self.keeper().kill(&request.id, libc::SIGKILL).await?;
            Ok((
                -1,
                format!("Health check exceeded timeout ({})", duration_text(timeout)),
            ))
        }
    }

    fn note_probe(
        self: &Arc<Self>,
        container: &Arc<Container>,
        check: &Check,
        started: Timestamp,
        probe: ProbeRecord,
    ) {
        let young = is_young(started, check.start_period);
        let updated = container.update(|record| {
            let health = record.health.get_or_insert_with(HealthRecord::starting);
            let before = health.status;
            settle(health, &probe, check.retries, young);
            health.log.push(probe);
            let surplus = health.log.len().saturating_sub(LOG_LENGTH);
            health.log.drain(..surplus);
            (before, health.status)
        });
        match updated {
            Ok((before, after)) if before != after => {
                self.publish(container, format!("health_status: {}", after.name()), []);
                self.treat(container, after);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = error.chain(), "a probe's result is not on disk"),
        }
    }
}

impl Supervisor {
    /// Does what is asked for when a container has become unhealthy; forgets the past when it has become well.
    fn treat(self: &Arc<Self>, container: &Arc<Container>, status: HealthStatus) {
        let mut rest = container
            .rest
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if status == HealthStatus::Healthy {
            *rest = None;
        }
        let remedy = container.with(|record| remedy(&record.config));
        let (HealthStatus::Unhealthy, Ok(Some(remedy))) = (status, remedy) else {
            return;
        };
        let pause = next_rest(*rest);
        if remedy == Remedy::Restart {
            *rest = Some(pause);
        }
        let run = container.with(|record| record.state.started_at);
        let (engine, container) = (Arc::clone(self), Arc::clone(container));
        // A task of its own: the end of the container ends the one of its probes.
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let still = container.with(|record| {
                let sick = record
                    .health
                    .as_ref()
                    .is_some_and(|health| health.status == HealthStatus::Unhealthy);
                sick && record.state.started_at == run && record.state.status == Status::Running
            });
            if !still {
                return;
            }
            let request = StopRequest::default();
            let treated = match remedy {
                Remedy::Restart => engine.restart(&container, &request).await,
                Remedy::Stop => engine.stop(&container, &request).await,
            };
            if let Err(error) = treated {
                tracing::warn!(
                    container = container.id(),
                    error = error.chain(),
                    "cannot treat an unhealthy container"
                );
            }
        });
    }
}

/// Asks a port in the container's network; a thread of its own waits for the answer.
async fn ask_port(
    container: &Container,
    probe: &Probe,
    timeout: Duration,
) -> RuntimeResult<(i64, String)> {
    let entered =
        HeldProcess::of(container).and_then(|process| process.open("ns/net", OFlags::RDONLY));
    let namespace = entered.map_err(|errno| {
        RuntimeError::internal(
            "cannot enter the container's network",
            std::io::Error::from(errno),
        )
    })?;
    let probe = probe.clone();
    let asked = tokio::task::spawn_blocking(move || probe.ask(namespace.as_fd(), timeout)).await;
    let (well, mut text) = asked.unwrap_or_else(|error| (false, error.to_string()));
    text.truncate(text.floor_char_boundary(OUTPUT_LENGTH));
    Ok((i64::from(!well), text))
}

/// What a probe's result makes of the health.
fn settle(health: &mut HealthRecord, probe: &ProbeRecord, retries: i64, young: bool) {
    if probe.exit_code == 0 {
        health.status = HealthStatus::Healthy;
        health.failing_streak = 0;
        return;
    }
    if young && health.status == HealthStatus::Starting {
        return;
    }
    health.failing_streak += 1;
    if health.failing_streak >= retries {
        health.status = HealthStatus::Unhealthy;
    }
}

async fn read_to_end(output: &mut Output) -> (i64, String) {
    let mut text = Vec::new();
    loop {
        match output.next().await {
            Ok(Some(OutputItem::Stdout(bytes) | OutputItem::Stderr(bytes))) => {
                let room = OUTPUT_LENGTH.saturating_sub(text.len());
                text.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Ok(Some(OutputItem::Exit(notice))) => {
                return (
                    i64::from(notice.code),
                    String::from_utf8_lossy(&text).into_owned(),
                );
            }
            Ok(None) | Err(_) => return (-1, String::from_utf8_lossy(&text).into_owned()),
        }
    }
}

/// A time as Go writes it, for whole and broken seconds.
fn duration_text(time: Duration) -> String {
    match time.as_millis() {
        millis if millis < 1000 => format!("{millis}ms"),
        _ => format!("{}s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(exit_code: i64) -> ProbeRecord {
        ProbeRecord {
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            exit_code,
            output: String::new(),
        }
    }

    #[test]
    fn failures_count_up_to_the_retries() {
        let mut health = HealthRecord::starting();
        settle(&mut health, &probe(1), 2, false);
        assert_eq!(health.status, HealthStatus::Starting);
        settle(&mut health, &probe(1), 2, false);
        assert_eq!(health.status, HealthStatus::Unhealthy);
        settle(&mut health, &probe(0), 2, false);
        assert_eq!(
            (health.status, health.failing_streak),
            (HealthStatus::Healthy, 0)
        );
    }

    fn labelled(label: &str, value: &str, test: Option<&[&str]>) -> ContainerConfig {
        ContainerConfig {
            labels: Some([(label.to_owned(), value.to_owned())].into()),
            healthcheck: test.map(|test| HealthConfig {
                test: Some(test.iter().map(ToString::to_string).collect()),
                ..HealthConfig::default()
            }),
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn a_probe_of_a_label_comes_before_a_command_and_after_none() {
        let label = ("hoist.health.tcp", "80");
        for (test, asks) in [
            (None, true),
            (Some(&["CMD", "x"][..]), true),
            (Some(&["NONE"][..]), false),
        ] {
            let found = test_of(&labelled(label.0, label.1, test));
            assert_eq!(matches!(found, Some(Test::Port(_))), asks, "{test:?}");
        }
        let command = test_of(&labelled("other", "", Some(&["CMD", "x"])));
        assert!(matches!(command, Some(Test::Command(command)) if command == ["x"]));
    }

    #[test]
    fn labels_that_cannot_be_honoured_are_refused() {
        for (label, value, good) in [
            ("hoist.on-unhealthy", "restart", true),
            ("hoist.on-unhealthy", "stop", true),
            ("hoist.on-unhealthy", "explode", false),
            ("hoist.health.http", "none", false),
        ] {
            assert_eq!(
                check_labels(&labelled(label, value, None)).is_ok(),
                good,
                "{value}"
            );
        }
    }

    #[test]
    fn a_container_that_does_not_get_well_is_restarted_less_and_less() {
        let mut last = None;
        let mut rests = Vec::new();
        for _ in 0..12 {
            last = Some(next_rest(last));
            rests.push(last.map_or(0, |rest| rest.as_secs()));
        }
        assert_eq!(rests, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn failures_of_a_young_container_do_not_count() {
        let mut health = HealthRecord::starting();
        settle(&mut health, &probe(1), 1, true);
        assert_eq!(
            (health.status, health.failing_streak),
            (HealthStatus::Starting, 0)
        );
    }
}
