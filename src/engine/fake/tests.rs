//! The engine in memory behaves as engines do.

use super::{FakeEngine, Fault, Moment, Script};
use crate::engine::{ContainerSpec, Engine, EngineErrorKind, EngineResult, EventRequest};
use bollard_stubs::models;
use futures_util::StreamExt;

fn spec(name: &str) -> ContainerSpec {
    ContainerSpec {
        name: name.to_owned(),
        body: models::ContainerCreateBody {
            image: Some("busybox".to_owned()),
            ..models::ContainerCreateBody::default()
        },
        ..ContainerSpec::default()
    }
}

fn engine() -> FakeEngine {
    let engine = FakeEngine::new();
    engine.add_image("busybox", 0);
    engine
}

#[tokio::test]
async fn a_container_runs_until_it_is_stopped() -> EngineResult<()> {
    let engine = engine();
    let (id, _) = engine.create_container(&spec("web")).await?;
    engine.start_container(&id).await?;
    assert_eq!(
        engine
            .inspect_container("web")
            .await?
            .state
            .unwrap_or_default()
            .running,
        Some(true)
    );
    engine.stop_container("web", None).await?;
    assert_eq!(engine.wait_container(&id).await?, 137);
    assert_eq!(
        engine.take_calls(),
        [
            "create container web",
            "start container web",
            "stop container web"
        ]
    );
    Ok(())
}

#[tokio::test]
async fn a_scripted_image_ends_with_its_code_and_says_so() -> EngineResult<()> {
    let engine = engine();
    engine.script("busybox", Script::Exit(3));
    let mut events = engine.events(&EventRequest::default()).await?;
    let (id, _) = engine.create_container(&spec("job")).await?;
    engine.start_container(&id).await?;
    let mut actions = Vec::new();
    for _ in 0..3 {
        let event = events.next().await.transpose()?;
        actions.push(event.and_then(|event| event.action).unwrap_or_default());
    }
    assert_eq!(actions, ["create", "start", "die"]);
    assert_eq!(engine.wait_container(&id).await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_fault_strikes_before_or_after_the_call() -> EngineResult<()> {
    let engine = engine();
    let fault = |moment| Fault {
        call: 0,
        moment,
        kind: EngineErrorKind::Unreachable,
    };
    engine.set_fault(Some(fault(Moment::Before)));
    assert!(engine.create_container(&spec("a")).await.is_err());
    assert!(engine.inspect_container("a").await.is_err());
    engine.set_fault(Some(fault(Moment::After)));
    assert!(engine.create_container(&spec("a")).await.is_err());
    assert!(engine.inspect_container("a").await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_taken_name_and_a_missing_image_are_refused() -> EngineResult<()> {
    let engine = engine();
    engine.create_container(&spec("web")).await?;
    let taken = engine.create_container(&spec("web")).await;
    assert_eq!(
        taken.map_err(|error| error.kind),
        Err(EngineErrorKind::Conflict)
    );
    let mut other = spec("other");
    other.body.image = Some("nope".to_owned());
    let missing = engine.create_container(&other).await;
    assert_eq!(
        missing.map_err(|error| error.kind),
        Err(EngineErrorKind::NotFound)
    );
    Ok(())
}
