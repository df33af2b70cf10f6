//! A rolling update: groups of replicas, each of which must prove itself before the next one's turn comes.
//!
//! ```text
//! start-first   create new, nameless ─ start ─ prove ─ give it the names ─ old loses them ─ old finishes ─ old stops
//! stop-first    create new ─ old stops ─ start ─ prove ─ names change
//! failed proof  new goes, old comes back ──> pause | rollback (all come back) | continue (new stays)
//! ```
//!
//! Old containers are kept, stopped, until the whole update is over: they are what a rollback brings back.

use std::time::Duration;

use bollard_stubs::models::{EndpointIpamConfig, EndpointSettings};
use futures_util::future::join_all;

use super::evidence::{self, Evidence};
use super::scheduler::Run;
use super::{ApplyError, ApplyEvent, Status, UpdateOutcome, dispatch, hook, wait};
use crate::engine::{ContainerSpec, RemoveContainer};
use crate::plan::{
    ContainerRef, FailureAction, HookKind, NodeId, RollingStep, RollingUpdate, UpdateOrder,
    UpdateRules, Wait, WaitUntil,
};

/// A replica whose new container has taken over.
struct Replaced<'a> {
    step: &'a RollingStep,
    old: String,
    new: String,
    networks: Vec<Withdrawn>,
}

impl Replaced<'_> {
    fn old_container(&self) -> ContainerRef {
        ContainerRef::Existing {
            id: self.old.clone(),
            name: self.step.create.display.clone(),
        }
    }
}

/// A network in which an old container has lost the service's names.
struct Withdrawn {
    network: String,
    /// How it was attached.
    before: EndpointSettings,
    /// Whether those who know its address still reach it.
    reachable: Reachable,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reachable {
    Yes,
    No,
}

/// A replica whose new container did not prove itself.
struct Failed<'a> {
    replaced: Replaced<'a>,
    failure: Failure,
}

/// Why, and what the new container had to say; it goes when its replica gets the old one back, and its log with it.
struct Failure {
    error: ApplyError,
    evidence: Option<Evidence>,
}

/// Groups of replicas by the rules of an update or of a rollback, and the failures on the way.
struct Tally<'r> {
    rules: &'r UpdateRules,
    total: f64,
    failures: u32,
}

impl<'r> Tally<'r> {
    fn new(rules: &'r UpdateRules, replicas: usize) -> Self {
        Self {
            rules,
            total: f64::from(u32::try_from(replicas).unwrap_or(u32::MAX)),
            failures: 0,
        }
    }

    /// The groups in order, each with its number.
    fn groups<'a, T>(
        &self,
        replicas: &'a [T],
    ) -> impl Iterator<Item = (usize, &'a [T])> + use<'a, T> {
        replicas.chunks(self.rules.parallelism).enumerate()
    }

    async fn pause_before(&self, run: &Run, group: usize) -> Result<(), ApplyError> {
        if group == 0 {
            return Ok(());
        }
        pause(run, self.rules.delay_millis).await
    }

    /// Counts a failure; answers whether the rules let the rest go on.
    fn tolerates_another(&mut self) -> bool {
        self.failures += 1;
        let tolerated = f64::from(self.failures) / self.total <= self.rules.max_failure_ratio;
        tolerated || self.rules.failure_action == FailureAction::Continue
    }
}

/// How much of a container is put away.
const REMOVE: RemoveContainer = RemoveContainer {
    force: true,
    volumes: false,
};

pub(super) async fn update(
    run: &Run,
    node: NodeId,
    update: &RollingUpdate,
) -> Result<(), ApplyError> {
    let mut tally = Tally::new(&update.update, update.steps.len());
    let mut done: Vec<Replaced<'_>> = Vec::new();
    for (number, group) in tally.groups(&update.steps) {
        tally.pause_before(run, number).await?;
        let outcomes = join_all(group.iter().map(|step| replace(run, node, update, step))).await;
        let mut fatal = None;
        for outcome in outcomes {
            match outcome {
                Ok(replaced) => done.push(replaced),
                Err(failed) if tally.tolerates_another() => done.push(failed.replaced),
                Err(failed) => {
                    restore(run, update, &failed.replaced).await?;
                    fatal = Some(failed.failure);
                }
            }
        }
        if let Some(failure) = fatal {
            return Err(give_up(run, update, done, failure).await);
        }
    }
    for replaced in &done {
        finish(run, node, replaced).await?;
    }
    Ok(())
}

/// Ends an update that failed: by its rules the replicas that were replaced stay, or get their old containers back.
async fn give_up(
    run: &Run,
    update: &RollingUpdate,
    done: Vec<Replaced<'_>>,
    failure: Failure,
) -> ApplyError {
    let outcome = match update.update.failure_action {
        FailureAction::Rollback => roll_back(run, update, &done)
            .await
            .map(|()| UpdateOutcome::RolledBack),
        FailureAction::Pause | FailureAction::Continue => put_away_all(run, &done)
            .await
            .map(|()| UpdateOutcome::Paused),
    };
    match outcome {
        // Nothing is wrong with what was to come.
        Ok(_) if matches!(failure.error, ApplyError::Cancelled) => ApplyError::Cancelled,
        Ok(outcome) => ApplyError::Update {
            service: update.service.clone(),
            outcome,
            source: Box::new(failure.error),
            evidence: failure.evidence.map(Box::new),
        },
        Err(second) => second,
    }
}

async fn roll_back(
    run: &Run,
    update: &RollingUpdate,
    done: &[Replaced<'_>],
) -> Result<(), ApplyError> {
    let mut tally = Tally::new(&update.rollback, done.len());
    for (number, group) in tally.groups(done) {
        tally.pause_before(run, number).await?;
        let outcomes = join_all(
            group
                .iter()
                .map(|replaced| bring_back(run, update, replaced)),
        );
        for outcome in outcomes.await {
            match outcome {
                Ok(()) => {}
                Err(error) if tally.tolerates_another() => {
                    run.tell(ApplyEvent::Warning(error.chain()));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Gives a replica its old container back, and watches it for as long as the rules of the rollback say.
async fn bring_back(
    run: &Run,
    update: &RollingUpdate,
    replaced: &Replaced<'_>,
) -> Result<(), ApplyError> {
    restore(run, update, replaced).await?;
    let wish = proof(update, replaced.old_container());
    monitor(run, &wish, update.rollback.monitor_millis).await
}

async fn put_away_all(run: &Run, done: &[Replaced<'_>]) -> Result<(), ApplyError> {
    for replaced in done {
        run.engine.remove_container(&replaced.old, REMOVE).await?;
        run.engine
            .rename_container(&replaced.new, &replaced.step.create.display)
            .await?;
    }
    Ok(())
}

async fn pause(run: &Run, millis: u64) -> Result<(), ApplyError> {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(millis)) => Ok(()),
        () = run.options.cancel.cancelled() => Err(ApplyError::Cancelled),
    }
}

/// The new container has its place for good: the old one goes, the name is free for the new one.
async fn finish(run: &Run, node: NodeId, replaced: &Replaced<'_>) -> Result<(), ApplyError> {
    let name = &replaced.step.create.display;
    run.engine.remove_container(&replaced.old, REMOVE).await?;
    run.engine.rename_container(&replaced.new, name).await?;
    run.remember(node, name, replaced.new.clone());
    run.tell_resource(&format!("Container {name}"), Status::Done, "Recreated", "");
    Ok(())
}

/// Replaces one replica; the new container must be healthy, or run, for as long as the rules say.
async fn replace<'a>(
    run: &Run,
    node: NodeId,
    update: &'a RollingUpdate,
    step: &'a RollingStep,
) -> Result<Replaced<'a>, Failed<'a>> {
    let mut replaced = Replaced {
        step,
        old: run.find_id(&step.old).unwrap_or_default(),
        new: String::new(),
        networks: Vec::new(),
    };
    match try_replace(run, node, update, &mut replaced).await {
        Ok(()) => Ok(replaced),
        Err(error) => {
            let resource = format!("Container {}", step.create.display);
            // A wait has told its own failure.
            if !matches!(error, ApplyError::Unhealthy { .. }) {
                run.tell_resource(&resource, Status::Error, "Error", "");
            }
            let container = (replaced.new.as_str(), step.create.display.as_str());
            let evidence = evidence::of(run, container, &error).await;
            let failure = Failure { error, evidence };
            Err(Failed { replaced, failure })
        }
    }
}

async fn try_replace(
    run: &Run,
    node: NodeId,
    update: &RollingUpdate,
    replaced: &mut Replaced<'_>,
) -> Result<(), ApplyError> {
    let step = replaced.step;
    let resource = format!("Container {}", step.create.display);
    run.tell_resource(&resource, Status::Working, "Recreate", "");
    let mut spec = step.create.complete(|container| run.find_id(container));
    dispatch::inline_seccomp(&mut spec).await?;
    let hidden = match update.update.order {
        UpdateOrder::StartFirst => hide(&mut spec),
        UpdateOrder::StopFirst => Vec::new(),
    };
    let (new, _) = run.engine.create_container(&spec).await?;
    replaced.new.clone_from(&new);
    run.remember(node, &step.create.display, new.clone());
    if update.update.order == UpdateOrder::StopFirst {
        run.engine
            .stop_container(&replaced.old, update.timeout)
            .await?;
    }
    start_and_prove(run, update, &new, &step.create.display).await?;
    show(run, &new, hidden).await?;
    if update.update.order == UpdateOrder::StartFirst {
        replaced.networks = withdraw(run, update, &replaced.old).await?;
        run.engine
            .stop_container(&replaced.old, update.timeout)
            .await?;
    }
    Ok(())
}

async fn start_and_prove(
    run: &Run,
    update: &RollingUpdate,
    id: &str,
    name: &str,
) -> Result<(), ApplyError> {
    if !update.files.is_empty() {
        run.engine.put_files(id, &update.files).await?;
    }
    if let Some(watcher) = &run.options.watcher {
        watcher.before_start(&update.service, id, name).await;
    }
    run.engine.start_container(id).await?;
    let container = ContainerRef::Existing {
        id: id.to_owned(),
        name: name.to_owned(),
    };
    for command in &update.hooks {
        hook::run_in_container(
            run,
            &update.service,
            &container,
            (HookKind::PostStart, command),
        )
        .await?;
    }
    let wish = proof(update, container);
    wait::wait(run, &wish).await?;
    monitor(run, &wish, update.update.monitor_millis).await
}

/// What a container must reach to have proved itself.
fn proof(update: &RollingUpdate, container: ContainerRef) -> Wait {
    Wait {
        service: update.service.clone(),
        until: WaitUntil::RunningOrHealthy,
        containers: vec![container],
        required: true,
        timeout_millis: None,
    }
}

/// Watches a container that is all right for as long as the rules say; it fails as soon as the container does.
async fn monitor(run: &Run, wish: &Wait, millis: u64) -> Result<(), ApplyError> {
    if millis == 0 {
        return Ok(());
    }
    tokio::select! {
        over = pause(run, millis) => over?,
        error = wait::broken(run, wish) => return Err(error),
    }
    wait::wait(run, wish).await
}

/// Takes the service's names from a container that has not proved itself yet, so that no client is sent to it; answers
/// the networks with the endpoints it is to have in the end.
fn hide(spec: &mut ContainerSpec) -> Vec<(String, EndpointSettings)> {
    let config = spec.body.networking_config.as_mut();
    let endpoints = config.and_then(|config| config.endpoints_config.as_mut());
    let mut hidden = Vec::new();
    for (network, endpoint) in endpoints.into_iter().flatten() {
        let names = endpoint.aliases.as_mut().filter(|names| names.len() > 1);
        if let Some(names) = names {
            let whole = names.clone();
            names.truncate(1);
            let mut shown = endpoint.clone();
            shown.aliases = Some(whole);
            hidden.push((network.clone(), shown));
        }
    }
    hidden
}

/// Gives a container that has proved itself the service's names. An engine changes no names of an endpoint that is
/// there, so it is made again.
async fn show(
    run: &Run,
    id: &str,
    hidden: Vec<(String, EndpointSettings)>,
) -> Result<(), ApplyError> {
    for (network, endpoint) in hidden {
        run.engine.disconnect_network(&network, id).await?;
        run.engine.connect_network(&network, id, endpoint).await?;
    }
    Ok(())
}

/// Takes the service's names from an old container, so that nobody is sent to it any more, and lets it finish.
///
/// An engine changes no names of an endpoint that is there, so it is made again, with the same address. Meanwhile the
/// container is paused: what it would send while it has no network would be lost, and with it an answer that it had
/// begun. Where the engine does not let it have its address, the container stays off the network.
async fn withdraw(
    run: &Run,
    update: &RollingUpdate,
    id: &str,
) -> Result<Vec<Withdrawn>, ApplyError> {
    // Not every engine can pause (an ordinary user's without control groups of its own); then it goes without.
    let paused = run.engine.pause_container(id).await.is_ok();
    let withdrawn = reattach_nameless(run, id).await;
    if paused {
        run.engine.unpause_container(id).await?;
    }
    let withdrawn = withdrawn?;
    if withdrawn.iter().any(|it| it.reachable == Reachable::Yes) {
        tokio::time::sleep(Duration::from_millis(update.finish_millis)).await;
    }
    Ok(withdrawn)
}

async fn reattach_nameless(run: &Run, id: &str) -> Result<Vec<Withdrawn>, ApplyError> {
    let container = run.engine.inspect_container(id).await?;
    let networks = container
        .network_settings
        .and_then(|settings| settings.networks)
        .unwrap_or_default();
    let mut withdrawn = Vec::new();
    for (network, endpoint) in networks {
        if matches!(network.as_str(), "host" | "none" | "bridge") {
            continue;
        }
        run.engine.disconnect_network(&network, id).await?;
        let before = EndpointSettings {
            ipam_config: endpoint.ipam_config,
            links: endpoint.links,
            aliases: endpoint.aliases,
            driver_opts: endpoint.driver_opts,
            gw_priority: endpoint.gw_priority,
            ..EndpointSettings::default()
        };
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        let nameless = EndpointSettings {
            aliases: None,
            mac_address: text(endpoint.mac_address),
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: text(endpoint.ip_address),
                ipv6_address: text(endpoint.global_ipv6_address),
                link_local_ips: None,
            }),
            ..before.clone()
        };
        let back = run.engine.connect_network(&network, id, nameless).await;
        let reachable = if back.is_ok() {
            Reachable::Yes
        } else {
            Reachable::No
        };
        withdrawn.push(Withdrawn {
            network,
            before,
            reachable,
        });
    }
    Ok(withdrawn)
}

/// Gives a replica its old container back.
async fn restore(
    run: &Run,
    update: &RollingUpdate,
    replaced: &Replaced<'_>,
) -> Result<(), ApplyError> {
    let start_first = update.rollback.order == UpdateOrder::StartFirst;
    // While it still has no names, nobody is sent to it before it can answer.
    if start_first && !replaced.networks.is_empty() {
        run.engine.start_container(&replaced.old).await?;
        if let Err(error) = wait::wait(run, &proof(update, replaced.old_container())).await {
            run.tell(ApplyEvent::Warning(error.chain()));
        }
    }
    for withdrawn in &replaced.networks {
        let network = &withdrawn.network;
        if withdrawn.reachable == Reachable::Yes {
            run.engine
                .disconnect_network(network, &replaced.old)
                .await?;
        }
        run.engine
            .connect_network(network, &replaced.old, withdrawn.before.clone())
            .await?;
    }
    if start_first {
        run.engine.start_container(&replaced.old).await?;
    }
    if !replaced.new.is_empty() {
        // It has served: nobody is sent to it any more, and it finishes what it has begun.
        if start_first && !replaced.networks.is_empty() {
            withdraw(run, update, &replaced.new).await?;
        }
        run.engine
            .stop_container(&replaced.new, update.timeout)
            .await?;
        run.engine.remove_container(&replaced.new, REMOVE).await?;
    }
    run.engine.start_container(&replaced.old).await?;
    let resource = format!("Container {}", replaced.step.create.display);
    run.tell_resource(&resource, Status::Warning, "Restored", "");
    Ok(())
}
