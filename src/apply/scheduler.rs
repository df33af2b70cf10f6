//! The ready set: what can begin begins, at most `parallel` engine calls at once; waits take no place.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use super::hub::Hub;
use super::{
    ApplyError, ApplyEvent, ApplyOptions, ApplyReport, EventSender, Failure, ResourceEvent,
    Skipped, Status,
};
use super::{dispatch, evidence, news};
use crate::engine::{Engine, Stream};
use crate::plan::{Action, Cause, ContainerRef, NodeId, Plan};

/// Engine calls at once, where the user does not say.
const DEFAULT_PARALLEL: usize = 32;

/// What every running node shares.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) plan: Plan,
    pub(super) options: ApplyOptions,
    pub(super) events: EventSender,
    pub(super) places: Semaphore,
    created: Mutex<HashMap<(NodeId, String), String>>,
    hub: OnceCell<Hub>,
    /// Whether it was told that health checks are run from here.
    pub(super) checks_told: std::sync::Once,
}

impl Run {
    /// Tells the news; nobody listening is no reason to stop.
    pub(super) fn tell(&self, event: ApplyEvent) {
        drop(self.events.send(event));
    }

    pub(super) fn tell_resource(&self, id: &str, status: Status, text: &str, details: &str) {
        self.tell(ApplyEvent::Resource(
            ResourceEvent::new(id, status, text).detailed(details),
        ));
    }

    /// The engine's events.
    pub(super) async fn hub(&self) -> &Hub {
        self.hub
            .get_or_init(|| Hub::open(&self.engine, &self.options.project))
            .await
    }

    /// The next piece of what the engine streams, unless the run is cancelled.
    pub(super) async fn next<T>(&self, stream: &mut Stream<T>) -> Result<Option<T>, ApplyError> {
        tokio::select! {
            item = stream.next() => Ok(item.transpose()?),
            () = self.options.cancel.cancelled() => Err(ApplyError::Cancelled),
        }
    }

    /// The id of a container, which may have been made by this run.
    pub(super) fn find_id(&self, container: &ContainerRef) -> Option<String> {
        match container {
            ContainerRef::Existing { id, .. } => Some(id.clone()),
            ContainerRef::Planned { node, name } => {
                self.lock().get(&(*node, name.clone())).cloned()
            }
        }
    }

    pub(super) fn id(&self, container: &ContainerRef) -> Result<String, ApplyError> {
        self.find_id(container)
            .ok_or_else(|| ApplyError::NoContainer {
                name: container.name().to_owned(),
            })
    }

    pub(super) fn remember(&self, node: NodeId, name: &str, id: String) {
        self.lock().insert((node, name.to_owned()), id);
    }

    /// Says containers by their names: those of this run, the one that the action is about, and whichever the engine
    /// speaks of.
    async fn with_names(&self, action: &Action, error: ApplyError) -> ApplyError {
        let error = match action.container() {
            Some(ContainerRef::Existing { id, name }) => error.named(id, name),
            _ => error,
        };
        let error = self
            .lock()
            .iter()
            .fold(error, |error, ((_, name), id)| error.named(id, name));
        let mut named = error;
        for id in ids_in(&named.chain()) {
            if let Some(name) = self.name_of(&id).await {
                named = named.named(&id, &name);
            }
        }
        named
    }

    /// A text of the engine's with names in the place of ids.
    pub(super) async fn text_with_names(&self, text: String) -> String {
        let known: Vec<(String, String)> = self
            .lock()
            .iter()
            .map(|((_, name), id)| (id.clone(), name.clone()))
            .collect();
        let mut text = known
            .iter()
            .filter(|(id, _)| !id.is_empty())
            .fold(text, |text, (id, name)| text.replace(id, name));
        for id in ids_in(&text) {
            if let Some(name) = self.name_of(&id).await {
                text = text.replace(&id, &name);
            }
        }
        text
    }

    async fn name_of(&self, id: &str) -> Option<String> {
        let container = self.engine.inspect_container(id).await.ok()?;
        let name = container.name?.trim_start_matches('/').to_owned();
        (!name.is_empty()).then_some(name)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(NodeId, String), String>> {
        self.created.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ids that a text names: engines give them sixty-four digits.
fn ids_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    words
        .filter(|word| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(str::to_owned)
        .collect()
}

/// What is still to be done.
struct Progress {
    waiting_for: HashMap<NodeId, usize>,
    ready: BTreeSet<NodeId>,
    skipped: BTreeSet<NodeId>,
    refused: BTreeSet<NodeId>,
}

impl Progress {
    fn new(plan: &Plan) -> Self {
        let waiting_for: HashMap<_, _> = plan
            .nodes()
            .map(|(id, _)| (id, plan.before(id).len()))
            .collect();
        let ready = waiting_for
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(id, _)| *id)
            .collect();
        Self {
            waiting_for,
            ready,
            skipped: BTreeSet::new(),
            refused: plan.refusals().map(|(id, _)| id).collect(),
        }
    }

    /// Leaves out what cannot succeed, and what is of no use without it.
    fn hold_back(&mut self, plan: &Plan) {
        self.skipped.extend(plan.held_back());
        let left_out = |id: &NodeId| self.skipped.contains(id) || self.refused.contains(id);
        self.ready.retain(|id| !left_out(id));
    }

    fn done(&mut self, plan: &Plan, id: NodeId) {
        for next in plan.after(id) {
            if let Some(count) = self.waiting_for.get_mut(&next) {
                *count = count.saturating_sub(1);
                if *count == 0 && !self.skipped.contains(&next) && !self.refused.contains(&next) {
                    self.ready.insert(next);
                }
            }
        }
    }

    fn skip_after(&mut self, plan: &Plan, id: NodeId) {
        let mut open = plan.after(id);
        while let Some(next) = open.pop() {
            if self.skipped.insert(next) {
                self.ready.remove(&next);
                open.extend(plan.after(next));
            }
        }
    }
}

pub(super) async fn run(
    engine: Arc<dyn Engine>,
    plan: Plan,
    options: ApplyOptions,
    events: EventSender,
) -> ApplyReport {
    let places = options.parallel.unwrap_or(DEFAULT_PARALLEL).max(1);
    let run = Arc::new(Run {
        engine,
        plan,
        options,
        events,
        places: Semaphore::new(places),
        created: Mutex::default(),
        hub: OnceCell::new(),
        checks_told: std::sync::Once::new(),
    });
    tell_unchanged(&run);
    let mut progress = Progress::new(&run.plan);
    let mut report = ApplyReport::default();
    let mut tasks = JoinSet::new();
    progress.hold_back(&run.plan);
    for (id, refusal) in run.plan.refusals() {
        let words = news::words(&run.plan.node(id).action);
        if let Some(words) = words {
            run.tell(words.fail());
        }
        fail(&run, &mut report, id, ApplyError::Refused(refusal.clone())).await;
    }
    loop {
        begin_ready(&run, &mut progress, &mut tasks);
        let Some(joined) = tasks.join_next().await else {
            break;
        };
        // A node that panicked has a defect of ours: the panic goes on.
        let (id, outcome) =
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        match outcome {
            Ok(()) => {
                report.done += 1;
                progress.done(&run.plan, id);
            }
            Err(error) => {
                progress.skip_after(&run.plan, id);
                fail(&run, &mut report, id, error).await;
            }
        }
    }
    report.cancelled = run.options.cancel.is_cancelled();
    let never_begun = progress.skipped.iter().chain(&progress.ready);
    report.skipped = never_begun
        .map(|id| run.plan.node(*id))
        .filter(|node| node.cause != Cause::Replacement && !matches!(node.action, Action::Wait(_)))
        .map(|node| Skipped {
            service: node.action.service().map(str::to_owned),
            action: node.summary(),
        })
        .collect();
    report.created = run
        .lock()
        .iter()
        .map(|((node, _), id)| (*node, id.clone()))
        .collect();
    report.created.sort_unstable();
    report
}

fn tell_unchanged(run: &Run) {
    for unchanged in &run.plan.unchanged {
        let id = format!("Container {}", unchanged.container);
        run.tell(ApplyEvent::Resource(ResourceEvent::new(
            id,
            Status::Done,
            "Running",
        )));
    }
    for notice in &run.plan.notices {
        run.tell(ApplyEvent::Warning(notice.text.clone()));
    }
}

type Outcome = (NodeId, Result<(), ApplyError>);

fn begin_ready(run: &Arc<Run>, progress: &mut Progress, tasks: &mut JoinSet<Outcome>) {
    let cancelled = run.options.cancel.is_cancelled();
    let ready: Vec<_> = progress.ready.iter().copied().collect();
    for id in ready {
        let node = run.plan.node(id);
        // A replacement that has begun is brought to its end.
        if cancelled && node.cause != Cause::Replacement {
            continue;
        }
        progress.ready.remove(&id);
        let run = Arc::clone(run);
        tasks.spawn(async move {
            let outcome = perform(&run, id).await;
            (id, outcome)
        });
    }
}

async fn perform(run: &Run, id: NodeId) -> Result<(), ApplyError> {
    let node = run.plan.node(id);
    let action = &node.action;
    // An update waits for its own containers, so it takes no place either.
    let _place = if matches!(action, Action::Wait(_) | Action::RollingUpdate(_)) {
        None
    } else {
        run.places.acquire().await.ok()
    };
    let words = news::words(action);
    if let Some(event) = words.as_ref().and_then(|words| words.begin(node)) {
        run.tell(event);
    }
    let outcome = dispatch::dispatch(run, id, action).await;
    let outcome = match outcome {
        Err(error) => Err(run.with_names(action, error).await),
        done => done,
    };
    match (&words, &outcome) {
        (Some(words), Ok(dispatch::Told::No)) => {
            words.end().into_iter().for_each(|event| run.tell(event));
        }
        (Some(words), Err(_)) => run.tell(words.fail()),
        (None, _) | (Some(_), Ok(dispatch::Told::Yes)) => {}
    }
    outcome.map(|_| ())
}

async fn fail(run: &Run, report: &mut ApplyReport, id: NodeId, error: ApplyError) {
    if matches!(error, ApplyError::Cancelled) {
        return;
    }
    let action = &run.plan.node(id).action;
    let (path, evidence) = match &error {
        // Nothing was tried, so the container has nothing to say about it.
        ApplyError::Refused(refusal) => (Some(refusal.path.clone()), None),
        error => (
            action.model_path(),
            evidence::collect(run, action, error).await,
        ),
    };
    report.failures.push(Failure {
        node: id,
        action: action.to_string(),
        service: action.service().map(str::to_owned),
        path,
        evidence,
        error,
    });
}
