//! When a container that has ended is started again: a pure policy.

use std::time::Duration;

use bollard_stubs::models::{RestartPolicy, RestartPolicyNameEnum};

use super::record::Intent;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_mins(1);
/// A run of this length makes the next delay the first one again.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// The exit code.
    pub code: i64,
    /// How often the policy has restarted already.
    pub restarts: i64,
    /// What the user wants.
    pub intent: Intent,
}

/// Whether the container is started again.
#[must_use]
pub fn wants_restart(policy: Option<&RestartPolicy>, ended: Ended) -> bool {
    let Some(policy) = policy else { return false };
    if ended.intent == Intent::Stay {
        return false;
    }
    match policy.name {
        Some(RestartPolicyNameEnum::ALWAYS | RestartPolicyNameEnum::UNLESS_STOPPED) => true,
        Some(RestartPolicyNameEnum::ON_FAILURE) => {
            let most = policy.maximum_retry_count.unwrap_or(0);
            ended.code != 0 && (most == 0 || ended.restarts < most)
        }
        Some(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY) | None => false,
    }
}

/// Whether a stopped container is started with the engine.
#[must_use]
pub fn starts_with_the_engine(policy: Option<&RestartPolicy>, intent: Intent) -> bool {
    match policy.and_then(|policy| policy.name) {
        Some(RestartPolicyNameEnum::ALWAYS) => true,
        Some(RestartPolicyNameEnum::UNLESS_STOPPED) => intent == Intent::Run,
        _ => false,
    }
}

/// The delay before the next start: 100 ms, doubled after each short run, at most a minute.
#[must_use]
pub fn next_delay(last: Option<Duration>, ran: Duration) -> Duration {
    match last {
        Some(last) if ran < GOOD_RUN => (last * 2).min(LONGEST_DELAY),
        _ => FIRST_DELAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: RestartPolicyNameEnum, most: i64) -> RestartPolicy {
        RestartPolicy {
            name: Some(name),
            maximum_retry_count: Some(most),
        }
    }

    fn ended(code: i64, restarts: i64, intent: Intent) -> Ended {
        Ended {
            code,
            restarts,
            intent,
        }
    }

    #[test]
    fn on_failure_counts_and_gives_up() {
        let policy = policy(RestartPolicyNameEnum::ON_FAILURE, 2);
        assert!(wants_restart(Some(&policy), ended(1, 1, Intent::Run)));
        assert!(!wants_restart(Some(&policy), ended(1, 2, Intent::Run)));
        assert!(!wants_restart(Some(&policy), ended(0, 0, Intent::Run)));
    }

    #[test]
    fn a_stop_by_hand_ends_every_policy() {
        let policy = policy(RestartPolicyNameEnum::ALWAYS, 0);
        assert!(!wants_restart(Some(&policy), ended(0, 0, Intent::Stay)));
    }

    #[test]
    fn the_delay_doubles_and_is_reset_by_a_good_run() {
        let short = Duration::from_millis(5);
        let first = next_delay(None, short);
        assert_eq!(first, Duration::from_millis(100));
        assert_eq!(next_delay(Some(first), short), Duration::from_millis(200));
        assert_eq!(next_delay(Some(first), GOOD_RUN), first);
    }
}
