//! The watch at work: batches of changes become copies, restarts and rebuilds. `watch` and `up --watch` run it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use hoist::apply::{ApplyEvent, ApplyReport, StartWatcher, Status};
use hoist::engine::label;
use hoist::graph::Reach;
use hoist::plan::{self, OrphanPolicy, Plan, PlanOptions, Recreate};
use hoist::watch::{self, Batch, Changes, ChangesError, Rules, SyncError};

use crate::cli::CommandError;
use crate::cli::build::plan_builds;
use crate::cli::reconcile::Session;
use crate::ui::Ui;
use crate::ui::renderer::{Renderer, renderer};

/// Takes the lines about the watch.
pub(crate) type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// Whether a batch is at work: containers that are made anew are gone for a moment.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    busy: AtomicBool,
    ended: Notify,
}

impl Activity {
    /// Whether a batch is at work.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Resolves when a batch is done.
    pub(crate) async fn batch_ended(&self) {
        self.ended.notified().await;
    }
}

/// How the news of rebuilds and restarts are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// As those of every command.
    Shown,
    /// Only the builder's lines and failures, among the logs of the containers.
    AmongLogs,
}

/// A watch.
pub(crate) struct Watching<'a> {
    session: Session<'a>,
    rules: Rules,
    changes: Changes,
    log: Log,
    activity: Arc<Activity>,
    /// Whether images that a rebuild left without a name are removed.
    pub(crate) prune: bool,
    /// How news are shown.
    pub(crate) news: News,
    /// Attaches to containers that are made anew.
    pub(crate) watcher: Option<Arc<dyn StartWatcher>>,
}

impl<'a> Watching<'a> {
    /// Begins to watch the files of the rules.
    pub(crate) fn new(session: Session<'a>, rules: Rules, log: Log) -> Result<Self, CommandError> {
        for warning in &rules.warnings {
            session.ui.warn(warning);
        }
        if rules.rules.is_empty() {
            return Err(CommandError::user(watch::RuleError::Nothing));
        }
        let paths = rules.rules.iter().map(|rule| rule.path.clone());
        Ok(Self {
            changes: Changes::below(paths).map_err(failed)?,
            session,
            rules,
            log,
            activity: Arc::default(),
            prune: true,
            news: News::Shown,
            watcher: None,
        })
    }

    /// Whether it is at work.
    pub(crate) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// Watches for ever: a batch that fails is told, and the next one is waited for.
    pub(crate) async fn run(mut self) -> Result<(), CommandError> {
        self.initial_sync().await?;
        (self.log)("Watch enabled");
        loop {
            let rules = &self.rules.rules;
            let wanted =
                |path: &std::path::Path| rules.iter().any(|rule| rule.matches(path).is_some());
            let paths = self.changes.next(wanted).await.map_err(failed)?;
            let batch = Batch::of(rules, &paths);
            self.activity.busy.store(true, Ordering::Relaxed);
            let outcome = self.act(&batch).await;
            self.activity.busy.store(false, Ordering::Relaxed);
            self.activity.ended.notify_one();
            if let Err(error) = outcome {
                self.session.ui.warn(format_args!(
                    "Error handling changed files: {}",
                    error.message()
                ));
            }
        }
    }

    async fn initial_sync(&self) -> Result<(), CommandError> {
        for rule in self.rules.rules.iter().filter(|rule| rule.initial_sync) {
            let mappings = watch::initial(rule);
            if mappings.is_empty() {
                continue;
            }
            self.copy(&rule.service, &mappings).await?;
        }
        Ok(())
    }

    async fn act(&self, batch: &Batch) -> Result<(), CommandError> {
        if !batch.rebuild.is_empty() {
            let services: Vec<_> = batch.rebuild.iter().cloned().collect();
            self.rebuild(&services).await?;
        }
        for (service, mappings) in &batch.sync {
            let count = mappings.len();
            (self.log)(&format!(
                "Syncing service {service:?} after {count} changes were detected"
            ));
            self.copy(service, mappings).await?;
        }
        if !batch.restart.is_empty() {
            let services: Vec<_> = batch.restart.iter().cloned().collect();
            self.restart(&services).await?;
        }
        for number in &batch.exec {
            let rule = &self.rules.rules[*number];
            let Some(hook) = &rule.exec else { continue };
            let place = (self.session.project.name.as_str(), rule.service.as_str());
            let lines = watch::exec(self.session.engine.as_ref(), place, hook).await;
            for (container, line) in lines.map_err(refused)? {
                (self.log)(&format!("{container} -> {line}"));
            }
        }
        Ok(())
    }

    async fn copy(&self, service: &str, mappings: &[watch::Mapping]) -> Result<(), CommandError> {
        let place = (self.session.project.name.as_str(), service);
        watch::sync(self.session.engine.as_ref(), place, mappings)
            .await
            .map_err(refused)
    }

    /// Builds these services only, then makes their containers anew.
    async fn rebuild(&self, services: &[String]) -> Result<(), CommandError> {
        let named = quoted(services);
        (self.log)(&format!(
            "Rebuilding service(s) {named} after changes were detected..."
        ));
        let session = self.session.narrowed(services)?;
        let report = self
            .run_plan(&session, plan_builds(&session, services))
            .await;
        if let Err(error) = session.conclude(report) {
            (self.log)(&format!("Build failed: {}", error.message()));
            return Err(error);
        }
        if self.prune {
            prune(&session).await;
        }
        (self.log)(&format!("service(s) {named} successfully built"));
        let observed = session.observe().await?;
        let options = PlanOptions {
            named: services.to_vec(),
            recreate: Recreate::Force,
            recreate_option: "watch",
            recreate_dependencies: Recreate::Never,
            orphans: OrphanPolicy::Ignore,
            ..session.plan_options()
        };
        let plan = plan::plan(&session.project, &session.graph, &observed, &options)
            .map_err(CommandError::user)?;
        let report = self.run_plan(&session, plan).await;
        session.conclude(report).map(drop)
    }

    async fn restart(&self, services: &[String]) -> Result<(), CommandError> {
        let session = self.session.fork();
        let observed = session.observe().await?;
        let plan = plan::restart(
            &session.project,
            &session.graph,
            &observed,
            (services, None, Reach::Dependents),
        );
        let report = self.run_plan(&session, plan).await;
        session.conclude(report)?;
        (self.log)(&format!("service(s) {} restarted", quoted(services)));
        Ok(())
    }

    async fn run_plan(&self, session: &Session<'_>, plan: Plan) -> ApplyReport {
        let shown: Box<dyn Renderer> = match self.news {
            News::Shown => renderer(session.ui, "watch", session.effect()),
            News::AmongLogs => Box::new(AmongLogs {
                ui: session.ui.clone(),
                log: Arc::clone(&self.log),
            }),
        };
        session.run_shown(plan, self.watcher.clone(), shown).await
    }
}

/// Removes the project's images that have no name any more. Those in use stay, and that is no failure.
async fn prune(session: &Session<'_>) {
    let of_project = format!("{}={}", label::PROJECT, session.project.name);
    let Ok(images) = session.engine.list_images(&[of_project]).await else {
        return;
    };
    let unnamed = |tags: &[String]| tags.iter().all(|tag| tag == "<none>:<none>");
    for image in images.iter().filter(|image| unnamed(&image.repo_tags)) {
        // The old container still runs on it, or another tool was faster.
        let _in_use = session.engine.remove_image(&image.id).await;
    }
}

/// Names as docker compose lists them: `["a" "b"]`.
fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("[{}]", names.join(" "))
}

fn failed(error: ChangesError) -> CommandError {
    let hint = error.hint();
    let error = CommandError::system(error);
    match hint {
        Some(hint) => error.hinted(hint),
        None => error,
    }
}

fn refused(error: SyncError) -> CommandError {
    match error {
        SyncError::Engine(error) => error.into(),
        other => CommandError::user(other),
    }
}

/// What is worth a line among the logs of containers.
struct AmongLogs {
    ui: Ui,
    log: Log,
}

impl Renderer for AmongLogs {
    fn event(&mut self, event: &ApplyEvent) {
        match event {
            ApplyEvent::BuildOutput { line, .. } => (self.log)(line),
            ApplyEvent::Output { source, line } => (self.log)(&format!("{source} {line}")),
            ApplyEvent::Warning(text) => self.ui.warn(text),
            ApplyEvent::Resource(news) if news.status == Status::Error => {
                (self.log)(&format!("{} {} {}", news.id, news.text, news.details));
            }
            ApplyEvent::Resource(_) => {}
        }
    }
}
