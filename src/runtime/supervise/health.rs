//! Health: probes of running containers, one task each, and what their results mean.
//!
//! ```text
//! Starting --success--> Healthy <--> Unhealthy     failures within the start period do not count
//! ```

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bollard_stubs::models::{ExecConfig, HealthConfig};
use jiff::Timestamp;

use super::Supervisor;
use super::container::Container;
use super::name::random_id;
use super::record::{HealthRecord, HealthStatus, ProbeRecord, Record, read_json};
use super::status::Status;
use crate::runtime::container::request::ContainerRequest;
use crate::runtime::container::resolve_exec;
use crate::runtime::error::RuntimeResult;
use crate::runtime::keeper::{Output, OutputItem};

const LOG_LENGTH: usize = 5;
const OUTPUT_LENGTH: usize = 4096;

/// A healthcheck without gaps.
#[derive(Debug, Clone)]
struct Check {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    retries: i64,
    start_period: Duration,
    start_interval: Duration,
}

impl Check {
    fn of(record: &Record) -> Option<Self> {
        let config = record.config.healthcheck.as_ref()?;
        let command = command_of(config, record.config.shell.as_deref())?;
        let time = |value: Option<i64>, default: u64| match value {
            Some(nanoseconds) if nanoseconds > 0 => {
                Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
            }
            _ => Duration::from_secs(default),
        };
        Some(Self {
            command,
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

    async fn probe_for_ever(&self, container: &Container, check: &Check) {
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
        let (exit_code, output) = match self.run_probe(container, check).await {
            Ok(result) => result,
            Err(error) => (-1, error.chain()),
        };
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
        check: &Check,
    ) -> RuntimeResult<(i64, String)> {
        let base: ContainerRequest = read_json(&container.request_path()).map_err(|source| {
            crate::runtime::error::RuntimeError::internal(
                "cannot read what the container runs",
                source,
            )
        })?;
        let config = ExecConfig {
            cmd: Some(check.command.clone()),
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
        if let Ok(result) = tokio::time::timeout(check.timeout, read_to_end(&mut output)).await {
            Ok(result)
        } else {
            self.keeper().kill(&request.id, libc::SIGKILL).await?;
            Ok((
                -1,
                format!(
                    "Health check exceeded timeout ({})",
                    duration_text(check.timeout)
                ),
            ))
        }
    }

    fn note_probe(
        &self,
        container: &Container,
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
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = error.chain(), "a probe's result is not on disk"),
        }
    }
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
