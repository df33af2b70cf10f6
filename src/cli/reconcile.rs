//! What the commands that change a project share: a snapshot, a plan, its run with its news, and what it ends with.
//!
//! ```text
//! Session::open ──> observe ──> (images: plan, run, observe again) ──> plan, questions ──> run ──> CommandResult
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::{IndexMap, IndexSet};
use tokio::sync::mpsc;
use tokio::time::{Duration, interval};
use tokio_util::sync::CancellationToken;

use hoist::apply::{self, ApplyEvent, ApplyOptions, ApplyReport, BuildSettings, StartWatcher};
use hoist::engine::connect::Choice;
use hoist::engine::endpoint::Endpoint;
use hoist::engine::{Engine, ObserveRequest, ObservedState};
use hoist::graph::Graph;
use hoist::model::{Network, Project};
use hoist::plan::{
    self, Decision, Delivery, ImageOptions, Plan, PlanOptions, Separator,
    content::Settled,
    preflight::{self, Refusal},
};

use crate::cli::content::{self, Brought};
use crate::cli::context::is_true;
use crate::cli::delivery;
use crate::cli::lock::ProjectLock;
use crate::cli::{CommandError, Context, interrupt};
use crate::ui::Ui;
use crate::ui::renderer::{Effect, Renderer, renderer};

/// A command at work on a project.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) ui: &'a Ui,
    pub(crate) context: &'a Context,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) project: Project,
    pub(crate) graph: Graph,
    pub(crate) separator: Separator,
    pub(crate) cancel: CancellationToken,
    pub(crate) build: BuildSettings,
    pub(crate) pulls: Pulls,
    /// Pulls are told without the progress of their layers.
    pub(crate) quiet_pulls: bool,
    /// Takes the lines of hooks, (source, line); where there is none, they are news.
    pub(crate) hook_lines: Option<mpsc::UnboundedSender<(String, String)>>,
    /// Held while the project is changed.
    lock: Mutex<Option<ProjectLock>>,
    /// The services that cannot be made for want of an image, and why.
    pub(super) lacking: Mutex<IndexMap<String, Refusal>>,
    /// What the plan that runs next settles, and the containers that were there when it was made.
    settles: Mutex<Option<(Settled, Vec<String>)>>,
}

/// What a failed pull means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulls {
    /// Nothing, where the image can be built.
    OptionalWhereBuilt,
    /// Failure.
    Required,
}

impl<'a> Session<'a> {
    /// Connects the engine and orders the services.
    pub(crate) async fn open(
        ui: &'a Ui,
        context: &'a Context,
        project: Project,
    ) -> Result<Session<'a>, CommandError> {
        let graph = Graph::new(&project).map_err(CommandError::user)?;
        Ok(Self {
            ui,
            context,
            engine: context.engine().await?,
            graph,
            separator: separator(context),
            cancel: CancellationToken::new(),
            build: BuildSettings::default(),
            pulls: Pulls::OptionalWhereBuilt,
            quiet_pulls: false,
            hook_lines: None,
            lock: Mutex::default(),
            lacking: Mutex::default(),
            settles: Mutex::default(),
            project,
        })
    }

    /// One more session on the same project, whose runs are cancelled on their own.
    pub(crate) fn fork(&self) -> Session<'a> {
        Self {
            ui: self.ui,
            context: self.context,
            engine: Arc::clone(&self.engine),
            project: self.project.clone(),
            graph: self.graph.clone(),
            separator: self.separator,
            cancel: CancellationToken::new(),
            build: self.build.clone(),
            pulls: self.pulls,
            quiet_pulls: self.quiet_pulls,
            hook_lines: None,
            lock: Mutex::default(),
            lacking: Mutex::default(),
            settles: Mutex::default(),
        }
    }

    /// One more session on some services of the project and what they depend on.
    pub(crate) fn narrowed(&self, services: &[String]) -> Result<Session<'a>, CommandError> {
        let mut session = self.fork();
        let mut kept = IndexSet::new();
        let mut open = services.to_vec();
        while let Some(name) = open.pop() {
            if let Some(service) = self.project.services.get(&name)
                && kept.insert(name)
            {
                open.extend(service.depends_on.keys().cloned());
            }
        }
        let all = std::mem::take(&mut session.project.services);
        let (chosen, rest): (IndexMap<_, _>, IndexMap<_, _>) =
            all.into_iter().partition(|(name, _)| kept.contains(name));
        session.project.services = chosen;
        // They are known, and their containers are no orphans.
        session.project.disabled_services.extend(rest);
        session.graph = Graph::new(&session.project).map_err(CommandError::user)?;
        Ok(session)
    }

    /// Makes this the only hoist that changes the project, until the session ends or is released.
    pub(crate) async fn claim(&self) -> Result<(), CommandError> {
        if self.effect() == Effect::Simulated || self.held().is_some() {
            return Ok(());
        }
        let engine = self
            .engine_address()
            .map(|it| it.address)
            .unwrap_or_default();
        let names = (engine.as_str(), self.project.name.as_str());
        let lock = ProjectLock::take(self.ui, self.context, names).await?;
        *self.held() = Some(lock);
        Ok(())
    }

    /// Lets others change the project.
    pub(crate) fn release(&self) {
        *self.held() = None;
    }

    fn held(&self) -> MutexGuard<'_, Option<ProjectLock>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Session::open`], for what makes containers: with the content of secrets and configs for an engine that
    /// takes it.
    pub(crate) async fn open_for_containers(
        ui: &'a Ui,
        context: &'a Context,
        project: Project,
    ) -> Result<Session<'a>, CommandError> {
        let mut session = Self::open(ui, context, project).await?;
        session.fill_in()?;
        Ok(session)
    }

    /// The content of secrets and configs, for an engine that takes it.
    pub(crate) fn fill_in(&mut self) -> Result<(), CommandError> {
        if self.engine.info().is_own() {
            delivery::fill_in(self.context, &mut self.project)?;
        } else {
            delivery::warn_of_ignored(self.ui, &self.project);
        }
        content::mark(self.context, &mut self.project)
    }

    /// Takes a snapshot of what exists.
    pub(crate) async fn observe(&self) -> Result<ObservedState, CommandError> {
        let mut images = plan::image_references(&self.project, self.separator);
        images.sort_unstable();
        let request = observe_request(&self.project, images);
        let mut observed = self.engine.observe(&request).await?;
        self.brought().put_into(&mut observed);
        Ok(observed)
    }

    /// Fetches and builds what is missing; answers a snapshot in which the images are.
    pub(crate) async fn prepare_images(
        &self,
        options: &ImageOptions,
    ) -> Result<ObservedState, CommandError> {
        let (observed, plan) = self.plan_images(options).await?;
        if plan.is_empty() {
            return Ok(observed);
        }
        self.run("up", plan, None).await?;
        self.observe().await
    }

    async fn plan_images(
        &self,
        options: &ImageOptions,
    ) -> Result<(ObservedState, Plan), CommandError> {
        self.refuse_directory_images()?;
        self.claim().await?;
        let observed = self.observe().await?;
        let plan = plan::plan_images(&self.project, &observed, options);
        Ok((observed, plan))
    }

    /// As [`Session::prepare_images`], but where an image is not to be had, services that can do without it go on: the
    /// plan that is made next fails for the others, and for what depends on them.
    pub(crate) async fn prepare_images_in_part(
        &self,
        options: &ImageOptions,
    ) -> Result<ObservedState, CommandError> {
        let (observed, plan) = self.plan_images(options).await?;
        if plan.is_empty() {
            return Ok(observed);
        }
        let report = self.run_to_report("up", plan.clone(), None).await;
        let failed: Vec<_> = report.failures.iter().map(|failure| failure.node).collect();
        let without = plan::services_without(&self.project, &plan, &failed, self.separator);
        if report.cancelled || !self.leaves_others(without.keys()) {
            self.conclude(report)?;
        } else {
            self.note_lacking(&without, &report);
        }
        self.observe().await
    }

    /// Whether there is a service that neither is one of these nor waits for one.
    fn leaves_others<'s>(&self, services: impl Iterator<Item = &'s String>) -> bool {
        let mut lost: IndexSet<&str> = services.map(String::as_str).collect();
        let mut next = 0;
        while let Some(name) = lost.get_index(next).copied() {
            let dependents = self.graph.dependents(name);
            lost.extend(dependents.into_iter().map(|(dependent, _)| dependent));
            next += 1;
        }
        let mut names = self.project.services.keys();
        !lost.is_empty() && names.any(|name| !lost.contains(name.as_str()))
    }

    /// Plans, asks what only the user can answer, and refuses what cannot succeed.
    pub(crate) async fn plan(
        &self,
        observed: &ObservedState,
        options: &mut PlanOptions,
        answers: Answers,
    ) -> Result<Plan, CommandError> {
        let plan = self.plan_and_ask(observed, options, answers)?;
        let settled = plan::content::settled(&self.project, observed, &plan);
        let existing = observed.containers.iter().map(|it| it.id.clone());
        *self.settles.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((settled, existing.collect()));
        let mut plan = plan;
        self.look_ahead(&mut plan).await?;
        if self.effect() == Effect::Simulated {
            self.explain(&mut plan).await;
        }
        Ok(plan)
    }

    /// Refuses what cannot be done at all, marks what cannot be done in part, and warns of what will be otherwise than
    /// the file says.
    async fn look_ahead(&self, plan: &mut Plan) -> Result<(), CommandError> {
        self.refuse_lacking(plan);
        let needs = preflight::needs(&self.project, plan);
        let refused = self
            .refuse_unmet(&needs, &preflight::released(plan))
            .await?;
        for refusal in refused {
            if let Some(node) = refusal.node {
                plan.refuse(node, refusal);
            }
        }
        self.warn_of_missing_files();
        self.warn_of_own_labels();
        Ok(())
    }

    /// The plans that `up` would run, for the images and for the rest, checked as there and explained; nothing is
    /// changed, and nothing is asked.
    pub(crate) async fn preview(
        &self,
        images: &ImageOptions,
        options: &mut PlanOptions,
        answers: Answers,
    ) -> Result<(Plan, Plan), CommandError> {
        self.refuse_directory_images()?;
        let observed = self.observe().await?;
        let mut images = plan::plan_images(&self.project, &observed, images);
        let mut main = self.plan_and_answer(&observed, options, |_| Ok(answers == Answers::Yes))?;
        self.look_ahead(&mut main).await?;
        self.explain(&mut images).await;
        self.explain(&mut main).await;
        Ok((images, main))
    }

    fn plan_and_ask(
        &self,
        observed: &ObservedState,
        options: &mut PlanOptions,
        answers: Answers,
    ) -> Result<Plan, CommandError> {
        self.plan_and_answer(observed, options, |volume| {
            if answers == Answers::Yes {
                return Ok(true);
            }
            if self.effect() == Effect::Simulated {
                self.ui.warn(format_args!(
                    "volume \"{volume}\" exists but doesn't match configuration in compose file: without --dry-run \
                     you are asked whether to recreate it"
                ));
                return Ok(false);
            }
            let question = format!(
                "Volume \"{volume}\" exists but doesn't match configuration in compose file. Recreate (data will be lost)?"
            );
            ask(self.ui, &question)
        })
    }

    /// Plans with the answers to what only the user can answer.
    fn plan_and_answer(
        &self,
        observed: &ObservedState,
        options: &mut PlanOptions,
        may_recreate: impl Fn(&str) -> Result<bool, CommandError>,
    ) -> Result<Plan, CommandError> {
        let plan = plan::plan(&self.project, &self.graph, observed, options)
            .map_err(CommandError::user)?;
        let mut agreed = false;
        for Decision::RecreateVolume { volume, .. } in &plan.decisions {
            if may_recreate(volume)? {
                options.volumes_to_recreate.insert(volume.clone());
                agreed = true;
            }
        }
        if agreed {
            return plan::plan(&self.project, &self.graph, observed, options)
                .map_err(CommandError::user);
        }
        Ok(plan)
    }

    /// Asks the engine what changed, down to the field, and the files where it is said.
    pub(crate) async fn explain(&self, plan: &mut Plan) {
        let questions = plan::explain::questions(plan);
        let mut answers = apply::answers(self.engine.as_ref(), &questions).await;
        let origins = self.context.origins();
        answers.mentioned.secrets = origins.file_objects("secrets");
        answers.mentioned.configs = origins.file_objects("configs");
        let place = |path: &[String]| origins.line_of(path, self.context.current_dir());
        plan::explain::explain(plan, &self.project, &answers, &place);
    }

    /// Options of a plan that follow from the session.
    pub(crate) fn plan_options(&self) -> PlanOptions {
        PlanOptions {
            separator: self.separator,
            api: self.engine.info().api,
            delivery: if self.engine.info().is_own() {
                Delivery::Memory
            } else {
                Delivery::IntoRoot
            },
            ..PlanOptions::default()
        }
    }

    /// Runs a plan; a failure is an error.
    pub(crate) async fn run(
        &self,
        title: &str,
        plan: Plan,
        watcher: Option<Arc<dyn StartWatcher>>,
    ) -> Result<ApplyReport, CommandError> {
        let report = self.run_to_report(title, plan, watcher).await;
        self.conclude(report)
    }

    /// Runs a plan and shows its news.
    pub(crate) async fn run_to_report(
        &self,
        title: &str,
        plan: Plan,
        watcher: Option<Arc<dyn StartWatcher>>,
    ) -> ApplyReport {
        let shown = renderer(self.ui, title, self.effect());
        self.run_shown(plan, watcher, shown).await
    }

    /// Runs a plan whose news are shown in a way of the caller's.
    pub(crate) async fn run_shown(
        &self,
        plan: Plan,
        watcher: Option<Arc<dyn StartWatcher>>,
        mut shown: Box<dyn Renderer>,
    ) -> ApplyReport {
        let options = ApplyOptions {
            project: self.project.name.clone(),
            parallel: self.parallel(),
            cancel: self.cancel.clone(),
            watcher,
            optional_pulls: self.buildable_images(),
            engine_address: self.engine_address(),
            model: Arc::new(self.project.clone()),
            build: self.build.clone(),
            quiet_pulls: self.quiet_pulls,
        };
        let (sender, mut news) = mpsc::unbounded_channel();
        let mut running = tokio::spawn(apply::apply(
            Arc::clone(&self.engine),
            plan,
            options,
            sender,
        ));
        let mut ticks = interval(Duration::from_millis(100));
        let mut interrupted = std::pin::pin!(interrupt::interrupted());
        let report = loop {
            tokio::select! {
                biased;
                event = news.recv() => match event {
                    Some(event) => self.show(shown.as_mut(), event),
                    None => break (&mut running).await,
                },
                _ = ticks.tick() => shown.tick(),
                () = &mut interrupted, if !self.cancel.is_cancelled() => self.cancel.cancel(),
            }
        };
        shown.finish();
        let report = report.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        self.remember_contents(&report);
        report
    }

    fn brought(&self) -> Brought {
        let engine = self.engine_address().map(|it| it.address);
        Brought::new(&engine.unwrap_or_default(), &self.project.name)
    }

    /// After a plan that was made here ran as a whole.
    fn remember_contents(&self, report: &ApplyReport) {
        let settles = self
            .settles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some((settled, existing)) = settles else {
            return;
        };
        if self.effect() == Effect::Real
            && report.is_complete()
            && let Err(error) = self.brought().add(settled, &existing)
        {
            self.ui.warn(format_args!(
                "services will be told once more of changed secrets and configs, cannot keep what they have: {error}"
            ));
        }
    }

    fn show(&self, shown: &mut dyn Renderer, event: ApplyEvent) {
        match (event, &self.hook_lines) {
            (ApplyEvent::Output { source, line }, Some(lines)) => drop(lines.send((source, line))),
            (event, _) => shown.event(&event),
        }
    }

    /// Whether the run has an effect.
    pub(crate) fn effect(&self) -> Effect {
        if self.context.global().dry_run {
            Effect::Simulated
        } else {
            Effect::Real
        }
    }

    fn engine_address(&self) -> Option<Endpoint> {
        match self.context.engine_choice() {
            Ok(Choice::Address(endpoint)) => Some(endpoint),
            Ok(Choice::BuiltIn) | Err(_) => None,
        }
    }

    fn buildable_images(&self) -> Vec<String> {
        if self.pulls == Pulls::Required {
            return Vec::new();
        }
        let built = self
            .project
            .services
            .values()
            .filter(|service| service.build.is_some());
        built
            .map(|service| service.image.clone())
            .filter(|image| !image.is_empty())
            .collect()
    }

    fn parallel(&self) -> Option<usize> {
        let variable = || {
            self.context
                .variable("COMPOSE_PARALLEL_LIMIT")
                .and_then(|text| text.parse().ok())
        };
        match self.context.global().parallel.or_else(variable) {
            Some(limit) if limit > 0 => usize::try_from(limit).ok(),
            Some(_) => Some(1024),
            None => None,
        }
    }
}

/// Whether questions are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// `-y`: each is answered with yes.
    Yes,
    /// They are asked.
    Ask,
}

impl Answers {
    /// Reads `-y`.
    pub(crate) fn from_flag(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::Ask }
    }
}

/// The character between the parts of names.
pub(crate) fn separator(context: &Context) -> Separator {
    let compatible = context
        .variable("COMPOSE_COMPATIBILITY")
        .is_some_and(is_true);
    if context.global().compatibility || compatible {
        Separator::Underscore
    } else {
        Separator::Dash
    }
}

/// What a snapshot of a project must hold.
pub(crate) fn observe_request(project: &Project, images: Vec<String>) -> ObserveRequest {
    let names = |network: &Network| network.name.clone();
    ObserveRequest {
        project: project.name.clone(),
        networks: project.networks.values().map(names).collect(),
        volumes: project
            .volumes
            .values()
            .map(|volume| volume.name.clone())
            .collect(),
        images,
    }
}

/// What an empty line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Consent, of people at a terminal: a script has to say it.
    Yes,
    /// Refusal.
    No,
}

/// Asks a question that is answered with yes or no (behaviours.md B296).
pub(crate) fn ask(ui: &Ui, question: &str) -> Result<bool, CommandError> {
    ask_for(ui, question, Answer::No)
}

/// Asks a question, and takes an empty line for an answer.
pub(crate) fn ask_for(ui: &Ui, question: &str, empty: Answer) -> Result<bool, CommandError> {
    match empty {
        Answer::Yes => ui.print(format_args!("{question} [Y/n]: "))?,
        Answer::No => ui.print(format_args!("{question} [y/N] "))?,
    }
    let mut answer = String::new();
    let ended = std::io::stdin().read_line(&mut answer)? == 0;
    Ok(match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "1" => true,
        "" => empty == Answer::Yes && !ended && ui.stdin_is_terminal(),
        _ => false,
    })
}
