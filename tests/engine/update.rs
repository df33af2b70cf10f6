//! Each field of `deploy.update_config` and `rollback_config`, on the engine in memory. A span that must pass is an hour
//! long here: the test ends it by cancelling, or proves that nobody waited for it.

use std::error::Error;
use std::sync::Arc;

use hoist::apply::{ApplyOptions, ApplyReport, apply};
use hoist::engine::fake::{FakeEngine, Fault, Moment, Script};
use hoist::engine::{Engine, EngineErrorKind, ObserveRequest};
use hoist::graph::Graph;
use hoist::model::{Deploy, Duration, Project, Service, UpdateConfig};
use hoist::plan::{PlanOptions, plan};
use indexmap::IndexMap;
use tokio_util::sync::CancellationToken;

type TestResult = Result<(), Box<dyn Error>>;

const HOUR: Option<Duration> = Some(Duration(3_600_000_000_000));
/// Which acting call starts the new container of the second replica, with one replaced after the other: each is made,
/// the old one is stopped, the new one is started.
const SECOND_START: usize = 5;

fn service(image: &str, update: UpdateConfig, rollback: Option<UpdateConfig>) -> Service {
    Service {
        name: "web".to_owned(),
        image: image.to_owned(),
        scale: Some(4),
        deploy: Some(Box::new(Deploy {
            update_config: Some(update),
            rollback_config: rollback,
            ..Deploy::default()
        })),
        ..Service::default()
    }
}

/// Four replicas of `old`, about to become `new`.
struct Replicas {
    engine: FakeEngine,
    cancel: CancellationToken,
}

impl Replicas {
    async fn new() -> Result<Self, Box<dyn Error>> {
        let engine = FakeEngine::new();
        for image in ["old", "new", "broken"] {
            engine.add_image(image, 0);
        }
        engine.script("broken", Script::Exit(1));
        let replicas = Self {
            engine,
            cancel: CancellationToken::new(),
        };
        let report = replicas.up(service("old", rules(), None)).await?;
        assert!(report.is_complete(), "{report:?}");
        drop(replicas.engine.take_calls());
        Ok(replicas)
    }

    async fn up(&self, service: Service) -> Result<ApplyReport, Box<dyn Error>> {
        let project = Project {
            name: "p".to_owned(),
            services: IndexMap::from([("web".to_owned(), service)]),
            ..Project::default()
        };
        let request = ObserveRequest {
            project: "p".to_owned(),
            images: vec!["old".to_owned(), "new".to_owned(), "broken".to_owned()],
            ..ObserveRequest::default()
        };
        let observed = self.engine.observe(&request).await?;
        let options = PlanOptions {
            finish_millis: Some(0),
            ..PlanOptions::default()
        };
        let plan = plan(&project, &Graph::new(&project)?, &observed, &options)?;
        let options = ApplyOptions {
            project: "p".to_owned(),
            cancel: self.cancel.clone(),
            model: Arc::new(project),
            ..ApplyOptions::default()
        };
        let (news, _nobody) = tokio::sync::mpsc::unbounded_channel();
        Ok(apply(Arc::new(self.engine.clone()), plan, options, news).await)
    }

    /// Lets an update go on until so many calls of a kind were made; answers all calls.
    async fn until(&self, call: &str, number: usize) -> Vec<String> {
        let mut calls: Vec<String> = Vec::new();
        // The engine never waits, so that an update that is not there after so many turns never will be.
        for _ in 0..100_000 {
            calls.extend(self.engine.take_calls());
            let made = calls.iter().filter(|made| made.starts_with(call)).count();
            if made >= number {
                return calls;
            }
            tokio::task::yield_now().await;
        }
        panic!("{number} times `{call}`: {calls:#?}");
    }

    /// The images of the containers that run, one letter each, and of how many there are.
    async fn running(&self) -> Result<String, Box<dyn Error>> {
        let request = ObserveRequest {
            project: "p".to_owned(),
            ..ObserveRequest::default()
        };
        let mut containers = self.engine.observe(&request).await?.containers;
        containers.sort_by_key(hoist::engine::ObservedContainer::number);
        let running = containers.iter().filter(|it| it.is_running());
        Ok(running
            .map(|it| it.image.as_str())
            .collect::<Vec<_>>()
            .join(" "))
    }

    /// The second replica's new container cannot be started.
    fn break_second(&self) {
        self.engine.set_fault(Some(Fault {
            call: SECOND_START,
            moment: Moment::Before,
            kind: EngineErrorKind::Failed,
        }));
    }
}

fn rules() -> UpdateConfig {
    UpdateConfig::default()
}

fn failing(action: &str) -> UpdateConfig {
    UpdateConfig {
        failure_action: action.to_owned(),
        ..rules()
    }
}

fn outcome(report: &ApplyReport) -> String {
    let failures = report.failures.iter().map(|it| it.error.chain());
    failures.collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn parallelism_is_the_size_of_a_group_and_delay_the_time_between_two() -> TestResult {
    for (parallelism, replaced) in [(None, 1), (Some(1), 1), (Some(3), 3)] {
        let replicas = Replicas::new().await?;
        let config = UpdateConfig {
            parallelism,
            delay: HOUR,
            ..rules()
        };
        let update = replicas.up(service("new", config, None));
        let stop = async {
            let calls = replicas.until("start container", replaced).await;
            replicas.cancel.cancel();
            calls
        };
        let (report, _calls) = tokio::join!(update, stop);
        assert!(report?.cancelled);
        let now = replicas.running().await?;
        let new = now.split(' ').filter(|image| *image == "new").count();
        assert_eq!((new, now.split(' ').count()), (replaced, 4), "{now}");
    }
    Ok(())
}

#[tokio::test]
async fn a_parallelism_of_zero_replaces_all_at_once() -> TestResult {
    let replicas = Replicas::new().await?;
    let config = UpdateConfig {
        parallelism: Some(0),
        delay: HOUR,
        ..rules()
    };
    let report = replicas.up(service("new", config, None)).await?;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(replicas.running().await?, "new new new new");
    Ok(())
}

#[tokio::test]
async fn order_says_which_of_the_two_makes_way() -> TestResult {
    for (order, first) in [
        ("", "stop"),
        ("stop-first", "stop"),
        ("start-first", "start"),
    ] {
        let replicas = Replicas::new().await?;
        let config = UpdateConfig {
            order: order.to_owned(),
            ..rules()
        };
        let report = replicas.up(service("new", config, None)).await?;
        assert!(report.is_complete(), "{report:?}");
        let calls = replicas.engine.take_calls();
        let mut calls = calls.iter().filter(|call| !call.starts_with("create"));
        let begun = calls.next().map_or("", String::as_str);
        assert!(begun.starts_with(first), "{order}: {begun}");
    }
    Ok(())
}

#[tokio::test]
async fn a_container_that_fails_while_it_is_monitored_fails_the_update_at_once() -> TestResult {
    let replicas = Replicas::new().await?;
    let config = UpdateConfig {
        monitor: HOUR,
        ..rules()
    };
    let update = replicas.up(service("new", config, None));
    let end = async {
        let calls = replicas.until("start container", 1).await;
        let started = calls
            .iter()
            .find_map(|call| call.strip_prefix("start container "));
        // Once it has proved itself to be running.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        replicas
            .engine
            .end_container(started.unwrap_or_default(), 1);
    };
    let (report, ()) = tokio::join!(update, end);
    let told = outcome(&report?);
    assert!(
        told.starts_with("update of service `web` paused: "),
        "{told}"
    );
    assert!(told.ends_with("exited (1)"), "{told}");
    assert_eq!(replicas.running().await?, "old old old old");
    Ok(())
}

#[tokio::test]
async fn failure_action_pause_leaves_what_is_done_and_gives_back_what_failed() -> TestResult {
    for action in ["", "pause"] {
        let replicas = Replicas::new().await?;
        replicas.break_second();
        let report = replicas.up(service("new", failing(action), None)).await?;
        let told = outcome(&report);
        assert!(
            told.starts_with("update of service `web` paused: "),
            "{told}"
        );
        assert_eq!(replicas.running().await?, "new old old old");
    }
    Ok(())
}

#[tokio::test]
async fn failure_action_rollback_gives_back_all() -> TestResult {
    let replicas = Replicas::new().await?;
    replicas.break_second();
    let report = replicas
        .up(service("new", failing("rollback"), None))
        .await?;
    let told = outcome(&report);
    assert!(
        told.starts_with("update of service `web` rolled back: "),
        "{told}"
    );
    assert_eq!(replicas.running().await?, "old old old old");
    Ok(())
}

#[tokio::test]
async fn failure_action_continue_goes_on() -> TestResult {
    let replicas = Replicas::new().await?;
    replicas.break_second();
    let report = replicas
        .up(service("new", failing("continue"), None))
        .await?;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(replicas.running().await?, "new new new");
    let all_broken = replicas
        .up(service("broken", failing("continue"), None))
        .await?;
    assert!(all_broken.is_complete(), "{all_broken:?}");
    assert_eq!(replicas.running().await?, "");
    Ok(())
}

#[tokio::test]
async fn max_failure_ratio_is_the_share_that_may_fail() -> TestResult {
    for (ratio, images) in [(0.25, "new new new"), (0.2, "old old old old")] {
        let replicas = Replicas::new().await?;
        replicas.break_second();
        let config = UpdateConfig {
            max_failure_ratio: Some(ratio),
            ..failing("rollback")
        };
        let report = replicas.up(service("new", config, None)).await?;
        assert_eq!(report.is_complete(), ratio > 0.24, "{report:?}");
        assert_eq!(replicas.running().await?, images, "{ratio}");
    }
    Ok(())
}

/// Replaces three replicas, fails with the fourth, and rolls back by these rules; answers the calls of the rollback.
async fn roll_back(
    replicas: &Replicas,
    rollback: UpdateConfig,
) -> Result<Vec<String>, Box<dyn Error>> {
    let fourth = SECOND_START + 6;
    replicas.engine.set_fault(Some(Fault {
        call: fourth,
        moment: Moment::Before,
        kind: EngineErrorKind::Failed,
    }));
    let report = replicas
        .up(service("new", failing("rollback"), Some(rollback)))
        .await?;
    let told = outcome(&report);
    assert!(told.contains("rolled back"), "{told}");
    Ok(replicas.engine.take_calls().split_off(fourth + 1))
}

#[tokio::test]
async fn rollback_config_order_says_which_of_the_two_makes_way() -> TestResult {
    for (order, first) in [
        ("", "stop"),
        ("stop-first", "stop"),
        ("start-first", "start"),
    ] {
        let replicas = Replicas::new().await?;
        let rollback = UpdateConfig {
            order: order.to_owned(),
            ..rules()
        };
        let calls = roll_back(&replicas, rollback).await?;
        assert!(calls[0].starts_with(first), "{order}: {calls:#?}");
        assert_eq!(replicas.running().await?, "old old old old");
    }
    Ok(())
}

#[tokio::test]
async fn rollback_config_delay_lies_between_groups_of_its_parallelism() -> TestResult {
    let replicas = Replicas::new().await?;
    let all_at_once = UpdateConfig {
        parallelism: Some(0),
        delay: HOUR,
        ..rules()
    };
    let _calls = roll_back(&replicas, all_at_once).await?;
    assert_eq!(replicas.running().await?, "old old old old");
    Ok(())
}
