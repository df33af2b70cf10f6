//! What keeps a command from being done, shown at the place in the files that asks for it: before a plan runs
//! (`plan::preflight`), and after it ran (`apply::ApplyReport`).
//!
//! Callers: `reconcile` and the commands that make containers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use indexmap::IndexMap;

use hoist::apply::preflight::{self as looking, Host};
use hoist::apply::{ApplyError, ApplyReport, Failure, Skipped, UpdateOutcome};
use hoist::engine::EngineErrorKind;
use hoist::engine::connect::Choice;
use hoist::load::{Code, Diagnostic};
use hoist::plan::preflight::{self, HostPort, Need, Refusal, directory_images};
use hoist::plan::{Action, ContainerRef, NodeId, Plan};
use hoist::runtime::network::{Protocol, port_owner};

use crate::cli::CommandError;
use crate::cli::reconcile::Session;
use crate::ui::Ui;

/// The machine that hoist runs on.
#[derive(Debug)]
struct ThisMachine;

impl Host for ThisMachine {
    fn exists(&self, path: &str) -> bool {
        Path::new(path).exists()
    }

    fn port_holder(&self, port: &HostPort) -> Option<String> {
        let address = match port.address.as_str() {
            "" => "0.0.0.0",
            address => address,
        };
        let (protocol, bound) = match port.protocol.as_str() {
            "tcp" => (
                Protocol::Tcp,
                TcpListener::bind((address, port.port)).map(drop),
            ),
            "udp" => (
                Protocol::Udp,
                UdpSocket::bind((address, port.port)).map(drop),
            ),
            _ => return None,
        };
        let in_use = bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse);
        in_use.then(|| {
            let owner = port_owner(protocol, port.port);
            owner.unwrap_or_else(|| "a process that cannot be seen from here".to_owned())
        })
    }
}

fn is_rolled_back(failure: &Failure) -> bool {
    let outcome = UpdateOutcome::RolledBack;
    matches!(&failure.error, ApplyError::Update { outcome: found, .. } if *found == outcome)
}

/// What a plan makes itself fails with that already.
fn is_existing(container: &ContainerRef) -> bool {
    matches!(container, ContainerRef::Existing { .. })
}

fn is_gone(failure: &Failure) -> bool {
    matches!(&failure.error, ApplyError::Engine(error) if error.kind == EngineErrorKind::Unreachable)
}

impl Session<'_> {
    /// Refuses what cannot be met, while everything is still as it was; answers the refusals that stop one action of
    /// the plan alone, with what comes after it.
    pub(super) async fn refuse_unmet(
        &self,
        needs: &[Need],
        free: &BTreeSet<&str>,
    ) -> Result<Vec<Refusal>, CommandError> {
        let engine = self.engine.as_ref();
        let here = self.may_be_here().then_some(&ThisMachine as &dyn Host);
        let mut refusals = looking::check(engine, &self.project, needs, free, here).await?;
        if !refusals.is_empty() && here.is_some() && !self.is_here().await {
            refusals = looking::check(engine, &self.project, needs, free, None).await?;
        }
        let (single, whole): (Vec<_>, Vec<_>) = refusals
            .into_iter()
            .partition(|refusal| refusal.node.is_some());
        self.refuse(whole)?;
        Ok(single)
    }

    /// Refuses images that are directories, where there are none.
    pub(super) fn refuse_directory_images(&self) -> Result<(), CommandError> {
        let is_directory = |path: &str| Path::new(path).is_dir();
        self.refuse(directory_images(
            &self.project,
            self.is_built_in(),
            is_directory,
        ))
    }

    /// Warns of secret and config files that are gone, of containers that have them still (behaviours.md B170).
    pub(super) fn warn_of_missing_files(&self) {
        let exists = |path: &str| Path::new(path).exists();
        for service in self.project.services.values() {
            for (name, path) in hoist::plan::resolve::missing_files(&self.project, service, exists)
            {
                self.ui.warn(format_args!(
                    "secret file {name} does not exist: stat {path}: no such file or directory"
                ));
            }
        }
    }

    /// Warns of what only hoist's own engine can do for a service.
    pub(super) fn warn_of_own_labels(&self) {
        const OUTCOMES: [(&str, &str); 4] = [
            (
                "hoist.health.",
                "; a `healthcheck` with a `test` works on both",
            ),
            (
                "hoist.on-unhealthy",
                "; a `healthcheck` with a `test` works on both",
            ),
            ("hoist.time.", ": the clocks are the machine's"),
            (
                "hoist.idmap",
                ": files of the bind have the owners that the container gives them",
            ),
        ];
        if self.is_built_in() {
            return;
        }
        for service in self.project.services.values() {
            let asked = hoist::plan::resolve::engine_labels(service);
            let own = asked.iter().map(|(name, _)| name.as_str());
            let own = own.chain(service.labels.keys().map(String::as_str));
            let mut ignored: Vec<(&str, Vec<&str>)> = Vec::new();
            for name in own {
                let Some((_, outcome)) = OUTCOMES.iter().find(|(start, _)| name.starts_with(start))
                else {
                    continue;
                };
                match ignored.iter_mut().find(|(known, _)| known == outcome) {
                    Some((_, names)) if names.contains(&name) => {}
                    Some((_, names)) => names.push(name),
                    None => ignored.push((outcome, vec![name])),
                }
            }
            for (outcome, names) in ignored {
                self.ui.warn(format_args!(
                    "service `{}`: {} {} only done by hoist's own engine, and ignored by this one{outcome}",
                    service.name,
                    names.join(", "),
                    if names.len() == 1 { "is" } else { "are" },
                ));
            }
        }
    }

    /// Fails where there are refusals, each with its place.
    pub(super) fn refuse(&self, refusals: Vec<Refusal>) -> Result<(), CommandError> {
        if refusals.is_empty() {
            return Ok(());
        }
        let diagnostics = refusals.iter().map(|refusal| self.refusal(refusal));
        Err(CommandError::placed(once(diagnostics)))
    }

    fn refusal(&self, refusal: &Refusal) -> Diagnostic {
        let message = refusal.message.clone();
        let mut diagnostic = Diagnostic::error(Code::Unmet, message);
        if !refusal.hint.is_empty() {
            diagnostic = diagnostic.hint(refusal.hint.clone());
        }
        let origins = self.context.origins();
        diagnostic.labels.extend(origins.label(&refusal.path, ""));
        diagnostic
    }

    fn is_built_in(&self) -> bool {
        self.engine.info().product == "hoist"
    }

    fn may_be_here(&self) -> bool {
        match self.context.engine_choice() {
            Ok(Choice::BuiltIn) => true,
            Ok(Choice::Address(endpoint)) => endpoint.address.starts_with("unix://"),
            Err(_) => false,
        }
    }

    /// Whether the engine is on this machine: a socket can also be the end of a tunnel.
    async fn is_here(&self) -> bool {
        if self.is_built_in() {
            return true;
        }
        let Ok(info) = self.engine.system_info().await else {
            return false;
        };
        let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        info.name.as_deref() == Some(own.trim())
    }

    /// Keeps why services are without an image.
    pub(super) fn note_lacking(&self, without: &IndexMap<String, NodeId>, report: &ApplyReport) {
        let mut lacking = self.lacking();
        for (service, node) in without {
            let mut failures = report.failures.iter();
            let Some(failure) = failures.find(|failure| failure.node == *node) else {
                continue;
            };
            let refusal = Refusal {
                path: failure.path.clone().unwrap_or_default(),
                message: failure.error.chain(),
                hint: self.way_out(failure).unwrap_or_default(),
                node: None,
            };
            lacking.insert(service.clone(), refusal);
        }
    }

    /// Marks what a plan would make or start of services that are without an image.
    pub(super) fn refuse_lacking(&self, plan: &mut Plan) {
        let lacking = self.lacking();
        let lost = plan.nodes().filter_map(|(id, node)| {
            let begins = match &node.action {
                Action::CreateContainer(_) | Action::RollingUpdate(_) => true,
                Action::StartContainer { container, .. } => is_existing(container),
                Action::PreStart(hook) => is_existing(&hook.replica),
                _ => false,
            };
            let service = node.action.service().filter(|_| begins)?;
            Some((id, lacking.get(service)?.clone()))
        });
        let lost: Vec<_> = lost.collect();
        for (id, refusal) in lost {
            plan.refuse(id, refusal);
        }
    }

    fn lacking(&self) -> MutexGuard<'_, IndexMap<String, Refusal>> {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns a report into an error where something failed, after telling what is known about each failure.
    pub(crate) fn conclude(&self, report: ApplyReport) -> Result<ApplyReport, CommandError> {
        let lacking: Vec<Refusal> = self.lacking().values().cloned().collect();
        if report.is_complete() && lacking.is_empty() {
            return Ok(report);
        }
        if report.cancelled && report.failures.is_empty() {
            return Err(CommandError::cancelled());
        }
        tell_evidence(self.ui, &report.failures);
        tell_skipped(self.ui, &report.skipped);
        let diagnostics = report.failures.iter().map(|failure| self.failure(failure));
        // A service that runs already has no part in the plan.
        let diagnostics = diagnostics.chain(lacking.iter().map(|refusal| self.refusal(refusal)));
        let error = CommandError::placed(once(diagnostics));
        let is_rolled_back = report.failures.iter().all(is_rolled_back) && lacking.is_empty();
        Err(if is_rolled_back {
            error.rolled_back()
        } else {
            error
        })
    }

    fn failure(&self, failure: &Failure) -> Diagnostic {
        if let ApplyError::Refused(refusal) = &failure.error {
            return self.refusal(refusal);
        }
        let mut diagnostic = Diagnostic::error(Code::Unmet, failure.error.chain());
        if is_gone(failure) {
            // No line of the file is to blame.
            let hint = "the engine went away: the same command goes on where this one ended";
            return diagnostic.hint(hint.to_owned());
        }
        let port = failure.service.as_deref().and_then(|service| {
            let service = self.project.services.get(service)?;
            preflight::blamed_port(service, &diagnostic.message)
        });
        let path = port.as_deref().or(failure.path.as_deref());
        let origins = self.context.origins();
        let label = origins.label(path.unwrap_or_default(), "");
        diagnostic.labels.extend(label);
        diagnostic.hints.extend(self.way_out(failure));
        diagnostic
    }

    fn way_out(&self, failure: &Failure) -> Option<String> {
        let is_image = matches!(failure.error, ApplyError::Pull { .. });
        let asked_for_image = failure
            .path
            .as_deref()
            .and_then(|path| path.rsplit('.').next())
            == Some("image");
        if !is_image && !asked_for_image {
            return None;
        }
        let text = if self.is_built_in() {
            "bring it in with `hoist image load FILE` or `hoist image import FILE NAME`, run a directory of this \
             machine with `image: rootfs:/PATH`, or build it with `build:`"
        } else {
            "check its name and the way to its registry, bring it in with `docker load`, or build it with `build:`"
        };
        Some(text.to_owned())
    }
}

/// Each diagnostic once: several actions may fail for one reason.
fn once(diagnostics: impl Iterator<Item = Diagnostic>) -> Vec<Diagnostic> {
    let mut kept: Vec<Diagnostic> = Vec::new();
    for diagnostic in diagnostics {
        if !kept.contains(&diagnostic) {
            kept.push(diagnostic);
        }
    }
    kept
}

/// Tells what each container that failed has to say, once.
fn tell_evidence(ui: &Ui, failures: &[Failure]) {
    let mut told = BTreeSet::new();
    for failure in failures {
        let Some(evidence) = &failure.evidence else {
            continue;
        };
        if !told.insert(&evidence.container) {
            continue;
        }
        let service = failure.service.as_deref().unwrap_or(&evidence.container);
        // The engine's words may be the failure itself.
        let is_news = !failure.error.chain().contains(&evidence.ended);
        if is_news && !evidence.ended.is_empty() {
            ui.status(format_args!(
                "{service}: container {} {}",
                evidence.container, evidence.ended
            ));
        }
        if !evidence.probe.is_empty() {
            ui.status(format_args!(
                "{service}: last output of the probe: {}",
                evidence.probe
            ));
        }
        for line in &evidence.log {
            ui.status(format_args!("{service}: log: {line}"));
        }
    }
}

/// Tells what was not begun, by service.
fn tell_skipped(ui: &Ui, skipped: &[Skipped]) {
    let mut by_service: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for skipped in skipped {
        let service = skipped.service.as_deref().unwrap_or_default();
        let actions = by_service.entry(service).or_default();
        actions.push(&skipped.action);
    }
    for (service, actions) in by_service {
        let actions = actions.join(", ");
        match service {
            "" => ui.status(format_args!("skipped: {actions}")),
            service => ui.status(format_args!("{service}: skipped: {actions}")),
        }
    }
}
