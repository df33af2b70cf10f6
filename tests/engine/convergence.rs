//! What is promised of `up`, whatever happened before it: it converges, does nothing twice, and does nothing without a
//! cause. Random edits, ups, scales and downs on the engine in memory; faults before and after each of its calls.

use std::sync::Arc;

use hoist::apply::{ApplyOptions, ApplyReport, apply};
use hoist::engine::fake::{FakeEngine, Fault, Moment, Script};
use hoist::engine::{Engine, EngineErrorKind, ObserveRequest, ObservedState, label};
use hoist::graph::Graph;
use hoist::model::{
    AttachedNetwork, Dependency, DependencyCondition, Deploy, Healthcheck, Hook, Mount, MountKind,
    Network, Project, Service, UpdateConfig, Volume, config_hash,
};
use hoist::plan::{
    Action, Cause, ContainerRef, Decision, DownOptions, Node, OrphanPolicy, Plan, PlanOptions,
    Recreate, RemoveVolumes, Separator, VolumeChange, down, plan, wanted_replicas,
};
use indexmap::IndexMap;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;

/// What varies in the file.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of a file"
)]
struct File {
    web_replicas: u8,
    web_revision: u8,
    web_condition: u8,
    web_restarts: bool,
    web_rolls: u8,
    web_parallelism: u8,
    web_network: bool,
    with_worker: bool,
    worker_shares: u8,
    with_job: bool,
    hooks: bool,
    db_revision: u8,
    db_volume: bool,
    db_named: bool,
    network_label: u8,
    network_renamed: bool,
    volume_label: u8,
}

/// A change of the file.
#[derive(Debug, Clone)]
enum Edit {
    Replicas(u8),
    WebRevision(u8),
    Condition(u8),
    Restarts(bool),
    Rolls(u8, u8),
    WebNetwork(bool),
    Worker(bool),
    Shares(u8),
    Job(bool),
    Hooks(bool),
    DbRevision(u8),
    DbVolume(bool),
    DbNamed(bool),
    NetworkLabel(u8),
    NetworkRenamed(bool),
    VolumeLabel(u8),
}

impl File {
    fn edit(&mut self, edit: &Edit) {
        match *edit {
            Edit::Replicas(number) => self.web_replicas = number,
            Edit::WebRevision(revision) => self.web_revision = revision,
            Edit::Condition(condition) => self.web_condition = condition,
            Edit::Restarts(restarts) => self.web_restarts = restarts,
            Edit::Rolls(order, parallelism) => {
                (self.web_rolls, self.web_parallelism) = (order, parallelism);
            }
            Edit::WebNetwork(attached) => self.web_network = attached,
            Edit::Worker(with) => self.with_worker = with,
            Edit::Shares(shares) => self.worker_shares = shares,
            Edit::Job(with) => self.with_job = with,
            Edit::Hooks(with) => self.hooks = with,
            Edit::DbRevision(revision) => self.db_revision = revision,
            Edit::DbVolume(with) => self.db_volume = with,
            Edit::DbNamed(named) => self.db_named = named,
            Edit::NetworkLabel(text) => self.network_label = text,
            Edit::NetworkRenamed(renamed) => self.network_renamed = renamed,
            Edit::VolumeLabel(text) => self.volume_label = text,
        }
    }

    fn project(&self) -> Project {
        let mut services = vec![self.db(), self.web()];
        services.extend(self.with_worker.then(|| self.worker()));
        services.extend(self.with_job.then(|| service("job", 0)));
        let services = services.into_iter();
        let network = |name: &str, text: u8| Network {
            name: name.to_owned(),
            labels: IndexMap::from([("text".to_owned(), text.to_string())]),
            ..Network::default()
        };
        let extra = if self.network_renamed {
            "p_new"
        } else {
            "p_extra"
        };
        let data = Volume {
            name: "p_data".to_owned(),
            labels: IndexMap::from([("text".to_owned(), self.volume_label.to_string())]),
            ..Volume::default()
        };
        Project {
            name: "p".to_owned(),
            services: services
                .map(|service| (service.name.clone(), service))
                .collect(),
            networks: IndexMap::from([
                (
                    "default".to_owned(),
                    network("p_default", self.network_label),
                ),
                ("extra".to_owned(), network(extra, 0)),
            ]),
            volumes: IndexMap::from([("data".to_owned(), data)]),
            ..Project::default()
        }
    }

    fn db(&self) -> Service {
        let mut db = service("db", self.db_revision);
        db.healthcheck = Some(Box::new(Healthcheck {
            test: vec!["CMD".to_owned(), "true".to_owned()],
            ..Healthcheck::default()
        }));
        if self.db_named {
            "data-base".clone_into(&mut db.container_name);
        }
        if self.db_volume {
            db.volumes = vec![Mount {
                kind: MountKind::Volume,
                source: "data".to_owned(),
                target: "/data".to_owned(),
                ..Mount::default()
            }];
        }
        db
    }

    fn web(&self) -> Service {
        let mut web = service("web", self.web_revision);
        web.scale = Some(i64::from(self.web_replicas));
        let condition = match self.web_condition {
            0 => DependencyCondition::ServiceStarted,
            _ => DependencyCondition::ServiceHealthy,
        };
        web.depends_on
            .insert("db".to_owned(), needs(condition, self.web_restarts));
        if self.with_job {
            let completed = DependencyCondition::ServiceCompletedSuccessfully;
            web.depends_on
                .insert("job".to_owned(), needs(completed, false));
        }
        if self.web_network {
            web.networks = IndexMap::from([
                ("default".to_owned(), None),
                ("extra".to_owned(), Some(AttachedNetwork::default())),
            ]);
        }
        if self.hooks {
            let hook = || Hook {
                command: Some(vec!["true".to_owned()]),
                ..Hook::default()
            };
            web.post_start = vec![hook()];
            web.pre_stop = vec![hook()];
        }
        if self.web_rolls > 0 {
            let config = UpdateConfig {
                parallelism: Some(u64::from(self.web_parallelism)),
                order: if self.web_rolls == 1 {
                    "start-first"
                } else {
                    "stop-first"
                }
                .to_owned(),
                failure_action: "rollback".to_owned(),
                ..UpdateConfig::default()
            };
            web.deploy = Some(Box::new(Deploy {
                update_config: Some(config),
                ..Deploy::default()
            }));
        }
        web
    }

    fn worker(&self) -> Service {
        let mut worker = service("worker", 0);
        match self.worker_shares {
            1 => "service:db".clone_into(&mut worker.network_mode),
            2 => worker.volumes_from = vec!["db".to_owned()],
            3 => worker.links = vec!["web".to_owned()],
            _ => {}
        }
        worker
    }
}

fn service(name: &str, revision: u8) -> Service {
    Service {
        name: name.to_owned(),
        image: name.to_owned(),
        environment: IndexMap::from([("REVISION".to_owned(), Some(revision.to_string()))]),
        ..Service::default()
    }
}

fn needs(condition: DependencyCondition, restart: bool) -> Dependency {
    Dependency {
        condition,
        restart,
        required: true,
        ..Dependency::default()
    }
}

/// What a user, or the world, does.
#[derive(Debug, Clone)]
enum Step {
    Edit(Edit),
    /// A new image under the same name.
    Image(&'static str, u32),
    Up {
        force: bool,
    },
    Down {
        volumes: bool,
    },
    /// A container ends by itself.
    Ends(&'static str),
    /// Someone removes a container behind hoist's back.
    Vanishes(&'static str),
}

/// An engine and the file.
struct World {
    engine: FakeEngine,
    file: File,
    /// `up --migrate-volumes`.
    migrates: bool,
}

impl World {
    fn new() -> Self {
        let engine = FakeEngine::new();
        for image in ["db", "web", "worker", "job"] {
            engine.add_image(image, 0);
        }
        engine.script("job", Script::Exit(0));
        Self {
            engine,
            file: File {
                web_replicas: 1,
                ..File::default()
            },
            migrates: false,
        }
    }

    async fn observe(&self, project: &Project) -> Result<ObservedState, TestCaseError> {
        let request = ObserveRequest {
            project: "p".to_owned(),
            networks: project
                .networks
                .values()
                .map(|it| it.name.clone())
                .collect(),
            volumes: project.volumes.values().map(|it| it.name.clone()).collect(),
            images: project
                .services
                .values()
                .map(|it| it.image.clone())
                .collect(),
        };
        self.engine.observe(&request).await.map_err(failure)
    }

    /// Plans `up --remove-orphans -y`.
    async fn plan(&self, force: bool) -> Result<(Plan, ObservedState), TestCaseError> {
        let project = self.file.project();
        let graph = Graph::new(&project).map_err(failure)?;
        let observed = self.observe(&project).await?;
        let mut options = PlanOptions {
            orphans: OrphanPolicy::Remove,
            api: (1, 51),
            finish_millis: Some(0),
            ..PlanOptions::default()
        };
        if force {
            options.recreate = Recreate::Force;
            options.recreate_option = "--force-recreate";
        }
        if self.migrates {
            options.volume_change = VolumeChange::Migrate;
        }
        let first = plan(&project, &graph, &observed, &options).map_err(failure)?;
        for Decision::RecreateVolume { volume, .. } in &first.decisions {
            options.volumes_to_recreate.insert(volume.clone());
        }
        let plan = plan(&project, &graph, &observed, &options).map_err(failure)?;
        Ok((plan, observed))
    }

    async fn run(&self, plan: Plan) -> ApplyReport {
        let options = ApplyOptions {
            project: "p".to_owned(),
            model: Arc::new(self.file.project()),
            ..ApplyOptions::default()
        };
        let (news, _nobody) = tokio::sync::mpsc::unbounded_channel();
        apply(Arc::new(self.engine.clone()), plan, options, news).await
    }

    /// One `up`, each of whose actions must have a cause that is true.
    async fn up(&self, force: bool) -> Result<ApplyReport, TestCaseError> {
        let (plan, observed) = self.plan(force).await?;
        for (_, node) in plan.nodes() {
            if !self.holds(node, &plan, &observed) {
                return Err(fail(format!(
                    "{} without cause: {}",
                    node.action, node.cause
                )));
            }
        }
        Ok(self.run(plan).await)
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Edit(edit) => self.file.edit(edit),
            Step::Image(name, revision) => self.engine.add_image(name, *revision),
            Step::Up { force } => {
                let report = self.up(*force).await?;
                succeeded(&report)?;
                self.settled().await?;
            }
            Step::Down { volumes } => {
                let report = self.down(*volumes).await?;
                succeeded(&report)?;
                let left = self.observe(&self.file.project()).await?.containers;
                if !left.is_empty() {
                    return Err(fail(format!("left by down: {left:?}")));
                }
            }
            Step::Ends(name) => self.engine.end_container(name, 1),
            Step::Vanishes(name) => {
                let how = hoist::engine::RemoveContainer {
                    force: true,
                    volumes: false,
                };
                // What is not there cannot vanish.
                drop(self.engine.remove_container(name, how).await);
            }
        }
        Ok(())
    }

    async fn down(&self, volumes: bool) -> Result<ApplyReport, TestCaseError> {
        let project = self.file.project();
        let graph = Graph::new(&project).map_err(failure)?;
        let options = DownOptions {
            orphans: OrphanPolicy::Remove,
            volumes: if volumes {
                RemoveVolumes::Remove
            } else {
                RemoveVolumes::Keep
            },
            separator: Separator::Dash,
            ..DownOptions::default()
        };
        let plan = down(&project, &graph, &self.observe(&project).await?, &options);
        Ok(self.run(plan).await)
    }

    /// Everything is as the file says, and a second `up` would do nothing; a job that is done is run again.
    async fn settled(&self) -> Result<(), TestCaseError> {
        let project = self.file.project();
        let (plan, observed) = self.plan(false).await?;
        let more: Vec<String> = plan
            .nodes()
            .filter(|(_, node)| node.action.service() != Some("job"))
            .map(|(_, node)| format!("{} ({})", node.action, node.cause))
            .collect();
        if !more.is_empty() {
            return Err(fail(format!("a second up would still: {more:#?}")));
        }
        for service in project.services.values() {
            let mut names: Vec<_> = observed
                .containers
                .iter()
                .filter(|container| container.service() == service.name)
                .map(|container| container.name.as_str())
                .collect();
            names.sort_unstable();
            let wanted = wanted_replicas(service);
            let passing = names.iter().any(|name| name.contains('_'));
            if names.len() != wanted || passing {
                return Err(fail(format!(
                    "{}: {wanted} wanted, {names:?}",
                    service.name
                )));
            }
        }
        Ok(())
    }

    /// Whether the cause of an action is true of what was observed.
    fn holds(&self, node: &Node, plan: &Plan, observed: &ObservedState) -> bool {
        let project = self.file.project();
        let find = |container: &ContainerRef| {
            let ContainerRef::Existing { id, .. } = container else {
                return None;
            };
            observed.containers.iter().find(|it| it.id == *id)
        };
        let target = match &node.action {
            Action::CreateContainer(create) => create.replaces.as_ref().and_then(find),
            Action::RollingUpdate(update) => find(&update.steps[0].old),
            Action::StartContainer { container, .. }
            | Action::StopContainer { container, .. }
            | Action::RemoveContainer { container, .. }
            | Action::ConnectNetwork { container, .. }
            | Action::RenameContainer { container, .. } => find(container),
            _ => None,
        };
        let replaced = |service: &str| {
            plan.nodes().any(|(_, other)| match &other.action {
                Action::CreateContainer(create) => create.service == service,
                Action::RollingUpdate(update) => update.service == service,
                Action::StartContainer {
                    service: started, ..
                } => started == service,
                _ => false,
            })
        };
        match &node.cause {
            Cause::Missing => match &node.action {
                Action::CreateNetwork(spec) => !observed.networks.contains_key(&spec.body.name),
                Action::CreateVolume(spec) => {
                    let name = spec.body.name.as_deref().unwrap_or_default();
                    !observed.volumes.contains_key(name)
                }
                Action::CreateContainer(create) => create.replaces.is_none(),
                _ => false,
            },
            Cause::ConfigChanged { .. } => match target {
                Some(old) => {
                    let service = &project.services[old.service()];
                    // The hash of what shares a namespace is over the id of the container it shares with.
                    let shares =
                        !service.network_mode.is_empty() || !service.volumes_from.is_empty();
                    shares || old.config_hash() != config_hash(service)
                }
                None => true,
            },
            Cause::ImageChanged { image } => target.is_some_and(|old| {
                observed.images.get(image).map(|image| &image.id) != old.labels.get(label::IMAGE)
            }),
            Cause::NotRunning { .. } => target.is_none_or(|it| !it.is_running()),
            Cause::Orphan => target.is_some_and(|it| !project.services.contains_key(it.service())),
            Cause::DependencyRestarted { service } | Cause::ParentRecreated { service } => {
                replaced(service)
            }
            Cause::NotAttached { network } => target.is_some_and(|it| {
                !it.networks.contains_key(network)
                    || it.networks.get(network) != observed.networks.get(network).map(|it| &it.id)
            }),
            Cause::NotMounted { volume } => target.is_some_and(|it| {
                !it.mounts
                    .iter()
                    .any(|mount| mount.name.as_ref() == Some(volume))
            }),
            Cause::ScaleUp { wanted, .. } => *wanted > 1,
            Cause::ScaleDown { wanted, .. } => target.is_some_and(|it| {
                let all = observed.containers.iter();
                all.filter(|other| other.service() == it.service()).count() > *wanted
            }),
            _ => true,
        }
    }
}

fn failure(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn fail(text: String) -> TestCaseError {
    TestCaseError::fail(text)
}

fn succeeded(report: &ApplyReport) -> Result<(), TestCaseError> {
    if report.is_complete() {
        return Ok(());
    }
    let failures: Vec<_> = report
        .failures
        .iter()
        .map(|it| format!("{}: {}", it.action, it.error))
        .collect();
    Err(fail(format!("{failures:?}, skipped {:?}", report.skipped)))
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (0_u8..4).prop_map(Edit::Replicas),
        (0_u8..3).prop_map(Edit::WebRevision),
        (0_u8..2).prop_map(Edit::Condition),
        any::<bool>().prop_map(Edit::Restarts),
        (0_u8..3, 0_u8..3).prop_map(|(order, at_once)| Edit::Rolls(order, at_once)),
        any::<bool>().prop_map(Edit::WebNetwork),
        any::<bool>().prop_map(Edit::Worker),
        (0_u8..4).prop_map(Edit::Shares),
        any::<bool>().prop_map(Edit::Job),
        any::<bool>().prop_map(Edit::Hooks),
        (0_u8..3).prop_map(Edit::DbRevision),
        any::<bool>().prop_map(Edit::DbVolume),
        any::<bool>().prop_map(Edit::DbNamed),
        (0_u8..3).prop_map(Edit::NetworkLabel),
        any::<bool>().prop_map(Edit::NetworkRenamed),
        (0_u8..3).prop_map(Edit::VolumeLabel),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let images = prop::sample::select(vec!["db", "web", "worker"]);
    let names = prop::sample::select(vec!["p-db-1", "p-web-1", "p-web-2", "p-worker-1"]);
    prop_oneof![
        6 => edits().prop_map(Step::Edit),
        1 => (images, 0_u32..3).prop_map(|(image, revision)| Step::Image(image, revision)),
        4 => Just(Step::Up { force: false }),
        1 => Just(Step::Up { force: true }),
        1 => any::<bool>().prop_map(|volumes| Step::Down { volumes }),
        1 => names.clone().prop_map(Step::Ends),
        1 => names.prop_map(Step::Vanishes),
    ]
}

fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    Ok(runtime.block_on(future))
}

/// Runs a last `up` in which a call fails, for each call, at each moment; the `up` after it must converge.
async fn survive_faults(history: &[Step]) -> Result<(), TestCaseError> {
    let kinds = [EngineErrorKind::Failed, EngineErrorKind::Unreachable];
    for moment in [Moment::Before, Moment::After] {
        for kind in kinds {
            for call in 0.. {
                let mut world = World::new();
                for step in history {
                    world.step(step).await?;
                }
                drop(world.engine.take_calls());
                world.engine.set_fault(Some(Fault { call, moment, kind }));
                let struck = world.up(false).await?;
                let calls = world.engine.take_calls();
                world.engine.set_fault(None);
                let context = |error: TestCaseError| {
                    let call = calls.get(call).map_or("", String::as_str);
                    fail(format!("{kind:?} {moment:?} `{call}`: {error}\n{calls:#?}"))
                };
                let report = world.up(false).await.map_err(context)?;
                succeeded(&report).map_err(context)?;
                world.settled().await.map_err(context)?;
                if struck.is_complete() && calls.len() <= call {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// The same for `down`.
async fn survive_faults_of_down(history: &[Step]) -> Result<(), TestCaseError> {
    for moment in [Moment::Before, Moment::After] {
        for call in 0.. {
            let mut world = World::new();
            for step in history {
                world.step(step).await?;
            }
            drop(world.engine.take_calls());
            let kind = EngineErrorKind::Unreachable;
            world.engine.set_fault(Some(Fault { call, moment, kind }));
            let struck = world.down(true).await?;
            let calls = world.engine.take_calls();
            world.engine.set_fault(None);
            world.step(&Step::Down { volumes: true }).await?;
            let left = world.observe(&world.file.project()).await?;
            if !left.networks.is_empty() || !left.volumes.is_empty() {
                return Err(fail(format!("left after {calls:#?}: {left:#?}")));
            }
            if struck.is_complete() && calls.len() <= call {
                break;
            }
        }
    }
    Ok(())
}

/// A volume's data is somewhere at any time, and where it belongs at the end, whichever call of its migration fails.
#[test]
fn a_migration_loses_nothing_whichever_call_fails() -> Result<(), TestCaseError> {
    for (moment, kind) in [
        (Moment::Before, EngineErrorKind::Failed),
        (Moment::After, EngineErrorKind::Unreachable),
    ] {
        let mut struck = true;
        for call in 0.. {
            if !struck {
                break;
            }
            let fault = Fault { call, moment, kind };
            struck = block_on(migrate_with_fault(fault)).map_err(failure)??;
        }
    }
    Ok(())
}

/// Answers whether there was a call to fail.
async fn migrate_with_fault(fault: Fault) -> Result<bool, TestCaseError> {
    let mut world = World::new();
    world.step(&Step::Edit(Edit::DbVolume(true))).await?;
    world.step(&Step::Up { force: false }).await?;
    world.engine.write_volume("p_data", "precious");
    world.step(&Step::Edit(Edit::VolumeLabel(1))).await?;
    world.migrates = true;
    drop(world.engine.take_calls());
    world.engine.set_fault(Some(fault));
    let report = world.up(false).await?;
    let calls = world.engine.take_calls();
    world.engine.set_fault(None);
    let place = calls.get(fault.call).map_or("", String::as_str);
    let volumes = ["p_data", "p_data_migration"];
    if !volumes
        .iter()
        .any(|name| world.engine.read_volume(name).is_some())
    {
        return Err(fail(format!(
            "the data is lost after `{place}`: {calls:#?}"
        )));
    }
    let context = |error: TestCaseError| fail(format!("{fault:?} `{place}`: {error}\n{calls:#?}"));
    world
        .step(&Step::Up { force: false })
        .await
        .map_err(context)?;
    let at_the_end = volumes.map(|name| world.engine.read_volume(name));
    if at_the_end != [Some("precious".to_owned()), None] {
        return Err(context(fail(format!("{at_the_end:?}"))));
    }
    let left = world.observe(&world.file.project()).await?;
    if left.volumes.len() != 1
        || left
            .containers
            .iter()
            .any(|it| it.labels.contains_key(label::HOOK))
    {
        return Err(context(fail(format!("left: {left:#?}"))));
    }
    Ok(calls.len() > fault.call || !report.is_complete())
}

/// `PROPTEST_CASES` makes a longer run of it.
fn cases(usual: u32) -> ProptestConfig {
    let told = std::env::var("PROPTEST_CASES").ok();
    let cases = told.and_then(|text| text.parse().ok()).unwrap_or(usual);
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn up_converges_whatever_happened_before(history in prop::collection::vec(steps(), 1..14)) {
        block_on(async {
            let mut world = World::new();
            for step in &history {
                world.step(step).await?;
            }
            world.step(&Step::Up { force: false }).await
        })??;
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn up_converges_after_a_fault_at_any_call(
        history in prop::collection::vec(steps(), 0..6),
        edits in prop::collection::vec(edits().prop_map(Step::Edit), 1..5),
    ) {
        block_on(async {
            let all: Vec<Step> = history.into_iter().chain([Step::Up { force: false }]).chain(edits).collect();
            survive_faults(&all).await
        })??;
    }

    #[test]
    fn down_leaves_nothing_after_a_fault_at_any_call(history in prop::collection::vec(steps(), 0..6)) {
        block_on(async {
            let all: Vec<Step> = history.into_iter().chain([Step::Up { force: false }]).collect();
            survive_faults_of_down(&all).await
        })??;
    }
}
