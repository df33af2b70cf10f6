//! One call for each of several containers, at once, with its steps shown.

use futures_util::future::join_all;

use crate::cli::CommandError;
use crate::ui::{StepState, Ui};
use hoist::engine::member::Member;
use hoist::engine::{EngineError, EngineResult};

/// How a step is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wording {
    /// While it runs; where it takes no time, nothing is said.
    pub(super) doing: Option<&'static str>,
    /// When it is done.
    pub(super) done: &'static str,
}

/// Calls for all containers at once; answers the first failure when all have ended.
pub(super) async fn for_each<'a, F>(
    ui: &Ui,
    members: &'a [Member],
    wording: Wording,
    call: impl Fn(&'a str) -> F,
) -> Result<(), CommandError>
where
    F: Future<Output = EngineResult<()>>,
{
    let calls = members.iter().map(|member| {
        let id = format!("Container {}", member.name());
        let call = call(member.id());
        async move {
            if let Some(doing) = wording.doing {
                ui.step(StepState::Working, &id, doing);
            }
            let result = call.await;
            match &result {
                Ok(()) => ui.step(StepState::Done, &id, wording.done),
                Err(_) => ui.step(StepState::Error, &id, "Error"),
            }
            result.map_err(|error| error.named(member.id(), member.name()))
        }
    });
    let failed: Option<EngineError> = join_all(calls).await.into_iter().find_map(Result::err);
    failed.map_or(Ok(()), |error| Err(error.into()))
}
